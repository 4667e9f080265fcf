//! Steps of `setup:`, which make files before the processes start.

use crate::asking::{fine, json, refusal};
use crate::support::{Ended, Sandbox};

const CONFIG: &str = "setup:
  codegen: { run: 'cat schema >generated; echo run >>count', directory: api, inputs: ['schema*'] }
processes:
  api: { run: 'cat generated; exec devrun-fixture sleep', directory: api, ready: { log: one|two } }
";

fn world(config: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", config), ("api/schema", "one\n")]);
    sandbox
}

fn up(sandbox: &Sandbox) -> Ended {
    fine(sandbox.devrun(&["up", "-d"]))
}

fn down(sandbox: &Sandbox) {
    fine(sandbox.devrun(&["down"]));
}

/// Returns how often the step ran.
fn runs(sandbox: &Sandbox) -> usize {
    std::fs::read_to_string(sandbox.main().join("api/count")).unwrap_or_default().lines().count()
}

#[test]
fn step_runs_before_the_processes_and_again_when_an_input_changes() {
    let sandbox = world(CONFIG);
    up(&sandbox);
    down(&sandbox);
    up(&sandbox);
    down(&sandbox);
    assert_eq!(runs(&sandbox), 1);
    sandbox.write(&sandbox.main().join("api/schema"), "two\n");
    up(&sandbox);
    let logs = fine(sandbox.devrun(&["logs", "api", "-n", "1"])).stdout;
    assert!(logs.contains("two"), "{logs}");
    down(&sandbox);
    assert_eq!(runs(&sandbox), 2);
    sandbox.write(&sandbox.main().join("api/schema2"), "");
    up(&sandbox);
    down(&sandbox);
    assert_eq!(runs(&sandbox), 3);
}

#[test]
fn step_without_inputs_runs_at_every_start() {
    let sandbox = world(&CONFIG.replace(", inputs: ['schema*']", ""));
    for count in 1..3 {
        up(&sandbox);
        down(&sandbox);
        assert_eq!(runs(&sandbox), count);
    }
}

#[test]
fn failed_step_ends_the_start_and_runs_again() {
    let sandbox = world(&CONFIG.replace("cat schema >generated;", "grep two schema >generated &&"));
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "setup-failed", 83);
    assert!(error["message"].as_str().unwrap().starts_with("setup.codegen: "), "{error:#}");
    assert_eq!(runs(&sandbox), 0);
    sandbox.write(&sandbox.main().join("api/schema"), "two\n");
    up(&sandbox);
    down(&sandbox);
}

#[test]
fn missing_program_of_a_step_is_the_environment() {
    let sandbox =
        world("setup: { codegen: devrun-no-such-generator }\nprocesses: { api: devrun-fixture sleep }\n");
    let error = refusal(sandbox.devrun(&["up", "-d", "--json"]), "setup-failed", 83);
    assert_eq!(error["fault"], "environment", "{error:#}");
    assert!(error["fix"].as_str().unwrap().contains("setup.codegen.run"), "{error:#}");
}

#[test]
fn plan_shows_the_steps() {
    let sandbox = world(CONFIG);
    let plan = fine(sandbox.devrun(&["plan"])).stdout;
    assert!(plan.contains("cat schema >generated"), "{plan}");
    let plan = json(&fine(sandbox.devrun(&["plan", "--json"])));
    assert_eq!(plan["processes"][0]["needs"], serde_json::json!(["setup"]), "{plan:#}");
    assert_eq!(plan["setup"][0]["name"], "codegen", "{plan:#}");
}

#[test]
fn a_start_in_the_background_names_what_it_downloads_once() {
    use std::os::unix::fs::PermissionsExt;

    let sandbox = Sandbox::new();
    let manifest = "{ \"name\": \"x\", \"packageManager\": \"pnpm@9.1.0\" }";
    let config = "dependencies: { node: { directory: . } }\nprocesses:\n  web: { run: [devrun-fixture, ready, sleep] }\n";
    let lock = "lockfileVersion: '9.0'\n";
    sandbox.repo_with(&[("devrun.yaml", config), ("package.json", manifest), ("pnpm-lock.yaml", lock)]);
    // An npm whose package is a pnpm that installs nothing.
    let npm = "#!/bin/sh\ncase $1 in\npack) touch pnpm.tgz ;;\ninstall)\n  mkdir -p node_modules/.bin\n  \
               printf '#!/bin/sh\\nmkdir -p node_modules; echo 9.1.0\\n' >node_modules/.bin/pnpm\n  \
               chmod 755 node_modules/.bin/pnpm ;;\n*) echo 11.0.0 ;;\nesac\n";
    let bin = sandbox.path().join("bin");
    sandbox.write(&bin.join("npm"), npm);
    std::fs::set_permissions(bin.join("npm"), std::fs::Permissions::from_mode(0o755)).unwrap();
    for program in ["git", "sh", "mkdir", "touch", "chmod", "cat", "node", "env", "devrun-fixture"] {
        let found = sandbox.program("sh", &["-c", &format!("command -v {program}")]).run().stdout;
        std::os::unix::fs::symlink(found.trim(), bin.join(program)).unwrap();
    }
    let first = fine(sandbox.devrun(&["up", "-d"]).env("PATH", &bin));
    let said = "note: fetching pnpm 9.1.0 into devrun's cache: ";
    assert!(first.stderr.contains(said), "{first}");
    assert!(json(&fine(sandbox.devrun(&["status", "--json"])))["fetched"][0].is_string());
    let running = fine(sandbox.devrun(&["up", "-d"]).env("PATH", &bin));
    assert!(!running.stderr.contains("fetching"), "{running}");
    down(&sandbox);
    let second = fine(sandbox.devrun(&["up", "-d"]).env("PATH", &bin));
    assert!(!second.stderr.contains("fetching"), "{second}");
    down(&sandbox);
}
