//! The keys of `database`. `providers` has those of the sections of the providers.

use super::{PROVIDER_WORDS, SECTIONS};
use crate::config::key_types::{ConfigKey, NameRule, TableForm, ValueForm};

/// `database`.
pub const DATABASE: TableForm = TableForm::of(&[OWN, &SECTIONS]);

const OWN: &[ConfigKey] = &[
    ConfigKey::new(
        "provider",
        ValueForm::Word(&PROVIDER_WORDS),
        "The service that branch databases come from.",
    )
    .or("auto"),
    ConfigKey::new("branch", ValueForm::Text, "Name of the database. May contain ${...}.")
        .or("dev-${branch}"),
    ConfigKey::new("parent", ValueForm::Text, "The database to copy. May contain ${...}.")
        .or("the value of `branch` on the default branch"),
    ConfigKey::new(
        "url_env",
        ValueForm::Filled(&ValueForm::AnyOf(&[
            ValueForm::List(&ValueForm::Variable),
            ValueForm::Map(NameRule::Variable, &ValueForm::OrNothing(&ValueForm::UrlScheme)),
        ])),
        "Variables that get the URL: a list, or a map from each variable to the form of its URL.",
    )
    .or("[DATABASE_URL]"),
    ConfigKey::new("migrate", ValueForm::Table(&MIGRATE), "The migrations.").or("none"),
    ConfigKey::new(
        "seed",
        ValueForm::AnyOf(&[ValueForm::Command, ValueForm::Table(&SEED)]),
        "Fills the parent once, after its first migrations: a command, or a mapping with a command or a file.",
    )
    .or("none"),
];

/// `database.seed`.
pub const SEED: TableForm = TableForm {
    keys: &[&[
        ConfigKey::new("run", ValueForm::Command, "The command that fills the database."),
        ConfigKey::new("directory", ValueForm::Path, "The folder to run it in.").or("."),
        ConfigKey::new(
            "file",
            ValueForm::Path,
            "A file of SQL, or a dump in Postgres' custom format, instead of `run`.",
        ),
    ]],
    has_extensions: false,
    exclusions: &[("file", &["run", "directory"])],
};

/// `database.migrate`.
pub const MIGRATE: TableForm = TableForm {
    keys: &[&[
        ConfigKey::new("run", ValueForm::Command, "The command that updates the schema."),
        ConfigKey::new(
            "sql",
            ValueForm::List(&ValueForm::Pattern),
            "Files that psql applies once each, instead of `run` and `inputs`.",
        ),
        ConfigKey::new("directory", ValueForm::Path, "The folder of the migrations.").or("."),
        ConfigKey::new(
            "inputs",
            ValueForm::List(&ValueForm::Pattern),
            "Patterns, relative to `directory`: the files whose change makes the command run.",
        ),
    ]],
    has_extensions: false,
    exclusions: &[("sql", &["run", "inputs"])],
};
