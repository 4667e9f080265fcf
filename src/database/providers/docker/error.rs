//! Defines the errors of the `docker` provider and their hints.

use crate::database::catalogue::CatalogueError;
use crate::database::connect::ConnectError;
use crate::error::{Code, Explain, Fault, RERUN};
use crate::os::fs::FsError;
use crate::text::quoted;

/// The reason why the engine does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EngineFault {
    /// It does not run, or not where its client looks for it.
    NotRunning,
    /// This user may not use it.
    NoPermission,
}

/// An error of the `docker` provider.
#[derive(Debug, thiserror::Error)]
pub(super) enum DockerError {
    /// The client of the engine is missing.
    #[error("the container engine cannot be reached: {0} is not installed")]
    NotInstalled(&'static str),
    /// The client cannot reach the engine.
    #[error("the container engine cannot be reached: {}", reason(engine, *fault))]
    Unreachable {
        /// `docker` or `podman`.
        engine: &'static str,
        fault: EngineFault,
        /// The last lines of the client.
        tail: String,
    },
    /// A call of the client failed.
    #[error("{engine} cannot {doing}: `{engine} {verb}` {ending}")]
    Call {
        /// `docker` or `podman`.
        engine: &'static str,
        doing: String,
        /// The first argument.
        verb: String,
        /// How it ended.
        ending: String,
        /// The last lines of the client, without secrets.
        tail: String,
    },
    /// The configured image is no valid name of an image.
    #[error("database.docker.image is no name of an image: {0:?}")]
    Image(String),
    /// A container of that name does not belong to this repository.
    #[error("the container {name} was not made by devrun for this repository")]
    Foreign {
        name: String,
        /// `docker` or `podman`.
        engine: &'static str,
    },
    /// Postgres in the container does not answer.
    #[error("Postgres in the container {container} does not answer: {reason}")]
    Silent {
        container: String,
        reason: String,
        /// The last lines of its log.
        log: String,
        /// `docker` or `podman`.
        engine: &'static str,
    },
    /// All ports that were tried are in use.
    #[error("there is no free port for the container {0}")]
    Ports(String),
    /// A statement failed.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The connection failed.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// A file of devrun cannot be read or written.
    #[error(transparent)]
    Fs(#[from] FsError),
}

fn reason(engine: &str, fault: EngineFault) -> String {
    match fault {
        EngineFault::NotRunning => format!("{engine} is installed, but its engine does not run"),
        EngineFault::NoPermission => format!("this user has no permission to use {engine}"),
    }
}

impl EngineFault {
    /// Returns the reason that the client of an engine states; `None` if the engine answered.
    pub(super) fn of(said: &str) -> Option<EngineFault> {
        let said = said.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
        let is_about_engine =
            has(&["docker daemon", "docker api", "docker.sock", "podman", "error during connect"]);
        if is_about_engine && has(&["permission denied"]) {
            return Some(EngineFault::NoPermission);
        }
        let signs = [
            "cannot connect to the docker daemon",
            "is the docker daemon running",
            "failed to connect to the docker api",
            "error during connect",
            "cannot connect to podman",
            "unable to connect to podman",
        ];
        has(&signs).then_some(EngineFault::NotRunning)
    }
}

impl Explain for DockerError {
    fn code(&self) -> Code {
        match self {
            DockerError::NotInstalled(_) | DockerError::Unreachable { .. } | DockerError::Silent { .. } => {
                Code::DatabaseUnavailable
            }
            DockerError::Call { .. } | DockerError::Ports(_) => Code::DatabaseFailed,
            DockerError::Image(_) => Code::ConfigInvalid,
            DockerError::Foreign { .. } => Code::DatabaseKept,
            DockerError::Catalogue(error) => error.code(),
            DockerError::Connect(error) => error.code(),
            DockerError::Fs(error) => error.code(),
        }
    }

    fn fault(&self) -> Option<Fault> {
        match self {
            // The name of the image may be wrong, or the registry refuses, or the network is down.
            DockerError::Call { verb, .. } if verb == "pull" => None,
            DockerError::Catalogue(error) => error.fault(),
            DockerError::Connect(error) => error.fault(),
            other => other.code().fault(),
        }
    }

    fn why(&self) -> Option<String> {
        let text = match self {
            DockerError::Unreachable { tail, .. } | DockerError::Call { tail, .. } => tail,
            DockerError::Silent { log, .. } => log,
            DockerError::Catalogue(error) => return error.why(),
            DockerError::Connect(error) => return error.why(),
            _ => return None,
        };
        Some(text.clone()).filter(|text| !text.is_empty())
    }

    fn fix(&self) -> Option<String> {
        let other = "or use `provider: local`, which needs no container";
        Some(match self {
            DockerError::NotInstalled(engine) => format!("install {engine}, {other}"),
            DockerError::Unreachable { engine: "podman", fault: EngineFault::NotRunning, .. } => {
                format!("start it (`podman machine start`), then {RERUN}; {other}")
            }
            DockerError::Unreachable { fault: EngineFault::NotRunning, .. } => format!(
                "start it (`sudo systemctl start docker`, or Docker Desktop) or correct DOCKER_HOST, then {RERUN}; {other}"
            ),
            DockerError::Unreachable { fault: EngineFault::NoPermission, .. } => format!(
                "join its group (`sudo usermod -aG docker \"$USER\"`) and log in again, or set `database.docker.engine: \
                 podman`, which needs no group; {other}"
            ),
            DockerError::Call { verb, .. } if verb == "pull" => {
                format!("correct `database.docker.image`, or log in to its registry, then {RERUN}")
            }
            DockerError::Call { .. } => format!("correct the cause, then {RERUN}"),
            DockerError::Image(_) => "write it as NAME:TAG, such as postgres:16-alpine".into(),
            DockerError::Foreign { name, engine } => {
                format!("look at it, and if nothing needs it: {engine} rm --force {}", quoted(name))
            }
            DockerError::Silent { container, engine, .. } => format!(
                "read `{engine} logs {}`; it must be an image of Postgres 13 or newer that takes POSTGRES_PASSWORD",
                quoted(container)
            ),
            DockerError::Ports(_) => format!("end servers between the ports 20000 and 32000, then {RERUN}"),
            DockerError::Catalogue(error) => return error.fix(),
            DockerError::Connect(error) => return error.fix(),
            DockerError::Fs(error) => return error.fix(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fix_for_a_container_of_others_names_the_engine() {
        let fix = DockerError::Foreign { name: "demo-x".into(), engine: "podman" }.fix();
        assert!(fix.is_some_and(|fix| fix.ends_with("podman rm --force demo-x")));
    }

    #[test]
    fn an_image_that_cannot_be_pulled_may_have_many_causes() {
        let call = |verb: &str| DockerError::Call {
            engine: "docker",
            doing: "get the image".into(),
            verb: verb.into(),
            ending: "ended with exit code 1".into(),
            tail: String::new(),
        };
        assert_eq!([call("pull").fault(), call("run").fault()], [None, Some(Fault::Environment)]);
    }

    #[test]
    fn the_words_of_the_clients_say_why_the_engine_is_not_reached() {
        use EngineFault::{NoPermission, NotRunning};
        for (said, fault) in [
            (
                "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
                Some(NotRunning),
            ),
            (
                "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is correct",
                Some(NotRunning),
            ),
            (
                "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
                Some(NoPermission),
            ),
            ("Got permission denied while trying to connect to the Docker daemon socket", Some(NoPermission)),
            ("Cannot connect to Podman. Please verify your connection to the Linux system", Some(NotRunning)),
            ("Error response from daemon: No such container: x", None),
            ("docker: Error response from daemon: driver failed: permission denied", None),
        ] {
            assert_eq!(EngineFault::of(said), fault, "{said}");
        }
    }
}
