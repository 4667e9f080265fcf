//! The keys of an entry of `services`.

use super::READY;
use crate::config::key_types::{ConfigKey, NameRule, TableForm, ValueForm};
use crate::config::port_base::{HIGHEST, LOWEST};
use crate::config::presets::PRESET_WORDS;
use crate::plan::ServiceData;

/// A service.
pub const SERVICE: TableForm = TableForm {
    keys: &[&[
        ConfigKey::new(
            "preset",
            ValueForm::Word(&PRESET_WORDS),
            "The service that devrun knows. A preset gives every other key a default.",
        )
        .or("the name of the entry, if that is a preset"),
        ConfigKey::new(
            "run",
            ValueForm::Command,
            "The command. PORT contains the port, and DEVRUN_DATA the folder of the data. devrun replaces nothing in it.",
        )
        .or("that of the preset"),
        ConfigKey::new("directory", ValueForm::Path, "The folder, relative to the top of the worktree.").or("."),
        ConfigKey::new(
            "port",
            ValueForm::Number(LOWEST as u32, HIGHEST as u32),
            "Base of the port that has the name of the service, as in `ports`.",
        )
        .or("the base in `ports`, else the first free one from the preset's on"),
        ConfigKey::new("ready", ValueForm::Table(&READY), "The probe that decides when the service is ready.")
            .or("that of the preset"),
        ConfigKey::new(
            "env",
            ValueForm::Map(NameRule::Variable, &ValueForm::OrNothing(&ValueForm::Template)),
            "Variables for every process, such as the URL of the service, instead of those of the preset.",
        )
        .or("those of the preset"),
        ConfigKey::new(
            "data",
            ValueForm::Word(&ServiceData::WORDS),
            "What happens to its data at the start of a run: `keep`; `empty`; or `copy`, which keeps it and begins with a \
             copy of the main worktree's (redis and valkey only).",
        )
        .or("that of the preset; without a preset, no folder for data"),
        ConfigKey::new(
            "needs",
            ValueForm::List(&ValueForm::Word(&["node", "python", "database", "setup"])),
            "The preparation that must be done first.",
        )
        .or("none; for programs of Node and Python, derived from the command"),
        ConfigKey::new(
            "autostart",
            ValueForm::Flag,
            "false: the service starts only if a process that starts depends on it.",
        )
        .or("true"),
        ConfigKey::new(
            "app",
            ValueForm::Text,
            "With the preset celery: the application, in the form that `celery --app` takes.",
        ),
        ConfigKey::new(
            "queues",
            ValueForm::List(&ValueForm::Text),
            "With the presets celery and rq: the queues of the worker. May contain ${...}.",
        )
        .or("NAME-${slug}; with a Redis of the worktree, the usual queue too"),
        ConfigKey::new(
            "shared",
            ValueForm::AnyOf(&[ValueForm::Text, ValueForm::Table(&SHARED)]),
            "With the presets redis and valkey: the URL of a server that several worktrees share, instead of a process.",
        ),
    ]],
    has_extensions: false,
    exclusions: &[("shared", &["run", "directory", "port", "ready", "data", "needs", "autostart"])],
};

/// `shared`.
pub const SHARED: TableForm = TableForm::of(&[&[
    ConfigKey::new("url", ValueForm::Text, "The URL of the server, redis://HOST:PORT. May contain ${...}."),
    ConfigKey::new(
        "by",
        ValueForm::Word(&["database", "prefix"]),
        "How worktrees are kept apart: by the number of the database, which is the slot, or by a prefix of keys that \
         the application must use, in <NAME>_PREFIX.",
    )
    .or("database"),
]]);
