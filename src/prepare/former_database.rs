//! Finds the database of a worktree whose branch or folder was renamed since, and gives it the present name.
//!
//! Names are computed from the branch, and with a detached HEAD from the folder. The proof of a rename is git's log of the branch,
//! or the record in the worktree's state folder, together with what the database says about its origin. In doubt nothing is renamed.

use std::collections::BTreeSet;

use super::ResolvedWorktree;
use super::database_names::name_of;
use super::database_record::DatabaseRecord;
use crate::context::Context;
use crate::database::database_label::DatabaseLabel;
use crate::database::{ListedDatabase, Provider, WantedDatabase};
use crate::error::Report;
use crate::worktree;

/// A database that may belong to this worktree.
struct FormerDatabase {
    name: String,
    /// The labels that it may have.
    labels: BTreeSet<DatabaseLabel>,
    /// The time of the rename, in seconds since 1970, if it is known. A younger database belongs to another branch.
    until: Option<u64>,
    /// The reason, for the user.
    why: String,
}

/// Renames this worktree's database from an earlier name to that of `wanted`, unless a database has that name already. If it must
/// keep its name, because of `beside_stack`, returns that name. The provider is open.
pub(super) async fn take_over(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    provider: &dyn Provider,
    wanted: &WantedDatabase,
    beside_stack: bool,
) -> Result<Option<String>, Report> {
    let former = former_databases(ctx, resolved, provider, wanted).await?;
    if former.is_empty() || provider.describe(&wanted.name).await?.is_some() {
        return Ok(None);
    }
    for one in former {
        let Some(entry) = provider.describe(&one.name).await? else { continue };
        if !belongs(&entry, &one) {
            continue;
        }
        let (old, new) = (&entry.name, &wanted.name);
        if beside_stack {
            ctx.events.note(format!("the database keeps the name {old} while the stack runs: {}", one.why));
            return Ok(Some(one.name));
        }
        provider.rename(&entry, wanted).await?;
        ctx.events.note(format!("the database {old} is called {new} now: {}", one.why));
        return Ok(None);
    }
    Ok(None)
}

fn belongs(entry: &ListedDatabase, former: &FormerDatabase) -> bool {
    let is_older = || former.until.zip(entry.created).is_none_or(|(until, created)| created <= until);
    let is_its = entry.label.as_ref().is_some_and(|label| former.labels.contains(label));
    entry.made_by_devrun && entry.kept.is_none() && is_its && is_older()
}

/// Returns the databases that may belong to this worktree, the most recent first. Calls git only if the branch was renamed.
async fn former_databases(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    provider: &dyn Provider,
    wanted: &WantedDatabase,
) -> Result<Vec<FormerDatabase>, Report> {
    let here = &resolved.worktree;
    let mut found = Vec::new();
    if let Some(record) = DatabaseRecord::load(&here.state)
        && record.worktree != here.path
        && record.name != wanted.name
        && !record.worktree.exists()
        && (record.label == wanted.label || record.label.is_detached() && wanted.label.is_detached())
    {
        let why = format!("the worktree was moved from {}", record.worktree.display());
        let labels = BTreeSet::from([record.label]);
        found.push(FormerDatabase { name: record.name, labels, until: None, why });
    }
    let earlier = worktree::earlier_names(here);
    let labels: BTreeSet<DatabaseLabel> = earlier.iter().map(|one| one.name.as_str().into()).collect();
    for one in earlier.iter().rev() {
        // A branch of that name has the database now.
        if worktree::has_branch(ctx, &here.path, &one.name).await {
            continue;
        }
        let Some(name) = name_of(resolved, provider, &one.name)? else { break };
        if name == wanted.name || found.iter().any(|known| known.name == name) {
            continue;
        }
        let why = format!("the branch {} was renamed to {}", one.name, wanted.label);
        found.push(FormerDatabase { name, labels: labels.clone(), until: Some(one.until), why });
    }
    Ok(found)
}
