//! Compares the branch database of a running stack with the migrations of its worktree, for `devrun status`. Starts nothing, and returns
//! nothing if the database cannot be reached at once.

use std::time::Duration;

use super::branch_database::{self, ChosenProvider};
use super::preview;
use crate::context::Context;
use crate::database::migrate::drift::{SchemaDrift, drift};
use crate::database::{BranchDatabase, Purpose, ServerState, WantedDatabase};
use crate::error::RESET_STACK;
use crate::event::Events;
use crate::plan::{DatabaseOrigin, Notice};
use crate::text::listed;

/// The time limit of the comparison, with the connection.
const LIMIT: Duration = Duration::from_millis(1500);

/// Returns notices about revisions of the database that are newer than all migration files, and about objects that no
/// migration has made.
pub async fn schema_drift(ctx: &Context) -> Vec<Notice> {
    // The stack has already reported what is to be said about the configuration.
    let quiet = Context { events: Events::discarded(), ..ctx.clone() };
    let found = tokio::time::timeout(LIMIT, Box::pin(look(&quiet))).await;
    let Some((wanted, drift)) = found.ok().flatten() else { return Vec::new() };
    // devrun does not reset a parent, because others are copied from it.
    notices(&wanted.name, &drift, wanted.name != wanted.parent)
}

async fn look(ctx: &Context) -> Option<(WantedDatabase, SchemaDrift)> {
    let resolved = preview::resolve_without_starting(ctx).await.ok()?;
    let migrate = resolved.config.database.as_ref()?.migrate.as_ref()?;
    let ChosenProvider { provider, wanted } =
        branch_database::choose(&resolved.discreet(ctx), &resolved, false).ok()??;
    let found = match provider.server().ok()? {
        Some(ServerState::Stopped) => return None,
        Some(ServerState::Running) => {
            provider.open(Purpose::Look).await.ok()?;
            provider.find(&wanted.name).await.ok()??
        }
        None if provider.may_sleep() => return None,
        // The address that the worktree remembers, so no request goes to a service.
        None => {
            let urls = provider.address(&wanted.name).ok()??;
            BranchDatabase {
                id: String::new(),
                name: wanted.name.clone(),
                url: urls.url,
                direct_url: urls.direct_url,
                admin_socket: None,
                records: None,
                origin: DatabaseOrigin::Existing,
                copied_from: None,
            }
        }
    };
    let folder = resolved.folder(&migrate.directory);
    let command = (&migrate.run, migrate.is_sql);
    let drift = drift(&found, command, &folder, &migrate.inputs, LIMIT).await?;
    Some((wanted, drift))
}

/// Returns the notices about the database `name`. `may_reset` is true if devrun resets it.
fn notices(name: &str, drift: &SchemaDrift, may_reset: bool) -> Vec<Notice> {
    let mut all = Vec::new();
    if !drift.newer_revisions.is_empty() {
        all.push(Notice {
            text: format!(
                "{name} is ahead of the code: no migration file of this worktree makes {}",
                listed(&drift.newer_revisions)
            ),
            fix: Some(if may_reset {
                format!("merge the branch that has it, or `{RESET_STACK}` (what is in the database is lost)")
            } else {
                "merge the branch that has it".into()
            }),
        });
    }
    if !drift.new_objects.is_empty() {
        all.push(Notice {
            text: format!("{name} has objects that no migration makes: {}", listed(&drift.new_objects)),
            fix: Some("write a migration that makes them, or drop them".into()),
        });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_names_a_few_objects() {
        let new_objects = (1..=7).map(|n| format!("table public.t{n}")).collect();
        let drift = SchemaDrift { newer_revisions: vec!["0009".into()], new_objects };
        let found: Vec<String> =
            notices("dev-x", &drift, true).into_iter().map(|notice| notice.text).collect();
        assert_eq!(
            found,
            [
                "dev-x is ahead of the code: no migration file of this worktree makes 0009",
                "dev-x has objects that no migration makes: table public.t1, table public.t2, table public.t3, \
                 table public.t4, table public.t5 and 2 more"
            ]
        );
    }

    #[test]
    fn a_database_ahead_of_the_code_is_reset_after_its_stack_ended() {
        let drift = SchemaDrift { newer_revisions: vec!["0009".into()], new_objects: Vec::new() };
        let fix = |may_reset| notices("dev-x", &drift, may_reset).remove(0).fix.unwrap();
        let reset = "`devrun down && devrun db reset --yes && devrun up -d`";
        assert!(fix(true).starts_with(&format!("merge the branch that has it, or {reset}")), "{}", fix(true));
        assert_eq!(fix(false), "merge the branch that has it");
    }
}
