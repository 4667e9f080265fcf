//! Whether a sink gets rid of what it is given, told across threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Shared handle: the sink's side says that it waits for its reader, the other side asks since when.
#[derive(Clone, Debug)]
pub struct Gauge {
    base: Instant,
    /// Milliseconds from `base`, plus one, to the last sign of progress while the sink waits; 0 while it does not.
    waiting: Arc<AtomicU64>,
}

impl Default for Gauge {
    fn default() -> Gauge {
        Gauge { base: Instant::now(), waiting: Arc::default() }
    }
}

impl Gauge {
    /// The sink begins to wait for its reader, or saw that the reader took something.
    pub fn waits(&self) {
        self.waiting.store(self.now() + 1, Ordering::Relaxed);
    }

    /// Nothing waits any more.
    pub fn flows(&self) {
        self.waiting.store(0, Ordering::Relaxed);
    }

    /// For how long the reader has taken nothing of what waits for it.
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
