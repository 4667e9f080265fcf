//! Handles loopback TCP ports: checks whether one is free, reserves it, and listens on it.
//!
//! The check is based on measurements: `localhost` may mean either address family, and a listener on one address does
//! not always prevent a bind on another, so every address is tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt, socket,
    sockopt,
};

use super::proc;

/// The addresses that a server of a worktree may use.
const ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// Returns true if no process answers on `port` and no socket is bound to it on any local address.
pub fn is_free(port: u16) -> bool {
    // A port that is forwarded or belongs to another user is found by connecting, but not always by binding.
    let answered = ADDRESSES[..2].iter().any(|address| {
        TcpStream::connect_timeout(&SocketAddr::new(*address, port), Duration::from_millis(200)).is_ok()
    });
    !answered && ADDRESSES.iter().all(|address| can_bind(*address, port))
}

/// Returns true unless the address is in use. An address family that this machine lacks counts as not in use, a port that
/// this user may not bind as in use.
fn can_bind(address: IpAddr, port: u16) -> bool {
    let in_use =
        |reuse| matches!(bound(address, port, reuse), Err(nix::Error::EADDRINUSE | nix::Error::EACCES));
    // With `SO_REUSEADDR`, a socket that another user has bound without listening stays unnoticed. Without it, a closed
    // connection in TIME_WAIT makes the address unusable for a minute. The kernel's list of connections shows which of
    // the two it is.
    !in_use(false) || (proc::has_connections(port) != Some(false) && !in_use(true))
}

/// Binds `port` of `address` without listening, until the value is dropped. While it is bound, no other process
/// can listen there: the kernel lets a second socket bind only if both have `SO_REUSEADDR`, and this one does not. Errors
/// if the address is in use.
pub fn reserve(address: IpAddr, port: u16) -> std::io::Result<OwnedFd> {
    Ok(bound(address, port, false)?)
}

fn bound(address: IpAddr, port: u16, reuse: bool) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = new_socket(family)?;
    setsockopt(&fd, sockopt::ReuseAddr, &reuse)?;
    match SocketAddr::new(address, port) {
        SocketAddr::V4(v4) => bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn::from(v4))?,
        SocketAddr::V6(v6) => {
            setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
            bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &SockaddrIn6::from(v6))?;
        }
    }
    Ok(fd)
}

#[cfg(target_os = "linux")]
fn new_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
}

#[cfg(not(target_os = "linux"))]
fn new_socket(family: AddressFamily) -> nix::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let fd = socket(family, SockType::Stream, SockFlag::empty(), None)?;
    fcntl(&fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    Ok(fd)
}

/// Returns the address that a server of a worktree binds: all IPv4 interfaces if it is exposed, else loopback.
pub fn server_address(exposed: bool) -> IpAddr {
    IpAddr::V4(if exposed { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST })
}

/// Returns an error if 127.0.0.1 has no route, as in a network namespace whose loopback interface is down: a server can bind
/// there, and no client reaches it. Sends nothing.
pub fn check_loopback() -> std::io::Result<()> {
    let local = Ipv4Addr::LOCALHOST;
    // Any port does: connecting a UDP socket only looks the route up.
    UdpSocket::bind((local, 0))?.connect((local, 9))
}

/// Binds `port` of `address` and listens. The backlog lets clients wait while the server starts. Errors if another socket
/// listens there.
pub fn listen_on(address: IpAddr, port: u16) -> std::io::Result<TcpListener> {
    let fd = bound(address, port, true)?;
    listen(&fd, Backlog::new(1024)?)?;
    Ok(TcpListener::from(fd))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_any_address_makes_the_port_busy() {
        for address in ADDRESSES {
            let Ok(listener) = TcpListener::bind((address, 0)) else { continue };
            let port = listener.local_addr().unwrap().port();
            assert!(!is_free(port), "{address} was not noticed");
            drop(listener);
            assert!(is_free(port), "{address} is still busy");
        }
    }

    #[test]
    fn a_bound_port_that_does_not_listen_is_busy() {
        for reuse in [true, false] {
            let fd = bound(IpAddr::V4(Ipv4Addr::LOCALHOST), 0, reuse).unwrap();
            let address: SockaddrIn =
                nix::sys::socket::getsockname(std::os::fd::AsRawFd::as_raw_fd(&fd)).unwrap();
            assert!(!is_free(address.port()), "reuse: {reuse}");
            drop(fd);
            assert!(is_free(address.port()), "reuse: {reuse}");
        }
    }

    #[test]
    fn a_connection_that_lingers_does_not_take_the_port() {
        let listener = listen_on(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let address = listener.local_addr().unwrap();
        let client = TcpStream::connect(address).unwrap();
        let (server, _) = listener.accept().unwrap();
        // The side that closes first keeps the address in TIME_WAIT.
        drop(server);
        drop(client);
        drop(listener);
        assert!(is_free(address.port()));
    }

    #[test]
    fn a_reserved_port_refuses_other_listeners() {
        let server = listen_on(server_address(false), 0).unwrap();
        let port = server.local_addr().unwrap().port();
        let Ok(reserved) = reserve(Ipv6Addr::LOCALHOST.into(), port) else {
            return crate::os::skip("there is no IPv6 here");
        };
        assert!(bound(Ipv6Addr::LOCALHOST.into(), port, true).is_err());
        assert!(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).is_err());
        assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port)).is_err(), "it does not listen");
        drop(reserved);
        assert!(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_client_may_connect_before_the_server_accepts() {
        let listener = listen_on(server_address(false), 0).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(TcpStream::connect(address).is_ok());
    }
}
