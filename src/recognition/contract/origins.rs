//! Adds this worktree's origins to variables that hold a list of them.

use super::super::facts::ReadConstruct;
use super::super::parts::PartKind;
use super::Reason;
use super::address::{Address, literal};
use super::builder::ContractBuilder;
use super::evidence::{Evidence, Strength, VariableValue, View};
use super::names::is_origin_list;
use super::owners::{Owner, owner};
use crate::config::urls;
use crate::context::this_machine::is_this_machine;

/// The notation of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListFormat {
    /// `["a","b"]`.
    Json,
    /// `a,b`, with the separator of two items.
    Separated(&'static str),
}

/// Binds each list that contains an address of a part, and each list of allowed origins without a local one.
pub(super) fn bind(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut ContractBuilder<'_>) {
    for view in views {
        if !(is_list(view) && (view.part.is_some() || !view.values.is_empty())) {
            continue;
        }
        if let Some((text, value)) =
            view.deciding().iter().find_map(|value| Some((extended(evidence, view, value)?, value)))
        {
            draft.bind(view, text, Reason::Origins, value.at);
        } else if view.person().is_none() && is_origin_list(view.name) && view.part.is_some() {
            empty(evidence, view, draft);
        }
    }
}

fn is_list(view: &View<'_>) -> bool {
    let looks = |value: &VariableValue<'_>| {
        let text = value.text;
        text.starts_with('[') || (text.contains(',') && text.contains("://"))
    };
    is_origin_list(view.name) || view.reads.iter().any(|read| read.list) || view.values.iter().any(looks)
}

/// Returns the list with this worktree's addresses added; `None` if it contains no address of a part and is not a list of allowed
/// origins with a local one, or if nothing is to be added.
fn extended(evidence: &Evidence<'_>, view: &View<'_>, value: &VariableValue<'_>) -> Option<String> {
    let (mut items, form) = parse(value.text)?;
    // Bindings are printed, so this one must not contain a secret of the user.
    if value.strength == Strength::Person && items.iter().any(|item| item.contains(['@', '?', '#'])) {
        return None;
    }
    let addresses: Vec<Address<'_>> = items
        .iter()
        .filter_map(|item| Address::parse(item))
        .filter(|address| address.scheme.is_some())
        .collect();
    let mut added = Vec::new();
    for address in &addresses {
        match owner(evidence, view.name, view.part, address) {
            Owner::Part(part) => added.push(address.at(&evidence.part(part).name)),
            Owner::Several(parts) => {
                added.extend(parts.iter().map(|part| address.at(&evidence.part(*part).name)));
            }
            Owner::Other => {}
        }
    }
    let local: Vec<&Address<'_>> = addresses.iter().filter(|address| is_this_machine(address.host)).collect();
    if added.is_empty() && (local.is_empty() || !is_origin_list(view.name)) {
        return None;
    }
    if addresses.iter().all(Address::is_origin) && is_origin_list(view.name) {
        let slash =
            if !local.is_empty() && local.iter().all(|address| address.rest == "/") { "/" } else { "" };
        added.extend(origins(evidence, local.iter().any(|address| address.host == "127.0.0.1"), slash));
    }
    items = items.iter().map(|item| literal(item)).collect();
    let before = items.len();
    for item in added {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    (items.len() > before).then(|| write(&items, form))
}

/// Returns the origins of every frontend, with `localhost`, if `numeric` is true with `127.0.0.1`, and with its host name in this
/// worktree.
fn origins(evidence: &Evidence<'_>, numeric: bool, slash: &str) -> Vec<String> {
    let hosts = if numeric { vec!["localhost", "127.0.0.1"] } else { vec!["localhost"] };
    let frontends = evidence.with_port(PartKind::Frontend);
    // The page that is printed first has the shortest host name, see `config::urls`.
    let main = frontends.iter().position(|part| is_main(&evidence.part(*part).name)).unwrap_or(0);
    let of = |(index, part): (usize, &usize)| {
        let name = &evidence.part(*part).name;
        let label = format!("{}.${{host}}", urls::label(name));
        let own = if index == main { "${host}".to_string() } else { label };
        let hosts = hosts.iter().map(ToString::to_string).chain([own]);
        hosts.map(|host| format!("http://{host}:${{ports.{name}}}{slash}")).collect::<Vec<_>>()
    };
    frontends.iter().enumerate().flat_map(of).collect()
}

fn is_main(name: &str) -> bool {
    matches!(name, "frontend" | "web")
}

/// Binds a list of allowed origins that is empty or contains no local origin, because the backend would refuse the page.
fn empty(evidence: &Evidence<'_>, view: &View<'_>, draft: &mut ContractBuilder<'_>) {
    let added = origins(evidence, false, "");
    let Some(at) = view.at() else { return };
    if added.is_empty() {
        return;
    }
    let (mut items, form) = match view.values.first() {
        Some(value) => match parse(value.text) {
            // `*` already allows every origin.
            Some((items, form)) if items.iter().all(|item| Address::parse(item).is_some()) => (items, form),
            _ => return,
        },
        None if view.reads.iter().any(|read| read.by == ReadConstruct::Settings) => {
            (Vec::new(), ListFormat::Json)
        }
        None => (Vec::new(), ListFormat::Separated(",")),
    };
    items = items.iter().map(|item| literal(item)).collect();
    items.extend(added);
    draft.bind(view, write(&items, form), Reason::Origins, at);
}

fn parse(text: &str) -> Option<(Vec<String>, ListFormat)> {
    if text.starts_with('[') {
        return Some((serde_json::from_str::<Vec<String>>(text).ok()?, ListFormat::Json));
    }
    let (split, between) = match text {
        _ if text.contains(", ") => (',', ", "),
        _ if text.contains(',') => (',', ","),
        _ if text.contains("; ") || text.contains(';') => (';', ";"),
        _ if text.contains(' ') => (' ', " "),
        _ => (',', ","),
    };
    let items =
        text.split(split).map(str::trim).filter(|item| !item.is_empty()).map(str::to_string).collect();
    Some((items, ListFormat::Separated(between)))
}

fn write(items: &[String], form: ListFormat) -> String {
    match form {
        ListFormat::Json => serde_json::Value::from(items.to_vec()).to_string(),
        ListFormat::Separated(between) => items.join(between),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::facts::VariableRead;
    use super::super::test_repo::{TestRepo, part};
    use super::*;

    fn value(line: &str) -> Option<String> {
        let name = line.split('=').next().unwrap();
        let repo =
            TestRepo::new().env("backend/.env.example", line).reads("backend/app/settings.py", &[name]);
        repo.bind().value(name).map(str::to_string)
    }

    #[test]
    fn this_worktrees_origin_is_added_in_the_form_of_the_list() {
        let pairs = [
            (
                "CORS_ORIGINS=http://localhost:3000",
                "http://localhost:3000,http://localhost:${ports.frontend},http://${host}:${ports.frontend}",
            ),
            (
                "CORS_ORIGINS=[\"http://localhost:3000\", \"https://a.example.net\"]",
                "[\"http://localhost:3000\",\"https://a.example.net\",\"http://localhost:${ports.frontend}\",\"http://${host}:${ports.frontend}\"]",
            ),
            (
                "ALLOWED_ORIGINS=http://localhost:3000, http://127.0.0.1:3000",
                "http://localhost:3000, http://127.0.0.1:3000, http://localhost:${ports.frontend}, http://127.0.0.1:${ports.frontend}, http://${host}:${ports.frontend}",
            ),
            (
                "CORS_ORIGINS=http://localhost:3000/",
                "http://localhost:3000/,http://localhost:${ports.frontend}/,http://${host}:${ports.frontend}/",
            ),
            (
                "REDIRECTS=http://localhost:3000/done,https://a.example.net/done",
                "http://localhost:3000/done,https://a.example.net/done,http://localhost:${ports.frontend}/done",
            ),
        ];
        for (line, expected) in pairs {
            assert_eq!(value(line).as_deref(), Some(expected), "{line}");
        }
    }

    #[test]
    fn every_frontend_is_allowed() {
        let contract = TestRepo::new()
            .part(part("admin", PartKind::Frontend, "vite", &[5173]))
            .env("backend/.env.example", "BACKEND_CORS_ORIGINS=[\"http://localhost:5173\"]")
            .reads("backend/app/settings.py", &["BACKEND_CORS_ORIGINS"])
            .bind();
        assert_eq!(
            contract.value("BACKEND_CORS_ORIGINS"),
            Some(
                "[\"http://localhost:5173\",\"http://localhost:${ports.admin}\",\"http://localhost:${ports.frontend}\",\"http://${host}:${ports.frontend}\",\"http://admin.${host}:${ports.admin}\"]"
            )
        );
    }

    #[test]
    fn a_list_that_allows_all_or_holds_other_things_stays() {
        // The setting is required, so it is filled with the example's value, unchanged.
        assert_eq!(value("CORS_ORIGINS=*").as_deref(), Some("*"));
        assert_eq!(value("CORS_ORIGINS=[\"*\"]").as_deref(), Some("[\"*\"]"));
        assert_eq!(value("FEATURES=[\"a\",\"b\"]").as_deref(), Some("[\"a\",\"b\"]"));
    }

    #[test]
    fn a_setting_without_any_origin_gets_this_worktrees() {
        let read = |by: ReadConstruct| VariableRead {
            name: "CORS_ORIGINS".to_string(),
            aliases: Vec::new(),
            at: super::super::test_repo::spot("backend/app/settings.py", 3),
            by,
            required: false,
            default: None,
            min_length: None,
            refused: Vec::new(),
            list: true,
        };
        let value = |by| TestRepo::new().read(read(by)).bind().value("CORS_ORIGINS").map(str::to_string);
        assert_eq!(
            value(ReadConstruct::Settings).as_deref(),
            Some("[\"http://localhost:${ports.frontend}\",\"http://${host}:${ports.frontend}\"]")
        );
        assert_eq!(
            value(ReadConstruct::Python).as_deref(),
            Some("http://localhost:${ports.frontend},http://${host}:${ports.frontend}")
        );
    }

    #[test]
    fn a_product_without_pages_has_nothing_to_add() {
        let mut repo =
            TestRepo::new().reads("backend/app/settings.py", &["CORS_ORIGINS=http://localhost:5173"]);
        repo.parts.processes.truncate(1);
        assert_eq!(repo.bind().bindings, []);
    }

    #[test]
    fn a_persons_list_of_other_machines_stays() {
        let contract = TestRepo::new()
            .env("backend/.env", "CORS_ORIGINS=https://a.example.net")
            .reads("backend/app/settings.py", &["CORS_ORIGINS=http://localhost:3000"])
            .bind();
        assert_eq!(contract.bindings, []);
    }
}
