//! Tests of the reasons why a module is missing, in small worktrees.

use super::*;
use crate::os::fs::replace;

/// A worktree with a Python project in `backend` and Node packages.
struct SmallWorktree {
    dir: tempfile::TempDir,
    needs: BTreeSet<Need>,
    list: &'static str,
    started: Option<u64>,
}

impl SmallWorktree {
    fn new(list: &'static str, files: &[(&str, &str)]) -> SmallWorktree {
        let dir = tempfile::tempdir().unwrap();
        let tree = SmallWorktree { dir, needs: [Need::Python, Need::Node].into(), list, started: None };
        for (name, text) in files {
            tree.write(name, text);
        }
        tree
    }

    fn write(&self, name: &str, text: &str) {
        replace(&self.dir.path().join(name), text.as_bytes(), 0o644).unwrap();
    }

    fn state(&self, name: &str, place: Option<&str>) -> Option<PackageState> {
        let root = self.dir.path();
        let directory = root.join("backend");
        let project = PythonInstall {
            directory: directory.clone(),
            list: root.join(self.list),
            venv: directory.join(".venv"),
        };
        let program = ProgramPackages { directory: &directory, needs: &self.needs, python: &[project] };
        MissingModule { name, place, root, program: Some(program), started: self.started }.state()
    }

    fn python(&self, name: &str) -> Option<PackageState> {
        self.state(name, Some("backend/main.py:3"))
    }

    fn node(&self, name: &str) -> Option<PackageState> {
        self.state(name, Some("web/page.tsx:1"))
    }
}

#[test]
fn a_listed_package_is_missing_until_it_is_installed() {
    let tree = SmallWorktree::new(
        "backend/requirements.txt",
        &[
            ("backend/requirements.txt", "-r base.txt\nwin ; sys_platform == 'win32'\n"),
            ("backend/base.txt", "Foo-Bar==1\npillow==2\n"),
        ],
    );
    let missing = Some(PackageState::NotInstalled { list: "backend/base.txt".into() });
    assert_eq!(tree.python("foo_bar"), missing);
    assert_eq!(tree.node("foo_bar"), None, "a module of Node");
    assert_eq!(tree.state("foo_bar", None), missing, "no place tells the language");
    assert_eq!(tree.python("foo_bar.deep"), None, "a part of a package that is there");
    assert_eq!((tree.python("win"), tree.python("other")), (None, None));
    let site = "backend/.venv/lib/python3.12/site-packages";
    tree.write(&format!("{site}/foo_bar-1.dist-info/RECORD"), "foo_bar/__init__.py,,\n");
    assert_eq!(tree.python("foo_bar"), missing, "only its metadata is there");
    tree.write(&format!("{site}/foo_bar/__init__.py"), "");
    assert_eq!(tree.python("foo_bar"), None);
    tree.write(&format!("{site}/pillow-2.dist-info/RECORD"), "PIL/__init__.py,,\n");
    assert_eq!(tree.python("pillow"), Some(PackageState::WithoutModule));
    tree.write(&format!("{site}/pillow-2.dist-info/RECORD"), "__editable__.pillow.pth,,\n");
    assert_eq!(tree.python("pillow"), None, "its files are elsewhere");
}

#[test]
fn packages_of_an_input_that_its_list_lacks_are_named() {
    let mut tree = SmallWorktree::new(
        "backend/requirements.txt",
        &[
            ("backend/requirements.txt", "six==1 --hash=sha256:00\n"),
            ("backend/requirements.in", "six\npyyaml\nhumanize\nwin ; x\n"),
        ],
    );
    let behind = |others: &[&str]| {
        Some(PackageState::NotCompiled {
            input: "backend/requirements.in".into(),
            list: "backend/requirements.txt".into(),
            others: others.iter().map(ToString::to_string).collect(),
            command: "cd backend && devrun exec -- uv pip compile requirements.in -o requirements.txt --generate-hashes".into(),
        })
    };
    assert_eq!(tree.python("humanize"), behind(&[]));
    assert_eq!(tree.python("yaml"), behind(&["pyyaml", "humanize"]));
    tree.started = Some(1);
    assert_eq!(tree.python("humanize"), behind(&[]));
    let changed = Some(PackageState::Changed { list: "backend/requirements.txt".into() });
    assert_eq!(tree.python("yaml"), changed, "the newer list may have it under another name");
    tree.needs.remove(&Need::Python);
    assert_eq!(tree.python("humanize"), changed, "devrun does not install from the list");
}

#[test]
fn an_input_is_found_from_the_folder_in_which_its_list_was_compiled() {
    let header = "# uv pip compile backend/requirements.in -o backend/requirements.txt\n";
    let tree = SmallWorktree::new(
        "backend/requirements.txt",
        &[("backend/requirements.txt", header), ("backend/requirements.in", "humanize")],
    );
    let Some(PackageState::NotCompiled { command, .. }) = tree.python("humanize") else { panic!() };
    assert_eq!(command, "devrun exec -- uv pip compile backend/requirements.in -o backend/requirements.txt");
    let tree = SmallWorktree::new(
        "backend/requirements.txt",
        &[("backend/requirements.txt", ""), ("requirements.in", "humanize")],
    );
    assert_eq!(tree.python("humanize"), None, "the file is not the input of this list");
}

#[test]
fn packages_of_a_manifest_that_its_lock_file_lacks_are_named() {
    let lock = "[[package]]\nname = 'own'\nsource = { virtual = '.' }\ndependencies = [{ name = 'six' }]\n\
                [[package]]\nname = 'six'\n";
    let mut tree = SmallWorktree::new(
        "backend/uv.lock",
        &[
            ("backend/uv.lock", lock),
            ("backend/pyproject.toml", "[project]\nname = 'own'\ndependencies = ['six', 'humanize']\n"),
        ],
    );
    let missing = PackageState::NotInstalled { list: "backend/uv.lock".into() };
    assert_eq!(tree.python("six"), Some(missing));
    let Some(PackageState::NotCompiled { list, command, .. }) = tree.python("humanize") else { panic!() };
    assert_eq!((&*list, &*command), ("backend/uv.lock", "cd backend && devrun exec -- uv lock"));
    tree.started = Some(1);
    std::fs::File::open(tree.dir.path().join("backend/uv.lock")).unwrap().set_modified(UNIX_EPOCH).unwrap();
    assert_eq!(tree.python("other"), tree.python("yaml"), "the manifest alone changes no packages");
}

#[test]
fn a_package_of_node_is_missing_or_its_lock_file_is_behind() {
    let tree = SmallWorktree::new(
        "none",
        &[
            ("backend/package.json", r#"{"dependencies":{"zod":"1","@s/new":"1"}}"#),
            ("pnpm-lock.yaml", "zod:\n"),
        ],
    );
    let missing = Some(PackageState::NotInstalled { list: "backend/package.json".into() });
    assert_eq!((tree.node("zod"), tree.node("zod/v4")), (missing.clone(), missing));
    let behind = PackageState::NotCompiled {
        input: "backend/package.json".into(),
        list: "pnpm-lock.yaml".into(),
        others: Vec::new(),
        command: "devrun exec -- pnpm install --lockfile-only".into(),
    };
    assert_eq!(tree.node("@s/new/deep"), Some(behind));
    assert_eq!(tree.node("other"), None);
    tree.write("node_modules/zod/package.json", "{}");
    assert_eq!(tree.node("zod"), None);
}

#[test]
fn a_list_written_after_the_start_is_named() {
    let mut tree = SmallWorktree::new("none", &[("web/package.json", "{}"), ("api/uv.lock", "")]);
    tree.needs.clear();
    tree.started = Some(1);
    let changed = |list: &str| Some(PackageState::Changed { list: list.into() });
    assert_eq!(tree.python("a"), changed("api/uv.lock"));
    assert_eq!(tree.node("a"), changed("web/package.json"));
    tree.started = Some(4_000_000_000);
    assert_eq!(tree.python("a"), None);
}
