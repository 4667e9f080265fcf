//! The default ports of database servers.

/// The default port of Postgres.
pub const POSTGRES: u16 = 5432;
/// The default port of Redis.
pub const REDIS: u16 = 6379;
/// The default ports of Postgres and its poolers, and the port that a second Postgres usually gets.
pub const POSTGRES_LIKE: [u16; 3] = [POSTGRES, 5433, 6543];

/// Returns the default port of the database server to which a URL with `scheme` leads; `None` for other servers. A driver may
/// follow the name of the server: `postgresql+asyncpg`.
pub fn of_scheme(scheme: &str) -> Option<u16> {
    match scheme.split('+').next()? {
        "postgres" | "postgresql" => Some(POSTGRES),
        "redis" => Some(REDIS),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_schemes_of_databases_have_a_default_port() {
        for (scheme, port) in [
            ("postgres", Some(5432)),
            ("postgresql+asyncpg", Some(5432)),
            ("redis", Some(6379)),
            ("http", None),
            ("", None),
        ] {
            assert_eq!(of_scheme(scheme), port, "{scheme}");
        }
    }
}
