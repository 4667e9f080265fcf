//! `devrun db heads`: the Alembic heads with their authors, without a database.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::World;
use crate::asking::{devrun, fine, json, refusal};
use crate::supervise::terminal::Terminal;
use crate::support::Sandbox;

fn revision(id: &str, down: &str, message: &str) -> String {
    format!("\"\"\"{message}\n\"\"\"\nrevision = '{id}'\ndown_revision = {down}\n")
}

fn config(run: &str) -> String {
    format!(
        "database:\n  provider: local\n  migrate: {{ run: {run}, directory: backend, inputs: ['versions/*.py'] }}\n\
         processes: {{ web: {{ run: 'exec devrun-fixture ready sleep' }} }}\n"
    )
}

/// Commits a revision as `author`.
fn commit(sandbox: &Sandbox, author: &str, id: &str, down: &str, message: &str) {
    let file = format!("backend/versions/{id}.py");
    sandbox.write(&sandbox.main().join(&file), &revision(id, down, message));
    sandbox.git(&["add", &file]);
    let author = format!("{author} <a@example.invalid>");
    sandbox.git(&["commit", "-q", "-m", message, "--author", &author, "--date", "2026-01-02T12:00:00Z"]);
}

#[test]
fn d10_heads_are_listed_with_authors_and_the_command_that_merges_them() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &config("uv run alembic upgrade head")), ("backend/.keep", "")]);
    let none = json(&fine(sandbox.devrun(&["db", "heads", "--json"])));
    assert_eq!(none["heads"], serde_json::json!([]), "{none:#}");
    commit(&sandbox, "Ada", "0001", "None", "Begin");
    let one = fine(sandbox.devrun(&["db", "heads"]));
    assert!(one.stdout.starts_with("0001  Begin (Ada, 2026-01-02, "), "{one}");
    commit(&sandbox, "Ada", "0005a", "'0001'", "Add a");
    commit(&sandbox, "Bob", "0005b", "'0001'", "Add b");
    sandbox.write(&sandbox.main().join("backend/versions/0005c.py"), &revision("0005c", "'0001'", "Add c"));
    let ended = sandbox.devrun(&["db", "heads", "--json"]).run();
    assert_eq!(ended.code, Some(85), "{ended}");
    let answer = json(&ended);
    let heads = answer["heads"].as_array().unwrap();
    let told = |at: usize| {
        let text = |key: &str| heads[at][key].as_str().unwrap_or("-").to_string();
        (text("revision"), text("message"), text("author"), text("date"))
    };
    let wanted = |revision: &str, message: &str, author: &str, date: &str| {
        (revision.to_string(), message.to_string(), author.to_string(), date.to_string())
    };
    assert_eq!(heads.len(), 3, "{answer:#}");
    assert_eq!(told(0), wanted("0005a", "Add a", "Ada", "2026-01-02"));
    assert_eq!(told(1), wanted("0005b", "Add b", "Bob", "2026-01-02"));
    assert_eq!(told(2), wanted("0005c", "Add c", "-", "-"));
    assert!(Path::new(heads[0]["file"].as_str().unwrap()).is_file(), "{answer:#}");
    let folder = sandbox.main().canonicalize().unwrap().join("backend");
    let merge = format!(
        "cd {} && devrun exec -- uv run alembic merge heads -m 'merge Add a, Add b and Add c'",
        folder.display()
    );
    assert_eq!((&answer["merge"], &answer["certain"]), (&merge.clone().into(), &true.into()), "{answer:#}");
    // Without a terminal nothing is asked and nothing runs.
    let ended = sandbox.devrun(&["db", "heads"]).run();
    assert_eq!(ended.code, Some(85), "{ended}");
    assert!(
        ended.stdout.contains(&format!("Merge them: {merge}\n")) && !ended.stdout.contains("[y/N]"),
        "{ended}"
    );
    assert!(ended.stdout.contains("0005c  Add c (not committed) "), "{ended}");
    assert!(!sandbox.home().join(".local/share/devrun-worktree/pg").exists(), "no server was made");
    let twin = sandbox.main().join("backend/versions/0005d.py");
    sandbox.write(&twin, &revision("0005c", "'0001'", "Add d"));
    let error = refusal(sandbox.devrun(&["db", "heads", "--json"]), "migration-duplicate", 85);
    let lines = format!(": {0}/versions/0005c.py:3 and {0}/versions/0005d.py:3", folder.display());
    assert!(error["message"].as_str().unwrap().ends_with(&lines), "{error:#}");
    std::fs::remove_file(twin).unwrap();
    sandbox.write(&sandbox.main().join("backend/versions/0006.py"), "revision = compute()\n");
    let unsure = sandbox.devrun(&["db", "heads", "--json"]).run();
    assert_eq!(json(&unsure)["certain"], false, "{unsure}");
    sandbox.write(&sandbox.main().join("devrun.yaml"), &config("make migrate"));
    refusal(sandbox.devrun(&["db", "heads", "--json"]), "config-invalid", 80);
}

#[test]
fn d10_on_a_terminal_the_merge_command_is_offered() {
    let Some(world) = World::new() else { return };
    let sandbox = &world.sandbox;
    let main = sandbox.main();
    let bin = std::fs::read_to_string(main.join("devrun.yaml")).unwrap();
    let bin = bin.lines().find(|line| line.contains("bin:")).unwrap().to_string();
    let text = config("./alembic upgrade head")
        .replace("  provider: local\n", &format!("  provider: local\n{bin}\n"));
    sandbox.write(&main.join("devrun.yaml"), &text);
    let alembic = main.join("backend/alembic");
    sandbox.write(&alembic, "#!/bin/sh\necho \"alembic $*\" >>../ran\n");
    std::fs::set_permissions(&alembic, std::fs::Permissions::from_mode(0o755)).unwrap();
    for (id, down) in [("0001", "None"), ("0005a", "'0001'"), ("0005b", "'0001'")] {
        commit(sandbox, "Ada", id, down, id);
    }
    let ran = || std::fs::read_to_string(main.join("ran")).unwrap_or_default();
    for (answer, code, wanted) in
        [("n\n", 85, ""), ("y\n", 0, "alembic merge heads -m merge 0005a and 0005b\n")]
    {
        let (running, terminal) = Terminal::start(devrun(sandbox, &main, &["db", "heads"]));
        terminal.expect("[y/N] ");
        terminal.press(answer);
        let ended = terminal.end(running);
        assert_eq!((ended.code, ran().as_str()), (Some(code), wanted), "{}", terminal.text());
    }
}
