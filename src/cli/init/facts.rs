//! `devrun init --facts`: everything that recognition found, with its sources, and the questions that it leaves open.
//!
//! For a person or a coding agent that writes the devrun.yaml which recognition cannot. Values of env files stay hidden.

use serde_json::{Value, json};

use crate::cli::columns;
use crate::recognition::Found;
use crate::recognition::facts::{ApplicationKind, Spot};
use crate::ui::style::harmless;

/// As JSON: the facts, the parts, the variables and the open questions.
pub(super) fn object(found: &Found) -> Value {
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
        "facts": found.facts,
    })
}

/// For people: a line for each fact, with its place.
pub(super) fn text(found: &Found) -> String {
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
            let at = Spot { file: module.file.clone(), line: application.line };
            row("object", format!("{} ({:?})", application.name, application.kind), Some(shown(&at)));
        }
    }
    for command in &found.facts.commands {
        row("command", command.text.clone(), Some(shown(&command.at)));
    }
    for service in &found.facts.services {
        let image = service.image.as_deref().unwrap_or("built here");
        row(
            "service",
            format!("{}: {image} {:?}", service.name, service.ports),
            service.at.as_ref().map(shown),
        );
    }
    for binding in &found.contract.bindings {
        row("variable", format!("{}: {}", binding.name, binding.value), Some(shown(&binding.at)));
    }
    for read in &found.facts.reads {
        let required = if read.required { " (required)" } else { "" };
        row("reads", format!("{}{required}", read.name), Some(shown(&read.at)));
    }
    for (at, text, _, _) in questions(found) {
        row("question", text, Some(at));
    }
    columns(&rows)
}

type Question = (String, String, Option<String>, Vec<String>);

/// Parts and variables that recognition could not decide: the place, the question, lines that answer it, candidates.
fn questions(found: &Found) -> Vec<Question> {
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

fn shown(at: &Spot) -> String {
    format!("{}:{}", at.file.display(), at.line)
}
