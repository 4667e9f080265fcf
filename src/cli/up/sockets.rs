//! Binds the ports of a run that are handed over, and reports other processes that answer on its ports.

mod reserve;

use std::collections::BTreeMap;
use std::net::TcpListener;

pub(super) use self::reserve::Reservations;
use crate::error::{Code, Holder, RERUN, Report};
use crate::os::net;
use crate::plan::{Plan, PortUse};
use crate::ports::{self, Reserved, port_holder};

/// Binds the ports that are handed over to processes, before any process starts. From here on no other process can bind
/// them, and clients that connect wait. Takes the ports out of `reserved`. Errors if the loopback interface is down or a port
/// is busy.
pub(super) fn listen(plan: &Plan, reserved: &mut Reserved) -> Result<BTreeMap<u16, TcpListener>, Report> {
    if !plan.ports.is_empty() {
        net::check_loopback().map_err(|error| {
            Report::new(
                Code::LoopbackDown,
                format!("the loopback interface is down: 127.0.0.1 has no route ({error})"),
            )
            .with_cause("servers can bind their ports, and no client on this machine can reach them")
            .with_fix(format!("bring it up with `ip link set lo up`, then {RERUN}"))
        })?;
    }
    let mut sockets = BTreeMap::new();
    for process in &plan.processes {
        if let Some(PortUse::Listens { port, .. }) = process.port {
            drop(reserved.take(port));
            let socket = net::listen_on(net::server_address(process.expose), port).map_err(|error| {
                let report = Report::new(
                    Code::PortBusy,
                    format!("devrun cannot listen on port {port} of {}: {error}", process.name),
                );
                match port_holder::of(port) {
                    Some(holder) => {
                        let end = ports::how_to_end(&holder);
                        report.with_holder(holder).with_fix(format!("{end}, or {RERUN} for other ports"))
                    }
                    None => report.with_fix(format!("{RERUN}: it will choose other ports")),
                }
            })?;
            sockets.insert(port, socket);
        }
    }
    Ok(sockets)
}

fn stolen(port: u16, holder: Holder) -> Report {
    Report::new(Code::PortStolen, format!("another process answers on port {port}"))
        .with_cause("the port belongs to this worktree")
        .with_holder(holder)
        .with_fix(format!("stop that process, then {RERUN}"))
}
