//! The signals that end a command which has changed the terminal and must restore it first.

use std::future::Future;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::Exit;

/// Installs the handlers and returns a future that resolves with the exit status of the first signal.
pub(super) fn first() -> std::io::Result<impl Future<Output = Exit>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let others = first_but_interrupt()?;
    Ok(async move {
        tokio::select! {
            _ = interrupts.recv() => Exit::Interrupted,
            exit = others => exit,
        }
    })
}

/// Does the same for all of these signals except that of Ctrl-C (SIGINT).
pub(super) fn first_but_interrupt() -> std::io::Result<impl Future<Output = Exit>> {
    let mut terms = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut quits = signal(SignalKind::quit())?;
    Ok(async move {
        let kind = tokio::select! {
            _ = terms.recv() => SignalKind::terminate(),
            _ = hangups.recv() => SignalKind::hangup(),
            _ = quits.recv() => SignalKind::quit(),
        };
        Exit::from_signal(kind.as_raw_value())
    })
}
