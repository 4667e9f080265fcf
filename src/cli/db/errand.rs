//! The worktree's lock, for a moment and without a stack: a run that begins meanwhile waits, one that runs is respected.

use std::time::Duration;

use crate::cli::{down, nobody_knows};
use crate::context::Context;
use crate::control::client::Client;
use crate::control::{self, Claim, Record, State};
use crate::error::{Code, Holder, Report};
use crate::worktree::Worktree;

/// How long one that is just coming or going is waited for.
const OTHERS: Duration = Duration::from_secs(10);
/// How long another errand, or the end of a stack, may take.
const TURN: Duration = Duration::from_mins(2);

/// The right to change what the worktree works with. Given back when dropped.
pub(super) struct Errand(Claim);

impl Drop for Errand {
    fn drop(&mut self) {
        self.0.clear();
    }
}

/// Takes the lock of `worktree`; `None` when a stack runs there.
pub(super) async fn begin(ctx: &Context, worktree: &Worktree, doing: &str) -> Result<Option<Errand>, Report> {
    let state = &worktree.state;
    loop {
        if let Some(claim) = control::claim(state)? {
            // What a killed run left may still work with the database.
            down::clean_up(ctx, worktree, &claim)?;
            let errand = Errand(claim);
            let record = Record::new(std::process::id(), &worktree.path);
            errand.0.record(&Record { errand: Some(doing.into()), ..record })?;
            return Ok(Some(errand));
        }
        match control::look(state, OTHERS).await? {
            State::Running(record) if record.is_passing() => {
                ctx.events.note(format!("{}: waiting for its end", record.doing()));
                if !control::wait_for_turn(state, record.pid, TURN).await? {
                    return Err(nobody_knows());
                }
            }
            State::Running(_) => return Ok(None),
            State::Unknown => return Err(nobody_knows()),
            State::Free => {}
        }
    }
}

/// An error when a stack in `worktree` uses the database `name`, or does not say which it uses.
pub(super) async fn refuse_user(worktree: &Worktree, own: &Worktree, name: &str) -> Result<(), Report> {
    let State::Running(record) = control::look(&worktree.state, OTHERS).await? else { return Ok(()) };
    if record.is_passing() {
        return Ok(());
    }
    let used = async { Client::new(record.socket()?).status().await };
    if let Ok(status) = used.await
        && status.database.is_some_and(|database| database.branch != name)
    {
        return Ok(());
    }
    let place = worktree.path.display();
    let fix = if worktree == own { "devrun down".into() } else { format!("devrun -C {place} down") };
    let holder =
        Holder { pid: Some(record.pid), command: Some("devrun".into()), worktree: Some(place.to_string()) };
    Err(Report::new(Code::AlreadyRunning, format!("{name} is in use: a stack runs in {place}"))
        .with_holder(holder)
        .with_fix(format!("{fix}, then the same again")))
}
