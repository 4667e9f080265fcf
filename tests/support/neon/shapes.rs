//! The JSON of the double's objects, with the field names of Neon's description of its API. Only `a_field_of_tomorrow` is not in the
//! description, because a client must accept fields of later versions.

use serde_json::{Value, json};

use super::postgres::{PASSWORD, ROLE};
use super::service::status;
use super::{Branch, Operation, PROJECT, State};

/// A fixed time, because no test depends on it.
const THEN: &str = "2026-07-01T00:00:00Z";

pub(super) fn branch(state: &State, branch: &Branch) -> Value {
    let busy = state.operations.iter().any(|operation| {
        operation.branch == branch.id
            && operation.action == "create_branch"
            && status(operation) != "finished"
    });
    let mut value = json!({
        "id": branch.id, "project_id": PROJECT, "name": branch.name, "default": branch.default,
        "protected": branch.protected, "current_state": if busy { "init" } else { "ready" },
        "state_changed_at": THEN, "creation_source": "console", "created_at": THEN, "updated_at": THEN,
        "cpu_used_sec": 0, "active_time_seconds": 0, "compute_time_seconds": 0, "written_data_bytes": 0,
        "data_transfer_bytes": 0, "a_field_of_tomorrow": { "x": [1] },
    });
    if busy {
        value["pending_state"] = json!("ready");
    }
    if let Some(parent) = &branch.parent {
        value["parent_id"] = json!(parent);
    }
    if let Some(at) = &branch.expires_at {
        value["expires_at"] = json!(at);
    }
    value
}

/// Returns the annotation from the branch's creation.
pub(super) fn annotation(branch: &Branch) -> Value {
    let noted = if branch.annotation.is_object() { branch.annotation.clone() } else { json!({}) };
    json!({ "object": { "type": "console/branch", "id": branch.id }, "value": noted })
}

/// Returns the compute of a branch, if it has one.
pub(super) fn endpoint(branch: &Branch) -> Option<Value> {
    let (id, state) = branch.endpoint.as_ref()?;
    Some(json!({
        "id": id, "branch_id": branch.id, "project_id": PROJECT, "type": "read_write", "current_state": state,
        "host": host(id, ""), "region_id": "aws-eu-central-1", "autoscaling_limit_min_cu": 0.25,
        "autoscaling_limit_max_cu": 2, "pooler_enabled": false, "pooler_mode": "transaction", "disabled": false,
        "passwordless_access": true, "creation_source": "console", "created_at": THEN, "updated_at": THEN,
        "settings": {}, "proxy_host": "c-2.eu-central-1.aws.neon.tech", "suspend_timeout_seconds": 0,
        "provisioner": "k8s-neonvm",
    }))
}

fn host(endpoint: &str, pooler: &str) -> String {
    format!("{endpoint}{pooler}.c-2.eu-central-1.aws.neon.tech")
}

/// Returns the URLs of a branch with a compute. The hosts look like Neon's and cannot be reached.
pub(super) fn connection_uris(branch: &Branch) -> Vec<Value> {
    let Some((id, _)) = &branch.endpoint else { return Vec::new() };
    let direct = host(id, "");
    vec![json!({
        "connection_uri": format!("postgresql://{ROLE}:{PASSWORD}@{direct}/neondb?sslmode=require"),
        "connection_parameters": {
            "database": "neondb", "password": PASSWORD, "role": ROLE, "host": direct, "pooler_host": host(id, "-pooler"),
        },
    })]
}

pub(super) fn databases(state: &State, branch: &str) -> Value {
    let shape = |(id, name): (usize, &String)| json!({ "id": id, "branch_id": branch, "name": name, "owner_name": ROLE, "created_at": THEN, "updated_at": THEN });
    let only = ["neondb".to_string()];
    let names = if state.databases.is_empty() { &only[..] } else { &state.databases };
    names.iter().enumerate().map(shape).collect()
}

pub(super) fn roles(branch: &str) -> Value {
    json!([{ "branch_id": branch, "name": ROLE, "protected": false, "created_at": THEN, "updated_at": THEN }])
}

pub(super) fn operation(operation: &Operation) -> Value {
    let mut value = json!({
        "id": operation.id, "project_id": PROJECT, "branch_id": operation.branch, "action": operation.action,
        "status": status(operation), "failures_count": 0, "created_at": THEN, "updated_at": THEN,
        "total_duration_ms": 1,
    });
    if status(operation) == "failed" {
        value["error"] = json!("compute did not start");
    }
    value
}
