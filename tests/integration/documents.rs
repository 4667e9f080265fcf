//! Runs every command of README.md and the documents in a prepared repository, except those of a short list.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::asking::{base, devrun, fine, postgres_or_skip};
use crate::support::documents::{CommandLine, command_lines, pages, variants};
use crate::support::{Ended, Invocation, LIMIT, Sandbox, wait_for};

/// Beginnings of commands that this test does not run, with the reason.
const EXCEPTIONS: [(&str, &str); 18] = [
    ("devrun top", "needs a terminal: `top` tests it"),
    ("devrun ls --watch", "is another name of `devrun top`"),
    ("devrun attach", "needs a terminal: `supervise::terminal` tests it"),
    ("devrun open", "starts a browser: `open` tests it"),
    ("devrun prune --install-timer", "needs systemd: `daily_prune` tests it with its programs"),
    ("devrun prune --remove-timer", "needs systemd"),
    ("devrun db reset --from snapshot", "needs a parent that was copied while it was in use"),
    ("devrun db migrate", "needs a migration tool: `db` tests it"),
    ("devrun db heads", "needs Alembic: `db::heads` tests it"),
    ("devrun db diff", "needs a copy of a parent: `db::diff` tests it"),
    ("devrun db restore", "needs a snapshot, and no stack: `db::snapshots` tests it"),
    ("devrun db upgrade", "needs no stack, and two versions of Postgres: `db::upgrade` tests it"),
    ("devrun db import", "needs a source, and no stack: `db::import` tests it"),
    ("devrun sync", "needs a remote: `sync` tests it"),
    ("devrun | head", "ends with its reader: `supervise::streams` tests it"),
    ("devrun exec -- sh -c 'createdb", "needs the client programs of Postgres on PATH"),
    ("eval ", "changes the shell that evaluates it"),
    ("cd ../one", "belongs to the recipe with Neon"),
];

/// Placeholders, and the values that they have here.
const VALUES: [(&str, &str); 14] = [
    ("-C ~/src/my-worktree", "-C ../login"),
    ("--process NAME", "--process api"),
    ("--explain NAME", "--explain API_PORT"),
    ("url NAME", "url api"),
    ("new NAME", "new made"),
    ("rm NAME|PATH", "rm login"),
    ("rm NAME", "rm login"),
    ("rm PATH", "rm ../login"),
    ("NAME", "api"),
    ("PAGE", "ports"),
    ("VERB", "up"),
    ("SHELL", "bash"),
    ("COMMAND", "true"),
    ("ARGS", "-c 'select 1'"),
];

/// Verbs that leave the stack ready, so that they can run one after the other beside one stack.
const LOOKING: [&str; 22] = [
    "agents",
    "completions",
    "doctor",
    "env",
    "events",
    "exec",
    "help",
    "logs",
    "ls",
    "man",
    "mcp",
    "plan",
    "ports",
    "ps",
    "restart",
    "schema",
    "self-check",
    "start",
    "status",
    "url",
    "wait",
    "why",
];

/// Returns the different commands of all documents, without placeholders, with the place of each.
fn commands() -> Vec<CommandLine> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for (name, text) in pages() {
        for line in command_lines(&name, &text) {
            for variant in variants(&line.text) {
                let text = VALUES.iter().fold(variant, |text, (name, value)| text.replace(name, value));
                if is_complete(&text) && seen.insert(text.clone()) {
                    found.push(CommandLine { text, ..line.clone() });
                }
            }
        }
    }
    found
}

/// Returns false if the text lacks arguments that its verb or option needs.
fn is_complete(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let needs_more = ["attach", "db", "exec", "hook", "new", "stop", "with"];
    !matches!(words.as_slice(), ["devrun", verb] if needs_more.contains(verb))
        && !words.ends_with(&["--with-pid"])
        && !words.ends_with(&["hook", "prepare", "PACKAGES"])
}

fn is_excepted(text: &str) -> bool {
    EXCEPTIONS.iter().any(|(start, _)| text.starts_with(start))
}

/// Returns the verb of a line with one call of devrun, and `None` for all other lines.
fn verb(text: &str) -> Option<String> {
    let is_single = text.starts_with("devrun") && !text.contains(['|', '&', '>', '(', ';']);
    let text = text.replace(" -C ../login", "");
    let verb =
        text.split_whitespace().skip(1).find(|word| !word.starts_with('-')).unwrap_or("up").to_string();
    is_single.then_some(verb)
}

/// Returns true for a command that can run beside a stack and leaves the stack ready.
fn only_looks(text: &str) -> bool {
    text == "devrun --version"
        || !text.contains("--move-home") && verb(text).is_some_and(|verb| LOOKING.contains(&verb.as_str()))
}

/// A repository with a linked worktree `login`, four processes, and the programs of a user's project.
struct DocumentedRepo {
    sandbox: Sandbox,
    root: PathBuf,
}

impl DocumentedRepo {
    fn new(database: &str) -> DocumentedRepo {
        let mut sandbox = Sandbox::new();
        let programs = sandbox.path().join("programs");
        for name in ["alembic", "npm", "pytest", "python"] {
            sandbox.write(&programs.join(name), "#!/bin/sh\nexit 0\n");
            std::fs::set_permissions(programs.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let own = Path::new(env!("CARGO_BIN_EXE_devrun")).parent().unwrap().to_path_buf();
        let path = std::env::var_os("PATH").unwrap();
        let all = [programs, own].into_iter().chain(std::env::split_paths(&path));
        sandbox.set("PATH", std::env::join_paths(all).unwrap());
        let names = ["frontend", "backend", "web", "api"];
        let ports: Vec<String> = names.iter().map(|name| format!("{name}: {}", base())).collect();
        let mut config = format!("ports: {{ {} }}\n{database}processes:\n", ports.join(", "));
        config.extend(names.map(|name| {
            format!(
                "  {name}: {{ run: exec devrun-fixture listen:PORT say:serving sleep, port: {name}, ready: {{ log: serving }} }}\n"
            )
        }));
        // Without the setting of the sandbox that turns hooks off.
        let git_config =
            "[user]\n\tname = Test\n\temail = test@example.invalid\n[init]\n\tdefaultBranch = main\n";
        sandbox.write(&sandbox.home().join(".gitconfig"), git_config);
        let root = sandbox.repo_with(&[("devrun.yaml", &config), ("backend/app.py", "")]);
        sandbox.git(&["branch", "origin/main"]);
        sandbox.worktree("login", "login");
        DocumentedRepo { sandbox, root }
    }

    fn up(&self) {
        fine(devrun(&self.sandbox, &self.root, &["up", "-d"]));
    }

    fn shell(&self, text: &str) -> Invocation {
        let own = std::process::id().to_string();
        let text = text.replace("4711", &own).replace("PID", &own);
        self.sandbox.program("/bin/sh", &["-c", &text]).directory(&self.root)
    }

    /// Ends all stacks, also those of worktrees that a command made.
    fn end(self) {
        fine(devrun(&self.sandbox, &self.root, &["down", "--all"]));
    }

    /// Runs a command that ends with the stack, and stops the stack while the command runs.
    fn follow(&self, text: &str) -> Ended {
        let running = self.shell(text).start();
        wait_for("the stack", LIMIT, || {
            let ended = devrun(&self.sandbox, &self.root, &["wait", "--json"]).run();
            if ended.code == Some(0) { Ok(()) } else { Err(ended.to_string()) }
        });
        fine(devrun(&self.sandbox, &self.root, &["down"]));
        running.wait()
    }

    /// Runs `devrun` in the foreground, and presses Ctrl-C when everything is ready.
    fn foreground(&self, text: &str) -> Ended {
        let running = self.shell(&format!("exec {text}")).start();
        let folder = if text.contains("../login") { self.root.join("../login") } else { self.root.clone() };
        wait_for("the stack", LIMIT, || {
            let ended = devrun(&self.sandbox, &folder, &["wait", "--json"]).run();
            if ended.code == Some(0) { Ok(()) } else { Err(ended.to_string()) }
        });
        running.signal_group(Signal::SIGINT);
        running.wait()
    }
}

/// Returns the command with `--yes` if it would ask.
fn confirmed(text: &str) -> String {
    let asks = ["devrun db reset", "devrun db delete", "devrun rm", "devrun up --replace"];
    let is_asking = asks.iter().any(|start| text.starts_with(start))
        && !text.contains("--yes")
        && !text.contains("--dry-run")
        && verb(text).is_some();
    if is_asking { format!("{text} --yes") } else { text.to_string() }
}

/// Returns the difference of an exit status from the expected one.
fn difference(line: &CommandLine, ended: &Ended, expected: i32) -> Option<String> {
    (ended.code != Some(expected)).then(|| format!("{}: `{}`: {ended}", line.place, line.text))
}

/// Returns the commands to run, without those about a database.
fn plain() -> Vec<CommandLine> {
    let all = commands().into_iter();
    all.filter(|line| !is_excepted(&line.text) && !is_about_database(&line.text)).collect()
}

fn is_about_database(text: &str) -> bool {
    text.contains("devrun db") || text.contains("--fresh")
}

#[test]
fn exceptions_are_commands_of_the_documents() {
    let all = commands();
    assert!(all.len() > 120, "the commands were not found: {}", all.len());
    for (start, why) in EXCEPTIONS {
        let is_used = all.iter().any(|line| line.text.starts_with(start));
        assert!(is_used && !why.is_empty(), "no document has `{start}`");
    }
}

#[test]
fn commands_that_look_work_beside_a_stack() {
    let repo = DocumentedRepo::new("");
    repo.up();
    let lines = plain();
    let looks = |line: &&CommandLine| only_looks(&line.text);
    let mut failures = Vec::new();
    for line in lines.iter().filter(looks) {
        if line.text.contains("logs -f") || line.text == "devrun events" {
            failures.extend(difference(line, &repo.follow(&line.text), 0));
            repo.up();
        } else {
            failures.extend(difference(line, &repo.shell(&line.text).run(), 0));
        }
    }
    repo.end();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn commands_that_change_something_work_in_a_new_repository() {
    let lines = plain();
    let changes = |line: &&CommandLine| !only_looks(&line.text);
    let mut failures = Vec::new();
    for line in lines.iter().filter(changes) {
        let repo = DocumentedRepo::new("");
        let is_foreground = verb(&line.text).as_deref() == Some("up")
            && !line.text.contains("-d")
            && !line.text.contains("--replace");
        if line.text.starts_with("devrun init") && !line.text.contains("--agents") {
            std::fs::remove_file(repo.root.join("devrun.yaml")).unwrap();
        } else if !is_foreground && !["new", "ports"].contains(&verb(&line.text).as_deref().unwrap_or("up")) {
            repo.up();
        }
        if is_foreground {
            failures.extend(difference(line, &repo.foreground(&line.text), 130));
        } else {
            // Without a name, `rm` means the worktree in which it runs, and it does not remove the main one.
            let folder = if line.text == "devrun rm" { "../login" } else { "." };
            let call = repo.shell(&confirmed(&line.text)).directory(repo.root.join(folder));
            failures.extend(difference(line, &call.run(), 0));
        }
        repo.end();
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn commands_about_the_database_work() {
    if postgres_or_skip().is_none() {
        return;
    }
    let lines = commands();
    let wanted = |line: &&CommandLine| !is_excepted(&line.text) && is_about_database(&line.text);
    let repo = DocumentedRepo::new("database: {}\n");
    let mut failures = Vec::new();
    for line in lines.iter().filter(wanted) {
        let (mut text, mut folder) = (confirmed(&line.text), repo.root.clone());
        if text.contains("db reset") || text.contains("db delete") || text.contains("--fresh") {
            // These commands refuse while a stack uses the database, and refuse the database of the default branch.
            folder = repo.sandbox.path().join("login");
            fine(devrun(&repo.sandbox, &folder, &["up", "-d"]));
            fine(devrun(&repo.sandbox, &folder, &["down"]));
            text = text.replace("delete api", "delete dev-login");
        } else {
            repo.up();
        }
        failures.extend(difference(line, &repo.shell(&text).directory(folder).run(), 0));
    }
    repo.end();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
