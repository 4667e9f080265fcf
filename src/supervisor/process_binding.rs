//! Ends a stack some time after the end of the process that it is bound to.
//!
//! This module only decides when; the receiver ends the run. The stack may be bound to another process at any time, also during the
//! grace period.

use std::future::Future;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::os::process_identity::ProcessIdentity;

/// The process that a stack is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessBinding {
    /// The process.
    pub process: ProcessIdentity,
    /// Its name.
    pub name: String,
    /// The time from its end to the end of the stack.
    pub grace_seconds: u64,
}

/// Waits until the process of the current binding has ended and its grace period is over. `ended` waits for the end of a process;
/// `announce` is called after it. Starts again for a new binding; without a binding, waits for one.
pub async fn expires<F: Future<Output = ()>>(
    mut bindings: watch::Receiver<Option<ProcessBinding>>,
    ended: impl Fn(&ProcessBinding) -> F,
    announce: impl Fn(&ProcessBinding),
) -> ProcessBinding {
    loop {
        let binding = bindings.borrow_and_update().clone();
        let expired = async {
            let Some(binding) = binding else { return std::future::pending().await };
            ended(&binding).await;
            announce(&binding);
            tokio::time::sleep(Duration::from_secs(binding.grace_seconds)).await;
            binding
        };
        tokio::select! {
            biased;
            changed = bindings.changed() => if changed.is_err() {
                // The run is over.
                return std::future::pending().await;
            },
            binding = expired => return binding,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::Instant;

    use super::*;

    fn binding(pid: u32, grace_seconds: u64) -> ProcessBinding {
        ProcessBinding { process: ProcessIdentity { pid, born: 1 }, name: "agent".into(), grace_seconds }
    }

    /// Waits for the end of a process that runs for `seconds`, the number of its id.
    async fn ended(seconds: u32) {
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stack_expires_a_grace_period_after_the_announced_end_of_its_process() {
        let (start, announced) = (Instant::now(), RefCell::new(Vec::new()));
        let (_sender, bindings) = watch::channel(Some(binding(100, 30)));
        let announce = |binding: &ProcessBinding| {
            announced.borrow_mut().push((binding.process.pid, start.elapsed().as_secs()));
        };
        let expired = expires(bindings, |binding| ended(binding.process.pid), announce).await;
        assert_eq!((expired.process.pid, start.elapsed().as_secs()), (100, 130));
        assert_eq!(*announced.borrow(), [(100, 100)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_binding_or_none_during_the_grace_period_keeps_the_stack() {
        let start = Instant::now();
        let (sender, bindings) = watch::channel(Some(binding(10, 30)));
        let exchange = async {
            tokio::time::sleep(Duration::from_secs(35)).await;
            sender.send_replace(None);
            tokio::time::sleep(Duration::from_hours(1)).await;
            sender.send_replace(Some(binding(20, 5)));
        };
        let expired = expires(bindings, |binding| ended(binding.process.pid), |_| {});
        let (expired, ()) = tokio::join!(expired, exchange);
        assert_eq!((expired.process.pid, start.elapsed().as_secs()), (20, 35 + 3600 + 25));
    }
}
