//! Finds workers, and calls that start servers: arq, RQ, Dramatiq, `create_all`, `uvicorn.run`.

use std::path::PathBuf;

use tree_sitter::Node;

use super::code::{PythonCode, statements_of};
use crate::recognition::facts::file::FileFacts;
use crate::recognition::facts::syntax::children;
use crate::recognition::facts::{Application, ApplicationKind, Author, Command};

/// Returns the workers that the file defines, and its calls of `create_all`.
pub(super) fn of(code: &PythonCode<'_>) -> Vec<Application> {
    let mut found: Vec<Application> = Vec::new();
    let mut add = |name: String, kind: ApplicationKind, at: Node<'_>| {
        if !found.iter().any(|known| known.kind == kind && known.name == name) {
            found.push(Application {
                name,
                line: code.spot(at).line,
                kind,
                includes: Vec::new(),
                hides_schema: false,
                needs_arguments: false,
            });
        }
    };
    for node in &code.nodes {
        match node.kind() {
            "class_definition" => {
                if let Some(name) = node.child_by_field_name("name").filter(|_| is_arq(code, *node)) {
                    add(code.text(name).into(), ApplicationKind::Arq, *node);
                }
            }
            "attribute" => {
                let resolved = code.resolved(*node).unwrap_or_default();
                let dotted = code.dotted(*node).unwrap_or_default();
                if matches!(resolved.as_str(), "dramatiq.actor" | "dramatiq.set_broker") {
                    let stem = code.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    add(stem, ApplicationKind::Dramatiq, *node);
                } else if let Some(base) = dotted.strip_suffix(".metadata.create_all") {
                    add(base.into(), ApplicationKind::CreateAll, *node);
                } else if dotted == "metadata.create_all" {
                    add("metadata".into(), ApplicationKind::CreateAll, *node);
                }
            }
            "assignment" => {
                let call = node.child_by_field_name("right").filter(|right| right.kind() == "call");
                let class = call.and_then(|call| code.resolved(call.child_by_field_name("function")?));
                if matches!(class.as_deref(), Some("rq.Worker" | "rq.SimpleWorker" | "rq.worker.Worker")) {
                    let name = node.child_by_field_name("left").map(|left| code.text(left).to_string());
                    add(name.unwrap_or_default(), ApplicationKind::Rq, *node);
                }
            }
            _ => {}
        }
    }
    found
}

/// Returns true for a class with arq's settings, which names functions or jobs.
fn is_arq(code: &PythonCode<'_>, class: Node<'_>) -> bool {
    let uses_arq = code.imports.iter().any(|import| import.module.split('.').next() == Some("arq"));
    let named = class.child_by_field_name("name").is_some_and(|name| code.text(name) == "WorkerSettings");
    let body = class.child_by_field_name("body").map(|body| statements_of(body)).unwrap_or_default();
    let sets_functions = body.iter().any(|statement| {
        let text = code.text(*statement);
        ["functions", "cron_jobs"]
            .iter()
            .any(|key| text.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', ':'])))
    });
    sets_functions && (uses_arq || named)
}

/// Adds each call of `uvicorn.run` as the equivalent command.
pub(super) fn read(code: &PythonCode<'_>, facts: &mut FileFacts) {
    for call in code.of_kind("call") {
        let function = call.child_by_field_name("function").and_then(|function| code.resolved(function));
        if function.as_deref() == Some("uvicorn.run") {
            facts.commands.extend(uvicorn(code, call));
        }
    }
}

fn uvicorn(code: &PythonCode<'_>, call: Node<'_>) -> Option<Command> {
    let arguments = code.arguments(call);
    let application = arguments.positional.first().copied().or(arguments.get("app"))?;
    let (name, directory) = match (code.string(application), application.kind()) {
        (Some(name), _) => (name, None),
        (None, "identifier") if !is_local(code, application) => {
            let stem = code.file.file_stem()?.to_str()?;
            let folder: PathBuf = code.file.parent()?.into();
            (format!("{stem}:{}", code.text(application)), Some(folder))
        }
        _ => return None,
    };
    if !name.contains(':') || name.contains(char::is_whitespace) {
        return None;
    }
    let mut text = format!("uvicorn {name}");
    if arguments.get("factory").is_some_and(|factory| factory.kind() == "true") {
        text.push_str(" --factory");
    }
    if let Some(port) = arguments.get("port").and_then(|port| code.port(port, 8)) {
        text.push_str(" --port ");
        text.push_str(&port.to_string());
    }
    Some(Command { text, at: code.spot(call), by: Author::Code, directory })
}

/// Returns true for a name that the surrounding function assigns, so that no server can import it.
fn is_local(code: &PythonCode<'_>, name: Node<'_>) -> bool {
    let around = std::iter::successors(name.parent(), Node::parent);
    around.filter(|node| node.kind() == "function_definition").any(|function| {
        code.of_kind("assignment").any(|assignment| {
            let left = assignment.child_by_field_name("left");
            function.byte_range().contains(&assignment.start_byte())
                && left.is_some_and(|left| code.text(left) == code.text(name))
        })
    })
}

impl PythonCode<'_> {
    /// Returns the port in an expression: a number, or the default of a variable.
    fn port(&self, node: Node<'_>, depth: usize) -> Option<u16> {
        let depth = depth.checked_sub(1)?;
        match node.kind() {
            "integer" => self.text(node).parse().ok(),
            "string" => self.string(node)?.parse().ok(),
            "identifier" => {
                let value = super::constants::value_of(self, self.text(node))?;
                if value.kind() == "identifier" { None } else { self.port(value, depth) }
            }
            // `int(os.getenv("PORT", 8000))`: the last argument at each level.
            "call" => {
                let arguments = children(node.child_by_field_name("arguments")?);
                let last = arguments.last().copied().filter(|last| last.kind() != "identifier")?;
                self.port(last, depth)
            }
            _ => None,
        }
    }
}
