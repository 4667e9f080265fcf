//! Derives the meaning of variables from their names: an address of which part, a list of what, a secret of which kind.
//!
//! Names decide only where values cannot: between two parts with the same usual port, and for variables without a
//! value.

pub(super) use crate::config::names::words;

/// A side of the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProductSide {
    /// The part that serves the API.
    Backend,
    /// The part that serves the pages.
    Frontend,
}

/// Prefixes that bundlers require. They decide which code may read the variable, and do not affect its meaning.
const BUNDLERS: &[&str] = &["NEXT_PUBLIC_", "REACT_APP_", "NUXT_PUBLIC_", "EXPO_PUBLIC_", "VITE_", "PUBLIC_"];

/// Words in names for the address of the API.
const API: &[&str] = &["API", "BACKEND", "FASTAPI", "SERVER"];

/// Words in names for the address of the pages.
const PAGES: &[&str] = &[
    "FRONTEND",
    "WEB",
    "WEBSITE",
    "WEBAPP",
    "APP",
    "CLIENT",
    "UI",
    "SITE",
    "NEXTAUTH",
    "DASHBOARD",
    "PORTAL",
];

/// Words in names of addresses that have no meaning of their own.
const FILLERS: &[&str] = &[
    "URL",
    "URI",
    "ORIGIN",
    "ENDPOINT",
    "ROOT",
    "BASE",
    "BASEURL",
    "HOST",
    "HTTP",
    "REST",
    "WS",
    "WEBSOCKET",
    "SOCKET",
    "INTERNAL",
    "EXTERNAL",
    "PUBLIC",
    "LOCAL",
    "DEV",
    "DEFAULT",
    "SSR",
    "SIDE",
    "PROXY",
    "TARGET",
    "GATEWAY",
    "PYTHON",
    "SERVICE",
    "ADDRESS",
    "V1",
    "NEXT",
    "PATH",
    "MAIN",
    "CORE",
];

/// Variables that hold the only origin of the pages.
const ORIGIN: &[&str] = &[
    "FRONTEND_URL",
    "FRONTEND_HOST",
    "FRONTEND_ORIGIN",
    "FRONTEND_BASE_URL",
    "NEXTAUTH_URL",
    "AUTH_URL",
    "APP_ORIGIN",
    "APP_URL",
    "APP_BASE_URL",
    "BETTER_AUTH_URL",
    "SITE_URL",
    "CLIENT_URL",
    "CLIENT_ORIGIN",
    "WEB_URL",
    "WEBSITE_URL",
    "WEB_APP_URL",
    "WEBAPP_URL",
    "UI_URL",
];

/// Returns the name without the prefix of a bundler.
fn bare(name: &str) -> &str {
    BUNDLERS.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
}

fn has(words: &[String], any: &[&str]) -> bool {
    words.iter().any(|word| any.contains(&word.as_str()))
}

/// Returns the side that the name means an address of. If it contains words of both, returns the API (`WEB_API_URL`).
pub(super) fn side(name: &str) -> Option<ProductSide> {
    let words = words(bare(name));
    if has(&words, API) {
        Some(ProductSide::Backend)
    } else if has(&words, PAGES) {
        Some(ProductSide::Frontend)
    } else {
        None
    }
}

/// Returns true if the name clearly means the address of the product's own API, because each of its words is used in
/// such names. `OPENAI_API_BASE_URL` is not one.
pub(super) fn is_backend_address(name: &str) -> bool {
    let words = words(bare(name));
    let ends = has(
        &words,
        &["URL", "URI", "ORIGIN", "ENDPOINT", "ROOT", "BASE", "BASEURL", "HOST", "TARGET", "ADDRESS"],
    );
    let known = |word: &String| {
        [API, FILLERS].concat().contains(&word.as_str()) || ["CLIENT", "APP", "WEB"].contains(&word.as_str())
    };
    ends && has(&words, API) && words.iter().all(known)
}

/// Returns true if the name means an address of a WebSocket.
pub(super) fn is_socket_address(name: &str) -> bool {
    has(&words(name), &["WS", "WSS", "WEBSOCKET", "SOCKET"])
}

/// Returns true if the name means a host without scheme and port.
pub(super) fn is_host(name: &str) -> bool {
    words(name).last().is_some_and(|word| word == "HOST" || word == "HOSTNAME")
}

/// Returns true if the name means a port alone.
pub(super) fn is_port(name: &str) -> bool {
    words(name).last().is_some_and(|word| word == "PORT")
}

/// Returns true if the name means the only origin of the pages.
pub(super) fn is_page_origin(name: &str) -> bool {
    ORIGIN.contains(&bare(name))
}

/// Returns true if the name means the origins that an API allows.
pub(super) fn is_origin_list(name: &str) -> bool {
    let words = words(name);
    has(&words, &["ORIGINS"])
        || (has(&words, &["CORS"]) && has(&words, &["ORIGIN", "ALLOWED", "ALLOW", "URLS"]))
}

/// Returns true if the name means a key with which the product signs or encrypts. Any random text can be such a key.
pub(super) fn is_signing_key(name: &str) -> bool {
    let words = words(bare(name));
    let last = words.last().map(String::as_str).unwrap_or_default();
    let product = [
        "SECRET",
        "JWT",
        "NEXTAUTH",
        "AUTH",
        "BETTER",
        "SESSION",
        "SIGNING",
        "ENCRYPTION",
        "COOKIE",
        "CSRF",
        "APP",
        "KEY",
        "TOKEN",
        "ACCESS",
        "REFRESH",
        "API",
        "DJANGO",
        "FLASK",
        "BACKEND",
        "HASH",
        "SALT",
        "RESET",
        "VERIFICATION",
        "PASSWORD",
        "USER",
        "MANAGER",
        "SERVER",
        "SECURITY",
        "APPLICATION",
        "FERNET",
        "INTERNAL",
    ];
    let secret = match last {
        "SECRET" => true,
        "KEY" => has(&words, &["SECRET", "SIGNING", "ENCRYPTION", "JWT", "SESSION", "COOKIE", "FERNET"]),
        _ => false,
    };
    secret && words.iter().all(|word| product.contains(&word.as_str()))
}

/// Returns true if a user must type the value, for example a password. Random bytes would lock the user out.
pub fn is_typed(name: &str) -> bool {
    let words = words(name);
    has(&words, &["PASSWORD", "PASS", "PWD", "PIN"]) && !is_signing_key(name)
}

/// Returns true if the name means a key that another company issues.
pub(super) fn is_foreign_key(name: &str) -> bool {
    let words = words(bare(name));
    let last = words.last().map(String::as_str).unwrap_or_default();
    !is_signing_key(name)
        && !is_typed(name)
        && (matches!(last, "KEY" | "TOKEN" | "SECRET" | "DSN" | "APIKEY" | "SID")
            || name.ends_with("CLIENT_ID")
            || name.ends_with("PUBLISHABLE_KEY"))
}

/// Returns true if the value is a placeholder that the user must replace.
pub(super) fn is_placeholder(value: &str) -> bool {
    let lower = value.trim().to_lowercase();
    let marks = [
        "your",
        "changeme",
        "change-me",
        "change_me",
        "changethis",
        "replace",
        "xxx",
        "placeholder",
        "todo",
        "<",
        "...",
        "example.com",
        "insert",
        "fill",
        "put-",
        "put_",
    ];
    lower.is_empty()
        || marks.iter().any(|mark| lower.contains(mark))
        || lower.chars().all(|c| c == '*' || c == 'x')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_own_api_are_plain_and_names_of_other_companies_are_not() {
        for name in [
            "NEXT_PUBLIC_API_URL",
            "VITE_API_URL",
            "API_BASE_URL",
            "BACKEND_URL",
            "API_INTERNAL_URL",
            "FASTAPI_INTERNAL_URL",
            "NEXT_PUBLIC_API_ROOT",
            "NEXT_PUBLIC_BACKEND_BASE_URL",
            "REACT_APP_API_URL",
            "API_ORIGIN",
            "BACKEND_API_URL",
        ] {
            assert!(is_backend_address(name), "{name}");
        }
        for name in
            ["OPENAI_API_BASE_URL", "STRIPE_API_URL", "NEXT_PUBLIC_BASE_URL", "API_KEY", "SUPABASE_URL"]
        {
            assert!(!is_backend_address(name), "{name}");
        }
    }

    #[test]
    fn signing_keys_are_random_and_passwords_and_keys_of_other_companies_are_not() {
        for name in [
            "SECRET_KEY",
            "JWT_SECRET",
            "NEXTAUTH_SECRET",
            "AUTH_SECRET",
            "JWT_SECRET_KEY",
            "COOKIE_SIGNING_KEY",
        ] {
            assert!(is_signing_key(name) && !is_foreign_key(name), "{name}");
        }
        for name in [
            "STRIPE_SECRET_KEY",
            "OPENAI_API_KEY",
            "GOOGLE_CLIENT_SECRET",
            "SENTRY_DSN",
            "AWS_SECRET_ACCESS_KEY",
        ] {
            assert!(!is_signing_key(name) && is_foreign_key(name), "{name}");
        }
        assert!(is_typed("FIRST_SUPERUSER_PASSWORD") && !is_signing_key("FIRST_SUPERUSER_PASSWORD"));
        assert!(!is_signing_key("JWT_PRIVATE_KEY"));
    }

    #[test]
    fn the_side_of_a_name_ignores_the_prefix_of_the_bundler() {
        assert_eq!(side("REACT_APP_BASE"), None);
        assert_eq!(side("NEXT_PUBLIC_APP_URL"), Some(ProductSide::Frontend));
        assert_eq!(side("WEB_API_URL"), Some(ProductSide::Backend));
        assert_eq!(side("NEXTAUTH_URL"), Some(ProductSide::Frontend));
    }
}
