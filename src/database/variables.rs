//! The environment variables that providers read, with the place that sets each one.
//!
//! A setting that says where a secret goes counts only if its place is trusted at least as much as that of the secret:
//! the environment devrun was started with, or the file that holds the secret.

use std::collections::BTreeMap;
use std::ffi::OsString;

/// A variable that is set and not empty.
#[derive(Clone, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// The variable's value, possibly a secret.
    pub value: String,
    /// The place that sets it, for messages: `environment`, `.env`, …
    pub place: String,
    /// The number of the env file that sets it. `None` for the environment devrun was started with, and for the login shell.
    pub file: Option<usize>,
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.name, self.place)
    }
}

/// The variables of one worktree: the environment devrun was started with, then those of the login shell, then its env files.
pub trait Variables {
    /// Returns the environment of the user's own commands: all variables except those that no process gets.
    fn of_commands(&self) -> BTreeMap<OsString, OsString>;

    /// Returns the variable `name`. `None` if it is not set or empty.
    fn find(&self, name: &str) -> Option<Variable>;

    /// Returns true if `setting`, which says where `secret` goes, is from a place that is trusted as much as that of the
    /// secret.
    fn may_direct(&self, setting: &Variable, secret: &Variable) -> bool;
}
