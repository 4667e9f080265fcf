//! Creates a branch exactly once, however many devruns request it and even if answers are lost.
//!
//! The unique name is the only lock. The devrun that gets the answer 201 has created the branch; all others use the
//! existing one. A branch that a search does not find may exist nevertheless.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::error::{ApiRefusal, CallFailure, NeonError};
use super::wire::{Created, NeonBranch};
use super::{Neon, guard};
use crate::database::WantedDatabase;

/// How often the request is sent if answers are lost and no branch appears.
const ATTEMPTS: u32 = 4;
/// How often a branch is searched whose name is already taken.
const UNSEEN: u32 = 8;
/// The pause between two searches.
const BETWEEN: Duration = Duration::from_millis(400);

/// The result of a creation.
pub(super) enum CreateResult {
    /// This devrun created the branch.
    ByUs(Created),
    /// The branch exists. Another devrun or an earlier request created it.
    Found(NeonBranch),
}

impl Neon {
    pub(super) async fn create(&self, wanted: &WantedDatabase) -> Result<CreateResult, NeonError> {
        let doing = format!("create the branch {}", wanted.name);
        let parent = self.parent().await?;
        let body = self.body(wanted, parent.as_ref());
        let (start, mut unsure) = (Instant::now(), String::new());
        for _ in 0..ATTEMPTS {
            match self.api.create(&doing, body.clone()).await {
                Ok(created) => return Ok(CreateResult::ByUs(created)),
                Err(CallFailure::Refused(refusal)) if refusal.status == 409 => {
                    return self.taken(wanted, refusal).await.map(CreateResult::Found);
                }
                Err(CallFailure::Refused(refusal)) if refusal.is_limit() => {
                    let candidates = self.candidates().await;
                    return Err(NeonError::Limit { refusal, candidates });
                }
                Err(CallFailure::Unsure { last, .. }) => unsure = last,
                Err(failure) => return Err(self.explain(failure, &doing)),
            }
            // The request may have been executed. Search before sending it again.
            if let Some(branch) = self.find_branch(&wanted.name).await? {
                return Ok(CreateResult::Found(branch));
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Err(self.explain(CallFailure::Unsure { last: unsure, waited: start.elapsed() }, &doing))
    }

    /// Returns the branch that has the name already.
    async fn taken(&self, wanted: &WantedDatabase, refusal: ApiRefusal) -> Result<NeonBranch, NeonError> {
        for _ in 0..UNSEEN {
            if let Some(branch) = self.find_branch(&wanted.name).await? {
                return Ok(branch);
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Err(NeonError::Refused { refusal })
    }

    /// Returns the branch to copy, or `None` for the project's default branch.
    async fn parent(&self) -> Result<Option<NeonBranch>, NeonError> {
        let Some(parent) = &self.request.parent else { return Ok(None) };
        let doing = format!("look for the branch {parent}");
        let is_it = |branch: &NeonBranch| branch.name == *parent || branch.id == *parent;
        let mut found = self
            .api
            .branches(&doing, parent, is_it)
            .await
            .map_err(|failure| self.explain(failure, &doing))?;
        // A branch with this name is preferred to one with this id.
        found.sort_by_key(|branch| branch.name != *parent);
        found.into_iter().next().map(Some).ok_or_else(|| NeonError::NoParent(parent.clone()))
    }

    fn body(&self, wanted: &WantedDatabase, parent: Option<&NeonBranch>) -> Value {
        let mut branch = json!({ "name": wanted.name });
        if let Some(parent) = parent {
            branch["parent_id"] = json!(parent.id);
        }
        if self.request.schema_only {
            branch["init_source"] = json!("schema-only");
        }
        if let Some(at) = self.expiry(SystemTime::now()) {
            branch["expires_at"] = json!(at);
        }
        let annotation = json!({
            "devrun": env!("CARGO_PKG_VERSION"),
            "git-branch": wanted.label,
            "repository": self.request.repository,
            "worktree": wanted.worktree.to_string_lossy(),
        });
        json!({ "branch": branch, "endpoints": [self.compute().body()], "annotation_value": annotation })
    }

    /// Returns the time at which a branch expires that is used at `now`.
    pub(super) fn expiry(&self, now: SystemTime) -> Option<String> {
        Some(timestamp(now + self.request.expires_in?))
    }

    /// Returns branches that look like devrun's, for a user who must delete some.
    pub(super) async fn candidates(&self) -> Vec<String> {
        let doing = "list the project's branches";
        let looks_ours =
            |branch: &NeonBranch| branch.name.starts_with("dev-") && guard::what(branch, None).is_none();
        let found = self.api.branches(doing, "dev-", looks_ours).await.unwrap_or_default();
        found.into_iter().map(|branch| branch.name).collect()
    }
}

/// Formats a time as RFC 3339 with seconds, in UTC.
fn timestamp(time: SystemTime) -> String {
    format!("{:.0}", jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn timestamps_equal_those_of_date() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_827_696, "2000-02-29T12:34:56Z"),
            (1_798_761_599, "2026-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(timestamp(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
