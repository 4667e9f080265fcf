//! Lists the TCP sockets of this network namespace: asks the kernel for those in the wanted states, or reads `/proc/net/tcp` and
//! `/proc/net/tcp6` where that is not possible. Empty on other systems.

#[cfg(target_os = "linux")]
mod diag;

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// The local address.
    pub local: SocketAddr,
    /// The remote address, which is unspecified while the socket listens.
    pub remote: SocketAddr,
    pub state: SocketState,
    /// The user that created the socket.
    pub user: u32,
    /// Identifies the socket in all processes that hold it. 0 if no process does.
    pub inode: u64,
}

/// The state of a socket, as far as devrun needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketState {
    Connected,
    /// It has sent its first packet and has no answer yet.
    Connecting,
    /// It accepts connections.
    Listening,
    /// Any other state: one side has begun to close it, or has not confirmed it yet.
    Other,
}

/// The kernel's tables of TCP sockets.
pub(super) const TABLES: [&str; 2] = ["/proc/net/tcp", "/proc/net/tcp6"];

/// Reads one of [`TABLES`]. Each read(2) makes the kernel walk its whole hash table, which takes 2 ms on a machine with much
/// memory, so this reads as little as possible. The kernel fills a page with whole rows; a page with room for another row is
/// the last one.
pub(super) fn table(path: &str) -> io::Result<String> {
    const PAGE: usize = 4096;
    const LONGEST_ROW: usize = 256;
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        bytes.resize(start + 16 * PAGE, 0);
        let count = file.read(&mut bytes[start..])?;
        bytes.truncate(start + count);
        if count < PAGE - LONGEST_ROW {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}

/// Returns the TCP sockets of both address families that are in one of `states`.
pub fn rows(states: &[SocketState]) -> Vec<TcpSocket> {
    #[cfg(target_os = "linux")]
    if let Ok(rows) = diag::sockets(states) {
        return rows;
    }
    from_tables(states)
}

fn from_tables(states: &[SocketState]) -> Vec<TcpSocket> {
    let tables = TABLES.map(|path| table(path).unwrap_or_default());
    let rows = tables.iter().flat_map(|text| text.lines().skip(1)).filter_map(parse);
    rows.filter(|row| states.contains(&row.state)).collect()
}

/// Parses one line of the table: `sl local_address rem_address st … uid timeout inode …`, as described in
/// `proc_pid_net(5)`.
fn parse(line: &str) -> Option<TcpSocket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = match fields.next()? {
        "01" => SocketState::Connected,
        "02" => SocketState::Connecting,
        "0A" => SocketState::Listening,
        _ => SocketState::Other,
    };
    // Skip the queues, the timer and the retransmissions.
    let user = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(TcpSocket { local, remote, state, user, inode })
}

/// Parses `0100007F:1F90`. The kernel prints each 32-bit word of an address in the machine's byte order. An IPv4
/// address that is mapped to IPv6 is returned as IPv4.
fn address(text: &str) -> Option<SocketAddr> {
    let (host, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| {
        let digits = host.get(at * 8..at * 8 + 8)?;
        u32::from_str_radix(digits, 16).ok().map(u32::to_ne_bytes)
    };
    let ip = match host.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn both_address_families_are_read() {
        let line = |local: &str, remote: &str| {
            format!("   0: {local} {remote} 01 00000000:00000000 00:00000000 00000000  1000        0 4242 1")
        };
        let v4 = parse(&line("0100007F:1F90", "0A01A8C0:1538")).unwrap();
        assert_eq!(v4.local, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(v4.remote, "192.168.1.10:5432".parse().unwrap());
        assert_eq!((v4.state, v4.user, v4.inode), (SocketState::Connected, 1000, 4242));
        let loopback = format!("{}01000000:0050", "0".repeat(24));
        assert_eq!(parse(&line(&loopback, &loopback)).unwrap().local, "[::1]:80".parse().unwrap());
        let mapped = "0000000000000000FFFF00000100007F:0050";
        assert_eq!(parse(&line(mapped, mapped)).unwrap().local, "127.0.0.1:80".parse().unwrap());
    }

    #[test]
    fn damaged_lines_are_skipped() {
        for line in ["", "0: x", "0: 0100007F:1F90", "0: 01:1F90 0100007F:1F90 01 0:0 0:0 0 0 0 1"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_connection_of_this_process_is_listed_with_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let rows = rows(&[SocketState::Connected, SocketState::Listening]);
        let ours = rows.iter().find(|row| row.local == client.local_addr().unwrap()).unwrap();
        assert_eq!((ours.remote, ours.state), (client.peer_addr().unwrap(), SocketState::Connected));
        let listening = rows.iter().find(|row| row.local == listener.local_addr().unwrap());
        assert_eq!(listening.unwrap().state, SocketState::Listening);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_table_of_several_pages_is_read_whole() {
        let all: Vec<_> = (0..100).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let local = |listener: &TcpListener| listener.local_addr().unwrap();
        let ours = |rows: Vec<TcpSocket>| -> Vec<TcpSocket> {
            let mut ours: Vec<TcpSocket> =
                rows.into_iter().filter(|row| all.iter().any(|one| local(one) == row.local)).collect();
            ours.sort_by_key(|row| row.local);
            ours
        };
        let found = ours(from_tables(&[SocketState::Listening]));
        assert_eq!(found.len(), all.len());
        // The kernel's other interface gives the same answer.
        assert_eq!(ours(diag::sockets(&[SocketState::Listening]).unwrap()), found);
        assert_eq!(ours(rows(&[SocketState::Connected])), []);
        assert_eq!(ours(rows(&[SocketState::Other])), []);
    }
}
