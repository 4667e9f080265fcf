//! Reads the JSON that Claude Code passes to a hook on standard input.
//!
//! The names of the fields differ between versions and documents, so several are accepted, and unknown ones are ignored. Some
//! versions keep standard input open, so reading stops when the JSON value is complete.

use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Code, Explain};
use crate::os::blocking::{self, Stuck};

/// The maximum size in bytes.
const MOST: usize = 1 << 20;
/// How long the whole value may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Number of bytes that are read at a time.
const CHUNK: usize = 1 << 14;
/// Nested objects that may contain the fields.
const INNER: [&str; 3] = ["worktree", "tool_input", "input"];

/// An error in the input of a hook.
#[derive(Debug, thiserror::Error)]
pub(super) enum PayloadError {
    /// Standard input is a terminal.
    #[error("this command is a hook: it reads JSON on standard input")]
    Terminal,
    /// The input ended before a value was complete.
    #[error("the JSON on standard input ends too early")]
    Incomplete,
    /// The input is no JSON object.
    #[error("standard input is not a JSON object: {0}")]
    Malformed(String),
    /// The input is longer than 1 MiB.
    #[error("the JSON on standard input is longer than {MOST} bytes")]
    TooLong,
    /// Standard input cannot be read, or the value does not arrive in time.
    #[error("standard input cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// A field is missing. `keys` are those that there are.
    #[error("the JSON on standard input has no {wanted}")]
    Missing { wanted: &'static str, keys: Vec<String> },
}

impl Explain for PayloadError {
    fn code(&self) -> Code {
        Code::Usage
    }

    fn why(&self) -> Option<String> {
        match self {
            PayloadError::Missing { keys, .. } => Some(format!("it has the keys: {}", keys.join(", "))),
            _ => None,
        }
    }

    fn fix(&self) -> Option<String> {
        match self {
            PayloadError::Terminal => {
                Some("set it as a hook of the agent, or use `devrun new` and `devrun rm`".into())
            }
            _ => None,
        }
    }
}

/// The input of a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Payload(Map<String, Value>);

impl Payload {
    /// Reads the input of the hook from standard input.
    pub(super) async fn read() -> Result<Payload, PayloadError> {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            return Err(PayloadError::Terminal);
        }
        let read = blocking::run(ARRIVAL, move || Payload::read_from(&mut stdin.lock())).await;
        read.map_err(|stuck: Stuck| PayloadError::Unreadable(stuck.into()))?
    }

    /// Reads the first JSON value of `input`, and nothing after the chunk that completes it.
    fn read_from(input: &mut impl Read) -> Result<Payload, PayloadError> {
        let (mut bytes, mut chunk) = (Vec::new(), vec![0; CHUNK]);
        loop {
            let count = match input.read(&mut chunk) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                read => read.map_err(PayloadError::Unreadable)?,
            };
            bytes.extend_from_slice(&chunk[..count]);
            if bytes.len() > MOST {
                return Err(PayloadError::TooLong);
            }
            // Windows programs begin UTF-8 with a byte order mark.
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            match serde_json::Deserializer::from_slice(text).into_iter::<Value>().next() {
                Some(Ok(Value::Object(fields))) => return Ok(Payload(fields)),
                Some(Ok(_)) => return Err(PayloadError::Malformed("it is another value".into())),
                Some(Err(error)) if !error.is_eof() => {
                    return Err(PayloadError::Malformed(error.to_string()));
                }
                _ if count == 0 => return Err(PayloadError::Incomplete),
                _ => {}
            }
        }
    }

    /// Returns the first text under `keys` that is not blank. Searches the top level, then the objects in [`INNER`].
    fn text(&self, keys: &[&str]) -> Option<&str> {
        let inner = INNER.iter().filter_map(|key| self.0.get(*key)?.as_object());
        let objects: Vec<_> = std::iter::once(&self.0).chain(inner).collect();
        let texts =
            objects.into_iter().flat_map(|object| keys.iter().filter_map(|key| object.get(*key)?.as_str()));
        texts.into_iter().map(str::trim).find(|text| !text.is_empty())
    }

    /// Returns the name of the worktree, else the last part of its path.
    pub(super) fn name(&self) -> Result<&str, PayloadError> {
        let keys = ["name", "worktree_name", "worktreeName"];
        let of_path = || Path::new(self.path()?).file_name()?.to_str();
        self.text(&keys).or_else(of_path).ok_or_else(|| self.missing("name of a worktree (`name`)"))
    }

    /// Returns the path of the worktree.
    pub(super) fn path(&self) -> Option<&str> {
        self.text(&["worktree_path", "worktreePath", "path"])
    }

    /// Returns the branch to check out.
    pub(super) fn branch(&self) -> Option<&str> {
        self.text(&["branch_name", "branchName", "worktree_branch", "branch"])
    }

    /// Returns the commit, branch or tag from which to create the branch.
    pub(super) fn base(&self) -> Option<&str> {
        self.text(&["base_ref", "baseRef", "base_commit", "baseCommit"])
    }

    /// Returns the folder of the session, if it exists.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        self.text(&["cwd", "project_dir"])
            .map(PathBuf::from)
            .filter(|folder| folder.is_absolute() && folder.is_dir())
    }

    /// Returns the error for a missing field.
    pub(super) fn missing(&self, wanted: &'static str) -> PayloadError {
        PayloadError::Missing { wanted, keys: self.0.keys().cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Payload, PayloadError> {
        Payload::read_from(&mut text.as_bytes())
    }

    #[test]
    fn h2_names_of_several_versions_are_understood() {
        for (text, wanted) in [
            (
                r#"{"session_id":"1","cwd":"/r","hook_event_name":"WorktreeCreate","name":"bright-fox"}"#,
                "bright-fox",
            ),
            (r#"{"worktree_name":"a/b","name":""}"#, "a/b"),
            (r#"{"worktreeName":" Refactor payments "}"#, "Refactor payments"),
            (r#"{"worktree":{"name":"inner"},"name":7}"#, "inner"),
            (r#"{"tool_input":{"name":"tool"}}"#, "tool"),
            (r#"{"worktree_path":"/r/.claude/worktrees/of-path"}"#, "of-path"),
            ("\u{feff}{\"name\":\"marked\"} trailing", "marked"),
        ] {
            assert_eq!(read(text).unwrap().name().unwrap(), wanted, "{text}");
        }
        let error = read(r#"{"cwd":"/r","session_id":"1"}"#).unwrap().name().unwrap_err().why();
        assert_eq!(error.unwrap(), "it has the keys: cwd, session_id");
    }

    #[test]
    fn h2_malformed_input_is_refused() {
        for text in ["", "{", r#"{"name":"#, "[", "  \n"] {
            assert!(matches!(read(text), Err(PayloadError::Incomplete)), "{text:?}");
        }
        for text in ["[]", "null", "\"x\"", "x", "{name:1}", "{\"name\":\u{7f}}"] {
            assert!(matches!(read(text), Err(PayloadError::Malformed(_))), "{text:?}");
        }
        let long = format!("{{\"name\":\"{}", "x".repeat(MOST));
        assert!(matches!(read(&long), Err(PayloadError::TooLong)));
    }

    #[test]
    fn h2_reading_stops_when_the_value_is_complete() {
        struct Halves(Vec<&'static [u8]>);
        impl Read for Halves {
            fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
                let part = self.0.pop().expect("nothing is read behind the value");
                buffer[..part.len()].copy_from_slice(part);
                Ok(part.len())
            }
        }
        let payload = Payload::read_from(&mut Halves(vec![b"e\":\"x\"}", b"{\"nam"])).unwrap();
        assert_eq!(payload.name().unwrap(), "x");
    }
}
