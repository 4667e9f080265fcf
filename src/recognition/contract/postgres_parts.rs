//! Binds variables with parts of the address of the repository's own Postgres: `DB_HOST`, `POSTGRES_USER`,
//! `PGDATABASE`.

use std::collections::BTreeMap;

use super::super::facts::{FileLine, ReadConstruct, Service, VariableRead};
use super::super::parts::OtherDatabase;
use super::Reason;
use super::builder::ContractBuilder;
use super::driver::Drivers;
use super::evidence::{Evidence, Strength, View};
use crate::config::postgres_names::{self, LIBPQ, PostgresPart, is_other, is_own, split};
use crate::config::postgres_url::FILE;
use crate::context::default_ports::POSTGRES;

/// A variable of a family, which is a set of variables with the parts of one address.
type Member<'a> = (PostgresPart, &'a View<'a>);

/// Binds every family that a part reads, and `PG*` if an env file has one of those.
pub(super) fn bind(
    evidence: &Evidence<'_>,
    views: &[View<'_>],
    drivers: &Drivers<'_>,
    draft: &mut ContractBuilder<'_>,
) {
    if !(evidence.parts.wants_database || evidence.parts.migrations.is_some()) {
        return;
    }
    let mut families: BTreeMap<(Option<usize>, String), Vec<Member<'_>>> = BTreeMap::new();
    for view in views.iter().filter(|view| !view.reads.is_empty()) {
        if let Some((stem, piece)) = split(view.name) {
            families.entry((view.part, stem)).or_default().push((piece, view));
        }
    }
    // `DB_HOST` and `DATABASE_NAME` of one part are one family.
    let mut own: BTreeMap<Option<usize>, Vec<Member<'_>>> = BTreeMap::new();
    for ((part, stem), members) in &families {
        if is_own(stem) {
            match other_kind(evidence, drivers, stem, *part, members) {
                None => own.entry(*part).or_default().extend(members),
                Some((kind, at)) if has(members, PostgresPart::Host) || has(members, PostgresPart::Name) => {
                    let other = OtherDatabase { kind, is_file: kind == FILE, at: at.clone() };
                    draft.other_database = draft.other_database.take().or(Some(other));
                }
                Some(_) => {}
            }
        } else if is_certain(evidence, stem, members) {
            fill(members, draft);
        }
    }
    for members in own.values() {
        if has(members, PostgresPart::Host)
            || (has(members, PostgresPart::Name)
                && (has(members, PostgresPart::User) || has(members, PostgresPart::Password)))
        {
            fill(members, draft);
        }
    }
    libpq(evidence, views, draft);
}

fn has(members: &[Member<'_>], piece: PostgresPart) -> bool {
    members.iter().any(|(other, _)| *other == piece)
}

fn fill(members: &[Member<'_>], draft: &mut ContractBuilder<'_>) {
    for (piece, view) in members {
        if let Some(at) = view.at() {
            draft.bind(view, piece.template().to_string(), Reason::DatabasePart, at);
        }
    }
    // Without a variable for the port, drivers that follow libpq read this one.
    let host = members.iter().find(|(piece, _)| *piece == PostgresPart::Host);
    if let (false, Some(at)) = (has(members, PostgresPart::Port), host.and_then(|(_, view)| view.at())) {
        let port = View { name: "PGPORT", part: None, reads: Vec::new(), values: Vec::new(), set: false };
        draft.bind(&port, PostgresPart::Port.template().to_string(), Reason::DatabasePart, at);
    }
}

fn libpq(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut ContractBuilder<'_>) {
    let used = views.iter().filter(|view| LIBPQ.iter().any(|(name, _)| *name == view.name));
    let stated = |view: &&View<'_>| {
        !view.reads.is_empty() || view.values.iter().any(|value| value.strength <= Strength::Example)
    };
    let Some(at) = used.into_iter().filter(stated).find_map(View::at) else { return };
    for (name, piece) in LIBPQ {
        let view = View { part: None, ..evidence.view_of(name, None) };
        let at = view.at().unwrap_or(at);
        draft.bind(&view, piece.template().to_string(), Reason::DatabasePart, at);
    }
}

/// Returns true if a family with another stem is certainly a Postgres: it has a name, a user or password, and the port or
/// container of a Postgres.
fn is_certain(evidence: &Evidence<'_>, stem: &str, members: &[Member<'_>]) -> bool {
    let complete = (has(members, PostgresPart::Host) || has(members, PostgresPart::Name))
        && (has(members, PostgresPart::User) || has(members, PostgresPart::Password))
        && has(members, PostgresPart::Name);
    let servers: Vec<&Service> =
        evidence.facts.services.iter().filter(|service| is_postgres(service)).collect();
    let shows = |(piece, view): &Member<'_>| {
        view.values.iter().any(|value| match piece {
            PostgresPart::Port => value.text.parse::<u16>().is_ok_and(|port| {
                port == POSTGRES
                    || servers.iter().any(|server| server.ports.iter().any(|(host, _)| *host == port))
            }),
            PostgresPart::Host => servers.iter().any(|server| server.name == value.text),
            _ => false,
        })
    };
    complete && !is_other(stem) && members.iter().any(shows)
}

/// Returns the kind of server if it is no Postgres, and the line that shows it: the port, a neighbouring variable, or the
/// driver among the packages.
fn other_kind<'a>(
    evidence: &Evidence<'a>,
    drivers: &Drivers<'_>,
    stem: &str,
    part: Option<usize>,
    members: &[Member<'a>],
) -> Option<(&'static str, &'a FileLine)> {
    let first = members.iter().find_map(|(_, view)| view.at());
    for name in postgres_names::engine_variables(stem) {
        let values = evidence.values_of(&name, part);
        if let Some(kind) = values.first().and_then(|text| postgres_names::kind_of_engine(text)) {
            return Some((kind, first?));
        }
    }
    let ports = members.iter().filter(|(piece, _)| *piece == PostgresPart::Port);
    for value in ports.filter_map(|(_, view)| view.values.first()) {
        if let Some(kind) = postgres_names::kind_of_port(value.text) {
            return Some((kind, value.at));
        }
    }
    let is_python = |read: &&VariableRead| matches!(read.by, ReadConstruct::Python | ReadConstruct::Settings);
    let read_by_python = members.iter().any(|(_, view)| view.reads.iter().any(is_python));
    Some((drivers.other_kind().filter(|_| read_by_python)?, first?))
}

/// Returns true for a compose service that is a Postgres.
pub(super) fn is_postgres(service: &Service) -> bool {
    let words = ["postgres", "postgis", "pgvector", "timescale", "supabase/postgres"];
    service.image.as_deref().is_some_and(|image| words.iter().any(|word| image.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::super::test_repo::TestRepo;

    fn pieces(names: &[&str]) -> Vec<(String, String)> {
        let contract = TestRepo::new().reads("backend/app/settings.py", names).bind();
        contract.bindings.into_iter().map(|binding| (binding.name, binding.value)).collect()
    }

    #[test]
    fn every_piece_of_a_family_gets_the_branch_databases() {
        for names in [
            [
                "POSTGRES_SERVER=db",
                "POSTGRES_PORT=5432",
                "POSTGRES_USER=u",
                "POSTGRES_PASSWORD=p",
                "POSTGRES_DB=app",
            ],
            ["DB_HOST=x", "DB_PORT=1", "DB_USERNAME=u", "DB_PASS=p", "DB_DATABASE=a"],
            ["DBHOST=x", "DBPORT=1", "DBUSER=u", "DBPASSWORD=p", "DBNAME=a"],
            [
                "SHOP_API_DB_HOST=x",
                "SHOP_API_DB_PORT=1",
                "SHOP_API_DB_USER=u",
                "SHOP_API_DB_PASS=p",
                "SHOP_API_DB_BASE=a",
            ],
            ["APP_DB__HOST=x", "APP_DB__PORT=1", "APP_DB__USER=u", "APP_DB__PASSWORD=p", "APP_DB__NAME=a"],
        ] {
            let values =
                ["host", "port", "user", "password", "name"].map(|field| format!("${{database.{field}}}"));
            let mut expected: Vec<_> = names
                .iter()
                .zip(values)
                .map(|(name, value)| (name.split('=').next().unwrap().to_string(), value))
                .collect();
            expected.sort();
            assert_eq!(pieces(&names), expected);
        }
    }

    #[test]
    fn a_family_without_a_port_gets_the_one_that_drivers_read_themselves() {
        let all =
            pieces(&["POSTGRES_SERVER=db", "POSTGRES_USER=u", "POSTGRES_PASSWORD=p", "POSTGRES_DB=app"]);
        assert!(all.contains(&("PGPORT".to_string(), "${database.port}".to_string())), "{all:?}");
    }

    #[test]
    fn other_servers_and_a_lone_name_are_no_family() {
        let smtp = [
            "SMTP_HOST=x",
            "SMTP_PORT=25",
            "SMTP_USER=u",
            "SMTP_PASSWORD=p",
            "APP_NAME=x",
            "DATABASE_NAME=x",
        ];
        assert_eq!(pieces(&smtp), []);
        assert_eq!(pieces(&["API_HOST=x", "API_PORT=1", "API_USER=u", "API_PASSWORD=p", "API_BASE=b"]), []);
        assert_eq!(pieces(&["DB_HOST=x", "DB_PORT=3306", "DB_USER=u", "DB_NAME=p"]), []);
        assert_eq!(
            pieces(&["DB_HOST=x", "DB_ENGINE=django.db.backends.mysql", "DB_USER=u", "DB_NAME=p"]),
            []
        );
        assert_eq!(pieces(&["TEST_DB_HOST=x", "TEST_DB_USER=u", "TEST_DB_NAME=p"]), []);
    }

    #[test]
    fn a_family_of_mysql_is_not_bound_and_its_kind_is_reported() {
        let names = ["DB_HOST=db", "DB_USER=u", "DB_PASSWORD=p", "DB_NAME=a"];
        let with = |packages: &str| {
            let repo = TestRepo::new().text("backend/requirements.txt", packages);
            repo.reads("backend/app/settings.py", &names).bind()
        };
        let mysql = with("sqlalchemy\naiomysql\n");
        assert_eq!(mysql.bindings, []);
        assert_eq!(mysql.other_database.map(|other| (other.kind, other.is_file)), Some(("MySQL", false)));
        assert_eq!(with("sqlalchemy\naiomysql\nasyncpg\n").value("DB_HOST"), Some("${database.host}"));
        let engine = ["DB_CONNECTION=mysql", "DB_HOST=db", "DB_USER=u", "DB_PASSWORD=p", "DB_NAME=a"];
        let chosen = TestRepo::new().reads("backend/app/settings.py", &engine).bind();
        assert_eq!(
            (chosen.bindings.len(), chosen.other_database.map(|other| other.kind)),
            (0, Some("MySQL"))
        );
    }

    #[test]
    fn another_stem_is_a_family_when_its_values_show_a_postgres() {
        let names = [
            "LEDGER_HOST=localhost",
            "LEDGER_PORT=5432",
            "LEDGER_USER=u",
            "LEDGER_PASSWORD=p",
            "LEDGER_DB=l",
        ];
        assert_eq!(pieces(&names).len(), 5);
        let names = ["LEDGER_HOST=localhost", "LEDGER_USER=u", "LEDGER_PASSWORD=p", "LEDGER_DB=l"];
        assert_eq!(pieces(&names), []);
    }
}
