//! Finds applications of `FastAPI`: objects, factories, routers, what they include, and routes with a certain path.

use std::collections::BTreeMap;

use tree_sitter::Node;

use super::code::{Arguments, PythonCode, statements_of};
use crate::recognition::facts::syntax::{children, preorder};
use crate::recognition::facts::{Application, ApplicationKind, Include, PythonModule};

/// Decorators of functions that answer GET requests.
const ROUTES: &[&str] = &["get", "api_route", "route"];

/// Returns the applications and workers of the file; `None` if it has none.
pub(super) fn read(code: &PythonCode<'_>) -> Option<PythonModule> {
    let mut scan = Scan { code, classes: own_classes(code), found: Vec::new() };
    scan.objects(&code.statements(), None);
    for statement in code.statements() {
        if let Some(function) = function_of(statement) {
            scan.function(function);
        }
    }
    let found = scan.found;
    let prefixes: BTreeMap<&str, &Option<String>> =
        found.iter().map(|found| (found.variable.as_str(), &found.prefix)).collect();
    let routes = routes(code, &prefixes);
    let mut applications: Vec<Application> = found.into_iter().map(|found| found.application).collect();
    applications.extend(super::workers::of(code));
    if applications.is_empty() {
        return None;
    }
    Some(PythonModule { file: code.file.into(), applications, imports: code.imports.clone(), routes })
}

/// Returns the function that a statement defines, with or without decorators.
fn function_of(statement: Node<'_>) -> Option<Node<'_>> {
    let function = match statement.kind() {
        "decorated_definition" => statement.child_by_field_name("definition")?,
        _ => statement,
    };
    (function.kind() == "function_definition").then_some(function)
}

/// Returns the file's subclasses of `FastAPI`, `APIRouter` and `Celery`, each with its kind.
fn own_classes(code: &PythonCode<'_>) -> BTreeMap<String, ApplicationKind> {
    let mut classes = BTreeMap::new();
    for class in code.of_kind("class_definition") {
        let bases = class.child_by_field_name("superclasses").map(children).unwrap_or_default();
        let kind = bases.into_iter().find_map(|base| kind_of(&code.last_name(base)?));
        if let (Some(name), Some(kind)) = (class.child_by_field_name("name"), kind) {
            classes.insert(code.text(name).to_string(), kind);
        }
    }
    classes
}

fn kind_of(class: &str) -> Option<ApplicationKind> {
    Some(match class {
        "FastAPI" => ApplicationKind::Object,
        "APIRouter" => ApplicationKind::Router,
        "Celery" => ApplicationKind::Celery,
        _ => return None,
    })
}

/// An application, and the variable that holds it in the code that makes it.
struct FoundApplication {
    application: Application,
    variable: String,
    /// The literal prefix of a router; `None` if it is computed.
    prefix: Option<String>,
}

struct Scan<'c, 'a> {
    code: &'c PythonCode<'a>,
    classes: BTreeMap<String, ApplicationKind>,
    found: Vec<FoundApplication>,
}

impl<'a> Scan<'_, 'a> {
    /// Adds the application objects that `statements` assign to names.
    fn objects(&mut self, statements: &[Node<'a>], within: Option<&str>) {
        for statement in statements {
            let assignment = statement.named_child(0).filter(|child| child.kind() == "assignment");
            let Some(assignment) = assignment else { continue };
            let left = assignment.child_by_field_name("left").filter(|left| left.kind() == "identifier");
            let right = assignment.child_by_field_name("right").filter(|right| right.kind() == "call");
            let (Some(left), Some(right)) = (left, right) else { continue };
            let Some((kind, wrapped)) = self.made(right) else { continue };
            // In a function, only the returned object counts.
            if within.is_some_and(|name| name != self.code.text(left)) {
                continue;
            }
            let variable = self.code.text(left).to_string();
            let mut found = self.application(&variable, kind, right, assignment);
            found.application.includes.extend(wrapped);
            if within.is_none() {
                found.application.includes.extend(self.includes(statements, &variable));
            }
            self.found.push(found);
        }
    }

    /// Returns the kind of object that a call makes, and the application that it wraps.
    fn made(&self, call: Node<'a>) -> Option<(ApplicationKind, Option<Include>)> {
        let function = call.child_by_field_name("function")?;
        let resolved = self.code.resolved(function)?;
        let last = resolved.rsplit('.').next()?;
        if let Some(kind) = self.classes.get(last).cloned().or_else(|| kind_of(last)) {
            return Some((kind, None));
        }
        let arguments = self.code.arguments(call);
        if last == "ASGIApp" || last.ends_with("Middleware") || last == "asgi_app" {
            let mut inner = arguments.get("other_asgi_app").into_iter().chain(arguments.positional.clone());
            let inner = inner.find_map(|argument| {
                self.found.iter().find(|found| found.variable == self.code.text(argument))
            })?;
            let include = Include { name: inner.variable.clone(), prefix: Some(String::new()) };
            return Some((ApplicationKind::Object, Some(include)));
        }
        let dotted = self.code.dotted(function)?;
        let first = dotted.split('.').next()?;
        let known = self.code.is_imported(first) || self.defines(first);
        // A call of another class does not make an application.
        let is_class = last.starts_with(|c: char| c.is_ascii_uppercase());
        (known && !is_class).then_some((ApplicationKind::Made(dotted), None))
    }

    fn defines(&self, name: &str) -> bool {
        self.code.statements().into_iter().filter_map(function_of).any(|function| {
            function.child_by_field_name("name").is_some_and(|named| self.code.text(named) == name)
        })
    }

    fn application(
        &self,
        name: &str,
        kind: ApplicationKind,
        call: Node<'a>,
        at: Node<'a>,
    ) -> FoundApplication {
        let arguments = self.code.arguments(call);
        let prefix = match arguments.get("prefix") {
            None => Some(String::new()),
            Some(prefix) => self.code.string(prefix),
        };
        FoundApplication {
            application: Application {
                name: name.into(),
                line: self.code.spot(at).line,
                kind,
                includes: Vec::new(),
                hides_schema: hides_schema(&arguments),
                needs_arguments: false,
            },
            variable: name.into(),
            prefix,
        }
    }

    /// Adds a function that returns an application, judged by its annotation or its `return`.
    fn function(&mut self, function: Node<'a>) {
        let code = self.code;
        let name = function.child_by_field_name("name").map(|name| code.text(name).to_string());
        let (Some(name), Some(body)) = (name, function.child_by_field_name("body")) else { return };
        let annotated = function.child_by_field_name("return_type").is_some_and(|declared| {
            let declared = code.text(declared).trim_matches(['"', '\'']);
            matches!(declared, "FastAPI" | "fastapi.FastAPI") || self.classes.contains_key(declared)
        });
        let statements = statements_of(body);
        let returned = statements.iter().rev().find_map(|statement| {
            (statement.kind() == "return_statement").then(|| statement.named_child(0)).flatten()
        });
        let Some(returned) = returned else { return };
        let before = self.found.len();
        let mut found = match returned.kind() {
            "identifier" => {
                let variable = code.text(returned).to_string();
                self.objects(&statements, Some(&variable));
                let mut inner: Vec<FoundApplication> = self.found.drain(before..).collect();
                match inner.pop() {
                    Some(found) => found,
                    None if annotated => self.application(&variable, ApplicationKind::Object, body, function),
                    None => return,
                }
            }
            "call" => match self.made(returned) {
                Some((kind, _)) => self.application("", kind, returned, function),
                None if annotated => self.application("", ApplicationKind::Object, returned, function),
                None => return,
            },
            _ => return,
        };
        let is_fastapi = found.application.kind == ApplicationKind::Object
            || (annotated && matches!(found.application.kind, ApplicationKind::Made(_)));
        if !is_fastapi {
            return;
        }
        found.application.includes.extend(self.includes(&statements, &found.variable));
        found.application.name = name;
        found.application.kind = ApplicationKind::Factory;
        found.application.line = code.spot(function).line;
        found.application.needs_arguments = needs_arguments(code, function);
        self.found.push(found);
    }

    /// Returns the routers and applications that `statements` include in `variable` or mount on it. Follows calls of
    /// the file's own functions one level deep.
    fn includes(&self, statements: &[Node<'a>], variable: &str) -> Vec<Include> {
        let mut includes = Vec::new();
        for call in statements
            .iter()
            .filter(|statement| function_of(**statement).is_none())
            .flat_map(|statement| preorder(*statement).into_iter().filter(|node| node.kind() == "call"))
        {
            includes.extend(include(self.code, call, variable));
            includes.extend(self.through_helper(call, variable));
        }
        includes
    }

    /// Returns the includes made by a call such as `register_routers(app)`, if this file defines `register_routers`.
    fn through_helper(&self, call: Node<'a>, variable: &str) -> Vec<Include> {
        let code = self.code;
        let helper = || -> Option<Vec<Include>> {
            let name = call.child_by_field_name("function").map(|name| code.text(name))?;
            let place =
                code.arguments(call).positional.iter().position(|given| code.text(*given) == variable)?;
            let function = code.statements().into_iter().filter_map(function_of).find(|function| {
                function.child_by_field_name("name").is_some_and(|named| code.text(named) == name)
            })?;
            let parameter = *children(function.child_by_field_name("parameters")?).get(place)?;
            let parameter = preorder(parameter).into_iter().find(|node| node.kind() == "identifier")?;
            let inner = code.text(parameter);
            let body = preorder(function.child_by_field_name("body")?);
            let calls = body.into_iter().filter(|node| node.kind() == "call");
            Some(calls.filter_map(|call| include(code, call, inner)).collect())
        };
        helper().unwrap_or_default()
    }
}

/// Returns true if the call sets `openapi_url`, or may set it through computed arguments.
fn hides_schema(arguments: &Arguments<'_>) -> bool {
    arguments.computed || arguments.get("openapi_url").is_some()
}

/// Returns true if a parameter has no default, so that a server cannot call the function by its name alone.
fn needs_arguments(code: &PythonCode<'_>, function: Node<'_>) -> bool {
    let parameters = function.child_by_field_name("parameters").map(children).unwrap_or_default();
    parameters.into_iter().any(|parameter| {
        matches!(parameter.kind(), "identifier" | "typed_parameter") && !code.text(parameter).starts_with('*')
    })
}

/// Reads `VARIABLE.include_router(X, prefix=…)` or `VARIABLE.mount("/path", X)`.
fn include(code: &PythonCode<'_>, call: Node<'_>, variable: &str) -> Option<Include> {
    let dotted = code.dotted(call.child_by_field_name("function")?)?;
    let method = dotted.strip_prefix(variable)?.strip_prefix('.')?;
    let list = children(call.child_by_field_name("arguments")?);
    let named = |name: &str| {
        list.iter()
            .filter(|node| node.kind() == "keyword_argument")
            .find(|node| node.child_by_field_name("name").is_some_and(|named| code.text(named) == name))
            .and_then(|node| node.child_by_field_name("value"))
    };
    let positional: Vec<Node<'_>> =
        list.iter().copied().filter(|node| node.kind() != "keyword_argument").collect();
    let (target, prefix) = match method {
        "include_router" => {
            let prefix = named("prefix").map_or(Some(String::new()), |prefix| code.string(prefix));
            (positional.first().copied().or(named("router"))?, prefix)
        }
        "mount" => {
            let path = positional.first().copied().or(named("path"));
            (positional.get(1).copied().or(named("app"))?, path.and_then(|path| code.string(path)))
        }
        _ => return None,
    };
    let target = match target.kind() {
        "call" => target.child_by_field_name("function")?,
        _ => target,
    };
    Some(Include { name: code.dotted(target)?, prefix })
}

/// Returns the routes that answer GET: `@app.get("/path")`, `app.add_api_route("/path", …)`.
fn routes(code: &PythonCode<'_>, prefixes: &BTreeMap<&str, &Option<String>>) -> Vec<(String, String)> {
    code.of_kind("call")
        .filter_map(|call| {
            let dotted = code.dotted(call.child_by_field_name("function")?)?;
            let (object, method) = dotted.rsplit_once('.')?;
            let prefix = prefixes.get(object).copied()?.as_ref()?;
            let decorates = || call.parent().is_some_and(|parent| parent.kind() == "decorator");
            if !(method == "add_api_route" || ROUTES.contains(&method) && decorates()) {
                return None;
            }
            let arguments = code.arguments(call);
            let path = arguments.positional.first().copied().or(arguments.get("path"))?;
            Some((format!("{prefix}{}", code.string(path)?), object.to_string()))
        })
        .collect()
}
