//! Reads what a repository says about itself and writes the devrun.yaml that it would have.
//!
//! Three pure steps follow one reading: `facts` reads files, `parts` finds the processes, and `contract` binds each
//! variable that names the shared copy of the product to this worktree's ports and database. The result is configuration
//! text, so `devrun init` shows exactly what runs. This module reads files and never executes anything from the
//! repository.

pub mod contract;
pub mod facts;
pub mod parts;
pub mod shape;
pub mod yaml;

use std::path::Path;

use crate::config::Recognised;

/// Returns what the files of the worktree at `root` say about how it runs.
pub fn recognise(root: &Path) -> Recognised {
    let shape = shape::detect(root);
    Recognised {
        yaml: shape.to_yaml(),
        remarks: shape.remarks(),
        notices: Vec::new(),
        searched: SEARCHED.into(),
    }
}

/// What was looked for, for a repository in which nothing was found.
const SEARCHED: &str = "looked for a package.json that depends on next, and for a requirements.txt or pyproject.toml that \
                        names fastapi with a main.py that holds `app = FastAPI(`";
