//! The origin of a variable's value, and the reason why devrun set it.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A line of a file of the worktree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileLine {
    /// Path relative to the top of the worktree.
    pub file: PathBuf,
    /// Line number, counted from 1.
    pub line: u32,
}

impl fmt::Display for FileLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// A line of an env file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvLine {
    /// The file, relative to its worktree, and the line.
    pub at: FileLine,
    /// The worktree that the file is in.
    pub worktree: EnvFileWorktree,
}

/// The worktree that an env file is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvFileWorktree {
    /// This worktree.
    This,
    /// The main worktree, because this one has no such file.
    Main,
    /// Another worktree of the repository, because neither this one nor the main worktree has such a file.
    Other(PathBuf),
}

/// The origin of a variable's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// An env file.
    File(EnvLine),
    /// `env:` of devrun.yaml.
    Config(FileLine),
    /// Recognition set it; one of the plan's bindings holds the reason.
    Recognised,
    /// Computed by devrun.
    Computed(Computed),
    /// The login shell, because `shell_env` names it.
    LoginShell,
}

/// The kind of value that devrun computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Computed {
    /// A port of this worktree, for every process.
    Port,
    /// The port of the process itself.
    ProcessPort,
    /// The address that the process must bind.
    Host,
    /// The socket that devrun passes to the process.
    Socket,
    /// The branch database's URL.
    DatabaseUrl,
    /// A part of the branch database's address.
    DatabasePart,
    /// The address of a service, or a name that its preset derives from the worktree.
    Service,
    /// The worktree itself.
    Worktree,
    /// The origins of the worktree's pages.
    Origins,
    /// Folders with the worktree's own programs.
    SearchPath,
    /// The worktree's virtual environment.
    VirtualEnv,
    /// Controls how tools write to a pipe: colour and buffering.
    Output,
    /// Names of the variables that devrun sets.
    Variables,
}

/// The rule that made a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The value was the address of one of the repository's own parts.
    OwnAddress,
    /// The value is a list of origins, to which this worktree's were added.
    Origins,
    /// The value was a URL of the repository's own Postgres.
    DatabaseUrl,
    /// The variable holds one part of the address of the repository's own Postgres.
    DatabasePart,
    /// The value was the address of the repository's own Redis.
    Redis,
    /// The variable is required but set nowhere; the repository's example file has this value.
    Example,
    /// The variable is a signing key with a placeholder that the code refuses; devrun keeps random bytes for it.
    RandomKey,
}

/// A variable that recognition set, or whose given value devrun replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BoundVariable {
    /// The variable.
    pub name: String,
    /// The process that gets it; every process if absent.
    pub process: Option<String>,
    /// The rule that made it.
    pub reason: Reason,
    /// The line from which the value was read; absent if it is a value of the shell.
    pub source: Option<FileLine>,
    /// The line of code that reads the variable, if recognition found one.
    pub read: Option<FileLine>,
}
