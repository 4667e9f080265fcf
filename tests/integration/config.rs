//! The configuration as a user sees it: mistakes with their place and without secrets, Procfiles, no file at all.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use regex::Regex;
use serde_json::Value;

use crate::asking::{answer, base, devrun, fine, interrupt, lines_of, port, refusal, solo};
use crate::support::Sandbox;

/// A secret that devrun must never print.
const SECRET: &str = "hunter2";

/// Each row has the mistake, the file (`S` stands for a section with secrets), its place, and a part of the message.
const MISTAKES: &[(&str, &str, &str, &str)] = &[
    ("unknown key", "S\nprots: { web: 3000 }\nprocesses: { web: x }", "4:1: prots", "did you mean `ports`?"),
    (
        "unknown inner key",
        "S\nprocesses: { web: { run: x, prot: y } }",
        "4:29: processes.web.prot",
        "`port`?",
    ),
    ("a list for a map", "S\nports: [a]\nprocesses: { web: x }", "4:8: ports", "not a list"),
    ("text for a number", "S\nports: { web: x }\nprocesses: { web: x }", "4:15: ports.web", "not `x`"),
    ("bases too close", "S\nports: { a: 3000, b: 3050 }\nprocesses: { web: x }", "4:22: ports.b", "apart"),
    ("a process twice", "S\nprocesses:\n  web: x\n  web: y", "6:3: processes.web", "is written twice"),
    ("a variable twice", "processes: { web: x }\nS\n  TOKEN: hunter2", "5:3: env.TOKEN", "is written twice"),
    ("twice in one line", "env: { A: hunter2, B: b, A: x }\nprocesses: { web: x }", "1:26: env", "`A` is"),
    (
        "unknown process",
        "S\nprocesses:\n  a: { run: x, depends_on: [c] }\n  b: y",
        "5:29: processes.a.depends_on[0]",
        "no process `c`",
    ),
    (
        "circle",
        "S\nprocesses:\n  a: { run: x, depends_on: [b] }\n  b: { run: y, depends_on: [a] }",
        "5:3: processes.a.depends_on",
        "a -> b -> a",
    ),
    (
        "a port for two",
        "S\nports: { p: 3000 }\nprocesses:\n  a: { run: x, port: p }\n  b: { run: y, port: p }",
        "7:22: processes.b.port",
        "already that of `a`",
    ),
    (
        "no such port",
        "S\nprocesses:\n  a: { run: x, port: p }",
        "5:22: processes.a.port",
        "there is no port `p`",
    ),
    (
        "no such folder",
        "S\nprocesses:\n  a: { run: x, directory: gone }",
        "5:3: processes.a.directory",
        "`gone`",
    ),
    ("no such Procfile", "S\nprocfile: Gone", "4:11: procfile", "there is no file `Gone`"),
    ("several documents", "processes: { web: x }\n---\nS", "3:1", "more than one document"),
    ("a computed variable", "S\n  PORT: 1\nprocesses: { web: x }", "4:9: env.PORT", "devrun computes PORT"),
    (
        "the variable of a port",
        "ports: { my-api: 3000 }\nS\n  MY_API_PORT: 1\nprocesses: { web: x }",
        "5:16: env.MY_API_PORT",
        "devrun computes",
    ),
    (
        "the database's variable",
        "database: {}\nS\n  DATABASE_URL: x\nprocesses: { web: x }",
        "5:17: env.DATABASE_URL",
        "branch database",
    ),
    (
        "a name of devrun's",
        "S\nprocesses: { web: { run: x, env: { DEVRUN_X: y } } }",
        "4:46: processes.web.env.DEVRUN_X",
        "own use",
    ),
    (
        "unknown lower case",
        "S\n  X: hunter2${brnch}\nprocesses: { web: x }",
        "4:6: env.X",
        "did you mean `${branch}`?",
    ),
    (
        "a port without a base",
        "S\nprocesses: { web: x }\nurls: { A: 'http://u:hunter2@h/${ports.web}' }",
        "5:12: urls.A",
        "`${ports.web}`",
    ),
    ("never closed", "S\n  X: hunter2${A\nprocesses: { web: x }", "4:6: env.X", "never closes it"),
    (
        "dotenv in YAML",
        "S\n  OTHER=hunter2: x\nprocesses: { web: x }",
        "4:3: env.OTHER",
        "environment variable",
    ),
    ("a list of assignments", "env:\n  - TOKEN=hunter2\nprocesses: { web: x }", "2:3: env", "not a list"),
    (
        "a colon too many",
        "env:\n  TOKEN: hunter2: x\nprocesses: { web: x }",
        "2:17: env.TOKEN",
        "not valid YAML",
    ),
    ("an open quote", "env:\n  TOKEN: 'hunter2\nprocesses: { web: x }", "3:1: processes", "not valid YAML"),
    ("an open bracket", "S\n  X: [hunter2\n  Y: z", "5:4: env.Y", "not valid YAML"),
    ("a tab", "env:\n\tTOKEN: hunter2", "2:2: env.TOKEN", "tabs"),
    (
        "an unknown alias",
        "env:\n  TOKEN: *hunter2\nprocesses: { web: x }",
        "2:10: env.TOKEN",
        "not valid YAML",
    ),
    ("words without a key", "S\n  hunter2\nprocesses: { web: x }", "4:3: env.OTHER", "not valid YAML"),
    ("no YAML at all", "TOKEN=hunter2", "1:1", "must be keys and values"),
    (
        "a provider",
        "S\ndatabase: { url: 'postgres://u:hunter2@h/d', provider: p }\nprocesses: { web: x }",
        "4:56: database.provider",
        "no provider `p`",
    ),
];

/// Two lines with secrets next to the mistake.
const SECTION: &str = "env:\n  TOKEN: hunter2\n  OTHER: postgres://u:hunter2@host/db";

#[test]
fn mistakes_have_a_place_and_show_no_secrets() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    for (what, text, place, says) in MISTAKES {
        let text = text.replace("S\n", &format!("{SECTION}\n"));
        let text = if text.ends_with("\nS") { text.replace("\nS", &format!("\n{SECTION}")) } else { text };
        sandbox.write(&main.join("devrun.yaml"), &text);
        let ended = devrun(&sandbox, &main, &["plan"]).run();
        let first = ended.stderr.lines().next().unwrap_or_default();
        let expected = format!("error: devrun.yaml:{place}: ");
        assert!(first.starts_with(&expected), "{what}: not {expected}\n{text}\n{ended}");
        assert!(first.contains(says) && first.ends_with(" [config-invalid]"), "{what}: {ended}");
        let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80);
        assert_eq!(first, format!("error: {} [config-invalid]", error["message"].as_str().unwrap()));
        for told in [&ended.stderr, &ended.stdout, &error.to_string()] {
            assert!(!told.contains(SECRET), "{what}: {told}");
        }
    }
}

#[test]
fn missing_variable_has_its_own_code() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let text = format!("{SECTION}\n  X: hunter2${{NEEDED:?ask the team}}\nprocesses: {{ web: x }}\n");
    sandbox.write(&main.join("devrun.yaml"), &text);
    for verb in ["up", "plan", "env"] {
        let error = refusal(devrun(&sandbox, &main, &[verb, "--json"]), "variable-missing", 80);
        assert_eq!(error["message"], "devrun.yaml:4:6: env.X: NEEDED is not set: ask the team");
        assert!(error["fix"].as_str().unwrap().contains("set NEEDED in .env"), "{error:#}");
        assert!(!error.to_string().contains(SECRET), "{error:#}");
    }
    sandbox.write(&main.join(".env"), "NEEDED=there\n");
    answer(&sandbox, &main, "plan");
}

#[test]
fn expensive_files_are_refused_quickly() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let inner = vec![format!("*a{}", level - 1); 9].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{inner}]");
    }
    let large = format!("processes: {{ web: x }}\n# {}\n", "x".repeat(256 << 10));
    let deep = format!("processes: {}", "[".repeat(100_000));
    for (text, says) in [
        (bomb, "repeats its anchors too often"),
        (large, "is larger than 256 KiB"),
        (deep, ""),
        ("processes: &p { web: *p }\n".into(), ""),
        (String::new(), "devrun.yaml: is empty"),
        ("# only a remark\n---\n".into(), "devrun.yaml: is empty"),
    ] {
        sandbox.write(&main.join("devrun.yaml"), &text);
        let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80);
        assert!(error["message"].as_str().unwrap().contains(says), "{error:#}");
        assert!(error.to_string().len() < 2_000);
    }
    sandbox.write(&main.join("devrun.yaml"), "");
    let told = devrun(&sandbox, &main, &[]).run();
    assert!(told.stderr.contains("this is the smallest that works"), "{told}");
    let bad = std::fs::File::create(main.join("devrun.yaml")).unwrap();
    std::io::Write::write_all(&mut &bad, b"processes:\n  web: \xff\n").unwrap();
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().contains("line 2 is not UTF-8"), "{error:#}");
}

#[test]
fn devrun_yml_is_reported() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    sandbox.write(&main.join("devrun.yml"), &solo(base(), "true"));
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80);
    assert_eq!(error["message"], "devrun.yml: is not read: the name is devrun.yaml");
    assert!(error["fix"].as_str().unwrap().contains("git mv devrun.yml devrun.yaml"), "{error:#}");
    // A second configuration next to it would hide that file for ever.
    let error = refusal(devrun(&sandbox, &main, &["init", "--json"]), "config-invalid", 80);
    assert!(error["fix"].as_str().unwrap().contains("git mv"), "{error:#}");
    assert!(!main.join("devrun.yaml").exists());
    sandbox.write(&main.join("devrun.yaml"), &solo(base(), "true"));
    let told = fine(devrun(&sandbox, &main, &[]));
    assert!(told.stderr.contains("warning: devrun.yml is ignored"), "{told}");
}

#[test]
fn env_file_mistakes_have_a_line_and_show_no_secrets() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "true"))]);
    sandbox.write(&main.join(".env"), "A=1\nTOKEN='hunter2\nB=hunter2\n");
    let told = fine(devrun(&sandbox, &main, &[]));
    assert!(told.stderr.contains("warning: .env:2 TOKEN: its quotes do not pair up"), "{told}");
    assert!(!told.stderr.contains(SECRET), "{told}");
    let double = |number: u32| format!("A{number}=${{A{0}}}${{A{0}}}", number - 1);
    let lines: Vec<String> = std::iter::once("A0=hunter2".into()).chain((1..60).map(double)).collect();
    sandbox.write(&main.join(".env"), &lines.join("\n"));
    let error = refusal(devrun(&sandbox, &main, &["plan", "--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().contains("becomes too long"), "{error:#}");
    assert!(!error.to_string().contains(SECRET), "{error:#}");
    sandbox.write(&main.join(".env"), "A=1\nhunter2\nB=2\n");
    let told = fine(devrun(&sandbox, &main, &[]));
    assert!(told.stderr.contains("warning: .env:2 is ignored: it is no NAME=value"), "{told}");
    assert!(!told.stderr.contains(SECRET), "{told}");
}

#[test]
fn virtual_environment_named_env_is_not_an_env_file() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "exec devrun-fixture env:A"))]);
    let linked = sandbox.worktree("linked", "feature");
    sandbox.write(&main.join(".env"), "A=main\n");
    sandbox.write(&linked.join(".env/bin/python"), "");
    assert_eq!(lines_of("web", &fine(devrun(&sandbox, &linked, &[])).stdout), ["env A=main"]);
}

#[test]
fn dangling_configuration_link_is_an_error() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("Procfile", "web: true\n")]);
    std::os::unix::fs::symlink("elsewhere.yaml", main.join("devrun.yaml")).unwrap();
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80);
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("/devrun.yaml") && message.contains("leads to a file that is not there"),
        "{message}"
    );
}

#[test]
fn named_pipes_are_refused_without_waiting() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    nix::unistd::mkfifo(&main.join("devrun.yaml"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().ends_with("a named pipe, not a regular file"), "{error:#}");
}

#[test]
fn env_file_pipe_is_read_once_and_times_out() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &solo(base(), "exec devrun-fixture env:A"))]);
    let pipe = main.join(".env");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let running = devrun(&sandbox, &main, &[]).start();
    let writer = sandbox.program("sh", &["-c", "echo A=secret > .env"]).directory(&main).start();
    assert_eq!(writer.wait().code, Some(0));
    assert_eq!(lines_of("web", &running.wait().stdout), ["env A=secret"]);
    let error = refusal(devrun(&sandbox, &main, &["plan", "--json"]), "config-invalid", 80);
    assert!(
        error["message"].as_str().unwrap().contains("no program wrote all of it within 5 s"),
        "{error:#}"
    );
    assert!(error["fix"].as_str().unwrap().contains("`env_files`"), "{error:#}");
}

#[test]
fn devices_in_place_of_manifests_are_refused() {
    for (name, config, verb) in [
        (".neon", "database: {}", "plan"),
        ("package.json", "dependencies: { node: {} }", "plan"),
        ("pyproject.toml", "dependencies: { python: {} }", "plan"),
        (".env", "env: {}", "plan"),
    ] {
        let sandbox = Sandbox::new();
        let main = sandbox.repo_with(&[("devrun.yaml", &format!("{config}\n{}", solo(base(), "true")))]);
        std::os::unix::fs::symlink("/dev/zero", main.join(name)).unwrap();
        let ended = sandbox
            .program("prlimit", &["--as=1500000000", "devrun", verb])
            .directory(&main)
            .start()
            .wait_within(Duration::from_secs(20));
        assert!(matches!(ended.code, Some(0 | 80 | 83)), "{name}: {ended}");
    }
}

#[test]
fn links_out_of_the_worktree_are_refused() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let outside = sandbox.path().join("outside");
    sandbox.write(&outside.join("secret"), "word: hunter2 hunter2\n");
    for name in ["devrun.yaml", "Procfile", ".env"] {
        if name == ".env" {
            sandbox.write(&main.join("devrun.yaml"), &solo(base(), "true"));
        }
        std::os::unix::fs::symlink(outside.join("secret"), main.join(name)).unwrap();
        let error = refusal(devrun(&sandbox, &main, &["plan", "--json"]), "config-invalid", 80);
        let text = error.to_string();
        assert!(text.contains("leads out of the worktree") && !text.contains(SECRET), "{name}: {text}");
        std::fs::remove_file(main.join(name)).unwrap();
    }
    let solo = solo(base(), "true");
    sandbox
        .write(&main.join("devrun.yaml"), &format!("{solo}dependencies: {{ node: {{ directory: app }} }}\n"));
    std::os::unix::fs::symlink(&outside, main.join("app")).unwrap();
    let error = refusal(devrun(&sandbox, &main, &["plan", "--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().contains("`app` leads out of the worktree"), "{error:#}");
}

/// A Procfile whose processes print their variables and then wait.
const PROCFILE: &str = "# web: not this one\r\n\
    web: echo \"got $PORT\" | tr a-z A-Z; exec devrun-fixture env:PORT env:FROM_FILE sleep\r\n\
    \r\n\
    no entry\r\n\
    alpha:exec devrun-fixture env:PORT env:WEB_PORT sleep";

#[test]
fn procfile_runs_as_in_foreman() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("Procfile", PROCFILE)]);
    let first = base();
    sandbox.write(&main.join(".env"), &format!("PORT={first}\nFROM_FILE=yes\n"));
    let plan = answer(&sandbox, &main, "plan");
    let names: Vec<&str> = plan["processes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|process| process["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["web", "alpha"], "in the order of the file");
    assert_eq!(plan["warnings"][0], "Procfile:4 is ignored: it is no `name: command`");
    let (web, alpha) = (port(&plan, "web"), port(&plan, "alpha"));
    assert_eq!(u64::from(web), u64::from(first) + plan["slot"].as_u64().unwrap());
    assert_eq!(alpha - web, 100, "a hundred apart");
    let mut running = devrun(&sandbox, &main, &[]).start();
    running.expect_lines(r"^(web|alpha)\s+\| env ", 4);
    let ended = interrupt(running);
    assert!(ended.stderr.contains("warning: Procfile:4 is ignored"), "{ended}");
    assert_eq!(
        lines_of("web", &ended.stdout),
        [format!("GOT {web}"), format!("env PORT={web}"), "env FROM_FILE=yes".into()]
    );
    assert_eq!(
        lines_of("alpha", &ended.stdout),
        [format!("env PORT={alpha}"), format!("env WEB_PORT={web}")]
    );
    std::fs::remove_file(main.join(".env")).unwrap();
    let plan = answer(&sandbox, &main, "plan");
    assert_eq!(u64::from(port(&plan, "web")), 5000 + plan["slot"].as_u64().unwrap());
}

#[test]
fn devrun_yaml_may_name_a_procfile() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("Procfile", PROCFILE)]);
    sandbox.write(&main.join(".env"), &format!("PORT={}\n", base()));
    let alone = answer(&sandbox, &main, "plan");
    fine(devrun(&sandbox, &main, &["init"]));
    let named = answer(&sandbox, &main, "plan");
    assert_eq!(named["source"], "devrun.yaml, Procfile");
    for part in ["processes", "ports", "urls", "env"] {
        assert_eq!(named[part], alone[part], "{part}");
    }
    let own = base();
    sandbox.write(&main.join("other/Procfile.dev"), "api: exec devrun-fixture env:PORT env:A\n");
    let text = format!("ports: {{ api: {own} }}\nprocfile: other/Procfile.dev\nenv: {{ A: b }}\n");
    sandbox.write(&main.join("devrun.yaml"), &text);
    let ended = fine(devrun(&sandbox, &main, &[]));
    let number = port(&answer(&sandbox, &main, "ports"), "api");
    assert_eq!(lines_of("api", &ended.stdout), [format!("env PORT={number}"), "env A=b".into()]);
    assert!((own..own + 100).contains(&number));
}

#[test]
fn bad_procfile_is_named() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    for (text, message) in [
        ("# nothing\n", "Procfile: has no processes"),
        ("web: a\nweb: b\n", "Procfile:2:1: web: is written twice"),
    ] {
        sandbox.write(&main.join("Procfile"), text);
        assert_eq!(refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80)["message"], message);
    }
}

#[test]
fn suggested_file_works() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo();
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-missing", 80);
    let fix = error["fix"].as_str().unwrap();
    assert!(fix.starts_with("run `devrun init`, or write a devrun.yaml"), "{fix}");
    let shown = fix.split_once("\n\n").unwrap().1;
    let base = base();
    let real =
        shown.replace("npm run dev", "exec devrun-fixture env:PORT").replace("3000", &base.to_string());
    assert!(shown.contains("npm run dev") && shown.contains("3000"), "{shown}");
    sandbox.write(&main.join("devrun.yaml"), &real);
    let ended = fine(devrun(&sandbox, &main, &[]));
    let number = port(&answer(&sandbox, &main, "ports"), "web");
    assert_eq!(lines_of("web", &ended.stdout), [format!("env PORT={number}")]);
}

/// Makes a repository with the structure of the reference product.
fn reference(sandbox: &Sandbox) -> std::path::PathBuf {
    sandbox.repo_with(&[
        ("package.json", "{}"),
        ("pnpm-lock.yaml", ""),
        ("pnpm-workspace.yaml", "packages: [frontend]\n"),
        ("frontend/package.json", r#"{ "dependencies": { "next": "16.0.0" } }"#),
        ("backend/requirements.txt", "fastapi==0.1\n"),
        ("backend/app/main.py", "app = FastAPI()\n\n@app.get('/healthz')\ndef healthz(): ...\n"),
        ("backend/alembic.ini", "[alembic]\nscript_location = %(here)s/alembic\n"),
    ])
}

#[test]
fn init_writes_the_recognised_configuration() {
    let sandbox = Sandbox::new();
    let main = reference(&sandbox);
    let recognised = answer(&sandbox, &main, "plan");
    assert!(
        recognised["source"].as_str().unwrap().starts_with("recognised: Next.js in frontend"),
        "{recognised:#}"
    );
    let shown = fine(devrun(&sandbox, &main, &["init", "--print"])).stdout;
    assert!(!main.join("devrun.yaml").exists());
    let wrote = fine(devrun(&sandbox, &main.join("backend/app"), &["init"]));
    assert!(wrote.stdout.starts_with("Wrote "), "{wrote}");
    assert_eq!(std::fs::read_to_string(main.join("devrun.yaml")).unwrap(), shown);
    let mut written = answer(&sandbox, &main, "plan");
    assert_eq!(written["source"], "devrun.yaml");
    written["source"] = recognised["source"].clone();
    // A complete file sets its variables itself.
    assert_eq!(written["bindings"], Value::Array(Vec::new()));
    written["bindings"] = recognised["bindings"].clone();
    assert_eq!(written, recognised);
    let names: Vec<&Value> =
        written["processes"].as_array().unwrap().iter().map(|process| &process["name"]).collect();
    assert_eq!(names, ["backend", "frontend"]);
    assert_eq!(written["database"]["url"], "not created yet");

    sandbox.write(&main.join("devrun.yaml"), "mine");
    let error = refusal(devrun(&sandbox, &main, &["init", "--json"]), "config-invalid", 80);
    assert!(error["message"].as_str().unwrap().ends_with("devrun.yaml exists already"), "{error:#}");
    assert_eq!(std::fs::read_to_string(main.join("devrun.yaml")).unwrap(), "mine");
    std::fs::remove_file(main.join("devrun.yaml")).unwrap();
    std::os::unix::fs::symlink("elsewhere.yaml", main.join("devrun.yaml")).unwrap();
    refusal(devrun(&sandbox, &main, &["init", "--json"]), "config-invalid", 80);
    assert_eq!(std::fs::read_link(main.join("devrun.yaml")).unwrap(), Path::new("elsewhere.yaml"));
}

#[test]
fn error_place_has_editor_format() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", "processes: [\n")]);
    let error = refusal(devrun(&sandbox, &main, &["--json"]), "config-invalid", 80);
    let message = error["message"].as_str().unwrap();
    assert!(Regex::new(r"^devrun\.yaml:\d+:\d+: ").unwrap().is_match(message), "{message}");
    assert!(!message.contains(" at line "), "{message}");
}

#[test]
fn plan_prints_each_remark_once() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("Procfile", "web: devrun-fixture sleep\nnonsense\n")]);
    let count = |said: &str| {
        let plan = fine(devrun(&sandbox, &main, &["plan"]));
        format!("{}{}", plan.stdout, plan.stderr).matches(said).count()
    };
    assert_eq!(count("Procfile:2 is ignored"), 1);
    let vite = r#"{ "scripts": { "dev": "vite" }, "devDependencies": { "vite": "5" } }"#;
    sandbox.write(&main.join("web/package.json"), vite);
    std::fs::remove_file(main.join("Procfile")).unwrap();
    assert_eq!(count("recognised: "), 1);
}
