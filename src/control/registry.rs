//! Which stacks of this user there are: a small file for each in the runtime folder, written by its supervisor and removed
//! at its end.
//!
//! It only says where to look. Whether somebody runs there is told by the lock of that worktree, as always.

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
/// Paths are bytes and JSON is text: what is not plain is written as `%XX`.
const ODD: &AsciiSet = &CONTROLS.add(b'%');

/// One stack, as far as it has to be known to look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The worktree.
    pub worktree: PathBuf,
    /// Its state folder.
    pub state: PathBuf,
    /// The repository's short name.
    pub repo: String,
    /// The branch that was checked out at the start.
    pub branch: Option<String>,
    /// The file it was read from.
    pub file: PathBuf,
}

/// The file's layout.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    worktree: String,
    state: String,
    #[serde(default)]
    repo: String,
    #[serde(default)]
    branch: Option<String>,
}

/// An entry that is there for as long as the value lives.
#[derive(Debug)]
pub struct Registered {
    file: PathBuf,
}

impl Drop for Registered {
    fn drop(&mut self) {
        // One that stays is known as stale: nobody holds the worktree's lock.
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Where the entry of the worktree with this tag lies.
pub fn file(dirs: &Dirs, tag: &str) -> PathBuf {
    dirs.runtime.join(format!("{tag}{ENDING}"))
}

/// True for the path of an entry.
fn is_entry(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(&ENDING[1..]))
}

/// Writes `entry` down; to be called by the one who holds the worktree's lock.
pub fn enter(entry: &Entry) -> Result<Registered, FsError> {
    fs::make_own_dir(entry.file.parent().unwrap_or(Path::new("/")))?;
    let text = |path: &Path| percent_encode(path.as_os_str().as_bytes(), ODD).to_string();
    let written = Written {
        version: VERSION,
        worktree: text(&entry.worktree),
        state: text(&entry.state),
        repo: entry.repo.clone(),
        branch: entry.branch.clone(),
    };
    fs::replace_for_now(&entry.file, &serde_json::to_vec_pretty(&written).unwrap_or_default(), 0o600)?;
    Ok(Registered { file: entry.file.clone() })
}

/// Where the socket of an entry's stack lies.
pub fn socket(dirs: &Dirs, entry: &Entry) -> PathBuf {
    socket::path(dirs, &entry.file.file_stem().unwrap_or_default().to_string_lossy())
}

/// Removes the entry and the socket of a stack that is gone for good.
pub fn forget(dirs: &Dirs, entry: &Entry) {
    for trace in [&socket(dirs, entry), &entry.file] {
        // What cannot be removed is looked at again next time.
        let _ = std::fs::remove_file(trace);
    }
}

/// Every entry that can be read, in the order of the worktrees. A folder that other users can change has none, nor does a
/// file of another user count.
pub fn entries(dirs: &Dirs) -> Vec<Entry> {
    if !fs::is_own_dir(&dirs.runtime, 0o077) {
        return Vec::new();
    }
    let files = std::fs::read_dir(&dirs.runtime).into_iter().flatten().flatten().map(|file| file.path());
    let mut found: Vec<Entry> = files.filter(|path| is_entry(path)).filter_map(read).collect();
    found.sort_by(|one, other| one.worktree.cmp(&other.worktree));
    found
}

fn read(file: PathBuf) -> Option<Entry> {
    if !fs::is_own_file(&file) {
        return None;
    }
    let Written { worktree, state, repo, branch, .. } =
        serde_json::from_slice(&fs::read(&file).ok()??).ok()?;
    let path = |text: &str| {
        let bytes: Vec<u8> = percent_decode_str(text).collect();
        PathBuf::from(std::ffi::OsString::from_vec(bytes))
    };
    let entry = Entry { worktree: path(&worktree), state: path(&state), repo, branch, file };
    // Its name is made from the worktree's path: another one is not of our making.
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
        let entry = Entry {
            state: odd.join(".git/devrun"),
            worktree: odd.clone(),
            repo: "shop".into(),
            branch: None,
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
        let entry = Entry {
            state: "/w/.git/devrun".into(),
            repo: "shop".into(),
            branch: None,
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
    fn what_is_no_entry_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = dirs(dir.path());
        assert_eq!(entries(&dirs), []);
        fs::replace(&file(&dirs, "broken"), b"{", 0o600).unwrap();
        fs::replace(&dirs.runtime.join("a.sock"), b"", 0o600).unwrap();
        assert_eq!(entries(&dirs), []);
    }
}
