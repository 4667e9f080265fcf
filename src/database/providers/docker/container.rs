//! The arguments of the engine's client, and what `inspect` answers. Pure.
//!
//! Only options that Docker (from 20.10) and Podman have in common. No argument contains a secret.

use std::path::Path;

use serde::Deserialize;

use crate::database::providers::records::MadeDatabase;

/// The role in the container. It owns the databases, and is a superuser there.
pub(super) const ROLE: &str = "app";
/// The label with the id of the repository.
const REPOSITORY: &str = "devrun.repository";
/// The folder in the container with the volume. The data is in a subfolder: images differ in the folder that they use.
const VOLUME: &str = "/devrun";

/// Returns the text of the file with the container's environment.
pub(super) fn environment(password: &str) -> String {
    format!(
        "POSTGRES_USER={ROLE}\nPOSTGRES_PASSWORD={password}\nPOSTGRES_DB=postgres\nPGDATA={VOLUME}/data\n\
         POSTGRES_INITDB_ARGS=--auth-host=scram-sha-256\n"
    )
}

/// Returns the arguments that make and start the container `name` for `database`. Its port of Postgres becomes `port` of this machine.
/// `env_file` contains its environment.
pub(super) fn run(
    name: &str,
    repository: &str,
    database: &MadeDatabase,
    port: u16,
    env_file: &Path,
    image: &str,
) -> Vec<String> {
    let labels = [
        (REPOSITORY, repository),
        ("devrun.database", &database.given),
        ("devrun.branch", &database.label),
        ("devrun.worktree", &database.worktree.to_string_lossy()),
    ];
    let mut args = words(&["run", "--detach", "--name", name]);
    args.extend(labels.iter().flat_map(|(key, value)| ["--label".into(), format!("{key}={value}")]));
    args.extend(["--env-file".into(), env_file.to_string_lossy().into_owned()]);
    args.extend(["--volume".into(), format!("{name}:{VOLUME}")]);
    args.extend(["--publish".into(), format!("127.0.0.1:{port}:5432"), image.into()]);
    args
}

/// Returns the arguments that list the containers of the repository, one name a line.
pub(super) fn list(repository: &str) -> Vec<String> {
    let filter = format!("label={REPOSITORY}={repository}");
    words(&["ps", "--all", "--filter", &filter, "--format", "{{.Names}}"])
}

/// Returns the arguments that dump the database `name` in `container` to standard output.
pub(super) fn dump(container: &str, name: &str) -> Vec<String> {
    let dbname = format!("--dbname={name}");
    let role = format!("--username={ROLE}");
    words(&["exec", container, "pg_dump", &role, "--format=custom", "--compress=0", &dbname])
}

/// Returns the arguments that restore a dump from standard input to the database `name` in `container`.
pub(super) fn restore(container: &str, name: &str) -> Vec<String> {
    let dbname = format!("--dbname={name}");
    let role = format!("--username={ROLE}");
    let program = ["exec", "--interactive", container, "pg_restore", &role, "--exit-on-error"];
    words(&[&program[..], &["--single-transaction", &dbname]].concat())
}

/// Returns `parts` as arguments.
pub(super) fn words(parts: &[&str]) -> Vec<String> {
    parts.iter().map(ToString::to_string).collect()
}

/// Returns true for a text that an engine takes as the name of an image, and not as an option.
pub(super) fn is_image(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.len() <= 512
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._/:@-".contains(c))
}

/// Returns true if the engine says that another program has the port.
pub(super) fn is_port_taken(said: &str) -> bool {
    let said = said.to_lowercase();
    ["port is already allocated", "address already in use", "ports are not available"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// Returns true if the engine says that there is no such container, image or volume.
pub(super) fn is_missing(said: &str) -> bool {
    let said = said.to_lowercase();
    ["no such container", "no such object", "no such image", "no such volume", "no container with name"]
        .iter()
        .any(|sign| said.contains(sign))
}

/// A container that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundContainer {
    pub(super) is_running: bool,
    /// The id of the repository that it was made for.
    pub(super) repository: Option<String>,
    /// The image as it was named when the container was made.
    pub(super) image: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: InspectedState,
    config: InspectedConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    running: bool,
    #[serde(default)]
    paused: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    image: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
}

/// Parses the answer of `inspect`; `None` if it has another form.
pub(super) fn found(bytes: &[u8]) -> Option<FoundContainer> {
    let [one]: [Inspected; 1] = serde_json::from_slice::<Vec<Inspected>>(bytes).ok()?.try_into().ok()?;
    Some(FoundContainer {
        is_running: one.state.running && !one.state.paused,
        repository: one.config.labels.and_then(|mut labels| labels.remove(REPOSITORY)),
        image: one.config.image,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_labels_and_a_local_port_and_no_secret() {
        let database = MadeDatabase {
            label: "feature/x".into(),
            worktree: "/w/x y".into(),
            url: Some("postgresql://app:Xsecret5@h/d".into()),
            ..MadeDatabase::unknown("dev-x")
        };
        let args =
            run("devrun-0a-dev-x", "0a", &database, 20_001, Path::new("/d/x.env"), "postgres:16-alpine");
        insta::assert_snapshot!(args.join(" "), @"run --detach --name devrun-0a-dev-x --label devrun.repository=0a --label devrun.database=dev-x --label devrun.branch=feature/x --label devrun.worktree=/w/x y --env-file /d/x.env --volume devrun-0a-dev-x:/devrun --publish 127.0.0.1:20001:5432 postgres:16-alpine");
        assert_eq!(list("0a").join(" "), "ps --all --filter label=devrun.repository=0a --format {{.Names}}");
    }

    #[test]
    fn the_answer_of_inspect_is_read() {
        let text = br#"[{"Id": "1", "State": {"Status": "exited", "Running": false, "Paused": false},
            "Config": {"Image": "postgres:16", "Labels": {"devrun.repository": "0a", "x": "y"}}}]"#;
        let wanted =
            FoundContainer { is_running: false, repository: Some("0a".into()), image: "postgres:16".into() };
        assert_eq!(found(text), Some(wanted));
        assert_eq!(found(b"[]"), None);
        assert_eq!(found(b"x"), None);
    }

    #[test]
    fn an_image_is_no_option() {
        for image in
            ["postgres:16-alpine", "registry.example:5000/team/pg@sha256:0a", "pgvector/pgvector:pg17"]
        {
            assert!(is_image(image), "{image}");
        }
        for text in ["", "--privileged", "a b", "a;b", "$(x)"] {
            assert!(!is_image(text), "{text}");
        }
    }
}
