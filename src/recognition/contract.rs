//! Binds the variables that lead to the shared copy of the product to this worktree's own ports and database.
//!
//! This file has the order of the rules; each rule is in a submodule.

mod address;
mod addresses;
pub mod alembic;
pub mod alembic_code;
mod builder;
mod database;
mod driver;
mod env_script;
mod evidence;
mod files;
mod hard_coded;
mod names;
mod origins;
mod owners;
mod postgres_parts;
#[cfg(test)]
mod property_tests;
mod redis;
mod required;
#[cfg(test)]
mod test_repo;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use self::names::is_typed;
use super::facts::{Facts, FileLine};
use super::parts::{OtherDatabase, Parts};
pub use crate::plan::Reason;

/// Returns the text of a file of the worktree, given relative to its top; `None` if it cannot be read.
pub type FileReader<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Binds the variables of `facts` that lead to the shared copy of the product to the ports and the database of the
/// worktree that runs `parts`. `source` returns the few files that no fact covers: package manifests, `alembic.ini` and
/// `env.py`, modules that make a database engine.
pub fn bind(facts: &Facts, parts: &Parts, source: FileReader<'_>) -> Contract {
    let evidence = evidence::Evidence::new(facts, parts);
    let views = evidence.views();
    let drivers = driver::Drivers::new(facts, source);
    let computed = |name: &str| addresses::computed(&evidence, name);
    let mut draft = builder::ContractBuilder::new(&computed);
    // The order matters: the first rule that binds a variable wins.
    postgres_parts::bind(&evidence, &views, &drivers, &mut draft);
    database::bind(&evidence, &views, &drivers, &mut draft);
    redis::bind(&evidence, &views, &mut draft);
    origins::bind(&evidence, &views, &mut draft);
    addresses::bind(&evidence, &views, &mut draft);
    addresses::bind_unset(&evidence, &views, &mut draft);
    required::bind(&evidence, &views, &mut draft);
    alembic::report(facts, source, &mut draft);
    hard_coded::report(&evidence, &mut draft);
    hard_coded::report_databases(&evidence, &mut draft);
    Contract { env_files: files::of_parts(facts, parts), ..draft.finish(&evidence, &views) }
}

/// Everything that recognition decides about the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Variables that devrun sets.
    pub bindings: Vec<Binding>,
    /// Env files of single parts, weakest first, by the name of the part.
    pub env_files: BTreeMap<String, Vec<PathBuf>>,
    /// Facts that the user should know: fixed addresses, remote databases, missing keys.
    pub remarks: Vec<Remark>,
    /// The application's own database, if it is not a Postgres.
    pub other_database: Option<OtherDatabase>,
    /// Redirected loopback ports: connections of Node processes to the port go to the part of this name.
    pub redirects: Vec<(u16, String, FileLine)>,
}

/// A variable that devrun sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The variable.
    pub name: String,
    /// The process that gets it; every process if absent.
    pub process: Option<String>,
    /// Its value as devrun.yaml writes it: `http://localhost:${ports.backend}/api`.
    pub value: String,
    /// The rule that made it.
    pub reason: Reason,
    /// The line from which recognition read the value.
    pub at: FileLine,
    /// The line of code that reads the variable, if there is one.
    pub read_at: Option<FileLine>,
}

/// A fact that the user should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line that it is about.
    pub at: FileLine,
    /// The kind of fact.
    pub kind: RemarkKind,
    /// One sentence.
    pub text: String,
    /// The line to write, if one helps.
    pub fix: Option<String>,
    /// For redirected code, the sentence if no process with that code loads devrun's modules.
    pub without_modules: Option<String>,
}

/// The kind of fact in a remark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkKind {
    /// An address in code that no variable can change, and that devrun does not redirect.
    FixedAddress,
    /// An address in code that no variable can change; connections of Node processes to it are redirected.
    Redirected,
    /// A variable with a meaning that no rule can decide.
    Undecided,
    /// A database that the code names by other means than a variable.
    FixedDatabase,
    /// A variable that names a remote Postgres.
    RemoteDatabase,
    /// A value that only the user has, without which the code fails.
    RequiredKey,
    /// A value that only the user has, without which a feature does not work.
    OptionalKey,
    /// Variables that devrun filled, and the file with their values.
    Filled,
}
