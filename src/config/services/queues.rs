//! Names the queues of a worker. The default name contains the worktree, so that workers of two worktrees on one broker take
//! only their own jobs.

use crate::config::model::ServiceConfig;
use crate::config::presets::PresetRole;

/// The queues of a worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct WorkerQueues {
    /// The queue to which the application sends its jobs.
    pub(super) first: String,
    /// All queues of the worker, as its command line takes them.
    pub(super) all: String,
}

/// Returns the queues of `service`; `None` if it is no worker. `has_own_redis` is true if the worktree has a Redis that no
/// other worktree uses: then the usual queue is safe too.
pub(super) fn of(service: &ServiceConfig, has_own_redis: bool) -> Option<WorkerQueues> {
    let PresetRole::Worker { separator, usual_queue, .. } = service.preset?.role else { return None };
    if !service.queues.is_empty() {
        let names: Vec<&str> = service.queues.iter().map(|queue| queue.text.as_str()).collect();
        return Some(WorkerQueues { first: names[0].into(), all: names.join(separator) });
    }
    let own = format!("{}-${{slug}}", service.name);
    let all = if has_own_redis { format!("{usual_queue}{separator}{own}") } else { own.clone() };
    Some(WorkerQueues { first: own, all })
}
