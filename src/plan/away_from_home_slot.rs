//! The reason why a worktree does not use the ports of its home slot, as a value that is stored, printed and returned
//! as JSON.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Holder, REPLACE_SERVER, RESTART_STACK};

/// The reason why a worktree's ports are not those of its home slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Away {
    /// The home slot, computed from the worktree's path.
    pub home: u16,
    /// The port of the home slot that was taken, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u32>,
    /// The obstacle at that port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Obstacle>,
    /// True when the next start tries the home slot again.
    #[serde(default)]
    pub returns: bool,
}

/// The reason why a port is not free.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Obstacle {
    /// Another worktree has leased it.
    Leased(Holder),
    /// A process listens on it or holds it otherwise.
    Busy(Holder),
    /// A server of this worktree that was started by hand listens on it.
    OwnServer(Holder),
    /// Browsers refuse to open it.
    Blocked,
    /// There is no such port.
    OutOfRange,
}

impl Obstacle {
    /// Returns the lease of `worktree` as an obstacle.
    pub fn leased(worktree: &std::path::Path) -> Obstacle {
        Obstacle::Leased(Holder { worktree: Some(worktree.display().to_string()), ..Holder::default() })
    }

    /// Returns the process or the worktree in the way, if there is one.
    pub fn holder(&self) -> Option<&Holder> {
        match self {
            Obstacle::Leased(holder) | Obstacle::Busy(holder) | Obstacle::OwnServer(holder) => Some(holder),
            Obstacle::Blocked | Obstacle::OutOfRange => None,
        }
    }

    /// Returns true if the obstacle is a process. A process ends at some time; a lease, a blocked port and the end of
    /// the range stay.
    pub fn is_process(&self) -> bool {
        matches!(self, Obstacle::Busy(_) | Obstacle::OwnServer(_))
    }

    /// Returns the obstacle in the form that is stored: without an age, which would be wrong when it is read.
    #[must_use]
    pub fn without_age(mut self) -> Obstacle {
        if let Obstacle::Busy(holder) | Obstacle::OwnServer(holder) = &mut self {
            holder.age = None;
        }
        self
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Leased(holder) => write!(f, "is leased by worktree {}", worktree(holder)),
            Obstacle::Busy(holder) => write!(f, "is held by {holder}{}", by_hand(holder)),
            Obstacle::OwnServer(holder) => {
                write!(f, "is taken: this worktree's own server already runs here ({})", details(holder))
            }
            Obstacle::Blocked => f.write_str("is one that browsers refuse to open"),
            Obstacle::OutOfRange => f.write_str("does not exist (the highest is 65535)"),
        }
    }
}

/// Uses the past tense: the process that held the port may have ended since.
impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not the home slot {}", self.home)?;
        if let (Some(port), Some(obstacle)) = (self.port, &self.obstacle) {
            write!(f, ": port {port} ")?;
            match obstacle {
                Obstacle::Leased(holder) => write!(f, "was leased by worktree {}", worktree(holder))?,
                Obstacle::Busy(holder) => write!(f, "was held by {holder}{}", by_hand(holder))?,
                Obstacle::OwnServer(holder) => {
                    let server = "a server of this worktree that was started by hand";
                    write!(f, "was held by {server} ({})", details(holder))?;
                }
                Obstacle::Blocked | Obstacle::OutOfRange => write!(f, "{obstacle}")?,
            }
        }
        match &self.obstacle {
            // The lease stays as long as that worktree, so there is nothing to do.
            Some(Obstacle::Leased(_)) => Ok(()),
            Some(Obstacle::OwnServer(_)) if self.returns => {
                write!(f, "; `{REPLACE_SERVER}` ends that server and tries the home slot again")
            }
            _ if self.returns => write!(f, "; `{RESTART_STACK}` tries the home slot again"),
            _ => f.write_str("; `devrun ports --move-home` tries the home slot again"),
        }
    }
}

fn worktree(holder: &Holder) -> &str {
    holder.worktree.as_deref().unwrap_or_default()
}

/// Returns the words for a holder that a user started by hand; empty for any other holder.
fn by_hand(holder: &Holder) -> &'static str {
    if holder.by_hand { ", started by hand" } else { "" }
}

/// Returns pid, command and age of a server.
fn details(holder: &Holder) -> String {
    let age = holder.age.map(|seconds| match seconds {
        0..60 => format!("for {seconds} s"),
        60..3600 => format!("for {} min", seconds / 60),
        _ => format!("for {} h", seconds / 3600),
    });
    let parts = [holder.pid.map(|pid| format!("pid {pid}")), holder.command.clone(), age];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
