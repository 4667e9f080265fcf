//! The clock of this machine.

use std::time::UNIX_EPOCH;

/// Returns the time in seconds since 1970.
pub fn unix_seconds() -> u64 {
    UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}
