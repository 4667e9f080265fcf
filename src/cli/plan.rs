//! `devrun plan`: everything `up` would run, without running it. Secrets are masked.

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::error::{Exit, Report};
use crate::plan::{Condition, Head, Plan, PortUse, Probe, Process, RestartPolicy, Run};
use crate::prepare::{self, Preview};
use crate::ui::console::Console;

pub(super) async fn run(ctx: &Context, console: &Console, as_json: bool) -> Result<Exit, Report> {
    let preview = prepare::preview(ctx).await?;
    let text = if as_json { format!("{:#}\n", object(&preview)) } else { table(&preview) };
    super::printed(console.print(&text))
}

fn object(preview: &Preview) -> Value {
    let Preview { plan, source, warnings, notices, .. } = preview;
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
        "urls": urls,
        "database": plan.database.as_ref().map(|database| json!({
            "provider": database.provider, "name": database.name, "url": database.masked_url,
        })),
        "env": environment,
        "processes": plan.processes.iter().map(process).collect::<Vec<_>>(),
        "source": source,
        "warnings": warnings,
        "notices": notices.iter().map(|notice| json!({ "text": notice.text, "fix": notice.fix })).collect::<Vec<_>>(),
    })
}

fn process(process: &Process) -> Value {
    let depends: Map<_, _> =
        process.depends_on.iter().map(|(name, condition)| (name.clone(), json!(word(*condition)))).collect();
    json!({
        "name": process.name,
        "run": match &process.run { Run::Shell(line) => json!(line), Run::Argv(words) => json!(words) },
        "directory": process.directory.to_string_lossy(),
        "port": process.port.as_ref().map(PortUse::port),
        "listens": matches!(process.port, Some(PortUse::Listens { .. })),
        "needs": process.needs.iter().map(|need| need.name()).collect::<Vec<_>>(),
        "depends_on": depends,
        "ready": process.ready.as_ref().map(|ready| probe(&ready.probe)),
        "restart": match process.restart.policy {
            RestartPolicy::No => "no",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Always => "always",
        },
        "autostart": process.autostart,
        "expose": process.expose,
    })
}

fn word(condition: Condition) -> &'static str {
    match condition {
        Condition::Started => "started",
        Condition::Ready => "ready",
        Condition::Completed => "completed",
    }
}

fn probe(probe: &Probe) -> String {
    match probe {
        Probe::Http { path, host, port, .. } => {
            let host = host.as_deref().unwrap_or("localhost");
            format!("http {host}:{port}{path}")
        }
        Probe::Tcp { port } => format!("tcp {port}"),
        Probe::Log(pattern) => format!("log {pattern}"),
        Probe::Exec(Run::Shell(line)) => format!("exec {line}"),
        Probe::Exec(Run::Argv(words)) => format!("exec {}", words.join(" ")),
    }
}

fn table(preview: &Preview) -> String {
    let Preview { plan, source, warnings, notices, .. } = preview;
    let mut rows = vec![
        ("Project".to_string(), format!("{} ({source})", plan.project)),
        ("Worktree".into(), plan.worktree.path.to_string_lossy().into_owned()),
        ("Branch".into(), branch(plan)),
        ("Slot".into(), plan.slot.to_string()),
    ];
    rows.extend(plan.urls.clone());
    rows.extend(plan.database.iter().map(|database| {
        ("Database".to_string(), format!("{} ({}) {}", database.name, database.provider, database.masked_url))
    }));
    rows.extend(plan.processes.iter().map(|process| (process.name.clone(), describe(plan, process))));
    rows.extend(warnings.iter().map(|warning| ("warning".to_string(), warning.clone())));
    rows.extend(notices.iter().map(|notice| ("notice".to_string(), notice.text.clone())));
    let fixes =
        notices.iter().filter_map(|notice| Some(format!("\n{}\n{}", notice.text, notice.fix.as_ref()?)));
    [super::columns(&rows)].into_iter().chain(fixes).collect()
}

fn describe(plan: &Plan, process: &Process) -> String {
    let run = match &process.run {
        Run::Shell(script) => first_line(script),
        Run::Argv(words) => words.join(" "),
    };
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
    parts.join("; ")
}

/// A script's first line, marked when there are more.
fn first_line(script: &str) -> String {
    match script.trim().split_once('\n') {
        Some((first, _)) => format!("{} \u{2026}", first.trim_end()),
        None => script.trim().into(),
    }
}

fn branch(plan: &Plan) -> String {
    match &plan.worktree.head {
        Head::Branch(name) => name.clone(),
        Head::Detached => "detached HEAD".into(),
        Head::None => "not in git".into(),
    }
}
