//! Shortens texts: a place in the code is named once, and paths are relative to the current folder for coding agents, which pay for each
//! byte. Pure.

use crate::error::Report;
use crate::text::correction_of;

/// Returns `text` with the paths below `folder` relative to it.
pub fn relative(text: &str, folder: &str) -> String {
    if folder.len() < 2 {
        return text.into();
    }
    let prefix = format!("{folder}/");
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(&prefix) {
        let (before, found) = rest.split_at(at);
        short.push_str(before);
        // Otherwise it is the middle of another path, or a URL.
        let begins = !short.ends_with(|c: char| c.is_alphanumeric() || "/._-~".contains(c));
        let after = &found[prefix.len()..];
        let goes_on = after.starts_with(|c: char| c.is_alphanumeric() || "._-@[(".contains(c));
        if !begins || !goes_on {
            short.push_str(&prefix);
        }
        rest = after;
    }
    short + rest
}

/// Returns `text` without the `place` in brackets behind a message, because the line `correct:` names it.
pub fn without_place(text: &str, place: Option<&str>) -> String {
    place.map_or_else(|| text.into(), |place| text.replace(&format!(" ({place})"), ""))
}

/// Returns `fix` without the `place` to correct, because the line `correct:` names it.
pub fn with_pronoun(fix: &str, place: Option<&str>) -> String {
    match place.and_then(|place| fix.strip_prefix(&correction_of(place))) {
        Some(rest) => format!("correct that line{rest}"),
        None => fix.into(),
    }
}

/// Returns `report` with its place in the code named once.
pub fn once(report: &Report) -> Report {
    let place = report.correct.as_deref();
    Report {
        message: without_place(&report.message, place),
        cause: report.cause.as_ref().map(|cause| without_place(cause, place)),
        fix: report.fix.as_ref().map(|fix| with_pronoun(fix, place)),
        ..report.clone()
    }
}

/// Returns `report` for a reader whose current folder is `folder`.
pub fn report(report: &Report, folder: &str) -> Report {
    let relative = |text: &String| relative(text, folder);
    Report {
        message: relative(&report.message),
        cause: report.cause.as_ref().map(relative),
        fix: report.fix.as_ref().map(relative),
        correct: report.correct.as_ref().map(relative),
        ..report.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Fault};

    #[test]
    fn only_whole_paths_below_the_folder_become_relative() {
        for (text, short) in [
            ("/w/a/main.py:3", "main.py:3"),
            ("`cd /w/a/api && alembic merge`, see /w/a/x", "`cd api && alembic merge`, see x"),
            ("(/w/a/x.py:2) \"/w/a/y.py\"", "(x.py:2) \"y.py\""),
            ("cd /w/a && make", "cd /w/a && make"),
            ("/v/w/a/x file:///w/a/x /w/a/ /w/ab/x", "/v/w/a/x file:///w/a/x /w/a/ /w/ab/x"),
        ] {
            assert_eq!(relative(text, "/w/a"), short);
        }
        assert_eq!(relative("/etc/hosts", "/"), "/etc/hosts");
    }

    #[test]
    fn an_error_names_its_place_once() {
        let long = Report::new(Code::NotReady, "api is not ready")
            .with_fault(Fault::Code)
            .with_cause("no answer since its error: KeyError: 'x' (/w/a/app.py:3)\nthe stack goes on")
            .with_correct("/w/a/app.py:3")
            .with_fix("correct /w/a/app.py:3, then `devrun restart api`");
        let short = report(&once(&long), "/w/a");
        assert_eq!(short.correct.as_deref(), Some("app.py:3"));
        assert_eq!(
            short.cause.as_deref(),
            Some("no answer since its error: KeyError: 'x'\nthe stack goes on")
        );
        assert_eq!(short.fix.as_deref(), Some("correct that line, then `devrun restart api`"));
    }
}
