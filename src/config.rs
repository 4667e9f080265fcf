//! Finds, reads and checks the configuration of a worktree, and turns it into the values of a plan.
//!
//! Handles devrun.yaml, Procfiles, env files and recognised projects. Only reads files: makes no connection, starts no
//! process and never changes devrun's own environment.

pub mod consistency;
pub mod env_output;
pub mod env_template;
pub mod envfile;
pub mod environment;
pub mod error;
mod excerpt;
pub mod files;
pub mod foreign_variables;
pub mod given_databases;
pub mod guessed_needs;
pub mod interpolate;
pub mod json_schema;
pub mod key_types;
pub mod keys;
pub mod libpq;
pub mod loader;
pub mod merge;
pub mod model;
pub mod names;
pub mod node_bin;
pub mod other_databases;
pub mod port_base;
pub mod postgres_names;
pub mod postgres_url;
pub mod presets;
pub mod process;
pub mod procfile;
pub mod provider;
pub mod resolve;
pub mod schema;
pub mod services;
pub mod setup;
pub mod source;
pub mod url_forms;
pub mod urls;
pub mod value_tree;
pub mod values;
pub mod venvs;
pub mod yaml;

pub use error::ConfigError;
pub use files::{Recognised, load, worktree_path};
pub use interpolate::Scope;
pub use model::Config;
