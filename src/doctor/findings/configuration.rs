//! Findings about the configuration as a whole.

use crate::doctor::facts::DoctorFacts;
use crate::doctor::finding::{DoctorFinding, FindingId};
use crate::error::Code;

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let Some(report) = &facts.configuration.refusal else { return Vec::new() };
    let id = match report.code {
        Code::ConfigMissing => FindingId::ConfigurationMissing,
        Code::ConfigInvalid | Code::VariableMissing => FindingId::ConfigurationInvalid,
        _ => FindingId::PlanFails,
    };
    // The cause of a missing configuration lists all files that were searched.
    let cause = report.cause.as_deref().filter(|_| id != FindingId::ConfigurationMissing);
    let cause = cause.and_then(|cause| cause.lines().next());
    let title = cause.map_or(report.message.clone(), |cause| format!("{} ({cause})", report.message));
    let fix = report.fix.clone().unwrap_or_else(|| "correct it; `devrun plan` shows the whole error".into());
    vec![DoctorFinding::new(id, title, fix)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::ConfigurationFacts;
    use crate::error::Report;

    #[test]
    fn a_refused_configuration_keeps_message_cause_and_fix() {
        let found = |code| {
            let report = Report::new(code, "no").with_cause("line 1\nmore").with_fix("do it");
            let configuration = ConfigurationFacts { refusal: Some(report), ..ConfigurationFacts::default() };
            let found = findings(&DoctorFacts { configuration, ..DoctorFacts::default() });
            (found[0].id, found[0].title.clone(), found[0].fix.clone())
        };
        let wanted = |id| (id, "no (line 1)".to_string(), "do it".to_string());
        let missing = (FindingId::ConfigurationMissing, "no".to_string(), "do it".to_string());
        assert_eq!(found(Code::ConfigMissing), missing);
        assert_eq!(found(Code::VariableMissing), wanted(FindingId::ConfigurationInvalid));
        assert_eq!(found(Code::PortsExhausted), wanted(FindingId::PlanFails));
    }
}
