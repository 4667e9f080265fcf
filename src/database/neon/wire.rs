//! Defines the answers of Neon's API v2, as far as devrun uses them. Unknown fields and values are ignored. Ids are
//! checked, because they become part of paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A branch of a project.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct NeonBranch {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) parent_id: Option<String>,
    /// `init`, `resetting`, `ready`, `archived` or an unknown state.
    #[serde(default)]
    pub(super) current_state: String,
    /// Set while Neon works on the branch.
    #[serde(default)]
    pub(super) pending_state: Option<String>,
    pub(super) default: bool,
    #[serde(default)]
    pub(super) protected: bool,
    /// Size in bytes, once Neon has computed it.
    #[serde(default)]
    pub(super) logical_size: Option<u64>,
    /// A time as in RFC 3339.
    #[serde(default)]
    pub(super) created_at: Option<String>,
}

impl NeonBranch {
    /// Returns the time of its creation, in seconds since 1970.
    pub(super) fn created(&self) -> Option<u64> {
        let time: jiff::Timestamp = self.created_at.as_deref()?.parse().ok()?;
        u64::try_from(time.as_second()).ok()
    }

    /// Returns true if the branch is ready, or archived: a connection restores an archived branch.
    pub(super) fn is_settled(&self) -> bool {
        self.pending_state.is_none() && matches!(self.current_state.as_str(), "ready" | "archived")
    }
}

/// A compute of a branch.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Endpoint {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// `init`, `active`, `idle`.
    #[serde(default)]
    pub(super) current_state: String,
    #[serde(default)]
    pub(super) pending_state: Option<String>,
    #[serde(default)]
    pub(super) disabled: bool,
}

impl Endpoint {
    pub(super) fn can_write(&self) -> bool {
        self.kind == "read_write"
    }

    /// Returns true if the compute runs, or is idle: a connection wakes an idle compute.
    pub(super) fn is_settled(&self) -> bool {
        match self.current_state.as_str() {
            "idle" => true,
            "active" => self.pending_state.is_none(),
            _ => false,
        }
    }
}

/// Work that Neon continues after its answer.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Operation {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    #[serde(default)]
    pub(super) branch_id: Option<String>,
    #[serde(default)]
    pub(super) action: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) error: Option<String>,
}

/// The progress of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperationStage {
    UnderWay,
    Good,
    Bad,
}

impl Operation {
    /// Returns the progress. An unknown status counts as under way, because waiting has a time limit and success must
    /// be certain.
    pub(super) fn stage(&self) -> OperationStage {
        match self.status.as_str() {
            "finished" | "skipped" => OperationStage::Good,
            "failed" | "error" | "cancelled" => OperationStage::Bad,
            _ => OperationStage::UnderWay,
        }
    }
}

/// A database on a branch.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct NeonDatabase {
    pub(super) name: String,
    pub(super) owner_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Branches {
    #[serde(rename = "branches")]
    pub(super) all: Vec<NeonBranch>,
    /// Keyed by branch id. Only branches with an annotation are listed.
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, Annotation>,
    #[serde(default)]
    pub(super) pagination: Option<Pagination>,
}

/// The annotation of a branch. Neon sets it at the creation and never changes it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Annotation {
    #[serde(default)]
    pub(super) value: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pagination {
    #[serde(default)]
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Created {
    pub(super) branch: NeonBranch,
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
    #[serde(default)]
    pub(super) databases: Vec<NeonDatabase>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneBranch {
    pub(super) branch: NeonBranch,
}

#[derive(Debug, Deserialize)]
pub(super) struct Endpoints {
    pub(super) endpoints: Vec<Endpoint>,
}

/// An answer that lists the operations that Neon has started.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Begun {
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneOperation {
    pub(super) operation: Operation,
}

#[derive(Debug, Deserialize)]
pub(super) struct Operations {
    pub(super) operations: Vec<Operation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct NeonDatabases {
    pub(super) databases: Vec<NeonDatabase>,
}

#[derive(Deserialize)]
pub(super) struct ConnectionUri {
    pub(super) uri: String,
}

/// The body of an error answer.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) request_id: Option<String>,
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if (1..=60).contains(&text.len()) && text.bytes().all(fine) {
        Ok(text)
    } else {
        Err(serde::de::Error::custom("an invalid id"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(status: &str) -> Operation {
        Operation {
            id: "o".into(),
            branch_id: None,
            action: String::new(),
            status: status.into(),
            error: None,
        }
    }

    #[test]
    fn every_status_of_an_operation_has_its_stage() {
        for status in ["scheduling", "running", "cancelling", "something new"] {
            assert_eq!(operation(status).stage(), OperationStage::UnderWay, "{status}");
        }
        for status in ["finished", "skipped"] {
            assert_eq!(operation(status).stage(), OperationStage::Good, "{status}");
        }
        for status in ["failed", "error", "cancelled"] {
            assert_eq!(operation(status).stage(), OperationStage::Bad, "{status}");
        }
    }

    #[test]
    fn unknown_fields_and_states_are_ignored_and_an_invalid_id_is_an_error() {
        let text = r#"{"id":"br-a","name":"x","default":false,"current_state":"dreaming","new":{"a":[1]}}"#;
        let branch: NeonBranch = serde_json::from_str(text).unwrap();
        assert!(!branch.is_settled());
        assert!(serde_json::from_str::<NeonBranch>(r#"{"id":"../x","name":"x","default":false}"#).is_err());
        assert!(
            serde_json::from_str::<NeonBranch>(r#"{"id":"br-a","name":"x"}"#).is_err(),
            "default is not guessed"
        );
    }
}
