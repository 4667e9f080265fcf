//! Asks the kernel for TCP sockets in given states (`sock_diag(7)`). The kernel answers from its hash tables without formatting
//! text, and without visiting the connections if only listening sockets are wanted.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

use super::{SocketState, TcpSocket};

/// The size of a buffer for one answer. The kernel fills at most 32 KiB.
const ANSWER: usize = 32 << 10;
/// Maximum number of answers to one question.
const ANSWERS: usize = 1 << 16;

// Constants and sizes of linux/netlink.h, linux/sock_diag.h and linux/inet_diag.h.
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
const REQUEST_DUMP: u16 = 0x301;
const TCP: u8 = 6;
/// The size of `struct inet_diag_req_v2`.
const QUESTION: usize = 56;

/// Returns the sockets of both address families that are in one of `states`. Errors if the system has no such interface or
/// does not permit its use.
pub(super) fn sockets(states: &[SocketState]) -> io::Result<Vec<TcpSocket>> {
    let socket = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    let states = states.iter().fold(0, |all, state| all | bits(*state));
    let mut rows = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        send(socket.as_raw_fd(), &question(family, states), MsgFlags::empty())?;
        read(socket.as_raw_fd(), &mut rows)?;
    }
    Ok(rows)
}

/// Returns the bits of a state in a question. The number of a bit is that of a state in the kernel (`net/tcp_states.h`).
fn bits(state: SocketState) -> u32 {
    const OTHERS: [u32; 9] = [3, 4, 5, 6, 7, 8, 9, 11, 12];
    match state {
        SocketState::Connected => 1 << 1,
        SocketState::Connecting => 1 << 2,
        SocketState::Listening => 1 << 10,
        SocketState::Other => OTHERS.into_iter().fold(0, |bits, number| bits | 1 << number),
    }
}

/// Returns a message that asks for all TCP sockets of `family` in `states`.
fn question(family: i32, states: u32) -> Vec<u8> {
    let length = u32::try_from(HEADER + QUESTION).unwrap_or(0);
    let mut message = Vec::with_capacity(HEADER + QUESTION);
    message.extend(length.to_ne_bytes());
    message.extend(BY_FAMILY.to_ne_bytes());
    message.extend(REQUEST_DUMP.to_ne_bytes());
    // Sequence number, and the port of this socket, which the kernel fills in.
    message.extend([0; 8]);
    message.extend([u8::try_from(family).unwrap_or(0), TCP, 0, 0]);
    message.extend(states.to_ne_bytes());
    message.resize(HEADER + QUESTION, 0);
    message
}

/// Appends the rows of one answer, which may come in several packets. The kernel has the next packet ready when the last one
/// was read, so this never waits.
fn read(socket: i32, rows: &mut Vec<TcpSocket>) -> io::Result<()> {
    let mut buffer = vec![0; ANSWER];
    for _ in 0..ANSWERS {
        let count = recv(socket, &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        if parse_packet(buffer.get(..count).unwrap_or_default(), rows)? {
            return Ok(());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Appends the rows of one packet. Returns true if it ends the answer. Errors if the kernel reports an error, also at the end
/// of an answer that then is not complete.
fn parse_packet(packet: &[u8], rows: &mut Vec<TcpSocket>) -> io::Result<bool> {
    let mut rest = packet;
    while let Some((kind, body, next)) = message(rest) {
        match kind {
            DONE => match array(body, 0).map_or(0, i32::from_ne_bytes) {
                0.. => return Ok(true),
                errno => return Err(io::Error::from_raw_os_error(errno.saturating_neg())),
            },
            ERROR => return Err(io::ErrorKind::Unsupported.into()),
            _ => rows.extend(row(body)),
        }
        rest = next;
    }
    if rest.is_empty() && !packet.is_empty() { Ok(false) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Splits the first message off `bytes`: its kind, its content, and the bytes after it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(array(bytes, 0)?)).ok()?;
    let body = bytes.get(HEADER..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((u16::from_ne_bytes(array(bytes, 4)?), body, next))
}

/// Parses a `struct inet_diag_msg`.
fn row(body: &[u8]) -> Option<TcpSocket> {
    let family = i32::from(*body.first()?);
    let address = |port: usize, host: usize| -> Option<SocketAddr> {
        let ip = match family {
            libc::AF_INET => IpAddr::V4(Ipv4Addr::from(array::<4>(body, host)?)),
            libc::AF_INET6 => Ipv6Addr::from(array::<16>(body, host)?).to_canonical(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(array(body, port)?)))
    };
    Some(TcpSocket {
        local: address(4, 8)?,
        remote: address(6, 24)?,
        state: match body.get(1)? {
            1 => SocketState::Connected,
            2 => SocketState::Connecting,
            10 => SocketState::Listening,
            _ => SocketState::Other,
        },
        user: u32::from_ne_bytes(array(body, 64)?),
        inode: u64::from(u32::from_ne_bytes(array(body, 68)?)),
    })
}

/// Returns the `N` bytes from `at` on.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER + body.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
    }

    #[test]
    fn end_of_an_answer_with_an_error_is_an_error() {
        let end = |body: &[u8]| parse_packet(&packet(DONE, body), &mut Vec::new());
        assert!(end(&[]).unwrap());
        assert!(end(&0_i32.to_ne_bytes()).unwrap());
        let error = end(&(-libc::ENOENT).to_ne_bytes()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    }

    #[test]
    fn damaged_packet_is_an_error() {
        let read = |packet: &[u8]| parse_packet(packet, &mut Vec::new());
        assert!(!read(&packet(BY_FAMILY, &[])).unwrap());
        for damaged in [&[][..], &[1], &packet(DONE, &[])[..HEADER - 1], &packet(ERROR, &[0; 4])] {
            assert!(read(damaged).is_err(), "{damaged:?}");
        }
    }
}
