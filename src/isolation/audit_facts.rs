//! Facts for an audit that only other modules can gather: the sessions of the database server and the lines of env files.

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use crate::context::address_lines::AddressLine;

/// The databases that are not the worktree's, by the ports of the clients that use them.
pub type OtherSessions = BTreeMap<u16, String>;
type SessionsFuture = Pin<Box<dyn Future<Output = OtherSessions>>>;
type FindSessions = dyn Fn() -> SessionsFuture + Send + Sync;
type ReadLines = dyn Fn(&str) -> Vec<AddressLine> + Send + Sync;

/// Gathers the facts for each audit. Without functions, there are none.
#[derive(Clone, Default)]
pub struct AuditFacts {
    sessions: Option<Arc<FindSessions>>,
    lines: Option<Arc<ReadLines>>,
}

impl fmt::Debug for AuditFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditFacts")
    }
}

impl AuditFacts {
    /// Returns facts without sessions. `lines` returns the lines of the env files in the folder of a process; it may block.
    pub fn with_lines(lines: impl Fn(&str) -> Vec<AddressLine> + Send + Sync + 'static) -> AuditFacts {
        AuditFacts { sessions: None, lines: Some(Arc::new(lines)) }
    }

    /// Adds a function that looks for the sessions.
    pub fn and_sessions<F>(self, look: impl Fn() -> F + Send + Sync + 'static) -> AuditFacts
    where
        F: Future<Output = OtherSessions> + 'static,
    {
        AuditFacts { sessions: Some(Arc::new(move || Box::pin(look()))), ..self }
    }

    /// Returns the sessions that use a database which is not the worktree's.
    pub async fn sessions(&self) -> OtherSessions {
        match &self.sessions {
            Some(look) => look().await,
            None => OtherSessions::new(),
        }
    }

    /// Returns the lines with addresses in the env files of a process.
    pub(super) fn lines(&self, process: &str) -> Vec<AddressLine> {
        self.lines.as_ref().map(|lines| lines(process)).unwrap_or_default()
    }
}
