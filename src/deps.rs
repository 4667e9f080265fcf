//! Installs the dependencies of a worktree. Decides within milliseconds from the record of the last install whether an
//! install is needed, then runs the project's own package manager, which installs into real directories of this worktree.
//!
//! This module does not share `node_modules` or `.venv` between worktrees, does not rewrite lock files, and installs
//! nothing into the system: a missing package manager is downloaded into devrun's cache.

pub(crate) mod bytecode;
pub mod failure_cause;
pub mod install_inputs;
pub mod install_record;
pub mod node;
pub mod python;
#[cfg(test)]
mod test_env;
pub mod tool;
pub mod up_to_date;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deps::failure_cause::{Cause, InstallFiles};
use crate::deps::install_inputs::{InstallInputs, Snapshot};
use crate::error::{Code, Explain, Fault, RERUN};
use crate::os::blocking::{self, Stuck};
use crate::os::cmd::CmdError;
use crate::os::fs::FsError;
use crate::os::read::{self, ReadError};
use crate::text::quoted;

/// A complete environment for running tools.
pub type ToolEnv = BTreeMap<OsString, OsString>;

/// The result of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// False if nothing had to be done.
    pub worked: bool,
    /// A few words for the user: `pnpm 12.21.0, 34 packages` or `unchanged`.
    pub outcome: String,
    /// The folder of the tool, if devrun downloaded it. It is appended to the PATH of the processes.
    pub fetched: Option<PathBuf>,
}

/// An error while bringing dependencies up to date.
#[derive(Debug, thiserror::Error)]
pub enum DepsError {
    /// The directory has no manifest.
    #[error("{} has no {wanted}", directory.display())]
    NoManifest {
        /// The configured directory.
        directory: PathBuf,
        /// The files that devrun looked for.
        wanted: &'static str,
    },
    /// The manifest is there and cannot be read.
    #[error("{} cannot be read", path.display())]
    OddManifest {
        /// The manifest.
        path: PathBuf,
        /// Why: it is a named pipe or a folder, or it is closed to this user.
        source: ReadError,
    },
    /// A tool is not installed and cannot be downloaded.
    #[error("{tool} is not installed")]
    ToolMissing {
        /// The tool's name, with the wanted version if there is one.
        tool: String,
        /// Why it is needed, or why the download failed.
        why: String,
        /// The user's next step.
        fix: String,
    },
    /// A tool is installed, but its version is not suitable.
    #[error("{what}")]
    ToolUnfit {
        /// The version that is needed, and the installed one.
        what: String,
        /// The user's next step.
        fix: String,
    },
    /// A folder that must belong to this worktree is a link.
    #[error("{} is a symbolic link", path.display())]
    Linked {
        /// The link.
        path: PathBuf,
        /// The target of the link.
        target: PathBuf,
    },
    /// `.venv` has contents but is not a virtual environment.
    #[error("{} is not a virtual environment", .0.display())]
    NotAVenv(PathBuf),
    /// The lock file does not match the manifest.
    #[error("{} does not match the manifest it locks", lockfile.display())]
    LockfileStale {
        /// The lock file.
        lockfile: PathBuf,
        /// The output of the tool.
        said: String,
        /// The command that updates the lock file.
        run: String,
    },
    /// The tool failed or exceeded its time limit.
    #[error("{what}")]
    InstallFailed {
        /// The command, and how it ended.
        what: String,
        /// The last lines of its output.
        said: Option<String>,
        /// The same command for the user's shell.
        run: String,
        /// The cause, if it was found.
        cause: Option<Cause>,
    },
    /// A file of devrun cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl DepsError {
    /// Returns the error for a failed command of devrun. `run` is the same command for the user's shell.
    pub(crate) fn failed(error: &CmdError, run: String, evidence: &InstallFiles<'_>) -> DepsError {
        let cause = failure_cause::find(&error.tails(200).unwrap_or_default(), evidence);
        DepsError::InstallFailed { what: error.to_string(), said: error.tails(12), run, cause }
    }
}

impl Explain for DepsError {
    fn code(&self) -> Code {
        match self {
            DepsError::NoManifest { .. } => Code::ConfigInvalid,
            DepsError::ToolMissing { .. } | DepsError::ToolUnfit { .. } => Code::ToolMissing,
            DepsError::LockfileStale { .. } => Code::LockfileStale,
            DepsError::OddManifest { .. }
            | DepsError::Linked { .. }
            | DepsError::NotAVenv(_)
            | DepsError::InstallFailed { .. } => Code::InstallFailed,
            DepsError::Fs(error) => error.code(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            DepsError::NoManifest { .. } | DepsError::ToolUnfit { .. } => None,
            DepsError::OddManifest { source, .. } => Some(source.to_string()),
            DepsError::ToolMissing { why, .. } => Some(why.clone()),
            DepsError::Linked { target, .. } => Some(format!(
                "it leads to {}: what one worktree installs would change the other, and Turbopack does not start \
                 through such a link",
                target.display()
            )),
            DepsError::NotAVenv(_) => Some("it has no pyvenv.cfg and devrun did not make it".into()),
            DepsError::LockfileStale { said, .. } => Some(said.clone()),
            DepsError::InstallFailed { said, cause, .. } => {
                let all: Vec<String> = cause.iter().map(Cause::why).chain(said.clone()).collect();
                Some(all.join("\n")).filter(|text| !text.is_empty())
            }
            DepsError::Fs(error) => error.why(),
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            DepsError::NoManifest { wanted, .. } => {
                format!(
                    "point `directory` of this dependency at the folder with {wanted}, or remove the dependency"
                )
            }
            DepsError::OddManifest { path, .. } => {
                format!("make {} a regular file that you may read, then {RERUN}", quoted(path))
            }
            DepsError::ToolMissing { fix, .. } | DepsError::ToolUnfit { fix, .. } => fix.clone(),
            DepsError::Linked { path, .. } => {
                format!("rm {} (the link only; its target stays), then {RERUN}", quoted(path))
            }
            DepsError::NotAVenv(path) => format!("move {} away, then {RERUN}", quoted(path)),
            DepsError::LockfileStale { run, .. } => {
                format!("{run}, commit the lock file, then {RERUN}")
            }
            DepsError::InstallFailed { run, cause: Some(cause), .. } => cause.fix(run),
            DepsError::InstallFailed { run, cause: None, .. } => {
                format!("run it by hand to see the failure: {run}")
            }
            DepsError::Fs(error) => return error.fix(),
        })
    }

    fn correct(&self) -> Option<String> {
        match self {
            DepsError::InstallFailed { cause: Some(cause), .. } => cause.at().map(Into::into),
            _ => None,
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            DepsError::OddManifest { source, .. } if source.is_special() => Some(Fault::Code),
            DepsError::InstallFailed { cause: Some(cause), .. } => Some(cause.fault()),
            other => other.code().fault(),
        }
    }
}

/// Returns the path of `program` on the PATH of `env`.
pub(crate) fn find(env: &ToolEnv, program: &str) -> Option<PathBuf> {
    which::which_in(program, env.get(OsStr::new("PATH")), "/").ok()
}

/// The time limit for inspecting the files of one project.
const INSPECTION_LIMIT: Duration = Duration::from_secs(30);

/// Runs `work` on another thread with a time limit, because a network mount may not answer. `work` reads files in
/// `folder` and starts no process. Errors if the limit passes.
pub(crate) async fn off_thread<T: Send + 'static>(
    folder: &Path,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, DepsError> {
    let stuck = |stuck: Stuck| FsError::Io { action: "look at", path: folder.into(), source: stuck.into() };
    Ok(blocking::run(INSPECTION_LIMIT, work).await.map_err(stuck)?)
}

/// Records the state of `inputs` on another thread: hashing large files takes a while.
pub(crate) async fn snapshot(inputs: &InstallInputs) -> Result<Snapshot, DepsError> {
    let read = inputs.clone();
    off_thread(&inputs.root, move || Snapshot::take(&read, None).0).await
}

/// Errors if one of `manifests` is there and cannot be read.
pub(crate) fn refuse_unreadable(manifests: impl IntoIterator<Item = PathBuf>) -> Result<(), DepsError> {
    for path in manifests {
        match read::open(&path) {
            Err(source) if !source.is_missing() => return Err(DepsError::OddManifest { path, source }),
            _ => {}
        }
    }
    Ok(())
}

/// Errors if one of `files` is a device, a named pipe or a socket: the package manager would read it forever.
pub(crate) fn refuse_odd(files: impl IntoIterator<Item = PathBuf>) -> Result<(), DepsError> {
    for path in files {
        if let Err(error @ ReadError::NotRegular(_)) = read::open(&path) {
            return Err(FsError::Io { action: "read", path, source: error.into() }.into());
        }
    }
    Ok(())
}

/// Returns `directory` and its parents up to `worktree`, nearest first.
pub(crate) fn levels<'a>(directory: &'a Path, worktree: &'a Path) -> impl Iterator<Item = &'a Path> {
    directory.ancestors().take_while(move |level| level.starts_with(worktree))
}

/// Returns a command that the user can run from any folder.
pub(crate) fn typed(directory: &Path, command: &str) -> String {
    format!("cd {} && {command}", quoted(directory))
}
