//! Keeps the output of the processes on disk, with the time of each line. The logs are written while the processes run and
//! can be read at any time.
//!
//! This module owns the files below `<state>/logs`: `NAME.log`, the one before it `NAME.log.1`, and so on. devrun's own
//! events are in `devrun.log`. It does not format lines for a terminal.

mod events;
mod file;
pub mod query;
pub mod store;
mod timestamp;

use std::path::{Path, PathBuf};

pub use timestamp::Timestamp;

/// The name of the log of devrun's own events.
pub const OWN: &str = "devrun";

/// Returns the folder of the logs of the worktree with the state folder `state`.
pub fn folder(state: &Path) -> PathBuf {
    state.join("logs")
}

/// Returns the path of the current log of `name`. For a process, `name` comes from [`name_of_process`].
fn current(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// Returns the path of the log that was current `age` rotations ago.
fn rotated(current: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return current.into();
    }
    let mut name = current.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// Returns the log name of a process. A process called `devrun` gets another name, because devrun's own log has that
/// one.
pub fn name_of_process(name: &str) -> String {
    if name == OWN { format!("{name}~") } else { name.into() }
}
