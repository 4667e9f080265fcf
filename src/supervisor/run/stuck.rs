//! Notices a process that is not ready, does not become ready by itself, and has written nothing, or the same error, for a while. A
//! server with a reloader stays alive after an error until its code is edited, or answers each request with that error; a server on a
//! wrong port waits for requests there.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Broken, Event, Events, ProcessState};

/// How long a process must have written nothing.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a process must have written the same error again and again, as a server does that answers each request with it.
const REPEATING: Duration = Duration::from_secs(10);
/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Checks the process `name`, and sends an event when it is stuck or writes again. `written` returns the number of bytes
/// written by now; `broken` returns why it does not become ready if it is silent, `repeated` if it goes on writing. Never returns.
pub(super) async fn watch(
    name: &str,
    written: impl Fn() -> u64,
    broken: &impl Fn() -> Option<Broken>,
    repeated: &impl Fn() -> Option<Broken>,
    events: &Events,
) -> Infallible {
    let mut silence = QuietProcess::new(written(), Instant::now());
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        if let Some(event) = silence.check(name, written(), broken, repeated, Instant::now()) {
            events.send(event);
        }
    }
}

struct QuietProcess {
    written: u64,
    since: Instant,
    /// The error that the process goes on writing, and when this error was first found.
    repeats: Option<(Broken, Instant)>,
    told: bool,
}

impl QuietProcess {
    fn new(written: u64, now: Instant) -> QuietProcess {
        QuietProcess { written, since: now, repeats: None, told: false }
    }

    /// Returns the event to send, if any. `written` is the number of bytes written by now; `broken` and `repeated` return why the
    /// process does not become ready.
    fn check(
        &mut self,
        name: &str,
        written: u64,
        broken: impl FnOnce() -> Option<Broken>,
        repeated: impl FnOnce() -> Option<Broken>,
        now: Instant,
    ) -> Option<Event> {
        if written != self.written {
            self.written = written;
            self.since = now;
        }
        let found = if now.saturating_duration_since(self.since) >= SILENCE {
            broken()
        } else {
            self.repeated(repeated(), now)
        };
        let is_told = std::mem::replace(&mut self.told, found.is_some());
        let state = ProcessState::Stuck { broken: found };
        (is_told != self.told).then(|| Event::Process { name: name.into(), state })
    }

    /// Returns `current` if it has been the same for [`REPEATING`].
    fn repeated(&mut self, current: Option<Broken>, now: Instant) -> Option<Broken> {
        match &self.repeats {
            Some((known, since)) if current.as_ref() == Some(known) => {
                current.filter(|_| now.saturating_duration_since(*since) >= REPEATING)
            }
            _ => {
                self.repeats = current.map(|current| (current, now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::error::Fault;

    fn code_error() -> Broken {
        let (fault, correct) = (Fault::Code, Some("app.py:3".into()));
        Broken {
            reason: "no answer since its error: E: x".into(),
            fault,
            correct,
            fix: "correct app.py:3".into(),
        }
    }

    #[test]
    fn silence_after_an_error_is_reported_once_and_withdrawn() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = QuietProcess::new(10, start);
        let error = code_error;
        let mut look = |written, broken: bool, seconds| {
            let event = silence.check("api", written, || broken.then(error), || None, at(seconds));
            event.map(|event| match event {
                Event::Process { state: ProcessState::Stuck { broken }, .. } => {
                    broken.map(|broken| broken.reason)
                }
                other => Some(format!("{other:?}")),
            })
        };
        assert_eq!(look(10, true, 4), None);
        assert_eq!(look(20, true, 6), None);
        assert_eq!(look(20, false, 12), None);
        assert_eq!(look(20, true, 12), Some(Some("no answer since its error: E: x".into())));
        assert_eq!(look(20, true, 30), None);
        assert_eq!(look(21, true, 31), Some(None));
        assert_eq!(look(21, true, 35), None);
        assert_eq!(look(21, true, 36), Some(Some("no answer since its error: E: x".into())));
        assert_eq!(look(21, false, 40), Some(None), "the reason is gone");
    }

    #[test]
    fn error_that_is_written_again_and_again_is_reported_after_ten_seconds() {
        let start = Instant::now();
        let mut process = QuietProcess::new(0, start);
        let mut look = |error: Option<&str>, seconds| {
            let broken = error.map(|reason| Broken { reason: reason.into(), ..code_error() });
            let now = start + Duration::from_secs(seconds);
            // It writes between any two checks.
            let event = process.check("web", seconds + 1, || None, || broken, now);
            event.map(|event| {
                matches!(event, Event::Process { state: ProcessState::Stuck { broken: Some(_) }, .. })
            })
        };
        assert_eq!(look(Some("a"), 0), None);
        assert_eq!(look(Some("a"), 9), None);
        assert_eq!(look(Some("b"), 10), None);
        assert_eq!(look(Some("b"), 19), None);
        assert_eq!(look(Some("b"), 20), Some(true));
        assert_eq!(look(Some("b"), 24), None);
        assert_eq!(look(None, 25), Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_process_with_an_error_is_reported_after_five_seconds() {
        let start = Instant::now();
        let told = Arc::new(Mutex::new(Vec::new()));
        let events = {
            let told = told.clone();
            Events::new(move |event| {
                let Event::Process { state: ProcessState::Stuck { broken }, .. } = event else { panic!() };
                told.lock().unwrap().push((start.elapsed(), broken.is_some()));
            })
        };
        // It writes an error after two seconds, and again after ten.
        let written =
            || u64::from(start.elapsed().as_secs() >= 2) + u64::from(start.elapsed().as_secs() >= 10);
        let broken = || Some(code_error());
        let watching = watch("api", written, &broken, &|| None, &events);
        assert!(tokio::time::timeout(Duration::from_secs(14), watching).await.is_err());
        let seconds = Duration::from_secs;
        assert_eq!(*told.lock().unwrap(), [(seconds(7), true), (seconds(10), false)]);
    }
}
