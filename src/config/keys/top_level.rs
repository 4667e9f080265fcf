//! The keys at the top of devrun.yaml, and those of its small sections.

use super::{DATABASE, ENV_OUT, PROCESS, SERVICE, SETUP};
use crate::config::key_types::{ConfigKey, NameRule, TableForm, ValueForm};
use crate::config::port_base::{HIGHEST, LOWEST};

/// The key that forces recognition on or off.
pub const RECOGNISE: &str = "recognise";
/// The key with the layout of new worktrees, which only `devrun new` uses.
pub const WORKTREES: &str = "worktrees";

/// The whole file.
pub const TOP: TableForm =
    TableForm { keys: &[KEYS], has_extensions: true, exclusions: &[("procfile", &["processes"])] };

const KEYS: &[ConfigKey] = &[
    ConfigKey::new("name", ValueForm::Text, "Name of the project.").or("the folder of the main worktree"),
    ConfigKey::new(
        "ports",
        ValueForm::Map(NameRule::PortName, &PORT_BASE),
        "Base of each named port. The worktree's slot, 0 to 99, is added to all of them; bases are at least 100 apart. \
         Every process sees each port as <NAME>_PORT.",
    ),
    ConfigKey::new(
        "env_files",
        ValueForm::List(&ValueForm::Path),
        "Files with variables, weakest first. A file that this worktree lacks is read from the main worktree.",
    )
    .or("[.env, .env.local]"),
    ConfigKey::new(
        "env",
        ValueForm::Map(NameRule::Variable, &ValueForm::OrNothing(&ValueForm::Template)),
        "Variables for every process. They override the shell and the env files. Values may contain ${...}.",
    ),
    ConfigKey::new(
        "env_out",
        ValueForm::AnyOf(&[
            ValueForm::List(&ValueForm::Path),
            ValueForm::Map(NameRule::Path, &ValueForm::OrNothing(&ValueForm::Table(&ENV_OUT))),
        ]),
        "Files with the variables of the stack, for programs that devrun does not start. git must ignore them.",
    ),
    ConfigKey::new(
        "shell_env",
        ValueForm::List(&ValueForm::VariablePattern),
        "Variables to read from the login shell where they are not set: names, and patterns such as CLERK_*.",
    ),
    ConfigKey::new(
        "dependencies",
        ValueForm::Table(&DEPENDENCIES),
        "The packages to install. devrun installs nothing for a language that is not listed.",
    ),
    ConfigKey::new(
        "setup",
        ValueForm::Map(NameRule::Name, &ValueForm::AnyOf(&[ValueForm::Text, ValueForm::Table(&SETUP)])),
        "Steps that make files which the product needs and git does not contain. They run in the order in which they \
         are written; a text is the short form of `run`.",
    ),
    ConfigKey::new(
        "database",
        ValueForm::Table(&DATABASE),
        "The branch database. `database: {}` is enough: one for each git branch, and its URL in DATABASE_URL.",
    )
    .or("none"),
    ConfigKey::new(
        "processes",
        ValueForm::Map(NameRule::Name, &ValueForm::AnyOf(&[ValueForm::ShellLine, ValueForm::Table(&PROCESS)])),
        "The processes to run. A text is the short form of `run`.",
    )
    .or("those that devrun recognises"),
    ConfigKey::new(
        "services",
        ValueForm::Map(NameRule::PortName, &ValueForm::OrNothing(&ValueForm::Table(&SERVICE))),
        "Servers and workers beside the product, each with its own port and data in every worktree. `redis: {}` is \
         enough.",
    )
    .or("none"),
    ConfigKey::new(
        "compose",
        ValueForm::List(&ValueForm::Path),
        "Compose files. devrun starts nothing from them: it reports which of their services it provides, and which \
         remain for a container engine.",
    )
    .or("none"),
    ConfigKey::new("procfile", ValueForm::Path, "A Procfile with the processes, instead of `processes`."),
    ConfigKey::new(
        "urls",
        ValueForm::Map(NameRule::Any, &ValueForm::Text),
        "URLs to print in addition to those of the ports. Values may contain ${...}.",
    ),
    ConfigKey::new(
        "redirects",
        ValueForm::Map(NameRule::PortNumber, &ValueForm::Text),
        "Ports in the code that no variable changes, each with the name of the port that replaces it for Node programs.",
    ),
    ConfigKey::new("logs", ValueForm::Table(&LOGS), "Limits of the output of each process on disk."),
    ConfigKey::new("prune", ValueForm::Table(&PRUNE), "When devrun removes what is no longer needed by itself."),
    ConfigKey::new(WORKTREES, ValueForm::Table(&WORKTREES_TABLE), "The layout of new worktrees."),
    ConfigKey::new(
        RECOGNISE,
        ValueForm::Flag,
        "Whether devrun adds recognised settings to this file, key by key.",
    )
    .or("true if the file has no processes, or one without `run`"),
];

const PORT_BASE: ValueForm = ValueForm::Number(LOWEST as u32, HIGHEST as u32);

/// `logs`.
pub const LOGS: TableForm = TableForm::of(&[&[
    ConfigKey::new("size", ValueForm::Size, "Size of one file, at least 1MiB.").or("10MiB"),
    ConfigKey::new("files", ValueForm::Number(1, 100), "Number of files, including the current one.").or("3"),
]]);

/// `prune`.
pub const PRUNE: TableForm = TableForm::of(&[&[ConfigKey::new(
    "auto",
    ValueForm::Word(&["daily", "off", "no", "false"]),
    "With `daily`, `devrun up` starts `devrun prune` in the background, at most once a day.",
)
.or("off")]]);

/// `worktrees`.
pub const WORKTREES_TABLE: TableForm = TableForm::of(&[&[ConfigKey::new(
    "path",
    ValueForm::Text,
    "Where `devrun new` makes a worktree: a path, relative to the main worktree, from ${repo} and ${name}.",
)
.or("../${repo}.worktrees/${name}")]]);

/// `dependencies`.
pub const DEPENDENCIES: TableForm = TableForm::of(&[&[
    ConfigKey::new(
        "node",
        ValueForm::Table(&LANGUAGE),
        "Node packages. The lock file selects the package manager.",
    ),
    ConfigKey::new("python", ValueForm::Table(&LANGUAGE), "Python packages, in a .venv of this worktree."),
]]);

/// `dependencies.node` and `dependencies.python`.
pub const LANGUAGE: TableForm = TableForm::of(&[&[ConfigKey::new(
    "directory",
    ValueForm::List(&ValueForm::Path),
    "The folder of the lock file, or a list of folders, the main one first.",
)
.or(".")]]);
