//! Keeps the loopback address that a server left unbound, so that no other process can answer there.
//!
//! A browser that is given `localhost` tries `[::1]` first. A process that listens on `[::1]:PORT` beside a server on
//! `127.0.0.1:PORT` would receive that first try.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::error::{Holder, Report};
use crate::event::Events;
use crate::isolation;
use crate::os::{net, tcp};
use crate::plan::{Plan, PortUse};
use crate::ports::Reserved;
use crate::ports::port_holder::{self, Ownership};
use crate::supervisor::run::PortObserver;

const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// How long a server may take to bind its other addresses once it is ready. An earlier reservation would make that
/// fail.
const SETTLING: Duration = Duration::from_millis(500);
/// The longest pause between two checks of a port. Each pause is twice as long as the previous one. After the longest one,
/// devrun stops checking the port.
const LONGEST: Duration = Duration::from_secs(64);

/// Reserved addresses of the ports of a run.
pub(in crate::cli::up) struct Reservations {
    events: Events,
    ports: RefCell<BTreeMap<u16, Addresses>>,
}

/// The addresses reserved for one port, and the task that reserves the rest.
#[derive(Default)]
struct Addresses {
    sockets: BTreeMap<IpAddr, OwnedFd>,
    looking: Option<AbortHandle>,
}

impl Drop for Addresses {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
    }
}

/// The processes that listen on a port.
enum PortListener {
    /// The run listens on these addresses.
    Ours(Vec<IpAddr>),
    /// No process listens yet.
    Nothing,
    /// Another process listens too.
    Other(Holder),
}

impl Reservations {
    /// Reserves addresses before any process starts. For a port that devrun hands over, reserves the other loopback address at
    /// once, because its server binds nothing. For a port that a process binds itself, keeps the socket in `reserved` until
    /// that process starts. Frees all other sockets in `reserved`.
    pub(in crate::cli::up) fn of_run(
        events: Events,
        plan: &Plan,
        mut reserved: Reserved,
    ) -> Rc<Reservations> {
        let reservations = Rc::new(Reservations { events, ports: RefCell::default() });
        // The port of a process that is not started may be used by another one.
        let started = plan.processes.iter().filter(|process| process.autostart);
        for port in started.filter_map(|process| process.port.as_ref()) {
            match *port {
                PortUse::Listens { port, .. } => {
                    if !reservations.hold(port, &[Ipv4Addr::LOCALHOST.into()]) {
                        reservations.look_until_held(port);
                    }
                }
                PortUse::Binds { port, .. } => {
                    let socket = reserved.take(port).map(|socket| (Ipv4Addr::LOCALHOST.into(), socket));
                    reservations.ports.borrow_mut().entry(port).or_default().sockets.extend(socket);
                }
            }
        }
        reservations
    }

    /// Reserves the loopback addresses of `port` that are not among those its server listens on. Returns false if one
    /// cannot be reserved yet because a connection to it was closed a moment ago.
    fn hold(&self, port: u16, listening: &[IpAddr]) -> bool {
        let mut ports = self.ports.borrow_mut();
        let reserved = ports.entry(port).or_default();
        let mut complete = true;
        for address in LOOPBACK {
            if is_bound(address, listening) || reserved.sockets.contains_key(&address) {
                continue;
            }
            match net::reserve(address, port) {
                Ok(socket) => drop(reserved.sockets.insert(address, socket)),
                // A listener on `::` also receives connections to 127.0.0.1, unless it has set `IPV6_V6ONLY`.
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    complete &= listening.contains(&Ipv6Addr::UNSPECIFIED.into());
                }
                // This machine does not support the address family.
                Err(_) => {}
            }
        }
        complete
    }

    /// Checks `port` until the run listens on it, and then reserves its other address.
    fn look_until_held(self: &Rc<Self>, port: u16) {
        let this = Rc::downgrade(self);
        let task = tokio::task::spawn_local(async move {
            let mut pause = SETTLING;
            while pause <= LONGEST {
                tokio::time::sleep(pause).await;
                pause *= 2;
                let looked = tokio::task::spawn_blocking(move || listener(port))
                    .await
                    .unwrap_or(PortListener::Nothing);
                let Some(this) = this.upgrade() else { return };
                match looked {
                    PortListener::Ours(listening) if this.hold(port, &listening) => return,
                    PortListener::Ours(_) | PortListener::Nothing => {}
                    PortListener::Other(holder) => {
                        let said = format!("another process also listens on port {port}: {holder}");
                        return this.events.warn(said);
                    }
                }
            }
        });
        self.ports.borrow_mut().entry(port).or_default().looking = Some(task.abort_handle());
    }
}

impl PortObserver for Rc<Reservations> {
    fn starting(&self, port: u16) {
        // The new process may bind other addresses than the last one.
        self.ports.borrow_mut().remove(&port);
    }

    fn started(&self, port: u16) {
        self.look_until_held(port);
    }

    fn ready(&self, port: u16, leader: u32) -> Option<Report> {
        match port_holder::listener_is_ours(port, leader) {
            Ownership::Other(holder) if holder.pid != Some(std::process::id()) => {
                return Some(super::stolen(port, holder));
            }
            _ if self.ports.borrow().contains_key(&port) => {}
            _ => self.look_until_held(port),
        }
        None
    }

    fn listening(&self, leader: u32) -> BTreeSet<SocketAddr> {
        isolation::listening_below(leader)
    }

    fn holder(&self, port: u16) -> Option<Holder> {
        port_holder::of(port)
    }

    fn command_on(&self, port: u16) -> Option<String> {
        isolation::command_on(port)
    }
}

fn listener(port: u16) -> PortListener {
    match port_holder::listener_is_ours(port, std::process::id()) {
        Ownership::Unused => PortListener::Nothing,
        Ownership::Other(holder) => PortListener::Other(holder),
        Ownership::Ours | Ownership::Unknown => {
            let rows = tcp::rows(&[tcp::SocketState::Listening]).into_iter();
            PortListener::ours(
                rows.filter(|row| row.local.port() == port).map(|row| row.local.ip()).collect(),
            )
        }
    }
}

impl PortListener {
    /// Returns [`PortListener::Nothing`] if `listening` is empty: the server closed its socket a moment ago. With an
    /// empty list, devrun would reserve both loopback addresses, and the server could not bind its own address again.
    fn ours(listening: Vec<IpAddr>) -> PortListener {
        if listening.is_empty() { PortListener::Nothing } else { PortListener::Ours(listening) }
    }
}

/// Returns true if a listener on one of `listening` receives the connections to `address`.
fn is_bound(address: IpAddr, listening: &[IpAddr]) -> bool {
    listening
        .iter()
        .any(|bound| *bound == address || bound.is_unspecified() && bound.is_ipv4() == address.is_ipv4())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_without_a_listener_is_left_to_its_server() {
        assert!(matches!(PortListener::ours(Vec::new()), PortListener::Nothing));
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let PortListener::Ours(listening) = PortListener::ours(vec![loopback]) else { panic!() };
        assert_eq!(listening, [loopback]);
    }

    #[test]
    fn only_addresses_that_the_server_left_are_reserved() {
        let left = |listening: &[&str]| {
            let listening: Vec<IpAddr> = listening.iter().map(|text| text.parse().unwrap()).collect();
            let left = LOOPBACK.iter().filter(|address| !is_bound(**address, &listening));
            left.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(left(&["127.0.0.1"]), ["::1"]);
        assert_eq!(left(&["0.0.0.0"]), ["::1"]);
        assert_eq!(left(&["::1"]), ["127.0.0.1"]);
        assert_eq!(left(&["127.0.0.1", "::1"]), [""; 0]);
        // A listener on `::` may cover 127.0.0.1; only binding it shows that.
        assert_eq!(left(&["::"]), ["127.0.0.1"]);
    }
}
