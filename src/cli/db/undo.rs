//! What `reset` and `delete` have in common: may it be done, does anybody use it, does the user mean it.

use super::errand::{self, Errand};
use crate::cli::args::Undo;
use crate::context::Context;
use crate::database::Entry;
use crate::database::undo::Undoing;
use crate::error::{Code, Report};
use crate::prepare::Databases;
use crate::ui::console::Console;
use crate::worktree::{self, Worktree};

/// A database that may be taken away, and the worktrees that may work with it.
pub(super) struct Doomed {
    pub(super) entry: Entry,
    worktrees: Vec<Worktree>,
    doing: Undoing,
}

impl Doomed {
    /// Looks at the database `name`; `None` when there is none. Refuses one that must not be taken away or that a stack uses.
    pub(super) async fn look(
        ctx: &Context,
        databases: &Databases,
        name: &str,
        doing: Undoing,
        args: &Undo,
    ) -> Result<Option<Doomed>, Report> {
        let Some(entry) = databases.doomed(name, doing, args.which.name.is_some()).await? else {
            return Ok(None);
        };
        let own = &databases.ground.worktree;
        let (branch, folder) = (entry.git_branch.as_deref(), entry.worktree.as_deref());
        let mut worktrees = worktree::holders(ctx, own, branch, folder).await;
        worktrees.push(own.clone());
        for worktree in &worktrees {
            errand::refuse_user(worktree, own, name).await?;
        }
        Ok(Some(Doomed { entry, worktrees, doing }))
    }

    /// Asks, unless the answer was given; whoever cannot be asked has to give it.
    pub(super) async fn confirm(
        &self,
        console: &Console,
        question: &str,
        args: &Undo,
        as_json: bool,
    ) -> Result<(), Report> {
        if args.yes {
            return Ok(());
        }
        let refused = |message: &str| {
            let named = args.which.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
            Report::new(Code::NotConfirmed, message)
                .with_fix(format!("if you mean it: devrun db {}{named} --yes", self.doing.word()))
        };
        if as_json || !console.can_ask() {
            let message = format!("{} would lose everything in it, and nobody can be asked", self.entry.name);
            return Err(refused(&message));
        }
        let unreadable = |error| Report::new(Code::State, format!("the answer cannot be read: {error}"));
        if console.ask(question).await.map_err(unreadable)? {
            Ok(())
        } else {
            Err(refused("nothing was changed"))
        }
    }

    /// The right to do it: until these are dropped, no run begins in a worktree that may work with it.
    pub(super) async fn turns(
        &self,
        ctx: &Context,
        databases: &Databases,
        doing: &str,
    ) -> Result<Vec<Errand>, Report> {
        let mut turns = Vec::new();
        for worktree in &self.worktrees {
            match errand::begin(ctx, worktree, doing).await? {
                Some(turn) => turns.push(turn),
                None => errand::refuse_user(worktree, &databases.ground.worktree, &self.entry.name).await?,
            }
        }
        Ok(turns)
    }
}
