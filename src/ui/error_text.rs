//! Formats errors: what happened, why, which process holds a needed resource, what to do.

use std::fmt::Write;

use serde_json::{Value, json};

use super::compact;
use super::style::{Style, harmless};
use crate::error::{ErrorBody, Fault, Report};

/// Returns several lines for the terminal.
pub fn text(report: &Report, style: Style) -> String {
    let report = &compact::once(report);
    let mut out = format!(
        "{} {} {}\n",
        style.bad("error:"),
        harmless(&report.message),
        style.dim(&format!("[{}]", report.code.name()))
    );
    if let Some(place) = &report.correct {
        part(&mut out, &style.good("correct"), place);
    }
    if let Some(fault) = report.fault.filter(|fault| *fault != Fault::Devrun) {
        part(&mut out, &style.dim("fault"), fault.words());
    }
    if let Some(cause) = &report.cause {
        part(&mut out, &style.dim("why"), cause);
    }
    if let Some(holder) = &report.holder {
        part(&mut out, &style.dim("held by"), &holder.to_string());
    }
    if let Some(fix) = report.next_step() {
        part(&mut out, &style.good("fix"), &fix);
    }
    out
}

fn part(out: &mut String, title: &str, body: &str) {
    let mut lines = body.lines();
    let first = lines.next().unwrap_or_default();
    let _ = writeln!(out, "  {title}: {}", harmless(first));
    for line in lines {
        let _ = writeln!(out, "    {}", harmless(line));
    }
}

/// Returns the JSON object `{"error": {…}}` with the fields of [`ErrorBody`], except `ask_why`. Absent fields are left out.
pub fn json(report: &Report) -> Value {
    // The reader gets the fix in any case.
    json!({ "error": ErrorBody { ask_why: false, ..ErrorBody::from(report) } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Holder, RERUN};

    #[test]
    fn the_place_to_correct_comes_first_and_every_reader_gets_the_same_fix() {
        let report = Report::new(Code::MigrationFailed, "it failed")
            .with_fix(format!("correct the migration, then {RERUN}"))
            .with_correct("/w/0004.py:10");
        let said = text(&report, Style::PLAIN);
        assert!(said.contains("then run `devrun up -d`"), "{said}");
        assert_eq!(said.lines().nth(1), Some("  correct: /w/0004.py:10"));
        assert_eq!(text(&report, Style { terminal: true, ..Style::PLAIN }), said);
        assert_eq!(json(&report)["error"]["fix"], "correct the migration, then run `devrun up -d`");
    }

    #[test]
    fn an_error_about_a_process_without_a_fix_asks_why() {
        let report = Report::new(Code::ProcessEnded, "api ended").about("api");
        assert!(text(&report, Style::PLAIN).ends_with("  fix: devrun why api\n"));
        let error = &json(&report)["error"];
        assert_eq!((&error["fix"], &error["ask_why"]), (&"devrun why api".into(), &Value::Null));
    }

    fn sample() -> Report {
        Report::new(Code::PortBusy, "port 3147 is busy")
            .with_cause("two\nlines")
            .with_holder(Holder { pid: Some(7), command: Some("node x".into()), ..Holder::default() })
            .with_fix("stop it")
    }

    #[test]
    fn the_text_has_message_cause_holder_and_fix() {
        insta::assert_snapshot!(text(&sample(), Style::PLAIN), @r"
        error: port 3147 is busy [port-busy]
          fault: the environment, not the code
          why: two
            lines
          held by: node x (pid 7)
          fix: stop it
        ");
    }

    #[test]
    fn the_json_has_the_same_facts() {
        insta::assert_snapshot!(json(&sample()), @r#"{"error":{"code":"port-busy","message":"port 3147 is busy","fault":"environment","cause":"two\nlines","holder":{"pid":7,"command":"node x"},"fix":"stop it","exit":82}}"#);
    }
}
