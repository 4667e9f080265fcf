//! The time before each stored line: RFC 3339, UTC, milliseconds. Pure but for [`Stamp::now`].

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// A moment as it is written: `2026-11-20T05:27:10.123Z`. In the order of time, to the year 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp([u8; Stamp::LENGTH]);

impl Stamp {
    /// How many bytes it takes.
    pub const LENGTH: usize = 24;

    /// This moment.
    pub fn now() -> Stamp {
        Stamp::at(millis(SystemTime::now()))
    }

    /// `millis` milliseconds after 1970.
    pub(super) fn at(millis: u64) -> Stamp {
        let (seconds, days) = (millis / 1000, millis / 1000 / DAY);
        let (year, month, day) = date(days);
        let clock = seconds % DAY;
        let mut bytes = *b"0000-00-00T00:00:00.000Z";
        let fields = [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, clock / 3600),
            (14, 2, clock / 60 % 60),
            (17, 2, clock % 60),
            (20, 3, millis % 1000),
        ];
        for (start, width, mut value) in fields {
            for place in (start..start + width).rev() {
                bytes[place] = b'0' + u8::try_from(value % 10).unwrap_or_default();
                value /= 10;
            }
        }
        Stamp(bytes)
    }

    /// Reads one at the beginning of `bytes`.
    pub(super) fn read(bytes: &[u8]) -> Option<Stamp> {
        let bytes: [u8; Stamp::LENGTH] = bytes.get(..Stamp::LENGTH)?.try_into().ok()?;
        let shape = b"0000-00-00T00:00:00.000Z";
        let fits =
            |(byte, shape): (&u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == shape };
        bytes.iter().zip(shape).all(fits).then_some(Stamp(bytes))
    }

    /// The moment a person means: RFC 3339 with any offset, or how long before `now`: `90s`, `5m`, `2h`, `1d`.
    pub fn understand(text: &str, now: SystemTime) -> Option<Stamp> {
        let millis = match ago(text) {
            Some(ago) => millis(now.checked_sub(ago)?),
            None => rfc3339(text)?,
        };
        Some(Stamp::at(millis))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    pub(super) fn as_bytes(&self) -> &[u8; Stamp::LENGTH] {
        &self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Year, month and day of a day counted from 1970, by Howard Hinnant's `civil_from_days`.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

/// The other way round: `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    (era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year)
        .checked_sub(719_468)
}

fn ago(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let seconds = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => DAY,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

fn rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, width: usize| -> Option<u64> {
        let digits = text.get(from..from + width)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let bytes = text.as_bytes();
    let is = |place: usize, wanted: &[u8]| bytes.get(place).is_some_and(|byte| wanted.contains(byte));
    if !(is(4, b"-") && is(7, b"-") && is(10, b"Tt ") && is(13, b":") && is(16, b":")) {
        return None;
    }
    let (month, day) = (number(5, 2)?, number(8, 2)?);
    let clock = number(11, 2)? * 3600 + number(14, 2)? * 60 + number(17, 2)?;
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || clock > DAY {
        return None;
    }
    let mut millis = (days(number(0, 4)?, month, day)? * DAY + clock) * 1000;
    let mut rest = text.get(19..)?;
    if let Some(fraction) = rest.strip_prefix('.') {
        let end = fraction.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0)?;
        millis += format!("{:0<3.3}", &fraction[..end]).parse::<u64>().ok()?;
        rest = &fraction[end..];
    }
    if rest.eq_ignore_ascii_case("z") {
        return Some(millis);
    }
    let (hours, minutes) = rest.get(1..)?.split_once(':')?;
    let offset = (hours.parse::<u64>().ok()? * 60 + minutes.parse::<u64>().ok()?) * 60_000;
    match rest.as_bytes()[0] {
        b'+' => millis.checked_sub(offset),
        b'-' => Some(millis + offset),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339_has_it() {
        assert_eq!(Stamp::at(0).as_str(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Stamp::at(951_782_399_999).as_str(), "2000-02-28T23:59:59.999Z");
        assert_eq!(Stamp::at(951_782_400_000).as_str(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Stamp::at(1_795_238_830_123).as_str(), "2026-11-21T05:27:10.123Z");
    }

    #[test]
    fn people_say_how_long_ago_or_when() {
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
                Stamp::understand(text, now).map(|stamp| stamp.to_string()).as_deref(),
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
            assert_eq!(Stamp::understand(text, now), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_moment(millis in 0_u64..253_402_300_799_999) {
            let stamp = Stamp::at(millis);
            prop_assert_eq!(Stamp::read(stamp.as_bytes()), Some(stamp));
            prop_assert_eq!(rfc3339(stamp.as_str()), Some(millis));
        }

        #[test]
        fn any_text_is_taken_or_refused(text in "\\PC{0,40}") {
            let _ = Stamp::understand(&text, UNIX_EPOCH);
        }
    }
}
