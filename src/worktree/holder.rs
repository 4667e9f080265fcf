//! Which worktrees of a repository may work with something that was made for a git branch, or in a folder.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::Worktree;
use super::git::{git, short_name};
use super::locate::locate;
use crate::context::Context;

/// The other worktrees of `own`'s repository that are on `branch` or at `folder`. What git does not tell counts as none.
pub async fn holders(
    ctx: &Context,
    own: &Worktree,
    branch: Option<&str>,
    folder: Option<&Path>,
) -> Vec<Worktree> {
    let Some(repository) = &own.git else { return Vec::new() };
    let list = git(ctx, &own.path).args(["worktree", "list", "--porcelain", "-z"]).ok().await;
    let listed = list.map(|output| parse(&output.stdout)).unwrap_or_default();
    let mut found = Vec::new();
    for (path, on) in listed {
        let concerned = on.is_some_and(|on| Some(on.as_str()) == branch) || Some(path.as_path()) == folder;
        if path == own.path || !concerned {
            continue;
        }
        let there = Context { cwd: path, ..ctx.clone() };
        let Ok(worktree) = locate(&there).await else { continue };
        // git remembers folders that are gone, and another repository may be there by now.
        if worktree.git.as_ref().is_some_and(|git| git.common_dir == repository.common_dir) {
            found.push(worktree);
        }
    }
    found
}

/// Folder and branch of each worktree in git's list.
fn parse(answer: &[u8]) -> Vec<(PathBuf, Option<String>)> {
    let mut listed: Vec<(PathBuf, Option<String>)> = Vec::new();
    for field in answer.split(|byte| *byte == 0) {
        if let Some(path) = field.strip_prefix(b"worktree ") {
            listed.push((PathBuf::from(OsString::from_vec(path.to_vec())), None));
        } else if let (Some(last), Some(name)) = (listed.last_mut(), field.strip_prefix(b"branch ")) {
            last.1 = Some(short_name(name));
        }
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_read_to_its_end() {
        let listed = parse(
            b"worktree /b\0bare\0\0\
              worktree /a\nb\0HEAD 00\0branch refs/heads/x/y\0locked why\0\0\
              worktree /c\0HEAD 1\0detached\0\0",
        );
        let wanted = [("/b", None), ("/a\nb", Some("x/y")), ("/c", None)];
        assert_eq!(listed, wanted.map(|(path, branch)| (path.into(), branch.map(String::from))));
    }
}
