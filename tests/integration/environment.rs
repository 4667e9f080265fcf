//! The environment of processes: it contains nothing of another worktree, and the same values that the application would have
//! without devrun.

use std::path::{Path, PathBuf};

use crate::asking::fine;
use crate::support::{Ended, Sandbox};

/// Returns a configuration with one process.
fn devrun_yaml(lines: &str) -> String {
    format!("{lines}processes:\n  web: {{ run: [devrun-fixture, sleep] }}\n")
}

/// Runs `devrun exec` and prints variables, each as `NAME=value` or `NAME unset`.
fn seen(sandbox: &Sandbox, worktree: &Path, vars: &[(&str, &str)], names: &[&str]) -> Ended {
    let words: Vec<String> = names.iter().map(|name| format!("env:{name}")).collect();
    let mut all = vec!["exec", "--", "devrun-fixture"];
    all.extend(words.iter().map(String::as_str));
    let exec = sandbox.devrun(&all).directory(worktree);
    vars.iter().fold(exec, |exec, (name, value)| exec.env(name, value)).run()
}

fn two_worktrees(lines: &str) -> (Sandbox, PathBuf, PathBuf) {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &devrun_yaml(lines)), ("src/app.py", "")]);
    let linked = sandbox.worktree("linked", "b");
    (sandbox, main, linked)
}

#[test]
fn variables_into_another_worktree_are_removed_and_named() {
    let (sandbox, main, linked) = two_worktrees("");
    let link = sandbox.path().join("link");
    std::os::unix::fs::symlink(&main, &link).unwrap();
    let list = format!("{}/src:/opt/lib", link.display());
    let file = format!("{}/alembic.ini", main.display());
    let vars = [("PYTHONPATH", list.as_str()), ("ALEMBIC_CONFIG", file.as_str())];
    let ended = seen(&sandbox, &linked, &vars, &["PYTHONPATH", "ALEMBIC_CONFIG"]);
    assert_eq!(ended.stdout, "env PYTHONPATH=/opt/lib\nenv ALEMBIC_CONFIG unset\n", "{ended}");
    let main = main.canonicalize().unwrap();
    for said in [
        format!("the part of PYTHONPATH that points into {} is removed from the environment", main.display()),
        format!("ALEMBIC_CONFIG is removed from the environment, because it points into {}", main.display()),
    ] {
        assert!(ended.stderr.contains(&said), "{ended}");
    }
    let mut shown = sandbox.devrun(&["env"]).directory(&linked);
    for (name, value) in vars {
        shown = shown.env(name, value);
    }
    let shown = fine(shown).stdout;
    assert!(shown.contains("export PYTHONPATH=/opt/lib\n"), "{shown}");
    assert!(shown.contains("unset ALEMBIC_CONFIG\n"), "{shown}");
    let here = seen(&sandbox, &main, &vars, &["ALEMBIC_CONFIG"]);
    assert_eq!(here.stdout, format!("env ALEMBIC_CONFIG={file}\n"), "{here}");
}

#[test]
fn nested_devrun_drops_variables_of_the_outer_worktree() {
    let (sandbox, main, linked) = two_worktrees("env: { LEVEL: main }\n");
    sandbox.write(&linked.join("devrun.yaml"), &devrun_yaml("env: { OTHER: linked }\n"));
    let devrun = env!("CARGO_BIN_EXE_devrun");
    let inside = [devrun, "-C", linked.to_str().unwrap(), "exec", "--", "devrun-fixture"];
    let asked = ["env:LEVEL", "env:OTHER", "env:EDITOR"];
    let all = [&["exec", "--"][..], &inside, &asked].concat();
    let ended = sandbox.devrun(&all).directory(&main).env("EDITOR", "vi").run();
    assert_eq!(ended.stdout, "env LEVEL unset\nenv OTHER=linked\nenv EDITOR=vi\n", "{ended}");
}

#[test]
fn colon_in_a_path_folder_is_an_error() {
    let sandbox = Sandbox::new();
    let text = devrun_yaml("dependencies: { python: {} }\n");
    sandbox.repo_with(&[("devrun.yaml", &text), ("requirements.txt", "")]);
    let linked = sandbox.worktree("with:colon", "b");
    let ended = seen(&sandbox, &linked, &[], &["PATH"]);
    let folder = linked.canonicalize().unwrap().join(".venv/bin");
    assert!(ended.stderr.contains(&format!("{} cannot be on PATH", folder.display())), "{ended}");
    assert_eq!(ended.stdout, "", "{ended}");
    fine(sandbox.devrun(&["plan"]).directory(sandbox.main()));
}

#[test]
fn env_files_of_a_part_apply_to_that_part_only() {
    let sandbox = Sandbox::new();
    let text = "processes:\n  api: { run: [python3, -V], directory: api, env_files: [api/.env] }\n";
    let main = sandbox.repo_with(&[("devrun.yaml", text), ("api/app.py", ""), (".gitignore", ".env\n")]);
    let linked = sandbox.worktree("linked", "b");
    sandbox.write(&main.join("api/.env"), "KEY=beside\nLEVEL=beside\nSHELL_HAS=file\nPORT=1\n");
    sandbox.write(&linked.join(".env"), "LEVEL=top\n");
    let names = ["KEY", "LEVEL", "SHELL_HAS", "PORT"];
    let inside = seen(&sandbox, &linked.join("api"), &[("SHELL_HAS", "shell")], &names);
    assert_eq!(
        inside.stdout, "env KEY=beside\nenv LEVEL=beside\nenv SHELL_HAS=shell\nenv PORT unset\n",
        "{inside}"
    );
    let said = "api/.env is read from the main worktree: there is none here";
    assert_eq!(inside.stderr.matches(said).count(), 1, "{inside}");
    let top = seen(&sandbox, &linked, &[], &["KEY", "LEVEL"]);
    assert_eq!(top.stdout, "env KEY unset\nenv LEVEL=top\n", "{top}");
}

#[test]
fn mode_files_are_left_to_the_application() {
    let sandbox = Sandbox::new();
    let text = devrun_yaml("env: { COPY: '${API_URL}' }\n");
    let files =
        [("devrun.yaml", text.as_str()), ("package.json", "{}"), (".env.development", "API_URL=dev\n")];
    let main = sandbox.repo_with(&files);
    sandbox.write(&main.join(".env"), "API_URL=prod\nOTHER=x\n");
    sandbox.write(&main.join(".env.development.local"), "FLAG=1\n");
    let here = seen(&sandbox, &main, &[], &["API_URL", "OTHER", "COPY", "FLAG"]);
    assert_eq!(here.stdout, "env API_URL unset\nenv OTHER=x\nenv COPY=dev\nenv FLAG unset\n", "{here}");
    let linked = sandbox.worktree("linked", "b");
    let there = seen(&sandbox, &linked, &[], &["API_URL", "OTHER", "FLAG"]);
    assert_eq!(there.stdout, "env API_URL unset\nenv OTHER=x\nenv FLAG=1\n", "{there}");
    let tested = seen(&sandbox, &linked, &[("NODE_ENV", "test")], &["API_URL", "FLAG"]);
    assert_eq!(tested.stdout, "env API_URL=prod\nenv FLAG unset\n", "{tested}");
}
