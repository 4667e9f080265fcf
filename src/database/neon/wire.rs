//! What Neon's API v2 answers, as far as devrun looks at it. Fields and words it does not know are passed over; ids are
//! checked, because they become part of paths.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// A branch of a project.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Branch {
    #[serde(deserialize_with = "id")]
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) parent_id: Option<String>,
    /// `init`, `resetting`, `ready`, `archived`, and whatever comes.
    #[serde(default)]
    pub(super) current_state: String,
    /// There while something is under way.
    #[serde(default)]
    pub(super) pending_state: Option<String>,
    pub(super) default: bool,
    #[serde(default)]
    pub(super) protected: bool,
    /// Bytes, once Neon has counted them.
    #[serde(default)]
    pub(super) logical_size: Option<u64>,
}

impl Branch {
    /// Ready, or asleep and woken by whoever connects.
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

    /// Running, or asleep and woken by whoever connects.
    pub(super) fn is_settled(&self) -> bool {
        match self.current_state.as_str() {
            "idle" => true,
            "active" => self.pending_state.is_none(),
            _ => false,
        }
    }
}

/// Work that Neon does after it has answered.
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

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    UnderWay,
    Good,
    Bad,
}

impl Operation {
    /// A status nobody has heard of counts as under way: waiting has an end, success must be said.
    pub(super) fn stage(&self) -> Stage {
        match self.status.as_str() {
            "finished" | "skipped" => Stage::Good,
            "failed" | "error" | "cancelled" => Stage::Bad,
            _ => Stage::UnderWay,
        }
    }
}

/// A database on a branch.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(super) struct Database {
    pub(super) name: String,
    pub(super) owner_name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Branches {
    #[serde(rename = "branches")]
    pub(super) all: Vec<Branch>,
    /// By branch id; only branches that have one.
    #[serde(default)]
    pub(super) annotations: BTreeMap<String, Annotation>,
    #[serde(default)]
    pub(super) pagination: Option<Pagination>,
}

/// What was written down when a branch was made; it can never be changed.
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
    pub(super) branch: Branch,
    #[serde(default)]
    pub(super) operations: Vec<Operation>,
    #[serde(default)]
    pub(super) databases: Vec<Database>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneBranch {
    pub(super) branch: Branch,
}

#[derive(Debug, Deserialize)]
pub(super) struct Endpoints {
    pub(super) endpoints: Vec<Endpoint>,
}

/// The answer to whatever Neon goes on working at.
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
pub(super) struct Databases {
    pub(super) databases: Vec<Database>,
}

#[derive(Deserialize)]
pub(super) struct ConnectionUri {
    pub(super) uri: String,
}

/// What an answer says that is no success.
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
        Err(serde::de::Error::custom("an id that is none"))
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
    fn all_eight_states_of_an_operation_are_told_apart() {
        for status in ["scheduling", "running", "cancelling", "something new"] {
            assert_eq!(operation(status).stage(), Stage::UnderWay, "{status}");
        }
        for status in ["finished", "skipped"] {
            assert_eq!(operation(status).stage(), Stage::Good, "{status}");
        }
        for status in ["failed", "error", "cancelled"] {
            assert_eq!(operation(status).stage(), Stage::Bad, "{status}");
        }
    }

    #[test]
    fn unknown_fields_and_states_do_no_harm_and_an_id_must_be_one() {
        let text = r#"{"id":"br-a","name":"x","default":false,"current_state":"dreaming","new":{"a":[1]}}"#;
        let branch: Branch = serde_json::from_str(text).unwrap();
        assert!(!branch.is_settled());
        assert!(serde_json::from_str::<Branch>(r#"{"id":"../x","name":"x","default":false}"#).is_err());
        assert!(
            serde_json::from_str::<Branch>(r#"{"id":"br-a","name":"x"}"#).is_err(),
            "default is not guessed"
        );
    }
}
