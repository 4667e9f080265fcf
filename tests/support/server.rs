//! A Postgres server that devrun does not start, and sessions on it.

use std::thread::JoinHandle;
use std::time::Duration;

use devrun::testing::database::connect::connect;
use tokio::sync::oneshot;

use super::neon::postgres::{self, PASSWORD, Postgres};

/// The running server. Dropping it stops the server and deletes its databases.
pub(crate) struct Server {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An open session, in which no statement runs.
pub(crate) struct Session {
    close: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server. Returns `None` if Postgres is not installed.
    pub(crate) fn start() -> Option<Server> {
        let binaries = postgres::binaries()?;
        let (stop, stopped) = oneshot::channel();
        let (sender, port) = std::sync::mpsc::channel();
        // Children die with the thread that started them, so the server has a separate thread.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio::task::LocalSet::new().block_on(&runtime, async move {
                let postgres = Postgres::start(binaries, false).await;
                drop(postgres.admin().await);
                sender.send(postgres.port).unwrap();
                let _ = stopped.await;
                postgres.stop().await;
            });
        });
        let port = port.recv().unwrap();
        Some(Server { port, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the URL of `database` for `role`. Every role has [`PASSWORD`].
    pub(crate) fn url(&self, role: &str, database: &str) -> String {
        format!("postgresql://{role}:{PASSWORD}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Runs SQL as the superuser and returns the first column.
    pub(crate) fn sql(&self, database: &str, statement: &str) -> Vec<String> {
        postgres::query(self.url(postgres::ROLE, database), statement)
    }

    /// Opens a session of the program `tool` in `database`, as `role`.
    pub(crate) fn session(&self, role: &str, database: &str) -> Session {
        let url = format!("{}&application_name=tool", self.url(role, database));
        let (close, closed) = oneshot::channel();
        let (sender, open) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = connect(&url, Duration::from_secs(20)).await.unwrap();
                sender.send(()).unwrap();
                let _ = closed.await;
                drop(client);
            });
        });
        open.recv().unwrap();
        Session { close: Some(close), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended.unwrap().unwrap();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.close.take().map(|close| close.send(()));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
