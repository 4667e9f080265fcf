//! What asks a run to end: signals, the keeper's death, the removal of the worktree. Delivered as a stream of [`Why`].

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::machine::Why;
use super::removal::Ground;

/// Receives every request to stop; the first means stop, each further one kill.
#[derive(Debug)]
pub struct Stops {
    sender: UnboundedSender<Why>,
    receiver: UnboundedReceiver<Why>,
}

impl Stops {
    /// Listens from now on to INT, TERM, HUP and QUIT, and to the closing of `keeper`.
    pub fn listen(keeper: Option<std::os::unix::net::UnixStream>) -> std::io::Result<Stops> {
        let (sender, receiver) = unbounded_channel();
        for kind in
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()]
        {
            let mut stream = signal(kind)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    let _ = sender.send(Why::Signal(kind.as_raw_value()));
                }
            });
        }
        if let Some(link) = keeper {
            link.set_nonblocking(true)?;
            let mut link = tokio::net::UnixStream::from_std(link)?;
            let sender = sender.clone();
            tokio::spawn(async move {
                // The keeper never writes: whatever comes is its end.
                let _ = link.read(&mut [0; 1]).await;
                let _ = sender.send(Why::KeeperGone);
            });
        }
        Ok(Stops { sender, receiver })
    }

    /// Asks to stop, too, when `ground` is taken away.
    pub fn watch(&self, ground: Ground) {
        let sender = self.sender.clone();
        tokio::spawn(async move {
            ground.vanishes().await;
            let _ = sender.send(Why::Failed(ground.report()));
        });
    }

    /// A handle for others who may ask.
    pub fn asker(&self) -> UnboundedSender<Why> {
        self.sender.clone()
    }

    /// The next request.
    pub async fn next(&mut self) -> Why {
        match self.receiver.recv().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }
}
