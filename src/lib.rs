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
pub mod isolation;
pub mod logs;
pub mod os;
pub mod plan;
pub mod ports;
pub mod prepare;
pub mod recognition;
pub mod supervisor;
pub mod text;
pub mod ui;
pub mod worktree;

pub use cli::run;
