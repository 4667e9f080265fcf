//! The environment as processes see it, and the verbs that show or use it: env, exec, url, plan, help.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;

use devrun::testing::error::Code;
use serde_json::{Value, json};

use crate::asking::{answer, base, devrun, fine, json, lines_of, port, refusal, serve, server, solo};
use crate::support::{Ended, Sandbox};

/// Returns a configuration with a process that runs without a shell and prints its environment.
fn telling(base: u16, rest: &str) -> String {
    format!(
        "ports: {{ web: {base}, my-api: {} }}\nprocesses:\n  web: {{ run: [devrun-fixture, env], port: web }}\n{rest}",
        crate::asking::base()
    )
}

/// Parses the lines of `devrun-fixture env`.
fn vars<'a>(lines: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, String> {
    let pairs = lines.into_iter().filter_map(|line| line.strip_prefix("env ")?.split_once('='));
    pairs.map(|(name, value)| (name.into(), value.into())).collect()
}

/// Returns the environment of the process `web` in a run in `folder`.
#[track_caller]
fn environment(sandbox: &Sandbox, folder: &Path) -> BTreeMap<String, String> {
    let ended = fine(devrun(sandbox, folder, &[]));
    vars(lines_of("web", &ended.stdout).iter().map(String::as_str))
}

fn of<'a>(vars: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
    vars.get(name).map(String::as_str)
}

#[test]
fn shell_overrides_env_files_and_configuration_overrides_both() {
    let mut sandbox = Sandbox::new();
    let rest =
        "env_files: [.env, .env.more]\nenv: { C: config, D: config, COPY: '${B}-${A}-${NONE:-none}' }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", &telling(base(), rest))]);
    sandbox.write(&main.join(".env"), "A=file\nB=file\nC=file\nE=file\nWEB_PORT=1\nPORT=2\nDEVRUN_SLOT=x\n");
    sandbox.write(&main.join(".env.more"), "export E=\"more ${B}\" # later wins\n");
    for (name, value) in [("B", "shell"), ("D", "shell"), ("EMPTY", ""), ("WEB_PORT", "3")] {
        sandbox.set(name, value);
    }
    let env = environment(&sandbox, &main);
    for (name, value) in [
        ("A", "file"),
        ("B", "shell"),
        ("C", "config"),
        ("D", "config"),
        ("E", "more shell"),
        ("EMPTY", ""),
        ("COPY", "shell-file-none"),
    ] {
        assert_eq!(of(&env, name), Some(value), "{name}");
    }
    let plan = answer(&sandbox, &main, "plan");
    let number = port(&plan, "web").to_string();
    assert_eq!((of(&env, "PORT"), of(&env, "WEB_PORT")), (Some(number.as_str()), Some(number.as_str())));
    assert_eq!(of(&env, "MY_API_PORT"), Some(port(&plan, "my-api").to_string().as_str()));
    assert_eq!(of(&env, "DEVRUN_SLOT"), Some(plan["slot"].to_string().as_str()));
    assert_eq!(of(&env, "DEVRUN_BRANCH"), Some("main"));
    assert_eq!(of(&env, "DEVRUN_SLUG"), Some("repo"));
}

#[test]
fn missing_env_files_are_read_from_the_main_worktree() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &telling(base(), ""))]);
    let linked = sandbox.worktree("linked", "feature");
    sandbox.write(&main.join(".env"), "A=main\nB=main\n");
    sandbox.write(&main.join(".env.local"), "B=main-local\n");
    let env = environment(&sandbox, &linked);
    assert_eq!((of(&env, "A"), of(&env, "B")), (Some("main"), Some("main-local")));
    let told = fine(devrun(&sandbox, &linked, &["exec", "devrun-fixture", "env:A"]));
    assert_eq!(told.stdout, "env A=main\n");
    assert!(told.stderr.contains("note: .env is read from the main worktree: there is none here"), "{told}");
    sandbox.write(&linked.join(".env"), "A=own\n");
    let env = environment(&sandbox, &linked);
    assert_eq!((of(&env, "A"), of(&env, "B")), (Some("own"), Some("main-local")));
    assert_eq!(of(&environment(&sandbox, &main), "A"), Some("main"));
}

#[test]
fn variables_of_other_runs_are_removed() {
    let mut sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &telling(base(), ""))]);
    let path = std::env::var("PATH").unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_devrun")).parent().unwrap().display();
    sandbox.set("PATH", format!("{programs}:/elsewhere/.venv/bin:{path}"));
    for (name, value) in [
        ("VIRTUAL_ENV", "/elsewhere/.venv"),
        ("PORT", "1"),
        ("LISTEN_FDS", "1"),
        ("LISTEN_PID", "1"),
        ("WEB_FD", "3"),
        ("MY_API_FD", "3"),
        ("DEVRUN_RUN", "foreign.1"),
        ("DEVRUN_PROCESS", "foreign"),
        ("DEVRUN_CLUSTER", "foreign"),
        ("DEVRUN_WORKTREE", "/elsewhere"),
        ("DEVRUN_BRANCH", "elsewhere"),
    ] {
        sandbox.set(name, value);
    }
    let env = environment(&sandbox, &main);
    for name in ["VIRTUAL_ENV", "LISTEN_FDS", "LISTEN_PID", "WEB_FD", "MY_API_FD", "DEVRUN_CLUSTER"] {
        assert_eq!(of(&env, name), None, "{name}");
    }
    assert_eq!(of(&env, "PATH"), Some(format!("{programs}:{path}").as_str()));
    assert_eq!((of(&env, "DEVRUN_PROCESS"), of(&env, "DEVRUN_BRANCH")), (Some("web"), Some("main")));
    assert!(!of(&env, "DEVRUN_RUN").unwrap().contains("foreign"));
    assert_eq!((of(&env, "PYTHONUNBUFFERED"), of(&env, "NEXT_TELEMETRY_DISABLED")), (Some("1"), Some("1")));
    let exec = ["exec", "devrun-fixture", "env:DEVRUN_RUN", "env:DEVRUN_PROCESS", "env:PORT", "env:WEB_FD"];
    let unset = "env DEVRUN_RUN unset\nenv DEVRUN_PROCESS unset\nenv PORT unset\nenv WEB_FD unset\n";
    assert_eq!(fine(devrun(&sandbox, &main, &exec)).stdout, unset);
    sandbox.set("PYTHONUNBUFFERED", "");
    assert_eq!(of(&environment(&sandbox, &main), "PYTHONUNBUFFERED"), Some(""), "the user's word counts");
}

#[test]
fn colour_variables_are_set_only_on_a_terminal() {
    let sandbox = Sandbox::new();
    let tell = "echo \"$FORCE_COLOR,$CLICOLOR_FORCE\" > told";
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), tell))]);
    let told = || std::fs::read_to_string(main.join("told")).unwrap();
    for (variable, told_there) in [("NOTHING", "1,1\n"), ("NO_COLOR", ",\n")] {
        let pty = nix::pty::openpty(None, None).unwrap();
        let on_terminal = devrun(&sandbox, &main, &[]).env(variable, "1").env("TERM", "xterm");
        let running = on_terminal.with(|command| command.stdout(Stdio::from(pty.slave))).start();
        let mut screen = Vec::new();
        // Reading from a terminal fails once its other side is closed.
        let _ = std::fs::File::from(pty.master).read_to_end(&mut screen);
        assert_eq!(running.wait().code, Some(0));
        assert_eq!(told(), told_there, "{variable}");
        let coloured = screen.windows(2).any(|pair| pair == b"\x1b[");
        assert_eq!(coloured, variable == "NOTHING", "{}", String::from_utf8_lossy(&screen));
    }
    let ended = fine(devrun(&sandbox, &main, &[]).env("TERM", "xterm"));
    assert_eq!(told(), ",\n");
    assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{ended}");
}

/// Values that break careless quoting.
const ODD: [&str; 14] = [
    "plain",
    "",
    " spaces  around ",
    "it's \"quoted\" `here`",
    "$HOME ${HOME} $$ $(id)",
    "\\$x \\${x} \\\\${x}",
    "two\nlines\n\nand more",
    "# no comment #",
    "back\\slash\\n \\' \\\\",
    "tab\tand\rreturn",
    "lines\r\nof another system\r\n",
    "é ü 漢字 !history *glob* ~ & ; | < >",
    "'",
    "ends in a backslash\\",
];

/// Returns a section `env` with these literal values.
fn section(values: &[&str]) -> String {
    let entry = |(number, value): (usize, &&str)| (format!("ODD_{number}"), json!(value.replace('$', "$$")));
    let entries: BTreeMap<String, Value> = values.iter().enumerate().map(entry).collect();
    format!("env: {}\n", json!(entries))
}

#[test]
fn every_format_of_env_preserves_values() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &telling(base(), &section(&ODD)))]);
    let printed = |ended: &Ended| {
        for (number, value) in ODD.iter().enumerate() {
            assert!(ended.stdout.contains(&format!("env ODD_{number}={value}\n")), "{value:?}: {ended}");
        }
    };
    printed(&fine(devrun(&sandbox, &main, &["exec", "devrun-fixture", "env"])));
    let line = "eval \"$(\"$0\" env)\"; exec devrun-fixture env";
    let program = env!("CARGO_BIN_EXE_devrun");
    printed(&fine(sandbox.program("/bin/sh", &["-c", line, program])));
    let value = json(&fine(devrun(&sandbox, &main, &["env", "--format", "json"])));
    assert_eq!(value, answer(&sandbox, &main, "env"));
    assert!(ODD.iter().enumerate().all(|(number, odd)| value[format!("ODD_{number}")] == *odd), "{value:#}");

    let dotenv = fine(devrun(&sandbox, &main, &["env", "--format", "dotenv"])).stdout;
    let other = sandbox.path().join("other");
    sandbox.write(&other.join("devrun.yaml"), &telling(base(), ""));
    sandbox.write(&other.join(".env"), &dotenv);
    let read_back = answer(&sandbox, &other, "env");
    for (number, odd) in ODD.iter().enumerate() {
        assert_eq!(read_back[format!("ODD_{number}")], *odd, "{dotenv}");
    }
    // Shells read such files too, and treat single quotes in the same way.
    let line = "set -a; . \"$0\"; exec devrun-fixture env";
    let sourced = fine(sandbox.program("/bin/sh", &["-c", line, other.join(".env").to_str().unwrap()]));
    for (number, value) in ODD.iter().enumerate().filter(|(_, odd)| !odd.contains(['\'', '\r', '\\'])) {
        assert!(sourced.stdout.contains(&format!("env ODD_{number}={value}\n")), "{value:?}: {sourced}");
    }
}

#[test]
fn env_unsets_foreign_variables_and_keeps_bytes() {
    let mut sandbox = Sandbox::new();
    let folder = sandbox.path().join(OsStr::from_bytes(b"raw \xff"));
    sandbox.write(&folder.join("devrun.yaml"), &telling(base(), ""));
    for (name, value) in [("VIRTUAL_ENV", "/elsewhere"), ("PORT", "1"), ("BASH_FUNC_x%%", "() { :; }")] {
        sandbox.set(name, value);
    }
    let line = "eval \"$(\"$0\" env --all)\" && printf %s \"${PORT-none},${VIRTUAL_ENV-none},$DEVRUN_WORKTREE\" > told";
    let program = env!("CARGO_BIN_EXE_devrun");
    fine(sandbox.program("/bin/sh", &["-c", line, program]).directory(&folder));
    let path = folder.canonicalize().unwrap();
    assert_eq!(
        std::fs::read(folder.join("told")).unwrap(),
        [b"none,none,", path.as_os_str().as_bytes()].concat()
    );
}

#[test]
fn secrets_are_masked_without_reveal() {
    let mut sandbox = Sandbox::new();
    let rest = "env: { API_TOKEN: hunter2, CACHE: 'redis://:hunter2@h/0', OPEN: shown }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", &telling(base(), rest))]);
    sandbox.write(&main.join(".env"), "CLERK_SECRET_KEY=hunter2\nPGPASSWORD=hunter2\n");
    sandbox.set("NEON_API_KEY", "hunter2");
    for args in [
        &["env"][..],
        &["env", "--all"],
        &["env", "--format", "dotenv", "--all"],
        &["env", "--json", "--all"],
        &["plan"],
        &["plan", "--json"],
    ] {
        let ended = fine(devrun(&sandbox, &main, args));
        assert!(!ended.stdout.contains("hunter2") && !ended.stderr.contains("hunter2"), "{ended}");
    }
    let shown = fine(devrun(&sandbox, &main, &["env"])).stdout;
    assert!(shown.contains("export OPEN=shown\n") && shown.contains("export API_TOKEN='****"), "{shown}");
    assert!(!shown.contains("NEON_API_KEY"), "a shell keeps its key: {shown}");
    let revealed = json(&fine(devrun(&sandbox, &main, &["env", "--reveal", "--all", "--json"])));
    for name in ["API_TOKEN", "CLERK_SECRET_KEY", "PGPASSWORD"] {
        assert_eq!(revealed[name], "hunter2", "{name}");
    }
    assert!(revealed.get("NEON_API_KEY").is_none(), "no process gets it: {revealed}");
    assert_eq!(of(&environment(&sandbox, &main), "API_TOKEN"), Some("hunter2"));
}

#[test]
fn values_of_a_missing_database_are_left_out() {
    let sandbox = Sandbox::new();
    let rest = "database: { provider: local }\nenv: { COPY: '${database.url}', NAME: 'db-${database.name}', A: b }\n\
        urls: { Base: 'http://x/${database.name}', Site: 'http://x/' }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", &telling(base(), rest))]);
    let env = answer(&sandbox, &main, "env");
    assert_eq!((&env["A"], env.get("COPY"), env.get("NAME")), (&"b".into(), None, None), "{env:#}");
    assert_eq!(answer(&sandbox, &main, "url")["Site"], "http://x/");
    assert_eq!(answer(&sandbox, &main, "plan")["database"]["provider"], "local");
    fine(devrun(&sandbox, &main, &["exec", "true"]));
}

#[test]
fn uv_workspace_member_uses_the_root_venv() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[
        ("devrun.yaml", &telling(base(), "dependencies: { python: { directory: backend } }\n")),
        ("pyproject.toml", "[tool.uv.workspace]\nmembers = [\"backend\"]\n"),
        ("uv.lock", "version = 1\n"),
        ("backend/pyproject.toml", "[project]\nname = \"backend\"\nversion = \"1\"\n"),
    ]);
    let env = answer(&sandbox, &main, "env");
    assert_eq!(env["VIRTUAL_ENV"], json!(main.join(".venv")), "{env:#}");
    assert!(env["PATH"].as_str().unwrap().starts_with(&format!("{}:", main.join(".venv/bin").display())));
}

#[test]
fn exec_has_the_environment_of_a_process() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &telling(base(), "env: { A: b }\n"))]);
    sandbox.write(&main.join(".env"), "B=file\n");
    let mut process = environment(&sandbox, &main);
    for name in ["PORT", "DEVRUN_HOST", "DEVRUN_RUN", "DEVRUN_PROCESS"] {
        assert!(process.remove(name).is_some(), "{name} belongs to a process alone");
    }
    let ended = fine(devrun(&sandbox, &main, &["exec", "--", "devrun-fixture", "env"]));
    assert_eq!(vars(ended.stdout.lines()), process);
    // The command inherits nothing else from devrun either.
    let words = ["fds", "signals", "cwd"];
    let direct = fine(sandbox.fixture(&words));
    let through = fine(devrun(&sandbox, &main, &[&["exec", "devrun-fixture"][..], &words].concat()));
    // The numbers of pipes differ, and the C library changes signals from the 32nd on.
    let plain = |ended: &Ended| {
        let shorten = |line: &str| match line.split_once(":\t") {
            Some((name, bits)) => {
                format!("{name} {:x}", u64::from_str_radix(bits, 16).unwrap() & 0x7fff_ffff)
            }
            None => line.split(":[").next().unwrap().to_string(),
        };
        ended.stdout.lines().map(shorten).collect::<Vec<_>>()
    };
    assert_eq!(plain(&through), plain(&direct));
}

#[test]
fn exec_has_the_status_of_its_command() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "true")), ("below/file", "text\n")]);
    let exec = |words: &[&str]| devrun(&sandbox, &main, &[&["exec"][..], words].concat());
    assert_eq!(exec(&["--", "devrun-fixture", "exit:7"]).run().code, Some(7));
    assert_eq!(exec(&["devrun-fixture", "die:TERM"]).run().signal, Some(15));
    // An unreadable folder on PATH does not change the answer.
    let closed = sandbox.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
    let path = format!("{}:{}", closed.display(), std::env::var("PATH").unwrap());
    let missing = exec(&["no-such-program-anywhere"]).env("PATH", path).run();
    assert_eq!(missing.code, Some(127), "{missing}");
    assert!(missing.stderr.contains("cannot run no-such-program-anywhere"), "{missing}");
    assert_eq!(exec(&["./below/file"]).run().code, Some(126));
    assert_eq!(exec(&["./below"]).run().code, Some(126));
    assert_eq!(exec(&[]).run().code, Some(2));
    // Options after the command belong to the command.
    for words in
        [&["echo", "-C", "x", "--json", "--help"][..], &["--", "echo", "-C", "x", "--json", "--help"]]
    {
        assert_eq!(fine(exec(words)).stdout, "-C x --json --help\n");
    }
    let reads = exec(&["devrun-fixture", "stdin", "cwd"]).directory(main.join("below"));
    let input = std::fs::File::open(main.join("below/file")).unwrap();
    let ended = fine(reads.with(|command| command.stdin(input)));
    let below = main.join("below").canonicalize().unwrap();
    assert_eq!(ended.stdout, format!("stdin 5\ncwd {}\n", below.display()));
    // A program in the current folder.
    let script = main.join("below/script");
    sandbox.write(&script, "#!/bin/sh\nprintf '%s' \"$WEB_PORT\"\n");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let ended = fine(exec(&["./script"]).directory(main.join("below")));
    assert_eq!(ended.stdout, port(&answer(&sandbox, &main, "ports"), "web").to_string());
}

#[test]
fn exec_prints_all_warnings_before_the_command() {
    let sandbox = Sandbox::new();
    // Each of these files causes 20 warnings.
    let names: Vec<String> = (0..250).map(|number| format!("env{number}")).collect();
    let config = format!("{}env_files: [{}]\n", solo(base(), "true"), names.join(", "));
    let main = sandbox.repo_with(&[("devrun.yaml", &config)]);
    for name in &names {
        sandbox.write(&main.join(name), &"no assignment\n".repeat(20));
    }
    let ended = fine(devrun(&sandbox, &main, &["exec", "devrun-fixture", "err:from the command"]));
    let lines: Vec<&str> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 5_001);
    assert_eq!(lines[5_000], "from the command");
}

#[test]
fn url_prints_all_urls_or_the_named_one() {
    let sandbox = Sandbox::new();
    let base = base();
    let rest = "urls: { Tenant: 'http://demodev.localhost:${ports.web}/admin/leads' }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", &(solo(base, "true") + rest)), ("below/file", "")]);
    let number = port(&answer(&sandbox, &main, "ports"), "web");
    let (web, tenant) =
        (format!("http://localhost:{number}"), format!("http://demodev.localhost:{number}/admin/leads"));
    let all = fine(devrun(&sandbox, &main.join("below"), &["url"]));
    assert_eq!(all.stdout, format!("Web     {web}  http://repo.localhost:{number}\nTenant  {tenant}\n"));
    assert_eq!(answer(&sandbox, &main, "url"), json!({ "Web": web, "Tenant": tenant }));
    for name in ["tenant", "Tenant", "TENANT"] {
        assert_eq!(fine(devrun(&sandbox, &main, &["url", name])).stdout, format!("{tenant}\n"));
    }
    let one = fine(devrun(&sandbox, &main, &["url", "web", "--json"]));
    assert_eq!(json(&one), json!({ "Web": web }));
    let error = refusal(devrun(&sandbox, &main, &["url", "nope", "--json"]), "usage", 2);
    assert_eq!(error["message"], "there is no URL named nope");
    assert_eq!(error["fix"], "one of: Web, Tenant");
    sandbox.write(&main.join("devrun.yaml"), "processes: { web: 'true' }\n");
    let error = refusal(devrun(&sandbox, &main, &["url", "nope", "--json"]), "usage", 2);
    assert!(error["fix"].as_str().unwrap().contains("`urls:`"), "{error:#}");
}

#[test]
fn verbs_work_from_subfolders() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base())), ("a/b c/file", "")]);
    sandbox.write(&main.join(".env"), "A=b\n");
    let below = main.join("a/b c");
    for verb in ["plan", "env", "ports", "url", "down"] {
        assert_eq!(answer(&sandbox, &below, verb), answer(&sandbox, &main, verb), "{verb}");
        let text = |folder: &Path| fine(devrun(&sandbox, folder, &[verb])).stdout;
        assert_eq!(text(&below), text(&main), "{verb}");
    }
    let running = serve(devrun(&sandbox, &below, &["up"]));
    assert!(fine(devrun(&sandbox, &main, &[])).stdout.starts_with("Already running in "));
    assert_eq!(fine(devrun(&sandbox, &below, &["down"])).stdout, "Stopped.\n");
    running.wait();
}

#[test]
fn plan_describes_what_up_would_do() {
    let sandbox = Sandbox::new();
    let config = "ports: { web: 3000, api: 3100 }\nprocesses:\n  api: { run: serve, listen: api, directory: sub }\n  \
                  web:\n    run: |\n      first line\n      second line\n    port: web\n    depends_on: [api]\n";
    let main = sandbox.repo_with(&[("devrun.yaml", config), ("sub/file", "")]);
    let plan = answer(&sandbox, &main, "plan");
    let (web, api) = (port(&plan, "web"), port(&plan, "api"));
    let shown = fine(devrun(&sandbox, &main, &["plan"])).stdout;
    for line in [
        "Project   repo (devrun.yaml)".to_string(),
        "Branch    main".into(),
        format!("Slot      {}", plan["slot"]),
        format!("api       serve; in sub; port {api} handed over"),
        format!("web       first line …; port {web}"),
    ] {
        assert!(shown.lines().any(|found| found == line), "{line}\n{shown}");
    }
    assert_eq!(plan["processes"][1]["depends_on"], json!({ "api": "started" }));
}

#[test]
fn every_verb_has_help_and_usage_errors() {
    let sandbox = Sandbox::new();
    let help = fine(devrun(&sandbox, sandbox.path(), &["--help"]));
    let verbs: Vec<&str> = help
        .stdout
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| line.starts_with("  "))
        // Long descriptions continue on indented lines.
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    for known in [
        "up", "down", "status", "start", "stop", "restart", "wait", "events", "plan", "env", "ports", "url",
        "exec", "init", "help",
    ] {
        assert!(verbs.contains(&known), "{known} is not in {verbs:?}");
    }
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        for args in [[*verb, "--help"], [*verb, "-h"], ["help", *verb]] {
            let ended = fine(devrun(&sandbox, sandbox.path(), &args));
            assert!(ended.stdout.contains("Usage: devrun") && ended.stderr.is_empty(), "{args:?}: {ended}");
        }
    }
    for args in [&["nonsense"][..], &["--nonsense"], &["plan", "extra"], &["up", "--json", "x"], &["-C"]] {
        let ended = devrun(&sandbox, sandbox.path(), args).run();
        assert_eq!(ended.code, Some(2), "{args:?}: {ended}");
        assert!(ended.stderr.starts_with("error: ") && ended.stdout.is_empty(), "{ended}");
    }
}

#[test]
fn closed_stdout_is_not_a_failure() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "true"))]);
    for verb in ["plan", "env", "ports", "url"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let unread = devrun(&sandbox, &main, &[verb]).with(|command| command.stdout(OwnedFd::from(writer)));
        let ended = fine(unread);
        assert_eq!(ended.stderr, "", "{ended}");
    }
}

#[test]
fn help_and_documents_list_every_exit_status() {
    let row = |code: &Code| {
        let fault = code.fault().map_or("-".into(), |fault| format!("{fault:?}").to_lowercase());
        format!("| `{}` | {} | {fault} |", code.name(), code.exit().status())
    };
    let rows: BTreeSet<String> = Code::ALL.iter().map(row).collect();
    let first_cells = |line: &str| line.split_inclusive('|').take(4).collect();
    let table = include_str!("../../docs/exit-codes.md").lines().filter(|line| line.starts_with("| `"));
    assert_eq!(table.map(first_cells).collect::<BTreeSet<String>>(), rows);

    let classes: BTreeSet<u8> = Code::ALL.iter().map(|code| code.exit().status()).collect();
    let numbers = |list: &str| -> BTreeSet<u8> {
        let words = list.split([';', ',']).filter_map(|part| part.split_whitespace().next());
        words.filter_map(|word| word.parse().ok()).collect()
    };
    let help = Sandbox::new().devrun(&["--help"]).run().stdout;
    let (_, list) = help.split_once("Exit:").unwrap();
    let (list, _) = list.split_once("Examples:").unwrap();
    let mut listed = numbers(list);
    assert!(listed.remove(&0), "{list}");
    assert_eq!(listed, classes, "{list}");

    let (_, list) = include_str!("../../docs/agents.md").split_once("Exit codes:").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let listed = numbers(list);
    let missing: Vec<&u8> = classes.difference(&listed).filter(|status| **status != 70).collect();
    assert!(missing.is_empty(), "docs/agents.md lacks {missing:?}");
}

#[test]
fn output_has_no_secrets_and_no_control_characters() {
    let sandbox = Sandbox::new();
    let config = "urls: { \"Admin\\e[5m\": 'http://admin:${ADMIN_PASSWORD}@localhost/' }\nprocesses:\n  \
                  a: { run: \"printf 'Error: \\\\033[31mboom \\\\342\\\\200\\\\256 %s\\\\n' $ADMIN_PASSWORD; exit 3\" }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", config)]);
    sandbox.write(&main.join(".env"), "ADMIN_PASSWORD=hunter2pw\n");
    let up = devrun(&sandbox, &main, &["up", "-d"]).run();
    assert!(up.stderr.contains("it said: Error: "), "{up}");
    let mut said = vec![up];
    for args in [
        &["status"][..],
        &["status", "--json"],
        &["plan"],
        &["plan", "--json"],
        &["url"],
        &["logs", "devrun"],
    ] {
        said.push(devrun(&sandbox, &main, args).run());
    }
    for ended in said {
        let text = format!("{}{}", ended.stdout, ended.stderr);
        assert!(!text.contains("hunter2pw"), "{ended}");
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{ended}");
    }
}
