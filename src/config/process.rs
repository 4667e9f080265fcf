//! Reads one entry of `processes:`.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::error::ConfigError;
use crate::config::model::{PortRef, ProbeConfig, ProcessConfig, Ready};
use crate::config::source::ConfigPosition;
use crate::config::value_tree::{KeyValue, Mapping, Node, Value};
use crate::config::{keys, values};
use crate::plan::{Accepted, Condition, Need, Restart, RestartPolicy, RunCommand, Stdin};

/// A process as written, before its references to other parts are checked.
#[derive(Clone, Debug)]
pub struct UncheckedProcess {
    /// The process; its `depends_on` and `needs` are empty.
    pub process: ProcessConfig,
    /// The processes it waits for.
    pub depends_on: Vec<Dependency>,
    /// The preparation it waits for, if the entry names any, and where.
    pub needs: Option<(BTreeSet<Need>, ConfigPosition)>,
}

/// A process that another one waits for.
#[derive(Clone, Debug)]
pub struct Dependency {
    pub name: String,
    /// The state that it must reach, if the configuration names one.
    pub condition: Option<Condition>,
    /// Where it is written.
    pub at: ConfigPosition,
}

impl ProcessConfig {
    /// Returns a process with this command and every other key at its default.
    pub fn plain(name: &str, at: &ConfigPosition, run: RunCommand) -> ProcessConfig {
        ProcessConfig {
            name: name.into(),
            at: at.clone(),
            run,
            directory: ".".into(),
            env_files: Vec::new(),
            env: Vec::new(),
            port: None,
            depends_on: Vec::new(),
            needs: BTreeSet::new(),
            ready: None,
            restart: Restart { policy: RestartPolicy::No, max: 5 },
            stop_signal: Signal::SIGINT as i32,
            stop_grace: Duration::from_secs(5),
            tty: false,
            stdin: Stdin::Open,
            autostart: true,
            expose: false,
            node_preload: true,
            service: None,
        }
    }
}

impl UncheckedProcess {
    /// Returns a draft without references to other parts.
    pub fn alone(process: ProcessConfig) -> UncheckedProcess {
        UncheckedProcess { process, depends_on: Vec::new(), needs: None }
    }
}

/// Reads one entry.
pub fn read(entry: &KeyValue) -> Result<UncheckedProcess, ConfigError> {
    let table = match &entry.value.value {
        // The short form: `web: npm start`.
        Value::Text(_) => {
            let run = values::run(&entry.value)?;
            return Ok(UncheckedProcess::alone(ProcessConfig::plain(&entry.name, &entry.at, run)));
        }
        _ => entry.value.table(&keys::PROCESS)?,
    };
    let mut process = ProcessConfig::plain(&entry.name, &entry.at, values::run(table.need("run")?)?);
    process.port = port(&table)?;
    if let Some(directory) = table.map("directory", values::inner_path)? {
        process.directory = directory;
    }
    process.env_files = table.map("env_files", values::env_files)?.unwrap_or_default();
    process.env = table.map("env", values::environment)?.unwrap_or_default();
    process.ready = table.map("ready", |node| ready(node, process.port.as_ref()))?;
    process.restart = restart(&table)?;
    if let Some(signal) = table.map("stop_signal", values::signal)? {
        process.stop_signal = signal;
    }
    if let Some(grace) = table.map("stop_grace", values::duration)? {
        process.stop_grace = grace;
    }
    process.tty = table.map("tty", Node::boolean)?.unwrap_or(false);
    process.stdin = stdin(&table)?;
    process.autostart = table.map("autostart", Node::boolean)?.unwrap_or(true);
    process.expose = table.map("expose", Node::boolean)?.unwrap_or(false);
    process.node_preload = table.map("node_preload", Node::boolean)?.unwrap_or(true);
    Ok(UncheckedProcess {
        process,
        depends_on: table.map("depends_on", depends_on)?.unwrap_or_default(),
        needs: table.map("needs", |node| Ok((values::needs(node)?, node.at.clone())))?,
    })
}

/// Reads `stdin:`. `stdin: null` is YAML's null, which for every other key means the same as leaving the key out.
fn stdin(table: &Mapping<'_>) -> Result<Stdin, ConfigError> {
    if table.is_null("stdin") {
        return Ok(Stdin::Null);
    }
    let read = table.map("stdin", |node| match node.word()? {
        "null" => Ok(Stdin::Null),
        "open" => Ok(Stdin::Open),
        other => Err(node.error(format!("takes open or null, not `{other}`"))),
    })?;
    Ok(read.unwrap_or_default())
}

fn port(table: &Mapping<'_>) -> Result<Option<PortRef>, ConfigError> {
    let read = |key: &str, listens: bool| {
        table.map(key, |value| {
            let name = value.word()?.into();
            Ok(PortRef { name, listens, asked: true, at: value.at.clone() })
        })
    };
    match (read("port", false)?, read("listen", true)?) {
        (Some(_), Some(listen)) => Err(ConfigError::invalid(
            &listen.at,
            "cannot be used together with `port`",
        )
        .with_fix(
            "keep `listen` if the program takes a listening socket, or `port` if it binds the port itself",
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

fn restart(table: &Mapping<'_>) -> Result<Restart, ConfigError> {
    let policy = table.map("restart", |node| match node.word()? {
        // Many YAML parsers read `no` as a boolean and write it as `false`, so that is accepted too.
        "no" | "false" | "never" => Ok(RestartPolicy::No),
        "on-failure" => Ok(RestartPolicy::OnFailure),
        "always" => Ok(RestartPolicy::Always),
        other => Err(node.error(format!("takes no, on-failure or always, not `{other}`"))),
    })?;
    let max = table.map("max_restarts", |node| node.number(0..=1_000_000))?;
    Ok(Restart { policy: policy.unwrap_or(RestartPolicy::No), max: max.unwrap_or(5) })
}

/// Reads the status that makes a process ready: a number or `any`.
fn accepted(node: &Node) -> Result<Accepted, ConfigError> {
    if node.word().is_ok_and(|word| word == "any") {
        return Ok(Accepted::Any);
    }
    let status = node.number(100..=599)?;
    Ok(Accepted::Only(u16::try_from(status).unwrap_or(u16::MAX)))
}

/// Reads `ready` of a process or service with this port.
pub fn ready(node: &Node, port: Option<&PortRef>) -> Result<Ready, ConfigError> {
    let table = node.table(&keys::READY)?;
    let mut probes = Vec::new();
    if let Some(path) = table.map("http", http_path)? {
        let status = table.map("status", accepted)?.unwrap_or_default();
        let host = table.map("host", values::filled_template)?;
        probes.push(("http", ProbeConfig::Http { path, host, status }));
    }
    if table.map("tcp", |tcp| if tcp.boolean()? { Ok(()) } else { Err(tcp.error("takes true")) })?.is_some() {
        probes.push(("tcp", ProbeConfig::Tcp));
    }
    if let Some(pattern) = table.map("log", log_pattern)? {
        probes.push(("log", ProbeConfig::Log(pattern)));
    }
    if let Some(run) = table.map("exec", values::run)? {
        probes.push(("exec", ProbeConfig::Exec(run)));
    }
    let (Some((kind, probe)), true) = (probes.pop(), probes.is_empty()) else {
        return Err(node.error("takes exactly one of http, tcp, log and exec"));
    };
    if port.is_none() && matches!(kind, "http" | "tcp") {
        return Err(node.error(format!("probes by {kind}, but the process has no `port` and no `listen`")));
    }
    if let (Some(tcp), true) = (table.get("tcp"), port.is_some_and(|port| port.listens)) {
        let message = "always passes together with `listen`: devrun opens the port before the process starts";
        return Err(tcp.error(message).with_fix(
            "ask the server itself: `http: /path`, a line of its output with `log: pattern`, or `exec: command`",
        ));
    }
    if let Some(extra) = ["status", "host"].iter().find_map(|key| table.get(key)).filter(|_| kind != "http") {
        return Err(extra.error("works only with `http`"));
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
        node.error(format!("is not a valid regular expression: {last}"))
    })
}
