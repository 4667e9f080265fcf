//! The environment variables that decide where libpq, and drivers that follow it, connect to.
//!
//! Pure. See <https://www.postgresql.org/docs/current/libpq-envars.html>.

use crate::config::url_forms;

/// Every variable that changes where or how a client connects. If one of them was set for another server, even a client
/// with a complete URL may connect to that server, or fail.
pub const STEERING: [&str; 35] = [
    "PGCHANNELBINDING",
    "PGDATABASE",
    "PGGSSDELEGATION",
    "PGGSSENCMODE",
    "PGGSSLIB",
    "PGHOST",
    "PGHOSTADDR",
    "PGKRBSRVNAME",
    "PGLOADBALANCEHOSTS",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGPORT",
    "PGREALM",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCOMPRESSION",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLROOTCERT",
    "PGSSLSNI",
    "PGTARGETSESSIONATTRS",
    "PGUSER",
];

/// Returns the variables with which a client without arguments connects to `url`; none if `url` is not a Postgres URL.
pub fn variables(url: &str) -> Vec<(&'static str, String)> {
    const PARAMETERS: [(&str, &str); 3] =
        [("PGSSLMODE", "sslmode"), ("PGCHANNELBINDING", "channel_binding"), ("PGOPTIONS", "options")];
    let Some(parts) = url_forms::parts(url) else { return Vec::new() };
    let pieces = [
        ("PGHOST", parts.host),
        ("PGPORT", parts.port),
        ("PGUSER", parts.user),
        ("PGPASSWORD", parts.password),
        ("PGDATABASE", parts.name),
    ];
    let parameters =
        PARAMETERS.iter().filter_map(|(name, key)| Some((*name, url_forms::parameter(url, key)?)));
    pieces.into_iter().chain(parameters).filter(|(_, value)| !value.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_becomes_variables() {
        let url = "postgresql://me:p%40ss@ep-a.neon.tech/db?sslmode=require&channel_binding=require";
        let wanted = [
            ("PGHOST", "ep-a.neon.tech"),
            ("PGPORT", "5432"),
            ("PGUSER", "me"),
            ("PGPASSWORD", "p@ss"),
            ("PGDATABASE", "db"),
            ("PGSSLMODE", "require"),
            ("PGCHANNELBINDING", "require"),
        ];
        assert_eq!(variables(url), wanted.map(|(name, value)| (name, value.to_string())));
        assert_eq!(variables("mysql://me@h/d"), []);
    }

    #[test]
    fn every_set_variable_is_listed_as_a_setting_of_devrun() {
        let url = "postgresql://u:p@h/d?sslmode=require&channel_binding=require&options=-csearch_path%3Da";
        let all = variables(url);
        assert_eq!(all.len(), 8);
        assert!(all.iter().all(|(name, _)| STEERING.contains(name)), "{all:?}");
    }
}
