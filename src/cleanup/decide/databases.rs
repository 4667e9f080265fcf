//! The rules for branch databases.

use std::collections::BTreeSet;

use super::{Reasoned, Rules, old_enough};
use crate::cleanup::facts::{BranchDatabaseFacts, BranchState, Creator};

/// Decides about a branch database. `deleted` are the branches that are removed too.
pub(super) fn database(facts: &BranchDatabaseFacts, deleted: &BTreeSet<String>, rules: &Rules) -> Reasoned {
    let keep = |reason: &str| Err(reason.to_string());
    let listed = &facts.listed;
    if let Some(what) = listed.kept {
        return Err(format!("it is {what}"));
    }
    if !listed.made_by_devrun {
        return keep("it was not made by devrun");
    }
    if facts.is_current {
        return keep("it is the database of this worktree");
    }
    let Some(branch) = listed.label.as_ref().map(ToString::to_string) else {
        return keep("it names no git branch");
    };
    if facts.runs {
        return keep(RUNS);
    }
    if facts.is_locked {
        return keep("git keeps its worktree locked");
    }
    let reason = match &facts.branch {
        BranchState::Local { .. } if !deleted.contains(&branch) => {
            return Err(format!("the branch {branch} exists"));
        }
        BranchState::Local { remote: Some(name) } | BranchState::Remote(name) => {
            return Err(on_a_remote(name));
        }
        BranchState::Local { remote: None } => format!("the branch {branch} is removed"),
        BranchState::Renamed(name) => return Err(format!("its branch is called {name} now")),
        BranchState::Detached if facts.creator == Creator::Here => return keep("its worktree exists"),
        BranchState::Detached => "its worktree is gone".into(),
        BranchState::Gone => format!("the branch {branch} is gone"),
    };
    is_used_only_here(facts)?;
    old_enough(facts.age, rules.older_than, "made")?;
    Ok(reason)
}

/// Decides about the database of a worktree that the user removes with its branch. Errors with the reason to keep it.
pub fn database_of_removed(facts: &BranchDatabaseFacts) -> Result<(), String> {
    if facts.runs {
        return Err(RUNS.into());
    }
    if facts.is_shared
        && let BranchState::Local { remote: Some(name) } | BranchState::Remote(name) = &facts.branch
    {
        return Err(on_a_remote(name));
    }
    is_used_only_here(facts)
}

const RUNS: &str = "a stack that may use it runs";

fn on_a_remote(name: &str) -> String {
    format!("the branch exists as {name}: another clone may use it")
}

/// Returns the reason to keep a database that another clone or another database may need.
fn is_used_only_here(facts: &BranchDatabaseFacts) -> Result<(), String> {
    match facts.creator {
        Creator::OtherClone => return Err("it was made in a folder that another clone may use".into()),
        Creator::Unknown if facts.is_shared => {
            return Err("it was made in a worktree that this clone does not know".into());
        }
        Creator::Unknown | Creator::Here | Creator::Gone => {}
    }
    match &facts.child {
        Some(child) => Err(format!("{child} was copied from it")),
        None => Ok(()),
    }
}
