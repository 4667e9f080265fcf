//! Finds an error that a ready process has logged, for `devrun why` and `devrun status`: a server goes on after an error in one
//! request, and a probe that asks another page does not notice it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::control::status::{ProcessStatus, Word};
use crate::error::Fault;
use crate::logs::{self, Timestamp, query};
use crate::os::proc;
use crate::text::{diagnosis, duration, logged_error, reload};

/// How many of the last lines of a process are searched.
const LINES: usize = 500;
/// An older error is not reported.
const OLDEST: Duration = Duration::from_hours(1);

/// An error of the project's code that a process logged after it had become ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RecentError {
    /// The process.
    pub(super) process: String,
    /// The last line of the error.
    pub(super) said: String,
    /// When it was logged, in RFC 3339.
    pub(super) time: String,
    /// The seconds since then.
    pub(super) age_seconds: u64,
    /// `file:line` of the code that raised it, unless the environment or the configuration is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correct: Option<String>,
}

impl RecentError {
    /// Returns the process and the age of the error in words.
    pub(super) fn remark(&self) -> String {
        format!("{} logged an error {} ago", self.process, duration::rounded(self.age_seconds))
    }
}

/// Returns the newest error that one of `processes` has logged, unless the file that raised it was changed since. `state` is the
/// folder of the worktree `root` with the logs; `text` makes a line readable and removes secrets.
pub(super) fn newest(
    processes: &[ProcessStatus],
    state: &Path,
    root: &Path,
    text: &dyn Fn(&[u8]) -> String,
) -> Option<RecentError> {
    let ready = processes.iter().filter(|process| process.ready && process.state == Word::Running);
    let errors = ready.filter_map(|process| of(process, state, root, text));
    errors.max_by(|one, two| one.time.cmp(&two.time))
}

fn of(
    process: &ProcessStatus,
    state: &Path,
    root: &Path,
    text: &dyn Fn(&[u8]) -> String,
) -> Option<RecentError> {
    let now = SystemTime::now();
    let since = Timestamp::at(process.first_ready?).max(Timestamp::ago(OLDEST));
    let lines = query::tail_since(&logs::folder(state), &process.name, since, LINES).ok()?;
    let texts: Vec<String> = lines.iter().map(|line| text(&line.text)).collect();
    let begin = texts.iter().rposition(|line| reload::is_reload(line)).map_or(0, |at| at + 1);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let error = logged_error::newest(&texts[begin..], root)?;
    let line = &lines[begin + error.line];
    let directory = process.pid.and_then(proc::directory_of).unwrap_or_else(|| root.into());
    let place = located(&error.place, root, &directory);
    let age = line.time.age(now);
    if is_changed(&place, root, now - age) {
        return None;
    }
    let diagnosis = diagnosis::read(std::iter::once(error.said.as_str()), root);
    let is_of_code = diagnosis.is_none_or(|diagnosis| diagnosis.fault == Fault::Code);
    Some(RecentError {
        process: process.name.clone(),
        said: error.said.trim().into(),
        time: line.time.to_string(),
        age_seconds: age.as_secs(),
        correct: Some(place).filter(|_| is_of_code),
    })
}

/// Returns `place` relative to `root`, if it is the place of a file relative to `directory`.
fn located(place: &str, root: &Path, directory: &Path) -> String {
    let Some((file, line)) = place.rsplit_once(':') else { return place.into() };
    let below = directory.join(file);
    match below.strip_prefix(root) {
        Ok(inner) if !Path::new(file).is_absolute() && below.is_file() => {
            format!("{}:{line}", inner.display())
        }
        _ => place.into(),
    }
}

/// Returns true if the file of `place` was changed after `time`: the error may have been corrected.
fn is_changed(place: &str, root: &Path, time: SystemTime) -> bool {
    let file = place.rsplit_once(':').map_or(place, |(file, _)| file);
    let modified = std::fs::metadata(root.join(file)).and_then(|meta| meta.modified());
    modified.is_ok_and(|modified| modified > time)
}
