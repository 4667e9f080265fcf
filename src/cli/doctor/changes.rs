//! The changes that `devrun doctor --fix` makes: lines in git's own list of ignored files, removed leftovers, git's hook.

use super::super::new::{LOCK, LOCK_WAIT};
use super::super::{args, hook};
use crate::cleanup::facts::CleanupFacts;
use crate::cleanup::gather::Gathered;
use crate::cleanup::remove;
use crate::context::Context;
use crate::doctor::{self, DoctorFacts, DoctorFinding, Repair};
use crate::error::Report;
use crate::os::fs::{Lock, LockKind};
use crate::worktree::Worktree;

/// A change, and the sentence that announces it.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) repair: Repair,
    pub(super) text: String,
}

/// Returns the changes that resolve `found`, each once. `with_hook` includes git's hook.
pub(super) fn of(found: &[DoctorFinding], with_hook: bool) -> Vec<Change> {
    let mut lines: Vec<String> = Vec::new();
    let mut changes = Vec::new();
    for repair in found.iter().filter_map(|finding| finding.repair.as_ref()) {
        match repair {
            Repair::Exclude(more) => lines.extend(more.iter().cloned()),
            Repair::Leftovers => changes.push(Change {
                repair: Repair::Leftovers,
                text: "remove sockets, records and leases of runs that have ended".into(),
            }),
            Repair::Hook if with_hook => changes.push(Change {
                repair: Repair::Hook,
                text: "install the block of devrun in git's hook".into(),
            }),
            Repair::Hook => {}
        }
    }
    lines.sort();
    lines.dedup();
    if !lines.is_empty() {
        let text = format!("add to .git/info/exclude: {}", lines.join(" "));
        changes.insert(0, Change { repair: Repair::Exclude(lines), text });
    }
    changes
}

/// Makes one change. Must run in a `LocalSet`.
pub(super) async fn make(
    ctx: &Context,
    own: &Worktree,
    facts: &DoctorFacts,
    change: &Change,
) -> Result<(), Report> {
    match &change.repair {
        Repair::Exclude(lines) => {
            let Some(repository) = &own.git else { return Ok(()) };
            doctor::exclude(&repository.common_dir, lines)?;
            Ok(())
        }
        Repair::Leftovers => remove_leftovers(ctx, own, facts).await,
        Repair::Hook => hook::install(ctx, &args::HookInstall::default()).await,
    }
}

async fn remove_leftovers(ctx: &Context, own: &Worktree, facts: &DoctorFacts) -> Result<(), Report> {
    let gathered = Gathered {
        facts: CleanupFacts { runs: facts.runs.clone(), ..CleanupFacts::default() },
        databases: None,
        problems: Vec::new(),
    };
    let decisions = doctor::removable(&facts.runs);
    let lock = Lock::take(&own.shared.join(LOCK), LockKind::Exclusive, LOCK_WAIT).await?;
    let failures = remove::remove(ctx, own, &gathered, &decisions, &doctor::RULES).await;
    drop(lock);
    failures.into_iter().next().map_or(Ok(()), |(_, report)| Err(report))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_the_hook_is_installed_only_if_asked() {
        let finding = |repair| DoctorFinding {
            id: doctor::FindingId::Leftovers,
            title: String::new(),
            evidence: Vec::new(),
            fix: String::new(),
            repair: Some(repair),
        };
        let lines = |lines: &[&str]| Repair::Exclude(lines.iter().map(ToString::to_string).collect());
        let found = [lines(&["/b"]), Repair::Leftovers, lines(&["/a", "/b"]), Repair::Hook].map(finding);
        let repairs = |hook| of(&found, hook).into_iter().map(|change| change.repair).collect::<Vec<_>>();
        assert_eq!(repairs(false), [lines(&["/a", "/b"]), Repair::Leftovers]);
        assert_eq!(repairs(true).len(), 3);
    }
}
