//! All integration tests in one binary, with a module per verb or topic.

#![expect(clippy::unwrap_used, reason = "in a test, a missing value is a failure")]

mod support;

#[path = "integration/agent_files.rs"]
mod agent_files;
#[path = "integration/agents.rs"]
mod agents;
#[path = "integration/asking.rs"]
mod asking;
#[path = "integration/bound.rs"]
mod bound;
#[path = "integration/config.rs"]
mod config;
#[path = "integration/control.rs"]
mod control;
#[path = "integration/daily_prune.rs"]
mod daily_prune;
#[path = "integration/db.rs"]
mod db;
#[path = "integration/doctor.rs"]
mod doctor;
#[path = "integration/documents.rs"]
mod documents;
#[path = "integration/editors.rs"]
mod editors;
#[path = "integration/env_files.rs"]
mod env_files;
#[path = "integration/env_out.rs"]
mod env_out;
#[path = "integration/environment.rs"]
mod environment;
#[path = "integration/explained.rs"]
mod explained;
#[path = "integration/faults.rs"]
mod faults;
#[path = "integration/help.rs"]
mod help;
#[path = "integration/helpers.rs"]
mod helpers;
#[path = "integration/hooks.rs"]
mod hooks;
#[path = "integration/host_names.rs"]
mod host_names;
#[path = "integration/isolation.rs"]
mod isolation;
#[path = "integration/leaving.rs"]
mod leaving;
#[path = "integration/life.rs"]
mod life;
#[path = "integration/lifecycle.rs"]
mod lifecycle;
#[path = "integration/logs.rs"]
mod logs;
#[path = "integration/ls.rs"]
mod ls;
#[path = "integration/mcp.rs"]
mod mcp;
#[path = "integration/missing_packages.rs"]
mod missing_packages;
#[path = "integration/neon.rs"]
mod neon;
#[path = "integration/open.rs"]
mod open;
#[path = "integration/other_database.rs"]
mod other_database;
#[path = "integration/peers.rs"]
mod peers;
#[path = "integration/ports.rs"]
mod ports;
#[path = "integration/probes.rs"]
mod probes;
#[path = "integration/proposal.rs"]
mod proposal;
#[path = "integration/prune.rs"]
mod prune;
#[path = "integration/runtime_files.rs"]
mod runtime_files;
#[path = "integration/services.rs"]
mod services;
#[path = "integration/setup.rs"]
mod setup;
#[path = "integration/shapes.rs"]
mod shapes;
#[path = "integration/short_output.rs"]
mod short_output;
#[path = "integration/stack.rs"]
mod stack;
#[path = "integration/status_line.rs"]
mod status_line;
#[path = "integration/supervise.rs"]
mod supervise;
#[path = "integration/sync.rs"]
mod sync;
#[path = "integration/top.rs"]
mod top;
#[path = "integration/verbs.rs"]
mod verbs;
#[path = "integration/why.rs"]
mod why;
#[path = "integration/worktrees.rs"]
mod worktrees;
#[path = "integration/written_files.rs"]
mod written_files;
