//! A time limit that several waits in a row share. It does not wait itself.

use std::time::Duration;

use tokio::time::Instant;

/// A time limit and the moment it counts from.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    start: Instant,
    /// The limit as it was given.
    pub limit: Duration,
}

impl Deadline {
    /// Starts counting `limit` now.
    pub fn within(limit: Duration) -> Deadline {
        Deadline { start: Instant::now(), limit }
    }

    /// Returns the time that is left; zero once the limit has passed.
    pub fn left(self) -> Duration {
        self.limit.saturating_sub(self.start.elapsed())
    }
}
