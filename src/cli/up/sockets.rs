//! The ports of a run: those that are handed over, bound before anything starts, and the check that nobody else answers.

use std::collections::BTreeMap;
use std::net::TcpListener;

use crate::error::{Code, Holder, Report};
use crate::os::net;
use crate::plan::{Plan, PortUse};
use crate::ports::guard::{self, Ownership};

/// Binds the ports that are handed over, before anything starts: from here on nobody can take them, and clients wait.
pub(super) fn listen(plan: &Plan) -> Result<BTreeMap<u16, TcpListener>, Report> {
    let mut sockets = BTreeMap::new();
    for process in &plan.processes {
        if let Some(PortUse::Listens { port, .. }) = process.port {
            let socket = net::listen_on(net::server_address(process.expose), port).map_err(|error| {
                let report = Report::new(
                    Code::PortBusy,
                    format!("port {port} of {} cannot be had: {error}", process.name),
                );
                match guard::holder(port) {
                    Some(holder) => {
                        report.with_holder(holder).with_fix("stop it, or run devrun again for other ports")
                    }
                    None => report.with_fix("run devrun again: it will choose other ports"),
                }
            })?;
            sockets.insert(port, socket);
        }
    }
    Ok(sockets)
}

/// A ready process whose port somebody else answers on is the worst failure there is.
pub(super) fn verify(port: u16, leader: u32) -> Option<Report> {
    match guard::listener_is_ours(port, leader) {
        Ownership::Stranger(holder) if holder.pid == Some(std::process::id()) => None,
        Ownership::Stranger(holder) => Some(stolen(port, holder)),
        _ => None,
    }
}

fn stolen(port: u16, holder: Holder) -> Report {
    Report::new(Code::PortStolen, format!("port {port} is answered by somebody else"))
        .with_cause("another process listens on the port of this worktree")
        .with_holder(holder)
        .with_fix("stop that process, then run devrun again")
}
