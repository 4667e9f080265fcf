//! The TCP sockets of this network namespace, as `/proc/net/tcp` and `/proc/net/tcp6` list them. Empty on other systems.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One TCP socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Address of this end.
    pub local: SocketAddr,
    /// Address of the other end; unspecified while the socket listens.
    pub remote: SocketAddr,
    /// What the socket does.
    pub state: State,
    /// The user that made the socket.
    pub user: u32,
    /// Names the socket among all processes that hold it; 0 once no process does.
    pub inode: u64,
}

/// What a socket does, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is connected.
    Connected,
    /// It has sent its first packet and has no answer yet.
    Connecting,
    /// It accepts connections.
    Listening,
    /// It is being closed.
    Closing,
}

/// Returns every TCP socket of both address families.
pub fn rows() -> Vec<Row> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| std::fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|text| text.lines().skip(1)).filter_map(parse).collect()
}

/// Reads one line of the table: `sl local_address rem_address st … uid timeout inode …`, as described in `proc_pid_net(5)`.
fn parse(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = match fields.next()? {
        "01" => State::Connected,
        "02" => State::Connecting,
        "0A" => State::Listening,
        _ => State::Closing,
    };
    // Queues, timer and retransmissions lie between.
    let user = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    Some(Row { local, remote, state, user, inode })
}

/// Reads `0100007F:1F90`. The kernel prints each 32-bit word of an address in the machine's own byte order, and maps of
/// IPv4 in IPv6 are returned as the IPv4 address that they stand for.
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
        assert_eq!((v4.state, v4.user, v4.inode), (State::Connected, 1000, 4242));
        let loopback = format!("{}01000000:0050", "0".repeat(24));
        assert_eq!(parse(&line(&loopback, &loopback)).unwrap().local, "[::1]:80".parse().unwrap());
        let mapped = "0000000000000000FFFF00000100007F:0050";
        assert_eq!(parse(&line(mapped, mapped)).unwrap().local, "127.0.0.1:80".parse().unwrap());
    }

    #[test]
    fn damaged_lines_are_no_sockets() {
        for line in ["", "0: x", "0: 0100007F:1F90", "0: 01:1F90 0100007F:1F90 01 0:0 0:0 0 0 0 1"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_connection_of_this_process_is_listed_with_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let rows = rows();
        let ours = rows.iter().find(|row| row.local == client.local_addr().unwrap()).unwrap();
        assert_eq!((ours.remote, ours.state), (client.peer_addr().unwrap(), State::Connected));
        let listening = rows.iter().find(|row| row.local == listener.local_addr().unwrap());
        assert_eq!(listening.unwrap().state, State::Listening);
    }
}
