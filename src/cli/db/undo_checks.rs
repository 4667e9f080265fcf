//! The checks that `reset`, `delete`, `restore` and `import` share: the database may be changed, no stack uses it, and, except for
//! `import`, the user agrees.

use super::worktree_lock::{self, MaintenanceLock};
use crate::cli::args::Undo;
use crate::cli::confirm::{Confirmation, confirm};
use crate::context::Context;
use crate::database::ListedDatabase;
use crate::database::undo::Undoing;
use crate::error::Report;
use crate::prepare::Databases;
use crate::text::quoted;
use crate::ui::console::Console;
use crate::worktree::{self, Worktree};

/// A database that may be changed, and the worktrees that may use it.
pub(super) struct UndoTarget {
    pub(super) entry: ListedDatabase,
    worktrees: Vec<Worktree>,
    doing: Undoing,
}

impl UndoTarget {
    /// Finds the database `name`. Returns `None` if it does not exist. Errors if it must not be changed or a stack uses
    /// it.
    pub(super) async fn find(
        ctx: &Context,
        databases: &Databases,
        name: &str,
        doing: Undoing,
        args: &Undo,
    ) -> Result<Option<UndoTarget>, Report> {
        let Some(entry) = databases.permitted(name, doing, args.which.name.is_some()).await? else {
            return Ok(None);
        };
        let own = &databases.resolved.worktree;
        let (branch, folder) = (entry.branch(), entry.worktree.as_deref());
        let mut worktrees = worktree::users(ctx, own, branch, folder).await;
        // The label of a parent that a branch made is not the name of the default branch.
        let default = databases.resolved.default_branch.as_deref();
        if entry.kept.is_some() && default != branch {
            let more = worktree::users(ctx, own, default, None).await;
            worktrees.extend(
                more.into_iter()
                    .filter(|one| !worktrees.iter().any(|known| known.path == one.path))
                    .collect::<Vec<_>>(),
            );
        }
        worktrees.push(own.clone());
        for worktree in &worktrees {
            worktree_lock::refuse_user(worktree, own, name).await?;
        }
        Ok(Some(UndoTarget { entry, worktrees, doing }))
    }

    /// Asks the user, unless `--yes` was given. `snapshot` names the snapshot to restore. Errors if the user refuses or cannot be asked.
    pub(super) async fn confirm(
        &self,
        console: &Console,
        question: &str,
        args: &Undo,
        snapshot: Option<&String>,
        as_json: bool,
    ) -> Result<(), Report> {
        if args.yes {
            return Ok(());
        }
        let named = snapshot.or(args.which.name.as_ref());
        let named = named.map(|name| format!(" {}", quoted(name))).unwrap_or_default();
        let question = Confirmation {
            text: question,
            outcome: &format!("{} would lose everything in it", self.entry.name),
            refused: "nothing was changed",
            command: &format!("devrun db {}{named} --yes", self.doing.word()),
        };
        confirm(console, question, as_json).await
    }

    /// Takes the locks of all worktrees that may use the database, so that no stack starts there until they are
    /// dropped. Skips a worktree whose stack uses another database. Errors if a stack uses this one.
    pub(super) async fn turns(
        &self,
        ctx: &Context,
        databases: &Databases,
        doing: &str,
    ) -> Result<Vec<MaintenanceLock>, Report> {
        let mut turns = Vec::new();
        for worktree in &self.worktrees {
            match worktree_lock::begin(ctx, worktree, doing).await? {
                Some(turn) => turns.push(turn),
                None => {
                    worktree_lock::refuse_user(worktree, &databases.resolved.worktree, &self.entry.name)
                        .await?;
                }
            }
        }
        Ok(turns)
    }
}
