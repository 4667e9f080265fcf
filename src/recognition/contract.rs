//! Binds the variables that name the shared copy of the product to this worktree's own ports and database.
//!
//! Values only here; the rules are in the files below this module.

mod address;
mod addresses;
mod alembic;
mod database;
mod draft;
mod driver;
mod evidence;
mod family;
mod fixed;
#[cfg(test)]
mod kit;
mod names;
mod origins;
mod owners;
mod pgurl;
#[cfg(test)]
mod properties;
mod redis;
mod required;

use std::path::Path;

use super::facts::{Facts, Spot};
use super::parts::Parts;

/// Returns the text of a file of the worktree, relative to its top; `None` when it cannot be read.
pub type Source<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// Binds the variables of `facts` that name the shared copy of the product to the ports and the database of the worktree
/// that runs `parts`. `source` gives the few files that decide what no fact states: package manifests, `alembic.ini` and
/// `env.py`, modules that make a database engine.
pub fn bind(facts: &Facts, parts: &Parts, source: Source<'_>) -> Contract {
    let evidence = evidence::Evidence::new(facts, parts);
    let views = evidence.views();
    let drivers = driver::Drivers::new(facts, source);
    let mut draft = draft::Draft::default();
    // The first rule that binds a variable decides.
    family::bind(&evidence, &views, &mut draft);
    database::bind(&evidence, &views, &drivers, &mut draft);
    redis::bind(&evidence, &views, &mut draft);
    origins::bind(&evidence, &views, &mut draft);
    addresses::bind(&evidence, &views, &mut draft);
    addresses::bind_unset(&evidence, &views, &mut draft);
    required::bind(&evidence, &views, &mut draft);
    alembic::report(facts, source, &mut draft);
    fixed::report(&evidence, &mut draft);
    draft.finish(&evidence, &views)
}

/// All that the repository's own words decide about the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contract {
    /// Variables that get a value from devrun.
    pub bindings: Vec<Binding>,
    /// Facts that a person should know: fixed addresses, remote databases, missing keys.
    pub remarks: Vec<Remark>,
    /// Connections of Node processes to this loopback port go to the part of this name.
    pub redirects: Vec<(u16, String, Spot)>,
}

/// One variable that gets a value from devrun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The variable.
    pub name: String,
    /// The process that gets it; every process when absent.
    pub process: Option<String>,
    /// Its value as devrun.yaml writes it: `http://localhost:${ports.backend}/api`.
    pub value: String,
    /// The rule that made it.
    pub reason: Reason,
    /// The line that the value was learnt from.
    pub at: Spot,
    /// The line of code that reads the variable, when there is one.
    pub read_at: Option<Spot>,
}

/// The rule that made a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The value was the address of one of the repository's own parts.
    OwnAddress,
    /// The value is a list of origins, to which this worktree's were added.
    Origins,
    /// The value was a URL of the repository's own Postgres.
    DatabaseUrl,
    /// The variable is one piece of the address of the repository's own Postgres.
    DatabasePart,
    /// The value was the address of the repository's own Redis.
    Redis,
    /// The variable is required and set nowhere; the repository's example has this value.
    Example,
    /// The variable is a signing key whose placeholder the code refuses; devrun keeps random bytes for it.
    RandomKey,
}

/// A fact that a person should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// The line that it is about.
    pub at: Spot,
    /// What kind of fact it is.
    pub kind: RemarkKind,
    /// One sentence.
    pub text: String,
    /// The line to write, when there is one.
    pub fix: Option<String>,
}

/// What kind of fact a remark states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RemarkKind {
    /// An address in code that no variable can change, and that devrun does not redirect.
    FixedAddress,
    /// An address in code that no variable can change; connections of Node processes to it are redirected.
    Redirected,
    /// A variable whose meaning the rules cannot decide.
    Undecided,
    /// A database that the code names by other means than a variable.
    FixedDatabase,
    /// A variable that names a remote Postgres.
    RemoteDatabase,
    /// A key that only a person has.
    MissingKey,
    /// Variables that devrun filled, and the file that it took them from.
    Filled,
}
