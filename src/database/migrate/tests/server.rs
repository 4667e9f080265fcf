//! Runs a temporary Postgres for the tests of this module. Tests that run at the same time share one server, and the
//! last of them stops it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tokio::sync::oneshot;

use crate::database::connect::connect;
use crate::os::cmd::Cmd;
use crate::os::proc;

/// The password in every URL, which no error may contain. The server accepts any password.
pub(super) const PASSWORD: &str = "Xsecret5";

static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
static DATABASES: AtomicU32 = AtomicU32::new(0);

pub(super) struct Server {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Returns the running server, or starts one. Returns `None` if Postgres is not installed.
    pub(super) fn shared() -> Option<Arc<Server>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Server::start(binaries()?));
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// Creates an empty database and returns its URL.
    pub(super) async fn database(&self) -> String {
        let name = format!("t{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        let admin = connect(&self.url("postgres"), Duration::from_secs(30)).await.unwrap();
        admin.batch_execute(&format!("create database {name}")).await.unwrap();
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgresql://postgres:{PASSWORD}@127.0.0.1:{}/{database}", self.port)
    }

    /// Starts the server on a separate thread, because child processes end with the thread that started them.
    fn start(binaries: PathBuf) -> Server {
        let (stop, stopped) = oneshot::channel();
        let (told, port) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(&binaries, &told, stopped));
        });
        Server { port: port.recv().unwrap(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))), "the test server left something");
    }
}

async fn serve(binaries: &Path, told: &std::sync::mpsc::Sender<u16>, stopped: oneshot::Receiver<()>) {
    let dir = tempfile::Builder::new()
        .prefix("devrun-pg-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap();
    let data = dir.path().join("data");
    std::fs::create_dir(&data).unwrap();
    // Postgres refuses to run as root.
    let nobody = geteuid().is_root().then(|| User::from_name("nobody").unwrap().unwrap());
    if let Some(user) = &nobody {
        std::os::unix::fs::chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let tool = |name: &str| {
        let command = Cmd::new(binaries.join(name)).arg("-D").arg(&data).directory(&data);
        match &nobody {
            Some(user) => command.user(user.uid.as_raw(), user.gid.as_raw()),
            None => command,
        }
    };
    let initdb =
        tool("initdb").args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"]);
    initdb.ok().await.unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings =
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=50"];
    let postgres = tool("postgres")
        .args(["-p", &port.to_string()])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .limit(Duration::from_hours(1));
    let mut running = Box::pin(postgres.output());
    told.send(port).unwrap();
    tokio::select! {
        ended = &mut running => panic!("the test server ended: {}", ended.unwrap().tail(5)),
        _ = stopped => {}
    }
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).ok();
    match pid.and_then(|text| text.lines().next()?.parse().ok()) {
        Some(pid) => {
            kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
            running.await.unwrap();
        }
        None => drop(running),
    }
    let place = dir.path().to_string_lossy().into_owned();
    let left: Vec<String> = proc::table()
        .iter()
        .filter_map(|entry| proc::command_of(entry.pid))
        .filter(|command| command.contains(&place))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

fn binaries() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = glob::glob("/usr/lib/postgresql/*/bin").unwrap().flatten().collect();
    found.extend(which::which("postgres").ok().and_then(|path| Some(path.parent()?.to_path_buf())));
    found.into_iter().find(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file())
}
