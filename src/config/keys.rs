//! Every key of devrun.yaml, with the values that it takes and what it means.

mod database;
mod process;
mod providers;
mod services;
mod steps;
mod top_level;

pub use database::{DATABASE, MIGRATE, SEED};
pub use process::{PROCESS, READY};
pub use providers::{AUTO, NONE, PARENT, PROVIDER_WORDS, SECTIONS};
pub use services::{SERVICE, SHARED};
pub use steps::{ENV_OUT, SETUP};
pub use top_level::{DEPENDENCIES, LANGUAGE, LOGS, PRUNE, RECOGNISE, TOP, WORKTREES, WORKTREES_TABLE};
