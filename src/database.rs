//! Provides branch databases: the providers that create them, their names, and the migration of their schema.
//!
//! This module receives values, never the configuration. A provider makes sure that a database exists; `migrate` then
//! brings its schema up to date, in the same way for every provider.

pub mod alembic_history;
mod catalogue;
pub mod compare;
pub mod connect;
pub mod database_label;
pub mod extension_list;
pub mod extensions;
pub mod import;
pub mod import_source;
pub mod local;
pub mod masking;
pub mod migrate;
pub mod names;
pub mod neon;
pub mod provider_request;
pub mod providers;
pub mod saved_snapshots;
mod scram;
pub mod sessions;
mod sql_text;
mod tls;
pub mod undo;
pub mod upgrade;
pub mod variables;

use std::future::Future;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use self::database_label::DatabaseLabel;
use self::import::{ImportError, ImportRequest, Imported};
use self::saved_snapshots::{SavedSnapshot, SnapshotError};
use self::undo::UndoError;
use self::upgrade::{UpgradeError, Upgraded};
use crate::error::{RERUN, Report};
use crate::plan::DatabaseOrigin;

/// A future that a provider returns. It is not `Send`: devrun runs all of them on one thread.
pub type ProviderFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, Report>> + 'a>>;

/// A callback that takes over a claim on a server: a folder that identifies the server, and a lock. Its owner passes
/// both to [`providers::stop_if_last`] after the last use.
pub type Entrust<'a> = &'a mut dyn FnMut(PathBuf, OwnedFd) -> Result<(), Report>;

/// The reason to open a provider.
pub enum Purpose<'a> {
    /// To look at databases that exist, or to change them. If the provider has no server yet, none is created.
    Look,
    /// To create the database of a run. Claims on servers go to the callback.
    Run(Entrust<'a>),
}

/// The state of a server that devrun starts and stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// It runs.
    Running,
    /// It does not run.
    Stopped,
}

impl ServerState {
    /// Returns the word that `devrun db status` shows.
    pub const fn word(self) -> &'static str {
        match self {
            ServerState::Running => "running",
            ServerState::Stopped => "stopped",
        }
    }
}

/// The URLs of a branch database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Urls {
    /// As in [`BranchDatabase::url`].
    pub url: String,
    /// As in [`BranchDatabase::direct_url`].
    pub direct_url: String,
}

/// A source of branch databases, as the configuration of one worktree chooses it; see [`providers::choose`].
///
/// A provider creates databases and makes them reachable. It never migrates, and it never changes a database that the
/// caller did not name. Callers ask [`undo::permit`] before they reset or delete a database.
///
/// The methods without a future send no request to a service. Call [`Provider::open`] before those with a future, except
/// [`Provider::reach`] and [`Provider::upgrade`].
pub trait Provider {
    /// Returns the provider's value in the configuration: `local`, `neon`, …
    fn name(&self) -> &'static str;

    /// Returns a database name that the provider accepts and that is unique to `rendered`.
    fn safe_name(&self, rendered: &str) -> String {
        names::safe(rendered)
    }

    /// Returns true if the application's URL may lead through a pooler.
    fn has_pooler(&self) -> bool {
        false
    }

    /// Returns true if devrun creates and migrates a parent that does not exist.
    fn makes_parents(&self) -> bool;

    /// Returns true if other clones of the repository, also those on other machines, may keep databases in the same
    /// place.
    fn is_shared(&self) -> bool;

    /// Returns the URLs that the database `name` has or will have. `None` if they are not known yet.
    fn address(&self, name: &str) -> Result<Option<Urls>, Report>;

    /// Returns the state of the server that devrun starts for this provider. `None` if there is no such server.
    fn server(&self) -> Result<Option<ServerState>, Report> {
        Ok(None)
    }

    /// Errors if a program of this machine that the provider depends on, such as a container engine, cannot be reached. Starts and
    /// changes nothing.
    fn reach(&self) -> ProviderFuture<'_, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns true if the server sleeps while nothing is connected, so that a connection wakes it and costs money.
    fn may_sleep(&self) -> bool {
        false
    }

    /// Makes the provider ready for the methods below. Starts its server, if it has one.
    fn open<'a>(&'a self, purpose: Purpose<'a>) -> ProviderFuture<'a, ()>;

    /// Returns the database `name` if it exists. Creates nothing.
    fn find<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<BranchDatabase>>;

    /// Makes sure that the branch database exists and accepts connections. Idempotent, and safe to call from several
    /// devruns at once. If a call is killed at any point, the next call repairs what it left.
    fn ensure<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase>;

    /// Returns what is known about the database `name`, without connecting to it.
    fn describe<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<ListedDatabase>>;

    /// Lists every database except the server's own, sorted by name, including databases that devrun did not create.
    fn list(&self) -> ProviderFuture<'_, Vec<ListedDatabase>>;

    /// Gives the database `from`, which devrun made, the name, label and worktree of `wanted`. Its contents and its id stay. Does
    /// nothing if the name is taken or `from` no longer exists. Ends no session: errors if there are some and the server needs
    /// that there are none.
    fn rename<'a>(&'a self, from: &'a ListedDatabase, wanted: &'a WantedDatabase) -> ProviderFuture<'a, ()>;

    /// Replaces the database by a fresh copy of its parent and ends the sessions in it. If the call is killed, the name
    /// refers either to the old database or to the complete copy.
    fn reset<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase>;

    /// Replaces the database by a copy of the parent's last snapshot, however old it is, and reports the snapshot's age. Ends the sessions
    /// in the database, as [`Provider::reset`] does.
    fn reset_from_snapshot<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        let refused = UndoError::NoSnapshots { provider: self.name(), name: wanted.name.clone() };
        Box::pin(std::future::ready(Err(refused.into())))
    }

    /// Takes the snapshot `snapshot` of the database `name`, as it is at one instant. Replaces a snapshot with the same name.
    fn save_snapshot<'a>(&'a self, _name: &'a str, _snapshot: &'a str) -> ProviderFuture<'a, SavedSnapshot> {
        Box::pin(std::future::ready(Err(SnapshotError::NotSupported { provider: self.name() }.into())))
    }

    /// Lists the snapshots of all databases that users have taken.
    fn saved_snapshots(&self) -> ProviderFuture<'_, Vec<SavedSnapshot>> {
        Box::pin(std::future::ready(Err(SnapshotError::NotSupported { provider: self.name() }.into())))
    }

    /// Replaces the database by a copy of its snapshot `snapshot` and ends the sessions in it, as [`Provider::reset`] does.
    fn restore_snapshot<'a>(
        &'a self,
        _wanted: &'a WantedDatabase,
        _snapshot: &'a str,
    ) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(std::future::ready(Err(SnapshotError::NotSupported { provider: self.name() }.into())))
    }

    /// Deletes the snapshot `snapshot` of the database `name`. Errors if there is none.
    fn delete_snapshot<'a>(&'a self, _name: &'a str, _snapshot: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(std::future::ready(Err(SnapshotError::NotSupported { provider: self.name() }.into())))
    }

    /// Speeds up later copies of the database `name` that are made while programs use it. Call it after the migrations
    /// and before programs connect. Has no effect on a database that is not a parent.
    fn prepare_copies<'a>(&'a self, _name: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Returns the user's next step if the server does not have the extension `name`.
    fn extension_fix(&self, name: &str) -> String {
        format!("enable the extension `{name}` on the server, or use a server that has it, then {RERUN}")
    }

    /// Adds the extension `name` to the server. Returns false if the provider has no source of it.
    fn provide_extension<'a>(&'a self, _name: &'a str) -> ProviderFuture<'a, bool> {
        Box::pin(async { Ok(false) })
    }

    /// Fills the tables of the database `name` from the dump in `file`, all or nothing.
    fn restore_rows<'a>(&'a self, _name: &'a str, _file: &'a Path) -> ProviderFuture<'a, ()> {
        let refused = UndoError::NoRestore { provider: self.name() };
        Box::pin(std::future::ready(Err(refused.into())))
    }

    /// Replaces the database that `wanted` names, a parent, by another one. The name always refers to a complete database.
    fn import<'a>(
        &'a self,
        _wanted: &'a WantedDatabase,
        _request: &'a ImportRequest,
    ) -> ProviderFuture<'a, Imported> {
        Box::pin(std::future::ready(Err(ImportError::NotSupported { provider: self.name() }.into())))
    }

    /// Deletes the database with its contents. Returns false if it did not exist.
    fn delete<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, bool>;

    /// Reports to the service that the database with this id, which existed before, is in use. Nothing waits for it.
    fn refresh<'a>(&'a self, _id: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Deletes the remembered URLs of this worktree's database, because they did not work.
    fn forget(&self) {}

    /// Lets the provider's server run without a user. Returns false if devrun starts no server for it, or if none is open.
    fn keep_server(&self) -> Result<bool, Report> {
        Ok(false)
    }

    /// Ends what [`Provider::keep_server`] began, and stops the server if no devrun uses it.
    fn release_server(&self) -> Result<(), Report> {
        Ok(())
    }

    /// Moves all databases to a newer major version of Postgres, if devrun starts the server. Needs no [`Provider::open`]. With
    /// `keep_old`, keeps the folder of the old data. If the call is killed, the databases are as before.
    fn upgrade(&self, _keep_old: bool) -> ProviderFuture<'_, Upgraded> {
        let refused = UpgradeError::NotSupported { provider: self.name() };
        Box::pin(std::future::ready(Err(refused.into())))
    }

    /// Stops the provider's server if no devrun uses it, for example because all of them were killed.
    fn stop_unused(&self) -> Result<(), Report> {
        Ok(())
    }
}

/// The branch database that a worktree needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedDatabase {
    /// The branch or worktree that it is for.
    pub label: DatabaseLabel,
    /// The database's name, made safe by `names`.
    pub name: String,
    /// The name of the parent to copy. Equal to `name` on the default branch.
    pub parent: String,
    /// The top-level folder of the worktree.
    pub worktree: PathBuf,
}

/// A branch database that exists and accepts connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchDatabase {
    /// Identifies the database for its whole life: a database that is dropped and created again has another id.
    pub id: String,
    /// The name shown to the user.
    pub name: String,
    /// The URL for the application, including the password.
    pub url: String,
    /// The URL for migrations, which never leads through a pooler.
    pub direct_url: String,
    /// How devrun itself connects to the local server. `None` if it connects with the URL.
    pub admin_socket: Option<local::AdminSocket>,
    /// How the database was created.
    pub origin: DatabaseOrigin,
    /// The id of the database that this call has just copied, if the copy is exact. A success marker with this id is
    /// valid for the copy too.
    pub copied_from: Option<String>,
    /// The file in which devrun records the migrations, if the database is no Postgres. A Postgres keeps them itself.
    pub records: Option<PathBuf>,
}

/// A branch database, as `devrun db list` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedDatabase {
    /// As in [`BranchDatabase::id`].
    pub id: String,
    pub name: String,
    /// The name of the database that it was copied from, if that database still exists.
    pub parent: Option<String>,
    /// True if it carries devrun's comment.
    pub made_by_devrun: bool,
    /// The branch or worktree that it was created for.
    pub label: Option<DatabaseLabel>,
    /// The worktree that it was created in.
    pub worktree: Option<PathBuf>,
    /// The branch database that it belongs to, if programs of that worktree created it.
    pub creator: Option<String>,
    /// The time of its creation, in seconds since 1970, if it is known.
    pub created: Option<u64>,
    /// The size in bytes, if the provider knows it without extra cost.
    pub size: Option<u64>,
    /// The names of the snapshots that users have taken of it, the oldest first.
    pub snapshots: Vec<String>,
    /// The reason why devrun must never reset or delete it, for example that it is the default branch's database.
    pub kept: Option<&'static str>,
}

impl ListedDatabase {
    /// Returns the git branch that it was created for.
    pub fn branch(&self) -> Option<&str> {
        self.label.as_ref()?.branch()
    }
}
