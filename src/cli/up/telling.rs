//! Who hears what a run tells, beside the terminal: the log, the desk, the record; and the tag that its commands carry.

use crate::context::Context;
use crate::control::Journal;
use crate::control::desk::Desk;
use crate::event::{Event, Events};
use crate::logs;
use crate::logs::store::Store;
use crate::supervisor::sweep;
use crate::worktree::Worktree;

/// What is printed and told is written down as well.
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

/// A context in which the beginning of the end is written down, for others who ask.
pub(super) fn noting_the_end(ctx: &Context, journal: Journal, desk: &Desk) -> Context {
    let events = desk.listen(ctx.events.clone());
    let noting = move |event| {
        if matches!(event, Event::Stopping { .. }) {
            journal.ending();
        }
        events.send(event);
    };
    Context { events: Events::new(noting), ..ctx.clone() }
}

/// A context in which what preparation starts carries the run's tag: an installer or a migration may leave processes
/// behind when both devruns are killed.
pub(super) fn tagged(ctx: &Context, worktree_tag: &str) -> Context {
    let mut ctx = ctx.clone();
    ctx.env.insert(sweep::RUN_TAG.into(), format!("{worktree_tag}.prepare").into());
    ctx
}
