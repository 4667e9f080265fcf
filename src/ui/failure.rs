//! Errors, in one style: what happened, why, who holds it, what to do.

use std::fmt::Write;

use serde_json::{Value, json};

use super::style::{Style, harmless};
use crate::error::{ErrorBody, Fault, Report};

/// Several lines for people.
pub fn text(report: &Report, style: Style) -> String {
    let mut out = format!(
        "{} {} {}\n",
        style.bad("error:"),
        harmless(&report.message),
        style.dim(&format!("[{}]", report.code.name()))
    );
    if let Some(fault) = report.fault.filter(|fault| *fault != Fault::Devrun) {
        part(&mut out, &style.dim("fault"), fault.words());
    }
    if let Some(cause) = &report.cause {
        part(&mut out, &style.dim("why"), cause);
    }
    if let Some(holder) = &report.holder {
        part(&mut out, &style.dim("held by"), &holder.to_string());
    }
    if let Some(fix) = &report.fix {
        part(&mut out, &style.good("fix"), fix);
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

/// The object agents read: `{"error": {code, message, cause, holder, fix, exit}}`, absent fields left out.
pub fn json(report: &Report) -> Value {
    json!({ "error": ErrorBody::from(report) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Code, Holder};

    fn sample() -> Report {
        Report::new(Code::PortBusy, "port 3147 is busy")
            .with_cause("two\nlines")
            .with_holder(Holder { pid: Some(7), command: Some("node x".into()), worktree: None })
            .with_fix("stop it")
    }

    #[test]
    fn people_read_what_why_who_and_what_to_do() {
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
    fn agents_read_the_same_as_json() {
        insta::assert_snapshot!(json(&sample()), @r#"{"error":{"code":"port-busy","message":"port 3147 is busy","fault":"environment","cause":"two\nlines","holder":{"pid":7,"command":"node x"},"fix":"stop it","exit":82}}"#);
    }
}
