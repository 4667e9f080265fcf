//! An agent that knows only the output of `devrun agents`: it starts a stack, finds out why the backend is broken, fixes and
//! restarts it, reads its logs and stops the stack. No command prompts, hangs or prints too much.

use crate::asking::{base, skip_without};
use crate::support::{Ended, Sandbox};

/// The largest number of lines that a command may print.
const WALL: usize = 40;

const BACKEND: &str = "\
import os
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

class Leads(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps([\"lead\"]).encode())

print(\"backend starts\", flush=True)
HTTPServer((\"127.0.0.1\", int(os.environ[\"PORT\"])), Leads).serve_forever()
";

struct Agent {
    sandbox: Sandbox,
    manual: String,
}

impl Agent {
    fn new() -> Agent {
        let sandbox = Sandbox::new();
        let config = format!(
            "ports: {{ web: {0}, backend: {1} }}\nprocesses:\n  backend:\n    run: [python3, app.py]\n    directory: backend\n    \
             port: backend\n    ready: {{ http: / }}\n  web:\n    run: [devrun-fixture, \"listen:PORT\", \"say:web\", sleep]\n    \
             port: web\n    depends_on: [backend]\n    ready: {{ http: / }}\n",
            base(),
            base(),
        );
        sandbox.repo_with(&[("devrun.yaml", &config), ("backend/app.py", BACKEND)]);
        let manual = sandbox.devrun(&["agents"]).run();
        assert_eq!(manual.code, Some(0), "{manual}");
        assert!(manual.stdout.lines().count() < 66, "the manual must be short enough to paste");
        Agent { sandbox, manual: manual.stdout }
    }

    /// Runs `devrun ARGS`. Panics if the manual does not name the verb, or if the output is too long.
    #[track_caller]
    fn run(&self, args: &[&str]) -> Ended {
        assert!(self.manual.contains(&format!("`devrun {}", args[0])), "{args:?} is not in the manual");
        let ended = self.sandbox.devrun(args).run();
        let said = ended.stdout.lines().count() + ended.stderr.lines().count();
        assert!(said <= WALL, "{said} lines: {ended}");
        assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended}");
        ended
    }

    #[track_caller]
    fn fine(&self, args: &[&str]) -> String {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(0), "{ended}");
        ended.stdout
    }

    /// Runs the last command in the `fix` of an answer.
    #[track_caller]
    fn follow(&self, answer: &str) -> Ended {
        let fix = answer
            .lines()
            .find_map(|line| line.trim().strip_prefix("fix: "))
            .unwrap_or_else(|| panic!("{answer}"));
        let command = fix.split('`').rfind(|part| part.starts_with("devrun "));
        let words: Vec<&str> = command.unwrap_or_else(|| panic!("{answer}")).split_whitespace().collect();
        self.run(&words[1..])
    }

    fn edit(&self, from: &str, to: &str) {
        let file = self.sandbox.main().join("backend/app.py");
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{text}");
        self.sandbox.write(&file, &text.replace(from, to));
    }
}

#[test]
fn manual_is_enough_to_fix_a_broken_backend() {
    let agent = Agent::new();
    if agent.sandbox.program("python3", &["--version"]).run().code != Some(0) {
        return skip_without(&["python3"]);
    }
    agent.edit("import json\n", "import jsonn\n");
    let ended = agent.run(&["up", "-d"]);
    assert_eq!(ended.code, Some(1), "{ended}");
    assert!(ended.stderr.contains("fault: the code, not the environment"), "{ended}");
    let why = agent.fine(&["why"]);
    assert!(why.contains("No module named 'jsonn'") && why.contains("/backend/app.py:2\n"), "{why}");
    agent.edit("import jsonn\n", "import json\n");
    let up = agent.follow(&why);
    assert_eq!(up.code, Some(0), "{up}");
    let state = |text: &str| {
        text.lines().find(|line| line.starts_with("State")).map(|line| line[5..].trim().to_string())
    };
    assert_eq!(state(&agent.fine(&["status"])).as_deref(), Some("ready"));
    assert_eq!(
        agent.fine(&["why"]),
        "all is well: 2 of 2 processes ready, no unresolved error since the last start or reload\n"
    );

    // This mistake shows only after a restart.
    agent.edit("\"PORT\"", "\"PROT\"");
    let ended = agent.run(&["restart", "backend"]);
    assert_ne!(ended.code, Some(0), "{ended}");
    let why = agent.fine(&["why"]);
    assert!(ended.stderr.contains("backend ended"), "{ended}");
    assert!(why.contains("KeyError: 'PROT'") && why.contains("fault: the code"), "{why}");
    agent.edit("\"PROT\"", "\"PORT\"");
    let up = agent.follow(&why);
    assert_eq!(up.code, Some(0), "{up}");
    agent.fine(&["restart", "backend"]);
    let logs = agent.fine(&["logs", "backend", "-n", "5"]);
    assert!(logs.lines().count() <= 5 && logs.contains("backend starts"), "{logs}");
    assert_eq!(agent.fine(&["logs", "backend", "--grep", "KeyError", "--since", "5m"]).lines().count(), 1);
    let url = agent.fine(&["url", "backend"]);
    assert!(url.starts_with("http://"), "{url}");
    agent.fine(&["exec", "--", "true"]);
    agent.fine(&["wait"]);
    assert_eq!(agent.fine(&["ls"]).lines().count(), 2);
    agent.fine(&["down"]);
    assert_eq!(agent.sandbox.processes(), []);
}

#[test]
fn manual_names_existing_verbs() {
    let agent = Agent::new();
    let help = agent.sandbox.devrun(&["--help"]).run().stdout;
    // Every `devrun VERB` in the manual exists.
    for part in agent.manual.split("devrun ").skip(1) {
        let verb: String = part.chars().take_while(char::is_ascii_lowercase).collect();
        assert!(verb.is_empty() || help.contains(&format!("\n  {verb} ")), "`devrun {verb}` is no verb");
    }
}

#[test]
fn successful_start_prints_at_most_twenty_lines() {
    let agent = Agent::new();
    if agent.sandbox.program("python3", &["--version"]).run().code != Some(0) {
        return skip_without(&["python3"]);
    }
    for _ in 0..2 {
        let ended = agent.run(&["up", "-d"]);
        let lines = ended.stdout.lines().count() + ended.stderr.lines().count();
        assert!(ended.code == Some(0) && lines <= 20, "{ended}");
    }
    agent.fine(&["down"]);
}
