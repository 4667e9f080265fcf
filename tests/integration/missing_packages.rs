//! A module that a program does not find: the error says which list lacks its package, or that the package is not installed,
//! and the printed commands help.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::asking::{base, fine, json, refusal};
use crate::support::Sandbox;

/// Works like uv, as far as this test needs it: a package is a line of the list, and installs a folder and its metadata.
const UV: &str = r#"#!/bin/sh
site=.venv/lib/python3.12/site-packages
case "$1 $2" in
"venv --no-progress")
    mkdir -p .venv/bin $site
    echo "home = /usr/bin" >.venv/pyvenv.cfg
    echo "VIRTUAL_ENV='$PWD/.venv'" >.venv/bin/activate
    ln -s /bin/sh .venv/bin/python;;
"pip install")
    while read -r package; do mkdir -p $site/$package $site/$package-1.dist-info; done <requirements.txt;;
"pip compile") cp "$3" "$5";;
esac
"#;

const API: &str = r#"#!/bin/sh
[ -d .venv/lib/python3.12/site-packages/humanize ] && exec devrun-fixture listen:PORT sleep
echo 'Traceback (most recent call last):' >&2
echo '  File "main.py", line 3, in <module>' >&2
echo "ModuleNotFoundError: No module named 'humanize'" >&2
exec devrun-fixture sleep
"#;

fn program(sandbox: &Sandbox, path: &Path, text: &str) {
    sandbox.write(path, text);
    std::fs::set_permissions(sandbox.path().join(path), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes a repository with a backend that imports `humanize`, which only the input of its list has.
fn world() -> Sandbox {
    let mut sandbox = Sandbox::new();
    let config = format!(
        "ports: {{ api: {} }}\ndependencies: {{ python: {{ directory: backend }} }}\nprocesses:\n  \
         api: {{ run: ./api.sh, directory: backend, port: api, ready: {{ http: /, timeout: 1s }} }}\n",
        base()
    );
    let main = sandbox.repo_with(&[
        ("devrun.yaml", &config),
        ("backend/requirements.in", "humanize\n"),
        ("backend/requirements.txt", ""),
        ("backend/main.py", "\n\nimport humanize\n"),
    ]);
    program(&sandbox, &main.join("backend/api.sh"), API);
    program(&sandbox, Path::new("fake/uv"), UV);
    let rest = fine(sandbox.program("/bin/sh", &["-c", "echo $PATH"])).stdout;
    let devrun = Path::new(env!("CARGO_BIN_EXE_devrun")).parent().unwrap();
    let fake = sandbox.path().join("fake");
    sandbox.set("PATH", format!("{}:{}:{}", fake.display(), devrun.display(), rest.trim()));
    sandbox
}

/// Runs the commands between backticks of a fix, or the fix itself if there are none.
#[track_caller]
fn follow(sandbox: &Sandbox, answer: &Value) {
    let fix = answer["fix"].as_str().unwrap();
    let commands: Vec<&str> =
        if fix.contains('`') { fix.split('`').skip(1).step_by(2).collect() } else { vec![fix] };
    for command in commands {
        fine(sandbox.program("/bin/sh", &["-c", command]));
    }
}

#[test]
fn the_fix_for_a_package_that_is_not_in_the_compiled_list_or_not_installed_helps() {
    let sandbox = world();
    let answer = refusal(sandbox.devrun(&["up", "-d", "--json"]), "not-ready", 86);
    let cause = "`humanize` is in backend/requirements.in but not in backend/requirements.txt, from which devrun installs";
    assert!(answer["cause"].as_str().unwrap().contains(cause), "{answer:#}");
    let fix = "update backend/requirements.txt with `cd backend && devrun exec -- uv pip compile requirements.in -o \
               requirements.txt`, then `devrun down && devrun up -d`";
    assert_eq!(
        (&answer["fault"], &answer["correct"], &answer["fix"]),
        (&"code".into(), &"backend/requirements.txt".into(), &fix.into())
    );
    let why = json(&fine(sandbox.devrun(&["why", "--json"])));
    assert_eq!((&why["fix"], &why["correct"]), (&answer["fix"], &answer["correct"]), "{why:#}");
    // The reason of the running stack may be out of date once its files have changed.
    sandbox.write(&sandbox.main().join(".env"), "A=1\n");
    let older = refusal(sandbox.devrun(&["up", "-d", "--json"]), "not-ready", 86);
    let changed = "\nchanged since the start of the stack, which keeps the old values: .env";
    assert!(older["cause"].as_str().unwrap().ends_with(changed), "{older:#}");
    assert_eq!(older["fix"], "devrun down && devrun up -d");
    follow(&sandbox, &answer);

    let site = sandbox.main().join("backend/.venv/lib/python3.12/site-packages");
    for gone in ["humanize", "humanize-1.dist-info"] {
        std::fs::remove_dir(site.join(gone)).unwrap();
    }
    let answer = refusal(sandbox.devrun(&["restart", "api", "--json"]), "not-ready", 86);
    let cause = "`humanize` is in backend/requirements.txt but is not installed";
    assert!(answer["cause"].as_str().unwrap().contains(cause), "{answer:#}");
    assert_eq!(
        (&answer["fault"], &answer["fix"]),
        (&"environment".into(), &"devrun down && devrun up -d".into())
    );
    follow(&sandbox, &answer);
    assert!(site.join("humanize-1.dist-info").is_dir());
    fine(sandbox.devrun(&["down"]));
}
