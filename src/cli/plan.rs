//! `devrun plan`: prints everything that `up` would run, without running it. Masks secrets.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Map, Value, json};

use crate::config::model::SetupStep;
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::event::{Event, Events};
use crate::plan::{
    BoundVariable, Checkout, ComposeProvider, ComposeService, Plan, PortUse, Probe, Process, Reason,
    RunCommand,
};
use crate::prepare::{self, Preview};
use crate::text::Mask;
use crate::ui::console::Console;
use crate::ui::notice;
use crate::ui::style::Style;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let (held, quiet) = without_remarks(ctx);
    let found = prepare::preview(&quiet).await;
    let remarks = std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner));
    let is_new = |remark: &Event| found.as_ref().map_or(true, |preview| !is_in_plan(remark, preview));
    remarks.into_iter().filter(is_new).for_each(|remark| ctx.events.send(remark));
    let preview = found?;
    let text = if as_json { format!("{:#}\n", object(&preview)) } else { table(&preview, console.style()) };
    super::printed(console.print(&text))
}

/// Returns a list, and `ctx` with events that add notes and warnings to the list in place of sending them.
fn without_remarks(ctx: &Context) -> (Arc<Mutex<Vec<Event>>>, Context) {
    let held = Arc::new(Mutex::new(Vec::new()));
    let (remarks, events) = (held.clone(), ctx.events.clone());
    let events = Events::new(move |event| match event {
        Event::Note(_) | Event::Warning(_) => {
            remarks.lock().unwrap_or_else(PoisonError::into_inner).push(event);
        }
        other => events.send(other),
    });
    (held, Context { events, ..ctx.clone() })
}

/// Returns true if the printed plan has the sentence of `remark`.
fn is_in_plan(remark: &Event, preview: &Preview) -> bool {
    let (Event::Note(text) | Event::Warning(text)) = remark else { return false };
    *text == preview.source
        || preview.warnings.contains(text)
        || preview.notices.iter().any(|notice| notice.text == *text)
}

fn object(preview: &Preview) -> Value {
    let Preview { plan, resolved, source, warnings, notices, .. } = preview;
    let urls: Map<_, _> = plan.urls.iter().map(|(name, url)| (name.clone(), json!(url))).collect();
    let environment: Map<_, _> = plan
        .env
        .vars
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_str().filter(|name| plan.env.origins.contains_key(*name))?;
            let value =
                if plan.env.secrets.contains(name) { "********".into() } else { value.to_string_lossy() };
            Some((name.to_string(), json!(value)))
        })
        .collect();
    json!({
        "project": plan.project,
        "worktree": plan.worktree.path.to_string_lossy(),
        "branch": plan.worktree.head.branch(),
        "slug": plan.worktree.slug,
        "slot": plan.slot,
        "ports": plan.ports,
        "redirects": plan.redirects.iter().map(|(from, to)| (from.to_string(), json!(to))).collect::<Map<_, _>>(),
        "urls": urls,
        "host_urls": plan.host_urls.iter().map(|(name, url)| (name.clone(), json!(url))).collect::<Map<_, _>>(),
        "database": plan.database.as_ref().map(|database| json!({
            "provider": database.provider, "name": database.name, "url": database.masked_url,
        })),
        "env": environment,
        "bindings": plan.bindings,
        "setup": resolved.config.setup.iter().map(|step| json!({
            "name": step.name, "run": step.run.to_string(), "directory": step.directory, "inputs": step.inputs,
        })).collect::<Vec<_>>(),
        "processes": plan.processes.iter().map(|one| process(one, &Mask::of_plan(plan))).collect::<Vec<_>>(),
        "compose": resolved.config.provenance.compose,
        "source": source,
        "warnings": warnings,
        "notices": notices,
    })
}

fn process(process: &Process, mask: &Mask) -> Value {
    let depends: Map<_, _> =
        process.depends_on.iter().map(|(name, condition)| (name.clone(), json!(condition))).collect();
    json!({
        "name": process.name,
        "run": match &process.run { RunCommand::Shell(line) => json!(line), RunCommand::Argv(words) => json!(words) },
        "directory": process.directory.to_string_lossy(),
        "port": process.port.as_ref().map(PortUse::port),
        "listens": matches!(process.port, Some(PortUse::Listens { .. })),
        "needs": process.needs,
        "depends_on": depends,
        "ready": process.ready.as_ref().map(|ready| mask.apply(&probe(&ready.probe))),
        "restart": process.restart.policy,
        "stdin": process.stdin,
        "autostart": process.autostart,
        "expose": process.expose,
        "node_preload": process.node_preload,
        "service": process.service,
    })
}

fn probe(probe: &Probe) -> String {
    match probe {
        Probe::Http { path, host, port, .. } => {
            let host = host.as_deref().unwrap_or("localhost");
            format!("http {host}:{port}{path}")
        }
        Probe::Tcp { port } => format!("tcp {port}"),
        Probe::Log(pattern) => format!("log {pattern}"),
        Probe::Exec(run) => format!("exec {run}"),
    }
}

fn table(preview: &Preview, style: Style) -> String {
    let Preview { plan, resolved, source, warnings, notices, .. } = preview;
    let mut rows = vec![
        ("Project".to_string(), format!("{} ({source})", plan.project)),
        ("Worktree".into(), plan.worktree.path.to_string_lossy().into_owned()),
        ("Branch".into(), branch(plan)),
        ("Slot".into(), plan.slot.to_string()),
    ];
    rows.extend(plan.started_urls());
    rows.extend(plan.database.iter().map(|database| {
        ("Database".to_string(), format!("{} ({}) {}", database.name, database.provider, database.masked_url))
    }));
    rows.extend(bound(plan).map(|text| ("Variables".to_string(), text)));
    let step = |step: &SetupStep| {
        let folder = match step.directory.to_string_lossy() {
            folder if folder.is_empty() || folder == "." => String::new(),
            folder => format!("; in {folder}"),
        };
        let when = if step.inputs.is_empty() { "at every start".into() } else { step.inputs.join(", ") };
        ("Setup".to_string(), format!("{}: {}{folder}; {when}", step.name, first_line(&step.run.to_string())))
    };
    rows.extend(resolved.config.setup.iter().map(step));
    rows.extend(plan.processes.iter().map(|process| (process.name.clone(), describe(plan, process))));
    let compose = resolved.config.provenance.compose.iter();
    rows.extend(compose.map(|service| ("Compose".to_string(), compared(plan, service))));
    rows.extend(plan.redirects.iter().map(|(from, to)| {
        ("Redirect".to_string(), format!("connections of Node to port {from} go to {to}"))
    }));
    rows.extend(warnings.iter().map(|warning| ("warning".to_string(), warning.clone())));
    let notices = notices.iter().map(|notice| format!("\n{}", notice::text(notice, style)));
    [super::columns(&rows)].into_iter().chain(notices).collect()
}

/// Names the variables that got the address of the branch database, each with the line that gave it another value.
fn bound(plan: &Plan) -> Option<String> {
    let of_database = |one: &&BoundVariable| matches!(one.reason, Reason::DatabaseUrl | Reason::DatabasePart);
    let named = plan.bindings.iter().filter(of_database).map(|one| match &one.source {
        Some(at) => format!("{} ({at})", one.name),
        None => format!("{} (the shell)", one.name),
    });
    let named: BTreeSet<String> = named.collect();
    let list = named.into_iter().collect::<Vec<_>>().join(", ");
    (!list.is_empty())
        .then(|| format!("get the address of the branch database in place of their own values: {list}"))
}

fn describe(plan: &Plan, process: &Process) -> String {
    let run = first_line(&process.run.to_string());
    let directory = process.directory.strip_prefix(&plan.worktree.path).unwrap_or(&process.directory);
    let mut parts = vec![run];
    if !directory.as_os_str().is_empty() {
        parts.push(format!("in {}", directory.display()));
    }
    match &process.port {
        Some(PortUse::Listens { port, .. }) => parts.push(format!("port {port} handed over")),
        Some(PortUse::Binds { port, .. }) => parts.push(format!("port {port}")),
        None => {}
    }
    if !process.needs.is_empty() {
        let needs: Vec<&str> = process.needs.iter().map(|need| need.name()).collect();
        parts.push(format!("after {}", needs.join(", ")));
    }
    if let Some(data) = process.service.as_ref().and_then(|service| service.data) {
        parts.push(format!("data: {}", data.word()));
    }
    if !process.autostart {
        parts.push("autostart: false".into());
    }
    parts.join("; ")
}

/// Says which part of the stack takes the place of a compose service, with its port.
fn compared(plan: &Plan, service: &ComposeService) -> String {
    let ports = |ports: &[u16]| {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        if ports.is_empty() { String::new() } else { format!(", port {}", ports.join(", ")) }
    };
    let by = match &service.provided_by {
        None => format!("left to your container engine{}", ports(&service.ports)),
        Some(ComposeProvider::Database) => "the branch database".into(),
        Some(ComposeProvider::Shared(name)) => format!("the shared server of {name}"),
        Some(ComposeProvider::Process(name)) => {
            let process = plan.processes.iter().find(|process| process.name == *name);
            let port = process.and_then(|process| process.port.as_ref()).map(PortUse::port);
            format!("{name} of this worktree{}", ports(port.as_slice()))
        }
    };
    format!("{}: {by}", service.name)
}

/// Returns the first line of a script, with an ellipsis if there are more.
fn first_line(script: &str) -> String {
    match script.trim().split_once('\n') {
        Some((first, _)) => format!("{} \u{2026}", first.trim_end()),
        None => script.trim().into(),
    }
}

fn branch(plan: &Plan) -> String {
    match &plan.worktree.head {
        Checkout::Branch(name) => name.clone(),
        Checkout::Detached => "detached HEAD".into(),
        Checkout::None => "not in git".into(),
    }
}
