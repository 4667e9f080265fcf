//! `devrun doctor`: planted problems, the changes of `--fix`, and that each fix helps when it is followed.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::asking::{base, devrun, fine, json, server};
use crate::supervise::terminal::Terminal;
use crate::support::product::Product;
use crate::support::{Ended, LIMIT, Sandbox, kill_both, wait_for};

/// Findings about the machine that the tests run on.
const OF_THE_MACHINE: [&str; 5] =
    ["disk-full", "disk-low", "open-files-low", "watches-low", "shared-memory-small"];

/// Returns the answer of `devrun doctor ARGS --json`.
#[track_caller]
fn doctor(sandbox: &Sandbox, folder: &Path, args: &[&str]) -> Value {
    let ended = devrun(sandbox, folder, &[&["doctor", "--json"], args].concat()).run();
    let answer = json(&ended);
    let has_error = answer["counts"]["error"].as_u64().unwrap() > 0;
    assert_eq!(ended.code, Some(if has_error { 91 } else { 0 }), "{ended}");
    assert_eq!(answer["code"], if has_error { "problems-found".into() } else { Value::Null }, "{ended}");
    assert!(!ended.stdout.contains("hunter2"), "a secret: {ended}");
    answer
}

fn found<'a>(answer: &'a Value, id: &str) -> Option<&'a Value> {
    answer["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id)
}

fn ids(answer: &Value) -> BTreeSet<String> {
    let ids = answer["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap());
    ids.map(str::to_string).collect()
}

/// Returns the fix of the finding `id`.
#[track_caller]
fn fix<'a>(answer: &'a Value, id: &str) -> &'a str {
    found(answer, id).unwrap_or_else(|| panic!("no {id}: {answer:#}"))["fix"].as_str().unwrap()
}

/// Returns the text between the first `before` and the next `after`.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_else(|| panic!("no {before} in {text}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {rest}")).0
}

#[track_caller]
fn shell(sandbox: &Sandbox, folder: &Path, line: &str) -> Ended {
    fine(sandbox.program("sh", &["-ec", line]).directory(folder))
}

/// Replaces `from` by `to` in a file. Panics if the file does not contain `from`.
#[track_caller]
fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "no {from} in {text}");
    devrun::testing::os::fs::replace(file, text.replace(from, to).as_bytes(), 0o644).unwrap();
}

/// Makes a repository with many problems: in its configuration, its code, its worktrees, its packages and its hooks.
fn planted(sandbox: &Sandbox) -> PathBuf {
    sandbox.git(&["config", "--global", "--unset", "core.hooksPath"]);
    let base = base();
    let config = format!(
        "recognise: false
ports: {{ web: {base} }}
env_out: {{ .env.devrun: {{}} }}
database: {{ provider: local, branch: 'dev-${{branch}}', url_env: [DATABASE_URL] }}
dependencies: {{ node: {{ directory: . }}, python: {{ directory: . }} }}
processes:
  web: {{ run: devrun-fixture listen:PORT sleep, port: web }}
  api: {{ run: uvicorn main:app --reload, autostart: false }}
"
    );
    let manifest = "{
  \"scripts\": {\"dev\": \"next dev\", \"lint\": \"eslint .\", \"test\": \"jest\"},
  \"engines\": {\"node\": \">=99\"},
  \"dependencies\": {\"next\": \"15.4.0\", \"next-auth\": \"5.0.0\"},
  \"jest\": {\"verbose\": true}
}
";
    let code = "import os, requests\nfrom fastapi import FastAPI\napp = FastAPI()\n\n\n@app.get('/page')\ndef page():\n    \
                return requests.get('http://localhost:3000/status').text\n";
    let root = sandbox.repo_with(&[
        ("devrun.yaml", &config),
        ("package.json", manifest),
        ("eslint.config.mjs", "export default [];\n"),
        ("requirements.txt", "fastapi\nuvicorn\nrequests\n"),
        ("main.py", code),
    ]);
    let nested = root.join(".claude/worktrees/a");
    sandbox.git(&["worktree", "add", "-q", "-b", "a", nested.to_str().unwrap()]);
    sandbox.git(&["worktree", "add", "-q", "--force", sandbox.path().join("b").to_str().unwrap(), "a"]);
    std::fs::remove_dir_all(sandbox.worktree("gone", "gone")).unwrap();
    sandbox.write(
        &root.join(".env"),
        "DIRECT_URL=postgres://u:hunter2pw@prod.example.net/main\nSITE_URL=http://localhost:3000\n",
    );
    std::fs::create_dir_all(root.join("node_modules/x")).unwrap();
    sandbox.write(&sandbox.path().join("other/venv/pyvenv.cfg"), "home = /usr\n");
    symlink(sandbox.path().join("other/venv"), root.join(".venv")).unwrap();
    sandbox.git(&["config", "core.hooksPath", "missing/hooks"]);
    root
}

#[test]
fn planted_problems_are_found_and_each_fix_helps() {
    let sandbox = Sandbox::new();
    let root = planted(&sandbox);
    let answer = doctor(&sandbox, &root, &[]);
    let wanted = [
        "branch-shared",
        "database-shared",
        "env-file-not-ignored",
        "env-out-not-ignored",
        "hooks-off",
        "lint-reaches-worktrees",
        "logins-shared",
        "node-version",
        "packages-linked",
        "port-in-code",
        "port-in-variable",
        "reload-reaches-worktrees",
        "tests-reach-worktrees",
        "worktree-gone",
        "worktrees-not-ignored",
    ];
    let missing: Vec<&&str> = wanted.iter().filter(|id| found(&answer, id).is_none()).collect();
    assert!(missing.is_empty(), "{missing:?} are missing: {answer:#}");
    let evidence = |id: &str| found(&answer, id).unwrap()["evidence"][0].clone();
    assert_eq!(evidence("port-in-code"), serde_json::json!({ "file": "main.py", "line": 8 }));
    assert_eq!(evidence("port-in-variable"), serde_json::json!({ "file": ".env", "line": 2 }));
    assert_eq!(evidence("env-out-not-ignored"), serde_json::json!({ "file": "devrun.yaml", "line": 3 }));
    assert_eq!(evidence("node-version"), serde_json::json!({ "file": "package.json", "line": 3 }));
    assert!(
        !sandbox.home().join(".local/state/devrun-worktree/leases.json").exists(),
        "`doctor` leased ports"
    );

    // Edits.
    let yaml = root.join("devrun.yaml");
    let option = between(fix(&answer, "reload-reaches-worktrees"), "add `", "`");
    edit(&yaml, "main:app --reload", &format!("main:app --reload {option}"));
    let variable = between(fix(&answer, "port-in-variable"), "env: ", " }");
    let lines = between(fix(&answer, "database-shared"), "url_env: ", "]");
    edit(&yaml, "url_env: [DATABASE_URL]", &format!("url_env: {lines}]"));
    edit(&yaml, "processes:\n", &format!("env: {}\nprocesses:\n", variable.replace("NAME", "web") + " }"));
    let jest = fix(&answer, "tests-reach-worktrees").split_once("package.json: ").unwrap().1;
    edit(&root.join("package.json"), "\"verbose\": true", jest);
    let eslint = fix(&answer, "lint-reaches-worktrees").split_once("eslint.config.mjs: ").unwrap().1;
    edit(&root.join("eslint.config.mjs"), "[]", &format!("[{eslint}]"));
    let line = fix(&answer, "port-in-code").strip_prefix("write ").unwrap();
    edit(&root.join("main.py"), "'http://localhost:3000/status'", line);
    edit(&root.join("package.json"), ">=99", ">=1");

    // Commands.
    shell(&sandbox, &root, fix(&answer, "packages-linked").split_once(" (").unwrap().0);
    shell(&sandbox, &root, between(fix(&answer, "hooks-off"), "; `", "`"));
    shell(&sandbox, &root, fix(&answer, "branch-shared").split_once(": ").unwrap().1);

    // Changes that devrun makes.
    let shown = fine(devrun(&sandbox, &root, &["doctor", "--fix", "--yes", "--hook", "--json"]));
    let done = json(&shown);
    assert_eq!(
        (done["changed"].clone(), done["failures"].clone()),
        (true.into(), serde_json::json!([])),
        "{done:#}"
    );
    fine(devrun(&sandbox, &root, &["prune", "--yes"]));

    let left = ids(&doctor(&sandbox, &root, &[]));
    // Cookies are a matter of the browser, and devrun is not on the PATH of the test.
    let wanted: BTreeSet<String> = ["logins-shared", "hook-without-program"].map(str::to_string).into();
    let left: BTreeSet<String> =
        left.into_iter().filter(|id| !OF_THE_MACHINE.contains(&id.as_str())).collect();
    let informative = ["manager-missing", "lockfiles-several", "python-missing", "postgres-missing"];
    let left: BTreeSet<String> = left.into_iter().filter(|id| !informative.contains(&id.as_str())).collect();
    assert!(left.is_subset(&wanted), "{left:?}");
}

#[test]
fn fix_shows_its_changes_first_and_a_second_run_has_none() {
    let sandbox = Sandbox::new();
    let root = planted(&sandbox);
    let exclude = root.join(".git/info/exclude");
    let before = std::fs::read_to_string(&exclude).unwrap_or_default();
    let ended = devrun(&sandbox, &root, &["doctor", "--fix"]).run();
    assert_eq!(ended.code, Some(91), "{ended}");
    assert!(
        ended.stdout.contains("add to .git/info/exclude: /.claude/worktrees/ /.env /.env.devrun"),
        "{ended}"
    );
    assert!(ended.stdout.ends_with("To make them: devrun doctor --fix --yes\n"), "{ended}");
    assert_eq!(std::fs::read_to_string(&exclude).unwrap_or_default(), before, "it changed the list unasked");

    let done = doctor(&sandbox, &root, &["--fix", "--yes"]);
    assert_eq!(done["changed"], true, "{done:#}");
    let after = std::fs::read_to_string(&exclude).unwrap();
    assert_eq!(after.strip_prefix(&before).unwrap(), "/.claude/worktrees/\n/.env\n/.env.devrun\n");
    assert!(!sandbox.git(&["status", "--porcelain"]).contains(".claude"));

    let again = doctor(&sandbox, &root, &["--fix", "--yes"]);
    assert_eq!((again["changed"].clone(), again["changes"].clone()), (false.into(), serde_json::json!([])));
    assert_eq!(std::fs::read_to_string(&exclude).unwrap(), after);
    assert!(!root.join(".git/hooks/post-checkout").exists(), "the hook was not asked for");
}

#[test]
fn on_a_terminal_fix_asks_first() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    sandbox.write(&root.join(".env"), "A=b\n");
    let status = || sandbox.git(&["status", "--porcelain"]);
    for (answer, code, left) in [("n\n", 2, "?? .env"), ("y\n", 0, "")] {
        let (running, terminal) = Terminal::start(devrun(&sandbox, &root, &["doctor", "--fix"]));
        terminal.expect("Make these changes? [y/N] ");
        assert!(terminal.text().contains("add to .git/info/exclude: /.env"), "{}", terminal.text());
        terminal.press(answer);
        assert_eq!(terminal.end(running).code, Some(code), "{}", terminal.text());
        assert_eq!(status(), left);
    }
}

#[test]
fn the_hook_is_installed_only_if_asked_and_notes_are_left_out_for_agents() {
    let sandbox = Sandbox::new();
    sandbox.git(&["config", "--global", "--unset", "core.hooksPath"]);
    let root = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    sandbox.worktree("other", "other");
    let hook = root.join(".git/hooks/post-checkout");
    let said = fine(devrun(&sandbox, &root, &["doctor"]));
    assert!(said.stdout.contains("[hook-missing]"), "{said}");
    let short = fine(devrun(&sandbox, &root, &["doctor"]).env("CLAUDECODE", "1"));
    assert!(!short.stdout.contains("hook-missing") && short.stdout.contains(" note"), "{short}");
    doctor(&sandbox, &root, &["--fix", "--yes"]);
    assert!(!hook.exists());
    let done = doctor(&sandbox, &root, &["--fix", "--hook", "--yes"]);
    assert!(hook.exists() && found(&done, "hook-missing").is_none(), "{done:#}");
}

#[test]
fn leftovers_of_a_killed_stack_are_removed_and_gits_record_is_left_to_prune() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let folder = sandbox.worktree("killed", "killed");
    fine(devrun(&sandbox, &folder, &["up", "-d"]));
    let stacks = json(&fine(devrun(&sandbox, &folder, &["ls", "--here", "--json"])));
    let keeper = u32::try_from(stacks["stacks"][0]["pid"].as_u64().unwrap()).unwrap();
    assert!(found(&doctor(&sandbox, &root, &[]), "leftovers").is_none(), "a stack that runs");
    kill_both(keeper);
    wait_for("the end of the stack", LIMIT, || match sandbox.processes().as_slice() {
        [] => Ok(()),
        left => Err(format!("{left:?}")),
    });
    std::fs::remove_dir_all(&folder).unwrap();

    let answer = doctor(&sandbox, &root, &[]);
    assert_eq!(found(&answer, "leftovers").unwrap()["fixable"], true, "{answer:#}");
    let done = doctor(&sandbox, &root, &["--fix", "--yes"]);
    assert!(found(&done, "leftovers").is_none(), "{done:#}");
    let leases = std::fs::read_to_string(sandbox.home().join(".local/state/devrun-worktree/leases.json"));
    assert!(!leases.unwrap().contains("killed"));
    assert!(found(&done, "worktree-gone").is_some(), "git's record is left to prune");
    assert_eq!(doctor(&sandbox, &root, &["--fix", "--yes"])["changed"], false);
}

#[test]
fn p13_a_worktree_inside_another_checkout_reports_what_leaks_into_it() {
    let sandbox = Sandbox::new();
    let manifest = "{\"dependencies\": {\"next\": \"15.4.0\"}, \"scripts\": {\"dev\": \"next dev\"}}\n";
    let files = [("package.json", manifest), ("package-lock.json", "{}\n"), ("devrun.yaml", &server(base()))];
    let root = sandbox.repo_with(&files);
    std::fs::create_dir_all(root.join("node_modules/next")).unwrap();
    let nested = root.join("trees/a");
    sandbox.git(&["worktree", "add", "-q", "-b", "a", nested.to_str().unwrap()]);
    let answer = doctor(&sandbox, &nested, &[]);
    assert!(
        found(&answer, "packages-leaked").unwrap()["title"].as_str().unwrap().contains("repo/node_modules")
    );
    assert_eq!(
        found(&answer, "worktrees-not-ignored").unwrap()["evidence"][0]["file"],
        root.to_str().unwrap()
    );
    let edit = between(fix(&answer, "next-root"), "Next.js: ", " (");
    assert_eq!(edit, "turbopack: { root: __dirname }");

    sandbox.write(&nested.join("next.config.js"), &format!("module.exports = {{ {edit} }}\n"));
    std::fs::create_dir_all(nested.join("node_modules")).unwrap();
    let left = ids(&doctor(&sandbox, &nested, &[]));
    assert!(!left.contains("next-root") && !left.contains("packages-leaked"), "{left:?}");
}

#[test]
fn the_example_product_has_no_errors_and_no_warnings() {
    let product = Product::new();
    let answer = doctor(&product, &product.main(), &[]);
    let alarming: Vec<&Value> = answer["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|finding| finding["severity"] != "info")
        .filter(|finding| !OF_THE_MACHINE.contains(&finding["id"].as_str().unwrap()))
        .collect();
    assert!(alarming.is_empty(), "{alarming:#?}");
}

#[test]
fn a_configuration_that_does_not_parse_is_an_error_with_its_line() {
    let sandbox = Sandbox::new();
    let root = sandbox.repo_with(&[("devrun.yaml", "processes: { web: { rum: x } }\n")]);
    let answer = doctor(&sandbox, &root, &[]);
    assert!(
        found(&answer, "configuration-invalid").unwrap()["title"].as_str().unwrap().contains("rum"),
        "{answer:#}"
    );
    let ended = devrun(&sandbox, &root, &["doctor"]).run();
    assert!(ended.stdout.starts_with("error   "), "{ended}");
    assert!(ended.stdout.contains("[configuration-invalid]"), "{ended}");
    sandbox.write(&root.join("devrun.yaml"), "processes: { web: { run: x } }\n");
    assert!(found(&doctor(&sandbox, &root, &[]), "configuration-invalid").is_none());
}
