//! Manages the ports of a worktree: the preferred slot (pure), the machine-wide lease, and the check whether a port is
//! free.
//!
//! This module receives bases and paths, never the configuration. It decides, records, inspects and reserves; it stops
//! no process.

pub mod decide;
pub mod hash;
mod lease;
pub mod port_holder;
mod reserve;
pub mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use lease::{expected, lease, lease_and_reserve, list, recorded, release, wanted};
pub use reserve::Reserved;

use crate::error::{Code, Explain, Holder, START};
use crate::os::fs::FsError;
use crate::plan::Away;
pub use crate::plan::Obstacle;
use crate::text::quoted;

/// The parameters of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Physical path of the worktree: the key of its lease, from which the preferred slot is computed.
    pub worktree: PathBuf,
    /// The repository's common git directory, which groups leases by repository. `None` outside git.
    pub repository: Option<PathBuf>,
    /// Named bases. Each port is its base plus the slot. May be empty: a slot is leased anyway.
    pub bases: BTreeMap<String, u16>,
    /// The number of slots. 0 counts as 1.
    pub span: u16,
    /// Fail instead of choosing another slot.
    pub strict: bool,
    /// When to leave a slot that is not the home slot.
    pub homing: Homing,
}

/// When a worktree leaves its slot for its home slot, which is the slot computed from its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Homing {
    /// Never, because a process may run on the current ports.
    Stay,
    /// If it moved because a process held a port, and the home slot is free now.
    Return,
    /// Always. Errors if the home slot is not free.
    Now,
}

/// The slot and ports of a worktree, kept across restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The slot of the worktree.
    pub slot: u16,
    /// Named ports: base plus slot.
    pub ports: BTreeMap<String, u16>,
    /// The reason for another slot than the wanted one, if this call changed the slot.
    pub moved: Option<Moved>,
    /// The reason why this is not the home slot; `None` if it is.
    pub away: Option<Away>,
    /// The slot that this call left for the home slot.
    pub left: Option<u16>,
    /// Ports on which processes of this worktree still listen: the running stack, or processes that an earlier one
    /// left.
    pub ours: Vec<(u16, Holder)>,
}

/// A slot that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// The wanted slot: the one leased before, or the preferred one.
    pub wanted: u16,
    /// The first of its ports that could not be used. May be above 65535.
    pub port: u32,
    /// The reason.
    pub obstacle: Obstacle,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {} {}", self.port, self.obstacle)
    }
}

/// An error while leasing ports.
#[derive(Debug, thiserror::Error)]
pub enum PortsError {
    /// The wanted slot cannot be used, and strict ports allow no other.
    #[error("{0}")]
    Busy(Moved),
    /// The home slot cannot be used, and no other was wanted.
    #[error("the home slot is not free: {0}")]
    NotHome(Moved),
    /// No slot can be used.
    #[error("none of the {span} slots is free")]
    Exhausted {
        /// The number of slots that were tried.
        span: u16,
        /// The reason for each slot, starting with the wanted one.
        tried: Vec<Moved>,
    },
    /// The table of leases cannot be read, written or locked.
    #[error(transparent)]
    Table(#[from] FsError),
}

/// Returns the command that ends `holder`. `devrun down` ends only processes that devrun started.
pub fn how_to_end(holder: &Holder) -> String {
    match (holder, &holder.worktree, holder.pid) {
        (Holder { by_hand: false, .. }, Some(worktree), Some(pid)) => {
            format!("stop pid {pid} (`devrun -C {} down`)", quoted(worktree))
        }
        (_, _, Some(pid)) => format!("stop pid {pid} (`kill {pid}`)"),
        (_, _, None) => "stop the holder".into(),
    }
}

/// The most holders that an error lists.
const LISTED: usize = 12;

impl Explain for PortsError {
    fn code(&self) -> Code {
        match self {
            PortsError::Busy(_) | PortsError::NotHome(_) => Code::PortBusy,
            PortsError::Exhausted { .. } => Code::PortsExhausted,
            PortsError::Table(error) => error.code(),
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            PortsError::Busy(_) => {
                Some("the port is in use, and strict ports do not allow another one".into())
            }
            PortsError::NotHome(_) => None,
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
            PortsError::Busy(Moved { obstacle: Obstacle::OwnServer(_), .. }) => {
                format!("`{START} --replace` ends that server and starts the stack")
            }
            PortsError::NotHome(Moved { obstacle: Obstacle::OwnServer(Holder { pid: Some(pid), .. }), .. }) => {
                format!("`kill {pid}`, then `devrun ports --move-home`")
            }
            PortsError::Busy(Moved { obstacle: Obstacle::Busy(holder), .. }) => {
                format!("{}, or run without strict ports", how_to_end(holder))
            }
            PortsError::NotHome(Moved { obstacle: Obstacle::Busy(holder), .. }) => {
                format!("{}, then `devrun ports --move-home`", how_to_end(holder))
            }
            PortsError::NotHome(Moved { obstacle: Obstacle::Leased(holder), .. }) => {
                let place = holder.worktree.as_deref().unwrap_or_default();
                format!(
                    "keep the present ports; `devrun ports --move-home` helps once the worktree {} is removed",
                    quoted(place)
                )
            }
            PortsError::Busy(Moved { obstacle: Obstacle::Blocked | Obstacle::OutOfRange, .. })
            | PortsError::NotHome(_) => {
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
            PortsError::Busy(moved) | PortsError::NotHome(moved) => moved.obstacle.holder().cloned(),
            PortsError::Exhausted { .. } | PortsError::Table(_) => None,
        }
    }
}
