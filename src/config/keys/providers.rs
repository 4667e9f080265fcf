//! The names of the providers, and the keys of their sections of `database`. A new provider begins here.

use crate::config::key_types::{ConfigKey, TableForm, ValueForm};

/// The sections of the providers. The name of a section is that of its provider.
pub const SECTIONS: [ConfigKey; 5] = [
    ConfigKey::new("local", ValueForm::Table(&LOCAL), "A server that devrun runs for this repository."),
    ConfigKey::new(
        "neon",
        ValueForm::Table(&NEON),
        "Branches of a Neon project. The key itself is NEON_API_KEY.",
    ),
    ConfigKey::new("url", ValueForm::Table(&URL), "A Postgres server that exists."),
    ConfigKey::new("docker", ValueForm::Table(&DOCKER), "A container for each database."),
    ConfigKey::new("command", ValueForm::Table(&COMMAND), "Your own commands, which answer in JSON."),
];

/// The words that `database.provider` takes.
pub const PROVIDER_WORDS: [&str; 7] =
    [AUTO, SECTIONS[0].name, SECTIONS[1].name, SECTIONS[2].name, SECTIONS[3].name, SECTIONS[4].name, NONE];

const LOCAL: TableForm = TableForm::of(&[&[
    ConfigKey::new(
        "bin",
        ValueForm::Text,
        "Absolute folder of postgres, initdb and so on. May contain ${...}.",
    )
    .or("found or downloaded"),
    ConfigKey::new(
        "durability",
        ValueForm::Word(&["full", "fast"]),
        "With `fast`, the server does not wait for the disk: faster, and a crash of the machine may lose all its databases.",
    )
    .or("full"),
]]);

const NEON: TableForm = TableForm::of(&[&[
    ConfigKey::new("project_id", ValueForm::Text, "The project. May contain ${...}.")
        .or("NEON_PROJECT_ID, else the .neon file"),
    ConfigKey::new(
        PARENT,
        ValueForm::Text,
        "Name or id of the branch to copy, if `database.parent` is left out.",
    )
    .or("the project's default branch"),
    ConfigKey::new("database", ValueForm::Text, "Name of the database.")
        .or("the only database of the branch"),
    ConfigKey::new("role", ValueForm::Text, "The role.").or("the owner of the database"),
    ConfigKey::new(
        "pooled",
        ValueForm::Flag,
        "Whether the application gets the pooled URL; migrations always get the direct URL.",
    )
    .or("true"),
    ConfigKey::new("schema_only", ValueForm::Flag, "true: copy the parent's tables without their rows.")
        .or("false"),
    ConfigKey::new(
        "expires_in",
        ValueForm::PositiveDuration,
        "Neon removes a branch that was unused for this long, at most 30d.",
    )
    .or("never"),
    ConfigKey::new("suspend_timeout", ValueForm::Duration, "Idle time until the compute is suspended.")
        .or("the setting of the project"),
    ConfigKey::new(
        "compute_units",
        ValueForm::ComputeUnits,
        "Size of the compute: 1, or 0.25-2 for a range.",
    )
    .or("the setting of the project"),
]]);

const URL: TableForm = TableForm::of(&[&[ConfigKey::new(
    "admin_env",
    ValueForm::Variable,
    "Name of the variable with the URL of the server. Processes do not get this variable.",
)]]);

const DOCKER: TableForm = TableForm::of(&[&[
    ConfigKey::new("image", ValueForm::Text, "The image of Postgres. May contain ${...}.")
        .or("postgres:16-alpine"),
    ConfigKey::new("engine", ValueForm::Word(&["docker", "podman"]), "The program that runs containers.")
        .or("docker, else podman"),
]]);

const COMMAND: TableForm = TableForm::of(&[&[
    ConfigKey::new("create", ValueForm::Command, "Makes the database, unless it exists, and prints its URL."),
    ConfigKey::new("url", ValueForm::Command, "Prints the URL of the database, or null if there is none.")
        .or("the URL that `create` printed"),
    ConfigKey::new("reset", ValueForm::Command, "Makes the database a new copy of its parent.")
        .or("`delete`, then `create`"),
    ConfigKey::new("delete", ValueForm::Command, "Deletes the database, if it exists."),
    ConfigKey::new("list", ValueForm::Command, "Prints the names of all databases.")
        .or("the databases that devrun made"),
]]);

/// The key of a section that replaces `database.parent`.
pub const PARENT: &str = "parent";
/// The word that lets devrun choose the provider.
pub const AUTO: &str = "auto";
/// The word for no database at all.
pub const NONE: &str = "none";
