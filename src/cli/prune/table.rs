//! The table of `devrun prune`: a group for each kind of thing, and a line for each thing.

use std::fmt::Write;

use crate::cleanup::decide::{Decision, LeftoverKind};
use crate::ui::style::harmless;

/// The widest name for which the reasons of a group are aligned.
const WIDEST: usize = 60;

/// Formats the table. `decisions` must be sorted by kind.
pub(super) fn text(decisions: &[Decision]) -> String {
    let mut out = String::new();
    for group in decisions.chunk_by(|one, other| one.kind == other.kind) {
        let _ = writeln!(out, "{}", title(group[0].kind));
        let kept = kept_clusters(group);
        let shown = group.iter().filter(|decision| kept < 2 || decision.removes);
        let rows: Vec<(String, &Decision)> = shown.map(|decision| (name(decision), decision)).collect();
        let lengths = rows.iter().map(|(name, _)| name.chars().count());
        let width = lengths.filter(|length| *length <= WIDEST).max().unwrap_or(0);
        for (name, decision) in rows {
            let action = if decision.removes { "remove" } else { "keep  " };
            let _ = writeln!(out, "  {action}  {name:width$}  {}", harmless(&decision.reason));
        }
        if kept >= 2 {
            let _ = writeln!(
                out,
                "  keep    {kept} of other repositories (`devrun prune --dry-run --json` has the reasons)"
            );
        }
        out.push('\n');
    }
    out
}

/// Returns the number of kept clusters in `group`. They belong to other repositories, and a line for each would be noise.
fn kept_clusters(group: &[Decision]) -> usize {
    group.iter().filter(|decision| decision.kind == LeftoverKind::Cluster && !decision.removes).count()
}

/// Returns the name of a thing. The command lines of processes are cut.
fn name(decision: &Decision) -> String {
    let name = harmless(&decision.name);
    if decision.kind == LeftoverKind::Process && name.chars().count() > WIDEST {
        return name.chars().take(WIDEST - 1).chain(['…']).collect();
    }
    name
}

const fn title(kind: LeftoverKind) -> &'static str {
    match kind {
        LeftoverKind::Process => "Processes of killed runs",
        LeftoverKind::Socket => "Sockets",
        LeftoverKind::Entry => "Registry entries",
        LeftoverKind::Record => "Run records",
        LeftoverKind::Lease => "Ports",
        LeftoverKind::Worktree => "Worktrees",
        LeftoverKind::Branch => "Branches",
        LeftoverKind::Database => "Branch databases",
        LeftoverKind::Cluster => "Database clusters",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_a_group_with_a_line_for_each_thing() {
        let decision = |kind, name: &str, removes, reason: &str| Decision {
            kind,
            name: name.into(),
            removes,
            reason: reason.into(),
            index: 0,
        };
        let server = "7 node /w/long/node_modules/.bin/next dev --hostname 127.0.0.1 --port 3188";
        let decisions = [
            decision(LeftoverKind::Process, server, true, "its devrun was killed"),
            decision(LeftoverKind::Process, "9 sleep 9", true, "its devrun was killed"),
            decision(LeftoverKind::Worktree, "/w/a", false, "it exists"),
            decision(LeftoverKind::Worktree, "/w/long", true, "its folder is gone"),
            decision(LeftoverKind::Database, "dev-x", true, "the branch x is gone"),
            decision(LeftoverKind::Cluster, "/pg/1", false, "the folder above /w is gone too"),
        ];
        insta::assert_snapshot!(text(&decisions), @r"
        Processes of killed runs
          remove  7 node /w/long/node_modules/.bin/next dev --hostname 127.0.…  its devrun was killed
          remove  9 sleep 9                                                     its devrun was killed

        Worktrees
          keep    /w/a     it exists
          remove  /w/long  its folder is gone

        Branch databases
          remove  dev-x  the branch x is gone

        Database clusters
          keep    /pg/1  the folder above /w is gone too
        ");
    }

    #[test]
    fn several_kept_clusters_are_one_line() {
        let decision = |name: &str, removes, reason: &str| Decision {
            kind: LeftoverKind::Cluster,
            name: name.into(),
            removes,
            reason: reason.into(),
            index: 0,
        };
        let decisions = [
            decision("/pg/1", false, "the folder above /w is gone too"),
            decision("/pg/2", true, "its repository /w is gone"),
            decision("/pg/3", false, "a devrun uses its server"),
        ];
        insta::assert_snapshot!(text(&decisions), @r"
        Database clusters
          remove  /pg/2  its repository /w is gone
          keep    2 of other repositories (`devrun prune --dry-run --json` has the reasons)
        ");
    }
}
