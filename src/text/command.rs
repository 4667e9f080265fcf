//! Masks secrets in command lines of processes, which devrun did not write and shows to the user.
//!
//! Recognises the usual ways to pass a secret: URLs, variables, options, HTTP headers, `user:password`, and the short options of database
//! clients. A secret that is passed in another way is not recognised.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::mask::{HIDDEN, hide_in_urls, is_key, is_secret};

/// Options whose value may be `user:password`.
const CREDENTIALS: [&str; 6] = ["-a", "-u", "--auth", "--basic-auth", "--proxy-user", "--user"];
/// Options whose value is a secret, in addition to those with a secret name.
const SECRETS: [&str; 4] = ["--cookie", "--pass", "--pwd", "--requirepass"];
/// Programs, and the short option that passes them a password: in the same word only, or in the same or the next word.
const PASSWORDS: [(&[&str], &str, OptionForm); 4] = [
    (
        &["mariadb", "mariadb-admin", "mariadb-dump", "mycli", "mysql", "mysqladmin", "mysqldump"],
        "-p",
        OptionForm::Same,
    ),
    (&["mongo", "mongodump", "mongorestore", "mongosh", "sshpass"], "-p", OptionForm::Both),
    (&["redis-cli", "valkey-cli"], "-a", OptionForm::Both),
    (&["sqlcmd", "unzip", "zip"], "-P", OptionForm::Both),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum OptionForm {
    Same,
    Both,
}

/// A header of HTTP with a secret, up to the end of its quotes; and a token with its scheme.
static HEADER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)(?P<name>[\w-]+):(?P<blank>[ \t]*)(?P<value>[^'"\r\n]+)|\b(?P<scheme>bearer|basic|token)(?P<gap> +)[\w.~+/=-]{4,}"#).ok()
});

/// Returns the command line of `arguments`, joined by spaces, with `***` in place of secrets: passwords in URLs, keys, and the values
/// of arguments such as `API_KEY=…`, `--token …`, `-H "Authorization: …"`, `-u user:…` and `mysql -p…`.
pub fn hide_in_command<'a>(arguments: impl IntoIterator<Item = &'a str>) -> String {
    let mut line = ShownCommand::default();
    arguments.into_iter().map(|argument| line.argument(argument)).collect::<Vec<_>>().join(" ")
}

/// The meaning of the next word, from the words before it.
#[derive(Default)]
struct ShownCommand {
    /// Short options that pass a password to a program that was named.
    passwords: Vec<(&'static str, OptionForm)>,
    next: NextWord,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum NextWord {
    #[default]
    Anything,
    Secret,
    Credentials,
}

impl ShownCommand {
    fn argument(&mut self, argument: &str) -> String {
        let shown = headers(argument);
        // A whole command line may be one argument of a shell.
        if self.next == NextWord::Anything && shown.contains(' ') {
            return shown.split(' ').map(|word| self.word(word)).collect::<Vec<_>>().join(" ");
        }
        self.word(&shown)
    }

    fn word(&mut self, word: &str) -> String {
        match std::mem::take(&mut self.next) {
            NextWord::Secret if !word.starts_with("--") && !word.is_empty() => return HIDDEN.into(),
            NextWord::Credentials if !word.starts_with('-') => {
                return credentials(word).unwrap_or_else(|| hide_in_urls(word));
            }
            _ => {}
        }
        let program = word.trim_matches(['\'', '"']).rsplit('/').next().unwrap_or_default();
        let known = PASSWORDS.iter().filter(|(programs, _, _)| programs.contains(&program));
        self.passwords.extend(known.map(|(_, option, place)| (*option, *place)));
        if let Some(hidden) = self.short_option(word) {
            return hidden;
        }
        if let Some((name, value)) = word.split_once('=') {
            if !value.is_empty() && (names_secret(name) || is_key(value)) {
                return format!("{name}={HIDDEN}");
            }
            let hidden = credentials(value).filter(|_| CREDENTIALS.contains(&name));
            return hidden.map_or_else(|| hide_in_urls(word), |hidden| format!("{name}={hidden}"));
        }
        if word.starts_with("--") && names_secret(word) {
            self.next = NextWord::Secret;
        } else if CREDENTIALS.contains(&word) {
            self.next = NextWord::Credentials;
        }
        if is_key(word) { HIDDEN.into() } else { hide_in_urls(word) }
    }

    /// Returns a short option with its value hidden, if it has one.
    fn short_option(&mut self, word: &str) -> Option<String> {
        let (option, value) = (word.get(..2)?, word.get(2..)?);
        if !option.starts_with('-') || option == "--" {
            return None;
        }
        let known = self.passwords.iter().find(|(own, _)| *own == option);
        if value.is_empty() {
            known.filter(|(_, place)| *place == OptionForm::Both)?;
            self.next = NextWord::Secret;
            return Some(word.into());
        }
        if known.is_some() || (option == "-p" && may_be_password(value)) {
            return Some(format!("{option}{HIDDEN}"));
        }
        let hidden = credentials(value).filter(|_| CREDENTIALS.contains(&option));
        hidden.map(|hidden| format!("{option}{hidden}"))
    }
}

fn names_secret(name: &str) -> bool {
    SECRETS.contains(&name) || is_secret(&name.trim_start_matches('-').replace('-', "_"), "")
}

/// Returns true for a value behind `-p` that is neither a port, nor a path, nor the rest of a long option such as `-print`.
fn may_be_password(value: &str) -> bool {
    let is_port = value.chars().all(|c| c.is_ascii_digit() || ".:".contains(c));
    let is_path = value.contains('/') || value.starts_with('.');
    let is_word =
        value.split('=').next().is_some_and(|word| word.chars().all(|c| c.is_ascii_lowercase() || c == '-'));
    !is_port && !is_path && !is_word
}

/// Returns `user:***` for `user:password`. Ids (`1000:1000`), addresses (`127.0.0.1:80`) and URLs have no password there.
fn credentials(value: &str) -> Option<String> {
    let (user, password) = value.split_once(':')?;
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    let is_address = (user.is_empty() || user.contains('.') || user == "localhost") && is_number(password);
    let is_id = is_number(user) && is_number(password);
    let has_one = !password.is_empty() && !password.starts_with("//") && !is_address && !is_id;
    has_one.then(|| format!("{user}:{HIDDEN}"))
}

/// Returns the text with the values of secret headers hidden.
fn headers(text: &str) -> String {
    let hide = |found: &Captures<'_>| {
        if let Some(scheme) = found.name("scheme") {
            return format!("{}{}{HIDDEN}", scheme.as_str(), &found["gap"]);
        }
        let (name, blank) = (&found["name"], &found["blank"]);
        let lower = name.to_ascii_lowercase();
        let is_known = ["authorization", "cookie"].iter().any(|end| lower.ends_with(end));
        if is_known || is_secret(&name.replace('-', "_"), "") {
            format!("{name}:{blank}{HIDDEN}")
        } else {
            // The value may hold another header.
            format!("{name}:{blank}{}", headers(&found["value"]))
        }
    };
    HEADER.as_ref().map_or_else(|| text.into(), |header| header.replace_all(text, hide).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_in_a_command_line_are_hidden() {
        let shown = |line: &str| hide_in_command(line.split(' '));
        for (line, wanted) in [
            ("vite --port 3000 --host", "vite --port 3000 --host"),
            ("psql postgres://u:pw@h/d", "psql postgres://u:***@h/d"),
            ("env STRIPE_API_KEY=abc node a.js", "env STRIPE_API_KEY=*** node a.js"),
            ("serve --token abc --auth-token=abc x", "serve --token *** --auth-token=*** x"),
            ("serve --token --port 1", "serve --token --port 1"),
            ("login sk_live_abcdef A=ghp_abcdef", "login *** A=***"),
            ("ssh-keygen -f key", "ssh-keygen -f key"),
            ("curl -u me:pw http://h", "curl -u me:*** http://h"),
            ("curl -ume:pw --proxy-user=me:pw x", "curl -ume:*** --proxy-user=me:*** x"),
            ("http -a me:1234 x", "http -a me:*** x"),
            ("docker run -u 1000:1000 -p8080:80 x", "docker run -u 1000:1000 -p8080:80 x"),
            ("serve -a 127.0.0.1:8080", "serve -a 127.0.0.1:8080"),
            ("/usr/bin/mysql -uroot -psecret app", "/usr/bin/mysql -uroot -p*** app"),
            ("mysql -u root -p app", "mysql -u root -p app"),
            ("sshpass -p secret ssh h", "sshpass -p *** ssh h"),
            ("redis-cli -a secret ping", "redis-cli -a *** ping"),
            ("tool -pS3cret x", "tool -p*** x"),
            ("next dev -p3000", "next dev -p3000"),
            ("tsc -p./tsconfig.json -pretty", "tsc -p./tsconfig.json -pretty"),
            ("redis-server --requirepass secret", "redis-server --requirepass ***"),
        ] {
            assert_eq!(shown(line), wanted);
        }
    }

    #[test]
    fn arguments_with_blanks_are_read_too() {
        for (arguments, wanted) in [
            (&["curl", "-H", "Authorization: Bearer abc.def"][..], "curl -H Authorization: ***"),
            (&["curl", "-HX-Api-Key: abc", "x"], "curl -HX-Api-Key: *** x"),
            (&["curl", "--header=Cookie: a=1; b=2"], "curl --header=Cookie: ***"),
            (&["curl", "-H", "Accept: text/html"], "curl -H Accept: text/html"),
            (&["serve", "--password", "two words", "x"], "serve --password *** x"),
            (
                &["sh", "-c", "curl -H 'Authorization: Bearer abc' -u me:pw http://h && mysql -psecret"],
                "sh -c curl -H 'Authorization: ***' -u me:*** http://h && mysql -p***",
            ),
            (&["wscat", "-H", "x: Bearer abcdef"], "wscat -H x: Bearer ***"),
        ] {
            assert_eq!(hide_in_command(arguments.iter().copied()), wanted);
        }
    }

    proptest! {
        #[test]
        fn every_command_line_is_read(words in prop::collection::vec("[ -~é]{0,12}", 0..6)) {
            let _ = hide_in_command(words.iter().map(String::as_str));
        }

        #[test]
        fn a_password_behind_a_known_option_never_shows(password in "[a-zA-Z0-9!?]{4,12}") {
            for line in [format!("mysql -p{password}"), format!("curl -u me:{password}x"), format!("a --password {password}")] {
                let shown = hide_in_command(line.split(' '));
                prop_assert!(!shown.contains(&password) || "mysqlcurlme--password".contains(&password), "{}", shown);
            }
        }
    }
}
