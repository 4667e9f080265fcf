//! The registry of this user's stacks: a small file for each in the runtime folder, which its supervisor writes and
//! removes at the end.
//!
//! An entry only gives the paths of a stack. Only the lock of that worktree shows whether a stack runs there.

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};

use super::socket;
use crate::context::Dirs;
use crate::os::fs::{self, FsError};
use crate::supervisor::sweep;

const VERSION: u32 = 1;
const ENDING: &str = ".stack";
/// Paths are bytes and JSON is text, so control characters, `%` and bytes that are not ASCII are written as `%XX`.
const ODD: &AsciiSet = &CONTROLS.add(b'%');

/// One stack, with the paths needed to query it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackEntry {
    pub worktree: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
    /// The repository's short name.
    pub repo: String,
    /// The branch that was checked out at the start.
    pub branch: Option<String>,
    /// The control groups of its processes, kept here because the record may be deleted with the worktree.
    pub groups: Vec<PathBuf>,
    /// The path of the entry itself.
    pub file: PathBuf,
}

/// The layout of an entry in JSON.
#[derive(Serialize, Deserialize)]
struct EntryFile {
    version: u32,
    worktree: String,
    state: String,
    #[serde(default)]
    repo: String,
    #[serde(default)]
    branch: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
}

/// Deletes the entry when it is dropped.
#[derive(Debug)]
pub struct Registered {
    file: PathBuf,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // An entry that stays is recognised as stale, because the worktree's lock is free.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Returns the path of the entry of the worktree with this tag.
pub fn file(dirs: &Dirs, tag: &str) -> PathBuf {
    dirs.runtime.join(format!("{tag}{ENDING}"))
}

/// Returns true if `path` has the file extension of an entry.
fn is_entry(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(&ENDING[1..]))
}

/// Writes `entry` to its file. The caller must hold the worktree's lock. Errors if the file cannot be written.
pub fn enter(entry: &StackEntry) -> Result<Registered, FsError> {
    write(entry)?;
    Ok(Registered { file: entry.file.clone() })
}

/// Writes `entry` to its file. The caller holds the worktree's lock. Errors if the file cannot be written.
pub fn write(entry: &StackEntry) -> Result<(), FsError> {
    fs::make_own_dir(entry.file.parent().unwrap_or(Path::new("/")))?;
    let text = |path: &Path| percent_encode(path.as_os_str().as_bytes(), ODD).to_string();
    let written = EntryFile {
        version: VERSION,
        worktree: text(&entry.worktree),
        state: text(&entry.state),
        repo: entry.repo.clone(),
        branch: entry.branch.clone(),
        groups: entry.groups.iter().map(|path| text(path)).collect(),
    };
    fs::replace_for_now(&entry.file, &serde_json::to_vec_pretty(&written).unwrap_or_default(), 0o600)
}

/// Returns the path of the socket of an entry's stack.
pub fn socket(dirs: &Dirs, entry: &StackEntry) -> PathBuf {
    socket::path(dirs, &entry.file.file_stem().unwrap_or_default().to_string_lossy())
}

/// Returns every readable entry, sorted by worktree. Ignores files of other users, and the whole folder if another user
/// can access it.
pub fn entries(dirs: &Dirs) -> Vec<StackEntry> {
    if !fs::is_own_dir(&dirs.runtime, 0o077) {
        return Vec::new();
    }
    let files = std::fs::read_dir(&dirs.runtime).into_iter().flatten().flatten().map(|file| file.path());
    let mut found: Vec<StackEntry> = files.filter(|path| is_entry(path)).filter_map(read).collect();
    found.sort_by(|one, other| one.worktree.cmp(&other.worktree));
    found
}

fn read(file: PathBuf) -> Option<StackEntry> {
    if !fs::is_own_file(&file) {
        return None;
    }
    let EntryFile { worktree, state, repo, branch, groups, .. } =
        serde_json::from_slice(&fs::read(&file).ok()??).ok()?;
    let path = |text: &str| {
        let bytes: Vec<u8> = percent_decode_str(text).collect();
        PathBuf::from(std::ffi::OsString::from_vec(bytes))
    };
    let groups = groups.iter().map(|text| path(text)).collect();
    let entry = StackEntry { worktree: path(&worktree), state: path(&state), repo, branch, groups, file };
    // devrun derives the file name from the worktree's path, so an entry with another name is forged or misplaced.
    let tag = sweep::worktree_tag(&entry.worktree);
    (entry.file.file_stem() == Some(OsStr::new(&tag))).then_some(entry)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn dirs(runtime: &Path) -> Dirs {
        let elsewhere = PathBuf::from("/nowhere");
        let runtime = runtime.join("own");
        Dirs { state: elsewhere.clone(), data: elsewhere.clone(), cache: elsewhere, runtime }
    }

    #[test]
    fn an_entry_of_any_path_is_found_as_long_as_it_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        let odd = PathBuf::from(OsStr::from_bytes(b"/w/100%\xff\nx"));
        let entry = StackEntry {
            state: odd.join(".git/devrun"),
            worktree: odd.clone(),
            repo: "shop".into(),
            branch: None,
            groups: vec!["/sys/fs/cgroup/a b".into()],
            file: file(&dirs, &sweep::worktree_tag(&odd)),
        };
        let held = enter(&entry).unwrap();
        assert_eq!(entries(&dirs), std::slice::from_ref(&entry));
        let mode = std::fs::metadata(&entry.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(held);
        assert_eq!(entries(&dirs), []);
    }

    #[test]
    fn a_folder_that_others_can_change_has_no_entries() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        let worktree = PathBuf::from("/w");
        let entry = StackEntry {
            state: "/w/.git/devrun".into(),
            repo: "shop".into(),
            branch: None,
            groups: Vec::new(),
            file: file(&dirs, &sweep::worktree_tag(&worktree)),
            worktree,
        };
        let _held = enter(&entry).unwrap();
        assert_eq!(entries(&dirs).len(), 1);
        std::fs::set_permissions(&dirs.runtime, std::fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(entries(&dirs), []);
    }

    #[test]
    fn an_entry_under_another_name_and_one_that_is_no_file_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        fs::make_own_dir(&dirs.runtime).unwrap();
        let text = br#"{"version":1,"worktree":"/nonexistent","state":"/home/u/precious"}"#;
        fs::replace(&file(&dirs, "y"), text, 0o600).unwrap();
        nix::unistd::mkfifo(&file(&dirs, "x"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(entries(&dirs), []);
    }

    #[test]
    fn files_that_are_not_entries_are_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        assert_eq!(entries(&dirs), []);
        fs::replace(&file(&dirs, "broken"), b"{", 0o600).unwrap();
        fs::replace(&dirs.runtime.join("a.sock"), b"", 0o600).unwrap();
        assert_eq!(entries(&dirs), []);
    }
}
