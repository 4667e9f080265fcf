//! Makes a branch, once, however many ask for it and whatever happens to the answers.
//!
//! The name is the only lock there is: whoever gets the 201 has made it, everybody else takes up what is there. Not having
//! seen it proves nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::error::{Failure, NeonError, Refusal};
use super::wire::{Branch, Created};
use super::{Neon, guard};
use crate::database::Wanted;

/// How often a create may be sent whose answers are lost and that has left nothing.
const ATTEMPTS: u32 = 4;
/// Time until a name that is taken must be found.
const UNSEEN: u32 = 8;
/// How long before the next look.
const BETWEEN: Duration = Duration::from_millis(400);

/// What came of it.
pub(super) enum Made {
    /// We got the receipt.
    ByUs(Created),
    /// It is there, made by whomever.
    Found(Branch),
}

impl Neon {
    pub(super) async fn create(&self, wanted: &Wanted) -> Result<Made, NeonError> {
        let doing = format!("create the branch {}", wanted.name);
        let parent = self.parent().await?;
        let body = self.body(wanted, parent.as_ref());
        let (start, mut unsure) = (Instant::now(), String::new());
        for _ in 0..ATTEMPTS {
            match self.api.create(&doing, body.clone()).await {
                Ok(created) => return Ok(Made::ByUs(created)),
                Err(Failure::Refused(refusal)) if refusal.status == 409 => {
                    return self.taken(wanted, refusal).await.map(Made::Found);
                }
                Err(Failure::Refused(refusal)) if refusal.is_limit() => {
                    let candidates = self.candidates().await;
                    return Err(NeonError::Limit { refusal, candidates });
                }
                Err(Failure::Unsure { last, .. }) => unsure = last,
                Err(failure) => return Err(self.told(failure, &doing)),
            }
            // It may have happened: only a look tells.
            if let Some(branch) = self.look(&wanted.name).await? {
                return Ok(Made::Found(branch));
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Err(self.told(Failure::Unsure { last: unsure, waited: start.elapsed() }, &doing))
    }

    /// The branch whose name is taken.
    async fn taken(&self, wanted: &Wanted, refusal: Refusal) -> Result<Branch, NeonError> {
        for _ in 0..UNSEEN {
            if let Some(branch) = self.look(&wanted.name).await? {
                return Ok(branch);
            }
            tokio::time::sleep(BETWEEN).await;
        }
        Err(NeonError::Refused { refusal })
    }

    /// The branch to copy; `None` for the project's default branch.
    async fn parent(&self) -> Result<Option<Branch>, NeonError> {
        let Some(parent) = &self.request.parent else { return Ok(None) };
        let doing = format!("look for the branch {parent}");
        let is_it = |branch: &Branch| branch.name == *parent || branch.id == *parent;
        let mut found =
            self.api.branches(&doing, parent, is_it).await.map_err(|failure| self.told(failure, &doing))?;
        // A name that looks like another branch's id is a name.
        found.sort_by_key(|branch| branch.name != *parent);
        found.into_iter().next().map(Some).ok_or_else(|| NeonError::NoParent(parent.clone()))
    }

    fn body(&self, wanted: &Wanted, parent: Option<&Branch>) -> Value {
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

    /// When a branch that is used now expires.
    pub(super) fn expiry(&self, now: SystemTime) -> Option<String> {
        Some(timestamp(now + self.request.expires_in?))
    }

    /// Branches that look like devrun's, for people who have to make room.
    async fn candidates(&self) -> Vec<String> {
        let doing = "list the project's branches";
        let looks_ours =
            |branch: &Branch| branch.name.starts_with("dev-") && guard::what(branch, None).is_none();
        let found = self.api.branches(doing, "dev-", looks_ours).await.unwrap_or_default();
        found.into_iter().map(|branch| branch.name).collect()
    }
}

/// RFC 3339 with seconds, in UTC; by Howard Hinnant's `civil_from_days`.
fn timestamp(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_what_date_says() {
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
