//! A second start of the same worktree, and migrations that are added, fail, diverge and recover.

use std::path::{Path, PathBuf};

use super::without_frontend;
use crate::support::Ended;
use crate::support::product::Product;

/// Adds a migration with this body of `upgrade`.
fn migration(product: &Product, worktree: &Path, revision: &str, after: &str, body: &str) -> PathBuf {
    let file = worktree.join(format!("backend/alembic/versions/{revision}.py"));
    let text = format!(
        "\"\"\"Step {revision}\"\"\"\n\nfrom alembic import op\n\nrevision = \"{revision}\"\ndown_revision = \"{after}\"\n\n\n\
         def upgrade() -> None:\n    {body}\n\n\ndef downgrade() -> None:\n    pass\n"
    );
    product.write(&file, &text);
    file
}

fn adds_lead(name: &str) -> String {
    let columns = "tenant_id, name, company, value, created_at";
    format!(
        "op.execute(\"INSERT INTO leads ({columns}) SELECT id, '{name}', 'X', 1, now() FROM tenants WHERE slug = 'acme'\")"
    )
}

/// Returns the lines of preparation steps that did something.
fn steps(stderr: &str) -> Vec<&str> {
    let names = ["node", "python", "database", "migrate"];
    let is_step = |line: &&str| {
        let line = line.trim_start_matches("\u{2713} ");
        names
            .iter()
            .any(|name| line.starts_with(&format!("{name}:")) || line.starts_with(&format!("{name} ")))
    };
    stderr.lines().filter(is_step).collect()
}

/// Returns the final error, with `~` for the folder of the sandbox.
fn failure(product: &Product, ended: &Ended) -> String {
    let told = ended.stderr.split_once("error: ").unwrap_or_else(|| panic!("{ended}")).1;
    let home = product.path().canonicalize().unwrap();
    told.replace(home.to_str().unwrap(), "~").trim_end().into()
}

/// Checks that the migration failed, and returns the fix, if there is one.
#[track_caller]
fn not_migrated(ended: &Ended, code: &str, words: &str) -> Option<String> {
    assert_eq!(ended.code, Some(85), "{ended}");
    assert!(ended.stderr.contains(&format!("[{code}]")) && ended.stderr.contains(words), "{ended}");
    assert!(!ended.stdout.contains("Ready in"), "{ended}");
    let fix = ended.stderr.lines().find_map(|line| line.trim().strip_prefix("fix: "));
    fix.map(Into::into)
}

#[test]
fn second_start_prepares_nothing_but_due_migrations() {
    let product = Product::shaped(without_frontend);
    let worktree = product.worktree("again", "again");
    let first = product.up(&worktree).stop();
    let done = |step: &str| first.stderr.lines().any(|line| line.starts_with(&format!("\u{2713} {step} ")));
    assert!(done("python") && done("migrate") && done("database"), "{first}");

    let second = product.up(&worktree);
    assert_eq!(second.told("Database"), "dev-again (local: already there, up to date)");
    let second = second.stop();
    assert_eq!(steps(&second.stderr), [""; 0], "{second}");

    migration(&product, &worktree, "0003", "0002", &adds_lead("Nia Third"));
    let third = product.up(&worktree);
    assert_eq!(third.leads("acme")[0], "Nia Third");
    let told = third.told("Database");
    assert!(told.starts_with("dev-again (local: already there, migrated in "), "{told}");
    let third = third.stop();
    assert!(steps(&third.stderr).iter().all(|line| line.contains("migrate")), "{third}");

    // It fails again on the second run, because a failed migration does not count as done.
    let broken = migration(&product, &worktree, "0004", "0003", "raise RuntimeError('the moon is full')");
    let mut told = Vec::new();
    for _ in 0..2 {
        let ended = product.fail(&worktree);
        not_migrated(&ended, "migration-failed", "RuntimeError: the moon is full");
        told.push(failure(&product, &ended));
    }
    assert_eq!(told[0], told[1]);
    insta::assert_snapshot!(told[0], @r#"
    migrating dev-again failed: `alembic upgrade head` ended with exit code 1 [migration-failed]
      correct: ~/again/backend/alembic/versions/0004.py:10
      fault: the code, not the environment
      why: the database is at revision 0003, as before
        INFO  [alembic.runtime.migration] Running upgrade 0003 -> 0004, Step 0004
        Traceback (most recent call last):
          File "~/again/backend/alembic/versions/0004.py", line 10, in upgrade
            raise RuntimeError('the moon is full')
        RuntimeError: the moon is full
      fix: correct that line, then run `devrun up -d`
    "#);
    let parts = "with op.get_context().autocommit_block():\n        op.execute('CREATE TABLE part (id int)')\n    \
                 raise RuntimeError('the moon is full')";
    migration(&product, &worktree, "0004", "0003", parts);
    let half = failure(&product, &product.fail(&worktree));
    for part in [
        "the database is at revision 0003, and the failed migration committed a part of its changes",
        "left over: table public.part",
        "then either drop what it left: `devrun db psql -- -c 'drop table public.part'`, or run `devrun db reset --yes`, which makes the database a copy of its parent again",
    ] {
        assert!(half.contains(part), "no {part}: {half}");
    }
    let again = failure(&product, &product.fail(&worktree));
    for part in [
        "left over, perhaps by an attempt that failed: table public.part",
        "fix: correct the migration that failed before, unless you have; then either drop what it left: `devrun db psql -- -c 'drop table public.part'`, or run `devrun db reset --yes`, which makes the database a copy of its parent again",
    ] {
        assert!(again.contains(part), "no {part}: {again}");
    }
    assert!(!again.contains("correct:"), "{again}");
    let state = product.devrun_in(&worktree, &["db", "status"]).run();
    assert!(
        state.stdout.contains("no applied migration makes table public.part; a migration that failed may have left that: `devrun db reset --yes` (what is in \
             the database is lost), or drop that: `devrun db psql -- -c 'drop table public.part'`"),
        "{state}"
    );
    let reset = product.devrun_in(&worktree, &["db", "reset", "--yes"]).run();
    assert_eq!(reset.code, Some(85), "its migration is still broken: {reset}");
    std::fs::remove_file(broken).unwrap();
    migration(&product, &worktree, "0004", "0003", &adds_lead("Finn Fourth"));
    let healed = product.up(&worktree);
    assert_eq!(healed.leads("acme")[0], "Finn Fourth");
    healed.stop();

    // Two developers each added a revision.
    migration(&product, &worktree, "0005a", "0004", &adds_lead("Ada Fifth"));
    migration(&product, &worktree, "0005b", "0004", &adds_lead("Ben Fifth"));
    let ended = product.fail(&worktree);
    let merge = not_migrated(&ended, "migration-heads", "2 heads: 0005a \"Step 0005a\"");
    assert!(!ended.stderr.contains("alembic upgrade"), "nothing is run before it is decided: {ended}");
    insta::assert_snapshot!(failure(&product, &ended), @r#"
    the migrations have 2 heads: 0005a "Step 0005a" (~/again/backend/alembic/versions/0005a.py), 0005b "Step 0005b" (~/again/backend/alembic/versions/0005b.py) [migration-heads]
      fault: the code, not the environment
      why: two lines of work added a migration after the same revision
      fix: run `cd ~/again/backend && devrun exec -- alembic merge heads -m 'merge Step 0005a and Step 0005b'`, read the file that it makes and commit it with those that it merges, then run `devrun up -d`
    "#);
    let merge = merge.unwrap().split('`').nth(1).unwrap().to_string();
    assert!(merge.contains("alembic merge heads -m"), "{merge}");
    // Runs the printed command unchanged, in a shell without the virtual environment.
    let merged = product.program("sh", &["-c", &merge]).run();
    assert_eq!(merged.code, Some(0), "{merge}: {merged}");
    let last = product.up(&worktree);
    let mut names = last.leads("acme");
    names.truncate(2);
    names.sort();
    assert_eq!(names, ["Ada Fifth", "Ben Fifth"]);
    last.stop();
    assert_eq!(product.processes(), [], "processes are left");
}
