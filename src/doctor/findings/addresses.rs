//! Findings about ports that the code, variables or URLs fix, although each worktree has its own.

use crate::doctor::facts::{ConfigurationFacts, DoctorFacts, LocalAddress};
use crate::doctor::finding::{DoctorFinding, FindingId};
use crate::recognition::contract::{Remark, RemarkKind};

pub(super) fn findings(facts: &DoctorFacts) -> Vec<DoctorFinding> {
    let remarks = facts.code.remarks.iter().filter_map(|remark| in_code(remark, &facts.configuration));
    let variables = facts.configuration.variables.iter().filter_map(|one| in_variable(facts, one));
    let urls = facts.configuration.urls.iter().filter_map(|one| in_url(facts, one));
    remarks.chain(variables).chain(urls).collect()
}

fn in_code(remark: &Remark, configuration: &ConfigurationFacts) -> Option<DoctorFinding> {
    let id = match remark.kind {
        RemarkKind::FixedAddress => FindingId::PortInCode,
        RemarkKind::Redirected if configuration.redirects.is_empty() => FindingId::PortInCode,
        RemarkKind::Redirected => FindingId::PortRedirected,
        _ => return None,
    };
    let fix = remark.fix.as_ref().map_or_else(
        || "read the port from a variable that devrun sets (`devrun env` lists them)".into(),
        |line| format!("write {line}"),
    );
    Some(DoctorFinding::new(id, &remark.text, fix).at(&remark.at.file, Some(remark.at.line)))
}

/// Returns the name of this worktree's port in place of `port`, if `port` is one that the product usually has and this worktree does
/// not. `NAME` if the configuration has no port of that name.
fn replacement(facts: &DoctorFacts, port: u16) -> Option<&str> {
    let ConfigurationFacts { ports, bases, redirects, .. } = &facts.configuration;
    let name = bases.get(&port).or_else(|| facts.code.usual_ports.get(&port))?;
    if ports.values().any(|own| *own == port) || redirects.contains(&port) {
        return None;
    }
    Some(if ports.contains_key(name) { name } else { "NAME" })
}

fn in_variable(facts: &DoctorFacts, one: &LocalAddress) -> Option<DoctorFinding> {
    let port = one.port?;
    let name = replacement(facts, port)?;
    let title = format!(
        "{} leads to port {port}, which is not a port of this worktree: another copy of the product may answer there",
        one.name
    );
    let fix =
        format!("set it in devrun.yaml: env: {{ {}: \"http://{}:${{ports.{name}}}\" }}", one.name, one.host);
    Some(placed(DoctorFinding::new(FindingId::PortInVariable, title, fix), one))
}

fn in_url(facts: &DoctorFacts, one: &LocalAddress) -> Option<DoctorFinding> {
    let port = one.port?;
    let name = replacement(facts, port)?;
    let title = format!("the URL {} has port {port}, which is not a port of this worktree", one.name);
    let fix = format!("write `${{ports.{name}}}` in place of {port}");
    Some(placed(DoctorFinding::new(FindingId::PortInUrl, title, fix), one))
}

fn placed(finding: DoctorFinding, one: &LocalAddress) -> DoctorFinding {
    match &one.at {
        Some(at) => finding.at(&at.file, Some(at.line)),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::FileLine;

    fn facts(configuration: ConfigurationFacts) -> DoctorFacts {
        let mut facts = DoctorFacts { configuration, ..DoctorFacts::default() };
        facts.configuration.ports = [("web".to_string(), 3147)].into();
        facts.configuration.bases = [(3100, "web".to_string())].into();
        facts.code.usual_ports = [(3000, "web".to_string())].into();
        facts
    }

    fn address(port: u16) -> LocalAddress {
        let at = Some(FileLine { file: ".env".into(), line: 2 });
        LocalAddress { name: "API_URL".into(), host: "localhost".into(), port: Some(port), at }
    }

    #[test]
    fn variables_and_urls_with_a_usual_port_of_another_copy_are_reported() {
        for (port, count) in [(3000, 2), (3100, 2), (3147, 0), (8025, 0)] {
            let (variables, urls) = (vec![address(port)], vec![address(port)]);
            let found = findings(&facts(ConfigurationFacts { urls, variables, ..Default::default() }));
            assert_eq!(found.len(), count, "{port}");
        }
        let found =
            findings(&facts(ConfigurationFacts { variables: vec![address(3000)], ..Default::default() }));
        assert_eq!(
            found[0].fix,
            "set it in devrun.yaml: env: { API_URL: \"http://localhost:${ports.web}\" }"
        );
        assert_eq!(found[0].evidence[0].line, Some(2));
    }

    #[test]
    fn a_redirected_port_is_harmless_only_if_devrun_redirects_it() {
        let remark = Remark {
            at: FileLine { file: "next.config.js".into(), line: 3 },
            kind: RemarkKind::Redirected,
            text: "the code has port 8000".into(),
            fix: Some("`x`".into()),
            without_modules: None,
        };
        let id = |redirects: &[u16]| {
            let mut facts = facts(ConfigurationFacts::default());
            facts.configuration.redirects = redirects.iter().copied().collect();
            facts.code.remarks = vec![remark.clone()];
            findings(&facts)[0].id
        };
        assert_eq!(id(&[8000]), FindingId::PortRedirected);
        assert_eq!(id(&[]), FindingId::PortInCode);
    }
}
