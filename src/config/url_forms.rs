//! Converts a Postgres URL to the forms that programs accept: another scheme, more query parameters, or its parts.
//!
//! Pure. Providers give URLs that begin with `postgresql://`; `SQLAlchemy`, Prisma and others need their own form.

use percent_encoding::percent_decode_str;
use url::Url;

use crate::context::default_ports::POSTGRES;
use crate::context::this_machine::is_this_machine;
use crate::text::{is_postgres_scheme, user_info_len};

/// The form in which a program accepts the URL. The default leaves the URL as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UrlForm {
    /// The scheme, such as `postgresql+asyncpg`.
    pub scheme: Option<String>,
    /// Query parameters to add, such as `schema=public`. They replace parameters of the same name.
    pub query: String,
}

/// The parts of a Postgres URL, percent-decoded.
#[derive(Clone, PartialEq, Eq)]
pub struct UrlParts {
    /// Name or address of the server, or the folder of its socket. Without brackets around IPv6.
    pub host: String,
    /// Its port; 5432 if the URL has none.
    pub port: String,
    /// The role.
    pub user: String,
    /// Its password; empty if the URL has none.
    pub password: String,
    /// The database; the role's name if the URL has none, as with libpq.
    pub name: String,
}

/// Never prints the password.
impl std::fmt::Debug for UrlParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Parts({}:{}/{})", self.host, self.port, self.name)
    }
}

impl UrlForm {
    /// Parses `SCHEME`, `SCHEME?QUERY` or `?QUERY`. Returns `None` if the scheme is not one of Postgres or the query
    /// contains other characters than parameters may have.
    pub fn read(text: &str) -> Option<UrlForm> {
        let (scheme, query) = text.split_once('?').unwrap_or((text, ""));
        let known = scheme.is_empty() || is_postgres_scheme(scheme);
        let plain = query.chars().all(is_query_char);
        (known && plain && !text.is_empty()).then(|| UrlForm {
            scheme: Some(scheme.to_string()).filter(|scheme| !scheme.is_empty()),
            query: query.into(),
        })
    }

    /// Returns `url` in this form; `url` itself if the form changes nothing.
    pub fn merged(&self, url: &str) -> String {
        if *self == UrlForm::default() { url.into() } else { self.apply(url) }
    }

    /// Returns `url` in this form; `url` itself if it is not a Postgres URL. For a scheme with `+asyncpg`, translates libpq's
    /// parameters: `SQLAlchemy` passes each one to asyncpg, which refuses `sslmode` and `channel_binding`.
    pub fn apply(&self, url: &str) -> String {
        let Some((scheme, rest)) = url.split_once("://").filter(|(scheme, _)| is_postgres_scheme(scheme))
        else {
            return url.into();
        };
        let scheme = self.scheme.as_deref().unwrap_or(scheme);
        let userinfo = user_info_len(rest);
        let (place, query) = match rest[userinfo..].find('?') {
            Some(at) => (&rest[..userinfo + at], &rest[userinfo + at + 1..]),
            None => (rest, ""),
        };
        let added: Vec<&str> = parameters(&self.query).collect();
        let name = |parameter: &str| parameter.split('=').next().unwrap_or_default().to_string();
        let kept = parameters(query).filter(|one| !added.iter().any(|other| name(other) == name(one)));
        let translated: Vec<String> = if scheme.ends_with("+asyncpg") {
            let kept: Vec<&str> = kept.collect();
            let has_ssl = added.iter().chain(&kept).any(|one| name(one) == "ssl");
            kept.into_iter()
                .filter(|one| name(one) != "channel_binding" && !(has_ssl && name(one) == "sslmode"))
                .map(|one| one.strip_prefix("sslmode=").map_or(one.into(), |mode| format!("ssl={mode}")))
                .collect()
        } else {
            kept.map(Into::into).collect()
        };
        let query =
            translated.into_iter().chain(added.into_iter().map(Into::into)).collect::<Vec<_>>().join("&");
        let query = if query.is_empty() { query } else { format!("?{query}") };
        format!("{scheme}://{place}{query}")
    }
}

/// Returns true if a server at `host` runs on this machine or in a container: one of its names, the folder of a socket, or a
/// name without a dot. An empty host means the local socket.
pub fn is_local(host: &str) -> bool {
    is_this_machine(host) || host.starts_with('/') || !host.contains(['.', ':'])
}

/// Returns true for a character that belongs to a query. Quotes, blanks, commas and `$` end it.
pub fn is_query_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_=&%.+-:/~@".contains(c)
}

fn parameters(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|parameter| !parameter.is_empty())
}

/// Returns the decoded value of a query parameter of `url`; the last one if there are several.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    url.query_pairs().filter(|(key, _)| key == name).last().map(|(_, value)| value.into_owned())
}

/// Returns the parts of `url`; `None` if it is not a Postgres URL. Query parameters override the rest of the URL, as
/// with libpq.
pub fn parts(url: &str) -> Option<UrlParts> {
    let parsed = Url::parse(url).ok().filter(|parsed| is_postgres_scheme(parsed.scheme()))?;
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let query = |name: &str| parameter(url, name).filter(|value| !value.is_empty());
    let host = decoded(parsed.host_str().unwrap_or_default());
    let user = query("user").unwrap_or_else(|| decoded(parsed.username()));
    let name = decoded(parsed.path().trim_start_matches('/'));
    Some(UrlParts {
        host: query("host").unwrap_or_else(|| host.trim_matches(['[', ']']).to_string()),
        port: query("port").unwrap_or_else(|| parsed.port().unwrap_or(POSTGRES).to_string()),
        password: query("password").unwrap_or_else(|| decoded(parsed.password().unwrap_or_default())),
        name: query("dbname").unwrap_or_else(|| if name.is_empty() { user.clone() } else { name }),
        user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_takes_the_scheme_and_the_parameters_that_are_given() {
        let neon = "postgresql://u:p@h/d?sslmode=require&channel_binding=require";
        for (url, form, wanted) in [
            ("postgresql://u:p@h:1/d", "postgresql+psycopg", "postgresql+psycopg://u:p@h:1/d"),
            ("postgresql://u:p@h:1/d", "postgres?schema=public", "postgres://u:p@h:1/d?schema=public"),
            ("postgresql://u:p@h:1/d?a=1&b=2", "?b=3&c=4", "postgresql://u:p@h:1/d?a=1&b=3&c=4"),
            (neon, "postgresql+asyncpg", "postgresql+asyncpg://u:p@h/d?ssl=require"),
            (neon, "postgresql+asyncpg?ssl=disable", "postgresql+asyncpg://u:p@h/d?ssl=disable"),
            (neon, "postgresql", neon),
        ] {
            assert_eq!(UrlForm::read(form).unwrap().apply(url), wanted, "{form}");
        }
    }

    #[test]
    fn a_form_names_a_scheme_of_postgres() {
        for bad in
            ["", "mysql", "postgresql+", "postgresql+a b", "postgresql?a b", "-x", "postgresql+asyncpg?a=\"b"]
        {
            assert_eq!(UrlForm::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn parts_are_decoded() {
        let found = parts("postgresql+asyncpg://me%40x:p%2Fa%3As%25@[::1]:6000/my%20db?x=1").unwrap();
        let all = [&found.host, &found.port, &found.user, &found.password, &found.name];
        assert_eq!(all, ["::1", "6000", "me@x", "p/a:s%", "my db"]);
        let found = parts("postgresql://me@h").unwrap();
        assert_eq!([&found.port, &found.password, &found.name], ["5432", "", "me"]);
        let found = parts("postgresql:///app?host=/run/pg&port=5433&user=me").unwrap();
        assert_eq!([&found.host, &found.port, &found.user, &found.name], ["/run/pg", "5433", "me", "app"]);
        assert_eq!(parts("redis://h/0"), None);
    }

    #[test]
    fn a_password_is_not_printed() {
        assert!(!format!("{:?}", parts("postgresql://u:s3cret@h/d")).contains("s3cret"));
    }
}
