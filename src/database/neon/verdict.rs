//! What to do after each answer, or after none. Pure: outcome, attempt, time and chance come in, a decision goes out.
//!
//! Only 423, 429, 503 and what was never sent are known not to have been executed; after anything else that is no plain
//! answer, a change is looked for before it is asked for again.

use std::time::{Duration, SystemTime};

/// The first pause is up to this long.
const FIRST: Duration = Duration::from_millis(300);
/// No pause of our own choice is longer.
const LONGEST: Duration = Duration::from_secs(5);

/// What came of sending a request once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// An answer, whole.
    Answered(Answer),
    /// It certainly never reached the service.
    NotSent(String),
    /// It never reached the service, and never will: whoever answers there cannot prove to be the service.
    Untrusted(String),
    /// It was sent; whether it was executed is not known.
    Lost(String),
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The header as it came: seconds or a date.
    pub(super) retry_after: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) body: Vec<u8>,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is done.
    Done,
    /// Ask again, after at least this long.
    Again(Duration),
    /// It may have been done: look before anything else.
    Look,
    /// Asking again would change nothing.
    Stop,
}

/// Decides. `reads` is true for requests that change nothing; `young` while what is asked for was made a moment ago and may
/// not be known everywhere yet.
pub(super) fn next(reads: bool, young: bool, outcome: &Outcome, now: SystemTime) -> Next {
    let unsure = if reads { Next::Again(Duration::ZERO) } else { Next::Look };
    match outcome {
        Outcome::NotSent(_) => Next::Again(Duration::ZERO),
        Outcome::Untrusted(_) => Next::Stop,
        Outcome::Lost(_) => unsure,
        Outcome::Answered(answer) => match answer.status {
            200..=299 => Next::Done,
            423 | 429 | 503 => Next::Again(least(answer.retry_after.as_deref(), now)),
            404 if young => Next::Again(Duration::ZERO),
            422 if is_not_ready(&answer.body) => Next::Again(Duration::ZERO),
            408 | 500..=599 => unsure,
            _ => Next::Stop,
        },
    }
}

/// How long to pause before the attempt after number `attempt` (from 0): full jitter, `roll` being a number from 0 to 1 that
/// chance gave. The service's own wish is a minimum.
pub(super) fn pause(attempt: u32, roll: f64, least: Duration) -> Duration {
    let ceiling = FIRST.saturating_mul(2_u32.saturating_pow(attempt.min(16))).min(LONGEST);
    least + ceiling.mul_f64(roll.clamp(0.0, 1.0))
}

/// How long the header asks to wait: seconds, or a date.
fn least(header: Option<&str>, now: SystemTime) -> Duration {
    let Some(text) = header.map(str::trim) else { return Duration::ZERO };
    if let Ok(seconds) = text.parse() {
        return Duration::from_secs(seconds);
    }
    let until = httpdate::parse_http_date(text).ok().and_then(|date| date.duration_since(now).ok());
    until.unwrap_or_default()
}

/// A branch whose parent is still being made cannot be made yet: no limit, only early.
fn is_not_ready(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    !text.contains("limit") && (text.contains("not ready") || text.contains("not in ready state"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    fn answered(status: u16, retry_after: Option<&str>, body: &str) -> Outcome {
        Outcome::Answered(Answer {
            status,
            retry_after: retry_after.map(Into::into),
            request_id: None,
            body: body.into(),
        })
    }

    fn decide(reads: bool, outcome: &Outcome) -> Next {
        next(reads, false, outcome, UNIX_EPOCH)
    }

    #[test]
    fn each_status_has_its_answer() {
        const AGAIN: Next = Next::Again(Duration::ZERO);
        for (status, reading, writing) in [
            (200, Next::Done, Next::Done),
            (201, Next::Done, Next::Done),
            (302, Next::Stop, Next::Stop),
            (400, Next::Stop, Next::Stop),
            (401, Next::Stop, Next::Stop),
            (403, Next::Stop, Next::Stop),
            (404, Next::Stop, Next::Stop),
            (409, Next::Stop, Next::Stop),
            (412, Next::Stop, Next::Stop),
            (422, Next::Stop, Next::Stop),
            (423, AGAIN, AGAIN),
            (429, AGAIN, AGAIN),
            (500, AGAIN, Next::Look),
            (502, AGAIN, Next::Look),
            (503, AGAIN, AGAIN),
            (504, AGAIN, Next::Look),
            (524, AGAIN, Next::Look),
        ] {
            let outcome = answered(status, None, "");
            assert_eq!((decide(true, &outcome), decide(false, &outcome)), (reading, writing), "{status}");
        }
        assert_eq!(decide(false, &Outcome::NotSent(String::new())), AGAIN);
        assert_eq!(decide(true, &Outcome::Untrusted(String::new())), Next::Stop);
        assert_eq!(decide(true, &Outcome::Lost(String::new())), AGAIN);
        assert_eq!(decide(false, &Outcome::Lost(String::new())), Next::Look);
    }

    #[test]
    fn what_was_made_a_moment_ago_may_be_missing_for_a_moment() {
        let missing = answered(404, None, "");
        assert_eq!(next(true, true, &missing, UNIX_EPOCH), Next::Again(Duration::ZERO));
        let early = answered(422, None, r#"{"message":"branch not ready yet"}"#);
        assert_eq!(decide(false, &early), Next::Again(Duration::ZERO));
        let full = answered(422, None, r#"{"message":"branches limit exceeded, not ready to pay"}"#);
        assert_eq!(decide(false, &full), Next::Stop);
    }

    #[test]
    fn both_forms_of_retry_after_are_minima() {
        let wait = |text: &str| decide(false, &answered(429, Some(text), ""));
        assert_eq!(wait("7"), Next::Again(Duration::from_secs(7)));
        assert_eq!(wait("Thu, 01 Jan 1970 00:00:09 GMT"), Next::Again(Duration::from_secs(9)));
        assert_eq!(wait("soon"), Next::Again(Duration::ZERO));
        assert!(pause(0, 0.0, Duration::from_secs(7)) >= Duration::from_secs(7));
    }

    proptest! {
        #[test]
        fn pauses_grow_and_stay_within_bounds(attempt in 0_u32..100, roll in 0.0_f64..=1.0) {
            let pause = pause(attempt, roll, Duration::ZERO);
            prop_assert!(pause <= LONGEST);
            prop_assert!(pause <= FIRST * 2_u32.saturating_pow(attempt.min(10)));
        }
    }
}
