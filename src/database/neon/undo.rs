//! Takes branches away: deleted, or put back to what their parent is now; and tells which there are.
//!
//! A lost answer is no harm here: what was deleted is looked for, and a reset may be asked for twice. The default branch, a
//! protected one and the one that is copied are refused whatever was granted.

use super::error::{Failure, NeonError};
use super::record::Record;
use super::wire::{self, Annotation, Operation};
use super::{Neon, guard, wish};
use crate::database::undo::{UndoError, Undoing, permit};
use crate::database::{Branch, Entry, Wanted};
use crate::error::Report;
use crate::plan::DatabaseOrigin;

/// How often a change may be asked for whose answers are lost.
const ATTEMPTS: u32 = 3;

impl Neon {
    /// The branch of exactly this name, with what was written down about it.
    pub(super) async fn entry(&self, name: &str) -> Result<Option<(wire::Branch, Entry)>, NeonError> {
        let doing = format!("look for the branch {name}");
        let found = self.api.annotated(&doing, name, |branch| branch.name == name).await;
        let found = found.map_err(|failure| self.told(failure, &doing))?;
        let Some((branch, note)) = found.into_iter().next() else { return Ok(None) };
        let parent = match &branch.parent_id {
            Some(id) => self.parent_name(id).await?,
            None => None,
        };
        let entry = self.described(&branch, note, parent);
        Ok(Some((branch, entry)))
    }

    /// Every branch of the project.
    pub(super) async fn entries(&self) -> Result<Vec<Entry>, NeonError> {
        let doing = "list the project's branches";
        let all =
            self.api.annotated(doing, "", |_| true).await.map_err(|failure| self.told(failure, doing))?;
        let name_of =
            |id: &str| all.iter().find(|(known, _)| known.id == id).map(|(known, _)| known.name.clone());
        let parents: Vec<Option<String>> =
            all.iter().map(|(branch, _)| branch.parent_id.as_deref().and_then(name_of)).collect();
        let described = all.into_iter().zip(parents);
        let mut entries: Vec<Entry> =
            described.map(|((branch, note), parent)| self.described(&branch, note, parent)).collect();
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(entries)
    }

    async fn parent_name(&self, id: &str) -> Result<Option<String>, NeonError> {
        match self.api.branch(id, false).await {
            Ok(parent) => Ok(Some(parent.name)),
            Err(Failure::Refused(refusal)) if refusal.status == 404 => Ok(None),
            Err(failure) => Err(self.told(failure, "look at the branch's parent")),
        }
    }

    fn described(&self, branch: &wire::Branch, note: Annotation, parent: Option<String>) -> Entry {
        let mut note = note.value;
        Entry {
            id: branch.id.clone(),
            name: branch.name.clone(),
            parent,
            made_by_devrun: note.contains_key("devrun"),
            git_branch: note.remove("git-branch"),
            worktree: note.remove("worktree").map(Into::into),
            size: branch.logical_size,
            kept: guard::what(branch, self.request.parent.as_deref()),
        }
    }

    /// The branch of this name, if it may be taken away at all; whether it was named is the caller's to know.
    async fn doomed(&self, name: &str, doing: Undoing) -> Result<Option<(wire::Branch, Entry)>, Report> {
        let Some((branch, entry)) = self.entry(name).await? else { return Ok(None) };
        permit(&entry, doing, true)?;
        Ok(Some((branch, entry)))
    }

    pub(super) async fn reset_branch(&self, wanted: &Wanted) -> Result<Branch, Report> {
        let name = &wanted.name;
        let Some((branch, entry)) = self.doomed(name, Undoing::Reset).await? else {
            return Err(UndoError::Missing(name.clone()).into());
        };
        let Some(parent) = branch.parent_id.clone() else {
            return Err(UndoError::Orphan(name.clone()).into());
        };
        let doing = format!("reset the branch {name}");
        let operations = self.twice(&doing, || self.api.restore(&branch.id, &parent)).await?;
        let finished = self.api.finish(&branch, operations).await;
        finished.map_err(|failure| self.told(failure, &doing))?;
        // Also when the receipt told of no work, or of less than there is.
        let taken = self.api.take_up(self.seen(&branch).await?, &self.compute()).await;
        let branch = taken.map_err(|failure| self.told(failure, &doing))?;
        let (url, direct_url) = self.addresses(&branch).await?;
        Ok(Branch {
            id: branch.id,
            name: branch.name,
            url,
            direct_url,
            door: None,
            origin: DatabaseOrigin::CopyOf(entry.parent.unwrap_or_else(|| parent.clone())),
            // The rows are the parent's, its marker included.
            copied_from: Some(parent),
        })
    }

    pub(super) async fn delete_branch(&self, name: &str) -> Result<bool, Report> {
        let Some((branch, _)) = self.doomed(name, Undoing::Delete).await? else {
            self.forget_branch(None, name);
            return Ok(false);
        };
        let doing = format!("delete the branch {name}");
        let operations = self.twice(&doing, || self.api.delete(&branch.id)).await?;
        let finished = self.api.finish(&branch, operations).await;
        match finished {
            // The work may be forgotten together with the branch.
            Err(Failure::Refused(refusal)) if refusal.status == 404 => {}
            finished => finished.map_err(|failure| self.told(failure, &doing))?,
        }
        self.forget_branch(Some(&branch.id), name);
        Ok(true)
    }

    async fn seen(&self, branch: &wire::Branch) -> Result<wire::Branch, NeonError> {
        let seen = self.api.branch(&branch.id, false).await;
        seen.map_err(|failure| self.told(failure, "look at the branch"))
    }

    /// Asks for a change that may be made more than once, again while answers are lost.
    async fn twice<F: Future<Output = Result<Vec<Operation>, Failure>>>(
        &self,
        doing: &str,
        change: impl Fn() -> F,
    ) -> Result<Vec<Operation>, NeonError> {
        let mut attempt = 1;
        loop {
            match change().await {
                Err(Failure::Unsure { .. }) if attempt < ATTEMPTS => attempt += 1,
                answer => return answer.map_err(|failure| self.told(failure, doing)),
            }
        }
    }

    /// Forgets what this worktree remembers, if it is of this branch.
    fn forget_branch(&self, id: Option<&str>, name: &str) {
        let state = &self.request.state;
        let known = Record::load(state, &wish(&self.request)).ok().flatten();
        if known.is_some_and(|record| id.map_or(record.name == name, |id| record.branch == id)) {
            Record::forget(state);
        }
    }
}
