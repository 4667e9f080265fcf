//! Notices a process that is not ready, has written an error in its code, and has written nothing since. A server
//! with a reloader stays alive in this state until its code is edited.

use std::convert::Infallible;
use std::time::Duration;

use tokio::time::Instant;

use crate::event::{Broken, Event, Events, ProcessState};

/// How long a process must have written nothing.
const SILENCE: Duration = Duration::from_secs(5);
/// The interval between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// Checks the process `name`, and sends an event when it is stuck or writes again. `written` returns the number of bytes
/// written by now; `broken` returns the last error. Never returns.
pub(super) async fn watch(
    name: &str,
    written: impl Fn() -> u64,
    broken: impl Fn() -> Option<Broken>,
    events: &Events,
) -> Infallible {
    let mut silence = QuietProcess::new(written(), Instant::now());
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        if let Some(event) = silence.check(name, written(), &broken, Instant::now()) {
            events.send(event);
        }
    }
}

struct QuietProcess {
    written: u64,
    since: Instant,
    told: bool,
}

impl QuietProcess {
    fn new(written: u64, now: Instant) -> QuietProcess {
        QuietProcess { written, since: now, told: false }
    }

    /// Returns the event to send, if any. `written` is the number of bytes written by now; `broken` returns the last
    /// error.
    fn check(
        &mut self,
        name: &str,
        written: u64,
        broken: impl FnOnce() -> Option<Broken>,
        now: Instant,
    ) -> Option<Event> {
        let tell = |said| Event::Process { name: name.into(), state: ProcessState::Stuck { said } };
        if written != self.written {
            let told = self.told;
            *self = QuietProcess::new(written, now);
            return told.then(|| tell(None));
        }
        if self.told || now.saturating_duration_since(self.since) < SILENCE {
            return None;
        }
        let said = broken()?;
        self.told = true;
        Some(tell(Some(said)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn silence_after_an_error_is_reported_once_and_withdrawn() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = QuietProcess::new(10, start);
        let error = || Broken { said: "E: x".into(), place: "app.py:3".into() };
        let mut look = |written, broken: bool, seconds| {
            let event = silence.check("api", written, || broken.then(error), at(seconds));
            event.map(|event| match event {
                Event::Process { state: ProcessState::Stuck { said }, .. } => {
                    said.map(|said| said.to_string())
                }
                other => Some(format!("{other:?}")),
            })
        };
        assert_eq!(look(10, true, 4), None);
        assert_eq!(look(20, true, 6), None);
        assert_eq!(look(20, false, 12), None);
        assert_eq!(look(20, true, 12), Some(Some("E: x (app.py:3)".into())));
        assert_eq!(look(20, true, 30), None);
        assert_eq!(look(21, true, 31), Some(None));
        assert_eq!(look(21, true, 35), None);
        assert_eq!(look(21, true, 36), Some(Some("E: x (app.py:3)".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_process_with_an_error_is_reported_after_five_seconds() {
        let start = Instant::now();
        let told = Arc::new(Mutex::new(Vec::new()));
        let events = {
            let told = told.clone();
            Events::new(move |event| {
                let Event::Process { state: ProcessState::Stuck { said }, .. } = event else { panic!() };
                told.lock().unwrap().push((start.elapsed(), said.is_some()));
            })
        };
        // It writes an error after two seconds, and again after ten.
        let written =
            || u64::from(start.elapsed().as_secs() >= 2) + u64::from(start.elapsed().as_secs() >= 10);
        let broken = || Some(Broken { said: "E: x".into(), place: "app.py:3".into() });
        let watching = watch("api", written, broken, &events);
        assert!(tokio::time::timeout(Duration::from_secs(14), watching).await.is_err());
        let seconds = Duration::from_secs;
        assert_eq!(*told.lock().unwrap(), [(seconds(7), true), (seconds(10), false)]);
    }
}
