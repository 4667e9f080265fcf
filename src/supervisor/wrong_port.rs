//! Recognises a server that listens on a wrong port, and names the option that corrects it. Pure.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use crate::plan::{PortUse, Process};

/// Returns true for a port that debuggers and Vite's reloader open in addition to a server's port. Node counts up from 9229.
fn is_beside(port: u16) -> bool {
    matches!(port, 5678 | 9229..=9239 | 24678)
}

/// A server that binds a port itself: the word of a command line that names it, its command without an option for the port, that
/// option, and options with a value that would contradict it.
const BINDS: [KnownServer; 14] = [
    KnownServer::new("vite", "vite", "--port $PORT --strictPort", &["--port"]),
    KnownServer::new("next", "next dev", "--port $PORT", &["--port", "-p"]),
    KnownServer::new("nuxt", "nuxt dev", "--port $PORT", &["--port", "-p"]),
    KnownServer::new("astro", "astro dev", "--port $PORT", &["--port"]),
    KnownServer::new("webpack", "webpack serve", "--port $PORT", &["--port"]),
    KnownServer::new("ng", "ng serve", "--port $PORT", &["--port"]),
    KnownServer::new("uvicorn", "uvicorn", "--port $PORT", &["--port", "--fd", "--uds"]),
    KnownServer::new("fastapi", "fastapi dev", "--port $PORT", &["--port"]),
    KnownServer::new("gunicorn", "gunicorn", "--bind 127.0.0.1:$PORT", &["--bind", "-b"]),
    KnownServer::new("hypercorn", "hypercorn", "--bind 127.0.0.1:$PORT", &["--bind", "-b"]),
    KnownServer::new("flask", "flask run", "--port $PORT", &["--port", "-p"]),
    KnownServer::new("runserver", "manage.py runserver", "$PORT", &[]),
    KnownServer::new("http.server", "python -m http.server", "$PORT", &[]),
    KnownServer::new("rails", "rails server", "--port $PORT", &["--port", "-p"]),
];

/// The same for servers that accept a socket. `FD` stands for the variable with its descriptor number.
const LISTENS: [KnownServer; 3] = [
    KnownServer::new("uvicorn", "uvicorn", "--fd $FD", &["--port", "--host", "--uds", "--fd"]),
    KnownServer::new("gunicorn", "gunicorn", "--bind fd://$FD", &["--bind", "-b"]),
    KnownServer::new("hypercorn", "hypercorn", "--bind fd://$FD", &["--bind", "-b"]),
];

struct KnownServer {
    word: &'static str,
    command: &'static str,
    option: &'static str,
    replaced: &'static [&'static str],
}

impl KnownServer {
    const fn new(
        word: &'static str,
        command: &'static str,
        option: &'static str,
        replaced: &'static [&'static str],
    ) -> KnownServer {
        KnownServer { word, command, option, replaced }
    }

    /// Returns the command with the option for the port: `run` with its other options, if `run` is a plain command of this server,
    /// else the shortest command of the server.
    fn advised(&self, run: &str) -> String {
        let mut words: Vec<&str> = run.split_whitespace().collect();
        let is_plain = !run.contains(['&', '|', ';', '\n', '`', '(', '<', '>', '#']);
        let place = words.iter().position(|word| is_program(word, self.word)).filter(|_| is_plain);
        let Some(place) = place else { return format!("{} {}", self.command, self.option) };
        if self.replaced.is_empty() {
            // The port is an argument, with or without an address before it.
            let is_port =
                |word: &&str| word.ends_with(|c: char| c.is_ascii_digit()) && !word.starts_with('-');
            let given = usize::from(words.get(place + 1).is_some_and(is_port));
            words.splice(place + 1..place + 1 + given, [self.option]);
            return words.join(" ");
        }
        let mut kept = Vec::new();
        let mut rest = words.into_iter();
        while let Some(word) = rest.next() {
            let (name, has_value) = word.split_once('=').map_or((word, false), |(name, _)| (name, true));
            if !self.replaced.contains(&name) {
                kept.push(word);
            } else if !has_value {
                rest.next();
            }
        }
        format!("{} {}", kept.join(" "), self.option)
    }
}

/// Returns true if `word` of a command line is the program `name`, with or without its folder.
fn is_program(word: &str, name: &str) -> bool {
    word.rsplit('/').next() == Some(name)
}

/// Returns the addresses in `listening` that are not on the port of `process`, or none if it listens on its own port
/// too. With `listen`, devrun itself opens that port's socket, so only a process that is not `ready` is checked.
pub fn strays(process: &Process, ready: bool, listening: &BTreeSet<SocketAddr>) -> Vec<SocketAddr> {
    let (own, is_handed) = match &process.port {
        Some(PortUse::Binds { port, .. }) => (*port, false),
        Some(PortUse::Listens { port, .. }) if !ready => (*port, true),
        _ => return Vec::new(),
    };
    if !is_handed && listening.iter().any(|address| address.port() == own) {
        return Vec::new();
    }
    let others = listening.iter().filter(|address| address.port() != own && !is_beside(address.port()));
    others.copied().collect()
}

/// Returns a sentence that `process` listens on `strays`, with the option that corrects it. `command` is the command
/// line of the server itself, which a package script hides. Returns `None` if `strays` is empty or the process has no
/// port.
pub fn text(process: &Process, strays: &[SocketAddr], command: Option<&str>) -> Option<String> {
    let addresses: Vec<String> = strays.iter().map(ToString::to_string).collect();
    if addresses.is_empty() {
        return None;
    }
    let at = addresses.join(", ");
    let option = option(process, command);
    Some(match process.port.as_ref()? {
        PortUse::Binds { port, .. } => {
            let option = option.map(|option| format!(": {option}")).unwrap_or_default();
            format!("it listens on {at} and not on its port {port}, $PORT{option}")
        }
        PortUse::Listens { port, .. } => {
            let option = option
                .unwrap_or_else(|| "`port:` in place of `listen:` for a program that takes no socket".into());
            format!("it listens on {at} by itself and does not take the socket of its port {port}: {option}")
        }
    })
}

/// Returns the command of the known server that `process` starts, with the option that gives it its port and its other options.
fn option(process: &Process, command: Option<&str>) -> Option<String> {
    let run = process.run.to_string();
    let all = format!("{run} {}", command.unwrap_or_default());
    let known = |table: &'static [KnownServer]| {
        table.iter().find(|server| all.split_whitespace().any(|word| is_program(word, server.word)))
    };
    match process.port.as_ref()? {
        PortUse::Binds { .. } => Some(known(&BINDS)?.advised(&run)),
        PortUse::Listens { fd_env, .. } => {
            Some(known(&LISTENS)?.advised(&run).replace("$FD", &format!("${fd_env}")))
        }
    }
}

/// Returns the change that makes `process` listen on its own port. `command` is as for [`text`].
pub fn fix(process: &Process, command: Option<&str>) -> String {
    let name = &process.name;
    match (&process.port, option(process, command)) {
        (Some(_), Some(option)) => {
            format!("start it with `{option}` (`run:` at processes.{name} in devrun.yaml, or its script)")
        }
        (Some(PortUse::Listens { .. }), None) => {
            format!("write `port:` in place of `listen:` at processes.{name} in devrun.yaml")
        }
        (Some(PortUse::Binds { .. }), None) => format!(
            "let it listen on the port in the variable PORT, or add its option for the port to `run:` at processes.{name} in \
             devrun.yaml, with $PORT"
        ),
        (None, _) => format!(
            "give it a port of this worktree: `ports: {{ {name}: NUMBER }}` and `port: {name}` at processes.{name} in \
             devrun.yaml, and let it listen on $PORT"
        ),
    }
}

/// Returns why `process` did not get the port that it wanted, and whether that is a port that devrun did not give it. `busy` is the
/// port that another process has, if it is known.
pub fn busy(process: &Process, busy: Option<u16>) -> (String, bool) {
    match (process.port.as_ref().map(PortUse::port), busy) {
        (Some(own), Some(busy)) if own == busy => (format!("port {busy}, its $PORT, is in use"), false),
        (Some(own), Some(busy)) => {
            (format!("port {busy} is in use; its port in this worktree is {own}, $PORT"), true)
        }
        (Some(own), None) => {
            (format!("the port that it wants is in use; its port in this worktree is {own}, $PORT"), true)
        }
        (None, Some(busy)) => (format!("port {busy} is in use, and devrun gave it no port"), true),
        (None, None) => ("the port that it wants is in use, and devrun gave it no port".into(), true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::RunCommand;
    use crate::supervisor::state_machine::bare;

    fn process(run: &str, port: PortUse) -> Process {
        Process { run: RunCommand::Shell(run.into()), port: Some(port), ..bare("web") }
    }

    fn binds() -> PortUse {
        PortUse::Binds { name: "web".into(), port: 3100 }
    }

    fn listens() -> PortUse {
        PortUse::Listens { name: "web".into(), port: 3100, fd_env: "WEB_FD".into() }
    }

    fn at(addresses: &[&str]) -> BTreeSet<SocketAddr> {
        addresses.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[test]
    fn server_on_another_port_differs_from_a_server_that_does_not_listen() {
        let vite = process("exec vite", binds());
        assert!(strays(&vite, true, &at(&[])).is_empty());
        assert!(strays(&vite, true, &at(&["127.0.0.1:3100", "127.0.0.1:5173"])).is_empty());
        assert!(strays(&vite, false, &at(&["127.0.0.1:9229"])).is_empty(), "a debugger");
        let found = strays(&vite, true, &at(&["127.0.0.1:5173"]));
        let said = text(&vite, &found, None).unwrap();
        assert_eq!(
            said,
            "it listens on 127.0.0.1:5173 and not on its port 3100, $PORT: exec vite --port $PORT --strictPort"
        );
    }

    #[test]
    fn a_server_behind_a_package_script_is_known_by_its_own_command() {
        let script = process("npm run dev", binds());
        let said =
            text(&script, &[([127, 0, 0, 1], 3000).into()], Some("node /w/node_modules/.bin/next dev"));
        assert!(said.unwrap().ends_with("next dev --port $PORT"));
    }

    #[test]
    fn the_advised_command_keeps_the_other_options_of_the_user() {
        let advised = |run: &str, port: PortUse| option(&process(run, port), None).unwrap();
        let own = "uvicorn shop.main:app --reload --port 8000 --host=0.0.0.0 --log-level debug";
        assert_eq!(advised(own, listens()), "uvicorn shop.main:app --reload --log-level debug --fd $WEB_FD");
        assert_eq!(
            advised(own, binds()),
            "uvicorn shop.main:app --reload --host=0.0.0.0 --log-level debug --port $PORT"
        );
        assert_eq!(
            advised(".venv/bin/gunicorn -b :8000 -w 2 app:app", binds()),
            ".venv/bin/gunicorn -w 2 app:app --bind 127.0.0.1:$PORT"
        );
        assert_eq!(advised("build && next dev -p 3000", binds()), "next dev --port $PORT");
        assert_eq!(
            advised("python -u -m http.server 8000 -d x", binds()),
            "python -u -m http.server $PORT -d x"
        );
        assert_eq!(
            advised("./manage.py runserver --noreload", binds()),
            "./manage.py runserver $PORT --noreload"
        );
    }

    #[test]
    fn a_server_that_does_not_take_its_socket_is_recognised_while_it_is_not_ready() {
        let server = process("uvicorn app:app", listens());
        let listening = at(&["127.0.0.1:3100", "127.0.0.1:8000"]);
        assert!(strays(&server, true, &listening).is_empty());
        let said = text(&server, &strays(&server, false, &listening), None).unwrap();
        assert_eq!(
            said,
            "it listens on 127.0.0.1:8000 by itself and does not take the socket of its port 3100: uvicorn app:app --fd $WEB_FD"
        );
        let other = process("my-server", listens());
        assert!(text(&other, &strays(&other, false, &listening), None).unwrap().contains("`port:`"));
    }

    #[test]
    fn a_server_with_a_fixed_port_gets_the_option_for_its_own() {
        let vite = process("exec vite", binds());
        assert!(fix(&vite, None).starts_with("start it with `exec vite --port $PORT --strictPort`"));
        assert!(
            fix(&process("./serve", binds()), None)
                .starts_with("let it listen on the port in the variable PORT")
        );
        assert!(fix(&process("./serve", listens()), None).starts_with("write `port:`"));
        assert_eq!(
            busy(&vite, Some(5173)),
            ("port 5173 is in use; its port in this worktree is 3100, $PORT".to_string(), true)
        );
        assert!(!busy(&vite, Some(3100)).1);
    }
}
