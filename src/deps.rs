//! Dependencies of a worktree: decides in milliseconds from a stamp whether to install, then lets the project's own
//! package manager do it, into real directories of this worktree.
//!
//! Refuses to share `node_modules` or `.venv` between worktrees, to rewrite lock files, and to install anything into
//! the system: a package manager that is missing is fetched into devrun's own cache.

pub(crate) mod bytecode;
pub mod fingerprint;
pub mod node;
pub mod python;
#[cfg(test)]
mod stage;
pub mod stamp;
pub mod tool;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Code, Explain};
use crate::os::blocking::{self, Stuck};
use crate::os::cmd::CmdError;
use crate::os::fs::FsError;
use crate::os::read::{self, ReadError};
use crate::text::quoted;

/// An environment to run tools with, complete.
pub type Env = BTreeMap<OsString, OsString>;

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// False when there was nothing to do.
    pub worked: bool,
    /// In a few words: `pnpm 12.21.0, 34 packages` or `unchanged`.
    pub outcome: String,
    /// The folder of the tool, where devrun had to fetch it: for the end of the children's PATH.
    pub fetched: Option<PathBuf>,
}

/// Why dependencies could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum DepsError {
    /// The directory has nothing to install from.
    #[error("{} has no {wanted}", directory.display())]
    NoManifest {
        /// The configured directory.
        directory: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// A tool is not installed and cannot be fetched.
    #[error("{tool} is not installed")]
    ToolMissing {
        /// Its name, with the version wanted where one is.
        tool: String,
        /// Why it is needed, or why fetching it failed.
        why: String,
        /// What to do about it.
        fix: String,
    },
    /// A folder that must be this worktree's own is a link.
    #[error("{} is a symbolic link", path.display())]
    Linked {
        /// The link.
        path: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// `.venv` holds something that is not a virtual environment.
    #[error("{} is not a virtual environment", .0.display())]
    NotAVenv(PathBuf),
    /// The lock file does not match the manifest.
    #[error("{} does not match the manifest it locks", lockfile.display())]
    LockfileStale {
        /// The lock file.
        lockfile: PathBuf,
        /// What the tool said.
        said: String,
        /// The command that brings it up to date.
        run: String,
    },
    /// The tool failed or took too long.
    #[error("{what}")]
    InstallFailed {
        /// Command and ending.
        what: String,
        /// The last lines it printed.
        said: Option<String>,
        /// The same, for a person's own shell.
        run: String,
    },
    /// A file of devrun's own.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl DepsError {
    /// A command of ours that did not end well, run in `directory`.
    pub(crate) fn failed(error: &CmdError, run: String) -> DepsError {
        DepsError::InstallFailed { what: error.to_string(), said: error.tail(20), run }
    }
}

impl Explain for DepsError {
    fn code(&self) -> Code {
        match self {
            DepsError::NoManifest { .. } => Code::ConfigInvalid,
            DepsError::ToolMissing { .. } => Code::ToolMissing,
            DepsError::LockfileStale { .. } => Code::LockfileStale,
            DepsError::Linked { .. } | DepsError::NotAVenv(_) | DepsError::InstallFailed { .. } => {
                Code::InstallFailed
            }
            DepsError::Fs(error) => error.code(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            DepsError::NoManifest { .. } => None,
            DepsError::ToolMissing { why, .. } => Some(why.clone()),
            DepsError::Linked { target, .. } => Some(format!(
                "it leads to {}: what one worktree installs would change the other, and Turbopack does not start \
                 through such a link",
                target.display()
            )),
            DepsError::NotAVenv(_) => Some("it has no pyvenv.cfg and devrun did not make it".into()),
            DepsError::LockfileStale { said, .. } => Some(said.clone()),
            DepsError::InstallFailed { said, .. } => said.clone(),
            DepsError::Fs(error) => error.why(),
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            DepsError::NoManifest { wanted, .. } => {
                format!("point `directory` of this dependency at the folder with {wanted}, or take it out")
            }
            DepsError::ToolMissing { fix, .. } => fix.clone(),
            DepsError::Linked { path, .. } => {
                format!("rm {} (the link only; its target stays), then run devrun again", quoted(path))
            }
            DepsError::NotAVenv(path) => format!("move {} away, then run devrun again", path.display()),
            DepsError::LockfileStale { run, .. } => {
                format!("{run}, commit the lock file, then run devrun again")
            }
            DepsError::InstallFailed { run, .. } => format!("see it fail by hand: {run}"),
            DepsError::Fs(error) => return error.fix(),
        })
    }
}

/// Finds `program` on the PATH of `env`.
pub(crate) fn find(env: &Env, program: &str) -> Option<PathBuf> {
    which::which_in(program, env.get(OsStr::new("PATH")), "/").ok()
}

/// How long looking at the files of one project may take.
const LOOK: Duration = Duration::from_secs(30);

/// Runs `work`, which looks at files in `folder` and starts nothing, off this thread: a network mount may not answer.
pub(crate) async fn off_thread<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DepsError> {
    let stuck = |stuck: Stuck| FsError::Io { action: "look at", path: folder.into(), source: stuck.into() };
    Ok(blocking::run(LOOK, work).await.map_err(stuck)?)
}

/// Refuses a device, a named pipe or a socket among `files`: the package manager would read it for ever.
pub(crate) fn refuse_odd(files: impl IntoIterator<Item = PathBuf>) -> Result<(), DepsError> {
    for path in files {
        if let Err(error @ ReadError::NotRegular(_)) = read::open(&path) {
            return Err(FsError::Io { action: "read", path, source: error.into() }.into());
        }
    }
    Ok(())
}

/// `directory` and its parents up to `worktree`, nearest first; never above.
pub(crate) fn levels<'a>(directory: &'a Path, worktree: &'a Path) -> impl Iterator<Item = &'a Path> {
    directory.ancestors().take_while(move |level| level.starts_with(worktree))
}

/// A command as a person would type it, from anywhere.
pub(crate) fn typed(directory: &Path, command: &str) -> String {
    format!("cd {} && {command}", quoted(directory))
}
