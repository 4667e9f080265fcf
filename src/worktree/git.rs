//! Builds git commands and parses their output (the parsers are pure).
//!
//! The output is bytes: paths may contain spaces, newlines and everything else except NUL.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::GitHead;
use crate::context::Context;
use crate::os::cmd::Cmd;

/// The time limit of one call of git, unless the caller sets another one.
const LIMIT: Duration = Duration::from_secs(10);

/// Variables that make git use another repository than the one around the working directory. Hooks and aliases set
/// them. The list is `git rev-parse --local-env-vars`, of old versions too, without the two that carry configuration (`git -c`): git itself
/// passes these on to other repositories, and they may contain `safe.directory`.
pub const REPOSITORY_VARS: [&str; 14] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Variables that change the meaning of a pathspec.
const PATHSPEC_VARS: [&str; 4] =
    ["GIT_LITERAL_PATHSPECS", "GIT_GLOB_PATHSPECS", "GIT_NOGLOB_PATHSPECS", "GIT_ICASE_PATHSPECS"];

/// Returns a git command in `directory`: for the repository there, independent of the environment, with English output,
/// without refreshing the index on the way (`GIT_OPTIONAL_LOCKS`), and with a limit of 10 s.
pub fn git(ctx: &Context, directory: &Path) -> Cmd {
    let misleading = |name: &OsStr| {
        name.to_str().is_some_and(|name| REPOSITORY_VARS.contains(&name) || PATHSPEC_VARS.contains(&name))
    };
    Cmd::new("git")
        .only_env(ctx.passed_on().filter(|(name, _)| !misleading(name)))
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("LC_ALL", "C")
        .directory(directory)
        .limit(LIMIT)
}

/// Separates two paths in the output of `rev-parse`: git prints an option that it does not know, such as this one.
const MARKER: &str = "--devrun-marker";

/// The arguments whose output [`DirectoryKind::parse`] parses. The last one fails on a branch without a commit, after the
/// others were answered.
pub(super) const WHEREABOUTS: [&str; 10] = [
    "rev-parse",
    "--is-inside-work-tree",
    "--is-bare-repository",
    "--show-cdup",
    "--absolute-git-dir",
    MARKER,
    "--git-common-dir",
    MARKER,
    "--symbolic-full-name",
    "HEAD",
];

/// The kind of place in which the working directory is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DirectoryKind {
    /// In a worktree.
    Inside {
        /// The relative path to its top level: `../` repeated, or nothing.
        up: PathBuf,
        /// Its git directory.
        dir: PathBuf,
        /// The common git directory; may be relative to the working directory.
        common_dir: PathBuf,
        /// The current HEAD; `None` on a branch without a commit.
        head: Option<GitHead>,
    },
    /// In a bare repository.
    Bare,
    /// In the git directory of a repository that has worktrees.
    GitDirectory,
}

impl DirectoryKind {
    /// Parses git's output. Returns `None` if it is not understood.
    pub(super) fn parse(answer: &[u8]) -> Option<DirectoryKind> {
        let mut lines = answer.splitn(4, |byte| *byte == b'\n');
        let (inside, bare) = (lines.next()?, lines.next()?);
        match (inside, bare) {
            (b"false", b"true") => return Some(DirectoryKind::Bare),
            (b"false", _) => return Some(DirectoryKind::GitDirectory),
            _ => {}
        }
        let (up, rest) = (lines.next()?, lines.next()?);
        let marker = [b"\n", MARKER.as_bytes(), b"\n"].concat();
        let cut = |text: &'_ [u8]| text.windows(marker.len()).position(|window| window == marker);
        let at = cut(rest)?;
        let (dir, rest) = (&rest[..at], &rest[at + marker.len()..]);
        let at = cut(rest)?;
        let (common_dir, head) = (&rest[..at], rest[at + marker.len()..].strip_suffix(b"\n"));
        let head = head.map(|name| match name {
            b"HEAD" => GitHead::Detached,
            name => GitHead::Branch(short_name(name)),
        });
        Some(DirectoryKind::Inside { up: path(up), dir: path(dir), common_dir: path(common_dir), head })
    }
}

fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// The main worktree, which is the first record of `git worktree list --porcelain -z`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Main {
    /// Top level. For a bare repository, or if the git directory is elsewhere, it is that directory.
    pub(super) path: PathBuf,
    /// True if the repository is bare.
    pub(super) bare: bool,
}

impl Main {
    /// Parses the first record of the list.
    pub(super) fn parse(answer: &[u8]) -> Option<Main> {
        let mut fields = answer.split(|byte| *byte == 0).take_while(|field| !field.is_empty());
        let at = fields.next()?.strip_prefix(b"worktree ")?;
        Some(Main { path: path(at), bare: fields.any(|field| field == b"bare") })
    }
}

/// Returns the name of a branch without `refs/heads/`, as text that is different for every branch.
pub(super) fn short_name(name: &[u8]) -> String {
    distinct(name.strip_prefix(b"refs/heads/").unwrap_or(name))
}

/// Returns `name` as text. A byte that is not UTF-8 becomes `\xNN`. Names in git contain no backslash, so two names
/// never give the same text.
fn distinct(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Usual names of a default branch, the most common first.
const USUAL: [&str; 4] = ["main", "master", "trunk", "develop"];

/// The arguments whose output [`usual_default`] parses.
pub(super) const DEFAULTS: [&str; 7] = [
    "for-each-ref",
    "--format=%(refname)%00%(symref)",
    "refs/remotes/origin/HEAD",
    "refs/heads/main",
    "refs/heads/master",
    "refs/heads/trunk",
    "refs/heads/develop",
];

/// Returns the remote's default branch, or else the first usual name that exists.
pub(super) fn usual_default(answer: &[u8]) -> Option<String> {
    let answer = distinct(answer);
    let refs: Vec<(&str, &str)> = answer.lines().filter_map(|line| line.split_once('\0')).collect();
    let told = refs.iter().find(|(name, _)| *name == "refs/remotes/origin/HEAD");
    if let Some(branch) = told.and_then(|(_, target)| target.strip_prefix("refs/remotes/origin/")) {
        return Some(branch.to_string());
    }
    // A pattern also matches refs below the name, so compare whole names.
    let exists =
        |branch: &&&str| refs.iter().any(|(name, _)| name.strip_prefix("refs/heads/") == Some(**branch));
    USUAL.iter().find(exists).map(ToString::to_string)
}

/// Returns the command that git advises if it refuses a repository because of its owner, or `None` for other errors.
pub(super) fn advice_on_owner(complaint: &str) -> Option<String> {
    let advised =
        complaint.lines().map(str::trim).find(|line| line.starts_with("git config --global --add safe."));
    complaint
        .contains("dubious ownership")
        .then(|| advised.unwrap_or("git config --global --add safe.directory \"$PWD\"").to_string())
}

/// Returns true if git reports that there is no repository around the working directory, not that it is broken.
pub(super) fn is_outside(complaint: &str) -> bool {
    complaint.contains("not a git repository (or any")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_newlines_are_parsed_completely() {
        for (last, wanted) in [
            (&b""[..], None),
            (b"HEAD\n", Some(GitHead::Detached)),
            (b"refs/heads/x/y\n", Some(GitHead::Branch("x/y".into()))),
        ] {
            let answer =
                b"true\nfalse\n../../\n/a\nb/.git\n--devrun-marker\n../../x\n.git\n--devrun-marker\n";
            let answer = [answer, last].concat();
            let Some(DirectoryKind::Inside { up, dir, common_dir, head }) = DirectoryKind::parse(&answer)
            else {
                panic!()
            };
            assert_eq!((up, dir), (PathBuf::from("../../"), PathBuf::from("/a\nb/.git")));
            assert_eq!((common_dir, head), (PathBuf::from("../../x\n.git"), wanted));
        }
    }

    #[test]
    fn branch_names_that_are_not_utf8_stay_different() {
        let names = [
            &b"refs/heads/\xff"[..],
            b"refs/heads/\xfe",
            b"refs/heads/\xc3",
            "refs/heads/\u{fffd}".as_bytes(),
        ];
        assert_eq!(names.map(short_name), ["\\xff", "\\xfe", "\\xc3", "\u{fffd}"]);
        assert_eq!(
            usual_default(b"refs/remotes/origin/HEAD\0refs/remotes/origin/\xff\n").as_deref(),
            Some("\\xff")
        );
    }

    #[test]
    fn incomplete_output_is_not_parsed() {
        for answer in [&b""[..], b"true", b"true\nfalse\n", b"true\nfalse\n\n/a/.git\n"] {
            assert_eq!(DirectoryKind::parse(answer), None);
        }
    }

    #[test]
    fn the_main_worktree_is_the_first_record() {
        let main = |answer: &[u8]| Main::parse(answer).map(|main| (main.path, main.bare));
        let more = b"worktree /c\0bare\0\0";
        let bare = [&b"worktree /b\0bare\0\0"[..], more].concat();
        assert_eq!(main(&bare), Some(("/b".into(), true)));
        let plain = [&b"worktree /a\nb\0HEAD 00\0branch refs/heads/x/y\0locked bare\0\0"[..], more].concat();
        assert_eq!(main(&plain), Some(("/a\nb".into(), false)));
        assert_eq!(main(b""), None);
    }

    #[test]
    fn the_remotes_default_branch_is_preferred() {
        let answer = b"refs/heads/main\0\nrefs/remotes/origin/HEAD\0refs/remotes/origin/dev/next\n";
        assert_eq!(usual_default(answer).as_deref(), Some("dev/next"));
    }

    #[test]
    fn branches_below_a_usual_name_do_not_count() {
        assert_eq!(usual_default(b"refs/heads/main/x\0\nrefs/heads/trunk\0\n").as_deref(), Some("trunk"));
        assert_eq!(usual_default(b""), None);
    }
}
