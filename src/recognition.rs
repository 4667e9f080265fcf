//! Reads what a repository says about itself and writes the devrun.yaml that it would have.
//!
//! Three pure steps follow one reading: `facts` reads files, `parts` finds the processes, and `contract` binds each
//! variable that names the shared copy of the product to this worktree's ports and database. The result is configuration
//! text, so `devrun init` shows exactly what runs. This module reads files and never executes anything from the
//! repository.

pub mod contract;
pub mod facts;
pub mod parts;
