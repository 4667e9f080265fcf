//! The configuration of a worktree: found, read, checked, and turned into the values a plan is made of.
//!
//! Knows devrun.yaml, Procfiles, env files and the shapes that need no file. Refuses to act: it reads files and nothing
//! else, makes no connection, starts no process and never changes its own environment.

pub mod address;
pub mod consistency;
pub mod envfile;
pub mod environment;
pub mod error;
pub mod files;
pub mod interpolate;
pub mod merge;
pub mod model;
pub mod needs;
pub mod node;
pub mod process;
pub mod procfile;
pub mod programs;
pub mod resolve;
pub mod schema;
pub mod source;
pub mod values;
pub mod yaml;

pub use error::ConfigError;
pub use files::{Recognised, load};
pub use interpolate::{Scope, Template};
pub use model::Config;
