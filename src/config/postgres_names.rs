//! Rules for the names of variables that lead to a Postgres: those with one part of its address each, such as `DB_HOST`,
//! `POSTGRES_USER` and `PGDATABASE`, and those that must never lead to the branch database.
//!
//! Pure. A family is the set of variables with the parts of one address; its stem is the name without the ending.

use crate::config::names::words;
use crate::config::postgres_url::FILE;

/// The variable that drivers and tools read by default.
pub const DEFAULT_URL: &str = "DATABASE_URL";

/// Words in names of variables for databases that tests or tools empty. Those must never be the branch database.
const APART: [&str; 5] = ["TEST", "TESTS", "TESTING", "SHADOW", "E2E"];

/// A part of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PostgresPart {
    Host,
    Port,
    User,
    Password,
    Name,
}

impl PostgresPart {
    /// Returns this part of the branch database's address, as devrun.yaml writes it.
    pub fn template(self) -> &'static str {
        match self {
            PostgresPart::Host => "${database.host}",
            PostgresPart::Port => "${database.port}",
            PostgresPart::User => "${database.user}",
            PostgresPart::Password => "${database.password}",
            PostgresPart::Name => "${database.name}",
        }
    }
}

/// Endings of names. Of several that end alike, the longest comes first.
const ENDINGS: &[(&str, PostgresPart)] = &[
    ("HOST", PostgresPart::Host),
    ("SERVER", PostgresPart::Host),
    ("HOSTNAME", PostgresPart::Host),
    ("PORT", PostgresPart::Port),
    ("USER", PostgresPart::User),
    ("USERNAME", PostgresPart::User),
    ("PASSWORD", PostgresPart::Password),
    ("PASS", PostgresPart::Password),
    ("PWD", PostgresPart::Password),
    ("DATABASE_NAME", PostgresPart::Name),
    ("DB_NAME", PostgresPart::Name),
    ("DB", PostgresPart::Name),
    ("DATABASE", PostgresPart::Name),
    ("DBNAME", PostgresPart::Name),
    ("BASE", PostgresPart::Name),
    ("NAME", PostgresPart::Name),
];

/// Last words of stems that mean the application's Postgres. The stem is the name without its ending.
const OWN: &[&str] = &["POSTGRES", "POSTGRESQL", "DB", "DATABASE", "PG", "SQL", "PSQL"];

/// Words of stems that mean another service, or a database for tests and tools.
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
    "E2E",
    "PGADMIN",
    "API",
    "CACHE",
    "CHROMA",
    "DYNAMO",
    "GRAPH",
    "VECTOR",
    "WEAVIATE",
    "MILVUS",
];

/// The variables of libpq.
pub const LIBPQ: &[(&str, PostgresPart)] = &[
    ("PGHOST", PostgresPart::Host),
    ("PGPORT", PostgresPart::Port),
    ("PGUSER", PostgresPart::User),
    ("PGPASSWORD", PostgresPart::Password),
    ("PGDATABASE", PostgresPart::Name),
];

/// Returns true for the name of a variable for a database that tests or tools empty.
pub fn is_apart(name: &str) -> bool {
    name.split('_').any(|word| APART.contains(&word.to_ascii_uppercase().as_str()))
}

/// Splits a name into its stem and the part of the address.
pub fn split(name: &str) -> Option<(String, PostgresPart)> {
    let upper = name.to_uppercase();
    ENDINGS.iter().find_map(|(ending, piece)| {
        let stem = upper.strip_suffix(ending)?;
        // `DBHOST` has no separator.
        let stem = if stem == "DB" { stem } else { stem.strip_suffix('_')?.trim_end_matches('_') };
        // `POSTGRES_DB_NAME` belongs to `POSTGRES_HOST`, but `SHOP_DB_NAME` belongs to `SHOP_DB_HOST`.
        let is_stem = !stem.is_empty() && (!ending.contains('_') || is_own(stem));
        is_stem.then(|| (stem.to_string(), *piece))
    })
}

/// Returns true for a stem of the application's own Postgres.
pub fn is_own(stem: &str) -> bool {
    let words = words(stem);
    words.last().is_some_and(|word| OWN.contains(&word.as_str()))
        // `SHOP_API_DB_HOST` is the API's database.
        && !words.iter().any(|word| word != "API" && OTHER.contains(&word.as_str()))
}

/// Returns true for a stem without other words than those of a Postgres: `DB`, `PG_DATABASE`.
pub fn is_plain(stem: &str) -> bool {
    words(stem).iter().all(|word| OWN.contains(&word.as_str()))
}

/// Returns true for a stem that means another service, or a database for tests and tools.
pub fn is_other(stem: &str) -> bool {
    words(stem).iter().any(|word| OTHER.contains(&word.as_str()))
}

/// Returns the names of the variables that name the kind of server to which a family leads.
pub fn engine_variables(stem: &str) -> impl Iterator<Item = String> {
    const ENDINGS: [&str; 6] = ["ENGINE", "CONNECTION", "DIALECT", "TYPE", "DRIVER", "BACKEND"];
    ENDINGS.into_iter().map(move |ending| format!("{stem}_{ending}"))
}

/// Returns the kind of server that the value of one of [`engine_variables`] names; `None` if it may be a Postgres.
pub fn kind_of_engine(value: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 6] = [
        ("mysql", "MySQL"),
        ("sqlite", FILE),
        ("mariadb", "MySQL"),
        ("mssql", "SQL Server"),
        ("mongo", "MongoDB"),
        ("oracle", "Oracle"),
    ];
    let value = value.to_lowercase();
    KINDS.iter().find(|(word, _)| value.contains(word)).map(|(_, kind)| *kind)
}

/// Returns the kind of server that usually listens on a port; `None` if it may be a Postgres.
pub fn kind_of_port(port: &str) -> Option<&'static str> {
    const KINDS: [(&str, &str); 5] = [
        ("3306", "MySQL"),
        ("1433", "SQL Server"),
        ("27017", "MongoDB"),
        ("1521", "Oracle"),
        ("6379", "Redis"),
    ];
    KINDS.iter().find(|(number, _)| *number == port).map(|(_, kind)| *kind)
}
