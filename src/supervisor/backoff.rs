//! Computes the delay before a process is restarted. Pure.

use std::time::Duration;

/// The first delay. Each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest delay.
const LONGEST: Duration = Duration::from_secs(30);
/// A child that was ready for this long resets the count of restarts.
pub const HEALTHY: Duration = Duration::from_secs(10);

/// Returns the delay before restart number `attempt`, counted from 1.
pub fn delay(attempt: u32) -> Duration {
    let doubled = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16));
    doubled.min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let waits: Vec<u128> = (1..=4).map(|attempt| delay(attempt).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800]);
        assert_eq!(delay(10), LONGEST);
        assert_eq!(delay(u32::MAX), LONGEST);
    }
}
