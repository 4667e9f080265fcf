//! Findings about what runs have left behind, and servers that devrun does not supervise.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::super::finding::Repair;
use super::listed;
use crate::cleanup::decide::{self, Decision, Rules};
use crate::cleanup::facts::{CleanupFacts, RunFacts};
use crate::cleanup::servers::StrayServer;
use crate::doctor::facts::DoctorFacts;
use crate::doctor::finding::{DoctorFinding, FindingId};

/// The rules of a plain `devrun prune`, which do not matter for what runs leave.
pub const RULES: Rules = Rules { merged: false, older_than: Duration::from_hours(24) };

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let mut found = Vec::new();
    let dead: Vec<(u32, &Path)> = processes(&facts.runs).collect();
    if !dead.is_empty() {
        let pids = listed(dead.iter().map(|(pid, _)| pid));
        let title = format!("processes of runs whose devrun was killed still run: pid {pids}");
        let folders: BTreeSet<&Path> = dead.iter().map(|(_, folder)| *folder).collect();
        let finding = DoctorFinding::new(FindingId::OrphanedProcesses, title, "devrun prune --yes");
        found.push(finding.at_all(folders));
    }
    let removable = removable(&facts.runs);
    if !removable.is_empty() {
        let folders: BTreeSet<&Path> =
            removable.iter().map(|one| facts.runs[one.index].worktree.as_path()).collect();
        let title = format!(
            "runs that were killed, and worktrees that are gone, left {} of devrun",
            match removable.len() {
                1 => "a record".to_string(),
                count => format!("{count} sockets, records and leases"),
            }
        );
        let finding = DoctorFinding::new(
            FindingId::Leftovers,
            title,
            "devrun doctor --fix --yes, or devrun prune --yes",
        );
        found.push(finding.at_all(folders.into_iter().take(super::LISTED)).repaired_by(Repair::Leftovers));
    }
    let (gone, there): (Vec<&StrayServer>, Vec<&StrayServer>) = facts
        .servers
        .iter()
        .filter(|server| !server.is_left_by_a_run)
        .partition(|server| server.worktree_is_gone);
    found.extend(servers(FindingId::ServerWithoutWorktree, &gone, "whose worktree is gone"));
    found.extend(servers(FindingId::StrayServer, &there, "that devrun does not supervise"));
    found
}

/// Returns the decisions that remove sockets, records and leases without ending a process.
pub fn removable(runs: &[RunFacts]) -> Vec<Decision> {
    let facts = CleanupFacts { runs: runs.to_vec(), ..CleanupFacts::default() };
    let decisions = decide::decide(&facts, &RULES).into_iter();
    decisions.filter(|one| one.removes && runs[one.index].processes.is_empty()).collect()
}

fn processes(runs: &[RunFacts]) -> impl Iterator<Item = (u32, &Path)> {
    let idle = runs.iter().filter(|run| !(run.runs || run.is_locked && run.is_gone));
    idle.flat_map(|run| run.processes.iter().map(|(process, _)| (process.pid, run.worktree.as_path())))
}

fn servers(id: FindingId, servers: &[&StrayServer], which: &str) -> Option<DoctorFinding> {
    let shown = servers.iter().map(|server| {
        let ports: Vec<String> = server.ports.iter().map(ToString::to_string).collect();
        format!("pid {} on port {}", server.pid, ports.join(" and "))
    });
    let count = if servers.len() == 1 { "a server runs" } else { "servers run" };
    let title = format!("{count} {which}: {}", listed(shown));
    let ends: Vec<&str> = servers.iter().map(|server| server.end.as_str()).take(super::LISTED).collect();
    let fix = format!("{}; `devrun ls --strays` shows all of them", ends.join("; "));
    let folders: BTreeSet<&Path> = servers.iter().map(|server| server.worktree.as_path()).collect();
    (!servers.is_empty()).then(|| DoctorFinding::new(id, title, fix).at_all(folders))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::proc::ProcessEntry;

    fn ids(run: RunFacts) -> Vec<&'static str> {
        let facts = DoctorFacts { runs: vec![run], ..DoctorFacts::default() };
        findings(&facts).iter().map(|finding| finding.id.name()).collect()
    }

    fn gone() -> RunFacts {
        RunFacts {
            worktree: "/w/a".into(),
            is_gone: true,
            slot: Some(3),
            has_socket: true,
            ..RunFacts::default()
        }
    }

    #[test]
    fn files_of_ended_runs_are_removable_and_processes_are_not() {
        assert_eq!(ids(gone()), ["leftovers"]);
        assert_eq!(ids(RunFacts { runs: true, ..gone() }), [""; 0]);
        assert_eq!(ids(RunFacts { is_locked: true, ..gone() }), [""; 0]);
        let entry =
            ProcessEntry { pid: 7, parent: 1, group: 7, session: 7, state: 'S', threads: 1, started: 1 };
        let with_process = RunFacts { processes: vec![(entry, "sleep".into())], ..gone() };
        assert_eq!(ids(with_process), ["orphaned-processes"]);
        assert_eq!(ids(RunFacts { worktree: "/w/a".into(), slot: Some(3), ..RunFacts::default() }), [""; 0]);
    }
}
