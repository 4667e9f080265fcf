//! Finds the server process of a cluster through its pid file.

use std::path::Path;

#[cfg(not(target_os = "linux"))]
use nix::sys::signal::kill;
#[cfg(not(target_os = "linux"))]
use nix::unistd::Pid;

#[cfg(target_os = "linux")]
use crate::os::proc;
use crate::os::read::{self, Limit};

pub(super) const PID_FILE: &str = "postmaster.pid";

/// A server process of this cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: u32,
    /// Its port. Unknown for a moment after its start.
    pub(super) port: Option<u16>,
    /// True if it accepts connections on that port.
    pub(super) ready: bool,
}

/// Returns the server of `data`, if one runs.
pub(super) fn running(data: &Path) -> Option<Postmaster> {
    let text = read::text(&data.join(PID_FILE), Limit::SMALL).ok()?;
    parse_pid_file(&text).filter(|found| works_in(found.pid, data))
}

/// Parses the pid file. Its lines, by Postgres's `pidfile.h`: pid, data folder, start time, port, socket folder,
/// address, shared memory, status.
fn parse_pid_file(text: &str) -> Option<Postmaster> {
    let mut lines = text.lines();
    let pid = lines.next()?.trim().parse().ok().filter(|pid| *pid > 1)?;
    let port = lines.nth(2).and_then(|line| line.trim().parse().ok());
    let ready = lines.nth(3).is_some_and(|line| line.trim() == "ready");
    Some(Postmaster { pid, port, ready })
}

/// Returns true if `pid` is a server process of `data`.
#[cfg(target_os = "linux")]
pub(super) fn works_in(pid: u32, data: &Path) -> bool {
    let is_postgres = || {
        // The kernel appends " (deleted)" to the name if the binaries were replaced.
        let program = proc::program_of(pid)?;
        Some(program.file_name()?.to_string_lossy().starts_with("postgres"))
    };
    proc::directory_of(pid).is_some_and(|folder| std::fs::canonicalize(data).is_ok_and(|data| data == folder))
        && is_postgres() == Some(true)
}

/// Returns true if a process that devrun may signal has that pid. The process table cannot be read here, and the server
/// itself checks no more.
#[cfg(not(target_os = "linux"))]
pub(super) fn works_in(pid: u32, _data: &Path) -> bool {
    kill(Pid::from_raw(pid.cast_signed()), None).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pid_file_shows_when_the_server_is_ready() {
        let text =
            |status: &str| format!("42\n/data\n1700000000\n20001\n.\n127.0.0.1\n  123 456\n{status}\n");
        let found = |ready| Some(Postmaster { pid: 42, port: Some(20_001), ready });
        assert_eq!(parse_pid_file(&text("ready   ")), found(true));
        assert_eq!(parse_pid_file(&text("starting")), found(false));
        assert_eq!(parse_pid_file("42\n/data\n1700000000\n20001\n"), found(false));
    }
}
