//! devrun: one command that turns any git worktree into a running, isolated, reachable copy of the product.
//!
//! Data flows in the order `cli -> prepare -> plan -> supervisor -> events -> ui`. `docs/ARCHITECTURE.md` describes the
//! modules.

pub(crate) mod cleanup;
pub(crate) mod cli;
pub(crate) mod config;
pub(crate) mod context;
pub(crate) mod control;
pub(crate) mod database;
pub(crate) mod deps;
mod doctor;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod isolation;
pub(crate) mod logs;
pub(crate) mod os;
pub(crate) mod plan;
pub(crate) mod ports;
pub(crate) mod prepare;
pub(crate) mod recognition;
pub(crate) mod services;
pub(crate) mod supervisor;
#[cfg(feature = "fixture")]
pub mod testing;
pub(crate) mod text;
pub(crate) mod ui;
pub(crate) mod worktree;

pub use cli::run;
