//! How long to wait before a process is started again. Pure: attempts in, a duration out.

use std::time::Duration;

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(100);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// Running this long clears the record.
pub const HEALTHY: Duration = Duration::from_secs(10);

/// The wait before restart number `attempt`, counted from 1.
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
