//! Waits until a branch can be connected to: its operations done, a compute that can write.
//!
//! What was begun and failed is never taken for success; what failed earlier is started again, once.

use std::time::{Duration, Instant};

use serde_json::json;

use super::api::Api;
use super::error::{Failure, NeonError};
use super::wire::{Branch, Operation, Stage};

/// How long Neon may work on a branch.
const LIMIT: Duration = Duration::from_mins(5);
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(1);

/// Pauses that grow, with an end.
struct Patience<'a> {
    start: Instant,
    pause: Duration,
    branch: &'a Branch,
}

impl<'a> Patience<'a> {
    fn new(branch: &'a Branch) -> Patience<'a> {
        Patience { start: Instant::now(), pause: FIRST, branch }
    }

    async fn wait(&mut self, last: &str) -> Result<(), Failure> {
        let waited = self.start.elapsed();
        if waited >= LIMIT {
            let doing = format!("finish the branch {}", self.branch.name);
            return Err(Failure::Over(NeonError::Silent { doing, last: last.into(), waited }));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST);
        Ok(())
    }
}

impl Api {
    /// Waits for operations that the service has just told us of.
    pub(super) async fn finish(&self, branch: &Branch, operations: Vec<Operation>) -> Result<(), Failure> {
        let mut patience = Patience::new(branch);
        for mut operation in operations {
            loop {
                match operation.stage() {
                    Stage::Good => break,
                    Stage::Bad => return Err(failed(branch, operation)),
                    Stage::UnderWay => {
                        patience.wait(&format!("{} {}", operation.action, operation.status)).await?;
                    }
                }
                operation = self.operation(&operation.id).await?;
            }
        }
        Ok(())
    }

    /// Waits until a branch that somebody made, perhaps a moment ago, can be connected to; gives it a compute if it has none.
    pub(super) async fn take_up(&self, branch: Branch, compute: &Compute) -> Result<Branch, Failure> {
        let mut patience = Patience::new(&branch);
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
                return Err(Failure::Over(NeonError::Operation {
                    branch: branch.name.clone(),
                    action: "its compute".into(),
                    status: "is disabled".into(),
                    said,
                }));
            }
            if endpoint.is_settled() {
                return Ok(seen);
            }
            // Somebody else's operations: we were not told their ids.
            let own = |operation: &Operation| operation.branch_id.as_deref() == Some(branch.id.as_str());
            let operations: Vec<Operation> = self.operations().await?.into_iter().filter(own).collect();
            if operations.iter().all(|operation| operation.stage() != Stage::UnderWay) {
                if revived {
                    // The newest comes first.
                    let last = operations.into_iter().next().filter(|newest| newest.stage() == Stage::Bad);
                    return match last {
                        Some(operation) => Err(failed(&branch, operation)),
                        None => Ok(seen),
                    };
                }
                revived = true;
                match self.start_endpoint(&endpoint.id).await {
                    Ok(begun) => self.finish(&branch, begun).await?,
                    // The next look tells whether it happened.
                    Err(Failure::Unsure { .. }) => {}
                    Err(failure) => return Err(failure),
                }
            } else {
                patience.wait(&format!("its compute is {}", endpoint.current_state)).await?;
            }
        }
    }

    async fn add_compute(&self, branch: &Branch, compute: &Compute) -> Result<(), Failure> {
        self.events.note(format!("the Neon branch {} has no compute: it gets one", branch.name));
        let mut endpoint = compute.body();
        endpoint["branch_id"] = json!(branch.id);
        match self.create_endpoint(json!({ "endpoint": endpoint })).await {
            Ok(begun) => self.finish(branch, begun).await,
            // Somebody else was quicker, or we were and did not hear of it: the next look tells.
            Err(Failure::Refused(refusal)) if refusal.status == 409 => Ok(()),
            Err(Failure::Unsure { .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }
}

fn failed(branch: &Branch, operation: Operation) -> Failure {
    let Operation { id, action, status, error, .. } = operation;
    let said = format!("{} (operation {id})", error.as_deref().unwrap_or("Neon does not say why"));
    Failure::Over(NeonError::Operation { branch: branch.name.clone(), action, status, said: Some(said) })
}

/// What a compute that is made gets.
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
