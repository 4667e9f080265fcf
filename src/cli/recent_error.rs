//! Finds an error that a ready process has logged, for `devrun why` and `devrun status`: a server goes on after an error in one
//! request, and a probe that asks another page does not notice it.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::context::code_place;
use crate::control::status::{ProcessStatus, Word};
use crate::error::Fault;
use crate::logs::{self, Timestamp, query};
use crate::os::proc;
use crate::text::failed_requests::{self, FailedRequest};
use crate::text::logged_error::{self, LoggedError};
use crate::text::{diagnosis, duration, reload};

/// How many of the last lines of a process are searched.
const LINES: usize = 500;
/// The age above which an error is not reported.
const OLDEST: Duration = Duration::from_hours(1);
/// The most lines between the answer to a request and the error behind it, if the answer is logged first.
const ACCESS: usize = 3;

/// An error of the project's code, or a request with an error as its answer, that a process logged after it had become ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RecentError {
    /// The name of the process.
    pub(super) process: String,
    /// The last line of the error, or the answer.
    pub(super) said: String,
    /// The request that was answered with an error, if no error of the code was logged with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request: Option<String>,
    /// When it was logged, in RFC 3339.
    pub(super) time: String,
    /// The seconds since then.
    pub(super) age_seconds: u64,
    /// `file:line` of the code that raised it, unless the environment or the configuration is at fault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) correct: Option<String>,
    /// True if `correct` is the endpoint whose answer was refused.
    #[serde(skip)]
    pub(super) is_of_answer: bool,
}

impl RecentError {
    /// Returns the process and the age of the error in words.
    pub(super) fn remark(&self) -> String {
        let (process, age) = (&self.process, duration::rounded(self.age_seconds));
        match &self.request {
            Some(request) => format!("{process} answered {request} with an error {age} ago"),
            None => format!("{process} logged an error {age} ago"),
        }
    }
}

/// Returns the newest error that one of `processes` has logged, unless its request was answered well or the file that raised it was
/// changed since. `state` is the folder of the worktree `root` with the logs; `text` makes a line readable and removes secrets.
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
    let texts: Vec<&str> = texts[begin..].iter().map(String::as_str).collect();
    let requests = failed_requests::all(&texts);
    let directory = process.pid.and_then(proc::directory_of);
    let newest = logged_error::newest(&texts, root);
    // The requests of an error that was corrected are over too, although no program has sent them again.
    let unexplained = unexplained(&requests, newest.as_ref());
    let of_code = newest.and_then(|error| {
        let line = &lines[begin + error.line];
        let place = code_place::whole(&error.place, directory.as_deref().unwrap_or(root), root);
        let age = line.time.age(now);
        let is_over =
            is_answered(&error, &requests) || is_changed(&place, root, now - age, directory.is_some());
        (!is_over).then_some((error, place))
    });
    let report = |at: usize, said: String| {
        let time = lines[begin + at].time;
        let age_seconds = time.age(now).as_secs();
        let process = process.name.clone();
        RecentError {
            process,
            said,
            request: None,
            time: time.to_string(),
            age_seconds,
            correct: None,
            is_of_answer: false,
        }
    };
    match (of_code, unexplained) {
        (of_code, Some((at, request))) if of_code.as_ref().is_none_or(|(error, _)| error.line < at) => {
            let said = format!("{} answered {}", request.request, request.status);
            Some(RecentError { request: Some(request.request.clone()), ..report(at, said) })
        }
        (Some((error, place)), _) => {
            let diagnosis = diagnosis::read(std::iter::once(error.said.as_str()), root);
            let is_of_code = diagnosis.is_none_or(|diagnosis| diagnosis.fault == Fault::Code);
            let correct = Some(place).filter(|_| is_of_code);
            let is_of_answer = error.is_of_answer;
            Some(RecentError { correct, is_of_answer, ..report(error.line, error.said.trim().into()) })
        }
        (None, _) => None,
    }
}

/// Returns true if the lines with `request` belong to `error`: one of them is after it or just before it.
fn belongs(request: &FailedRequest, error: &LoggedError) -> bool {
    request.lines.iter().any(|line| line + ACCESS >= error.first)
}

/// Returns true if `error` has requests, and all of them were answered without an error since.
fn is_answered(error: &LoggedError, requests: &[FailedRequest]) -> bool {
    let mut own = requests.iter().filter(|request| belongs(request, error)).peekable();
    own.peek().is_some() && own.all(|request| request.is_over)
}

/// Returns the newest request that is still answered with an error, with its line, except those of `error`.
fn unexplained<'a>(
    requests: &'a [FailedRequest],
    error: Option<&LoggedError>,
) -> Option<(usize, &'a FailedRequest)> {
    let open = requests.iter().filter(|request| !request.is_over);
    let others = open.filter(|request| !error.is_some_and(|error| belongs(request, error)));
    others.filter_map(|request| Some((*request.lines.last()?, request))).max_by_key(|(line, _)| *line)
}

/// Returns true if the file of `place` was changed after `time`, or removed if `is_located`: the error may have been corrected.
fn is_changed(place: &str, root: &Path, time: SystemTime, is_located: bool) -> bool {
    let file = place.rsplit_once(':').map_or(place, |(file, _)| file);
    match std::fs::metadata(root.join(file)).and_then(|meta| meta.modified()) {
        Ok(modified) => modified > time,
        Err(error) => is_located && error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: [&str; 4] = [
        " \u{2a2f} TypeError: no rows",
        "    at Page (app/a/page.tsx:3:1)",
        " GET /a 500 in 9ms",
        " GET /b 200 in 3ms",
    ];

    fn read(lines: &[&str]) -> (LoggedError, Vec<FailedRequest>) {
        (logged_error::newest(lines, Path::new("/w")).unwrap(), failed_requests::all(lines))
    }

    #[test]
    fn an_error_is_over_when_its_request_is_answered() {
        let (error, requests) = read(&PAGE);
        assert!(!is_answered(&error, &requests) && unexplained(&requests, Some(&error)).is_none());
        let (error, requests) = read(&[&PAGE[..], &[" GET /a 404 in 2ms"]].concat());
        assert!(is_answered(&error, &requests));
        let (error, requests) = read(&PAGE[..2]);
        assert!(!is_answered(&error, &requests), "no request shows that it is over");
    }

    #[test]
    fn a_request_that_failed_before_an_error_is_not_its_own() {
        let lines = [&[" GET /c 500 in 1ms", "", "", ""][..], &PAGE[..]].concat();
        let (error, requests) = read(&lines);
        let other = unexplained(&requests, Some(&error)).unwrap();
        assert_eq!((other.0, other.1.request.as_str()), (0, "GET /c"));
        let near = [&["\"GET /a HTTP/1.1\" 500", "ERROR:    Exception in ASGI application"][..], &PAGE[..2]]
            .concat();
        let (error, requests) = read(&near);
        assert!(unexplained(&requests, Some(&error)).is_none(), "uvicorn logs the answer first");
    }

    #[test]
    fn an_error_in_a_file_that_was_edited_or_removed_is_over() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("page.tsx");
        crate::os::fs::replace(&file, b"", 0o600).unwrap();
        let modified = std::fs::metadata(&file).unwrap().modified().unwrap();
        let second = Duration::from_secs(1);
        assert!(is_changed("page.tsx:3", root.path(), modified - second, true));
        assert!(!is_changed("page.tsx:3", root.path(), modified + second, true));
        std::fs::remove_file(&file).unwrap();
        assert!(is_changed("page.tsx:3", root.path(), modified + second, true));
        assert!(!is_changed("page.tsx:3", root.path(), modified + second, false), "it may be elsewhere");
    }
}
