//! Tests of all layouts of worktrees, with real git in temporary folders.

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

/// A temporary folder, with a git that ignores the user's configuration.
struct TestRepository {
    root: PathBuf,
    env: BTreeMap<OsString, OsString>,
    _folder: tempfile::TempDir,
}

impl TestRepository {
    fn new() -> TestRepository {
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
        TestRepository { root, env, _folder: folder }
    }

    fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root.join(path)
    }

    async fn git<A: AsRef<OsStr>>(&self, folder: &Path, args: impl IntoIterator<Item = A>) {
        let git = Cmd::new("git").only_env(&self.env).directory(folder).args(args);
        git.ok().await.unwrap_or_else(|error| panic!("{error}: {:?}", error.tail(9)));
    }

    /// Creates a repository at `path` with one commit on `main`.
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
            events: Events::discarded(),
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

impl TestRepository {
    async fn default_of(&self, path: &Path) -> Option<String> {
        let worktree = self.locate(path).await.unwrap();
        default_branch(&self.context(path), &worktree).await.unwrap()
    }
}

fn branch(name: &str) -> GitHead {
    GitHead::Branch(name.into())
}

fn file(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    crate::os::fs::replace(path, text.as_bytes(), 0o644).unwrap();
}

#[tokio::test]
async fn the_main_worktree_is_found_from_its_top_and_from_below() {
    let repository = TestRepository::new();
    let top = repository.repository("platform").await;
    let below = top.join("frontend/app");
    std::fs::create_dir_all(&below).unwrap();
    let (worktree, git) = repository.found(&top).await;
    assert_eq!(worktree.path, top);
    assert_eq!(worktree.slug, "platform");
    assert_eq!(worktree.state, top.join(".git/devrun"));
    assert_eq!(worktree.shared, worktree.state);
    assert!(worktree.state.is_dir());
    assert_eq!(std::fs::read_dir(&worktree.state).unwrap().count(), 0);
    assert_eq!((&git.dir, &git.common_dir), (&top.join(".git"), &top.join(".git")));
    assert_eq!(
        (git.head.clone(), repository.default_of(&top).await.as_deref()),
        (branch("main"), Some("main"))
    );
    assert_eq!(git.main_worktree.as_ref(), Some(&top));
    assert_eq!(repository.locate(&below).await.unwrap(), worktree);
}

#[tokio::test]
async fn nested_and_sibling_worktrees_have_their_own_state_and_share_the_repository() {
    let repository = TestRepository::new();
    let main = repository.repository("platform").await;
    repository.git(&main, ["worktree", "add", "-q", "-b", "worktree-a", ".claude/worktrees/feature-a"]).await;
    repository.git(&main, ["worktree", "add", "-q", "-b", "feature/b", "../feature-b"]).await;
    let nested = main.join(".claude/worktrees/feature-a");
    for (path, name, on) in
        [(nested, "feature-a", "worktree-a"), (repository.at("feature-b"), "feature-b", "feature/b")]
    {
        let below = path.join("deep");
        std::fs::create_dir_all(&below).unwrap();
        let (worktree, git) = repository.found(&below).await;
        assert_eq!((&worktree.path, worktree.slug.as_str()), (&path, name));
        assert_eq!(worktree.state, main.join(".git/worktrees").join(name).join("devrun"));
        assert_eq!(worktree.shared, main.join(".git/devrun"));
        assert_eq!(git.head, branch(on));
        assert_eq!(git.branch(), Some(on));
        assert_eq!(git.main_worktree.as_ref(), Some(&main));
        assert_eq!(repository.default_of(&below).await.as_deref(), Some("main"));
    }
}

#[tokio::test]
async fn state_in_the_git_directory_is_removed_with_the_worktree() {
    let repository = TestRepository::new();
    let main = repository.repository("platform").await;
    repository.git(&main, ["worktree", "add", "-q", "../away"]).await;
    let worktree = repository.locate(&repository.at("away")).await.unwrap();
    file(worktree.state.join("something"), "kept");
    repository.git(&main, ["worktree", "remove", "../away"]).await;
    assert!(!worktree.state.exists());
}

#[tokio::test]
async fn worktrees_of_the_same_folder_name_get_different_slugs() {
    let repository = TestRepository::new();
    let main = repository.repository("platform").await;
    for id in ["a1", "b2"] {
        repository
            .git(&main, ["worktree", "add", "-q", "--detach", &format!("../agents/{id}/platform")])
            .await;
    }
    let mut slugs = Vec::new();
    for path in [main, repository.at("agents/a1/platform"), repository.at("agents/b2/platform")] {
        slugs.push(repository.locate(&path).await.unwrap().slug);
    }
    assert_eq!(slugs[0], "platform");
    assert!(slugs[1].starts_with("platform-") && slugs[2].starts_with("platform-"));
    assert_ne!(slugs[1], slugs[2]);
}

#[tokio::test]
async fn a_detached_head_has_no_branch() {
    let repository = TestRepository::new();
    let main = repository.repository("platform").await;
    repository.git(&main, ["worktree", "add", "-q", "--detach", "../loose"]).await;
    let (_, git) = repository.found(&repository.at("loose")).await;
    assert_eq!((git.head.clone(), git.branch()), (GitHead::Detached, None));
    repository.git(&main, ["checkout", "-q", "--detach"]).await;
    let (_, git) = repository.found(&main).await;
    assert_eq!((git.head, repository.default_of(&main).await.as_deref()), (GitHead::Detached, Some("main")));
}

#[tokio::test]
async fn a_branch_without_a_commit_has_its_name() {
    let repository = TestRepository::new();
    let top = repository.at("new");
    std::fs::create_dir_all(&top).unwrap();
    repository.git(&top, ["init", "-q", "-b", "start/here"]).await;
    let (_, git) = repository.found(&top).await;
    assert_eq!(git.head, branch("start/here"));
    assert_eq!(repository.default_of(&top).await.as_deref(), Some("start/here"));
}

#[tokio::test]
async fn a_bare_repository_with_worktrees_has_no_main_worktree() {
    let repository = TestRepository::new();
    let seed = repository.repository("seed").await;
    repository.git(&seed, ["branch", "-m", "production"]).await;
    for (bare, tree) in [("project/.bare", "project/fix"), ("project.git", "project.git/fix")] {
        repository.git(&repository.root, ["clone", "-q", "--bare", "seed", bare]).await;
        let (bare, tree) = (repository.at(bare), repository.at(tree));
        repository
            .git(&bare, [OsStr::new("worktree"), "add".as_ref(), "-q".as_ref(), tree.as_os_str()])
            .await;
        let (worktree, git) = repository.found(&tree).await;
        assert_eq!((&worktree.path, worktree.slug.as_str()), (&tree, "fix"));
        assert_eq!(git.main_worktree, None);
        assert_eq!(git.common_dir, bare);
        assert_eq!(git.head, branch("fix"));
        assert_eq!(
            repository.default_of(&tree).await.as_deref(),
            Some("production"),
            "HEAD of the bare repository"
        );
        let error = repository.locate(&bare).await.unwrap_err();
        assert!(matches!(&error, WorktreeError::Bare { path } if *path == bare), "{error}");
    }
    file(repository.at("project/.git"), "gitdir: ./.bare\n");
    assert!(matches!(repository.locate(&repository.at("project")).await, Err(WorktreeError::Bare { .. })));
}

#[tokio::test]
async fn a_clone_takes_its_default_branch_from_the_remote() {
    let repository = TestRepository::new();
    let seed = repository.repository("seed").await;
    repository.git(&seed, ["checkout", "-q", "-b", "next"]).await;
    repository.git(&repository.root, ["clone", "-q", "seed", "copy"]).await;
    let copy = repository.at("copy");
    repository.git(&copy, ["checkout", "-q", "-b", "main"]).await;
    let (_, git) = repository.found(&copy).await;
    assert_eq!((git.head, repository.default_of(&copy).await.as_deref()), (branch("main"), Some("next")));
}

#[tokio::test]
async fn the_configured_default_branch_counts_when_it_exists() {
    let repository = TestRepository::new();
    let top = repository.repository("odd").await;
    repository.git(&top, ["branch", "-m", "work"]).await;
    repository.git(&top, ["config", "init.defaultBranch", "stable"]).await;
    assert_eq!(repository.default_of(&top).await.as_deref(), Some("work"));
    repository.git(&top, ["branch", "stable"]).await;
    assert_eq!(repository.default_of(&top).await.as_deref(), Some("stable"));
}

#[tokio::test]
async fn a_submodule_is_a_separate_worktree() {
    let repository = TestRepository::new();
    repository.repository("library").await;
    let outer = repository.repository("outer").await;
    let source = repository.at("library");
    let add = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "add"];
    let args = add.iter().map(OsStr::new).chain([source.as_os_str(), OsStr::new("lib")]);
    repository.git(&outer, args).await;
    let inner = outer.join("lib");
    let (worktree, git) = repository.found(&inner).await;
    assert_eq!((&worktree.path, git.main_worktree.as_ref()), (&inner, Some(&inner)));
    assert_eq!(git.common_dir, outer.join(".git/modules/lib"));
    assert_eq!(git.head, branch("main"));
    repository.git(&inner, ["worktree", "add", "-q", "../../lib-fix"]).await;
    let (worktree, git) = repository.found(&repository.at("lib-fix")).await;
    assert_eq!(worktree.slug, "lib-fix");
    assert_eq!(git.main_worktree, Some(inner));
}

#[tokio::test]
async fn the_git_directory_is_not_a_worktree() {
    let repository = TestRepository::new();
    let top = repository.repository("platform").await;
    repository.git(&top, ["worktree", "add", "-q", "../other"]).await;
    for place in [".git", ".git/refs", ".git/worktrees/other"] {
        let error = repository.locate(&top.join(place)).await.unwrap_err();
        assert!(matches!(error, WorktreeError::InsideGitDirectory { .. }), "{place}: {error}");
        assert_eq!(error.code(), Code::GitFailed);
    }
}

#[tokio::test]
async fn variables_for_another_repository_are_ignored() {
    let mut repository = TestRepository::new();
    let here = repository.repository("here").await;
    let there = repository.repository("there").await;
    repository.git(&there, ["branch", "-m", "elsewhere"]).await;
    let honest = repository.locate(&here).await.unwrap();
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
        repository.env.insert(name.into(), value.into());
    }
    assert_eq!(repository.locate(&here).await.unwrap(), honest);
}

#[tokio::test]
async fn the_list_of_repository_variables_equals_that_of_git() {
    let said = Cmd::new("git").args(["rev-parse", "--local-env-vars"]).ok().await.unwrap().text();
    let carried = ["GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT"];
    for name in said.lines().filter(|name| !carried.contains(name)) {
        assert!(git::REPOSITORY_VARS.contains(&name), "{name} is missing");
    }
}

#[tokio::test]
async fn paths_are_kept_byte_for_byte() {
    let repository = TestRepository::new();
    let names = [&b"My Apps"[..], "é ü".as_bytes(), b"two\nlines", b"ends\n", b"raw\xff\xfe", b"q'uo\"te\\"];
    // macOS refuses names that are not UTF-8.
    let possible = |name: &&[u8]| cfg!(target_os = "linux") || std::str::from_utf8(name).is_ok();
    for name in names.into_iter().filter(possible) {
        let main = repository.repository(OsStr::from_bytes(&[b"in ", name].concat())).await;
        let linked = repository.at(OsStr::from_bytes(&[b"out ", name].concat()));
        let add = ["worktree", "add", "-q", "--detach"];
        repository.git(&main, add.iter().map(OsStr::new).chain([linked.as_os_str()])).await;
        let below = linked.join(OsStr::from_bytes(name));
        std::fs::create_dir_all(&below).unwrap();
        let (worktree, git) = repository.found(&below).await;
        assert_eq!(worktree.path, linked);
        assert_eq!(git.head, GitHead::Detached);
        assert_eq!(git.common_dir, main.join(".git"));
        assert_eq!(git.main_worktree, Some(main.clone()));
        assert_eq!(repository.found(&main).await.0.path, main);
    }
}

#[tokio::test]
async fn a_symlink_leads_to_the_physical_worktree() {
    let repository = TestRepository::new();
    let top = repository.repository("real").await;
    std::fs::create_dir(top.join("sub")).unwrap();
    std::os::unix::fs::symlink(&top, repository.at("link")).unwrap();
    let direct = repository.locate(&top).await.unwrap();
    assert_eq!(repository.locate(&repository.at("link")).await.unwrap(), direct);
    assert_eq!(repository.locate(&repository.at("link/sub")).await.unwrap(), direct);
}

#[tokio::test]
async fn worktree_moved_without_git_keeps_its_branch() {
    let repository = TestRepository::new();
    let main = repository.repository("platform").await;
    repository.git(&main, ["worktree", "add", "-q", "../before"]).await;
    std::fs::rename(repository.at("before"), repository.at("after")).unwrap();
    let (worktree, git) = repository.found(&repository.at("after")).await;
    assert_eq!((worktree.path, git.head), (repository.at("after"), branch("before")));
    assert!(worktree.slug.starts_with("after-"));
}

#[tokio::test]
async fn a_worktree_without_its_repository_is_an_error_with_a_fix() {
    let repository = TestRepository::new();
    let main = repository.repository("platform").await;
    repository.git(&main, ["worktree", "add", "-q", "../orphan"]).await;
    std::fs::rename(&main, repository.at("moved")).unwrap();
    let error = repository.locate(&repository.at("orphan")).await.unwrap_err();
    assert!(matches!(error, WorktreeError::Git { .. }), "{error}");
    assert!(error.fix().unwrap().contains("git worktree repair"), "{:?}", error.why());
}

#[tokio::test]
async fn outside_git_the_folder_itself_is_the_worktree() {
    let repository = TestRepository::new();
    let folder = repository.at("plain");
    std::fs::create_dir(&folder).unwrap();
    std::os::unix::fs::symlink(&folder, repository.at("link")).unwrap();
    let worktree = repository.locate(&repository.at("link")).await.unwrap();
    assert_eq!((&worktree.path, worktree.slug.as_str()), (&folder, "plain"));
    assert_eq!(worktree.git, None);
    let states = repository.context(&folder).dirs.state;
    assert!(worktree.state.starts_with(states.join("worktrees")));
    assert!(worktree.shared.starts_with(states.join("repos")));
    assert_eq!(worktree.state.file_name().unwrap().len(), 16);
}

#[tokio::test]
async fn a_missing_git_is_an_error_only_in_a_repository() {
    let mut repository = TestRepository::new();
    let top = repository.repository("platform").await;
    let (below, plain) = (top.join("sub"), repository.at("plain"));
    std::fs::create_dir_all(&below).unwrap();
    std::fs::create_dir_all(&plain).unwrap();
    repository.env.insert("PATH".into(), plain.clone().into());
    assert_eq!(repository.locate(&plain).await.unwrap().git, None);
    let error = repository.locate(&below).await.unwrap_err();
    assert!(matches!(&error, WorktreeError::GitMissing { repository } if *repository == top), "{error}");
    assert_eq!(error.code(), Code::GitMissing);
}

#[tokio::test]
async fn a_repository_of_another_user_is_an_error_with_the_fix_of_git() {
    let mut repository = TestRepository::new();
    let top = repository.repository("platform").await;
    repository.env.insert("GIT_TEST_ASSUME_DIFFERENT_OWNER".into(), "1".into());
    let error = repository.locate(&top).await.unwrap_err();
    assert!(matches!(error, WorktreeError::Untrusted { .. }), "{error}");
    let fix = error.fix().unwrap();
    assert!(fix.contains("--add safe.directory") && fix.contains("platform"), "{fix}");
}

#[tokio::test]
async fn trust_from_the_environment_counts() {
    let mut repository = TestRepository::new();
    let top = repository.repository("platform").await;
    for (name, value) in [
        ("GIT_TEST_ASSUME_DIFFERENT_OWNER", OsStr::new("1")),
        ("GIT_CONFIG_COUNT", OsStr::new("1")),
        ("GIT_CONFIG_KEY_0", OsStr::new("safe.directory")),
        ("GIT_CONFIG_VALUE_0", top.as_os_str()),
    ] {
        repository.env.insert(name.into(), value.into());
    }
    assert_eq!(repository.locate(&top).await.unwrap().path, top);
}

#[tokio::test]
async fn a_missing_folder_is_named() {
    let repository = TestRepository::new();
    let error = repository.locate(&repository.at("gone")).await.unwrap_err();
    assert!(matches!(&error, WorktreeError::Folder { path, .. } if path.ends_with("gone")), "{error}");
}

#[tokio::test]
async fn a_git_directory_that_is_not_writable_is_left_unchanged() {
    let repository = TestRepository::new();
    let top = repository.repository("platform").await;
    // A file with the folder's name also stops root, which ignores modes.
    file(top.join(".git/devrun"), "in the way");
    let worktree = repository.locate(&top).await.unwrap();
    let states = repository.context(&top).dirs.state;
    assert!(worktree.state.starts_with(states.join("worktrees")), "{}", worktree.state.display());
    assert!(worktree.shared.starts_with(states.join("repos")));
    let digits = worktree.state.file_name().unwrap().to_str().unwrap();
    assert!(slug::hash(&top).starts_with(digits));
}

#[tokio::test]
async fn state_folders_are_private() {
    let repository = TestRepository::new();
    let worktree = repository.locate(&repository.repository("platform").await).await.unwrap();
    assert_eq!(std::fs::metadata(&worktree.state).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Creates a repository with one migration on main, and a worktree `copy` of it.
async fn with_migrations(repository: &TestRepository) -> PathBuf {
    let main = repository.repository("platform").await;
    file(main.join("alembic/versions/one.py"), "1");
    file(main.join(".gitignore"), "__pycache__/\nsecret*.py\n");
    repository.git(&main, ["add", "."]).await;
    repository.git(&main, ["commit", "-q", "-m", "one"]).await;
    repository.git(&main, ["worktree", "add", "-q", "../copy"]).await;
    repository.at("copy")
}

async fn same(repository: &TestRepository, worktree: &Path) -> bool {
    let patterns = ["alembic/versions/*.py".to_string()];
    sees_same_files(&repository.context(worktree), worktree, "main", &patterns).await
}

#[tokio::test]
async fn equal_files_are_recognised() {
    let repository = TestRepository::new();
    let copy = with_migrations(&repository).await;
    assert!(same(&repository, &copy).await);
    file(copy.join("app.py"), "another file changes nothing");
    file(copy.join("alembic/versions/__pycache__/one.py"), "a cache changes nothing");
    file(copy.join("alembic/versions/deep/er.py"), "another folder changes nothing");
    assert!(same(&repository, &copy).await);
}

#[tokio::test]
async fn every_difference_is_noticed() {
    for difference in ["edited", "staged", "committed", "untracked", "ignored", "deleted", "hidden"] {
        let repository = TestRepository::new();
        let copy = with_migrations(&repository).await;
        let versions = copy.join("alembic/versions");
        match difference {
            "untracked" => file(versions.join("two.py"), "2"),
            "ignored" => file(versions.join("secret2.py"), "2"),
            "deleted" => std::fs::remove_file(versions.join("one.py")).unwrap(),
            _ => file(versions.join("one.py"), "changed"),
        }
        match difference {
            "staged" => repository.git(&copy, ["add", "."]).await,
            "committed" => repository.git(&copy, ["commit", "-q", "-am", "two"]).await,
            "hidden" => {
                let hide = ["update-index", "--assume-unchanged", "alembic/versions/one.py"];
                repository.git(&copy, hide).await;
            }
            _ => {}
        }
        assert!(!same(&repository, &copy).await, "{difference}");
    }
}

#[tokio::test]
async fn doubt_counts_as_a_difference() {
    let repository = TestRepository::new();
    let copy = with_migrations(&repository).await;
    let ctx = repository.context(&copy);
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
    let plain = repository.at("plain");
    std::fs::create_dir(&plain).unwrap();
    assert!(!sees_same_files(&ctx, &plain, "main", &["alembic".into()]).await);
}

#[tokio::test]
async fn git_that_fails_does_not_ignore_a_file() {
    let repository = TestRepository::new();
    let top = repository.repository("app").await;
    file(top.join(".gitignore"), ".env*\n");
    let mut ctx = repository.context(&top);
    let ask =
        async |ctx: &Context, folder: &Path, path: &str| git_treatment(ctx, folder, path.as_ref()).await;
    assert_eq!(ask(&ctx, &top, ".env").await.unwrap(), GitTreatment::Ignored);
    assert_eq!(ask(&ctx, &top, "conf.env").await.unwrap(), GitTreatment::Shown);
    assert_eq!(ask(&ctx, &repository.root, ".env").await.unwrap(), GitTreatment::Ignored, "no repository");
    file(top.join(".git/index"), "damaged");
    let error = ask(&ctx, &top, "conf.env").await.unwrap_err();
    assert!(error.to_string().contains("say whether it ignores conf.env"), "{error}");
    file(top.join(".git/config"), "[broken");
    assert!(matches!(ask(&ctx, &top, ".env").await, Err(WorktreeError::Git { .. })));
    // Without git, only a folder without a repository is certain.
    ctx.env.insert("PATH".into(), repository.at("empty").into());
    assert!(matches!(ask(&ctx, &top, ".env").await, Err(WorktreeError::GitMissing { .. })));
    assert_eq!(ask(&ctx, &repository.root, ".env").await.unwrap(), GitTreatment::Ignored);
}

#[tokio::test]
async fn only_links_that_git_ignores_are_those_of_the_user() {
    let repository = TestRepository::new();
    let top = repository.repository("app").await;
    let ctx = repository.context(&top);
    file(top.join(".gitignore"), ".env*\n");
    file(repository.at("outside"), "A=1\n");
    let link = |target: &str, name: &str| std::os::unix::fs::symlink(target, top.join(name)).unwrap();
    link("../outside", ".env");
    link("../outside", ".env.tracked");
    link(".env.tracked", ".env.chain");
    repository.git(&top, ["add", "-f", ".env.tracked"]).await;
    let is_own = async |name: &str| is_own_link(&ctx, &top, name.as_ref()).await;
    assert!(is_own(".env").await);
    for name in [".env.tracked", ".env.chain", ".gitignore", "missing"] {
        assert!(!is_own(name).await, "{name}");
    }
}
