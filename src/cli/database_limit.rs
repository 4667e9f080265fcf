//! Adds the databases that `devrun prune` would delete to the error of a database service that has reached its limit.

use std::time::Duration;

use super::args::YOUNGEST;
use crate::cleanup::decide::{self, LeftoverKind, Rules};
use crate::cleanup::gather;
use crate::context::Context;
use crate::error::{Code, Report};
use crate::worktree::Worktree;

/// How long the search may take.
const SEARCH: Duration = Duration::from_mins(1);

/// Returns `report`. If a limit of the database service was reached, adds to the cause which databases `devrun prune` would delete.
/// If there are some, that command becomes the fix. Adds nothing if the search fails or takes too long.
pub(super) async fn explain(ctx: &Context, worktree: &Worktree, report: Report) -> Report {
    if report.code != Code::DatabaseLimit {
        return report;
    }
    let rules = Rules { merged: false, older_than: YOUNGEST };
    let searched = tokio::time::timeout(SEARCH, Box::pin(gather::gather(ctx, worktree, &rules))).await;
    let Ok(Ok(gathered)) = searched else { return report };
    if !gathered.problems.is_empty() {
        return report;
    }
    let decisions = decide::decide(&gathered.facts, &rules).into_iter();
    let removed = decisions.filter(|one| one.kind == LeftoverKind::Database && one.removes);
    let names: Vec<String> = removed.map(|one| format!("{} ({})", one.name, one.reason)).collect();
    let cause = |told: String| match &report.cause {
        Some(cause) => format!("{cause}\n{told}"),
        None => told,
    };
    if names.is_empty() {
        let told = cause("`devrun prune` would delete no branch database".into());
        return report.with_cause(told);
    }
    let told = cause(format!("`devrun prune` would delete: {}", names.join(", ")));
    report.with_cause(told).with_fix("devrun prune --yes, then the same again")
}
