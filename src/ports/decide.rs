//! Which slot a worktree gets: pure, from the table of leases and a way to look at a port.

use std::collections::BTreeMap;
use std::path::Path;

use super::hash::preferred_slot;
use super::table::Row;
use super::{Lease, Moved, Obstacle, PortsError, Request};
use crate::error::Holder;

/// Ports that browsers refuse, above those that need privileges: <https://fetch.spec.whatwg.org/#port-blocking>.
const BLOCKED: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679,
    6697, 10080,
];

/// How a port looks to the worktree that would like to have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has it.
    Free,
    /// A process of this very worktree listens on it.
    Ours(Holder),
    /// Somebody else has it.
    Busy(Holder),
}

/// Finds the slot for `request`: the one it has in `table`, else the preferred one, else the next (around the end)
/// whose ports are all leased by nobody else and free or ours by `look`. Rows of worktrees that are gone must not be
/// in `table`. `look` is only asked about ports that nothing else speaks against.
pub fn decide(
    table: &[Row],
    request: &Request,
    look: &mut dyn FnMut(u16) -> Standing,
) -> Result<Lease, PortsError> {
    let span = request.span.max(1);
    let before = held_slot(table, request);
    let wanted = before.unwrap_or_else(|| preferred_slot(&request.worktree, span));
    let mut tried = Vec::new();
    for slot in (wanted..span).chain(0..wanted) {
        match inspect(table, request, slot, look) {
            Ok((ports, ours)) => {
                let moved = tried.into_iter().next();
                return Ok(Lease { slot, ports, moved, reused: before == Some(slot), ours });
            }
            Err((port, obstacle)) => {
                let moved = Moved { wanted: slot, port, obstacle };
                if request.strict {
                    return Err(PortsError::Busy(moved));
                }
                tried.push(moved);
            }
        }
    }
    Err(PortsError::Exhausted { span, tried })
}

/// What `request`'s worktree has in `table`, without looking at any port; `None` when it has nothing or cannot keep it.
pub fn recall(table: &[Row], request: &Request) -> Option<Lease> {
    let slot = held_slot(table, request)?;
    let (ports, ours) = inspect(table, request, slot, &mut |_| Standing::Free).ok()?;
    Some(Lease { slot, ports, moved: None, reused: true, ours })
}

/// The slot that `request`'s worktree has in `table`, as long as it is below the span.
fn held_slot(table: &[Row], request: &Request) -> Option<u16> {
    let row = table.iter().find(|row| row.worktree == request.worktree)?;
    (row.slot < request.span.max(1)).then_some(row.slot)
}

type Found = (BTreeMap<String, u16>, Vec<(u16, Holder)>);

/// The ports of `slot`, and which of them are already ours; or what is in the way of the first that cannot be had.
fn inspect(
    table: &[Row],
    request: &Request,
    slot: u16,
    look: &mut dyn FnMut(u16) -> Standing,
) -> Result<Found, (u32, Obstacle)> {
    let mut ports = BTreeMap::new();
    for (name, base) in &request.bases {
        let Some(port) = base.checked_add(slot).filter(|port| *port > 0) else {
            return Err((u32::from(*base) + u32::from(slot), Obstacle::OutOfRange));
        };
        if let Some(obstacle) = objection(table, &request.worktree, port) {
            return Err((port.into(), obstacle));
        }
        ports.insert(name.clone(), port);
    }
    let mut ours = Vec::new();
    for port in ports.values().copied() {
        match look(port) {
            Standing::Free => {}
            Standing::Ours(holder) => ours.push((port, holder)),
            Standing::Busy(holder) => return Err((port.into(), Obstacle::Busy(holder))),
        }
    }
    Ok((ports, ours))
}

/// What speaks against `port` before anybody looks at it.
fn objection(table: &[Row], worktree: &Path, port: u16) -> Option<Obstacle> {
    if BLOCKED.contains(&port) {
        return Some(Obstacle::Blocked);
    }
    let claims = |row: &&Row| row.worktree != worktree && row.ports.values().any(|taken| *taken == port);
    table.iter().find(claims).map(|row| Obstacle::Leased(row.worktree.clone()))
}
