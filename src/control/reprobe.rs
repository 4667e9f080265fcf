//! Probes processes that the status calls ready before a client receives that status. When the server under a reloader
//! dies, only a probe shows it.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::status::{Status, Word};
use crate::plan::{Plan, PortUse};
use crate::supervisor::readiness;

/// How long one process may take to answer.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// The result of a probe that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FailedProbe {
    /// The process is not ready, with the answer of its probe.
    Answered(String),
    /// A process that opens its port itself did not answer. It may only be busy.
    Silent,
}

/// Probes each process of `plan` that has a probe and that `status` calls ready, all at once. Returns the indexes of
/// the processes that failed. Must run in a `LocalSet`.
pub(super) async fn failed(plan: &Arc<Plan>, status: &Status) -> Vec<(usize, FailedProbe)> {
    let mut answers = JoinSet::new();
    for (index, said) in status.processes.iter().enumerate() {
        if said.ready && said.state == Word::Running {
            let plan = plan.clone();
            answers.spawn_local(async move {
                let process = plan.processes.get(index)?;
                let ready = process.ready.as_ref()?;
                let failed = match readiness::probe_once(process, ready, &plan.env, LIMIT).await {
                    Some(answer) => FailedProbe::Answered(answer.err()?),
                    // If devrun listens on the port for it, an accepted connection does not show that a server is there.
                    None if matches!(process.port, Some(PortUse::Binds { .. })) => FailedProbe::Silent,
                    None => FailedProbe::Answered(format!("no answer within {:?}", LIMIT.min(ready.timeout))),
                };
                Some((index, failed))
            });
        }
    }
    answers.join_all().await.into_iter().flatten().collect()
}
