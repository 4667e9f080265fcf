//! Records what started a stack, and binds it to a process.

use tokio::sync::watch;

use super::StackHandle;
use crate::control::started_by::StartedBy;
use crate::control::status::BoundTo;
use crate::supervisor::process_binding::ProcessBinding;

impl StackHandle {
    /// Binds the stack to a process, in place of an earlier one, or to none.
    pub fn bind(&self, binding: Option<ProcessBinding>) {
        let bound = binding.as_ref().map(BoundTo::of);
        self.status_sender.send_modify(|status| status.bound_to = bound);
        self.binding.send_replace(binding);
    }

    /// Returns a receiver of the process that the stack is bound to.
    pub fn bindings(&self) -> watch::Receiver<Option<ProcessBinding>> {
        self.binding.subscribe()
    }

    /// Records that the process of `binding` has ended, and when the stack will end, in seconds since 1970.
    pub fn bound_process_gone(&self, binding: &ProcessBinding, ends_at: u64) {
        self.status_sender.send_modify(|status| {
            if let Some(bound) = status.bound_to.as_mut().filter(|bound| **bound == BoundTo::of(binding)) {
                bound.ends_at = Some(ends_at);
            }
        });
    }

    /// Records what started the stack.
    pub fn started_by(&self, started_by: StartedBy) {
        self.status_sender.send_modify(|status| status.started_by = Some(started_by));
    }
}
