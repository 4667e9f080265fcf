//! Takes passwords out of text that is about to be shown: commands' output, command lines.

use percent_encoding::percent_decode_str;

use crate::database::Branch;

/// What passwords are replaced by.
pub const HIDDEN: &str = "***";

/// Shorter passwords are too likely to be words of their own; they are still hidden inside URLs.
const SHORTEST: usize = 6;

/// Knows the passwords of one database.
#[derive(Clone)]
pub struct Mask {
    secrets: Vec<String>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// Hides the passwords of `branch` wherever they stand, unless they are plainly not secret: `postgres:postgres`.
    pub fn new(branch: &Branch) -> Mask {
        let mut secrets = Vec::new();
        for url in [&branch.url, &branch.direct_url] {
            let Some((user, password)) = userinfo(url).and_then(|(range, _)| url[range].split_once(':'))
            else {
                continue;
            };
            let decoded = percent_decode_str(password).decode_utf8_lossy().into_owned();
            secrets.extend(
                [password.to_string(), decoded].into_iter().filter(|s| s.len() >= SHORTEST && s != user),
            );
        }
        Mask { secrets }
    }

    /// `text` without passwords.
    pub fn apply(&self, text: &str) -> String {
        let mut text = hide_in_urls(text);
        for secret in &self.secrets {
            text = text.replace(secret, HIDDEN);
        }
        text
    }
}

/// `text` with every `://user:password@` as `://user:***@`, and every `password=…` likewise.
pub fn hide_in_urls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((range, end)) = userinfo(rest) {
        let user = rest[range.clone()].split_once(':').map(|(user, _)| user.len());
        match user {
            Some(length) => {
                shown.push_str(&rest[..=range.start + length]);
                shown.push_str(HIDDEN);
                shown.push_str(&rest[range.end..end]);
            }
            None => shown.push_str(&rest[..end]),
        }
        rest = &rest[end..];
    }
    shown.push_str(rest);
    hide_parameters(&shown)
}

/// Where the `user:password` of the first URL in `text` stands, and where its authority ends.
fn userinfo(text: &str) -> Option<(std::ops::Range<usize>, usize)> {
    let start = text.find("://")? + 3;
    let ends_authority = |c: char| c.is_whitespace() || "/?#\"'<>`".contains(c);
    let end = text[start..].find(ends_authority).map_or(text.len(), |at| start + at);
    let at = text[start..end].rfind('@').map_or(start, |at| start + at);
    Some((start..at, end))
}

fn hide_parameters(text: &str) -> String {
    const NAME: &str = "password=";
    // Same length as the text: only ASCII letters change.
    let lower = text.to_ascii_lowercase();
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = lower[from..].find(NAME) {
        let value = from + at + NAME.len();
        let length = text[value..].find(|c: char| c.is_whitespace() || "&;,\"')".contains(c));
        let end = length.map_or(text.len(), |length| value + length);
        shown.push_str(&text[from..value]);
        shown.push_str(if end > value { HIDDEN } else { "" });
        from = end;
    }
    shown.push_str(&text[from..]);
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::plan::DatabaseOrigin;

    fn mask(url: &str) -> Mask {
        Mask::new(&Branch {
            id: "1".into(),
            name: "b".into(),
            url: url.into(),
            direct_url: url.into(),
            door: None,
            origin: DatabaseOrigin::Existing,
            copied_from: None,
        })
    }

    #[test]
    fn passwords_in_urls_and_parameters_are_hidden() {
        for (text, shown) in [
            ("to postgresql://me:pw@h:5/d?x=1, then", "to postgresql://me:***@h:5/d?x=1, then"),
            ("'postgresql+psycopg://me:p@w@h/d' http://a/b", "'postgresql+psycopg://me:***@h/d' http://a/b"),
            ("http://localhost:3000/@id and x@y.z", "http://localhost:3000/@id and x@y.z"),
            ("host=h password=pw dbname=d", "host=h password=*** dbname=d"),
            ("PGPASSWORD=pw psql", "PGPASSWORD=*** psql"),
            ("https://token@host/", "https://token@host/"),
            ("://", "://"),
        ] {
            assert_eq!(hide_in_urls(text), shown);
        }
    }

    #[test]
    fn a_known_password_is_hidden_wherever_it_stands() {
        let known = mask("postgresql://me:s%40cret9@h/d");
        assert_eq!(known.apply("got s@cret9 or s%40cret9"), "got *** or ***");
        assert_eq!(mask("postgresql://postgres:postgres@h/d").apply("in postgres"), "in postgres");
    }

    proptest! {
        #[test]
        fn no_text_around_it_saves_the_password(before in "[ -~é]{0,20}", after in "[ -~é]{0,20}") {
            let shown = mask("postgresql://me:Xsecret5@h/d").apply(&format!("{before}Xsecret5{after}"));
            prop_assert!(!shown.contains("Xsecret5"), "{}", shown);
        }

        #[test]
        fn text_without_secrets_stays(text in "[a-z :/.é]{0,40}") {
            prop_assert_eq!(hide_in_urls(&text), text);
        }
    }
}
