//! Runs a plan: starts its processes in order, watches, restarts and stops them, and leaves none running at the end.
//!
//! Uses a [`crate::plan::Plan`] and contains nothing about git, YAML or the choice of ports, and of databases only how to recognise a
//! running server (`sweep`). A pure state machine (`state_machine`) decides what happens; `run` carries its decisions out.

pub mod backoff;
pub mod group;
pub mod inherited_sockets;
pub mod keeper;
mod node_preload;
pub mod output;
pub mod process_binding;
pub mod readiness;
pub mod removed_worktree;
pub mod run;
pub mod state_machine;
pub mod stop_requests;
pub mod sweep;
pub mod terminals;
pub mod watchdog;
pub mod wrong_port;
