//! What processes use: memory and processor time, with the whole table read in one go. Linux reads `/proc`; elsewhere
//! there is nothing.

use std::time::Duration;

use nix::unistd::{SysconfVar, sysconf};

use super::proc::{self, Entry};

/// What one process uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is resident, in bytes; pages that several processes share are counted in each.
    pub memory: u64,
    /// Processor time since its start, its own and the system's for it.
    pub cpu: Duration,
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.memory += other.memory;
        self.cpu += other.cpu;
    }
}

/// Every process that can be seen, with what it uses.
pub fn table() -> Vec<(Entry, Usage)> {
    let (page, ticks) = (system(SysconfVar::PAGE_SIZE, 4096), system(SysconfVar::CLK_TCK, 100));
    let folders = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = folders.filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
    let stats = pids.filter_map(|pid| std::fs::read(format!("/proc/{pid}/stat")).ok());
    stats.filter_map(|stat| Some((proc::parse_stat(&stat)?, parse(&stat, page, ticks)?))).collect()
}

fn system(name: SysconfVar, usual: u64) -> u64 {
    let known = sysconf(name).ok().flatten();
    known.and_then(|value| u64::try_from(value).ok()).filter(|value| *value > 0).unwrap_or(usual)
}

/// proc(5): after the name, `utime` and `stime` are the 12th and 13th field, `rss` in pages the 22nd.
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
    fn we_use_memory() {
        let (_, usage) = table().into_iter().find(|(entry, _)| entry.pid == std::process::id()).unwrap();
        assert!(usage.memory > 100_000, "{usage:?}");
    }
}
