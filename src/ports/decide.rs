//! Decides which slot a worktree gets. Pure: the table of leases and a function that inspects a port go in.

use std::collections::BTreeMap;
use std::path::Path;

use super::hash::preferred_slot;
use super::table::LeaseRow;
use super::{Homing, Lease, Moved, Obstacle, PortsError, Request};
use crate::error::Holder;
use crate::plan::Away;

/// Ports that browsers refuse, without the privileged ones below 1024: <https://fetch.spec.whatwg.org/#port-blocking>.
const BLOCKED: [u16; 19] = [
    1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679,
    6697, 10080,
];

/// The state of a port, as seen by the worktree that wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortState {
    Free,
    /// A process that devrun started in this worktree listens on it.
    Ours(Holder),
    /// A server of this worktree that devrun did not start listens on it.
    OwnByHand(Holder),
    /// Another process listens on it.
    Busy(Holder),
}

/// Returns the first slot for `request` whose ports are not leased by another worktree and are free or ours according to `look`. Tries
/// the home slot if the worktree seeks it, then the slot that it has in `table` (the home slot if it has none) and those after it,
/// wrapping around at the end. `table` must not contain worktrees that no longer exist. `look` is called only for ports without
/// another obstacle.
/// Errors if no slot can be used, if the wanted one cannot and `request` is strict, or if the home slot cannot and `request` demands it.
pub fn decide(
    table: &[LeaseRow],
    request: &Request,
    look: &mut dyn FnMut(u16) -> PortState,
) -> Result<Lease, PortsError> {
    let span = request.span.max(1);
    let before = held_slot(table, request);
    let home = preferred_slot(&request.worktree, span);
    let mut known = known_away(table, request);
    if let Some(held) = before.filter(|held| *held != home && seeks_home(request.homing, known.as_ref())) {
        match inspect(table, request, home, look) {
            Ok((ports, ours)) => {
                let left = Some(held);
                return Ok(Lease { slot: home, ports, moved: None, away: None, left, ours });
            }
            Err((port, obstacle)) => {
                let moved = Moved { wanted: home, port, obstacle };
                if request.homing == Homing::Now {
                    return Err(PortsError::NotHome(moved));
                }
                known = Some(away(home, &moved));
            }
        }
    }
    let wanted = before.unwrap_or(home);
    let mut tried: Vec<Moved> = Vec::new();
    for slot in (wanted..span).chain(0..wanted) {
        match inspect(table, request, slot, look) {
            Ok((ports, ours)) => {
                let moved = tried.into_iter().next();
                let first =
                    moved.as_ref().filter(|moved| moved.wanted == home).map(|moved| away(home, moved));
                let away = (slot != home).then(|| first.or(known).unwrap_or_else(|| unexplained(home)));
                return Ok(Lease { slot, ports, moved, away, left: None, ours });
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

/// Returns the lease of `request`'s worktree in `table`, without inspecting ports. Returns `None` if it has none or
/// cannot keep it.
pub fn recall(table: &[LeaseRow], request: &Request) -> Option<Lease> {
    let slot = held_slot(table, request)?;
    let (ports, ours) = inspect(table, request, slot, &mut |_| PortState::Free).ok()?;
    let home = preferred_slot(&request.worktree, request.span.max(1));
    let away = (slot != home).then(|| known_away(table, request).unwrap_or_else(|| unexplained(home)));
    Some(Lease { slot, ports, moved: None, away, left: None, ours })
}

/// Returns true if a worktree that left its home slot for the reason `known` should try it again.
fn seeks_home(homing: Homing, known: Option<&Away>) -> bool {
    match homing {
        Homing::Stay => false,
        Homing::Return => known.is_some_and(|away| away.returns),
        Homing::Now => true,
    }
}

/// Returns the reason why a worktree is not in its slot `home`.
fn away(home: u16, moved: &Moved) -> Away {
    let obstacle = moved.obstacle.clone().without_age();
    Away { home, port: Some(moved.port), returns: obstacle.is_process(), obstacle: Some(obstacle) }
}

/// Returns the reason for a lease that an older version wrote without one.
fn unexplained(home: u16) -> Away {
    Away { home, ..Away::default() }
}

/// Returns the recorded reason of `request`'s worktree, unless its home slot has changed since.
fn known_away(table: &[LeaseRow], request: &Request) -> Option<Away> {
    let home = preferred_slot(&request.worktree, request.span.max(1));
    let row = table.iter().find(|row| row.worktree == request.worktree)?;
    row.away.clone().filter(|away| away.home == home)
}

/// Returns the slot of `request`'s worktree in `table`, if it is below the span.
fn held_slot(table: &[LeaseRow], request: &Request) -> Option<u16> {
    let row = table.iter().find(|row| row.worktree == request.worktree)?;
    (row.slot < request.span.max(1)).then_some(row.slot)
}

type PortScan = (BTreeMap<String, u16>, Vec<(u16, Holder)>);

/// Returns the ports of `slot` and those on which our processes listen, or else the first unusable port and the reason.
fn inspect(
    table: &[LeaseRow],
    request: &Request,
    slot: u16,
    look: &mut dyn FnMut(u16) -> PortState,
) -> Result<PortScan, (u32, Obstacle)> {
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
            PortState::Free => {}
            PortState::Ours(holder) => ours.push((port, holder)),
            PortState::OwnByHand(holder) => return Err((port.into(), Obstacle::OwnServer(holder))),
            PortState::Busy(holder) => return Err((port.into(), Obstacle::Busy(holder))),
        }
    }
    Ok((ports, ours))
}

/// Returns a reason against `port` that is known without inspecting it.
fn objection(table: &[LeaseRow], worktree: &Path, port: u16) -> Option<Obstacle> {
    if BLOCKED.contains(&port) {
        return Some(Obstacle::Blocked);
    }
    let claims = |row: &&LeaseRow| row.worktree != worktree && row.ports.values().any(|taken| *taken == port);
    table.iter().find(claims).map(|row| Obstacle::leased(&row.worktree))
}
