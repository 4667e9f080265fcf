//! Shows other threads whether a sink waits for the reader of its output.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// A shared handle. The sink records that it waits for its reader; other threads read how long it has waited.
#[derive(Clone, Debug)]
pub struct Backpressure {
    base: Instant,
    /// Milliseconds from `base` to the last progress while the sink waits, plus one. 0 while the sink does not wait.
    waiting: Arc<AtomicU64>,
}

impl Default for Backpressure {
    fn default() -> Backpressure {
        Backpressure { base: Instant::now(), waiting: Arc::default() }
    }
}

impl Backpressure {
    /// Records that the sink starts to wait for its reader, or that the reader took something.
    pub fn waits(&self) {
        self.waiting.store(self.now() + 1, Ordering::Relaxed);
    }

    /// Records that the sink does not wait.
    pub fn flows(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// Returns how long the sink has waited since the reader last took something. Zero if it does not wait.
    pub fn stuck_for(&self) -> Duration {
        match self.waiting.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_millis((self.now() + 1).saturating_sub(since)),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX - 1)
    }
}
