//! Findings about the limits of this machine.

use crate::doctor::facts::{DoctorFacts, LocalAddress};
use crate::doctor::finding::{DoctorFinding, FindingId};

/// Free space below which Postgres and installs fail soon, and below which the next install may fail.
const FULL: u64 = 100 << 20;
const LOW: u64 = 1 << 30;
/// The fewest open files that several watchers and servers need.
const OPEN_FILES: u64 = 1024;
/// The fewest folders that a user may watch: a Next.js application with its packages has some thousands.
const WATCHES: u64 = 32_768;
const WATCH_INSTANCES: u64 = 128;
/// The smallest useful `/dev/shm`: Postgres needs it for parallel queries, Chromium for pages.
const SHARED_MEMORY: u64 = 32 << 20;

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let machine = &facts.machine;
    let mut found: Vec<DoctorFinding> = Vec::new();
    for (folder, free) in &machine.disks {
        if *free >= LOW {
            continue;
        }
        let id = if *free < FULL { FindingId::DiskFull } else { FindingId::DiskLow };
        let title = format!("the disk of {} has {} MiB left", folder.display(), free >> 20);
        let fix = "`devrun prune --dry-run` shows databases and worktrees that can go; `pnpm store prune` and `uv cache prune` free packages";
        found.push(DoctorFinding::new(id, title, fix).at(folder, None));
    }
    let low = |value: Option<u64>, least: u64| value.filter(|value| *value < least);
    if let Some(limit) = low(machine.open_files, OPEN_FILES) {
        let title =
            format!("a process may open only {limit} files, which is too few for watchers of servers");
        found.push(DoctorFinding::new(
            FindingId::OpenFilesLow,
            title,
            "ulimit -n 8192, in the shell or its start file",
        ));
    }
    let inotify = [
        (machine.watches, WATCHES, "max_user_watches", "524288", "folders"),
        (machine.watch_instances, WATCH_INSTANCES, "max_user_instances", "512", "watchers"),
    ];
    for (value, least, name, better, things) in inotify {
        if let Some(limit) = low(value, least) {
            let title = format!(
                "you may have only {limit} {things} watched at the same time, which is too few for several worktrees"
            );
            let fix = format!(
                "sudo sysctl fs.inotify.{name}={better}, and the same line in /etc/sysctl.d/ to keep it"
            );
            let file = format!("/proc/sys/fs/inotify/{name}");
            found.push(DoctorFinding::new(FindingId::WatchesLow, title, fix).at(file, None));
        }
    }
    if let Some(size) = low(machine.shared_memory, SHARED_MEMORY) {
        let title = format!("/dev/shm has {} MiB, which is too little for Postgres and Chromium", size >> 20);
        let fix = "start the container with --shm-size=1g, or mount -o remount,size=1g /dev/shm";
        found.push(DoctorFinding::new(FindingId::SharedMemorySmall, title, fix));
    }
    found.extend(names(facts));
    found
}

/// Returns a finding for each variable with a name below `localhost` that only browsers and curl resolve.
fn names(facts: &DoctorFacts) -> impl Iterator<Item = DoctorFinding> {
    let machine = &facts.machine;
    let is_unknown = |one: &&LocalAddress| {
        one.host.ends_with(".localhost")
            && machine.resolves_localhost == Some(false)
            && !machine.known_hosts.contains(&one.host)
    };
    facts.configuration.variables.iter().filter(is_unknown).map(|one| {
        let LocalAddress { name, host, at, .. } = one;
        let title = format!("{name} has the host {host}, which Node and Python do not resolve on this machine");
        let fix = format!(
            "write `localhost` in {name} if a server uses it, or add `127.0.0.1 {host}` to /etc/hosts; browsers need neither"
        );
        let finding = DoctorFinding::new(FindingId::LocalhostUnresolved, title, fix);
        match at {
            Some(at) => finding.at(&at.file, Some(at.line)),
            None => finding,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::MachineFacts;

    fn ids(machine: MachineFacts) -> Vec<&'static str> {
        let variable =
            LocalAddress { name: "API_URL".into(), host: "demo.localhost".into(), ..Default::default() };
        let mut facts = DoctorFacts { machine, ..DoctorFacts::default() };
        facts.configuration.variables = vec![variable];
        findings(&facts).iter().map(|finding| finding.id.name()).collect()
    }

    #[test]
    fn limits_are_reported_only_below_their_thresholds() {
        let machine = |low: bool| MachineFacts {
            disks: vec![("/a".into(), if low { 1 << 20 } else { 1 << 40 }), ("/b".into(), LOW)],
            open_files: Some(if low { 256 } else { 1024 }),
            watches: Some(if low { 8192 } else { 65_536 }),
            watch_instances: Some(128),
            shared_memory: Some(if low { 0 } else { 64 << 20 }),
            resolves_localhost: Some(!low),
            ..MachineFacts::default()
        };
        assert_eq!(ids(machine(false)), [""; 0]);
        assert_eq!(
            ids(machine(true)),
            ["disk-full", "open-files-low", "watches-low", "shared-memory-small", "localhost-unresolved"]
        );
        let known = MachineFacts {
            resolves_localhost: Some(false),
            known_hosts: ["demo.localhost".to_string()].into(),
            ..MachineFacts::default()
        };
        assert_eq!(ids(known), [""; 0]);
        assert_eq!(
            ids(MachineFacts { disks: vec![("/a".into(), FULL)], ..MachineFacts::default() }),
            ["disk-low"]
        );
    }
}
