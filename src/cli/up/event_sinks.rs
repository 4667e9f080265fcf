//! Connects the events of a run to the log, the stack and the record, and tags the commands of the preparation.

use crate::context::{Context, variables};
use crate::control::Journal;
use crate::control::stack_handle::StackHandle;
use crate::event::{Event, Events};
use crate::logs;
use crate::logs::store::Store;
use crate::worktree::Worktree;

/// Opens the log of the worktree. Warns if it cannot be written.
pub(super) fn log(ctx: &Context, worktree: &Worktree) -> Store {
    let events = ctx.events.clone();
    Store::open(&logs::folder(&worktree.state), move |why| events.warn(why))
}

pub(super) fn logging(ctx: &Context, log: &Store) -> Context {
    let (events, write) = (ctx.events.clone(), log.listener());
    let both = move |event| {
        write(&event);
        events.send(event);
    };
    Context { events: Events::new(both), ..ctx.clone() }
}

/// Returns a context whose events also reach `stack`, and which marks the record as ending when the run begins to stop.
pub(super) fn noting_the_end(ctx: &Context, journal: Journal, stack: &StackHandle) -> Context {
    let events = stack.listen(ctx.events.clone());
    let noting = move |event| {
        if matches!(event, Event::Stopping { .. }) {
            journal.ending();
        }
        events.send(event);
    };
    Context { events: Events::new(noting), ..ctx.clone() }
}

/// Returns a context whose commands carry the tag of the worktree. If supervisor and keeper are killed, an installer or
/// a migration may survive, and the next run finds it by this tag.
pub(super) fn tagged(ctx: &Context, worktree_tag: &str) -> Context {
    let mut ctx = ctx.clone();
    ctx.env.insert(variables::RUN.into(), format!("{worktree_tag}.prepare").into());
    ctx
}
