//! Reports addresses in code that no variable can change, and redirects them if that is certain to be right.

use std::path::Path;

use super::super::facts::{FixedAddress, FixedDatabase, ReadConstruct};
use super::super::parts::{PartKind, PartPort};
use super::addresses::port_variable;
use super::builder::ContractBuilder;
use super::evidence::{Evidence, is_product};
use super::{Remark, RemarkKind};

/// Reports each fixed address of a part, and redirects those that server-side Node code connects to.
pub(super) fn report(evidence: &Evidence<'_>, draft: &mut ContractBuilder<'_>) {
    for address in evidence.facts.addresses.iter().filter(|address| is_product(&address.at.file)) {
        let owners = owners(evidence, address.port);
        match owners.as_slice() {
            [] => {}
            [one] => one_owner(evidence, address, *one, draft),
            several => {
                let names: Vec<&str> =
                    several.iter().map(|part| evidence.part(*part).name.as_str()).collect();
                let text = format!(
                    "{} is in the code, and port {} is that of {}",
                    address.text,
                    address.port,
                    names.join(" and ")
                );
                draft.remark(RemarkKind::FixedAddress, &address.at, text, None);
            }
        }
    }
}

/// Reports each address of a Postgres in Python code of a part.
pub(super) fn report_databases(evidence: &Evidence<'_>, draft: &mut ContractBuilder<'_>) {
    for FixedDatabase { at, port } in &evidence.facts.databases {
        if !is_product(&at.file) || evidence.readers(&at.file, ReadConstruct::Python).is_empty() {
            continue;
        }
        let (text, fix) = match port {
            None => (
                "the code has the URL of a Postgres, and no variable can change it: it is not this worktree's database"
                    .to_string(),
                "os.environ[\"DATABASE_URL\"]".to_string(),
            ),
            Some((port, read)) => (
                format!("the code has port {port} of a Postgres, and no variable can change it: this worktree's has another"),
                format!("\"PORT\": {read},"),
            ),
        };
        draft.remark(RemarkKind::FixedDatabase, at, text, Some(fix));
    }
}

fn owners(evidence: &Evidence<'_>, port: u16) -> Vec<usize> {
    let parts = evidence.parts.processes.iter().enumerate();
    let fit = parts.filter(|(_, part)| part.port != PartPort::None && part.usual_ports.contains(&port));
    fit.map(|(index, _)| index).collect()
}

fn one_owner(evidence: &Evidence<'_>, address: &FixedAddress, owner: usize, draft: &mut ContractBuilder<'_>) {
    let part = evidence.part(owner);
    let variable = port_variable(&part.name);
    let fix = Some(line(evidence, address, owner));
    if address.origin {
        let text = format!(
            "the code allows the origin {}; this worktree's {} has another port ({variable})",
            address.text, part.name
        );
        draft.remark(RemarkKind::FixedAddress, &address.at, text, fix);
    } else if address.server == Some(true) && is_javascript(&address.at.file) {
        draft.redirects.push((address.port, part.name.clone(), address.at.clone()));
        let sentence = |what: &str| {
            format!("the code has port {}; {what} to this worktree's {}", address.port, part.name)
        };
        draft.add_remark(Remark {
            at: address.at.clone(),
            kind: RemarkKind::Redirected,
            text: sentence("connections of Node to it are redirected"),
            fix,
            without_modules: Some(sentence(
                "`node_preload: false` keeps devrun from redirecting connections to it",
            )),
        });
    } else {
        let place = if address.server == Some(false) { "code for the browser" } else { "the code" };
        let text = format!(
            "{place} has port {}; this worktree's {} has another one ({variable})",
            address.port, part.name
        );
        draft.remark(RemarkKind::FixedAddress, &address.at, text, fix);
    }
}

fn is_javascript(file: &Path) -> bool {
    file.extension().is_some_and(|ending| {
        ["js", "mjs", "cjs", "ts", "mts", "cts", "jsx", "tsx"].iter().any(|known| ending == *known)
    })
}

/// Returns the text to write in place of the address.
fn line(evidence: &Evidence<'_>, address: &FixedAddress, owner: usize) -> String {
    let server = evidence.part(owner);
    let (number, variable) = (address.port, port_variable(&server.name));
    let from = format!(":{number}");
    let python = address.at.file.extension().is_some_and(|ending| ending == "py");
    if python {
        let to = format!(":{{os.environ.get('{variable}', '{number}')}}");
        return format!("f\"{}\"", address.text.replacen(&from, &to, 1));
    }
    if address.server == Some(false) && server.kind == PartKind::Backend {
        let vite = evidence.parts.processes.iter().any(|part| {
            part.kind == PartKind::Frontend
                && part.run.contains("vite")
                && address.at.file.starts_with(super::evidence::without_dots(&part.directory))
        });
        let read = if vite { "import.meta.env.VITE_API_URL" } else { "process.env.NEXT_PUBLIC_API_URL" };
        let origin =
            address.text.find(&from).map_or(address.text.as_str(), |at| &address.text[..at + from.len()]);
        let path = &address.text[origin.len()..];
        return format!("`${{{read} ?? \"{origin}\"}}{path}`");
    }
    let to = format!(":${{process.env.{variable} ?? {number}}}");
    format!("`{}`", address.text.replacen(&from, &to, 1))
}

#[cfg(test)]
mod tests {
    use super::super::RemarkKind;
    use super::super::test_repo::{TestRepo, part, spot};
    use super::*;

    #[test]
    fn server_side_code_is_redirected_and_the_line_to_write_is_given() {
        let contract = TestRepo::new()
            .address("frontend/next.config.js", "http://127.0.0.1:8000/:path*", 8000, Some(true))
            .bind();
        assert_eq!(contract.redirects, [(8000, "backend".to_string(), spot("frontend/next.config.js", 6))]);
        let remark = &contract.remarks[0];
        assert_eq!((remark.kind, &remark.at), (RemarkKind::Redirected, &spot("frontend/next.config.js", 6)));
        assert_eq!(
            remark.fix.as_deref(),
            Some("`http://127.0.0.1:${process.env.BACKEND_PORT ?? 8000}/:path*`")
        );
        assert!(remark.text.contains("; connections of Node to it are redirected to"), "{}", remark.text);
        let other = remark.without_modules.as_ref().unwrap();
        assert!(other.starts_with("the code has port 8000; `node_preload: false` keeps"), "{other}");
    }

    #[test]
    fn code_for_the_browser_is_reported_only() {
        let contract = TestRepo::new()
            .address("frontend/lib/client.ts", "http://localhost:8000/api", 8000, Some(false))
            .bind();
        assert_eq!(contract.redirects, []);
        assert_eq!(contract.remarks[0].kind, RemarkKind::FixedAddress);
        assert_eq!(
            contract.remarks[0].fix.as_deref(),
            Some("`${process.env.NEXT_PUBLIC_API_URL ?? \"http://localhost:8000\"}/api`")
        );
    }

    #[test]
    fn an_address_in_python_is_reported_only() {
        let contract = TestRepo::new()
            .address("backend/app/mail.py", "http://localhost:3000/reset", 3000, Some(true))
            .bind();
        assert_eq!(contract.redirects, []);
        assert_eq!(
            contract.remarks[0].fix.as_deref(),
            Some("f\"http://localhost:{os.environ.get('FRONTEND_PORT', '3000')}/reset\"")
        );
    }

    #[test]
    fn the_url_of_a_postgres_in_python_is_reported() {
        let contract = TestRepo::new().database("backend/app/db.py").database("tests/db.py").bind();
        let remark = &contract.remarks[0];
        assert_eq!((remark.kind, &remark.at), (RemarkKind::FixedDatabase, &spot("backend/app/db.py", 4)));
        assert_eq!(remark.fix.as_deref(), Some("os.environ[\"DATABASE_URL\"]"));
        assert_eq!(contract.remarks.len(), 1);
    }

    #[test]
    fn a_port_of_two_parts_is_not_redirected_and_a_port_of_none_is_not_mentioned() {
        let contract = TestRepo::new()
            .part(part("billing", PartKind::Backend, "uvicorn billing:app", &[8000]))
            .address("frontend/next.config.js", "http://127.0.0.1:8000", 8000, Some(true))
            .address("frontend/next.config.js", "http://127.0.0.1:9200", 9200, Some(true))
            .bind();
        assert_eq!(contract.redirects, []);
        assert_eq!(contract.remarks.len(), 1);
    }
}
