//! Reads the version and the extensions of the database that is imported. Changes nothing there.

use std::time::Duration;

use super::catalogue::{CatalogueError, rows};
use super::connect::{connect, parse};
use super::import::SourceServer;
use crate::error::Report;

/// The time limit for the source to answer.
const CONNECT: Duration = Duration::from_secs(20);

/// Asks the server of `url` for its version and the extensions of the database.
pub async fn look(url: &str) -> Result<SourceServer, Report> {
    let variables = variables(url)?;
    let client = connect(url, CONNECT).await?;
    let doing = "look at the source";
    let version = rows(&client, "SHOW server_version_num", doing).await?;
    let number: u32 =
        version.first().and_then(|row| row.first()?.as_deref()?.parse().ok()).unwrap_or_default();
    let sql = "SELECT e.extname, n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace ORDER BY e.oid";
    let found = rows(&client, sql, doing).await?;
    let pair = |row: Vec<Option<String>>| {
        let [name, schema] = <[Option<String>; 2]>::try_from(row).ok()?;
        Some((name?, schema?))
    };
    let extensions = found.into_iter().filter_map(pair).collect();
    Ok(SourceServer { url: url.into(), major: number / 10_000, extensions, variables })
}

/// Returns the variables with which `pg_dump` connects to `url`, and only reads there.
fn variables(url: &str) -> Result<Vec<(&'static str, String)>, Report> {
    let config = parse(url)?;
    let host = config.get_hosts().first().map(|host| match host {
        tokio_postgres::config::Host::Tcp(name) => name.clone(),
        tokio_postgres::config::Host::Unix(path) => path.to_string_lossy().into_owned(),
    });
    let password = config.get_password().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let parameter = |wanted: &str| {
        let (_, query) = url.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('=').map(String::from))
    };
    let all = [
        ("PGHOST", host),
        ("PGPORT", config.get_ports().first().map(ToString::to_string)),
        ("PGUSER", config.get_user().map(String::from)),
        ("PGPASSWORD", password),
        ("PGDATABASE", config.get_dbname().map(String::from)),
        ("PGSSLMODE", parameter("sslmode")),
        ("PGCHANNELBINDING", parameter("channel_binding")),
        ("PGAPPNAME", Some("devrun db import".into())),
        ("PGCONNECT_TIMEOUT", Some("20".into())),
        ("PGOPTIONS", Some("-c default_transaction_read_only=on -c statement_timeout=0".into())),
    ];
    if config.get_dbname().is_none() {
        return Err(CatalogueError::with("import from the URL", "it names no database").into());
    }
    Ok(all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_goes_into_the_environment() {
        let found =
            variables("postgresql+psycopg://me:p%40ss@h.example:6543/app?sslmode=verify-full").unwrap();
        let value =
            |name: &str| found.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str());
        assert_eq!((value("PGPASSWORD"), value("PGSSLMODE")), (Some("p@ss"), Some("verify-full")));
        assert_eq!((value("PGHOST"), value("PGPORT")), (Some("h.example"), Some("6543")));
        assert!(value("PGOPTIONS").unwrap().contains("read_only=on"));
        assert!(variables("postgresql://me@h").is_err());
    }
}
