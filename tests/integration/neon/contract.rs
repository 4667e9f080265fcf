//! Checks the double against Neon's description of its API and with Neon's own client.

use std::path::PathBuf;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::{World, double, ensure, ensure_in};
use crate::asking::skip;
use crate::support::neon::contract::{Contract, Exchange};
use crate::support::neon::{Fault, KEY, PASSWORD, PROJECT};
use crate::support::product::find;
use crate::support::{Ended, Sandbox};

pub(super) const MISSING: &str = "Neon's own packages are not there: scripts/tools --tests fetches them";

/// Returns the path of Neon's client.
pub(super) fn neonctl() -> Option<PathBuf> {
    let pattern = concat!(env!("CARGO_MANIFEST_DIR"), "/.tools/neon-*/node_modules/.bin/neonctl");
    find("node").and_then(|_| glob::glob(pattern).unwrap().flatten().last())
}

/// Returns the violations in an answer to `GET /projects/…/operations/…`.
fn breaches_of(contract: &Contract, answer: &Value) -> Vec<String> {
    let id = "00000000-0000-4000-8000-000000000001";
    let path = format!("/projects/{PROJECT}/operations/{id}");
    let answer = answer.to_string();
    contract.breaches(&Exchange {
        method: "GET",
        path: &path,
        query: "",
        body: &Value::Null,
        status: 200,
        answer: &answer,
    })
}

#[test]
fn violations_of_the_description_are_found() {
    let Some(contract) = Contract::fetched() else { return skip(MISSING) };
    let good = json!({ "operation": {
        "id": "00000000-0000-4000-8000-000000000001", "project_id": PROJECT, "branch_id": "br-a",
        "action": "start_compute", "status": "running", "failures_count": 0,
        "created_at": "2026-07-01T00:00:00Z", "updated_at": "2026-07-01T00:00:00Z", "total_duration_ms": 1,
    }});
    assert_eq!(breaches_of(contract, &good), [""; 0]);
    for (field, wrong) in [
        ("id", json!("br-a")),
        ("project_id", json!("Not An Id")),
        ("status", json!("dreaming")),
        ("failures_count", json!("0")),
        ("failures_count", json!(5_000_000_000_u64)),
        ("created_at", json!("yesterday")),
        ("branch_id", Value::Null),
    ] {
        let mut bad = good.clone();
        bad["operation"][field] = wrong;
        assert_eq!(breaches_of(contract, &bad).len(), 1, "{bad}");
    }
    for field in ["id", "action", "status", "updated_at"] {
        let mut bad = good.clone();
        bad["operation"].as_object_mut().unwrap().remove(field);
        assert_eq!(breaches_of(contract, &bad).len(), 1, "without {field}");
    }
    let branches = format!("/projects/{PROJECT}/branches");
    let (uri, deeper) = (format!("/projects/{PROJECT}/connection_uri"), format!("{branches}/br-a/no/such"));
    let refusal = r#"{"code":"","message":"no"}"#;
    for (method, path, query, body, status, answer, told) in [
        ("GET", &branches, "search=x&page=2", Value::Null, 404, refusal, "unknown parameter ?page"),
        ("GET", &branches, "limit=20000", Value::Null, 404, refusal, "?limit: maximum"),
        ("GET", &uri, "role_name=r", Value::Null, 200, r#"{"uri":"x"}"#, "?database_name is missing"),
        ("GET", &branches, "", Value::Null, 404, r#"{"message":"no"}"#, "required"),
        ("GET", &branches, "", Value::Null, 404, "<html>", "no JSON"),
        ("GET", &branches, "", json!({}), 404, refusal, "may not have a body"),
        ("POST", &branches, "", json!({ "branch": { "name": "" } }), 422, refusal, "minLength"),
        ("POST", &branches, "", json!({ "endpoints": [{}] }), 422, refusal, "request.endpoints[0]: required"),
        ("PUT", &branches, "", Value::Null, 404, refusal, "no such call"),
        ("GET", &deeper, "", Value::Null, 404, refusal, "no such call"),
    ] {
        let exchange = Exchange { method, path, query, body: &body, status, answer };
        let found = contract.breaches(&exchange);
        assert!(found.len() == 1 && found[0].contains(told), "{told}: {found:#?}");
    }
}

#[test]
fn double_follows_the_description() {
    let Some(neon) = double() else { return };
    if Contract::fetched().is_none() {
        return skip(MISSING);
    }
    ensure(&neon, "dev-x", |_| ()).unwrap();
    assert_eq!(neon.state().breaches, [""; 0]);
    // Goes through the double, because all tests rely on its check.
    neon.state().branches.last_mut().unwrap().endpoint = Some(("Not An Id".into(), "dozing".into()));
    let _ = ensure(&neon, "dev-x", |request| request.pace.budget = std::time::Duration::from_secs(1));
    let breaches = std::mem::take(&mut neon.state().breaches);
    assert!(breaches.iter().any(|breach| breach.contains("dozing")), "{breaches:#?}");
    neon.fail("GET", "/branches", Fault::Answer(200, Vec::new(), r#"{"branches":[{}]}"#.into()));
    let _ = ensure(&neon, "dev-x", |request| request.pace.budget = std::time::Duration::from_secs(1));
    let breaches = std::mem::take(&mut neon.state().breaches);
    assert!(breaches.iter().any(|breach| breach.contains("annotations")), "{breaches:#?}");
}

#[test]
fn neons_own_client_works_with_the_double() {
    let Some(world) = World::new("") else { return };
    let Some(program) = neonctl() else { return skip(MISSING) };
    let ask = |args: &[&str]| -> Ended {
        let all = [args, &["--project-id", PROJECT, "--no-analytics", "--output", "json"]].concat();
        let ended = world.sandbox.program(&program, &all).env("NEON_API_KEY", KEY).run();
        assert_eq!(ended.code, Some(0), "neonctl {args:?}: {ended}");
        ended
    };
    let told = |args: &[&str]| -> Value { serde_json::from_str(&ask(args).stdout).unwrap() };
    let dir = tempfile::tempdir().unwrap();
    let ours = ensure_in(&world.neon, dir.path(), "dev-ours", |_| ()).unwrap();

    let theirs = told(&["branches", "create", "--name", "dev-feature/theirs"]);
    assert_eq!(theirs["branch"]["id"], world.neon.branch("dev-feature/theirs").unwrap().id);
    let all = told(&["branches", "list"]);
    let names: Vec<&str> = all.as_array().unwrap().iter().map(|b| b["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["main", "dev-ours", "dev-feature/theirs"]);
    assert_eq!(told(&["branches", "get", "dev-ours"])["id"], ours.id);
    for (pooler, args) in [("", &[][..]), ("-pooler", &["--pooled"])] {
        let url = ask(&[&["connection-string", "dev-ours"], args].concat()).stdout;
        let endpoint = world.neon.branch("dev-ours").unwrap().endpoint.unwrap().0;
        let begin = format!("postgresql://neondb_owner:{PASSWORD}@{endpoint}{pooler}.");
        assert!(url.starts_with(&begin) && url.contains("/neondb?"), "{url}");
    }

    // devrun uses a branch that another client made.
    let worktree = world.worktree("theirs", "feature/theirs");
    let running = super::ready(world.devrun(&worktree, &[]).start());
    running.signal_group(Signal::SIGINT);
    running.wait();
    let marker = world.neon.sql("dev-feature/theirs", "select branch_id from _devrun.marker");
    assert_eq!(marker, [theirs["branch"]["id"].as_str().unwrap()]);

    for name in ["dev-feature/theirs", "dev-ours"] {
        ask(&["branches", "delete", name]);
        assert!(world.neon.branch(name).is_none());
    }
    let sandbox: &Sandbox = &world.sandbox;
    let main =
        sandbox.program(&program, &["branches", "delete", "main", "--project-id", PROJECT, "--no-analytics"]);
    assert_ne!(main.env("NEON_API_KEY", KEY).run().code, Some(0), "the default branch was deleted");
}
