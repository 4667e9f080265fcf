//! Notices a process that listens on another port than its own for so long that it is not going to open its own.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::Process;
use crate::supervisor::wrong_port;

/// The interval between two reads of the process's sockets.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);
/// How long the process must listen on the same addresses while its own port stays closed. A server may serve its metrics before
/// it has imported the application, which takes some seconds.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The lowest port that systems give to a socket that asks for none. A server does not wait for users there.
const LOWEST_RANDOM: u16 = 32_768;

/// The wrong addresses of one process, over time.
#[derive(Debug, Default)]
pub(super) struct StrayPorts {
    found: Vec<SocketAddr>,
    since: Option<Instant>,
    checked: Option<Instant>,
}

impl StrayPorts {
    /// Returns the addresses, with ports below [`LOWEST_RANDOM`], on which `process` has listened for [`STABLE_AFTER`]; none
    /// if it listens on its own port too. `listening` returns all addresses on which it listens now, and is called once per
    /// [`CHECK_INTERVAL`] at most.
    pub(super) fn stable(
        &mut self,
        process: &Process,
        now: Instant,
        listening: impl FnOnce() -> BTreeSet<SocketAddr>,
    ) -> Vec<SocketAddr> {
        if self.checked.is_none_or(|checked| now.saturating_duration_since(checked) >= CHECK_INTERVAL) {
            self.checked = Some(now);
            let mut found = wrong_port::strays(process, false, &listening());
            found.retain(|address| address.port() < LOWEST_RANDOM);
            if found != self.found || found.is_empty() {
                self.since = (!found.is_empty()).then_some(now);
                self.found = found;
            }
        }
        let is_stable = self.since.is_some_and(|since| now.saturating_duration_since(since) >= STABLE_AFTER);
        if is_stable { self.found.clone() } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PortUse;
    use crate::supervisor::state_machine::bare;

    #[test]
    fn only_a_fixed_port_that_stays_open_while_the_own_one_is_closed_counts() {
        let process =
            Process { port: Some(PortUse::Binds { name: "web".into(), port: 3100 }), ..bare("web") };
        let start = Instant::now();
        let mut ports = StrayPorts::default();
        let mut look = |seconds, listening: &[u16]| {
            let all = listening.iter().map(|port| ([127, 0, 0, 1], *port).into()).collect();
            let found = ports.stable(&process, start + Duration::from_secs(seconds), || all);
            found.iter().map(SocketAddr::port).collect::<Vec<_>>()
        };
        assert!(look(0, &[3000]).is_empty() && look(9, &[3000]).is_empty());
        assert_eq!(look(10, &[3000]), [3000]);
        assert!(look(11, &[3000, 3100]).is_empty(), "it opened its own port");
        assert!(look(12, &[3000]).is_empty(), "counted again from the start");
        assert_eq!(look(22, &[3000]), [3000]);
        assert!(look(23, &[]).is_empty());
        assert!(look(24, &[40_001]).is_empty() && look(44, &[40_001]).is_empty(), "a port of the system");
    }
}
