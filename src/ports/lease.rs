//! Leases slots: runs [`super::decide`] under the machine-wide lock and records the result in the table.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::decide::PortState;
use super::hash::preferred_slot;
use super::table::{self, LeaseRow, LeaseTable};
use super::{Lease, PortsError, Request, Reserved, decide, port_holder};
use crate::context::Context;
use crate::os::clock;
use crate::os::fs::{FsError, Lock, LockKind};

/// The time limit for the machine-wide lock. Another devrun holds it only for milliseconds, but many that start at once on a busy
/// machine wait for each other.
const WAIT: Duration = Duration::from_secs(30);

/// Leases a slot to the worktree, its previous one or a new one, after inspecting all ports. A lease belongs to the
/// worktree, not to a process: it lasts until [`release`], or until another lease finds that the worktree's folder no
/// longer exists. Errors if [`decide::decide`] finds no slot, or the table cannot be locked, read or written.
pub async fn lease(ctx: &Context, request: &Request) -> Result<Lease, PortsError> {
    Ok(lease_and_reserve(ctx, request).await?.0)
}

/// Leases a slot as [`lease`] does, and reserves its free ports for a run that is about to start.
pub async fn lease_and_reserve(ctx: &Context, request: &Request) -> Result<(Lease, Reserved), PortsError> {
    let mut reserved = Reserved::default();
    let mut look = |port| match port_holder::port_state(port, &request.worktree) {
        // Another program took the port after it was seen free.
        PortState::Free if !reserved.add(port) => PortState::Busy(port_holder::of(port).unwrap_or_default()),
        state => state,
    };
    let _lock = lock(ctx).await?;
    let (before, damaged) = open(ctx)?;
    let mut table = before.clone();
    table.rows.retain(|row| row.worktree == request.worktree || table::exists(&row.worktree));
    let lease = decide::decide(&table.rows, request, &mut look)?;
    reserved.retain(|port| lease.ports.values().any(|leased| *leased == port));
    record(&mut table, request, &lease, clock::unix_seconds());
    if damaged || table != before {
        table.write(&ctx.dirs)?;
    }
    Ok((lease, reserved))
}

/// Returns the worktree's recorded lease. Inspects no port and writes nothing, unless the worktree has no slot, cannot keep
/// its slot, or requests ports that are not recorded. Then leases as [`lease`] does, so that other worktrees see which
/// ports are taken.
pub async fn recorded(ctx: &Context, request: &Request) -> Result<Lease, PortsError> {
    let mut rows = list(ctx)?;
    rows.retain(|row| row.worktree == request.worktree || table::exists(&row.worktree));
    let recorded = rows.iter().find(|row| row.worktree == request.worktree).map(|row| &row.ports);
    match decide::recall(&rows, request) {
        Some(lease) if recorded == Some(&lease.ports) => Ok(lease),
        _ => lease(ctx, request).await,
    }
}

/// Returns the lease that [`recorded`] would return if all ports were free. Writes nothing. Errors as [`lease`] does.
pub fn expected(ctx: &Context, request: &Request) -> Result<Lease, PortsError> {
    let mut rows = list(ctx)?;
    rows.retain(|row| row.worktree == request.worktree || table::exists(&row.worktree));
    decide::recall(&rows, request)
        .map_or_else(|| decide::decide(&rows, request, &mut |_| PortState::Free), Ok)
}

/// Returns the ports of the worktree's home slot and of its current slot, without inspecting them.
pub fn wanted(ctx: &Context, request: &Request) -> Result<BTreeSet<u16>, PortsError> {
    let rows = list(ctx)?;
    let held = rows.iter().find(|row| row.worktree == request.worktree).map(|row| row.slot);
    let slots = [Some(preferred_slot(&request.worktree, request.span.max(1))), held];
    let bases = || request.bases.values();
    Ok(slots
        .into_iter()
        .flatten()
        .flat_map(|slot| bases().filter_map(move |base| base.checked_add(slot)))
        .collect())
}

/// Releases the lease of `worktree`. Returns false if it had none. Errors if the table cannot be locked, read or written.
pub async fn release(ctx: &Context, worktree: &Path) -> Result<bool, PortsError> {
    let _lock = lock(ctx).await?;
    let (mut table, damaged) = open(ctx)?;
    let before = table.rows.len();
    table.rows.retain(|row| row.worktree != worktree);
    let had = table.rows.len() < before;
    if had || damaged {
        table.write(&ctx.dirs)?;
    }
    Ok(had)
}

/// Returns every lease on this machine, including those of worktrees that no longer exist. Errors if the table cannot be read.
pub fn list(ctx: &Context) -> Result<Vec<LeaseRow>, PortsError> {
    Ok(LeaseTable::read(&ctx.dirs)?.table.rows)
}

async fn lock(ctx: &Context) -> Result<Lock, FsError> {
    Lock::take(&table::lock_file(&ctx.dirs), LockKind::Exclusive, WAIT).await
}

/// Reads the table. If the file is damaged, renames it, warns, and returns true.
fn open(ctx: &Context) -> Result<(LeaseTable, bool), FsError> {
    let reading = LeaseTable::read(&ctx.dirs)?;
    if reading.damaged {
        let aside = table::set_aside(&ctx.dirs)?;
        ctx.events.warn(format!(
            "the table of port leases was damaged: {} of its leases are recovered, and the damaged file is kept as {}",
            reading.table.rows.len(),
            aside.display()
        ));
    }
    Ok((reading.table, reading.damaged))
}

fn record(table: &mut LeaseTable, request: &Request, lease: &Lease, now: u64) {
    let known = table.rows.iter().position(|row| row.worktree == request.worktree);
    let row = LeaseRow {
        worktree: request.worktree.clone(),
        slot: lease.slot,
        ports: lease.ports.clone(),
        repository: request.repository.clone(),
        away: lease.away.clone(),
        created: known.map_or(now, |at| table.rows[at].created),
        other: known.map(|at| table.rows[at].other.clone()).unwrap_or_default(),
    };
    match known {
        Some(at) => table.rows[at] = row,
        None => table.rows.push(row),
    }
}
