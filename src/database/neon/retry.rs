//! Decides how to continue after each answer, or after none. Pure: outcome, attempt, time and random number in,
//! decision out. The loop, and the time limit of all attempts, are in `api`.
//!
//! A request is certainly not executed if it was refused (also with 423, 429 or 503, which are repeated) or never sent.
//! After an unclear outcome of a change, the caller checks whether it was executed before it sends the change again.

use std::time::{Duration, SystemTime};

/// The upper limit of the first pause.
const FIRST: Duration = Duration::from_millis(300);
/// The upper limit of every pause, unless the service asks for a longer one.
const LONGEST: Duration = Duration::from_secs(5);

/// The outcome of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// A complete answer.
    Answered(ApiAnswer),
    /// The request certainly did not reach the service.
    NotSent(String),
    /// Not sent, and repeating cannot help: the server could not prove that it is the service, or the proxy refuses.
    Untrusted(String),
    /// The request was sent, but it is unknown whether it was executed.
    Lost(String),
}

/// Returns the outcome of a connection to `place` that failed. A certificate that is not accepted will not be accepted later:
/// rustls reports `InvalidData` for it, and for an answer that is not TLS.
pub(super) fn not_connected(place: &str, error: &std::io::Error) -> RequestOutcome {
    let told = format!("cannot connect to {place}: {error}");
    if error.kind() == std::io::ErrorKind::InvalidData {
        RequestOutcome::Untrusted(told)
    } else {
        RequestOutcome::NotSent(told)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiAnswer {
    pub(super) status: u16,
    /// The `Retry-After` header as received: seconds or a date.
    pub(super) retry_after: Option<String>,
    pub(super) request_id: Option<String>,
    pub(super) body: Vec<u8>,
}

/// How to continue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The request has succeeded.
    Done,
    /// Send the request again, after at least this time.
    Again(Duration),
    /// The change may have been executed: check before anything else.
    Look,
    /// A repetition would have the same result.
    Stop,
}

/// Decides how to continue. `reads` is true for requests that change nothing. `young` is true if the object was just
/// created and may not be known to every server of Neon yet.
pub(super) fn next(reads: bool, young: bool, outcome: &RequestOutcome, now: SystemTime) -> Next {
    let unsure = if reads { Next::Again(Duration::ZERO) } else { Next::Look };
    match outcome {
        RequestOutcome::NotSent(_) => Next::Again(Duration::ZERO),
        RequestOutcome::Untrusted(_) => Next::Stop,
        RequestOutcome::Lost(_) => unsure,
        RequestOutcome::Answered(answer) => match answer.status {
            200..=299 => Next::Done,
            423 | 429 | 503 => Next::Again(least(answer.retry_after.as_deref(), now)),
            404 if young => Next::Again(Duration::ZERO),
            422 if is_not_ready(&answer.body) => Next::Again(Duration::ZERO),
            408 | 500..=599 => unsure,
            _ => Next::Stop,
        },
    }
}

/// Returns the pause after attempt number `attempt` (from 0), with full jitter: `roll` is a random number from 0 to 1.
/// The time that the service asks for is added as a minimum.
pub(super) fn pause(attempt: u32, roll: f64, least: Duration) -> Duration {
    let ceiling = FIRST.saturating_mul(2_u32.saturating_pow(attempt.min(16))).min(LONGEST);
    least + ceiling.mul_f64(roll.clamp(0.0, 1.0))
}

/// Returns the wait time of a `Retry-After` header: seconds or a date.
fn least(header: Option<&str>, now: SystemTime) -> Duration {
    let Some(text) = header.map(str::trim) else { return Duration::ZERO };
    if let Ok(seconds) = text.parse() {
        return Duration::from_secs(seconds);
    }
    let until = httpdate::parse_http_date(text).ok().and_then(|date| date.duration_since(now).ok());
    until.unwrap_or_default()
}

/// Returns true if Neon refuses a new branch because its parent is still being created. An error about a limit does not
/// count.
fn is_not_ready(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    !text.contains("limit") && (text.contains("not ready") || text.contains("not in ready state"))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use proptest::prelude::*;

    use super::*;

    fn answered(status: u16, retry_after: Option<&str>, body: &str) -> RequestOutcome {
        RequestOutcome::Answered(ApiAnswer {
            status,
            retry_after: retry_after.map(Into::into),
            request_id: None,
            body: body.into(),
        })
    }

    fn decide(reads: bool, outcome: &RequestOutcome) -> Next {
        next(reads, false, outcome, UNIX_EPOCH)
    }

    #[test]
    fn each_status_has_its_decision() {
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
        assert_eq!(decide(false, &RequestOutcome::NotSent(String::new())), AGAIN);
        assert_eq!(decide(true, &RequestOutcome::Untrusted(String::new())), Next::Stop);
        assert_eq!(decide(true, &RequestOutcome::Lost(String::new())), AGAIN);
        assert_eq!(decide(false, &RequestOutcome::Lost(String::new())), Next::Look);
    }

    #[test]
    fn an_object_created_a_moment_ago_may_be_missing_for_a_moment() {
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
