//! The operations of the provider on the databases of a cluster.

use std::path::Path;

use super::Local;
use super::branches::DatabaseSource;
use super::copying::{CopySource, CopyState};
use super::{importing, program_databases, reset_and_delete, restore, saving};
use crate::database::catalogue;
use crate::database::import::{ImportRequest, Imported};
use crate::database::saved_snapshots::{self, SavedSnapshot};
use crate::database::undo::UndoError;
use crate::database::{BranchDatabase, ListedDatabase, WantedDatabase};
use crate::error::Report;
use crate::plan::DatabaseOrigin;

impl Local {
    /// See [`Provider::find`](crate::database::Provider::find).
    pub async fn find(&self, name: &str) -> Result<Option<BranchDatabase>, Report> {
        let found = self.find_database(name).await?;
        Ok(found.map(|found| self.branch(name, found, DatabaseOrigin::Existing, None)))
    }

    /// See [`Provider::ensure`](crate::database::Provider::ensure).
    pub async fn ensure(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, Report> {
        let name = &wanted.name;
        if let Some(found) = self.find_database(name).await? {
            return Ok(self.branch(name, found, DatabaseOrigin::Existing, None));
        }
        let (found, made) = self.make(wanted).await?;
        Ok(match made {
            DatabaseSource::Existing => self.branch(name, found, DatabaseOrigin::Existing, None),
            DatabaseSource::Empty => self.branch(name, found, DatabaseOrigin::Empty, None),
            DatabaseSource::CopyOf(id) => {
                self.branch(name, found, DatabaseOrigin::CopyOf(wanted.parent.clone()), Some(id))
            }
        })
    }

    /// See [`Provider::describe`](crate::database::Provider::describe).
    pub async fn describe(&self, name: &str) -> Result<Option<ListedDatabase>, Report> {
        let client = self.client().await?;
        program_databases::claim(&client, &self.cluster.log()).await?;
        let found = catalogue::entries(&client, Some(name)).await?;
        Ok(saved_snapshots::attach(&client, found).await?.into_iter().next())
    }

    /// See [`Provider::list`](crate::database::Provider::list).
    pub async fn list(&self) -> Result<Vec<ListedDatabase>, Report> {
        let client = self.client().await?;
        program_databases::claim(&client, &self.cluster.log()).await?;
        let found = catalogue::entries(&client, None).await?;
        Ok(saved_snapshots::attach(&client, found).await?)
    }

    /// See [`Provider::rename`](crate::database::Provider::rename).
    pub async fn rename(&self, from: &ListedDatabase, wanted: &WantedDatabase) -> Result<(), Report> {
        // Starts the server if needed.
        self.client().await?;
        let (maker, _) = self.makers().await?;
        catalogue::take_turn(&maker, &self.ctx.events).await?;
        catalogue::rename(&maker, from, wanted).await?;
        Ok(saved_snapshots::follow(&maker, from, &wanted.name).await?)
    }

    /// See [`Provider::save_snapshot`](crate::database::Provider::save_snapshot).
    pub async fn save_snapshot(&self, name: &str, snapshot: &str) -> Result<SavedSnapshot, Report> {
        let (maker, watcher) = self.makers().await?;
        let saved = saving::save(&self.copier(&maker, &watcher), name, snapshot).await?;
        saved.ok_or_else(|| UndoError::Missing(name.into()).into())
    }

    /// See [`Provider::saved_snapshots`](crate::database::Provider::saved_snapshots).
    pub async fn saved_snapshots(&self) -> Result<Vec<SavedSnapshot>, Report> {
        Ok(saved_snapshots::list(&*self.client().await?).await?)
    }

    /// See [`Provider::restore_snapshot`](crate::database::Provider::restore_snapshot).
    pub async fn restore_snapshot(
        &self,
        wanted: &WantedDatabase,
        snapshot: &str,
    ) -> Result<BranchDatabase, Report> {
        let (maker, watcher) = self.makers().await?;
        let found = saved_snapshots::find(&maker, &wanted.name, snapshot).await?;
        let made = saving::restore(&self.copier(&maker, &watcher), wanted, &found).await?;
        let origin = DatabaseOrigin::CopyOf(format!("the snapshot {snapshot}"));
        Ok(self.branch(&wanted.name, made, origin, Some(found.source_id)))
    }

    /// See [`Provider::delete_snapshot`](crate::database::Provider::delete_snapshot).
    pub async fn delete_snapshot(&self, name: &str, snapshot: &str) -> Result<(), Report> {
        let client = self.client().await?;
        let found = saved_snapshots::find(&client, name, snapshot).await?;
        Ok(saved_snapshots::remove(&client, &found).await?)
    }

    /// See [`Provider::reset`](crate::database::Provider::reset).
    pub(super) async fn reset(
        &self,
        wanted: &WantedDatabase,
        state: CopyState,
    ) -> Result<BranchDatabase, Report> {
        let (name, parent) = (&wanted.name, &wanted.parent);
        if parent == name {
            return Err(UndoError::Orphan(name.clone()).into());
        }
        let (maker, watcher) = self.makers().await?;
        let (made, copied) = reset_and_delete::reset(&self.copier(&maker, &watcher), wanted, state).await?;
        Ok(self.branch(name, made, DatabaseOrigin::CopyOf(parent.clone()), Some(copied)))
    }

    /// See [`Provider::prepare_copies`](crate::database::Provider::prepare_copies).
    pub async fn prepare_copies(&self, name: &str) -> Result<(), Report> {
        let Some(database) = self.find_database(name).await? else { return Ok(()) };
        let (maker, watcher) = self.makers().await?;
        catalogue::take_turn(&maker, &self.ctx.events).await?;
        let source = CopySource { name, database: &database };
        Ok(self.copier(&maker, &watcher).refresh_snapshot(&source).await?)
    }

    /// See [`Provider::import`](crate::database::Provider::import).
    pub async fn import(&self, wanted: &WantedDatabase, request: &ImportRequest) -> Result<Imported, Report> {
        let (maker, watcher) = self.makers().await?;
        importing::import(&self.copier(&maker, &watcher), wanted, request).await
    }

    /// See [`Provider::restore_rows`](crate::database::Provider::restore_rows).
    pub async fn restore_rows(&self, name: &str, file: &Path) -> Result<(), Report> {
        // Starts the server if needed.
        self.client().await?;
        Ok(restore::rows(self, name, file).await?)
    }

    /// See [`Provider::delete`](crate::database::Provider::delete).
    pub async fn delete(&self, name: &str) -> Result<bool, Report> {
        let (maker, watcher) = self.makers().await?;
        program_databases::claim(&watcher, &self.cluster.log()).await?;
        Ok(reset_and_delete::delete(&maker, name, &self.ctx.events).await?)
    }
}
