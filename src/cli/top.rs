//! `devrun top` (`devrun ls --watch`): shows all stacks of this user and refreshes the list until the user leaves. Keys open,
//! restart and stop a stack and follow its logs.
//!
//! This file reads keys and stacks, and `effects` changes stacks. `update` decides what a key does, `render` draws; both are pure.

mod effects;
mod keys;
mod render;
mod state;
#[cfg(test)]
mod tests;
mod update;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::state::{TopAction, TopInput, TopState};
use super::{end_signals, ls};
use crate::context::Context;
use crate::control::overview;
use crate::error::{Code, Exit, Report};
use crate::ui::console::Console;
use crate::ui::full_screen::{self, FullScreen};

/// Time between an answer and the next query of all stacks.
const REFRESH: Duration = Duration::from_secs(1);
/// How long one wait for a key takes. A new size of the terminal is drawn after it at the latest.
const KEY_WAIT: Duration = Duration::from_millis(100);

pub(super) async fn run(ctx: &Context, console: &Console, here: bool, as_json: bool) -> Result<Exit, Report> {
    if as_json || !std::io::stdin().is_terminal() || !console.style().terminal {
        let message = "devrun top needs a terminal for input and output";
        return Err(Report::new(Code::Usage, message).with_fix("devrun ls --json"));
    }
    let here = if here { Some(ls::worktrees_here(ctx).await?) } else { None };
    let unusable = |error: std::io::Error| {
        Report::new(Code::State, format!("the terminal cannot be used: {error}"))
            .with_fix("devrun ls, which prints the list once")
    };
    // Installed before the terminal is changed, because a signal must not end devrun before the terminal is restored.
    let mut asked_to_end = Box::pin(end_signals::first().map_err(unusable)?);
    let (sender, mut inputs) = unbounded_channel();
    let reading = tokio::task::spawn_local(refresh(ctx.clone(), here, sender.clone()));
    console.flush();
    let mut screen = FullScreen::enter().map_err(unusable)?;
    let mut state = TopState::default();
    let exit = loop {
        let draw = |frame: &mut ratatui::Frame<'_>| {
            render::render(&state, console.style().colour, frame.area(), frame.buffer_mut());
        };
        screen.draw(draw).map_err(unusable)?;
        let key = tokio::task::spawn_blocking(|| full_screen::next_key(KEY_WAIT));
        tokio::pin!(key);
        let input = tokio::select! {
            exit = &mut asked_to_end => break exit,
            // A key that is pressed during this wait is not lost: it is queued behind the input.
            input = inputs.recv() => {
                let pressed = pressed((&mut key).await).map_err(unusable)?;
                let next = pressed.and_then(keys::understand).map(TopInput::Key);
                if let Some(next) = next {
                    let _ = sender.send(next);
                }
                input
            }
            read = &mut key => pressed(read).map_err(unusable)?.and_then(keys::understand).map(TopInput::Key),
        };
        let Some(input) = input else { continue };
        let (next, action) = update::update(state, input);
        state = next;
        match action {
            TopAction::None => {}
            TopAction::Quit => break Exit::Ok,
            TopAction::Suspend => screen.lend(async { effects::suspend() }).await.map_err(unusable)?,
            TopAction::Logs { worktree } => {
                match screen.lend(effects::follow_logs(&worktree)).await.map_err(unusable)? {
                    Ok(None) => {}
                    Ok(Some(exit)) => break exit,
                    Err(text) => drop(sender.send(TopInput::Done { text, failed: true })),
                }
                // The Ctrl-C that ended the logs does not end the view.
                asked_to_end = Box::pin(end_signals::first().map_err(unusable)?);
            }
            TopAction::Open { url } => act(&sender, effects::open(ctx.clone(), url)),
            TopAction::Restart { worktree } => act(&sender, effects::restart(worktree)),
            TopAction::Stop { worktree } => act(&sender, effects::stop(worktree)),
        }
    };
    reading.abort();
    drop(screen);
    Ok(exit)
}

type Read = Result<std::io::Result<Option<ratatui::crossterm::event::KeyEvent>>, tokio::task::JoinError>;

fn pressed(read: Read) -> std::io::Result<Option<ratatui::crossterm::event::KeyEvent>> {
    read.map_err(std::io::Error::other)?
}

/// Runs `effect` beside the view, and sends the result to the view.
fn act(sender: &UnboundedSender<TopInput>, effect: impl Future<Output = Result<String, String>> + 'static) {
    let sender = sender.clone();
    tokio::task::spawn_local(async move {
        let (text, failed) = match effect.await {
            Ok(text) => (text, false),
            Err(text) => (text, true),
        };
        // Fails only after the view has ended.
        let _ = sender.send(TopInput::Done { text, failed });
    });
}

/// Queries all stacks again and again, and sends the answers, until the view has ended.
async fn refresh(
    ctx: Context,
    here: Option<std::collections::BTreeSet<std::path::PathBuf>>,
    sender: UnboundedSender<TopInput>,
) {
    let mut before: Option<Instant> = None;
    loop {
        let wanted = |entry: &crate::control::registry::StackEntry| {
            here.as_ref().is_none_or(|paths| paths.contains(&entry.worktree))
        };
        let stacks = overview::read(&ctx.dirs, None, wanted).await.stacks;
        let now = Instant::now();
        let since = before.map(|before| now - before);
        before = Some(now);
        if sender.send(TopInput::Stacks { stacks, since }).is_err() {
            return;
        }
        tokio::time::sleep(REFRESH).await;
    }
}
