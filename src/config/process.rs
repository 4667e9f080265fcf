//! One entry of `processes:`: its keys, their forms and defaults.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::error::ConfigError;
use crate::config::model::{PortRef, Probe, Process, Ready};
use crate::config::node::{Entry, Node, Table, Value};
use crate::config::source::At;
use crate::config::{schema, values};
use crate::plan::{Condition, Need, Restart, RestartPolicy, Run};

/// Keys of a process.
pub const KEYS: &[&str] = &[
    "run",
    "directory",
    "env",
    "port",
    "listen",
    "depends_on",
    "ready",
    "restart",
    "max_restarts",
    "stop_signal",
    "stop_grace",
    "tty",
    "autostart",
    "expose",
    "needs",
    "node_preload",
];
/// Keys of `ready`.
pub const READY: &[&str] =
    &["http", "tcp", "log", "exec", "status", "host", "interval", "timeout", "deadline"];

/// A process as it is written: what it says of other parts is not looked at yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Everything else; `depends_on` and `needs` are empty.
    pub process: Process,
    /// The processes it waits for.
    pub depends_on: Vec<Dependency>,
    /// The preparation it waits for, when it says so.
    pub needs: Option<(BTreeSet<Need>, At)>,
}

/// A process that another one waits for.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// How far it must have got, when that is said.
    pub condition: Option<Condition>,
    /// Where it is written.
    pub at: At,
}

impl Process {
    /// A process with nothing but its command: every other key at its default.
    pub fn plain(name: &str, at: &At, run: Run) -> Process {
        Process {
            name: name.into(),
            at: at.clone(),
            run,
            directory: ".".into(),
            env: Vec::new(),
            port: None,
            depends_on: Vec::new(),
            needs: BTreeSet::new(),
            ready: None,
            restart: Restart { policy: RestartPolicy::No, max: 5 },
            stop_signal: Signal::SIGINT as i32,
            stop_grace: Duration::from_secs(5),
            tty: false,
            autostart: true,
            expose: false,
        }
    }
}

impl Draft {
    /// A process that says nothing of others.
    pub fn alone(process: Process) -> Draft {
        Draft { process, depends_on: Vec::new(), needs: None }
    }
}

/// Reads one entry.
pub fn read(entry: &Entry) -> Result<Draft, ConfigError> {
    let table = match &entry.value.value {
        // `web: npm start` is what people write first.
        Value::Text(_) => {
            let run = values::run(&entry.value)?;
            return Ok(Draft::alone(Process::plain(&entry.name, &entry.at, run)));
        }
        _ => entry.value.table(KEYS)?,
    };
    let mut process = Process::plain(&entry.name, &entry.at, values::run(table.need("run")?)?);
    process.port = port(&table)?;
    if let Some(directory) = table.map("directory", values::inner_path)? {
        process.directory = directory;
    }
    process.env = table.map("env", schema::environment)?.unwrap_or_default();
    process.ready = table.map("ready", |node| ready(node, process.port.as_ref()))?;
    process.restart = restart(&table)?;
    if let Some(signal) = table.map("stop_signal", values::signal)? {
        process.stop_signal = signal;
    }
    if let Some(grace) = table.map("stop_grace", values::duration)? {
        process.stop_grace = grace;
    }
    process.tty = table.map("tty", Node::boolean)?.unwrap_or(false);
    process.autostart = table.map("autostart", Node::boolean)?.unwrap_or(true);
    process.expose = table.map("expose", Node::boolean)?.unwrap_or(false);
    Ok(Draft {
        process,
        depends_on: table.map("depends_on", depends_on)?.unwrap_or_default(),
        needs: table.map("needs", |node| Ok((needs(node)?, node.at.clone())))?,
    })
}

fn port(table: &Table<'_>) -> Result<Option<PortRef>, ConfigError> {
    let node = table.map("node_preload", Node::boolean)?;
    let read = |key: &str, listens: bool| {
        table.map(key, |value| {
            let name = value.word()?.into();
            Ok(PortRef { name, listens, node: node.unwrap_or(true), asked: true, at: value.at.clone() })
        })
    };
    if let Some(key) = table.get("node_preload").filter(|_| table.get("listen").is_none()) {
        return Err(key.error("goes with `listen` only"));
    }
    match (read("port", false)?, read("listen", true)?) {
        (Some(_), Some(listen)) => Err(ConfigError::invalid(&listen.at, "stands beside `port`").with_fix(
            "`listen` when the program takes a listening socket, `port` when it binds the port itself",
        )),
        (port, listen) => Ok(port.or(listen)),
    }
}

fn depends_on(node: &Node) -> Result<Vec<Dependency>, ConfigError> {
    let Value::Map(entries) = &node.value else {
        let read =
            |item: &Node| Ok(Dependency { name: item.word()?.into(), condition: None, at: item.at.clone() });
        return node.items()?.into_iter().map(read).collect();
    };
    entries
        .iter()
        .map(|entry| {
            let condition = match entry.value.word()? {
                "started" => Condition::Started,
                "ready" => Condition::Ready,
                "completed" => Condition::Completed,
                other => {
                    let message = format!("takes started, ready or completed, not `{other}`");
                    return Err(entry.value.error(message));
                }
            };
            Ok(Dependency { name: entry.name.clone(), condition: Some(condition), at: entry.at.clone() })
        })
        .collect()
}

fn restart(table: &Table<'_>) -> Result<Restart, ConfigError> {
    let policy = table.map("restart", |node| match node.word()? {
        // `no` is a boolean to half of the YAML readers out there, and people may have written what those print.
        "no" | "false" | "never" => Ok(RestartPolicy::No),
        "on-failure" => Ok(RestartPolicy::OnFailure),
        "always" => Ok(RestartPolicy::Always),
        other => Err(node.error(format!("takes no, on-failure or always, not `{other}`"))),
    })?;
    let max = table.map("max_restarts", |node| node.number(0..=1_000_000))?;
    Ok(Restart { policy: policy.unwrap_or(RestartPolicy::No), max: max.unwrap_or(5) })
}

fn needs(node: &Node) -> Result<BTreeSet<Need>, ConfigError> {
    node.items()?
        .into_iter()
        .map(|item| {
            let word = item.word()?;
            Need::ALL.into_iter().find(|need| need.name() == word).ok_or_else(|| {
                item.error(format!("there is no preparation `{word}`"))
                    .with_fix("known: node, python, database")
            })
        })
        .collect()
}

fn ready(node: &Node, port: Option<&PortRef>) -> Result<Ready, ConfigError> {
    let table = node.table(READY)?;
    let mut probes = Vec::new();
    if let Some(path) = table.map("http", http_path)? {
        let status = table.map("status", |status| status.number(100..=599))?;
        let status = status.map(|status| u16::try_from(status).unwrap_or(u16::MAX));
        let host = table.map("host", values::filled_template)?;
        probes.push(("http", Probe::Http { path, host, status }));
    }
    if table.map("tcp", |tcp| if tcp.boolean()? { Ok(()) } else { Err(tcp.error("takes true")) })?.is_some() {
        probes.push(("tcp", Probe::Tcp));
    }
    if let Some(pattern) = table.map("log", log_pattern)? {
        probes.push(("log", Probe::Log(pattern)));
    }
    if let Some(run) = table.map("exec", values::run)? {
        probes.push(("exec", Probe::Exec(run)));
    }
    let (Some((kind, probe)), true) = (probes.pop(), probes.is_empty()) else {
        return Err(node.error("takes exactly one of http, tcp, log and exec"));
    };
    if port.is_none() && matches!(kind, "http" | "tcp") {
        return Err(node.error(format!("asks by {kind}, but the process has no `port` and no `listen`")));
    }
    if let (Some(tcp), true) = (table.get("tcp"), port.is_some_and(|port| port.listens)) {
        let message =
            "always passes beside `listen`: devrun itself has opened the port before the process starts";
        return Err(tcp.error(message).with_fix(
            "ask the server itself: `http: /path`, a line of its output with `log: pattern`, or `exec: command`",
        ));
    }
    if let Some(extra) = ["status", "host"].iter().find_map(|key| table.get(key)).filter(|_| kind != "http") {
        return Err(extra.error("goes with `http` only"));
    }
    let time = |key: &str, default: Duration| {
        table.map(key, values::positive_duration).map(|found| found.unwrap_or(default))
    };
    Ok(Ready {
        probe,
        interval: time("interval", Duration::from_millis(250))?,
        timeout: time("timeout", Duration::from_secs(2))?,
        deadline: time("deadline", Duration::from_mins(1))?,
    })
}

fn http_path(node: &Node) -> Result<crate::config::interpolate::Template, ConfigError> {
    let text = node.word()?;
    if !text.starts_with('/') || text.contains(char::is_whitespace) {
        return Err(node.error(format!("takes a path that begins with `/`, not `{text}`")));
    }
    values::filled_template(node)
}

fn log_pattern(node: &Node) -> Result<regex::bytes::Regex, ConfigError> {
    regex::bytes::RegexBuilder::new(node.word()?).size_limit(1 << 20).build().map_err(|error| {
        let all = error.to_string();
        let last = all.lines().last().unwrap_or_default().trim_start_matches("error: ").to_string();
        node.error(format!("is no regular expression: {last}"))
    })
}
