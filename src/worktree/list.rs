//! Lists the worktrees of a repository as git knows them, and finds one by name. The parser and the search are pure.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::git::{git, short_name};
use super::locate::checked;
use super::{Worktree, WorktreeError, name, state_folder};
use crate::context::Context;
use crate::os::read::{self, Limit};

/// A worktree in git's list. Its folder may not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedWorktree {
    /// Top level, or the git directory of a bare repository.
    pub path: PathBuf,
    /// The commit that is checked out; `None` on a branch without a commit, and for a bare repository.
    pub commit: Option<String>,
    /// The branch, as in [`super::GitHead::Branch`]; `None` if HEAD is detached.
    pub branch: Option<String>,
    /// True for the first record if the repository is bare.
    pub is_bare: bool,
    /// The reason of `git worktree lock`, which may be empty. `None` if it is not locked.
    pub locked: Option<String>,
    /// True for the main worktree and for a bare repository, which git lists first.
    pub is_main: bool,
    /// True if git finds no worktree there.
    pub is_prunable: bool,
    /// The worktree's own git directory, if it is known.
    pub git_dir: Option<PathBuf>,
}

/// Returns the worktrees of the repository around `folder`. Errors if git fails.
pub async fn list(ctx: &Context, folder: &Path) -> Result<Vec<ListedWorktree>, WorktreeError> {
    let asked = git(ctx, folder).args(["worktree", "list", "--porcelain", "-z"]).output().await;
    Ok(parse(&checked(folder, asked)?.stdout))
}

/// Returns the worktrees as [`list`] does, with their git directories. Returns an empty list outside git.
pub async fn list_with_git_dirs(ctx: &Context, own: &Worktree) -> Result<Vec<ListedWorktree>, WorktreeError> {
    let Some(repository) = &own.git else { return Ok(Vec::new()) };
    let mut listed = list(ctx, &own.path).await?;
    let folders = git_dirs(&repository.common_dir);
    for one in &mut listed {
        let of_main = one.is_main.then(|| repository.common_dir.clone());
        one.git_dir = of_main.or_else(|| folders.get(&one.path).cloned());
    }
    Ok(listed)
}

/// Returns the state folder of the worktree at `path`, which git must still list. The folder of the worktree may be gone.
pub async fn state_of_listed(ctx: &Context, here: &Worktree, path: &Path) -> PathBuf {
    let listed = list_with_git_dirs(ctx, here).await.unwrap_or_default();
    let git_dir = listed.into_iter().find(|one| one.path == path).and_then(|one| one.git_dir);
    state_folder::of_worktree(&ctx.dirs, path, git_dir.as_deref())
}

/// Parses the output of `git worktree list --porcelain -z`.
pub(super) fn parse(answer: &[u8]) -> Vec<ListedWorktree> {
    let mut listed: Vec<ListedWorktree> = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for field in answer.split(|byte| *byte == 0) {
        if let Some(path) = field.strip_prefix(b"worktree ") {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            listed.push(ListedWorktree { path, is_main: listed.is_empty(), ..ListedWorktree::default() });
            continue;
        }
        let Some(last) = listed.last_mut() else { continue };
        if let Some(commit) = field.strip_prefix(b"HEAD ") {
            last.commit = Some(text(commit)).filter(|commit| commit.bytes().any(|c| c != b'0'));
        } else if let Some(branch) = field.strip_prefix(b"branch ") {
            last.branch = Some(short_name(branch));
        } else if field == b"bare" {
            last.is_bare = true;
        } else if field == b"prunable" || field.starts_with(b"prunable ") {
            last.is_prunable = true;
        } else if field == b"locked" || field.starts_with(b"locked ") {
            last.locked = Some(text(field.strip_prefix(b"locked ").unwrap_or_default()));
        }
    }
    listed
}

/// Returns the worktrees that `wanted` names: the one at `path`, else those on the branch of that name, else those whose
/// folder has that name. A name that is no valid branch counts as the branch and folder that `devrun new` makes of it.
pub fn find<'a>(all: &'a [ListedWorktree], wanted: &str, path: &Path) -> Vec<&'a ListedWorktree> {
    let branch = name::branch(wanted);
    let folder = branch.as_deref().map(name::folder);
    let on = |one: &&ListedWorktree, name: Option<&str>| name.is_some() && one.branch.as_deref() == name;
    let called = |one: &&ListedWorktree, name: Option<&str>| {
        name.is_some() && one.path.file_name() == name.map(OsStr::new)
    };
    let all = || all.iter().filter(|one| !one.is_bare);
    let steps: [Vec<&ListedWorktree>; 5] = [
        all().filter(|one| one.path == path).collect(),
        all().filter(|one| on(one, Some(wanted))).collect(),
        all().filter(|one| on(one, branch.as_deref())).collect(),
        all().filter(|one| called(one, Some(wanted))).collect(),
        all().filter(|one| called(one, folder.as_deref())).collect(),
    ];
    steps.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
}

/// Returns the git directory of each linked worktree, by the worktree's path as git prints it: the one that the file `gitdir` in
/// that directory names. A relative path there begins at that directory, and git prints it without `..`.
fn git_dirs(common_dir: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let entries = std::fs::read_dir(common_dir.join("worktrees")).into_iter().flatten().flatten();
    let named = entries.filter_map(|entry| {
        let folder = entry.path();
        let bytes = read::file(&folder.join("gitdir"), Limit::SMALL).ok()?;
        let file = Path::new(OsStr::from_bytes(bytes.trim_ascii_end()));
        let top = file.parent()?;
        let top = if file.is_absolute() { top.to_path_buf() } else { resolved(&folder, top)? };
        Some((top, folder))
    });
    named.collect()
}

/// Returns the physical path of `relative`, which begins at `folder` and whose last parts may not exist.
fn resolved(folder: &Path, relative: &Path) -> Option<PathBuf> {
    let mut path = folder.canonicalize().ok()?;
    for part in relative.components() {
        match part {
            Component::ParentDir => {
                path.pop();
            }
            Component::Normal(name) => {
                path.push(name);
                // `..` after a link leads out of its target.
                path = path.canonicalize().unwrap_or(path);
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str, branch: Option<&str>) -> ListedWorktree {
        ListedWorktree { path: path.into(), branch: branch.map(Into::into), ..ListedWorktree::default() }
    }

    #[test]
    fn every_record_of_the_list_is_parsed() {
        let all = parse(
            b"worktree /b\0bare\0\0\
              worktree /a\nb\0HEAD 01\0branch refs/heads/x/y\0locked why\0\0\
              worktree /c\0HEAD 1\0detached\0locked\0prunable gone\0\0\
              worktree /d\0HEAD 00\0branch refs/heads/unborn\0\0",
        );
        let bare = ListedWorktree { is_bare: true, is_main: true, ..listed("/b", None) };
        let locked = |reason: &str| Some(reason.to_string());
        let commit = |commit: &str| Some(commit.to_string());
        let on =
            ListedWorktree { commit: commit("01"), locked: locked("why"), ..listed("/a\nb", Some("x/y")) };
        let detached = ListedWorktree {
            commit: commit("1"),
            locked: locked(""),
            is_prunable: true,
            ..listed("/c", None)
        };
        assert_eq!(all, [bare, on, detached, listed("/d", Some("unborn"))]);
    }

    #[test]
    fn relative_links_of_worktrees_are_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let common = top.join("repo/.git");
        let link = |name: &str, text: String| {
            let folder = common.join("worktrees").join(name);
            crate::os::fs::replace(&folder.join("gitdir"), (text + "\n").as_bytes(), 0o600).unwrap();
            folder
        };
        std::fs::create_dir_all(top.join("beside")).unwrap();
        let beside = link("beside", "../../../../beside/.git".into());
        let gone = link("gone", "../../../../away/gone/.git".into());
        let absolute = link("absolute", top.join("absolute/.git").display().to_string());
        let wanted = [("beside", beside), ("away/gone", gone), ("absolute", absolute)];
        let wanted = wanted.map(|(path, folder)| (top.join(path), folder));
        assert_eq!(git_dirs(&common), BTreeMap::from(wanted));
    }

    #[test]
    fn a_path_comes_before_a_branch_and_a_branch_before_a_folder() {
        let all = [
            listed("/r", Some("main")),
            listed("/r.worktrees/feature-a", Some("other")),
            listed("/r.worktrees/x", Some("feature/a")),
            listed("/r.worktrees/Big-idea", Some("Big-idea")),
        ];
        let found = |wanted: &str, path: &str| -> Vec<String> {
            let found = find(&all, wanted, Path::new(path));
            found.iter().map(|one| one.path.display().to_string()).collect()
        };
        assert_eq!(found("feature/a", "/r/feature/a"), ["/r.worktrees/x"]);
        assert_eq!(found("feature-a", "/r/feature-a"), ["/r.worktrees/feature-a"]);
        assert_eq!(found("x", "/r.worktrees/feature-a"), ["/r.worktrees/feature-a"]);
        assert_eq!(found("Big idea", "/r/Big idea"), ["/r.worktrees/Big-idea"]);
        assert_eq!(found("main", "/r/main"), ["/r"]);
        assert!(found("nothing", "/r/nothing").is_empty());
    }
}
