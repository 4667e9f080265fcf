//! Gives a command the port of its worktree: replaces the port in it by `$PORT`, or adds the option of a known server. Pure.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::recognition::parts::command_line::{self, Simple};

/// A port in a command: after an option, after a variable, after `http.server` and `runserver`, or at the end of an address. An
/// address in a URL is that of another server.
static PORT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let option = r"(?P<option>(?:^|\s)(?:--port|--server\.port|--listen-port|-p)[= ]+)\d{2,5}";
    let variable = r"(?P<variable>\b(?:(?:APP_|SERVER_|HTTP_|API_|WEB_)?PORT)=)\d{2,5}";
    let module = r"(?P<module>\bhttp\.server)(?:\s+\d{2,5})?";
    let django = r"(?P<django>\brunserver)(?:\s+(?:[\d.]+:)?(?P<django_port>\d{4,5}))?";
    let address =
        r#"(?P<before>(?:^|[\s="]))(?:(?:0\.0\.0\.0|127\.0\.0\.1|localhost|\[::\]|\*)?:(?P<number>\d{4,5}))"#;
    Regex::new(&format!(r"(?:{option}|{variable}|{module}|{django}|{address})(?P<end>$|[\s;&|)/])")).ok()
});

/// Servers that do not read PORT: program, a word that must be among its arguments (or none), and the words that set their port.
const OPTIONS: [(&str, &str, &str); 13] = [
    ("flask", "run", "--port $PORT"),
    ("quart", "run", "--port $PORT"),
    ("litestar", "run", "--port $PORT"),
    ("sanic", "", "--port $PORT"),
    ("uvicorn", "", "--port $PORT"),
    ("hypercorn", "", "--bind $DEVRUN_HOST:$PORT"),
    ("gunicorn", "", "--bind $DEVRUN_HOST:$PORT"),
    ("streamlit", "run", "--server.port $PORT --server.headless true"),
    ("mkdocs", "serve", "--dev-addr $DEVRUN_HOST:$PORT"),
    ("hugo", "server", "--port $PORT"),
    ("jekyll", "serve", "--port $PORT"),
    ("dotnet", "run", "--urls http://$DEVRUN_HOST:$PORT"),
    ("php", "serve", "--port=$PORT"),
];

/// Variables that set the port of servers which a build tool starts: a word of the command, and the variable.
const VARIABLES: [(&str, &str); 3] =
    [("bootRun", "SERVER_PORT"), ("spring-boot:run", "SERVER_PORT"), ("quarkusDev", "QUARKUS_HTTP_PORT")];

/// A command that takes its port from `$PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortedCommand {
    pub(super) text: String,
    /// The port that the command had.
    pub(super) port: Option<u16>,
}

/// Returns the command with `$PORT` for its port; `None` if it states no port and starts no server with a known option. Also returns
/// `None` for a command that uses `$PORT` already, and for a command with backticks or with single quotes, in which the shell
/// replaces no variables.
pub(super) fn with_port(text: &str) -> Option<PortedCommand> {
    if text.contains(['\'', '`']) || text.contains("$PORT") || text.contains("${PORT") {
        return None;
    }
    let pattern = PORT.as_ref()?;
    let mut port = None;
    let replaced = pattern.replace_all(text, |found: &Captures<'_>| {
        let digits: String = found[0].chars().filter(char::is_ascii_digit).collect();
        let group = |name: &str| found.name(name).map(|group| group.as_str());
        let end = group("end").unwrap_or_default();
        // The digits of `127.0.0.1` belong to the host.
        let number = group("number").or(group("django_port")).unwrap_or(&digits).parse().ok();
        port = port.or(number.filter(|number| *number > 0));
        if let Some(kept) = group("option").or(group("variable")) {
            return format!("{kept}$PORT{end}");
        }
        match (group("module"), group("django")) {
            (Some(module), _) => format!("{module} $PORT{end}"),
            (_, Some(django)) => format!("{django} $DEVRUN_HOST:$PORT{end}"),
            _ => format!("{}$DEVRUN_HOST:$PORT{end}", group("before").unwrap_or_default()),
        }
    });
    if replaced != text {
        return Some(PortedCommand { text: replaced.into_owned(), port });
    }
    added(text).map(|text| PortedCommand { text, port: None })
}

/// Returns the command with the words that set the port of its last program.
fn added(text: &str) -> Option<String> {
    if let Some((_, name)) = VARIABLES.iter().find(|(word, _)| text.contains(word)) {
        return Some(format!("{name}=$PORT {text}"));
    }
    let commands = command_line::commands(text);
    let last = commands.last()?;
    let fits = |(program, word, _): &&(&str, &str, &str)| {
        *program == last.program && (word.is_empty() || last.has(word))
    };
    let (.., words) = OPTIONS.iter().find(fits)?;
    // Unix sockets and inherited sockets are no ports.
    let has_address = |last: &Simple| last.option(&["--fd", "--bind", "-b", "--uds"]).is_some();
    (!has_address(last) && !text.ends_with('&')).then(|| format!("{text} {words}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ports_of_commands_are_replaced() {
        for (text, expected, port) in [
            ("python server.py --port 8000", "python server.py --port $PORT", Some(8000)),
            ("php -S localhost:8080", "php -S $DEVRUN_HOST:$PORT", Some(8080)),
            ("php -S 127.0.0.1:8080 -t public", "php -S $DEVRUN_HOST:$PORT -t public", Some(8080)),
            ("go run . -addr=:9090", "go run . -addr=$DEVRUN_HOST:$PORT", Some(9090)),
            ("python3 -m http.server 8000", "python3 -m http.server $PORT", Some(8000)),
            ("python3 -m http.server", "python3 -m http.server $PORT", None),
            ("PORT=4000 node server.js", "PORT=$PORT node server.js", Some(4000)),
            (
                "python manage.py runserver 0.0.0.0:8000",
                "python manage.py runserver $DEVRUN_HOST:$PORT",
                Some(8000),
            ),
            ("flask run", "flask run --port $PORT", None),
            ("php artisan serve", "php artisan serve --port=$PORT", None),
            ("./gradlew bootRun", "SERVER_PORT=$PORT ./gradlew bootRun", None),
        ] {
            let found = with_port(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(found.text, expected);
            if port.is_some() {
                assert_eq!(found.port, port, "{text}");
            }
        }
    }

    #[test]
    fn other_numbers_and_addresses_stay() {
        for text in [
            "node server.js",
            "DB_PORT=5432 node server.js",
            "node server.js --api http://localhost:9000/",
            "node server.js --port $PORT",
            "sh -c 'node server.js --port 8000'",
            "gunicorn --bind unix:/run/app.sock app",
        ] {
            assert_eq!(with_port(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_command_makes_it_panic(text in "[a-zA-Z0-9 :=./$&|;()*-]{0,80}") {
            let _ = with_port(&text);
        }
    }
}
