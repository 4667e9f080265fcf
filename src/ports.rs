//! Ports of a worktree: the preferred slot (pure), the machine-wide lease, the guard that looks before we leap.
//!
//! Receives bases and paths, never configuration. Binds nothing and stops nobody: it decides, records and looks.

pub mod decide;
pub mod guard;
pub mod hash;
mod lease;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use guard::{Ownership, holder, listener_is_ours};
pub use lease::{lease, list, look, release};
pub use table::Row;

use crate::error::{Code, Explain, Holder};
use crate::os::fs::FsError;

/// How many slots there are unless the configuration says otherwise.
pub const DEFAULT_SPAN: u16 = 100;

/// What a worktree asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Physical path of the worktree: the key of its lease, and what the preferred slot is computed from.
    pub worktree: PathBuf,
    /// The repository's common git directory, so that leases can be told apart by repository; `None` outside git.
    pub repository: Option<PathBuf>,
    /// Named bases; each port is its base plus the slot. May be empty: a slot is leased all the same.
    pub bases: BTreeMap<String, u16>,
    /// How many slots there are; 0 is taken as 1.
    pub span: u16,
    /// Fail instead of moving on to another slot.
    pub strict: bool,
}

/// The slot and ports a worktree may use from now on, across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The slot.
    pub slot: u16,
    /// Named ports: base plus slot.
    pub ports: BTreeMap<String, u16>,
    /// Why it is not the slot it would have been, when this very call moved it.
    pub moved: Option<Moved>,
    /// True when the worktree had this slot before.
    pub reused: bool,
    /// Ports on which processes of this very worktree still listen: the running stack, or what one left behind.
    pub ours: Vec<(u16, Holder)>,
}

/// A slot that could not be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The slot that was wanted: the one leased before, or the preferred one.
    pub wanted: u16,
    /// Its first port that was in the way.
    pub port: u32,
    /// What was in the way.
    pub obstacle: Obstacle,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} {}", self.port, self.obstacle)
    }
}

/// Why a port cannot be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// Another worktree has leased it.
    Leased(PathBuf),
    /// Somebody listens on it or holds it otherwise.
    Busy(Holder),
    /// Browsers refuse to talk to it.
    Blocked,
    /// There is no such port.
    OutOfRange,
}

impl Obstacle {
    /// Who is in the way, if anybody is.
    pub fn holder(&self) -> Option<Holder> {
        match self {
            Obstacle::Leased(path) => {
                Some(Holder { pid: None, command: None, worktree: Some(path.display().to_string()) })
            }
            Obstacle::Busy(holder) => Some(holder.clone()),
            Obstacle::Blocked | Obstacle::OutOfRange => None,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Leased(path) => write!(f, "is leased by worktree {}", path.display()),
            Obstacle::Busy(holder) => write!(f, "is held by {holder}"),
            Obstacle::Blocked => f.write_str("is one that browsers refuse to open"),
            Obstacle::OutOfRange => f.write_str("does not exist (the highest is 65535)"),
        }
    }
}

/// Why there are no ports.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// The wanted slot is not to be had, and moving on is forbidden.
    #[error("{0}")]
    Busy(Moved),
    /// No slot is to be had.
    #[error("none of the {span} slots is free")]
    Exhausted {
        /// How many were tried.
        span: u16,
        /// What was in the way of each, from the wanted slot on.
        tried: Vec<Moved>,
    },
    /// The table of leases cannot be read, written or locked.
    #[error(transparent)]
    Table(#[from] FsError),
}

/// How many holders an error lists.
const LISTED: usize = 12;

impl Explain for PortsError {
    fn code(&self) -> Code {
        match self {
            PortsError::Busy(_) => Code::PortBusy,
            PortsError::Exhausted { .. } => Code::PortsExhausted,
            PortsError::Table(error) => error.code(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            PortsError::Busy(_) => Some("the port is taken, and strict ports forbid another one".into()),
            PortsError::Exhausted { tried, .. } => {
                let mut lines: Vec<String> = Vec::new();
                for line in tried.iter().map(ToString::to_string) {
                    if !lines.contains(&line) {
                        lines.push(line);
                    }
                }
                let more = lines.len().saturating_sub(LISTED);
                lines.truncate(LISTED);
                if more > 0 {
                    lines.push(format!("… and {more} more"));
                }
                Some(lines.join("\n"))
            }
            PortsError::Table(error) => error.why(),
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            PortsError::Busy(Moved {
                obstacle: Obstacle::Busy(Holder { pid: Some(pid), worktree, .. }),
                ..
            }) => {
                let down = worktree.as_ref().map(|worktree| format!(" (`devrun -C {worktree} down`)"));
                format!("stop pid {pid}{}, or run without strict ports", down.unwrap_or_default())
            }
            PortsError::Busy(Moved { obstacle: Obstacle::Blocked | Obstacle::OutOfRange, .. }) => {
                "choose another base under `ports:`".into()
            }
            PortsError::Busy(_) => "stop the holder, or run without strict ports".into(),
            PortsError::Exhausted { .. } => {
                "remove worktrees you no longer need (their ports go with them), or choose other bases in `ports:`".into()
            }
            PortsError::Table(error) => return error.fix(),
        })
    }

    fn holder(&self) -> Option<Holder> {
        match self {
            PortsError::Busy(moved) => moved.obstacle.holder(),
            PortsError::Exhausted { .. } | PortsError::Table(_) => None,
        }
    }
}
