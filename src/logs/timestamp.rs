//! Formats and parses the time before each stored line: RFC 3339, UTC, milliseconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::text::duration;

/// A formatted time: `2026-11-20T05:27:10.123Z`. Stamps sort in the order of time, up to the year 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp([u8; Timestamp::LENGTH]);

impl Timestamp {
    /// The length in bytes.
    pub const LENGTH: usize = 24;

    /// Returns the current time.
    #[cfg(test)]
    pub fn now() -> Timestamp {
        Timestamp::at(millis(SystemTime::now()))
    }

    /// Returns the time `millis` milliseconds after the start of 1970.
    pub fn at(millis: u64) -> Timestamp {
        let time =
            i64::try_from(millis).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
        let text = format!("{:.3}", time.unwrap_or(jiff::Timestamp::MAX));
        let mut bytes = *b"0000-00-00T00:00:00.000Z";
        for (byte, digit) in bytes.iter_mut().zip(text.bytes()) {
            *byte = digit;
        }
        Timestamp(bytes)
    }

    /// Returns the time `age` before now.
    pub fn ago(age: Duration) -> Timestamp {
        Timestamp::at(millis(SystemTime::now().checked_sub(age).unwrap_or(UNIX_EPOCH)))
    }

    /// Parses the timestamp at the start of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Option<Timestamp> {
        let bytes: [u8; Timestamp::LENGTH] = bytes.get(..Timestamp::LENGTH)?.try_into().ok()?;
        let shape = b"0000-00-00T00:00:00.000Z";
        let fits =
            |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        bytes.iter().zip(shape).all(fits).then_some(Timestamp(bytes))
    }

    /// Parses a time that the user has typed: RFC 3339 with any offset, or the time before `now` as `90s`, `5m`, `2h`,
    /// `1d`.
    pub fn understand(text: &str, now: SystemTime) -> Option<Timestamp> {
        let millis = match duration::parse(text) {
            Some(ago) => millis(now.checked_sub(ago)?),
            None => rfc3339(text)?,
        };
        Some(Timestamp::at(millis))
    }

    /// Returns the time from this one to `now`; zero if this one is later.
    pub fn age(&self, now: SystemTime) -> Duration {
        Duration::from_millis(millis(now).saturating_sub(rfc3339(self.as_str()).unwrap_or_default()))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn as_bytes(&self) -> &[u8; Timestamp::LENGTH] {
        &self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns the milliseconds since the start of 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Returns the milliseconds since the start of 1970 of a time with any offset.
fn rfc3339(text: &str) -> Option<u64> {
    u64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_formatted_as_in_rfc_3339() {
        assert_eq!(Timestamp::at(0).as_str(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::at(951_782_399_999).as_str(), "2000-02-28T23:59:59.999Z");
        assert_eq!(Timestamp::at(951_782_400_000).as_str(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Timestamp::at(1_795_238_830_123).as_str(), "2026-11-21T05:27:10.123Z");
    }

    #[test]
    fn the_age_of_a_later_time_is_zero() {
        let now = UNIX_EPOCH + Duration::from_secs(100);
        assert_eq!(Timestamp::at(97_500).age(now), Duration::from_millis(2500));
        assert_eq!(Timestamp::at(100_001).age(now), Duration::ZERO);
    }

    #[test]
    fn durations_and_dates_are_parsed() {
        let now = UNIX_EPOCH + Duration::from_secs(1_795_238_830);
        for (text, expected) in [
            ("5m", "2026-11-21T05:22:10.000Z"),
            ("1d", "2026-11-20T05:27:10.000Z"),
            ("250ms", "2026-11-21T05:27:09.750Z"),
            ("2026-11-21T05:27:10Z", "2026-11-21T05:27:10.000Z"),
            ("2026-11-21 05:27:10.5z", "2026-11-21T05:27:10.500Z"),
            ("2026-11-21T07:57:10.123456+02:30", "2026-11-21T05:27:10.123Z"),
            ("2026-11-20T21:27:10-08:00", "2026-11-21T05:27:10.000Z"),
        ] {
            assert_eq!(
                Timestamp::understand(text, now).map(|timestamp| timestamp.to_string()).as_deref(),
                Some(expected),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m",
            "5y",
            "yesterday",
            "2026-11-21",
            "2026-13-21T05:27:10Z",
            "2026-11-21T05:27:10",
            "ü",
        ] {
            assert_eq!(Timestamp::understand(text, now), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_formatted_time_is_parsed_as_the_same_time(millis in 0_u64..253_402_207_200_000) {
            let timestamp = Timestamp::at(millis);
            prop_assert_eq!(Timestamp::read(timestamp.as_bytes()), Some(timestamp));
            prop_assert_eq!(rfc3339(timestamp.as_str()), Some(millis));
        }

        #[test]
        fn any_text_is_parsed_or_refused(text in "\\PC{0,40}") {
            let _ = Timestamp::understand(&text, UNIX_EPOCH);
        }
    }
}
