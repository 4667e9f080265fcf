//! Masks secrets in text that is about to be shown: output of child processes, command lines, URLs.

use std::ffi::{OsStr, OsString};

use percent_encoding::percent_decode_str;

use crate::error::Report;
use crate::event::{Broken, Event, Events, ProcessState};
use crate::plan::Plan;

/// The replacement of a secret.
pub(super) const HIDDEN: &str = "***";

/// Minimum length of a secret, in bytes. Shorter values are too likely to be ordinary words; inside URLs they are
/// masked too.
const SHORTEST: usize = 6;
/// Maximum length of a value of lower-case letters that counts as a word: `postgres`, `changeme`.
const LONGEST_WORD: usize = 10;

/// The secrets of one run.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first, because one may be part of another.
    secrets: Vec<String>,
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mask")
    }
}

impl Mask {
    /// Returns a mask for the passwords of `urls`, except those that are clearly not secret: `postgres:postgres`.
    pub fn of_urls<'a>(urls: impl IntoIterator<Item = &'a str>) -> Mask {
        let mut mask = Mask::default();
        urls.into_iter().for_each(|url| mask.learn_url(url));
        mask.sorted()
    }

    /// Returns a mask for the values of variables that are secret by name or value.
    pub fn of_variables<N: AsRef<OsStr>, V: AsRef<OsStr>>(vars: impl IntoIterator<Item = (N, V)>) -> Mask {
        let mut mask = Mask::default();
        for (name, value) in vars {
            let (name, value) = (name.as_ref().to_string_lossy(), value.as_ref().to_string_lossy());
            if !is_secret(&name, &value) {
                continue;
            }
            mask.learn_url(&value);
            let is_word = value.len() <= LONGEST_WORD && value.chars().all(|c| c.is_ascii_lowercase());
            // A URL without a password is no secret, and neither is the path of a file with credentials.
            if value.len() >= SHORTEST && !is_word && !value.contains("://") && !value.starts_with('/') {
                mask.secrets.push(value.into_owned());
            }
        }
        mask.sorted()
    }

    /// Returns a mask for `values`, all of which are secret.
    pub fn of_values<'a>(values: impl IntoIterator<Item = &'a OsStr>) -> Mask {
        let mut mask = Mask::default();
        for value in values {
            let value = value.to_string_lossy();
            mask.learn_url(&value);
            if value.len() >= SHORTEST {
                mask.secrets.push(value.into_owned());
            }
        }
        mask.sorted()
    }

    /// Returns a mask for the secrets in the environment of every process of `plan`.
    pub fn of_plan(plan: &Plan) -> Mask {
        let own = plan.processes.iter().flat_map(|process| &process.env);
        let own = own.map(|(name, value)| (OsStr::new(name), OsStr::new(value)));
        let all = plan.env.vars.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()));
        let of_shell = plan.env.shell_values.iter().map(OsString::as_os_str);
        Mask::of_variables(all.chain(own)).and(Mask::of_values(of_shell))
    }

    /// Returns true if `text` contains one of the secrets.
    pub fn finds(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret))
    }

    /// Combines two masks.
    #[must_use]
    pub fn and(mut self, other: Mask) -> Mask {
        self.secrets.extend(other.secrets);
        self.sorted()
    }

    fn learn_url(&mut self, url: &str) {
        let tokens = secret_parameters(url).filter(|value| value.len() >= SHORTEST);
        self.secrets.extend(tokens.map(Into::into));
        let userinfo = userinfo(url).and_then(|(range, _)| url[range].split_once(':'));
        let Some((user, password)) = userinfo else { return };
        let decoded = percent_decode_str(password).decode_utf8_lossy().into_owned();
        let known = [password.to_string(), decoded].into_iter();
        self.secrets.extend(known.filter(|secret| secret.len() >= SHORTEST && secret != user));
    }

    fn sorted(mut self) -> Mask {
        self.secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        self.secrets.dedup();
        self
    }

    /// Returns `report` with secrets in its message, cause and fix masked.
    #[must_use]
    pub fn report(&self, report: Report) -> Report {
        let apply = |text: String| self.apply(&text);
        Report {
            message: apply(report.message),
            cause: report.cause.map(apply),
            fix: report.fix.map(apply),
            ..report
        }
    }

    /// Returns a sender to `events` that masks secrets first.
    pub fn events(&self, events: &Events) -> Events {
        let (mask, events) = (self.clone(), events.clone());
        Events::new(move |event| events.send(mask.event(event)))
    }

    fn event(&self, event: Event) -> Event {
        let apply = |text: String| self.apply(&text);
        match event {
            Event::Note(text) => Event::Note(apply(text)),
            Event::Fetched(text) => Event::Fetched(apply(text)),
            Event::Warning(text) => Event::Warning(apply(text)),
            Event::StepStarted { step, doing } => Event::StepStarted { step, doing: apply(doing) },
            Event::StepProgress { step, detail } => Event::StepProgress { step, detail: apply(detail) },
            Event::StepDone { step, outcome, worked, took } => {
                Event::StepDone { step, outcome: apply(outcome), worked, took }
            }
            Event::NotYet { name, answer } => Event::NotYet { name, answer: apply(answer) },
            Event::Stopping { why, failure } => Event::Stopping { why: apply(why), failure },
            Event::Failed(report) => Event::Failed(self.report(report)),
            Event::Process { name, state } => {
                let state = match state {
                    ProcessState::Unready { why, fault } => ProcessState::Unready { why: apply(why), fault },
                    ProcessState::Stuck { broken } => ProcessState::Stuck {
                        broken: broken.map(|broken| Broken {
                            reason: apply(broken.reason),
                            fix: apply(broken.fix),
                            ..broken
                        }),
                    },
                    ProcessState::GaveUp { ended, restarts, said } => {
                        ProcessState::GaveUp { ended, restarts, said: said.map(apply) }
                    }
                    ProcessState::Skipped { why } => ProcessState::Skipped { why: apply(why) },
                    other => other,
                };
                Event::Process { name, state }
            }
            other => other,
        }
    }

    /// Returns `text` with secrets masked.
    pub fn apply(&self, text: &str) -> String {
        let mut text = hide_in_urls(text);
        for secret in &self.secrets {
            text = text.replace(secret, HIDDEN);
        }
        text
    }
}

/// Prefixes of keys from services: Stripe, Neon, GitHub, Slack, `OpenAI` and Anthropic, AWS, npm, GitLab; and that of PEM files.
const KEYS: [&str; 19] = [
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "rk_test_",
    "whsec_",
    "napi_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
    "sk-proj-",
    "sk-ant-",
    "AKIA",
    "ASIA",
    "npm_",
    "glpat-",
    "-----BEGIN ",
];

/// Returns true if `value` is a key of a service or a PEM file.
pub(super) fn is_key(value: &str) -> bool {
    KEYS.iter().any(|key| value.starts_with(key) && value.len() > key.len() + 3)
}

/// Returns true if a variable is secret, judged by its name and value.
pub fn is_secret(name: &str, value: &str) -> bool {
    names_a_secret(name)
        || is_key(value)
        || secret_parameters(value).next().is_some()
        || (value.contains("://") && userinfo(value).is_some_and(|(range, _)| value[range].contains(':')))
}

fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["KEY", "TOKEN", "CREDENTIALS", "_PWD"].iter().any(|end| name.ends_with(end))
        || ["PASSWORD", "PASSWD", "SECRET"].iter().any(|part| name.contains(part))
}

/// Returns the values of the parameters of `url` that are secret by their names: `libsql://host?authToken=…`. Returns none if `url` is
/// no URL. The path of a file with a key is no secret.
fn secret_parameters(url: &str) -> impl Iterator<Item = &str> {
    let query =
        url.split_once("://").and_then(|(_, rest)| rest.split_once('?')).map_or("", |(_, query)| query);
    let pairs = query.split(['&', '#']).filter_map(|pair| pair.split_once('='));
    let secret = pairs.filter(|(name, value)| names_a_secret(name) && !value.is_empty());
    secret.map(|(_, value)| value).filter(|value| !value.starts_with('/') && !value.starts_with("%2F"))
}

/// Returns `text` with `***` in place of every password in `://user:password@` and every value of `password=`.
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

/// Returns the URL of a database without secrets, for the user. Unless it is a Postgres, hides the values of all parameters, which may
/// be secrets: `libsql://host?authToken=…`.
pub fn shown_url(url: &str) -> String {
    let shown = hide_in_urls(url);
    match shown.split_once('?') {
        Some((place, query)) if !url.starts_with("postgres") => {
            let hide = |pair: &str| match pair.split_once('=') {
                Some((name, _)) => format!("{name}={HIDDEN}"),
                None => HIDDEN.into(),
            };
            format!("{place}?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&"))
        }
        _ => shown,
    }
}

/// Returns the range of `user:password` in the first URL of `text`, and the end of the URL's authority.
fn userinfo(text: &str) -> Option<(std::ops::Range<usize>, usize)> {
    let start = text.find("://")? + 3;
    let ends_authority = |c: char| c.is_whitespace() || "/?#\"'<>`".contains(c);
    let end = text[start..].find(ends_authority).map_or(text.len(), |at| start + at);
    let at = text[start..end].rfind('@').map_or(start, |at| start + at);
    Some((start..at, end))
}

fn hide_parameters(text: &str) -> String {
    const NAME: &str = "password=";
    // Has the same length as the text, because only ASCII letters change.
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

    fn mask(url: &str) -> Mask {
        Mask::of_urls([url, url])
    }

    #[test]
    fn secrets_of_variables_are_hidden_and_words_are_not() {
        let vars = [
            ("API_TOKEN", "tok-12345"),
            ("LONGER_TOKEN", "tok-12345-more"),
            ("POSTGRES_PASSWORD", "postgres"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/home/u/key.json"),
            ("DATABASE_URL", "postgresql://app:s%40cret9@h/d"),
            ("STRIPE", "sk_live_abcdef"),
            ("PLAIN", "not-secret"),
        ];
        let known = Mask::of_variables(vars);
        let said = "tok-12345-more tok-12345 postgres /home/u/key.json s@cret9 sk_live_abcdef not-secret";
        assert_eq!(known.apply(said), "*** *** postgres /home/u/key.json *** *** not-secret");
        let report = Report::new(crate::error::Code::NotReady, "tok-12345")
            .with_cause("tok-12345")
            .with_fix("tok-12345");
        let masked = known.report(report);
        let texts = [Some(masked.message), masked.cause, masked.fix];
        assert!(texts.iter().all(|text| text.as_deref() == Some(HIDDEN)), "{texts:?}");
    }

    #[test]
    fn names_and_values_that_are_secret_are_known() {
        for (name, value) in [
            ("MYSQL_PWD", "x"),
            ("STRIPE", "sk_live_abcdef"),
            ("GH", "ghp_abcdef"),
            ("U", "a://b:c@d"),
            ("U", "a://b?authToken=c"),
        ] {
            assert!(is_secret(name, value), "{name}");
        }
        for (name, value) in [
            ("PWD", "/w"),
            ("OLDPWD", "/w"),
            ("A", "sk_live_"),
            ("U", "http://localhost:3000/@x"),
            ("U", "a://b?sslkey=/c&x=d"),
        ] {
            assert!(!is_secret(name, value), "{name}");
        }
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
    fn parameters_of_other_databases_are_hidden() {
        for (url, shown) in [
            ("postgresql://me:pw@h/d?sslmode=require", "postgresql://me:***@h/d?sslmode=require"),
            ("sqlite:////w/x.db", "sqlite:////w/x.db"),
            ("libsql://h/d?authToken=pw&x=1", "libsql://h/d?authToken=***&x=***"),
            ("mysql://me:pw@h/d?pw", "mysql://me:***@h/d?***"),
        ] {
            assert_eq!(shown_url(url), shown);
        }
    }

    #[test]
    fn a_known_password_is_hidden_wherever_it_stands() {
        let known = mask("postgresql://me:s%40cret9@h/d");
        assert_eq!(known.apply("got s@cret9 or s%40cret9"), "got *** or ***");
        assert_eq!(mask("postgresql://postgres:postgres@h/d").apply("in postgres"), "in postgres");
        assert_eq!(mask("libsql://h/d?authToken=tok-12345&x=1").apply("got tok-12345"), "got ***");
        let both = mask("http://u:first-1@h").and(mask("http://u:first-1-second@h"));
        assert_eq!(both.apply("first-1-second first-1"), "*** ***");
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
