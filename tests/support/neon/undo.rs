//! Resets and deletes branches of the double.

use serde_json::{Value, json};

use super::service::{Reply, Shared, begin, database, ok, problem};
use super::{Branch, State, shapes};

/// Answers a reset or a deletion. Returns `None` for any other request.
pub(super) async fn answer(
    method: &str,
    parts: &[&str],
    body: &Value,
    state: &Shared,
    admin: &tokio_postgres::Client,
) -> Option<Reply> {
    match (method, parts) {
        ("POST", ["branches", id, "restore"]) => Some(restore(id, body, state, admin).await),
        ("DELETE", ["branches", id]) => Some(delete(id, state, admin).await),
        _ => None,
    }
}

/// Returns the refusal that the real service would give, for some of its reasons.
fn refusal(state: &State, branch: &Branch) -> Option<Reply> {
    let has_children = || state.branches.iter().any(|other| other.parent.as_ref() == Some(&branch.id));
    if branch.default || branch.protected {
        Some(problem(422, "", "the branch is default or protected"))
    } else if has_children() {
        Some(problem(422, "", "the branch has children"))
    } else {
        None
    }
}

async fn restore(id: &str, body: &Value, state: &Shared, admin: &tokio_postgres::Client) -> Reply {
    let source = body["source_branch_id"].as_str().unwrap_or_default().to_string();
    {
        let state = state.lock().unwrap();
        let Some(branch) = state.branches.iter().find(|branch| branch.id == id) else {
            return problem(404, "", "branch not found");
        };
        if let Some(refusal) = refusal(&state, branch) {
            return refusal;
        }
        if !state.branches.iter().any(|branch| branch.id == source) {
            return problem(404, "", "source branch not found");
        }
    }
    let (own, from) = (database(id), database(&source));
    admin.batch_execute(&format!("drop database {own} with (force)")).await.unwrap();
    admin.batch_execute(&format!("create database {own} template {from}")).await.unwrap();
    let mut state = state.lock().unwrap();
    let operations = begin(&mut state, id, &["create_timeline"]);
    let branch = state.branches.iter().find(|branch| branch.id == id).unwrap();
    ok(&json!({ "branch": shapes::branch(&state, branch), "operations": operations }))
}

async fn delete(id: &str, state: &Shared, admin: &tokio_postgres::Client) -> Reply {
    let (value, operations) = {
        let mut state = state.lock().unwrap();
        let Some(at) = state.branches.iter().position(|branch| branch.id == id) else {
            return (204, String::new());
        };
        if let Some(refusal) = refusal(&state, &state.branches[at]) {
            return refusal;
        }
        let value = shapes::branch(&state, &state.branches[at]);
        state.branches.remove(at);
        (value, begin(&mut state, id, &["suspend_compute", "delete_timeline"]))
    };
    admin.batch_execute(&format!("drop database {} with (force)", database(id))).await.unwrap();
    ok(&json!({ "branch": value, "operations": operations }))
}
