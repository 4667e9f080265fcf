//! Resets and deletes branches of the double.

use serde_json::{Value, json};

use super::service::{Reply, Shared, begin, database, ok, problem};
use super::{Branch, State, service, shapes};

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
fn refusal(state: &State, branch: &Branch, has_backup: bool) -> Option<Reply> {
    if branch.default || branch.protected {
        Some(problem(422, "", "the branch is default or protected"))
    } else if has_children(state, &branch.id) && !has_backup {
        Some(problem(422, "", "the branch has children"))
    } else {
        None
    }
}

/// Returns true if another branch was made from the branch `id`.
pub(super) fn has_children(state: &State, id: &str) -> bool {
    state.branches.iter().any(|other| other.parent.as_deref() == Some(id))
}

/// Restores a branch to the present state of another branch, which becomes its parent. With `preserve_under_name`, the former state
/// becomes a branch without a compute, and the children move to that branch.
async fn restore(id: &str, body: &Value, state: &Shared, admin: &tokio_postgres::Client) -> Reply {
    let source = body["source_branch_id"].as_str().unwrap_or_default().to_string();
    let backup = body["preserve_under_name"].as_str().map(str::to_string);
    {
        let state = state.lock().unwrap();
        let Some(branch) = state.branches.iter().find(|branch| branch.id == id) else {
            return problem(404, "", "branch not found");
        };
        if let Some(refusal) = refusal(&state, branch, backup.is_some()) {
            return refusal;
        }
        if !state.branches.iter().any(|branch| branch.id == source) {
            return problem(404, "", "source branch not found");
        }
        if state.branches.iter().any(|branch| Some(&branch.name) == backup.as_ref()) {
            return problem(409, "BRANCH_ALREADY_EXISTS", "branch already exists");
        }
    }
    let (own, from) = (database(id), database(&source));
    if let Some(name) = backup {
        let made = {
            let mut state = state.lock().unwrap();
            let parent = state.branches.iter().find(|branch| branch.id == id).unwrap().parent.clone();
            let made = service::add(&mut state, &name, parent);
            for child in state.branches.iter_mut().filter(|child| child.parent.as_deref() == Some(id)) {
                child.parent = Some(made.id.clone());
            }
            made.id
        };
        let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{own}'");
        admin.batch_execute(&end).await.unwrap();
        admin.batch_execute(&format!("alter database {own} rename to {}", database(&made))).await.unwrap();
    } else {
        admin.batch_execute(&format!("drop database {own} with (force)")).await.unwrap();
    }
    admin.batch_execute(&format!("create database {own} template {from}")).await.unwrap();
    let mut state = state.lock().unwrap();
    let operations = begin(&mut state, id, &["create_timeline"]);
    let branch = state.branches.iter_mut().find(|branch| branch.id == id).unwrap();
    branch.parent = Some(source);
    let branch = branch.clone();
    ok(&json!({ "branch": shapes::branch(&state, &branch), "operations": operations }))
}

async fn delete(id: &str, state: &Shared, admin: &tokio_postgres::Client) -> Reply {
    let (value, operations) = {
        let mut state = state.lock().unwrap();
        let Some(at) = state.branches.iter().position(|branch| branch.id == id) else {
            return (204, String::new());
        };
        if let Some(refusal) = refusal(&state, &state.branches[at], false) {
            return refusal;
        }
        let value = shapes::branch(&state, &state.branches[at]);
        state.branches.remove(at);
        (value, begin(&mut state, id, &["suspend_compute", "delete_timeline"]))
    };
    admin.batch_execute(&format!("drop database {} with (force)", database(id))).await.unwrap();
    ok(&json!({ "branch": value, "operations": operations }))
}
