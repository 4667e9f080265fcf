//! The keys of `database.neon` and their effect on requests to Neon.

use std::time::{Duration, SystemTime};

use super::{World, double, ensure, ensure_in, ready, stop};
use crate::support::neon::{Call, Fault, Neon};
use crate::support::{LIMIT, wait_for};

fn kept(calls: &[Call], method: &str, path: &str) -> Vec<Call> {
    calls.iter().filter(|call| call.method == method && call.path == path).cloned().collect()
}

/// Returns the day of the month 48 hours from now.
fn in_two_days() -> String {
    let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_hours(48));
    date.split(' ').nth(1).unwrap().into()
}

#[test]
fn every_setting_reaches_neon() {
    let keys = "  neon:\n    project_id: quiet-moon-123456\n    parent: staging\n    database: app\n    role: somebody\n    \
                pooled: false\n    schema_only: true\n    expires_in: 2d\n    suspend_timeout: 90s\n    compute_units: 0.5-2\n";
    let Some(world) = World::new(keys) else { return };
    world.neon.state().databases = ["app".into(), "other".into()].into();
    let dir = tempfile::tempdir().unwrap();
    ensure_in(&world.neon, dir.path(), "staging", |request| request.database = Some("app".into())).unwrap();
    let staging = world.neon.branch("staging").unwrap().id;
    world.neon.take_calls();
    let worktree = world.worktree("x", "x");
    // Midnight may pass during the run.
    let mut days = vec![in_two_days()];
    let ended = world.run(&worktree, &[]);
    days.push(in_two_days());
    let calls = world.neon.take_calls();

    let [create] = &kept(&calls, "POST", "/branches")[..] else { panic!("{calls:#?}") };
    assert_eq!(create.body["branch"]["parent_id"], staging);
    assert_eq!(create.body["branch"]["init_source"], "schema-only");
    let expires = create.body["branch"]["expires_at"].as_str().unwrap();
    assert!(days.contains(&expires[8..10].into()), "{expires} is none of {days:?}");
    assert_eq!(create.body["endpoints"][0]["suspend_timeout_seconds"], 90);
    assert_eq!(create.body["endpoints"][0]["autoscaling_limit_min_cu"], 0.5);
    assert_eq!(create.body["endpoints"][0]["autoscaling_limit_max_cu"], 2.0);

    let asked = kept(&calls, "GET", "/connection_uri");
    let [uri] = &asked[..] else { panic!("only the direct URL is wanted: {calls:#?}") };
    for part in ["database_name=app", "role_name=somebody", "pooled=false"] {
        assert!(uri.query.contains(part), "{}", uri.query);
    }
    assert!(!ended.stdout.contains("@localhost:"), "pooled: {ended}");
    assert!(calls.iter().all(|call| !call.path.ends_with("/databases")), "{calls:#?}");
}

#[test]
fn a_branch_with_several_databases_needs_one_named() {
    let Some(neon) = double() else { return };
    neon.state().databases = ["app".into(), "other".into()].into();
    let report = ensure(&neon, "dev-x", |_| ()).unwrap_err();
    assert!(report.message.contains("several databases: app, other"), "{report:?}");
    assert!(report.fix.unwrap().contains("database.neon.database"));
    neon.take_calls();
    ensure(&neon, "dev-x", |request| request.database = Some("other".into())).unwrap();
    let calls = neon.take_calls();
    let asked = kept(&calls, "GET", "/connection_uri");
    assert!(asked.iter().all(|call| call.query.contains("database_name=other")), "{calls:#?}");
    let report = ensure(&neon, "dev-x", |request| request.database = Some("oth".into())).unwrap_err();
    assert!(report.message.contains("app, other"), "{report:?}");
}

#[test]
fn added_compute_has_the_configured_size() {
    let Some(neon) = double() else { return };
    ensure(&neon, "dev-x", |_| ()).unwrap();
    neon.state().branches.last_mut().unwrap().endpoint = None;
    neon.take_calls();
    ensure(&neon, "dev-x", |request| request.compute_units = Some((1.0, 1.0))).unwrap();
    let calls = neon.take_calls();
    let [added] = &kept(&calls, "POST", "/endpoints")[..] else { panic!("{calls:#?}") };
    assert_eq!(added.body["endpoint"]["autoscaling_limit_min_cu"], 1.0);
    assert_eq!(added.body["endpoint"]["autoscaling_limit_max_cu"], 1.0);
}

fn patches(neon: &Neon) -> usize {
    neon.take_calls().iter().filter(|call| call.method == "PATCH").count()
}

#[test]
fn default_and_protected_branches_never_expire() {
    let Some(world) = World::new("  branch: shared\n  neon: { expires_in: 7d }") else { return };
    let dir = tempfile::tempdir().unwrap();
    ensure_in(&world.neon, dir.path(), "shared", |_| ()).unwrap();
    world.neon.take_calls();
    let worktree = world.worktree("x", "x");
    let args = ["up", "--allow-parent"];
    let running = ready(world.devrun(&worktree, &args).start());
    // devrun renews the date while the stack runs.
    wait_for("the branch's time to be renewed", LIMIT, || match patches(&world.neon) {
        1 => Ok(()),
        count => Err(format!("{count} changes")),
    });
    stop(running);
    for (default, protected) in [(false, true), (true, false)] {
        if let Some(branch) = world.neon.state().branches.last_mut() {
            (branch.default, branch.protected) = (default, protected);
        }
        world.run(&worktree, &args);
        assert_eq!(patches(&world.neon), 0, "default {default}, protected {protected}");
    }
}

#[test]
fn refused_expiry_is_a_warning() {
    let Some(world) = World::new("  neon: { expires_in: 7d }") else { return };
    let worktree = world.worktree("x", "x");
    world.run(&worktree, &[]);
    world.neon.fail("PATCH", "/branches/", Fault::status(400, "", "expires_at is not allowed on this plan"));
    let running = ready(world.devrun(&worktree, &[]).start());
    wait_for("the warning", LIMIT, || {
        let said = running.stderr();
        let told = said.contains("keeps its old expiry date")
            && said.contains("refuses `database.neon.expires_in`")
            && said.contains("(request req-1)");
        if told { Ok(()) } else { Err(said) }
    });
    stop(running);
}
