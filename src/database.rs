//! Branch databases: where they come from (providers), what they are called, how they get their schema.
//!
//! Receives values, never configuration. Providers make sure a database exists; `migrate` brings its schema in step and
//! is the same for all of them.

pub mod connect;
pub mod heads;
pub mod local;
pub mod migrate;
pub mod names;
pub mod neon;
mod scram;
mod tls;
pub mod undo;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;

use crate::error::Report;
use crate::plan::DatabaseOrigin;

/// A future that a provider returns; all of them run on the program's one thread.
pub type Step<'a, T> = Pin<Box<dyn Future<Output = Result<T, Report>> + 'a>>;

/// Where branch databases come from.
///
/// A provider only answers for existence and reachability: it never migrates, and it never touches a database it was
/// not asked for by name. Whether one may be taken away is decided by [`undo::permit`] before it is asked.
pub trait Provider {
    /// Its word in the configuration: `local`, `neon`, …
    fn name(&self) -> &'static str;

    /// Looks whether a database of this name exists, without making anything.
    fn find<'a>(&'a self, name: &'a str) -> Step<'a, Option<Branch>>;

    /// Makes sure the branch database exists and can be connected to. Idempotent; safe to run from several devruns at
    /// once; killed at any moment, the next call heals what was left.
    fn ensure<'a>(&'a self, wanted: &'a Wanted) -> Step<'a, Branch>;

    /// What is known of the database of this very name, without connecting to it.
    fn describe<'a>(&'a self, name: &'a str) -> Step<'a, Option<Entry>>;

    /// Every database there is beside the server's own, by name; also those that devrun did not make.
    fn list(&self) -> Step<'_, Vec<Entry>>;

    /// Makes the database a fresh copy of its parent; sessions in it are ended. Killed at any moment, its name stands for
    /// what was there before or for the whole copy.
    fn reset<'a>(&'a self, wanted: &'a Wanted) -> Step<'a, Branch>;

    /// Deletes the database with everything in it; false when there was none.
    fn delete<'a>(&'a self, name: &'a str) -> Step<'a, bool>;
}

/// The branch database a worktree asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What it is for, as a person would say it: the git branch, or `detached at <worktree slug>`.
    pub label: String,
    /// Its name, already made safe by `names`.
    pub name: String,
    /// Name of the parent to copy; equal to `name` on the default branch.
    pub parent: String,
    /// Top level of the worktree that asks.
    pub worktree: PathBuf,
}

/// A branch database that exists and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Names this very database for good: a database that was dropped and made again has another id.
    pub id: String,
    /// Its name, as a person knows it.
    pub name: String,
    /// URL for the application, with the password.
    pub url: String,
    /// URL for migrations: never through a pooler.
    pub direct_url: String,
    /// The way that devrun's own connections take; `None` where they take the URL.
    pub door: Option<local::Door>,
    /// How it came to be.
    pub origin: DatabaseOrigin,
    /// When it was made by this very call as an exact copy: the id of what it was copied from. A marker of success that
    /// names this id counts for the copy too.
    pub copied_from: Option<String>,
}

/// A branch database as it is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// As in [`Branch::id`].
    pub id: String,
    /// Its name.
    pub name: String,
    /// What it was copied from, by name where it still has one.
    pub parent: Option<String>,
    /// It carries devrun's remark.
    pub made_by_devrun: bool,
    /// The git branch it was made for.
    pub git_branch: Option<String>,
    /// The worktree it was made in.
    pub worktree: Option<PathBuf>,
    /// Bytes, as far as the provider knows without effort.
    pub size: Option<u64>,
    /// Why it must never be taken away: others work with it.
    pub kept: Option<&'static str>,
}
