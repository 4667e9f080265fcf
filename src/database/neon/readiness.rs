//! Waits until a branch accepts connections: its operations are finished and it has a compute that can write.
//!
//! A failed operation is never treated as success. A compute whose earlier start failed is started again once.

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::api::Api;
use super::error::{CallFailure, NeonError};
use super::wire::{NeonBranch, Operation, OperationStage};

/// The time limit for Neon's work on a branch.
const LIMIT: Duration = Duration::from_mins(5);
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(1);

/// Growing pauses with a time limit.
struct PollTimer<'a> {
    start: Instant,
    pause: Duration,
    branch: &'a NeonBranch,
}

impl<'a> PollTimer<'a> {
    fn new(branch: &'a NeonBranch) -> PollTimer<'a> {
        PollTimer { start: Instant::now(), pause: FIRST, branch }
    }

    async fn wait(&mut self, last: &str) -> Result<(), CallFailure> {
        let waited = self.start.elapsed();
        if waited >= LIMIT {
            let doing = format!("finish the branch {}", self.branch.name);
            return Err(CallFailure::Over(NeonError::Silent { doing, last: last.into(), waited }));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }
}

impl Api {
    /// Waits for the operations that the service has just reported.
    pub(super) async fn finish(
        &self,
        branch: &NeonBranch,
        operations: Vec<Operation>,
    ) -> Result<(), CallFailure> {
        let mut patience = PollTimer::new(branch);
        for mut operation in operations {
            loop {
                match operation.stage() {
                    OperationStage::Good => break,
                    OperationStage::Bad => return Err(failed(branch, operation)),
                    OperationStage::UnderWay => {
                        patience.wait(&format!("{} {}", operation.action, operation.status)).await?;
                    }
                }
                operation = self.operation(&operation.id).await?;
            }
        }
        Ok(())
    }

    /// Waits until an existing branch accepts connections, even if another devrun has just created it. Creates a
    /// compute if the branch has none.
    pub(super) async fn take_up(
        &self,
        branch: NeonBranch,
        compute: &Compute,
    ) -> Result<NeonBranch, CallFailure> {
        let mut patience = PollTimer::new(&branch);
        let mut seen = branch.clone();
        while !seen.is_settled() {
            let pending = seen.pending_state.as_deref().unwrap_or("nothing pending");
            patience.wait(&format!("{}, {pending}", seen.current_state)).await?;
            self.turn().await;
            seen = self.branch(&branch.id, true).await?;
        }
        let (mut revived, mut looked) = (false, false);
        loop {
            if std::mem::replace(&mut looked, true) {
                self.turn().await;
            }
            let endpoints = self.endpoints(&branch.id, true).await?;
            let Some(endpoint) = endpoints.into_iter().find(super::wire::Endpoint::can_write) else {
                self.add_compute(&branch, compute).await?;
                continue;
            };
            if endpoint.disabled {
                let said = Some("its compute is disabled; enable it in the Neon console".into());
                return Err(CallFailure::Over(NeonError::Operation {
                    branch: branch.name.clone(),
                    action: "its compute".into(),
                    status: "is disabled".into(),
                    said,
                }));
            }
            if endpoint.is_settled() {
                return Ok(seen);
            }
            // These operations were started by other requests, whose answers we did not get.
            let own = |operation: &Operation| operation.branch_id.as_deref() == Some(branch.id.as_str());
            let operations: Vec<Operation> = self.operations().await?.into_iter().filter(own).collect();
            if operations.iter().all(|operation| operation.stage() != OperationStage::UnderWay) {
                if revived {
                    // The newest operation comes first.
                    let last =
                        operations.into_iter().next().filter(|newest| newest.stage() == OperationStage::Bad);
                    return match last {
                        Some(operation) => Err(failed(&branch, operation)),
                        None => Ok(seen),
                    };
                }
                revived = true;
                match self.start_endpoint(&endpoint.id).await {
                    Ok(begun) => self.finish(&branch, begun).await?,
                    // The next round shows whether the compute was started.
                    Err(CallFailure::Unsure { .. }) => {}
                    Err(failure) => return Err(failure),
                }
            } else {
                patience.wait(&format!("its compute is {}", endpoint.current_state)).await?;
            }
        }
    }

    async fn add_compute(&self, branch: &NeonBranch, compute: &Compute) -> Result<(), CallFailure> {
        self.events.note(format!("the Neon branch {} has no compute: it gets one", branch.name));
        let mut endpoint = compute.body();
        endpoint["branch_id"] = json!(branch.id);
        match self.create_endpoint(json!({ "endpoint": endpoint })).await {
            Ok(begun) => self.finish(branch, begun).await,
            // Another devrun was faster, or our request was executed and the answer was lost. The next round shows it.
            Err(CallFailure::Refused(refusal)) if refusal.status == 409 => Ok(()),
            Err(CallFailure::Unsure { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

fn failed(branch: &NeonBranch, operation: Operation) -> CallFailure {
    let Operation { id, action, status, error, .. } = operation;
    let said = format!("{} (operation {id})", error.as_deref().unwrap_or("Neon does not say why"));
    CallFailure::Over(NeonError::Operation { branch: branch.name.clone(), action, status, said: Some(said) })
}

/// The settings of a compute that devrun creates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Compute {
    pub(super) suspend_timeout: Option<Duration>,
    pub(super) compute_units: Option<(f64, f64)>,
}

impl Compute {
    pub(super) fn body(&self) -> serde_json::Value {
        let mut body = json!({ "type": "read_write" });
        if let Some(idle) = self.suspend_timeout {
            body["suspend_timeout_seconds"] = json!(idle.as_secs());
        }
        if let Some((least, most)) = self.compute_units {
            body["autoscaling_limit_min_cu"] = json!(least);
            body["autoscaling_limit_max_cu"] = json!(most);
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn polls_become_rare_and_end_after_five_minutes() {
        let branch =
            serde_json::from_value(json!({ "id": "br-a", "name": "dev-x", "default": false })).unwrap();
        let mut timer = PollTimer::new(&branch);
        let mut polls = Vec::new();
        let error = loop {
            match timer.wait("create_branch running").await {
                Ok(()) => polls.push(timer.start.elapsed().as_millis()),
                Err(error) => break error,
            }
        };
        assert_eq!(polls[..5], [250, 750, 1750, 2750, 3750]);
        let CallFailure::Over(NeonError::Silent { doing, last, waited }) = error else { panic!("{error:?}") };
        assert_eq!((doing.as_str(), last.as_str()), ("finish the branch dev-x", "create_branch running"));
        assert!(waited >= LIMIT && waited < LIMIT + LONGEST, "{waited:?}");
    }
}
