//! `devrun db migrate`: prepares the database and runs its migrations as `up` does, but starts no servers. Works beside
//! a running stack too.

use serde_json::json;

use super::worktree_lock;
use crate::cli::{database_limit, printed};
use crate::context::Context;
use crate::error::{Exit, RERUN, RESET, RESET_STACK, Report};
use crate::plan::DatabaseOrigin;
use crate::prepare;
use crate::ui::console::Console;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let worktree = prepare::locate(ctx).await?;
    // A stack that starts now waits for the lock and then finds the migrations done.
    let turn = worktree_lock::begin(ctx, &worktree, "migrating").await?;
    let (provider, branch, migrated) = match prepare::migrate(ctx, turn.is_none()).await {
        Ok(migrated) => migrated,
        Err(report) => {
            let report = if turn.is_none() { beside_stack(report) } else { report };
            return Err(database_limit::explain(ctx, &worktree, report).await);
        }
    };
    let origin = match &branch.origin {
        DatabaseOrigin::Existing => String::new(),
        DatabaseOrigin::Empty => " was made empty".into(),
        DatabaseOrigin::CopyOf(parent) => format!(" was made a copy of {parent}"),
    };
    printed(if as_json {
        let made = branch.origin != DatabaseOrigin::Existing;
        console.print_json(&json!({
            "provider": provider, "name": branch.name, "id": branch.id, "made": made, "migrated": migrated,
        }))
    } else {
        let migrated = migrated.unwrap_or_else(|| "there are no migrations".into());
        console.print(&format!("{}{origin}: {migrated}.\n", branch.name))
    })
}

/// Returns `report` with a fix and a cause for a running stack, which goes on: `devrun up -d` does not migrate its database, and a reset
/// needs the end of the stack.
fn beside_stack(report: Report) -> Report {
    let fix = report.fix.map(|fix| fix.replace(RERUN, "run `devrun db migrate`").replace(RESET, RESET_STACK));
    let cause = report.cause.into_iter().chain(["the stack goes on".into()]).collect::<Vec<_>>().join("\n");
    Report { fix, cause: Some(cause), ..report }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn a_failed_migration_beside_a_stack_is_repeated_by_the_same_verb() {
        let report = |fix: String| Report::new(Code::MigrationFailed, "failed").with_fix(fix);
        let fix = beside_stack(report(format!("correct a.py:3, or run `{RESET}`; then {RERUN}"))).fix;
        let expected = "correct a.py:3, or run `devrun down && devrun db reset --yes && devrun up -d`; then run `devrun db migrate`";
        assert_eq!(fix.as_deref(), Some(expected));
    }

    #[test]
    fn the_cause_of_a_failed_migration_ends_with_what_the_stack_does() {
        let failed = Report::new(Code::MigrationFailed, "failed");
        assert_eq!(beside_stack(failed.clone()).cause.as_deref(), Some("the stack goes on"));
        let cause = beside_stack(failed.with_cause("KeyError: 'x'")).cause;
        assert_eq!(cause.as_deref(), Some("KeyError: 'x'\nthe stack goes on"));
    }
}
