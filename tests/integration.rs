//! The one integration binary: a module per verb.

#![expect(clippy::unwrap_used, reason = "in a test, what cannot be had is a failure")]

mod support;

#[path = "integration/agents.rs"]
mod agents;
#[path = "integration/asking.rs"]
mod asking;
#[path = "integration/config.rs"]
mod config;
#[path = "integration/control.rs"]
mod control;
#[path = "integration/db.rs"]
mod db;
#[path = "integration/faults.rs"]
mod faults;
#[path = "integration/ground.rs"]
mod ground;
#[path = "integration/isolation.rs"]
mod isolation;
#[path = "integration/leaving.rs"]
mod leaving;
#[path = "integration/logs.rs"]
mod logs;
#[path = "integration/ls.rs"]
mod ls;
#[path = "integration/mcp.rs"]
mod mcp;
#[path = "integration/neon.rs"]
mod neon;
#[path = "integration/peers.rs"]
mod peers;
#[path = "integration/ports.rs"]
mod ports;
#[path = "integration/stack.rs"]
mod stack;
#[path = "integration/supervise.rs"]
mod supervise;
#[path = "integration/verbs.rs"]
mod verbs;
#[path = "integration/why.rs"]
mod why;
#[path = "integration/worktrees.rs"]
mod worktrees;
