//! A service of a worktree: a process that a preset or an entry of `services:` describes. Values only.

use std::path::PathBuf;

use serde::Serialize;

/// A process that came from `services:`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedService {
    /// The preset that it was made from.
    pub preset: Option<String>,
    /// The treatment of its data at the start of a run; `None` if it keeps no data.
    pub data: Option<ServiceData>,
    /// The folder of its data.
    pub folder: Option<PathBuf>,
}

/// The treatment of the data of a service at the start of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceData {
    /// It stays.
    Keep,
    /// It is deleted.
    Empty,
    /// It stays. Without any, it begins as a copy of the data of the main worktree.
    Copy,
}

impl ServiceData {
    /// The words of devrun.yaml.
    pub const WORDS: [&str; 3] = ["keep", "empty", "copy"];

    /// Returns the value for a word of devrun.yaml.
    pub fn from_word(word: &str) -> Option<ServiceData> {
        match word {
            "keep" => Some(ServiceData::Keep),
            "empty" => Some(ServiceData::Empty),
            "copy" => Some(ServiceData::Copy),
            _ => None,
        }
    }

    /// Returns the word of devrun.yaml.
    pub const fn word(self) -> &'static str {
        match self {
            ServiceData::Keep => "keep",
            ServiceData::Empty => "empty",
            ServiceData::Copy => "copy",
        }
    }
}
