//! Every layout a worktree can have, with real git in temporary folders.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::*;
use crate::context::{Context, Dirs};
use crate::event::Events;
use crate::os::cmd::Cmd;

/// A temporary folder with git that knows nothing of the user's configuration.
struct Ground {
    root: PathBuf,
    env: BTreeMap<OsString, OsString>,
    _folder: tempfile::TempDir,
}

impl Ground {
    fn new() -> Ground {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let mut env: BTreeMap<OsString, OsString> =
            std::env::vars_os().filter(|(name, _)| !name.as_bytes().starts_with(b"GIT_")).collect();
        for (name, value) in [
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CEILING_DIRECTORIES", root.to_str().unwrap()),
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@example.org"),
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@example.org"),
        ] {
            env.insert(name.into(), value.into());
        }
        Ground { root, env, _folder: folder }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    async fn git<A: AsRef<OsStr>>(&self, folder: &Path, args: impl IntoIterator<Item = A>) {
        let git = Cmd::new("git").only_env(&self.env).directory(folder).args(args);
        git.ok().await.unwrap_or_else(|error| panic!("{error}: {:?}", error.tail(9)));
    }

    /// A repository at `path` with one commit on `main`.
    async fn repository(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = self.at(path);
        std::fs::create_dir_all(&path).unwrap();
        self.git(&path, ["init", "-q", "-b", "main"]).await;
        self.git(&path, ["commit", "-q", "--allow-empty", "-m", "first"]).await;
        path
    }

    fn context(&self, cwd: &Path) -> Context {
        let home = |name: &str| self.root.join(".devrun").join(name);
        Context {
            cwd: cwd.into(),
            env: self.env.clone(),
            dirs: Dirs {
                state: home("state"),
                data: home("data"),
                cache: home("cache"),
                runtime: home("runtime"),
            },
            events: Events::silent(),
            started: Instant::now(),
            colour: false,
        }
    }

    async fn locate(&self, cwd: &Path) -> Result<Worktree, WorktreeError> {
        locate(&self.context(cwd)).await
    }

    async fn found(&self, cwd: &Path) -> (Worktree, Git) {
        let worktree = self.locate(cwd).await.unwrap();
        let git = worktree.git.clone().unwrap();
        (worktree, git)
    }
}

impl Ground {
    async fn default_of(&self, path: &Path) -> Option<String> {
        let worktree = self.locate(path).await.unwrap();
        default_branch(&self.context(path), &worktree).await.unwrap()
    }
}

fn branch(name: &str) -> Head {
    Head::Branch(name.into())
}

fn file(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    crate::os::fs::replace(path, text.as_bytes(), 0o644).unwrap();
}

#[tokio::test]
async fn the_main_worktree_from_its_top_and_from_below() {
    let ground = Ground::new();
    let top = ground.repository("platform").await;
    let below = top.join("frontend/app");
    std::fs::create_dir_all(&below).unwrap();
    let (worktree, git) = ground.found(&top).await;
    assert_eq!(worktree.path, top);
    assert_eq!(worktree.slug, "platform");
    assert_eq!(worktree.state, top.join(".git/devrun"));
    assert_eq!(worktree.shared, worktree.state);
    assert!(worktree.state.is_dir());
    assert_eq!(std::fs::read_dir(&worktree.state).unwrap().count(), 0);
    assert_eq!((&git.dir, &git.common_dir), (&top.join(".git"), &top.join(".git")));
    assert_eq!((git.head.clone(), ground.default_of(&top).await.as_deref()), (branch("main"), Some("main")));
    assert_eq!(git.main_worktree.as_ref(), Some(&top));
    assert_eq!(ground.locate(&below).await.unwrap(), worktree);
}

#[tokio::test]
async fn nested_and_sibling_worktrees_have_their_own_state_and_share_the_repository() {
    let ground = Ground::new();
    let main = ground.repository("platform").await;
    ground.git(&main, ["worktree", "add", "-q", "-b", "worktree-a", ".claude/worktrees/feature-a"]).await;
    ground.git(&main, ["worktree", "add", "-q", "-b", "feature/b", "../feature-b"]).await;
    let nested = main.join(".claude/worktrees/feature-a");
    for (path, name, on) in
        [(nested, "feature-a", "worktree-a"), (ground.at("feature-b"), "feature-b", "feature/b")]
    {
        let below = path.join("deep");
        std::fs::create_dir_all(&below).unwrap();
        let (worktree, git) = ground.found(&below).await;
        assert_eq!((&worktree.path, worktree.slug.as_str()), (&path, name));
        assert_eq!(worktree.state, main.join(".git/worktrees").join(name).join("devrun"));
        assert_eq!(worktree.shared, main.join(".git/devrun"));
        assert_eq!(git.head, branch(on));
        assert_eq!(git.branch(), Some(on));
        assert_eq!(git.main_worktree.as_ref(), Some(&main));
        assert_eq!(ground.default_of(&below).await.as_deref(), Some("main"));
    }
}

#[tokio::test]
async fn state_in_the_git_directory_goes_with_the_worktree() {
    let ground = Ground::new();
    let main = ground.repository("platform").await;
    ground.git(&main, ["worktree", "add", "-q", "../away"]).await;
    let worktree = ground.locate(&ground.at("away")).await.unwrap();
    file(worktree.state.join("something"), "kept");
    ground.git(&main, ["worktree", "remove", "../away"]).await;
    assert!(!worktree.state.exists());
}

#[tokio::test]
async fn worktrees_of_the_same_folder_name_get_different_slugs() {
    let ground = Ground::new();
    let main = ground.repository("platform").await;
    for id in ["a1", "b2"] {
        ground.git(&main, ["worktree", "add", "-q", "--detach", &format!("../agents/{id}/platform")]).await;
    }
    let mut slugs = Vec::new();
    for path in [main, ground.at("agents/a1/platform"), ground.at("agents/b2/platform")] {
        slugs.push(ground.locate(&path).await.unwrap().slug);
    }
    assert_eq!(slugs[0], "platform");
    assert!(slugs[1].starts_with("platform-") && slugs[2].starts_with("platform-"));
    assert_ne!(slugs[1], slugs[2]);
}

#[tokio::test]
async fn detached_head_is_no_branch() {
    let ground = Ground::new();
    let main = ground.repository("platform").await;
    ground.git(&main, ["worktree", "add", "-q", "--detach", "../loose"]).await;
    let (_, git) = ground.found(&ground.at("loose")).await;
    assert_eq!((git.head.clone(), git.branch()), (Head::Detached, None));
    ground.git(&main, ["checkout", "-q", "--detach"]).await;
    let (_, git) = ground.found(&main).await;
    assert_eq!((git.head, ground.default_of(&main).await.as_deref()), (Head::Detached, Some("main")));
}

#[tokio::test]
async fn a_branch_without_a_commit_has_its_name() {
    let ground = Ground::new();
    let top = ground.at("new");
    std::fs::create_dir_all(&top).unwrap();
    ground.git(&top, ["init", "-q", "-b", "start/here"]).await;
    let (_, git) = ground.found(&top).await;
    assert_eq!(git.head, branch("start/here"));
    assert_eq!(ground.default_of(&top).await.as_deref(), Some("start/here"));
}

#[tokio::test]
async fn a_bare_repository_with_worktrees_has_no_main_one() {
    let ground = Ground::new();
    let seed = ground.repository("seed").await;
    ground.git(&seed, ["branch", "-m", "production"]).await;
    for (bare, tree) in [("project/.bare", "project/fix"), ("project.git", "project.git/fix")] {
        ground.git(&ground.root, ["clone", "-q", "--bare", "seed", bare]).await;
        let (bare, tree) = (ground.at(bare), ground.at(tree));
        ground.git(&bare, [OsStr::new("worktree"), "add".as_ref(), "-q".as_ref(), tree.as_os_str()]).await;
        let (worktree, git) = ground.found(&tree).await;
        assert_eq!((&worktree.path, worktree.slug.as_str()), (&tree, "fix"));
        assert_eq!(git.main_worktree, None);
        assert_eq!(git.common_dir, bare);
        assert_eq!(git.head, branch("fix"));
        assert_eq!(
            ground.default_of(&tree).await.as_deref(),
            Some("production"),
            "HEAD of the bare repository"
        );
        let error = ground.locate(&bare).await.unwrap_err();
        assert!(matches!(&error, WorktreeError::Bare { path } if *path == bare), "{error}");
    }
    file(ground.at("project/.git"), "gitdir: ./.bare\n");
    assert!(matches!(ground.locate(&ground.at("project")).await, Err(WorktreeError::Bare { .. })));
}

#[tokio::test]
async fn a_clone_takes_its_default_branch_from_the_remote() {
    let ground = Ground::new();
    let seed = ground.repository("seed").await;
    ground.git(&seed, ["checkout", "-q", "-b", "next"]).await;
    ground.git(&ground.root, ["clone", "-q", "seed", "copy"]).await;
    let copy = ground.at("copy");
    ground.git(&copy, ["checkout", "-q", "-b", "main"]).await;
    let (_, git) = ground.found(&copy).await;
    assert_eq!((git.head, ground.default_of(&copy).await.as_deref()), (branch("main"), Some("next")));
}

#[tokio::test]
async fn the_configured_default_branch_counts_when_it_exists() {
    let ground = Ground::new();
    let top = ground.repository("odd").await;
    ground.git(&top, ["branch", "-m", "work"]).await;
    ground.git(&top, ["config", "init.defaultBranch", "stable"]).await;
    assert_eq!(ground.default_of(&top).await.as_deref(), Some("work"));
    ground.git(&top, ["branch", "stable"]).await;
    assert_eq!(ground.default_of(&top).await.as_deref(), Some("stable"));
}

#[tokio::test]
async fn a_submodule_is_a_worktree_of_its_own() {
    let ground = Ground::new();
    ground.repository("library").await;
    let outer = ground.repository("outer").await;
    let source = ground.at("library");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"];
    let args = add.iter().map(OsStr::new).chain([source.as_os_str(), OsStr::new("lib")]);
    ground.git(&outer, args).await;
    let inner = outer.join("lib");
    let (worktree, git) = ground.found(&inner).await;
    assert_eq!((&worktree.path, git.main_worktree.as_ref()), (&inner, Some(&inner)));
    assert_eq!(git.common_dir, outer.join(".git/modules/lib"));
    assert_eq!(git.head, branch("main"));
    ground.git(&inner, ["worktree", "add", "-q", "../../lib-fix"]).await;
    let (worktree, git) = ground.found(&ground.at("lib-fix")).await;
    assert_eq!(worktree.slug, "lib-fix");
    assert_eq!(git.main_worktree, Some(inner));
}

#[tokio::test]
async fn the_git_directory_is_no_place_to_work() {
    let ground = Ground::new();
    let top = ground.repository("platform").await;
    ground.git(&top, ["worktree", "add", "-q", "../other"]).await;
    for place in [".git", ".git/refs", ".git/worktrees/other"] {
        let error = ground.locate(&top.join(place)).await.unwrap_err();
        assert!(matches!(error, WorktreeError::InsideGitDirectory { .. }), "{place}: {error}");
        assert_eq!(error.code(), Code::GitFailed);
    }
}

#[tokio::test]
async fn variables_that_point_elsewhere_are_not_believed() {
    let mut ground = Ground::new();
    let here = ground.repository("here").await;
    let there = ground.repository("there").await;
    ground.git(&there, ["branch", "-m", "elsewhere"]).await;
    let honest = ground.locate(&here).await.unwrap();
    let git_dir = there.join(".git");
    for (name, value) in [
        ("GIT_DIR", git_dir.as_os_str()),
        ("GIT_COMMON_DIR", git_dir.as_os_str()),
        ("GIT_WORK_TREE", there.as_os_str()),
        ("GIT_INDEX_FILE", OsStr::new("/nonexistent/index")),
        ("GIT_OBJECT_DIRECTORY", OsStr::new("/nonexistent/objects")),
        ("GIT_PREFIX", OsStr::new("sub/")),
        ("GIT_TRACE", OsStr::new("1")),
        ("LC_ALL", OsStr::new("de_DE.UTF-8")),
    ] {
        ground.env.insert(name.into(), value.into());
    }
    assert_eq!(ground.locate(&here).await.unwrap(), honest);
}

#[tokio::test]
async fn the_list_of_misleading_variables_is_what_git_says() {
    let said = Cmd::new("git").args(["rev-parse", "--local-env-vars"]).ok().await.unwrap().text();
    let carried = ["GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"];
    for name in said.lines().filter(|name| !carried.contains(name)) {
        assert!(git::REPOSITORY_VARS.contains(&name), "{name} is missing");
    }
}

#[tokio::test]
async fn paths_are_kept_byte_for_byte() {
    let ground = Ground::new();
    let names = [&b"My Apps"[..], "é ü".as_bytes(), b"two\nlines", b"ends\n", b"raw\xff\xfe", b"q'uo\"te\\"];
    // macOS refuses names that are not UTF-8.
    let possible = |name: &&[u8]| cfg!(target_os = "linux") || std::str::from_utf8(name).is_ok();
    for name in names.into_iter().filter(possible) {
        let main = ground.repository(OsStr::from_bytes(&[b"in ", name].concat())).await;
        let linked = ground.at(OsStr::from_bytes(&[b"out ", name].concat()));
        let add = ["worktree", "add", "-q", "--detach"];
        ground.git(&main, add.iter().map(OsStr::new).chain([linked.as_os_str()])).await;
        let below = linked.join(OsStr::from_bytes(name));
        std::fs::create_dir_all(&below).unwrap();
        let (worktree, git) = ground.found(&below).await;
        assert_eq!(worktree.path, linked);
        assert_eq!(git.head, Head::Detached);
        assert_eq!(git.common_dir, main.join(".git"));
        assert_eq!(git.main_worktree, Some(main.clone()));
        assert_eq!(ground.found(&main).await.0.path, main);
    }
}

#[tokio::test]
async fn a_symlink_leads_to_the_physical_worktree() {
    let ground = Ground::new();
    let top = ground.repository("real").await;
    std::fs::create_dir(top.join("sub")).unwrap();
    std::os::unix::fs::symlink(&top, ground.at("link")).unwrap();
    let direct = ground.locate(&top).await.unwrap();
    assert_eq!(ground.locate(&ground.at("link")).await.unwrap(), direct);
    assert_eq!(ground.locate(&ground.at("link/sub")).await.unwrap(), direct);
}

#[tokio::test]
async fn a_worktree_moved_behind_gits_back_still_knows_its_branch() {
    let ground = Ground::new();
    let main = ground.repository("platform").await;
    ground.git(&main, ["worktree", "add", "-q", "../before"]).await;
    std::fs::rename(ground.at("before"), ground.at("after")).unwrap();
    let (worktree, git) = ground.found(&ground.at("after")).await;
    assert_eq!((worktree.path, git.head), (ground.at("after"), branch("before")));
    assert!(worktree.slug.starts_with("after-"));
}

#[tokio::test]
async fn a_worktree_whose_repository_is_gone_says_so() {
    let ground = Ground::new();
    let main = ground.repository("platform").await;
    ground.git(&main, ["worktree", "add", "-q", "../orphan"]).await;
    std::fs::rename(&main, ground.at("moved")).unwrap();
    let error = ground.locate(&ground.at("orphan")).await.unwrap_err();
    assert!(matches!(error, WorktreeError::Git { .. }), "{error}");
    assert!(error.fix().unwrap().contains("git worktree repair"), "{:?}", error.why());
}

#[tokio::test]
async fn outside_git_the_folder_itself_is_the_worktree() {
    let ground = Ground::new();
    let folder = ground.at("plain");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, ground.at("link")).unwrap();
    let worktree = ground.locate(&ground.at("link")).await.unwrap();
    assert_eq!((&worktree.path, worktree.slug.as_str()), (&folder, "plain"));
    assert_eq!(worktree.git, None);
    let states = ground.context(&folder).dirs.state;
    assert!(worktree.state.starts_with(states.join("worktrees")));
    assert!(worktree.shared.starts_with(states.join("repos")));
    assert_eq!(worktree.state.file_name().unwrap().len(), 16);
}

#[tokio::test]
async fn without_git_only_a_repository_is_an_error() {
    let mut ground = Ground::new();
    let top = ground.repository("platform").await;
    let (below, plain) = (top.join("sub"), ground.at("plain"));
    std::fs::create_dir_all(&below).unwrap();
    std::fs::create_dir_all(&plain).unwrap();
    ground.env.insert("PATH".into(), plain.clone().into());
    assert_eq!(ground.locate(&plain).await.unwrap().git, None);
    let error = ground.locate(&below).await.unwrap_err();
    assert!(matches!(&error, WorktreeError::GitMissing { repository } if *repository == top), "{error}");
    assert_eq!(error.code(), Code::GitMissing);
}

#[tokio::test]
async fn a_repository_of_somebody_else_names_gits_own_remedy() {
    let mut ground = Ground::new();
    let top = ground.repository("platform").await;
    ground.env.insert("GIT_TEST_ASSUME_DIFFERENT_OWNER".into(), "1".into());
    let error = ground.locate(&top).await.unwrap_err();
    assert!(matches!(error, WorktreeError::Untrusted { .. }), "{error}");
    let fix = error.fix().unwrap();
    assert!(fix.contains("--add safe.directory") && fix.contains("platform"), "{fix}");
}

#[tokio::test]
async fn trust_given_through_the_environment_counts() {
    let mut ground = Ground::new();
    let top = ground.repository("platform").await;
    for (name, value) in [
        ("GIT_TEST_ASSUME_DIFFERENT_OWNER", OsStr::new("1")),
        ("GIT_CONFIG_COUNT", OsStr::new("1")),
        ("GIT_CONFIG_KEY_0", OsStr::new("safe.directory")),
        ("GIT_CONFIG_VALUE_0", top.as_os_str()),
    ] {
        ground.env.insert(name.into(), value.into());
    }
    assert_eq!(ground.locate(&top).await.unwrap().path, top);
}

#[tokio::test]
async fn a_folder_that_is_gone_is_named() {
    let ground = Ground::new();
    let error = ground.locate(&ground.at("gone")).await.unwrap_err();
    assert!(matches!(&error, WorktreeError::Folder { path, .. } if path.ends_with("gone")), "{error}");
}

#[tokio::test]
async fn a_git_directory_that_cannot_be_written_is_left_alone() {
    let ground = Ground::new();
    let top = ground.repository("platform").await;
    // A file in the way hinders root too, whom modes do not.
    file(top.join(".git/devrun"), "in the way");
    let worktree = ground.locate(&top).await.unwrap();
    let states = ground.context(&top).dirs.state;
    assert!(worktree.state.starts_with(states.join("worktrees")), "{}", worktree.state.display());
    assert!(worktree.shared.starts_with(states.join("repos")));
    let digits = worktree.state.file_name().unwrap().to_str().unwrap();
    assert!(slug::hash(&top).starts_with(digits));
}

#[tokio::test]
async fn state_folders_are_private() {
    let ground = Ground::new();
    let worktree = ground.locate(&ground.repository("platform").await).await.unwrap();
    assert_eq!(std::fs::metadata(&worktree.state).unwrap().permissions().mode() & 0o777, 0o700);
}

/// A repository with one migration on main, and a worktree `copy` of it.
async fn with_migrations(ground: &Ground) -> PathBuf {
    let main = ground.repository("platform").await;
    file(main.join("alembic/versions/one.py"), "1");
    file(main.join(".gitignore"), "__pycache__/\nsecret*.py\n");
    ground.git(&main, ["add", "."]).await;
    ground.git(&main, ["commit", "-q", "-m", "one"]).await;
    ground.git(&main, ["worktree", "add", "-q", "../copy"]).await;
    ground.at("copy")
}

async fn same(ground: &Ground, worktree: &Path) -> bool {
    let patterns = ["alembic/versions/*.py".to_string()];
    sees_same_files(&ground.context(worktree), worktree, "main", &patterns).await
}

#[tokio::test]
async fn the_same_files_are_the_same() {
    let ground = Ground::new();
    let copy = with_migrations(&ground).await;
    assert!(same(&ground, &copy).await);
    file(copy.join("app.py"), "another file changes nothing");
    file(copy.join("alembic/versions/__pycache__/one.py"), "a cache changes nothing");
    file(copy.join("alembic/versions/deep/er.py"), "another folder changes nothing");
    assert!(same(&ground, &copy).await);
}

#[tokio::test]
async fn every_difference_counts() {
    for difference in ["edited", "staged", "committed", "untracked", "ignored", "deleted", "hidden"] {
        let ground = Ground::new();
        let copy = with_migrations(&ground).await;
        let versions = copy.join("alembic/versions");
        match difference {
            "untracked" => file(versions.join("two.py"), "2"),
            "ignored" => file(versions.join("secret2.py"), "2"),
            "deleted" => std::fs::remove_file(versions.join("one.py")).unwrap(),
            _ => file(versions.join("one.py"), "changed"),
        }
        match difference {
            "staged" => ground.git(&copy, ["add", "."]).await,
            "committed" => ground.git(&copy, ["commit", "-q", "-am", "two"]).await,
            "hidden" => {
                let hide = ["update-index", "--assume-unchanged", "alembic/versions/one.py"];
                ground.git(&copy, hide).await;
            }
            _ => {}
        }
        assert!(!same(&ground, &copy).await, "{difference}");
    }
}

#[tokio::test]
async fn doubt_means_no() {
    let ground = Ground::new();
    let copy = with_migrations(&ground).await;
    let ctx = ground.context(&copy);
    let ask = async |branch: &str, patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        sees_same_files(&ctx, &copy, branch, &patterns).await
    };
    assert!(ask("main", &["alembic"]).await);
    assert!(!ask("main", &[]).await);
    assert!(!ask("main", &["no/such/*.py"]).await);
    assert!(!ask("main", &["../platform"]).await);
    assert!(!ask("no-such-branch", &["alembic"]).await);
    assert!(!ask("", &["alembic"]).await);
    let plain = ground.at("plain");
    std::fs::create_dir(&plain).unwrap();
    assert!(!sees_same_files(&ctx, &plain, "main", &["alembic".into()]).await);
}
