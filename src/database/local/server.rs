//! Starts, waits for and stops the server, and clears away what a killed server left.
//!
//! The pid file is trusted only if the process that it names works in this data folder: pids are reused, and the server refuses to start
//! over a stale file, or a stale lock of its socket, whose pid is alive or that of a zombie. The caller holds the cluster's start lock, or
//! for [`stop`] the exclusive users' lock. [`connect`] needs no lock.

use std::fs::{DirEntry, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::{Client, Config};

use super::admin_socket::ConnectFailure;
use super::binaries::{Binaries, server_env};
use super::cluster::{ADMIN, Cluster};
use super::error::LocalError;
use super::postmaster::{PID_FILE, running, works_in};
use super::state::ClusterState;
use crate::database::catalogue::MAINTENANCE;
use crate::os::cmd::{Cmd, Detached};
use crate::os::proc;
use crate::os::read;

/// The variable that names the cluster in the environment of its server, for people who read the process table.
pub use crate::context::variables::CLUSTER as CLUSTER_VARIABLE;

/// The first bytes of the names that Postgres gives its sockets and their locks.
const SOCKET_PREFIX: &[u8] = b".s.PGSQL.";
const POLL: Duration = Duration::from_millis(5);
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Returns true if the server has ended. The pid file disappears a moment before the process does. A zombie has no
/// working folder, so it counts as ended.
fn is_gone(pid: u32, data: &Path) -> bool {
    let listed = || running(data).is_some_and(|found| found.pid == pid);
    if cfg!(target_os = "linux") { !works_in(pid, data) } else { !listed() }
}

/// Returns all server processes that work in `data`: the server, or those that it left when it was killed.
fn members(data: &Path) -> Vec<u32> {
    proc::table().iter().map(|entry| entry.pid).filter(|pid| works_in(*pid, data)).collect()
}

/// Ends the remaining processes of a killed server, and removes its pid file and sockets. Call it if [`running`] found nothing.
pub(super) async fn clear_away(data: &Path) -> Result<(), LocalError> {
    let start = Instant::now();
    let mut left = members(data);
    while !left.is_empty() {
        // Backends end themselves once they notice that the server is gone, but a busy one may take long.
        let signal = if start.elapsed() > STOP_LIMIT { Signal::SIGKILL } else { Signal::SIGQUIT };
        for pid in left {
            send(pid, signal);
        }
        if start.elapsed() > 2 * STOP_LIMIT {
            break;
        }
        tokio::time::sleep(POLL * 4).await;
        left = members(data);
    }
    // A lock names its server too, and the next server checks only whether a process has that pid: a zombie has it.
    for file in std::iter::once(data.join(PID_FILE)).chain(sockets(data)) {
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(LocalError::io("remove", &file)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the sockets of servers in `data`, and their locks.
fn sockets(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    let is_socket = |entry: &DirEntry| entry.file_name().as_encoded_bytes().starts_with(SOCKET_PREFIX);
    entries.filter(is_socket).map(|entry| entry.path()).collect()
}

/// Starts the server in a new session: all devruns of the repository share it, and it outlives this one.
pub(super) fn start(cluster: &Cluster, binaries: &Binaries) -> Result<Detached, LocalError> {
    let path = cluster.log();
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .map_err(LocalError::io("open", &path))?;
    if log.metadata().is_ok_and(|meta| meta.len() > 4 << 20) {
        log.set_len(0).map_err(LocalError::io("shorten", &path))?;
    }
    let cmd = Cmd::new(binaries.bin.join("postgres"))
        .arg("-D")
        .arg(cluster.data())
        // The server changes to this folder anyway. Starting there makes it recognisable from the first moment.
        .directory(cluster.data())
        .only_env(server_env())
        .env(CLUSTER_VARIABLE, &cluster.id);
    let same = log.try_clone().map_err(LocalError::io("open", &path))?;
    cluster.account.run(cmd).detach(same, log).map_err(|error| LocalError::Start {
        what: error.to_string(),
        tail: String::new(),
        log: path,
    })
}

/// Why a server does not answer.
#[derive(Debug)]
pub(super) enum NoAnswer {
    /// The server ended.
    Ended,
    /// The server answers but does not accept our password.
    Refuses(String),
    /// The server did not answer in time.
    TimedOut(String),
}

impl NoAnswer {
    /// Returns the reason in words.
    pub(super) fn words(&self) -> String {
        match self {
            NoAnswer::Ended => "it ended at once".into(),
            NoAnswer::Refuses(said) => format!("it refuses devrun: {said}"),
            NoAnswer::TimedOut(said) => format!("it does not answer: {said}"),
        }
    }
}

/// Waits until the server accepts a connection. Gives up when `alive` returns false or the time limit has passed.
pub(super) async fn wait_ready(
    cluster: &Cluster,
    state: &ClusterState,
    mut alive: impl FnMut() -> bool,
) -> Result<Client, NoAnswer> {
    let start = Instant::now();
    loop {
        // Check `alive` before connecting: a server that ends in between is noticed in the next round.
        let lives = alive();
        let said = match connect(cluster, state).await {
            Ok(client) => return Ok(client),
            Err(ConnectFailure::Password(said)) => return Err(NoAnswer::Refuses(said)),
            Err(ConnectFailure::NotNow(said) | ConnectFailure::Full(said) | ConnectFailure::Final(said)) => {
                said
            }
        };
        if !lives {
            return Err(NoAnswer::Ended);
        }
        if start.elapsed() > START_LIMIT {
            return Err(NoAnswer::TimedOut(said));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Connects to the database `postgres` as devrun's superuser.
pub(super) async fn connect(cluster: &Cluster, state: &ClusterState) -> Result<Client, ConnectFailure> {
    connect_to(cluster, state, MAINTENANCE).await
}

/// Connects to `database` as devrun's superuser.
pub(super) async fn connect_to(
    cluster: &Cluster,
    state: &ClusterState,
    database: &str,
) -> Result<Client, ConnectFailure> {
    let mut config = Config::new();
    config
        .user(ADMIN)
        .password(&state.admin_password)
        .dbname(database)
        .application_name(format!("devrun (pid {})", std::process::id()))
        // A new database must survive a kill of the server, so devrun's commits are synchronous. Applications may lose
        // the last moment.
        .options(format!(
            "-c statement_timeout=30s -c lock_timeout=10s -c synchronous_commit=on{}",
            newer_settings(cluster)
        ));
    cluster.admin_socket().open(&config).await
}

/// Returns the settings of devrun's sessions that only newer servers have: no event trigger of a database runs there, and
/// no setting of a database limits their transactions.
pub(super) fn newer_settings(cluster: &Cluster) -> &'static str {
    match cluster.made_by() {
        Ok(Some(17..)) => " -c event_triggers=off -c transaction_timeout=0",
        _ => "",
    }
}

/// Returns the folder of the programs that last started the server of `data`, as recorded in the server's
/// `postmaster.opts`. Returns `None` if there is no record, or if the program no longer exists.
pub(super) fn programs(data: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(data.join("postmaster.opts")).ok()?;
    let program = Path::new(text.lines().next()?.split(" \"").next()?);
    program.parent().filter(|bin| bin.is_absolute() && program.is_file()).map(Path::to_path_buf)
}

/// Returns the process or user that holds `port`, in a few words.
pub(super) fn holder(port: u16) -> String {
    let pid = proc::listeners(port).and_then(|pids| pids.first().copied());
    match (pid, proc::listening(port).first()) {
        (Some(pid), _) => {
            format!(
                "process {pid} ({})",
                proc::command_of(pid).unwrap_or_else(|| "its command is hidden".into())
            )
        }
        (None, Some(socket)) => format!("a process of user {}", socket.user),
        (None, None) => "a socket that is bound but does not listen".into(),
    }
}

/// Returns the last lines of the server's log.
pub(super) fn log_tail(log: &Path, lines: usize) -> String {
    let text = read::tail(log, 8 << 10).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Stops the server of `data`, if one runs, with all processes that a killed or just started server may have there, and
/// waits until they are gone. Needs no runtime. Its time is limited.
pub(super) fn stop(data: &Path) {
    let start = Instant::now();
    while start.elapsed() < 4 * STOP_LIMIT {
        let (targets, signals): (_, &[Signal]) = match running(data) {
            Some(found) => (vec![found.pid], &[Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL]),
            // Without a server, a backend takes SIGINT only as a request to cancel its query.
            None => (members(data), &[Signal::SIGQUIT, Signal::SIGKILL]),
        };
        if targets.is_empty() {
            return;
        }
        for signal in signals {
            for pid in &targets {
                send(*pid, *signal);
            }
            if wait_gone(&targets, data) {
                break;
            }
        }
    }
}

fn wait_gone(pids: &[u32], data: &Path) -> bool {
    let start = Instant::now();
    while start.elapsed() < STOP_LIMIT {
        if pids.iter().all(|pid| is_gone(*pid, data)) {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

fn send(pid: u32, signal: Signal) {
    // The process may have ended already.
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}
