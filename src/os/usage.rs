//! Reads the memory and processor time of processes, for the whole table at once. Linux has `/proc`; on other systems
//! the result is empty.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use super::proc::{self, ProcessEntry};

/// The resources that one process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Resident memory in bytes. Pages that several processes share are counted in each.
    pub memory: u64,
    /// Processor time since its start, in user and kernel mode.
    pub cpu: Duration,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.memory += other.memory;
        self.cpu += other.cpu;
    }
}

/// Returns all visible processes with their usage.
pub fn table() -> Vec<(ProcessEntry, Usage)> {
    let (page, ticks) = (system(SysconfVar::PAGE_SIZE, 4096), system(SysconfVar::CLK_TCK, 100));
    let stats = proc::ids().filter_map(|pid| std::fs::read(proc::at(pid, "stat")?).ok());
    stats.filter_map(|stat| Some((proc::parse_stat(&stat)?, parse(&stat, page, ticks)?))).collect()
}

fn system(name: SysconfVar, usual: u64) -> u64 {
    let known = sysconf(name).ok().flatten();
    known.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(usual)
}

/// Parses a line of `/proc/PID/stat`. By proc(5), `utime` and `stime` are the 12th and 13th field after the name, `rss`
/// in pages the 22nd.
fn parse(stat: &[u8], page: u64, ticks: u64) -> Option<Usage> {
    let close = stat.iter().rposition(|byte| *byte == b')')?;
    let rest: Vec<&str> =
        std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_ascii_whitespace().collect();
    let number = |at: usize| rest.get(at)?.parse::<u64>().ok();
    let cpu = Duration::from_millis((number(11)? + number(12)?) * 1000 / ticks);
    Some(Usage { memory: number(21)? * page, cpu })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_time_are_read_from_their_fields() {
        let stat = b"12 (a) b) S 7 8 9 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0 4242 99 3";
        assert_eq!(parse(stat, 4096, 100), Some(Usage { memory: 3 * 4096, cpu: Duration::from_secs(2) }));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_memory() {
        let (_, usage) = table().into_iter().find(|(entry, _)| entry.pid == std::process::id()).unwrap();
        assert!(usage.memory > 100_000, "{usage:?}");
    }
}
