//! Recognises the URLs of Postgres. Pure.

/// Returns true for a URL of a Postgres, with or without a driver in its scheme: `postgresql+asyncpg://…`.
pub fn is_postgres_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| is_postgres_scheme(scheme))
}

/// Returns true for `postgres` and `postgresql`, with or without a driver after a `+`.
pub fn is_postgres_scheme(scheme: &str) -> bool {
    let (base, driver) = scheme.split_once('+').map_or((scheme, None), |(base, driver)| (base, Some(driver)));
    let is_name =
        |driver: &str| !driver.is_empty() && driver.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    matches!(base, "postgres" | "postgresql") && driver.is_none_or(is_name)
}

/// Returns the length of the user and password, with the `@` after them, in `after`, a URL without its scheme. A password may contain an
/// unescaped `@`, `/` or `?`: the last `@` before the parameters ends it.
pub fn user_info_len(after: &str) -> usize {
    after[..parameters_at(after)].rfind('@').map_or(0, |at| at + 1)
}

/// Returns the index in `after`, a URL without its scheme, of the `?` that begins its parameters, or the length if there are none.
fn parameters_at(after: &str) -> usize {
    let begins_parameter = |at: &usize| {
        let rest = after[at + 1..].trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '_');
        rest.starts_with('=') && !after[at + 1..].starts_with('=')
    };
    after.match_indices('?').map(|(at, _)| at).find(begins_parameter).unwrap_or(after.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_part_of_the_scheme() {
        for url in ["postgres://h/x", "postgresql://h/x", "postgresql+asyncpg://h/x", "postgres+psycopg2://"]
        {
            assert!(is_postgres_url(url), "{url}");
        }
        for text in ["postgres", "mysql://h/x", "postgresql+://h/x", "postgres+a-b://h", "xpostgres://h", ""]
        {
            assert!(!is_postgres_url(text), "{text}");
        }
    }
}
