//! Findings about a database that cannot be used, and databases that several worktrees would share.

use super::listed;
use crate::doctor::facts::DoctorFacts;
use crate::doctor::finding::{DoctorFinding, FindingId};
use crate::recognition::contract::{Remark, RemarkKind};

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let mut found: Vec<DoctorFinding> = facts.code.remarks.iter().filter_map(in_code).collect();
    if let Some((report, at)) = &facts.configuration.unreachable_database {
        let fix =
            report.fix.clone().unwrap_or_else(|| "correct the cause, then run `devrun doctor` again".into());
        let said = report.cause.as_deref().and_then(|cause| cause.lines().next());
        let title = said.map_or_else(|| report.message.clone(), |said| format!("{}: {said}", report.message));
        let finding = DoctorFinding::new(FindingId::DatabaseUnreachable, title, fix);
        found.push(match at {
            Some(at) => finding.at(&at.file, Some(at.line)),
            None => finding,
        });
    }
    if let Some(notice) = &facts.configuration.other_databases {
        let fix = notice.fix.as_ref().map_or_else(
            || "give it a database of this worktree, or remove it from the env file".into(),
            |lines| format!("add to devrun.yaml:\n{lines}"),
        );
        found.push(DoctorFinding::new(FindingId::DatabaseShared, &notice.text, fix));
    }
    let foreign = &facts.configuration.foreign;
    if let Some(first) = foreign.first() {
        let names = listed(foreign.iter().map(|one| &one.name));
        let title = format!(
            "{names} of this shell leads into the worktree {}: devrun leaves that out, other commands use it",
            first.worktree.display()
        );
        let fix =
            format!("unset {}", foreign.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(" "));
        found.push(DoctorFinding::new(FindingId::VariableForeign, title, fix));
    }
    found
}

fn in_code(remark: &Remark) -> Option<DoctorFinding> {
    let fix = remark.fix.as_ref().filter(|_| remark.kind == RemarkKind::FixedDatabase)?;
    let finding = DoctorFinding::new(FindingId::DatabaseInCode, &remark.text, format!("write {fix}"));
    Some(finding.at(&remark.at.file, Some(remark.at.line)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::ConfigurationFacts;
    use crate::error::{Code, Report};
    use crate::plan::{FileLine, ForeignVariable, Notice};

    #[test]
    fn each_way_to_a_shared_database_is_a_finding_and_so_is_one_that_cannot_be_used() {
        let foreign =
            |name: &str| ForeignVariable { name: name.into(), worktree: "/r/main".into(), is_partial: false };
        let unreachable = Report::new(Code::DatabaseUnavailable, "the engine does not run")
            .with_cause("Cannot connect\nto it")
            .with_fix("start it");
        let configuration = ConfigurationFacts {
            unreachable_database: Some((unreachable, Some(FileLine { file: "devrun.yaml".into(), line: 2 }))),
            other_databases: Some(Notice {
                text: "A names a Postgres".into(),
                fix: Some("database:\n  x".into()),
            }),
            foreign: vec![foreign("PYTHONPATH"), foreign("NODE_PATH")],
            ..ConfigurationFacts::default()
        };
        let mut facts = DoctorFacts { configuration, ..DoctorFacts::default() };
        facts.code.remarks = [RemarkKind::FixedDatabase, RemarkKind::RequiredKey]
            .map(|kind| Remark {
                at: FileLine { file: "db.py".into(), line: 4 },
                kind,
                text: "the code has the URL".into(),
                fix: Some("os.environ[\"DATABASE_URL\"]".into()),
                without_modules: None,
            })
            .into();
        let found: Vec<(&str, String)> =
            findings(&facts).into_iter().map(|finding| (finding.id.name(), finding.fix)).collect();
        assert_eq!(
            found,
            [
                ("database-in-code", "write os.environ[\"DATABASE_URL\"]".to_string()),
                ("database-unreachable", "start it".into()),
                ("database-shared", "add to devrun.yaml:\ndatabase:\n  x".into()),
                ("variable-foreign", "unset PYTHONPATH NODE_PATH".into()),
            ]
        );
    }
}
