//! devrun: one command that turns any git worktree into a running, isolated, reachable copy of the product.
//!
//! The map, in the order data flows: `cli -> prepare -> plan -> supervisor -> events -> ui`. `docs/ARCHITECTURE.md`
//! tells the rest.

pub mod cli;
pub mod config;
pub mod context;
pub mod control;
pub mod database;
pub mod deps;
pub mod error;
pub mod event;
pub mod os;
pub mod plan;
pub mod ports;
pub mod prepare;
pub mod supervisor;
pub mod ui;
pub mod worktree;

use std::ffi::OsString;
use std::process::ExitCode;

/// The whole program as a function of its arguments.
pub fn run(_args: impl IntoIterator<Item = OsString>) -> ExitCode {
    ExitCode::SUCCESS
}
