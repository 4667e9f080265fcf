//! `devrun init --facts`: prints everything that recognition found, with its sources, and the questions that it leaves
//! open.
//!
//! It helps a person or a coding agent to write a devrun.yaml where recognition cannot. It prints no values of env
//! files.

use std::fmt::Write;

use serde_json::{Value, json};

use super::essential;
use crate::cli::columns;
use crate::recognition::Recognition;
use crate::recognition::facts::{ApplicationKind, FileLine};
use crate::ui::style::harmless;

/// Returns the JSON: the parts, the migrations, the variables, the open questions and the essential facts.
pub(super) fn object(found: &Recognition) -> Value {
    let parts = found.parts.processes.iter().map(|part| {
        json!({
            "name": part.name,
            "kind": format!("{:?}", part.kind).to_lowercase(),
            "directory": part.directory,
            "run": part.run,
            "usual_ports": part.usual_ports,
            "services": part.services,
            "at": part.at.as_ref().map(shown),
        })
    });
    let variables = found.contract.bindings.iter().map(|binding| {
        json!({
            "name": binding.name,
            "process": binding.process,
            "value": binding.value,
            "at": shown(&binding.at),
            "read_at": binding.read_at.as_ref().map(shown),
        })
    });
    json!({
        "parts": parts.collect::<Vec<_>>(),
        "migrations": found.parts.migrations.as_ref().map(|migrations| json!({
            "run": migrations.run, "directory": migrations.directory, "at": migrations.at.as_ref().map(shown),
        })),
        "variables": variables.collect::<Vec<_>>(),
        "questions": questions(found).into_iter().map(|(at, text, lines, candidates)| {
            json!({ "at": at, "question": text, "lines": lines, "candidates": candidates })
        }).collect::<Vec<_>>(),
        "facts": essential::object(&found.facts),
    })
}

/// Returns the text: a line for each essential fact, with its place, and the questions with the lines that answer them.
pub(super) fn text(found: &Recognition) -> String {
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut row = |kind: &str, text: String, at: Option<String>| {
        let at = at.map(|at| format!("  # {at}")).unwrap_or_default();
        rows.push((kind.into(), harmless(&format!("{text}{at}"))));
    };
    for part in &found.parts.processes {
        row("part", format!("{}: {}", part.name, part.run), part.at.as_ref().map(shown));
    }
    for module in &found.facts.modules {
        for application in module.applications.iter().filter(|one| one.kind != ApplicationKind::Router) {
            let at = FileLine { file: module.file.clone(), line: application.line };
            row("object", format!("{} ({:?})", application.name, application.kind), Some(shown(&at)));
        }
    }
    let essential = essential::object(&found.facts);
    let entries = |kind: &str| essential[kind].as_array().cloned().unwrap_or_default();
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_string();
    let at = |entry: &Value| entry["at"].as_str().map(Into::into);
    for command in entries("commands") {
        row("command", word(&command, "text"), at(&command));
    }
    for service in entries("services") {
        let ports = service["ports"].as_array().map(|ports| format!(" {}", json!(ports))).unwrap_or_default();
        let what = [word(&service, "image"), word(&service, "command")].join(" ");
        row("service", format!("{}: {}{ports}", word(&service, "name"), what.trim()), at(&service));
    }
    for binding in &found.contract.bindings {
        row("variable", format!("{}: {}", binding.name, binding.value), Some(shown(&binding.at)));
    }
    for read in entries("reads") {
        let required = if read["required"] == true { " (required)" } else { "" };
        let default = read["default"].as_str().map(|default| format!(" = {default}")).unwrap_or_default();
        row("reads", format!("{}{required}{default}", word(&read, "name")), at(&read));
    }
    if let Some(left) = essential["left_out"].as_object().filter(|left| !left.is_empty()) {
        let left: Vec<String> = left.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        row("not shown", left.join(", "), None);
    }
    let mut out = columns(&rows);
    for (at, text, lines, candidates) in questions(found) {
        let _ = write!(out, "\nquestion: {}  # {at}\n", harmless(&text));
        for line in lines.iter().flat_map(|lines| lines.lines()) {
            let _ = writeln!(out, "    {}", harmless(line));
        }
        for candidate in candidates {
            let _ = writeln!(out, "  candidate: {}", harmless(&candidate));
        }
    }
    out
}

type Question = (String, String, Option<String>, Vec<String>);

/// Returns the parts and variables that recognition could not decide: the place, the question, lines that answer it,
/// and candidates.
fn questions(found: &Recognition) -> Vec<Question> {
    let parts =
        found.parts.left_out.iter().map(|left| {
            (shown(&left.at), left.why.clone(), Some(left.lines.clone()), left.candidates.clone())
        });
    let remarks = found
        .contract
        .remarks
        .iter()
        .map(|remark| (shown(&remark.at), remark.text.clone(), remark.fix.clone(), Vec::new()));
    parts.chain(remarks).collect()
}

fn shown(at: &FileLine) -> String {
    format!("{}:{}", at.file.display(), at.line)
}
