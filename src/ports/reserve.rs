//! Keeps the ports of a lease while a run prepares itself, so that no other program takes them before the servers start.
//!
//! The table of leases protects only against devruns that share it. Another user, another container on this network, or
//! any other program sees only the sockets.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::OwnedFd;

use crate::os::net;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// The reserved ports of a lease, each with its socket. Dropping a socket frees its port.
#[derive(Debug, Default)]
pub struct Reserved(BTreeMap<u16, OwnedFd>);

impl Reserved {
    /// Reserves `port` on 127.0.0.1. Returns false if another program has taken it, and true without a reservation if
    /// the system refuses the socket for another reason. While connections to the port are in
    /// `TIME_WAIT`, it can only be kept by a socket that listens: the kernel then accepts clients, no process answers them, and
    /// their connections are reset when the socket is dropped.
    pub(super) fn add(&mut self, port: u16) -> bool {
        let socket = match net::reserve(LOOPBACK, port) {
            // Connections in TIME_WAIT prevent a bind without `SO_REUSEADDR`. With it, only a listener keeps others out.
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                net::listen_on(LOOPBACK, port).map(OwnedFd::from)
            }
            socket => socket,
        };
        match socket {
            Ok(socket) => drop(self.0.insert(port, socket)),
            Err(error) => return error.kind() != ErrorKind::AddrInUse,
        }
        true
    }

    /// Frees all ports for which `keep` returns false.
    pub(super) fn retain(&mut self, keep: impl Fn(u16) -> bool) {
        self.0.retain(|port, _| keep(*port));
    }

    /// Returns the socket that keeps `port`, if it is reserved.
    pub fn take(&mut self, port: u16) -> Option<OwnedFd> {
        self.0.remove(&port)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use super::*;

    /// Repeats `attempt` until it succeeds. A program that another test starts has copies of the sockets of this process until it is
    /// executed.
    fn succeed<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(value) = attempt() {
                return value;
            }
            assert!(Instant::now() < end, "the port is still in use");
            std::thread::yield_now();
        }
    }

    #[test]
    fn reserved_port_is_busy_until_its_socket_is_dropped() {
        let port = TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap().port();
        let mut reserved = Reserved::default();
        succeed(|| reserved.add(port).then_some(()));
        assert!(!net::is_free(port));
        assert!(net::listen_on(LOOPBACK, port).is_err());
        drop(reserved.take(port));
        succeed(|| net::is_free(port).then_some(()));
    }

    #[test]
    fn port_with_closed_connections_is_reserved_too() {
        let server = net::listen_on(LOOPBACK, 0).unwrap();
        let port = server.local_addr().unwrap().port();
        let client = TcpStream::connect((LOOPBACK, port)).unwrap();
        drop(server.accept().unwrap());
        drop((client, server));
        let mut reserved = Reserved::default();
        succeed(|| reserved.add(port).then_some(()));
        assert!(net::listen_on(LOOPBACK, port).is_err());
        reserved.retain(|_| false);
        succeed(|| net::listen_on(LOOPBACK, port).ok());
    }

    #[test]
    fn client_of_a_reserved_port_is_disconnected_when_it_is_freed() {
        let server = net::listen_on(LOOPBACK, 0).unwrap();
        let port = server.local_addr().unwrap().port();
        let earlier = TcpStream::connect((LOOPBACK, port)).unwrap();
        // The side that closes first keeps the port in TIME_WAIT.
        drop(server.accept().unwrap());
        drop((earlier, server));
        let mut reserved = Reserved::default();
        succeed(|| reserved.add(port).then_some(()));
        let mut early = TcpStream::connect((LOOPBACK, port)).unwrap();
        drop(reserved.take(port));
        let new = succeed(|| net::listen_on(LOOPBACK, port).ok());
        assert_eq!(early.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        new.set_nonblocking(true).unwrap();
        assert_eq!(
            new.accept().unwrap_err().kind(),
            ErrorKind::WouldBlock,
            "the server does not get the client"
        );
    }

    #[test]
    fn port_of_another_listener_cannot_be_reserved() {
        let server = net::listen_on(LOOPBACK, 0).unwrap();
        assert!(!Reserved::default().add(server.local_addr().unwrap().port()));
    }
}
