//! Lists the extensions that a Postgres server offers, with their versions and where they come from.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Client;

use super::BranchDatabase;
use super::catalogue::{CatalogueError, rows};
use super::connect::reach;
use crate::error::Report;
use crate::os::cmd::Cmd;

/// The time limit for a connection.
const CONNECT: Duration = Duration::from_secs(20);
/// The time limit for the system's package manager.
const PACKAGES: Duration = Duration::from_secs(10);

/// The extensions that the source of Postgres contains.
const CONTRIB: [&str; 57] = [
    "adminpack",
    "amcheck",
    "autoinc",
    "bloom",
    "bool_plperl",
    "bool_plperlu",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "dblink",
    "dict_int",
    "dict_xsyn",
    "earthdistance",
    "file_fdw",
    "fuzzystrmatch",
    "hstore",
    "hstore_plperl",
    "hstore_plperlu",
    "hstore_plpython3u",
    "insert_username",
    "intagg",
    "intarray",
    "isn",
    "jsonb_plperl",
    "jsonb_plperlu",
    "jsonb_plpython3u",
    "lo",
    "ltree",
    "ltree_plpython3u",
    "moddatetime",
    "old_snapshot",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_logicalinspect",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_surgery",
    "pg_trgm",
    "pg_visibility",
    "pg_walinspect",
    "pgcrypto",
    "pgrowlocks",
    "pgstattuple",
    "plpgsql",
    "postgres_fdw",
    "refint",
    "seg",
    "sslinfo",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "unaccent",
    "uuid-ossp",
    "xml2",
];

/// An extension that a server offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerExtension {
    pub name: String,
    /// The version that `CREATE EXTENSION` makes.
    pub version: String,
    /// The version in the database, if it was created there.
    pub installed: Option<String>,
    pub comment: String,
    /// Where it comes from.
    pub source: ExtensionSource,
}

/// The origin of an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtensionSource {
    /// The source of Postgres.
    Contrib,
    /// A package of the system, by its name.
    Package(String),
    /// A source that devrun does not know.
    Other,
}

impl fmt::Display for ExtensionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ExtensionSource::Contrib => "contrib",
            ExtensionSource::Package(name) => name,
            ExtensionSource::Other => "other",
        })
    }
}

/// Returns the extensions that the server of `branch` offers, by name.
pub async fn list(branch: &BranchDatabase) -> Result<Vec<ServerExtension>, Report> {
    let client = reach(branch, None, CONNECT).await?;
    Ok(list_with(&client).await?)
}

async fn list_with(client: &Client) -> Result<Vec<ServerExtension>, CatalogueError> {
    let sql =
        "SELECT name, default_version, installed_version, comment FROM pg_available_extensions ORDER BY name";
    let found = rows(client, sql, "list the extensions").await?;
    let folder = control_folder(client).await;
    let mut all: Vec<ServerExtension> = found
        .into_iter()
        .filter_map(|row| {
            let [name, version, installed, comment] = <[Option<String>; 4]>::try_from(row).ok()?;
            let name = name?;
            let is_contrib = CONTRIB.contains(&name.as_str());
            Some(ServerExtension {
                name,
                version: version.unwrap_or_default(),
                installed,
                comment: comment.unwrap_or_default(),
                source: if is_contrib { ExtensionSource::Contrib } else { ExtensionSource::Other },
            })
        })
        .collect();
    if let Some(folder) = folder {
        let others = all.iter().filter(|one| one.source == ExtensionSource::Other);
        let others: Vec<&str> = others.map(|one| one.name.as_str()).collect();
        let mut packages = packages(&folder, &others).await;
        for one in &mut all {
            if let Some(package) = packages.remove(&one.name) {
                one.source = ExtensionSource::Package(package);
            }
        }
    }
    Ok(all)
}

/// Returns the folder of the control files on this machine. `None` if the role may not read its path, or if it does not exist here.
async fn control_folder(client: &Client) -> Option<PathBuf> {
    let sql = "SELECT setting FROM pg_config WHERE name = 'SHAREDIR'";
    let found = rows(client, sql, "find the extensions").await.ok()?;
    let folder = PathBuf::from(found.into_iter().next()?.into_iter().next()??).join("extension");
    folder.is_dir().then_some(folder)
}

/// Returns the Debian package of each extension in `names` that came with one.
async fn packages(folder: &Path, names: &[&str]) -> BTreeMap<String, String> {
    if names.is_empty() {
        return BTreeMap::new();
    }
    let files = names.iter().map(|name| folder.join(format!("{name}.control")));
    let search = Cmd::new("dpkg-query").arg("-S").args(files).directory("/").limit(PACKAGES);
    // dpkg-query fails if one of the files is in no package, but prints the packages of the others.
    let Ok(output) = search.output().await else { return BTreeMap::new() };
    parse_packages(&output.text())
}

/// Parses `postgresql-15-pgvector: /usr/share/postgresql/15/extension/vector.control`.
fn parse_packages(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .filter_map(|line| {
            let (packages, file) = line.rsplit_once(": ")?;
            let name = Path::new(file).file_name()?.to_str()?.strip_suffix(".control")?;
            let package = packages.split(", ").next()?.split(':').next()?;
            Some((name.to_string(), package.to_string()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_dpkg_names_the_package() {
        let text = "postgresql-15-pgvector: /usr/share/postgresql/15/extension/vector.control\n\
                    a:amd64, b:amd64: /usr/share/postgresql/15/extension/pg_x.control";
        let found = parse_packages(text);
        assert_eq!((&*found["vector"], &*found["pg_x"]), ("postgresql-15-pgvector", "a"));
    }
}
