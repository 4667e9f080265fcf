//! The install of a Python project.

use std::path::PathBuf;

/// A Python project whose packages devrun installs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonInstall {
    /// The project's absolute folder.
    pub directory: PathBuf,
    /// Absolute path of the file from which devrun installs: a lock file, a requirements file or a manifest.
    pub list: PathBuf,
    /// Absolute path of the virtual environment.
    pub venv: PathBuf,
}
