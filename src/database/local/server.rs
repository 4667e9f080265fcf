//! The running server: is there one, start it, wait until it answers, clear away what a killed one left, stop it.
//!
//! The pid file is believed only when the process it names works in this data folder: pids are used again, and the
//! server itself refuses to start for good over a stale file whose pid lives. Everything here happens under the
//! cluster's start lock, except [`stop`], which happens under the exclusive users' lock.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_postgres::{Client, Config};

use super::binaries::{Binaries, server_env};
use super::cluster::{ADMIN, Cluster};
use super::door::Refusal;
use super::error::LocalError;
use super::state::State;
use crate::os::cmd::{Cmd, Detached};
use crate::os::proc;
use crate::os::read::{self, Limit};

/// Names the cluster in the environment of its server, for people who read the process table.
pub const CLUSTER_VARIABLE: &str = "DEVRUN_CLUSTER";

const POLL: Duration = Duration::from_millis(5);
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(5);
pub(super) const PID_FILE: &str = "postmaster.pid";

/// A server process that is known to be this cluster's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    /// The port it was told; unknown for an instant after its start.
    pub(super) port: Option<u16>,
    /// It takes connections, on that port.
    pub(super) ready: bool,
}

/// The server of `data`, when one runs.
pub(super) fn running(data: &Path) -> Option<Postmaster> {
    let text = read::text(&data.join(PID_FILE), Limit::SMALL).ok()?;
    parse_pid_file(&text).filter(|found| works_in(found.pid, data))
}

/// Lines of the pid file, by `pidfile.h` of Postgres: pid, data folder, start time, port, socket folder, address, shared
/// memory, status.
fn parse_pid_file(text: &str) -> Option<Postmaster> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
    let port = lines.nth(2).and_then(|line| line.trim().parse().ok());
    let ready = lines.nth(3).is_some_and(|line| line.trim() == "ready");
    Some(Postmaster { pid, port, ready })
}

/// True when `pid` is a server process of `data`.
#[cfg(target_os = "linux")]
fn works_in(pid: u32, data: &Path) -> bool {
    let is_postgres = || {
        // The name has " (deleted)" behind it when the binaries were replaced meanwhile.
        let program = proc::program_of(pid)?;
        Some(program.file_name()?.to_string_lossy().starts_with("postgres"))
    };
    proc::directory_of(pid).is_some_and(|folder| std::fs::canonicalize(data).is_ok_and(|data| data == folder))
        && is_postgres() == Some(true)
}

/// Where the process table cannot be read: somebody lives under that number, which is what the server itself asks.
#[cfg(not(target_os = "linux"))]
fn works_in(pid: u32, _data: &Path) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None).is_ok()
}

/// The pid file goes an instant before the process does; a process that nobody has reaped yet works nowhere.
fn is_gone(pid: u32, data: &Path) -> bool {
    let listed = || running(data).is_some_and(|found| found.pid == pid);
    if cfg!(target_os = "linux") { !works_in(pid, data) } else { !listed() }
}

/// All server processes that work in `data`: the server, or what it left behind when it was killed.
fn members(data: &Path) -> Vec<u32> {
    proc::table().iter().map(|entry| entry.pid).filter(|pid| works_in(*pid, data)).collect()
}

/// Makes room for a start after the last server was killed. To be called when [`running`] found nothing.
pub(super) async fn clear_away(data: &Path) -> Result<(), LocalError> {
    let start = Instant::now();
    let mut left = members(data);
    while !left.is_empty() {
        // Backends end by themselves once they notice; one that is busy may take its time.
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
    match std::fs::remove_file(data.join(PID_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LocalError::io("remove", &data.join(PID_FILE))(error))
        }
        _ => Ok(()),
    }
}

/// Starts the server in a session of its own: it belongs to all devruns of the repository and outlives this one.
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
        // Where the server goes by itself; from the first moment on, it is known by that.
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

/// Why a server that should answer does not.
#[derive(Debug)]
pub(super) enum Silence {
    /// It ended.
    Ended,
    /// It answers, but does not take our password.
    Refuses(String),
    /// It did not answer in time.
    TimedOut(String),
}

/// Waits until the server takes a query of ours, as long as `alive` holds.
pub(super) async fn wait_ready(
    cluster: &Cluster,
    state: &State,
    mut alive: impl FnMut() -> bool,
) -> Result<Client, Silence> {
    let start = Instant::now();
    loop {
        // Asked first: a server that ends between the two is seen in the next round.
        let lives = alive();
        let said = match connect(cluster, state).await {
            Ok(client) => return Ok(client),
            Err(Refusal::Password(said)) => return Err(Silence::Refuses(said)),
            Err(Refusal::NotNow(said) | Refusal::Final(said)) => said,
        };
        if !lives {
            return Err(Silence::Ended);
        }
        if start.elapsed() > START_LIMIT {
            return Err(Silence::TimedOut(said));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// A connection of devrun's own to the database `postgres`.
pub(super) async fn connect(cluster: &Cluster, state: &State) -> Result<Client, Refusal> {
    let mut config = Config::new();
    config
        .user(ADMIN)
        .password(&state.admin_password)
        .dbname("postgres")
        .application_name("devrun")
        // The name of a database that was just made must survive a killed server; applications may lose an instant.
        .options("-c statement_timeout=30s -c lock_timeout=10s -c synchronous_commit=on");
    cluster.door().open(&config).await
}

/// The folder of the programs that started the server of `data` last, by the server's own `postmaster.opts`; `None` when there
/// is no such record, or nothing is there any more.
pub(super) fn programs(data: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(data.join("postmaster.opts")).ok()?;
    let program = Path::new(text.lines().next()?.split(" \"").next()?);
    program.parent().filter(|bin| bin.is_absolute() && program.is_file()).map(Path::to_path_buf)
}

/// Which process or user holds `port`, in a few words.
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
        (None, None) => "a socket that is bound and does not listen".into(),
    }
}

/// The last lines of the server's log.
pub(super) fn log_tail(log: &Path, lines: usize) -> String {
    let text = read::tail(log, 8 << 10).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Stops the server of `data`, if one runs, with all that a killed or just spawned one may have there, and waits until
/// it is gone. Needs no runtime; bounded.
pub(super) fn stop(data: &Path) {
    let start = Instant::now();
    while start.elapsed() < 4 * STOP_LIMIT {
        let (targets, signals): (_, &[Signal]) = match running(data) {
            Some(found) => (vec![found.pid], &[Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL]),
            // Without its server a process takes SIGINT for the end of a query only.
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
    // It may have gone by itself.
    let _ = kill(Pid::from_raw(pid.cast_signed()), signal);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_when_its_pid_file_says_so() {
        let text =
            |status: &str| format!("42\n/data\n1700000000\n20001\n.\n127.0.0.1\n  123 456\n{status}\n");
        let found = |ready| Some(Postmaster { pid: 42, port: Some(20_001), ready });
        assert_eq!(parse_pid_file(&text("ready   ")), found(true));
        assert_eq!(parse_pid_file(&text("starting")), found(false));
        assert_eq!(parse_pid_file("42\n/data\n1700000000\n20001\n"), found(false));
    }
}
