//! The surroundings of one invocation: directories, environment, working directory, the receiver of events. `cli` makes them once and
//! passes them down. The submodules are rules about variables, addresses and error texts that several modules need, such as the
//! diagnosis of a missing package.

pub mod address_lines;
pub mod agent;
pub mod code_error;
pub mod code_place;
pub mod compiled_list;
pub mod default_ports;
pub mod dependency_lists;
pub mod missing_application;
pub mod missing_program;
pub mod missing_settings;
pub mod package_json;
pub mod package_names;
pub mod refused_database;
pub mod server_address;
pub mod this_machine;
pub mod variables;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::event::Events;
use crate::os::fs;

/// The surroundings of one invocation.
#[derive(Clone, Debug)]
pub struct Context {
    /// The folder to work in: that of `-C DIR`, or the working directory.
    pub cwd: PathBuf,
    /// The environment devrun was started with.
    pub env: BTreeMap<OsString, OsString>,
    /// devrun's own folders.
    pub dirs: Dirs,
    /// Receives the events.
    pub events: Events,
    /// When devrun started.
    pub started: Instant,
    /// True if standard output is a terminal that may be coloured. Children get variables that say so.
    pub colour: bool,
}

/// devrun's own folders on this machine. Their name differs from the command's because other tools called devrun exist.
#[derive(Clone, Debug)]
pub struct Dirs {
    /// Survives reboots: leases, worktree state where the git directory is read-only.
    pub state: PathBuf,
    /// Large things worth keeping: database clusters.
    pub data: PathBuf,
    /// Large things that can be fetched again: server binaries, tarballs.
    pub cache: PathBuf,
    /// Sockets: short paths, gone with the session. Belongs to this user, and no other user can write to it.
    pub runtime: PathBuf,
}

/// Variables that devrun uses itself and passes to no child. `env:` of devrun.yaml passes one on by name.
pub const WITHHELD: [&str; 1] = ["NEON_API_KEY"];

const NAME: &str = "devrun-worktree";

impl Dirs {
    /// Returns the folders by the XDG base directory specification, from `env`. Ignores relative values, as the specification demands.
    /// Creates the runtime folder if it is in `/tmp`.
    pub fn from_env(env: &BTreeMap<OsString, OsString>) -> Dirs {
        let base = |name: &str, fallback: &str| user_folder(env, name, fallback).join(NAME);
        let state = base("XDG_STATE_HOME", ".local/state");
        Dirs {
            data: base("XDG_DATA_HOME", ".local/share"),
            cache: base("XDG_CACHE_HOME", ".cache"),
            runtime: runtime(absolute(env, "XDG_RUNTIME_DIR").as_deref(), &in_tmp(), &state),
            state,
        }
    }
}

fn absolute(env: &BTreeMap<OsString, OsString>, name: &str) -> Option<PathBuf> {
    env.get(OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Returns the folder in the variable `name`, else `fallback` in the user's home.
pub fn user_folder(env: &BTreeMap<OsString, OsString>, name: &str, fallback: &str) -> PathBuf {
    let of_account =
        || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.dir);
    let home = || absolute(env, "HOME").or_else(of_account).unwrap_or_else(|| PathBuf::from("/"));
    absolute(env, name).unwrap_or_else(|| home().join(fallback))
}

/// Returns the runtime folder of a user without a usable `XDG_RUNTIME_DIR`.
pub fn in_tmp() -> PathBuf {
    Path::new("/tmp").join(format!("devrun-{}", nix::unistd::geteuid()))
}

/// Chooses the runtime folder: in `session` when that is this user's alone, else `temporary`, else in `state`. `su` leaves
/// another user's `XDG_RUNTIME_DIR` in place, and every user may make `temporary` first, which is why it is made here: later
/// no other user can take its name.
fn runtime(session: Option<&Path>, temporary: &Path, state: &Path) -> PathBuf {
    if let Some(session) = session.filter(|folder| fs::is_own_dir(folder, 0o022)) {
        return session.join(NAME);
    }
    if fs::make_own_dir(temporary).is_ok() { temporary.into() } else { state.join("run") }
}

impl Context {
    /// Returns the value of `name` in the environment devrun was started with, if it is text.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.env.get(OsStr::new(name)).and_then(|value| value.to_str())
    }

    /// Returns the environment devrun was started with, without [`WITHHELD`]: for children that are not devrun itself.
    pub fn passed_on(&self) -> impl Iterator<Item = (&OsString, &OsString)> {
        self.env.iter().filter(|(name, _)| !WITHHELD.iter().any(|withheld| name == withheld))
    }

    /// Returns the path of `program` on the PATH devrun was started with.
    pub fn which(&self, program: &str) -> Option<PathBuf> {
        which::which_in(program, self.env.get(OsStr::new("PATH")), &self.cwd).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_folder_of_this_user_alone_becomes_the_runtime_folder() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str, mode: u32| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (own, open, temporary) = (at("own", 0o700), at("open", 0o1777), dir.path().join("tmp"));
        let state = dir.path().join("state");
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&own, &link).unwrap();
        assert_eq!(runtime(Some(&own), &temporary, &state), own.join(NAME));
        assert!(!temporary.exists(), "made without need");
        for session in [None, Some(open.as_path()), Some(&dir.path().join("missing"))] {
            assert_eq!(runtime(session, &temporary, &state), temporary, "{session:?}");
        }
        assert_eq!(runtime(None, &link, &state), state.join("run"), "a link may be another user's");
    }

    #[test]
    fn folders_follow_xdg_and_ignore_relative_values() {
        let env = [("HOME", "/home/u"), ("XDG_STATE_HOME", "/s"), ("XDG_DATA_HOME", "relative")];
        let dirs = Dirs::from_env(&env.map(|(k, v)| (k.into(), v.into())).into());
        assert_eq!(dirs.state, Path::new("/s/devrun-worktree"));
        assert_eq!(dirs.data, Path::new("/home/u/.local/share/devrun-worktree"));
    }
}
