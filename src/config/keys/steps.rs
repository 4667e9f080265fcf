//! The keys of an entry of `setup`, and of an entry of `env_out`.

use crate::config::key_types::{ConfigKey, TableForm, ValueForm};

/// A step of `setup`.
pub const SETUP: TableForm = TableForm::of(&[&[
    ConfigKey::new("run", ValueForm::Command, "The command."),
    ConfigKey::new("directory", ValueForm::Path, "The folder to run it in.").or("."),
    ConfigKey::new(
        "inputs",
        ValueForm::List(&ValueForm::Pattern),
        "Patterns, relative to `directory`. The step runs only if a matching file, the command or the packages changed.",
    )
    .or("the step runs at every start"),
    ConfigKey::new(
        "needs",
        ValueForm::List(&ValueForm::Word(&["node", "python", "database"])),
        "The preparation that must be done first.",
    )
    .or("the packages that the command uses"),
]]);

/// A file of `env_out`.
pub const ENV_OUT: TableForm = TableForm {
    keys: &[&[
        ConfigKey::new(
            "block",
            ValueForm::Flag,
            "true: a marked block in your own file; false: the whole file.",
        )
        .or("false"),
        ConfigKey::new(
            "only",
            ValueForm::List(&ValueForm::VariablePattern),
            "The variables to write: names, and patterns such as *_PORT.",
        )
        .or("all variables that devrun sets"),
        ConfigKey::new("process", ValueForm::Text, "The process whose variables are written too.")
            .or("the only process of that folder"),
        ConfigKey::new(
            "template",
            ValueForm::Path,
            "A file with ${...} to render, instead of a list of variables.",
        ),
    ]],
    has_extensions: false,
    exclusions: &[("template", &["only"])],
};
