//! Binds variables that hold the address of one of the repository's own parts.

use super::super::facts::ReadConstruct;
use super::super::parts::{Part, PartKind};
use super::address::Address;
use super::builder::ContractBuilder;
use super::evidence::{Evidence, Strength, VariableValue, View};
use super::names::{
    ProductSide, is_backend_address, is_host, is_page_origin, is_port, is_socket_address, side,
};
use super::owners::{Owner, choose, owner};
use super::{Reason, RemarkKind};

/// Binds each variable that holds the address of a part, and keeps the form of its value.
pub(super) fn bind(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut ContractBuilder<'_>) {
    for view in views.iter().filter(|view| concerns(evidence, view)) {
        for value in view.deciding() {
            match rewritten(evidence, view, value) {
                Rewritten::To(text) => {
                    draft.bind(view, text, Reason::OwnAddress, value.at);
                    break;
                }
                Rewritten::Unclear(names) => {
                    let text = format!(
                        "{} is the address of {}, and its name does not say which",
                        view.name,
                        names.join(" or ")
                    );
                    let fix = format!("env: {{ {}: http://localhost:${{ports.{}}} }}", view.name, names[0]);
                    draft.remark(RemarkKind::Undecided, value.at, text, Some(fix));
                    break;
                }
                Rewritten::No => {}
            }
        }
    }
}

/// Binds variables without a value, if their name clearly means the address of the only backend, or of the pages. Runs
/// after [`bind`], and takes the path from the addresses that were bound there.
pub(super) fn bind_unset(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut ContractBuilder<'_>) {
    for view in views.iter().filter(|view| !view.reads.is_empty() && !view.set) {
        let Some(reader) = view.part else { continue };
        let Some(at) = view.read_at() else { continue };
        let known = view.values.iter().any(|value| !is_placeholder_of(value)) || defaults_to_nothing(view);
        if known || draft.has(view.name, view.part) || is_host(view.name) {
            continue;
        }
        if is_backend_address(view.name) && evidence.part(reader).kind == PartKind::Frontend {
            unset_backend(evidence, view, draft);
        } else if is_page_origin(view.name)
            && let Owner::Part(part) =
                choose(evidence, view.name, Some(reader), evidence.with_port(PartKind::Frontend))
        {
            let text = format!("http://localhost:${{ports.{}}}", evidence.part(part).name);
            draft.bind(view, text, Reason::OwnAddress, at);
        }
    }
}

fn unset_backend(evidence: &Evidence<'_>, view: &View<'_>, draft: &mut ContractBuilder<'_>) {
    let Some(at) = view.at() else { return };
    let backends = evidence.with_port(PartKind::Backend);
    let fix = |part: &str| Some(format!("env: {{ {}: http://localhost:${{ports.{part}}} }}", view.name));
    let [backend] = backends.as_slice() else {
        if let Some(first) = backends.first() {
            let text = format!("{} has no value, and there are {} backends", view.name, backends.len());
            draft.remark(RemarkKind::Undecided, at, text, fix(&evidence.part(*first).name));
        }
        return;
    };
    let name = &evidence.part(*backend).name;
    let start = format!("${{ports.{name}}}");
    let mut paths: Vec<String> = draft
        .values(Reason::OwnAddress)
        .filter(|(other, _)| is_socket_address(other) == is_socket_address(view.name))
        .filter_map(|(_, value)| {
            value.split_once(&start).map(|(_, path)| path.trim_end_matches('/').to_string())
        })
        .collect();
    paths.sort();
    paths.dedup();
    match paths.as_slice() {
        [] => draft.bind(view, url(view.name, &start, ""), Reason::OwnAddress, at),
        [path] => draft.bind(view, url(view.name, &start, path), Reason::OwnAddress, at),
        several => {
            let text = format!(
                "{} has no value, and other addresses of {name} have the paths {}",
                view.name,
                several.join(", ")
            );
            draft.remark(RemarkKind::Undecided, at, text, fix(name));
        }
    }
}

fn url(name: &str, port: &str, path: &str) -> String {
    let scheme = if is_socket_address(name) { "ws" } else { "http" };
    format!("{scheme}://localhost:{port}{path}")
}

/// Returns true for a value from an example, script, compose file or Dockerfile that is only a placeholder.
fn is_placeholder_of(value: &VariableValue<'_>) -> bool {
    value.strength != Strength::Person
        && value.strength != Strength::Default
        && super::names::is_placeholder(value.text)
}

/// Returns true if the code's default is an empty text. The page then sends requests to its own origin.
fn defaults_to_nothing(view: &View<'_>) -> bool {
    view.reads.iter().any(|read| read.default.as_deref().is_some_and(|text| text.trim().is_empty()))
}

/// Returns true if the variable may be bound: a part reads it, or a Python program may read it in a way that
/// recognition does not see.
fn concerns(evidence: &Evidence<'_>, view: &View<'_>) -> bool {
    if computed(evidence, view.name) {
        return false;
    }
    if view.part.is_some()
        || view.reads.iter().any(|read| matches!(read.by, ReadConstruct::Python | ReadConstruct::Settings))
    {
        return true;
    }
    let frontends = evidence.parts.processes.iter().filter(|part| part.kind == PartKind::Frontend);
    let of_frontend = |part: &Part| {
        let folder = super::evidence::without_dots(&part.directory);
        !folder.as_os_str().is_empty() && view.values.iter().all(|value| value.at.file.starts_with(&folder))
    };
    let bundled = ["NEXT_", "VITE_", "REACT_APP_", "NUXT_", "EXPO_", "PUBLIC_"]
        .iter()
        .any(|prefix| view.name.starts_with(prefix));
    let stated = view.values.iter().any(|value| value.strength <= Strength::Example);
    stated
        && !bundled
        && !frontends.into_iter().any(of_frontend)
        && evidence.with_port(PartKind::Backend).len() == 1
}

/// Returns true if devrun sets this variable for every process anyway.
pub(super) fn computed(evidence: &Evidence<'_>, name: &str) -> bool {
    name == "PORT"
        || name.starts_with("DEVRUN_")
        || evidence.parts.processes.iter().any(|part| port_variable(&part.name) == name)
}

/// Returns the variable that holds the port of that name.
pub(super) fn port_variable(part: &str) -> String {
    format!("{}_PORT", part.to_uppercase().replace('-', "_"))
}

enum Rewritten {
    To(String),
    Unclear(Vec<String>),
    No,
}

fn rewritten(evidence: &Evidence<'_>, view: &View<'_>, value: &VariableValue<'_>) -> Rewritten {
    if is_port(view.name) {
        return port(evidence, view, value).map_or(Rewritten::No, Rewritten::To);
    }
    let Some(address) = Address::parse(value.text) else { return Rewritten::No };
    if address.scheme.is_none() && address.port.is_none() {
        return Rewritten::No;
    }
    // A query may contain a secret of the user, and bindings are printed.
    if value.strength == Strength::Person && address.rest.contains(['?', '#']) {
        return Rewritten::No;
    }
    match owner(evidence, view.name, view.part, &address) {
        Owner::Part(part) => Rewritten::To(address.at(&evidence.part(part).name)),
        Owner::Several(parts) => {
            Rewritten::Unclear(parts.iter().map(|part| evidence.part(*part).name.clone()).collect())
        }
        Owner::Other => Rewritten::No,
    }
}

/// Returns the value for a variable that holds only a port, if the name says which part it belongs to and the number is
/// a usual port of that part.
fn port(evidence: &Evidence<'_>, view: &View<'_>, value: &VariableValue<'_>) -> Option<String> {
    let number: u16 = value.text.parse().ok()?;
    let side = side(view.name)?;
    let kind = if side == ProductSide::Backend { PartKind::Backend } else { PartKind::Frontend };
    let fit = evidence
        .with_port(kind)
        .into_iter()
        .filter(|part| evidence.part(*part).usual_ports.contains(&number));
    match choose(evidence, view.name, view.part, fit.collect()) {
        Owner::Part(part) => Some(format!("${{ports.{}}}", evidence.part(part).name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::Giver;
    use super::super::test_repo::{TestRepo, part};
    use super::super::{Reason, RemarkKind};
    use super::*;

    #[test]
    fn each_variable_that_names_the_backend_gets_this_worktrees_address_in_the_same_form() {
        let contract = TestRepo::new()
            .env("frontend/.env.example", "NEXT_PUBLIC_ROOT=http://127.0.0.1:8000/api/v1/\nUPSTREAM=localhost:8000\nLIVE=wss://localhost:8000/ws")
            .reads("frontend/lib/api.ts", &["NEXT_PUBLIC_ROOT", "UPSTREAM", "LIVE", "API_ORIGIN=http://localhost:8000"])
            .bind();
        assert_eq!(contract.value("NEXT_PUBLIC_ROOT"), Some("http://127.0.0.1:${ports.backend}/api/v1/"));
        assert_eq!(contract.value("UPSTREAM"), Some("localhost:${ports.backend}"));
        assert_eq!(contract.value("LIVE"), Some("ws://localhost:${ports.backend}/ws"));
        assert_eq!(contract.value("API_ORIGIN"), Some("http://localhost:${ports.backend}"));
        assert_eq!(contract.reason("LIVE"), Some(Reason::OwnAddress));
    }

    #[test]
    fn the_name_of_a_container_is_this_machine_here() {
        let contract = TestRepo::new()
            .given(
                "compose.yaml",
                9,
                "INTERNAL",
                "http://backend:8000",
                Giver::Compose("frontend".to_string()),
            )
            .reads("frontend/lib/api.ts", &["INTERNAL"])
            .bind();
        assert_eq!(contract.value("INTERNAL"), Some("http://localhost:${ports.backend}"));
    }

    #[test]
    fn a_binding_names_the_line_that_gives_the_value_and_the_line_that_reads_it() {
        let contract = TestRepo::new()
            .env("frontend/.env.example", "A=1\nAPI_URL=http://localhost:8000")
            .reads("frontend/lib/api.ts", &["API_URL"])
            .bind();
        let binding = &contract.bindings[0];
        assert_eq!(binding.at, super::super::test_repo::spot("frontend/.env.example", 2));
        assert_eq!(binding.read_at, Some(super::super::test_repo::spot("frontend/lib/api.ts", 1)));
    }

    #[test]
    fn the_persons_own_local_value_decides_over_the_example_and_its_remote_value_stays() {
        let repo = |own: &str| {
            TestRepo::new()
                .env("frontend/.env.local", own)
                .env("frontend/.env.example", "API_URL=http://localhost:8000")
                .reads("frontend/lib/api.ts", &["API_URL"])
                .bind()
        };
        assert_eq!(
            repo("API_URL=http://localhost:8000/v2").value("API_URL"),
            Some("http://localhost:${ports.backend}/v2")
        );
        assert_eq!(repo("API_URL=https://api.example.net").value("API_URL"), None);
        // An empty line sets nothing: the code's default or the example decides.
        assert_eq!(repo("API_URL=").value("API_URL"), Some("http://localhost:${ports.backend}"));
    }

    #[test]
    fn a_variable_that_no_code_of_the_frontend_reads_is_not_bound() {
        let contract =
            TestRepo::new().env("frontend/.env.example", "NEXT_PUBLIC_OLD=http://localhost:8000").bind();
        assert_eq!(contract.bindings, []);
    }

    #[test]
    fn bare_port_is_bound_if_the_variable_names_its_part() {
        let contract = TestRepo::new()
            .part(part("admin", PartKind::Frontend, "vite", &[5173]))
            .env("frontend/.env.example", "API_PORT=8000\nSMTP_PORT=8000\nBACKEND_PORT=8000")
            .reads("frontend/next.config.ts", &["API_PORT", "SMTP_PORT", "BACKEND_PORT"])
            .bind();
        assert_eq!(contract.value("API_PORT"), Some("${ports.backend}"));
        assert_eq!(contract.value("SMTP_PORT"), None);
        // devrun computes this variable for every process.
        assert_eq!(contract.value("BACKEND_PORT"), None);
    }

    #[test]
    fn equal_default_ports_are_distinguished_by_name_or_reported() {
        let contract = TestRepo::new()
            .part(part("admin", PartKind::Frontend, "next dev", &[3000]))
            .env("backend/.env.example", "ADMIN_URL=http://localhost:3000\nHOME_URL=http://localhost:3000")
            .reads("backend/app/settings.py", &["ADMIN_URL", "HOME_URL"])
            .bind();
        assert_eq!(contract.value("ADMIN_URL"), Some("http://localhost:${ports.admin}"));
        assert_ne!(contract.reason("HOME_URL"), Some(Reason::OwnAddress));
        assert_eq!(
            contract.said(RemarkKind::Undecided),
            ["HOME_URL is the address of frontend or admin, and its name does not say which"]
        );
    }

    #[test]
    fn one_name_with_two_values_is_bound_per_process() {
        let contract = TestRepo::new()
            .env("frontend/.env.example", "SELF_URL=http://localhost:3000")
            .env("backend/.env.example", "SELF_URL=http://localhost:8000")
            .reads("frontend/lib/self.ts", &["SELF_URL"])
            .reads("backend/app/settings.py", &["SELF_URL"])
            .bind();
        assert_eq!(
            contract.value_for("SELF_URL", Some("frontend")),
            Some("http://localhost:${ports.frontend}")
        );
        assert_eq!(
            contract.value_for("SELF_URL", Some("backend")),
            Some("http://localhost:${ports.backend}")
        );
    }

    #[test]
    fn a_part_that_keeps_its_value_is_not_bound_by_another_part() {
        let contract = TestRepo::new()
            .env("frontend/.env.local", "API_URL=https://api.example.net")
            .env("backend/.env.example", "API_URL=http://localhost:8000")
            .reads("frontend/lib/api.ts", &["API_URL"])
            .reads("backend/app/settings.py", &["API_URL"])
            .bind();
        assert_eq!(contract.value("API_URL"), None);
        assert_eq!(contract.value_for("API_URL", Some("backend")), Some("http://localhost:${ports.backend}"));
        assert_eq!(contract.value_for("API_URL", Some("frontend")), None);
    }

    #[test]
    fn unset_variable_gets_the_only_backend_and_the_path_of_other_addresses() {
        let plain = TestRepo::new()
            .reads("frontend/lib/api.ts", &["NEXT_PUBLIC_API_URL", "OPENAI_API_BASE_URL"])
            .bind();
        assert_eq!(plain.value("NEXT_PUBLIC_API_URL"), Some("http://localhost:${ports.backend}"));
        assert_eq!(plain.value("OPENAI_API_BASE_URL"), None);
        let with_path = TestRepo::new()
            .reads(
                "frontend/lib/api.ts",
                &["NEXT_PUBLIC_API_URL", "API_INTERNAL_URL=http://127.0.0.1:8000/api"],
            )
            .bind();
        assert_eq!(with_path.value("NEXT_PUBLIC_API_URL"), Some("http://localhost:${ports.backend}/api"));
    }

    #[test]
    fn an_unset_variable_stays_unset_where_the_page_asks_its_own_origin() {
        let contract = TestRepo::new()
            .reads("frontend/lib/api.ts", &["NEXT_PUBLIC_API_URL=", "VITE_API_URL=/api"])
            .bind();
        assert_eq!(contract.bindings, []);
    }

    #[test]
    fn an_unset_variable_with_two_backends_is_reported() {
        let contract = TestRepo::new()
            .part(part("billing", PartKind::Backend, "uvicorn billing:app", &[8001]))
            .reads("frontend/lib/api.ts", &["GATEWAY_API_URL"])
            .bind();
        assert_eq!(contract.value("GATEWAY_API_URL"), None);
        assert_eq!(
            contract.said(RemarkKind::Undecided),
            ["GATEWAY_API_URL has no value, and there are 2 backends"]
        );
    }

    #[test]
    fn the_pages_own_address_is_this_worktrees() {
        let contract = TestRepo::new()
            .env("frontend/.env.example", "NEXTAUTH_URL=http://localhost:3000/api/auth")
            .env("backend/.env.example", "FRONTEND_HOST=http://localhost")
            .reads("frontend/auth.ts", &["NEXTAUTH_URL", "NEXT_PUBLIC_APP_URL"])
            .reads("backend/app/settings.py", &["FRONTEND_HOST"])
            .bind();
        assert_eq!(contract.value("NEXTAUTH_URL"), Some("http://localhost:${ports.frontend}/api/auth"));
        assert_eq!(contract.value("NEXT_PUBLIC_APP_URL"), Some("http://localhost:${ports.frontend}"));
        assert_eq!(contract.value("FRONTEND_HOST"), Some("http://localhost:${ports.frontend}"));
    }

    #[test]
    fn a_port_of_another_container_is_no_part() {
        let contract = TestRepo::new()
            .service("mailcatcher", "schickling/mailcatcher", &[(1080, 1080)])
            .env("frontend/.env.example", "MAIL_URL=http://localhost:1080\nAPI_URL=http://localhost:1080")
            .reads("frontend/lib/mail.ts", &["MAIL_URL", "API_URL"])
            .bind();
        assert_eq!(contract.bindings, []);
    }
}
