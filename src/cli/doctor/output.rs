//! The output of `devrun doctor`, as text and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use super::changes::Change;
use crate::doctor::{DoctorFinding, FindingId, Severity};
use crate::error::{Code, Report};
use crate::ui::console::Console;
use crate::ui::style::{Style, harmless};

/// The most findings of one id in the text.
const SAME: usize = 3;
/// The most lines of evidence of one finding in the text.
const LINES: usize = 3;

/// Returns the findings and their count. For a coding agent, notes are only counted, with the command that shows them.
pub(super) fn text(found: &[DoctorFinding], console: &Console) -> String {
    let least = if console.is_short() { Severity::Warning } else { Severity::Info };
    findings(found, least, console.style())
}

fn findings(found: &[DoctorFinding], least: Severity, style: Style) -> String {
    let mut out = String::new();
    let mut shown: BTreeMap<FindingId, usize> = BTreeMap::new();
    for finding in found.iter().filter(|finding| finding.id.severity() <= least) {
        let count = shown.entry(finding.id).or_default();
        *count += 1;
        if *count <= SAME {
            write(&mut out, finding, style);
        }
    }
    for (id, count) in shown.into_iter().filter(|(_, count)| *count > SAME) {
        let _ = writeln!(out, "{} more of {}: devrun doctor --json", count - SAME, id.name());
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let has_more = found.iter().any(|finding| finding.id.severity() > least);
    let more = if has_more { " (to show them: `devrun doctor --verbose`)" } else { "" };
    let _ = writeln!(out, "{}{more}", counts(found));
    out
}

fn write(out: &mut String, finding: &DoctorFinding, style: Style) {
    let (word, paint): (_, fn(Style, &str) -> String) = match finding.id.severity() {
        Severity::Error => ("error  ", Style::bad),
        Severity::Warning => ("warning", Style::warn),
        Severity::Info => ("note   ", Style::dim),
    };
    let id = style.dim(&format!("[{}]", finding.id.name()));
    let _ = writeln!(out, "{} {} {id}", paint(style, word), harmless(&finding.title).replace('\n', " "));
    for one in finding.evidence.iter().take(LINES) {
        let line = one.line.map(|line| format!(":{line}")).unwrap_or_default();
        let _ =
            writeln!(out, "        {}{line}", harmless(&one.file.display().to_string()).replace('\n', " "));
    }
    if finding.evidence.len() > LINES {
        let _ = writeln!(out, "        and {} more", finding.evidence.len() - LINES);
    }
    let mut lines = finding.fix.lines();
    let _ = writeln!(out, "        fix: {}", harmless(lines.next().unwrap_or_default()));
    for line in lines.filter(|line| !line.trim().is_empty()) {
        let _ = writeln!(out, "          {}", harmless(line));
    }
}

fn counts(found: &[DoctorFinding]) -> String {
    let count = |severity, word: &str| {
        let count = found.iter().filter(|finding| finding.id.severity() == severity).count();
        format!("{count} {word}{}", if count == 1 { "" } else { "s" })
    };
    let counts =
        [count(Severity::Error, "error"), count(Severity::Warning, "warning"), count(Severity::Info, "note")];
    counts.join(", ")
}

/// Returns the changes that `--fix` would make.
pub(super) fn planned(changes: &[Change]) -> String {
    changes.iter().fold(String::new(), |mut text, change| {
        if text.is_empty() {
            text.push_str("\nChanges:\n");
        }
        let _ = writeln!(text, "  {}", harmless(&change.text));
        text
    })
}

/// Returns the result of the changes.
pub(super) fn made(changes: &[Change], failures: &[Report], left: &[DoctorFinding]) -> String {
    let made = changes.len() - failures.len();
    let mut text =
        format!("Made {made} change{}. Left: {}\n", if made == 1 { "" } else { "s" }, counts(left));
    for failure in failures {
        let _ = writeln!(text, "failed: {}", harmless(&failure.message));
    }
    text
}

/// Returns the answer for JSON. `failures` is `None` if no change was made.
pub(super) fn object(found: &[DoctorFinding], changes: &[Change], failures: Option<&[Report]>) -> Value {
    let count = |severity| found.iter().filter(|finding| finding.id.severity() == severity).count();
    let errors = count(Severity::Error);
    let failed: Vec<&String> = failures.into_iter().flatten().map(|report| &report.message).collect();
    json!({
        "code": (errors > 0).then(|| Code::ProblemsFound.name()),
        "findings": found.iter().map(DoctorFinding::object).collect::<Vec<_>>(),
        "counts": { "error": errors, "warning": count(Severity::Warning), "info": count(Severity::Info) },
        "changes": changes.iter().map(|change| &change.text).collect::<Vec<_>>(),
        "changed": failures.is_some(),
        "failures": failed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: FindingId, title: &str, fix: &str) -> DoctorFinding {
        DoctorFinding { id, title: title.into(), evidence: Vec::new(), fix: fix.into(), repair: None }
    }

    #[test]
    fn findings_have_their_id_place_and_fix_and_end_with_counts() {
        let mut shared =
            finding(FindingId::DatabaseShared, "A names a Postgres\u{1b}[2J", "add:\ndatabase: x");
        shared.evidence.push(crate::doctor::EvidenceLine { file: ".env".into(), line: Some(3) });
        let found = [shared, finding(FindingId::HookMissing, "no hook", "devrun hook install")];
        insta::assert_snapshot!(findings(&found, Severity::Info, Style::PLAIN), @r"
        warning A names a Postgres�[2J [database-shared]
                .env:3
                fix: add:
                  database: x
        note    no hook [hook-missing]
                fix: devrun hook install

        0 errors, 1 warning, 1 note
        ");
        insta::assert_snapshot!(findings(&found, Severity::Warning, Style::PLAIN), @r"
        warning A names a Postgres�[2J [database-shared]
                .env:3
                fix: add:
                  database: x

        0 errors, 1 warning, 1 note (to show them: `devrun doctor --verbose`)
        ");
        insta::assert_snapshot!(findings(&[], Severity::Info, Style::PLAIN), @"0 errors, 0 warnings, 0 notes");
    }

    #[test]
    fn many_findings_of_one_kind_are_cut() {
        let found: Vec<_> =
            (0..5).map(|n| finding(FindingId::PortInCode, &format!("port {n}"), "x")).collect();
        let text = findings(&found, Severity::Info, Style::PLAIN);
        assert!(text.contains("port 2") && !text.contains("port 3"), "{text}");
        assert!(text.contains("2 more of port-in-code"), "{text}");
    }
}
