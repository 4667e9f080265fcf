//! Notices a process that is not ready, has told an error of its code, and has been silent since: servers that reload stay alive
//! like that, and nothing will change until somebody edits.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use crate::event::{Event, Events, ProcessState};

use super::lines::Tails;

/// How long a process must have been silent.
const SILENCE: Duration = Duration::from_secs(5);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(500);

/// Looks at process `index`, called `name`, for as long as it is polled, and tells what it sees.
pub(super) async fn watch(tails: &Tails, index: usize, name: &str, events: &Events) -> Infallible {
    let mut silence = Silence::new(tails.written(index), Instant::now());
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(event) = silence.look(name, tails.written(index), || tails.broken(index), Instant::now())
        {
            events.send(event);
        }
    }
}

struct Silence {
    written: u64,
    since: Instant,
    told: bool,
}

impl Silence {
    fn new(written: u64, now: Instant) -> Silence {
        Silence { written, since: now, told: false }
    }

    /// What is to be told when `written` bytes have been written by now, the last of them `broken`.
    fn look(
        &mut self,
        name: &str,
        written: u64,
        broken: impl FnOnce() -> Option<String>,
        now: Instant,
    ) -> Option<Event> {
        let tell = |said| Event::Process { name: name.into(), state: ProcessState::Stuck { said } };
        if written != self.written {
            let told = self.told;
            *self = Silence::new(written, now);
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
    use super::*;

    #[test]
    fn only_silence_after_an_error_is_told_once_and_taken_back() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silence = Silence::new(10, start);
        let mut look = |written, broken: bool, seconds| {
            let event = silence.look("api", written, || broken.then(|| "E: x".into()), at(seconds));
            event.map(|event| match event {
                Event::Process { state: ProcessState::Stuck { said }, .. } => said,
                other => Some(format!("{other:?}")),
            })
        };
        assert_eq!(look(10, true, 4), None);
        assert_eq!(look(20, true, 6), None);
        assert_eq!(look(20, false, 12), None);
        assert_eq!(look(20, true, 12), Some(Some("E: x".into())));
        assert_eq!(look(20, true, 30), None);
        assert_eq!(look(21, true, 31), Some(None));
        assert_eq!(look(21, true, 35), None);
        assert_eq!(look(21, true, 36), Some(Some("E: x".into())));
    }
}
