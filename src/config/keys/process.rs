//! The keys of an entry of `processes`.

use crate::config::key_types::{ConfigKey, NameRule, TableForm, ValueForm};

/// The words for the state of a process that another one waits for.
const CONDITIONS: ValueForm = ValueForm::Word(&["started", "ready", "completed"]);

/// A process.
pub const PROCESS: TableForm = TableForm {
    keys: &[&[
        ConfigKey::new(
            "run",
            ValueForm::Command,
            "The command. /bin/sh runs a text; a list is executed without a shell. devrun replaces nothing in it.",
        ),
        ConfigKey::new("directory", ValueForm::Path, "The folder, relative to the top of the worktree.").or("."),
        ConfigKey::new(
            "env",
            ValueForm::Map(NameRule::Variable, &ValueForm::OrNothing(&ValueForm::Template)),
            "Variables for this process alone. Values may contain ${...}.",
        ),
        ConfigKey::new(
            "env_files",
            ValueForm::List(&ValueForm::Path),
            "Env files for this process alone, weakest first. They override those at the top.",
        ),
        ConfigKey::new(
            "port",
            ValueForm::Text,
            "The name of the port that the process itself binds. PORT contains the number.",
        ),
        ConfigKey::new(
            "listen",
            ValueForm::Text,
            "The name of the port that devrun binds. The process inherits the socket as descriptor <NAME>_FD.",
        ),
        ConfigKey::new(
            "depends_on",
            ValueForm::AnyOf(&[ValueForm::List(&ValueForm::Text), ValueForm::Map(NameRule::Any, &CONDITIONS)]),
            "The processes that it waits for. A list waits until each is ready, or started if it has no `ready`; a map \
             names the state.",
        ),
        ConfigKey::new(
            "ready",
            ValueForm::Table(&READY),
            "The probe that decides when the process is ready: exactly one of http, tcp, log and exec.",
        )
        .or("ready once it is started"),
        ConfigKey::new(
            "restart",
            ValueForm::Word(&["no", "on-failure", "always", "never", "false"]),
            "Whether devrun starts the process again after it has ended.",
        )
        .or("no"),
        ConfigKey::new("max_restarts", ValueForm::Number(0, 1_000_000), "The number of restarts in a row.").or("5"),
        ConfigKey::new("stop_signal", ValueForm::Signal, "The signal that asks the process to stop.").or("INT"),
        ConfigKey::new("stop_grace", ValueForm::Duration, "The time between that signal and SIGKILL.").or("5s"),
        ConfigKey::new("tty", ValueForm::Flag, "Whether the process gets a terminal.").or("false"),
        ConfigKey::new(
            "stdin",
            ValueForm::Word(&["open", "null"]),
            "Standard input: open, without data and without an end; or null, an empty input.",
        )
        .or("open"),
        ConfigKey::new(
            "autostart",
            ValueForm::Flag,
            "false: the process starts only if a process that starts depends on it.",
        )
        .or("true"),
        ConfigKey::new("expose", ValueForm::Flag, "Whether other machines may reach its port.").or("false"),
        ConfigKey::new(
            "needs",
            ValueForm::List(&ValueForm::Word(&["node", "python", "database", "setup"])),
            "The preparation that must be done first.",
        )
        .or("derived from the command"),
        ConfigKey::new(
            "node_preload",
            ValueForm::Flag,
            "Whether NODE_OPTIONS loads devrun's modules, which give Node servers the socket of `listen` and apply \
             `redirects`.",
        )
        .or("true"),
    ]],
    has_extensions: false,
    exclusions: &[("port", &["listen"])],
};

/// `ready`.
pub const READY: TableForm = TableForm {
    keys: &[&[
        ConfigKey::new(
            "http",
            ValueForm::HttpPath,
            "Ready when GET of this path on its port answers 2xx or 3xx.",
        ),
        ConfigKey::new(
            "tcp",
            ValueForm::True,
            "Ready when its port accepts a connection. Not with `listen`.",
        ),
        ConfigKey::new(
            "log",
            ValueForm::Text,
            "Ready when a line of its output matches this regular expression.",
        ),
        ConfigKey::new(
            "exec",
            ValueForm::Command,
            "Ready when this command ends with 0. It runs in the folder and environment of the process.",
        ),
        ConfigKey::new(
            "status",
            ValueForm::HttpStatus,
            "With `http`: the only status that passes; `any` for every answer below 500.",
        )
        .or("any 2xx or 3xx"),
        ConfigKey::new("host", ValueForm::Text, "With `http`: the Host header; the port is added.")
            .or("localhost"),
        ConfigKey::new("interval", ValueForm::PositiveDuration, "Time between two attempts.").or("250ms"),
        ConfigKey::new("timeout", ValueForm::PositiveDuration, "Time limit of one attempt.").or("2s"),
        ConfigKey::new("deadline", ValueForm::PositiveDuration, "Time until the run fails.").or("60s"),
    ]],
    has_extensions: false,
    exclusions: &[
        ("http", &["tcp", "log", "exec"]),
        ("tcp", &["log", "exec"]),
        ("log", &["exec"]),
        ("status", &["tcp", "log", "exec"]),
        ("host", &["tcp", "log", "exec"]),
    ],
};
