//! Collects the requests to end a run as a stream of [`StopReason`]: signals, the keeper's death, the removal of the worktree, the end
//! of the process that the stack is bound to, and requests of other code.

use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use super::process_binding::{self, ProcessBinding};
use super::removed_worktree::WatchedFolders;
use super::state_machine::StopReason;
use crate::os::spawn;

/// Receives all requests to stop the run.
#[derive(Debug)]
pub struct StopRequests {
    sender: UnboundedSender<StopReason>,
    receiver: UnboundedReceiver<StopReason>,
}

impl StopRequests {
    /// Starts to listen for INT, TERM, HUP and QUIT, and for the closing of `keeper`. An ignored HUP stays ignored.
    /// Errors if a handler cannot be installed, or `keeper` cannot be watched.
    pub fn listen(keeper: Option<std::os::unix::net::UnixStream>) -> std::io::Result<StopRequests> {
        let (sender, receiver) = unbounded_channel();
        for kind in
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()]
        {
            if kind == SignalKind::hangup() && spawn::is_ignored(Signal::SIGHUP) {
                continue;
            }
            let mut stream = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let _ = sender.send(StopReason::Signal(kind.as_raw_value()));
                }
            });
        }
        if let Some(link) = keeper {
            link.set_nonblocking(true)?;
            let mut link = tokio::net::UnixStream::from_std(link)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                // The keeper never writes, so the read returns only when it has ended.
                let _ = link.read(&mut [0; 1]).await;
                let _ = sender.send(StopReason::KeeperGone);
            });
        }
        Ok(StopRequests { sender, receiver })
    }

    /// Requests a stop when `folders` is gone.
    pub fn watch(&self, folders: WatchedFolders) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            folders.vanishes().await;
            let _ = sender.send(StopReason::Failed(folders.report()));
        });
    }

    /// Requests a stop when the process of the current binding has ended and its grace period is over. Calls `announce` when the
    /// process has ended.
    pub fn watch_binding(
        &self,
        bindings: watch::Receiver<Option<ProcessBinding>>,
        announce: impl Fn(&ProcessBinding) + Send + Sync + 'static,
    ) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            let ended = |binding: &ProcessBinding| binding.process.ends();
            let ProcessBinding { name, process, .. } =
                process_binding::expires(bindings, ended, announce).await;
            let _ = sender.send(StopReason::BoundProcessGone { name, pid: process.pid });
        });
    }

    /// Returns a handle through which other code can request a stop.
    pub fn asker(&self) -> UnboundedSender<StopReason> {
        self.sender.clone()
    }

    /// Waits for the next request.
    pub async fn next(&mut self) -> StopReason {
        match self.receiver.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }
}
