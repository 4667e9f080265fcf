//! Binds the pieces of the address of the repository's own Postgres: `DB_HOST`, `POSTGRES_USER`, `PGDATABASE`.

use std::collections::BTreeMap;

use super::super::facts::Service;
use super::Reason;
use super::draft::Draft;
use super::evidence::{Evidence, Strength, View};
use super::names::words;

/// One piece of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Piece {
    Host,
    Port,
    User,
    Password,
    Name,
}

/// A variable of a family.
type Member<'a> = (Piece, &'a View<'a>);

/// Endings of names, the longest of those that share an end first.
const ENDINGS: &[(&str, Piece)] = &[
    ("HOST", Piece::Host),
    ("SERVER", Piece::Host),
    ("HOSTNAME", Piece::Host),
    ("PORT", Piece::Port),
    ("USER", Piece::User),
    ("USERNAME", Piece::User),
    ("PASSWORD", Piece::Password),
    ("PASS", Piece::Password),
    ("PWD", Piece::Password),
    ("DATABASE_NAME", Piece::Name),
    ("DB_NAME", Piece::Name),
    ("DB", Piece::Name),
    ("DATABASE", Piece::Name),
    ("DBNAME", Piece::Name),
    ("NAME", Piece::Name),
];

/// Last words of stems that mean the application's Postgres.
const OWN: &[&str] = &["POSTGRES", "POSTGRESQL", "DB", "DATABASE", "PG", "SQL", "PSQL"];

/// Words of stems that mean something else, or a database that is emptied on purpose.
const OTHER: &[&str] = &[
    "SMTP",
    "MAIL",
    "EMAIL",
    "IMAP",
    "REDIS",
    "VALKEY",
    "RABBITMQ",
    "AMQP",
    "KAFKA",
    "MYSQL",
    "MARIADB",
    "MONGO",
    "MONGODB",
    "MSSQL",
    "ORACLE",
    "NEO4J",
    "ELASTIC",
    "ELASTICSEARCH",
    "OPENSEARCH",
    "CLICKHOUSE",
    "FTP",
    "SFTP",
    "SSH",
    "S3",
    "MINIO",
    "LDAP",
    "PROXY",
    "QDRANT",
    "INFLUX",
    "INFLUXDB",
    "SNOWFLAKE",
    "CASSANDRA",
    "SUPERUSER",
    "ADMIN",
    "CELERY",
    "FLOWER",
    "TEST",
    "TESTS",
    "TESTING",
    "SHADOW",
    "PGADMIN",
    "API",
    "CACHE",
    "VECTOR",
    "MILVUS",
];

/// The variables of libpq.
const LIBPQ: &[(&str, Piece)] = &[
    ("PGHOST", Piece::Host),
    ("PGPORT", Piece::Port),
    ("PGUSER", Piece::User),
    ("PGPASSWORD", Piece::Password),
    ("PGDATABASE", Piece::Name),
];

/// Binds every family of pieces that a part reads, and `PG*` where an env file has one of them.
pub(super) fn bind(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut Draft) {
    if !(evidence.parts.wants_database || evidence.parts.migrations.is_some()) {
        return;
    }
    let mut families: BTreeMap<(Option<usize>, String), Vec<Member<'_>>> = BTreeMap::new();
    for view in views.iter().filter(|view| !view.reads.is_empty()) {
        if let Some((stem, piece)) = split(view.name) {
            families.entry((view.part, stem)).or_default().push((piece, view));
        }
    }
    // `DB_HOST` beside `DATABASE_NAME`: own stems of one part are one family.
    let mut own: BTreeMap<Option<usize>, Vec<Member<'_>>> = BTreeMap::new();
    for ((part, stem), members) in &families {
        if is_own(stem) && !names_other_kind(evidence, stem, *part, members) {
            own.entry(*part).or_default().extend(members);
        } else if !is_own(stem) && is_certain(evidence, stem, members) {
            fill(members, draft);
        }
    }
    for members in own.values() {
        if has(members, Piece::Host)
            || (has(members, Piece::Name) && (has(members, Piece::User) || has(members, Piece::Password)))
        {
            fill(members, draft);
        }
    }
    libpq(evidence, views, draft);
}

fn has(members: &[Member<'_>], piece: Piece) -> bool {
    members.iter().any(|(other, _)| *other == piece)
}

fn fill(members: &[Member<'_>], draft: &mut Draft) {
    for (piece, view) in members {
        if let Some(at) = view.at() {
            draft.bind(view, value(*piece).to_string(), Reason::DatabasePart, at);
        }
    }
    // Without a variable for the port, drivers of libpq's kind take this one.
    let host = members.iter().find(|(piece, _)| *piece == Piece::Host);
    if let (false, Some(at)) = (has(members, Piece::Port), host.and_then(|(_, view)| view.at())) {
        let port = View { name: "PGPORT", part: None, reads: Vec::new(), values: Vec::new(), set: false };
        draft.bind(&port, value(Piece::Port).to_string(), Reason::DatabasePart, at);
    }
}

fn libpq(evidence: &Evidence<'_>, views: &[View<'_>], draft: &mut Draft) {
    let used = views.iter().filter(|view| LIBPQ.iter().any(|(name, _)| *name == view.name));
    let stated = |view: &&View<'_>| {
        !view.reads.is_empty() || view.values.iter().any(|value| value.strength <= Strength::Example)
    };
    let Some(at) = used.into_iter().filter(stated).find_map(View::at) else { return };
    for (name, piece) in LIBPQ {
        let view = View { part: None, ..evidence.view_of(name, None) };
        let at = view.at().unwrap_or(at);
        draft.bind(&view, value(*piece).to_string(), Reason::DatabasePart, at);
    }
}

fn value(piece: Piece) -> &'static str {
    match piece {
        Piece::Host => "${database.host}",
        Piece::Port => "${database.port}",
        Piece::User => "${database.user}",
        Piece::Password => "${database.password}",
        Piece::Name => "${database.name}",
    }
}

/// Splits a name into stem and piece.
fn split(name: &str) -> Option<(String, Piece)> {
    let upper = name.to_uppercase();
    ENDINGS.iter().find_map(|(ending, piece)| {
        let stem = upper.strip_suffix(ending)?;
        // `DBHOST` has no separator.
        let stem = if stem == "DB" { stem } else { stem.strip_suffix('_')?.trim_end_matches('_') };
        (!stem.is_empty()).then(|| (stem.to_string(), *piece))
    })
}

fn is_own(stem: &str) -> bool {
    let words = words(stem);
    words.last().is_some_and(|word| OWN.contains(&word.as_str()))
        && !words.iter().any(|word| OTHER.contains(&word.as_str()))
}

/// True when another stem's values say that it is a Postgres: a name, a user, and Postgres' port or container.
fn is_certain(evidence: &Evidence<'_>, stem: &str, members: &[Member<'_>]) -> bool {
    let complete = (has(members, Piece::Host) || has(members, Piece::Name))
        && (has(members, Piece::User) || has(members, Piece::Password))
        && has(members, Piece::Name);
    let servers: Vec<&Service> =
        evidence.facts.services.iter().filter(|service| is_postgres(service)).collect();
    let shows = |(piece, view): &Member<'_>| {
        view.values.iter().any(|value| match piece {
            Piece::Port => value.text.parse::<u16>().is_ok_and(|port| {
                port == 5432
                    || servers.iter().any(|server| server.ports.iter().any(|(host, _)| *host == port))
            }),
            Piece::Host => servers.iter().any(|server| server.name == value.text),
            _ => false,
        })
    };
    complete && !words(stem).iter().any(|word| OTHER.contains(&word.as_str())) && members.iter().any(shows)
}

/// True when the port or a neighbouring variable says that the server is of another kind.
fn names_other_kind(
    evidence: &Evidence<'_>,
    stem: &str,
    part: Option<usize>,
    members: &[Member<'_>],
) -> bool {
    let numbers = members.iter().filter(|(piece, _)| *piece == Piece::Port);
    let elsewhere = numbers.into_iter().any(|(_, view)| {
        view.values
            .first()
            .is_some_and(|value| ["3306", "1433", "27017", "1521", "6379"].contains(&value.text))
    });
    let words = ["ENGINE", "CONNECTION", "DIALECT", "TYPE", "DRIVER", "BACKEND"];
    let engine = words.iter().any(|word| {
        let name = format!("{stem}_{word}");
        let found = evidence.values_of(&name, part);
        found.first().is_some_and(|text| {
            let text = text.to_lowercase();
            ["mysql", "sqlite", "mariadb", "mssql", "mongo", "oracle"].iter().any(|kind| text.contains(kind))
        })
    });
    elsewhere || engine
}

/// True for a compose service that is a Postgres.
pub(super) fn is_postgres(service: &Service) -> bool {
    let words = ["postgres", "postgis", "pgvector", "timescale", "supabase/postgres"];
    service.image.as_deref().is_some_and(|image| words.iter().any(|word| image.contains(word)))
}

#[cfg(test)]
mod tests {
    use super::super::kit::Repo;

    fn pieces(names: &[&str]) -> Vec<(String, String)> {
        let contract = Repo::new().reads("backend/app/settings.py", names).bind();
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
        assert_eq!(pieces(&["DB_HOST=x", "DB_PORT=3306", "DB_USER=u", "DB_NAME=p"]), []);
        assert_eq!(
            pieces(&["DB_HOST=x", "DB_ENGINE=django.db.backends.mysql", "DB_USER=u", "DB_NAME=p"]),
            []
        );
        assert_eq!(pieces(&["TEST_DB_HOST=x", "TEST_DB_USER=u", "TEST_DB_NAME=p"]), []);
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
