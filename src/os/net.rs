//! Loopback TCP: is a port free, can it be ours, who listens on it.
//!
//! The probe rule is measured, not guessed: `localhost` may mean either family, and a listener on one address does not
//! always hinder a bind on another, so each is tried.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, SockaddrIn6, bind, listen, setsockopt, socket,
    sockopt,
};

use super::proc;

/// The addresses a server of a worktree may sit on.
const ADDRESSES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

/// True when no process answers on `port` and no socket is bound to it on any local address.
pub fn is_free(port: u16) -> bool {
    // A connection that was forwarded or belongs to another user is seen by connecting, not always by binding.
    let answered = ADDRESSES[..2].iter().any(|address| {
        TcpStream::connect_timeout(&SocketAddr::new(*address, port), Duration::from_millis(200)).is_ok()
    });
    !answered && ADDRESSES.iter().all(|address| can_bind(*address, port))
}

/// True unless the address is in use; a family this machine lacks is no obstacle.
fn can_bind(address: IpAddr, port: u16) -> bool {
    let in_use =
        |reuse| matches!(bound(address, port, reuse), Err(nix::Error::EADDRINUSE | nix::Error::EACCES));
    // `SO_REUSEADDR` hides a socket that another user has bound and does not listen on yet. Without it, a closed connection's
    // TIME_WAIT refuses the address too, for a minute: then the process table's list of connections tells the two apart.
    !in_use(false) || (proc::has_connections(port) != Some(false) && !in_use(true))
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

/// Returns the address that a server of a worktree binds: every IPv4 interface when it is exposed, else loopback.
pub fn server_address(exposed: bool) -> IpAddr {
    IpAddr::V4(if exposed { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST })
}

/// Binds `port` of `address` and listens, with a backlog that lets clients wait while the server boots.
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
    fn a_bound_port_that_does_not_listen_is_taken() {
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
    fn a_client_may_connect_before_anybody_accepts() {
        let listener = listen_on(server_address(false), 0).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(TcpStream::connect(address).is_ok());
    }
}
