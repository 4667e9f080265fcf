//! Leasing: the decision of [`super::decide`] under the machine's lock, remembered in the table.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::table::{self, Row, Table};
use super::{Lease, PortsError, Request, decide, guard};
use crate::context::Context;
use crate::os::fs::{FsError, Lock, LockKind};

/// How long to wait for others who are leasing; each takes milliseconds.
const WAIT: Duration = Duration::from_secs(5);

/// Leases a slot to the worktree: the one it had, or a new one, after looking at every port. A lease belongs to the
/// worktree, not to a process: it stays until [`release`], or until the worktree's folder is gone and somebody asks.
pub async fn lease(ctx: &Context, request: &Request) -> Result<Lease, PortsError> {
    let _lock = lock(ctx).await?;
    let (before, damaged) = open(ctx)?;
    let mut table = before.clone();
    table.rows.retain(|row| row.worktree == request.worktree || table::exists(&row.worktree));
    let lease = decide::decide(&table.rows, request, &mut |port| guard::standing(port, &request.worktree))?;
    record(&mut table, request, &lease, now());
    if damaged || table != before {
        table.write(&ctx.dirs)?;
    }
    Ok(lease)
}

/// What the worktree has leased, without looking at its ports or writing anything. Leases when it has no slot, can no
/// longer keep the one it has, or asks for other ports than those recorded: nobody else would know that they are taken.
pub async fn look(ctx: &Context, request: &Request) -> Result<Lease, PortsError> {
    let mut rows = list(ctx)?;
    rows.retain(|row| row.worktree == request.worktree || table::exists(&row.worktree));
    let recorded = rows.iter().find(|row| row.worktree == request.worktree).map(|row| &row.ports);
    match decide::recall(&rows, request) {
        Some(lease) if recorded == Some(&lease.ports) => Ok(lease),
        _ => lease(ctx, request).await,
    }
}

/// Gives up the lease of `worktree`; false when it had none.
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

/// Every lease on this machine, also of worktrees that are gone.
pub fn list(ctx: &Context) -> Result<Vec<Row>, PortsError> {
    Ok(Table::read(&ctx.dirs)?.table.rows)
}

async fn lock(ctx: &Context) -> Result<Lock, FsError> {
    Lock::take(&table::lock_file(&ctx.dirs), LockKind::Exclusive, WAIT).await
}

/// Reads the table, and sets a damaged file aside: true then.
fn open(ctx: &Context) -> Result<(Table, bool), FsError> {
    let reading = Table::read(&ctx.dirs)?;
    if reading.damaged {
        let aside = table::set_aside(&ctx.dirs)?;
        ctx.events.warn(format!(
            "the table of port leases was damaged: {} of its leases could be read, the file is kept as {}",
            reading.table.rows.len(),
            aside.display()
        ));
    }
    Ok((reading.table, reading.damaged))
}

fn record(table: &mut Table, request: &Request, lease: &Lease, now: u64) {
    let known = table.rows.iter().position(|row| row.worktree == request.worktree);
    let row = Row {
        worktree: request.worktree.clone(),
        slot: lease.slot,
        ports: lease.ports.clone(),
        repository: request.repository.clone(),
        created: known.map_or(now, |at| table.rows[at].created),
        other: known.map(|at| table.rows[at].other.clone()).unwrap_or_default(),
    };
    match known {
        Some(at) => table.rows[at] = row,
        None => table.rows.push(row),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
