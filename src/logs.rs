//! What processes print, kept on disk with the time of each line: written while they run, read whether or not they do.
//!
//! Owns the files below `<state>/logs`: `NAME.log`, the one before it `NAME.log.1`, and so on; devrun's own events are in
//! `devrun.log`. Refuses to know how lines look on a terminal.

mod events;
mod file;
pub mod query;
mod stamp;
pub mod store;

use std::path::{Path, PathBuf};

pub use stamp::Stamp;

/// The name under which devrun's own events are kept.
pub const OWN: &str = "devrun";

/// The folder of the logs of the worktree whose state folder is `state`.
pub fn folder(state: &Path) -> PathBuf {
    state.join("logs")
}

/// The current file of `name`. A process may be called `devrun` as well.
fn current(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

/// The file that was current `age` files ago.
fn rotated(current: &Path, age: u32) -> PathBuf {
    if age == 0 {
        return current.into();
    }
    let mut name = current.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// The name that stands for a process of this name here: devrun itself has the plain one.
pub fn name_of_process(name: &str) -> String {
    if name == OWN { format!("{name}~") } else { name.into() }
}
