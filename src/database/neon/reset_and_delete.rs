//! Deletes, renames and lists branches, and resets them to the current state of their parent.
//!
//! The snapshots of a branch are deleted with it. A lost answer does no harm to a reset or a deletion: both can be repeated. The default
//! branch, protected branches and the branch that other branches are copied from are always refused.

use std::time::SystemTime;

use super::error::{CallFailure, NeonError};
use super::record::BranchRecord;
use super::wire::{self, Annotation, Operation};
use super::{Neon, guard, related_branches, wish};
use crate::database::undo::{UndoError, Undoing, permit};
use crate::database::{BranchDatabase, ListedDatabase, WantedDatabase};
use crate::error::Report;
use crate::plan::DatabaseOrigin;

/// How often a change is requested if answers are lost.
const ATTEMPTS: u32 = 3;

impl Neon {
    /// Returns the branch with exactly this name, with its annotation.
    pub(super) async fn entry(
        &self,
        name: &str,
    ) -> Result<Option<(wire::NeonBranch, ListedDatabase)>, NeonError> {
        let doing = format!("look for the branch {name}");
        let found = self.api.annotated(&doing, name, |branch| branch.name == name).await;
        let found = found.map_err(|failure| self.explain(failure, &doing))?;
        let Some((branch, note)) = found.into_iter().next() else { return Ok(None) };
        let related = self.related_to(&branch).await?;
        let parent = match related_branches::origin(&branch, &related) {
            Some(id) => self.parent_name(id).await?,
            None => None,
        };
        let snapshots = related_branches::snapshots(&branch.id, &related);
        let entry = ListedDatabase { snapshots, ..self.described(&branch, note, parent) };
        Ok(Some((branch, entry)))
    }

    /// Returns every branch of the project, sorted by name, except snapshots and backups.
    pub async fn list(&self) -> Result<Vec<ListedDatabase>, Report> {
        let doing = "list the project's branches";
        let all =
            self.api.annotated(doing, "", |_| true).await.map_err(|failure| self.explain(failure, doing))?;
        let (members, all): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(branch, _)| related_branches::owner(&branch.name).is_some());
        let members: Vec<wire::NeonBranch> = members.into_iter().map(|(member, _)| member).collect();
        let name_of =
            |id: &str| all.iter().find(|(known, _)| known.id == id).map(|(known, _)| known.name.clone());
        let parents: Vec<Option<String>> = all
            .iter()
            .map(|(branch, _)| related_branches::origin(branch, &members).and_then(name_of))
            .collect();
        let described = all.into_iter().zip(parents);
        let mut entries: Vec<ListedDatabase> = described
            .map(|((branch, note), parent)| {
                let snapshots = related_branches::snapshots(&branch.id, &members);
                ListedDatabase { snapshots, ..self.described(&branch, note, parent) }
            })
            .collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    async fn parent_name(&self, id: &str) -> Result<Option<String>, NeonError> {
        match self.api.branch(id, false).await {
            Ok(parent) => Ok(Some(parent.name)),
            Err(CallFailure::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(failure) => Err(self.explain(failure, "look at the branch's parent")),
        }
    }

    fn described(
        &self,
        branch: &wire::NeonBranch,
        note: Annotation,
        parent: Option<String>,
    ) -> ListedDatabase {
        let mut note = note.value;
        ListedDatabase {
            id: branch.id.clone(),
            name: branch.name.clone(),
            parent,
            made_by_devrun: note.contains_key("devrun"),
            label: note.remove("git-branch").map(Into::into),
            worktree: note.remove("worktree").map(Into::into),
            creator: None,
            created: branch.created(),
            size: branch.logical_size,
            snapshots: Vec::new(),
            kept: guard::what(branch, self.request.parent.as_deref()),
        }
    }

    /// Returns the branch `name` if it exists. Errors if `doing` is never allowed for it. The caller checks whether the user
    /// named the branch.
    async fn changeable(
        &self,
        name: &str,
        doing: Undoing,
    ) -> Result<Option<(wire::NeonBranch, ListedDatabase)>, Report> {
        let Some((branch, entry)) = self.entry(name).await? else { return Ok(None) };
        permit(&entry, doing, true)?;
        Ok(Some((branch, entry)))
    }

    /// See [`Provider::reset`](crate::database::Provider::reset).
    pub async fn reset(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, Report> {
        let name = &wanted.name;
        let Some((branch, entry)) = self.changeable(name, Undoing::Reset).await? else {
            return Err(UndoError::Missing(name.clone()).into());
        };
        let related = self.related_to(&branch).await?;
        let Some(parent) = related_branches::origin(&branch, &related).map(String::from) else {
            return Err(UndoError::Orphan(name.clone()).into());
        };
        let doing = format!("reset the branch {name}");
        let origin = DatabaseOrigin::CopyOf(entry.parent.unwrap_or_else(|| parent.clone()));
        // The rows are the parent's, including its success marker.
        let made = self.refill(&branch, &parent, &doing, origin, parent.clone()).await?;
        if !related.is_empty() {
            self.sweep_backups(&self.read_again(&branch).await?).await?;
        }
        Ok(made)
    }

    /// Replaces the contents of `branch` by those of the branch `source`, and waits until it accepts connections. Snapshots of the
    /// branch stay. A success marker with the id `copied_from` is valid for it.
    pub(super) async fn refill(
        &self,
        branch: &wire::NeonBranch,
        source: &str,
        doing: &str,
        origin: DatabaseOrigin,
        copied_from: String,
    ) -> Result<BranchDatabase, Report> {
        let operations = self
            .repeat_if_lost(doing, || async {
                // Read again each time: an attempt whose answer was lost may have moved the children.
                let related = self.related(&branch.id).await?;
                let has_child = related_branches::has_child(&branch.id, &related);
                let backup = has_child.then(|| related_branches::backup_name(&branch.id, SystemTime::now()));
                self.api.restore(&branch.id, source, backup.as_deref()).await
            })
            .await?;
        let finished = self.api.finish(branch, operations).await;
        finished.map_err(|failure| self.explain(failure, doing))?;
        // Checked even if the answer listed no operations, or fewer than there are.
        let taken = self.api.take_up(self.read_again(branch).await?, &self.compute()).await;
        let branch = taken.map_err(|failure| self.explain(failure, doing))?;
        let (url, direct_url) = self.addresses(&branch).await?;
        Ok(BranchDatabase {
            id: branch.id,
            name: branch.name,
            url,
            direct_url,
            admin_socket: None,
            records: None,
            origin,
            copied_from: Some(copied_from),
        })
    }

    /// See [`Provider::rename`](crate::database::Provider::rename). The annotation keeps the old names, because Neon never changes
    /// one.
    pub async fn rename(&self, from: &ListedDatabase, name: &str) -> Result<(), Report> {
        if self.find_branch(name).await?.is_some() {
            return Ok(());
        }
        let Some((branch, entry)) = self.entry(&from.name).await? else { return Ok(()) };
        if entry.id != from.id || entry.kept.is_some() {
            return Ok(());
        }
        let doing = format!("rename the branch {} to {name}", from.name);
        match self.api.rename(&branch.id, name).await {
            // Another devrun was faster.
            Err(CallFailure::Refused(refusal)) if refusal.status == 409 => return Ok(()),
            renamed => renamed.map_err(|failure| self.explain(failure, &doing))?,
        }
        let (state, wish) = (&self.request.state, wish(&self.request));
        let known = BranchRecord::load(state, &wish)?.filter(|record| record.branch == branch.id);
        if let Some(BranchRecord { url, direct_url, .. }) = known {
            BranchRecord::new(wish, &branch.id, name, &url, &direct_url).save(state)?;
        }
        Ok(())
    }

    /// See [`Provider::delete`](crate::database::Provider::delete).
    pub async fn delete(&self, name: &str) -> Result<bool, Report> {
        let Some((branch, _)) = self.changeable(name, Undoing::Delete).await? else {
            self.forget_branch(None, name);
            return Ok(false);
        };
        let related = self.related_to(&branch).await?;
        for id in related_branches::children_first(&branch, &related) {
            if let Some(member) = related.iter().chain([&branch]).find(|member| member.id == id) {
                self.remove_branch(member).await?;
            }
        }
        self.forget_branch(Some(&branch.id), name);
        Ok(true)
    }

    /// Deletes a branch without children.
    pub(super) async fn remove_branch(&self, branch: &wire::NeonBranch) -> Result<(), NeonError> {
        let doing = format!("delete the branch {}", branch.name);
        let operations = self.repeat_if_lost(&doing, || self.api.delete(&branch.id)).await?;
        match self.api.finish(branch, operations).await {
            // Neon may delete the record of the operation together with the branch.
            Err(CallFailure::Refused(refusal)) if refusal.status == 404 => Ok(()),
            finished => finished.map_err(|failure| self.explain(failure, &doing)),
        }
    }

    async fn read_again(&self, branch: &wire::NeonBranch) -> Result<wire::NeonBranch, NeonError> {
        let answer = self.api.branch(&branch.id, false).await;
        answer.map_err(|failure| self.explain(failure, "look at the branch"))
    }

    /// Requests a change that is safe to repeat. Repeats it if the answer is lost.
    async fn repeat_if_lost<F: Future<Output = Result<Vec<Operation>, CallFailure>>>(
        &self,
        doing: &str,
        change: impl Fn() -> F,
    ) -> Result<Vec<Operation>, NeonError> {
        let mut attempt = 1;
        loop {
            match change().await {
                Err(CallFailure::Unsure { .. }) if attempt < ATTEMPTS => attempt += 1,
                answer => return answer.map_err(|failure| self.explain(failure, doing)),
            }
        }
    }

    /// Deletes this worktree's record if it belongs to this branch.
    fn forget_branch(&self, id: Option<&str>, name: &str) {
        let state = &self.request.state;
        let known = BranchRecord::load(state, &wish(&self.request)).ok().flatten();
        if known.is_some_and(|record| id.map_or(record.name == name, |id| record.branch == id)) {
            BranchRecord::forget(state);
        }
    }
}
