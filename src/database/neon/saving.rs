//! Takes, lists, restores and deletes the snapshots that users name. Each is a child branch without a compute, which costs
//! only the data that change, and works on every plan.

use std::time::SystemTime;

use serde_json::json;

use super::error::{CallFailure, NeonError};
use super::related_branches::{self, SnapshotName};
use super::wire::NeonBranch;
use super::{Neon, guard};
use crate::database::saved_snapshots::{SavedSnapshot, SnapshotError};
use crate::database::undo::{UndoError, Undoing};
use crate::database::{BranchDatabase, WantedDatabase};
use crate::error::Report;
use crate::plan::DatabaseOrigin;

/// How often a snapshot is requested if answers are lost.
const ATTEMPTS: u32 = 3;

impl Neon {
    /// Returns the snapshots and backups of the branch `id`.
    pub(super) async fn related(&self, id: &str) -> Result<Vec<NeonBranch>, CallFailure> {
        let is_member = |branch: &NeonBranch| related_branches::owner(&branch.name) == Some(id);
        self.api.branches("look for the snapshots of the branch", id, is_member).await
    }

    pub(super) async fn related_to(&self, branch: &NeonBranch) -> Result<Vec<NeonBranch>, NeonError> {
        let found = self.related(&branch.id).await;
        found.map_err(|failure| self.explain(failure, "look for the snapshots of the branch"))
    }

    /// See [`Provider::save_snapshot`](crate::database::Provider::save_snapshot).
    pub async fn save_snapshot(&self, name: &str, snapshot: &str) -> Result<SavedSnapshot, Report> {
        let missing = || UndoError::Missing(name.into());
        let branch = self.find_branch(name).await?.ok_or_else(missing)?;
        self.guard(&branch)?;
        if self.request.expires_in.is_some() {
            return Err(SnapshotError::Expires { of: name.into() }.into());
        }
        let related = self.related_to(&branch).await?;
        let keeper = SnapshotName { snapshot, of: &branch.id }.branch();
        let Some(older) = find(&related, snapshot) else {
            let made = self.create_snapshot(&branch, &keeper, snapshot).await?;
            return Ok(saved(&made, &branch.name).ok_or_else(missing)?);
        };
        // The older one stays until the new one is complete. If devrun is killed before that, the new one is a backup.
        let temporary = related_branches::backup_name(&branch.id, SystemTime::now());
        let made = self.create_snapshot(&branch, &temporary, snapshot).await?;
        self.remove_snapshot(&branch, &related, older).await?;
        let named = self.api.rename(&made.id, &keeper).await;
        named.map_err(|failure| self.explain(failure, "name the new snapshot"))?;
        self.sweep_backups(&branch).await?;
        let made = NeonBranch { name: keeper, ..made };
        Ok(saved(&made, &branch.name).ok_or_else(missing)?)
    }

    /// Creates the branch `name` for the snapshot `snapshot` of `branch`.
    async fn create_snapshot(
        &self,
        branch: &NeonBranch,
        name: &str,
        snapshot: &str,
    ) -> Result<NeonBranch, NeonError> {
        let doing = format!("take the snapshot {snapshot} of the branch {}", branch.name);
        let note = json!({
            "devrun": env!("CARGO_PKG_VERSION"),
            "snapshot": snapshot,
            "repository": self.request.repository,
        });
        let body = json!({ "branch": { "name": name, "parent_id": branch.id }, "annotation_value": note });
        let mut attempt = 1;
        loop {
            match self.api.create(&doing, body.clone()).await {
                Ok(created) => {
                    let finished = self.api.finish(&created.branch, created.operations).await;
                    finished.map_err(|failure| self.explain(failure, &doing))?;
                    return Ok(created.branch);
                }
                Err(CallFailure::Refused(refusal)) if refusal.is_limit() => {
                    return Err(NeonError::Limit { refusal, candidates: self.candidates().await });
                }
                Err(failure @ CallFailure::Unsure { .. }) => {
                    // The request may have been executed.
                    if let Some(found) = self.find_branch(name).await? {
                        return Ok(found);
                    }
                    if attempt == ATTEMPTS {
                        return Err(self.explain(failure, &doing));
                    }
                    attempt += 1;
                }
                Err(failure) => return Err(self.explain(failure, &doing)),
            }
        }
    }

    /// See [`Provider::saved_snapshots`](crate::database::Provider::saved_snapshots).
    pub async fn saved_snapshots(&self) -> Result<Vec<SavedSnapshot>, Report> {
        let doing = "list the project's branches";
        let all =
            self.api.branches(doing, "", |_| true).await.map_err(|failure| self.explain(failure, doing))?;
        let snapshots = all.iter().filter_map(|branch| {
            let of = SnapshotName::parse(&branch.name)?.of;
            let owner = all.iter().find(|known| known.id == of);
            saved(branch, owner.map_or(of, |owner| owner.name.as_str()))
        });
        let mut snapshots: Vec<SavedSnapshot> = snapshots.collect();
        snapshots.sort_by(|one, other| {
            (&one.of, one.taken, &one.name).cmp(&(&other.of, other.taken, &other.name))
        });
        Ok(snapshots)
    }

    /// See [`Provider::restore_snapshot`](crate::database::Provider::restore_snapshot). The branch keeps its id, host and password.
    pub async fn restore_snapshot(
        &self,
        wanted: &WantedDatabase,
        snapshot: &str,
    ) -> Result<BranchDatabase, Report> {
        let name = &wanted.name;
        let missing = || UndoError::Missing(name.clone());
        let branch = self.find_branch(name).await?.ok_or_else(missing)?;
        if let Some(what) = guard::what(&branch, self.request.parent.as_deref()) {
            return Err(UndoError::Kept { name: name.clone(), what, doing: Undoing::Restore }.into());
        }
        let related = self.related_to(&branch).await?;
        let source = find(&related, snapshot).ok_or_else(|| unknown(&related, name, snapshot))?;
        let doing = format!("restore the snapshot {snapshot} of the branch {name}");
        let origin = DatabaseOrigin::CopyOf(format!("the snapshot {snapshot}"));
        // The snapshot has the marker of this branch.
        let copied_from = branch.id.clone();
        self.refill(&branch, &source.id, &doing, origin, copied_from).await
    }

    /// See [`Provider::delete_snapshot`](crate::database::Provider::delete_snapshot).
    pub async fn delete_snapshot(&self, name: &str, snapshot: &str) -> Result<(), Report> {
        let missing = || UndoError::Missing(name.into());
        let branch = self.find_branch(name).await?.ok_or_else(missing)?;
        let related = self.related_to(&branch).await?;
        let found = find(&related, snapshot).ok_or_else(|| unknown(&related, name, snapshot))?;
        self.remove_snapshot(&branch, &related, found).await?;
        Ok(self.sweep_backups(&branch).await?)
    }

    /// Deletes the branch of a snapshot. If others were made from it, it becomes a backup, which [`Neon::sweep_backups`] deletes
    /// when it can.
    async fn remove_snapshot(
        &self,
        branch: &NeonBranch,
        related: &[NeonBranch],
        snapshot: &NeonBranch,
    ) -> Result<(), NeonError> {
        if branch.parent_id.as_ref() != Some(&snapshot.id)
            && !related_branches::has_child(&snapshot.id, related)
        {
            return self.remove_branch(snapshot).await;
        }
        let name = related_branches::backup_name(&branch.id, SystemTime::now());
        let renamed = self.api.rename(&snapshot.id, &name).await;
        renamed.map_err(|failure| self.explain(failure, "put the snapshot aside"))?;
        let of = &branch.name;
        self.ctx.events.note(format!("Neon keeps the data of the snapshot until {of} is reset or deleted"));
        Ok(())
    }

    /// Deletes the backups of `branch` from which no branch was made.
    pub(super) async fn sweep_backups(&self, branch: &NeonBranch) -> Result<(), NeonError> {
        let mut related = self.related_to(branch).await?;
        let is_free = |one: &NeonBranch, related: &[NeonBranch]| {
            SnapshotName::parse(&one.name).is_none()
                && branch.parent_id.as_ref() != Some(&one.id)
                && !related_branches::has_child(&one.id, related)
        };
        // Each deletion may free its parent.
        while let Some(at) = related.iter().position(|one| is_free(one, &related)) {
            self.remove_branch(&related.remove(at)).await?;
        }
        Ok(())
    }
}

fn find<'a>(related: &'a [NeonBranch], snapshot: &str) -> Option<&'a NeonBranch> {
    let is_it =
        |one: &&NeonBranch| SnapshotName::parse(&one.name).is_some_and(|name| name.snapshot == snapshot);
    related.iter().find(is_it)
}

fn unknown(related: &[NeonBranch], of: &str, snapshot: &str) -> SnapshotError {
    let names = related.iter().filter_map(|one| SnapshotName::parse(&one.name));
    let known = names.map(|name| name.snapshot.to_string()).collect();
    SnapshotError::Missing { name: snapshot.into(), of: of.into(), known }
}

fn saved(branch: &NeonBranch, of: &str) -> Option<SavedSnapshot> {
    let name = SnapshotName::parse(&branch.name)?;
    Some(SavedSnapshot {
        name: name.snapshot.into(),
        of: of.into(),
        taken: branch.created().unwrap_or_default(),
        size: branch.logical_size,
        source_id: name.of.into(),
        database: branch.id.clone(),
    })
}
