//! Calls the client of a container engine, `docker` or `podman`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::container::{self, FoundContainer, words};
use super::error::{DockerError, EngineFault};
use crate::context::Context;
use crate::os::cmd::{Cmd, CmdError};

/// The time limit of a call that answers at once, of one that starts or removes a container, and of one that moves data.
const LIMITS: [Duration; 3] = [Duration::from_secs(30), Duration::from_mins(2), Duration::from_mins(10)];
/// How many lines of the client are shown.
const TAIL: usize = 6;

/// The client.
pub(super) struct Engine {
    /// `docker` or `podman`.
    pub(super) word: &'static str,
    program: PathBuf,
    env: BTreeMap<OsString, OsString>,
}

/// A failed call: how it ended, and the last lines of the client.
#[derive(Clone, Debug)]
pub(super) struct FailedCall {
    verb: String,
    ending: String,
    pub(super) said: String,
}

impl Engine {
    /// Returns the client `asked`, else the first of both that is on PATH. Errors if there is none.
    pub(super) fn find(ctx: &Context, asked: Option<&str>) -> Result<Engine, DockerError> {
        let words: &[&'static str] = match asked {
            Some("podman") => &["podman"],
            Some(_) => &["docker"],
            None => &["docker", "podman"],
        };
        let found = words.iter().find_map(|word| Some((*word, ctx.which(word)?)));
        let (word, program) = found.ok_or(DockerError::NotInstalled(match words {
            [one] => one,
            _ => "docker or podman",
        }))?;
        let env = ctx.passed_on().map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Engine { word, program, env })
    }

    fn command(&self, args: &[String], limit: Duration) -> Cmd {
        Cmd::new(&self.program).args(args).only_env(&self.env).directory("/").limit(limit)
    }

    async fn answer(&self, args: &[String], cmd: Cmd) -> Result<Vec<u8>, FailedCall> {
        let ended = cmd.ok().await;
        ended.map(|output| output.stdout).map_err(|error| FailedCall {
            verb: args.first().cloned().unwrap_or_default(),
            ending: error.ending(),
            said: match &error {
                CmdError::Failed { output, .. } => output.tail(TAIL),
                other => other.to_string(),
            },
        })
    }

    async fn call(&self, args: &[String], limit: Duration) -> Result<Vec<u8>, FailedCall> {
        self.answer(args, self.command(args, limit)).await
    }

    /// Returns the error for a call that failed while devrun tried to do `doing`.
    pub(super) fn failed(&self, doing: &str, call: FailedCall) -> DockerError {
        let engine = self.word;
        match EngineFault::of(&call.said) {
            Some(fault) => DockerError::Unreachable { engine, fault, tail: call.said },
            None => DockerError::Call {
                engine,
                doing: doing.into(),
                verb: call.verb,
                ending: call.ending,
                tail: call.said,
            },
        }
    }

    /// Returns the names of the containers of `repository`. Errors if the engine cannot be reached.
    pub(super) async fn names(&self, repository: &str) -> Result<Vec<String>, DockerError> {
        let listed = self.call(&container::list(repository), LIMITS[0]).await;
        let listed = listed.map_err(|call| self.failed("list the containers", call))?;
        Ok(String::from_utf8_lossy(&listed).lines().map(|line| line.trim().to_string()).collect())
    }

    /// Returns the container `name`, if it exists.
    pub(super) async fn inspect(&self, name: &str) -> Result<Option<FoundContainer>, DockerError> {
        match self.call(&words(&["inspect", "--type", "container", name]), LIMITS[0]).await {
            Ok(bytes) => Ok(container::found(&bytes)),
            Err(call) if container::is_missing(&call.said) => Ok(None),
            Err(call) => Err(self.failed("look for the container", call)),
        }
    }

    /// Returns true if the image is on this machine.
    pub(super) async fn has_image(&self, image: &str) -> bool {
        self.call(&words(&["image", "inspect", "--format", "{{.Id}}", image]), LIMITS[0]).await.is_ok()
    }

    /// Downloads `image`.
    pub(super) async fn pull(&self, image: &str) -> Result<(), DockerError> {
        let pulled = self.call(&words(&["pull", "--quiet", image]), LIMITS[2]).await;
        pulled.map(drop).map_err(|call| self.failed(&format!("download the image {image}"), call))
    }

    /// Makes and starts a container with the arguments of [`container::run`].
    pub(super) async fn run(&self, args: &[String]) -> Result<(), FailedCall> {
        self.call(args, LIMITS[1]).await.map(drop)
    }

    /// Starts the container `name`, which exists.
    pub(super) async fn start(&self, name: &str) -> Result<(), FailedCall> {
        self.call(&words(&["start", name]), LIMITS[1]).await.map(drop)
    }

    /// Removes the container `name` but not its named volume. Has no effect if it does not exist.
    pub(super) async fn remove(&self, name: &str) -> Result<(), DockerError> {
        match self.call(&words(&["rm", "--force", "--volumes", name]), LIMITS[1]).await {
            Err(call) if !container::is_missing(&call.said) => Err(self.failed("remove the container", call)),
            _ => Ok(()),
        }
    }

    /// Removes the volume `name`. Has no effect if it does not exist.
    pub(super) async fn remove_volume(&self, name: &str) -> Result<(), DockerError> {
        match self.call(&words(&["volume", "rm", "--force", name]), LIMITS[1]).await {
            Err(call) if !container::is_missing(&call.said) => Err(self.failed("remove the volume", call)),
            _ => Ok(()),
        }
    }

    /// Returns the last lines of the container's log.
    pub(super) async fn log(&self, name: &str) -> String {
        let args = words(&["logs", "--tail", "10", name]);
        // Postgres writes to standard error, which the client passes on.
        let output = self.command(&args, LIMITS[0]).output().await;
        output.map_or_else(|error| error.to_string(), |output| output.tail(10))
    }

    /// Writes a dump of the database `name` in `container` to `file`.
    pub(super) async fn dump(&self, container: &str, name: &str, file: &Path) -> Result<(), DockerError> {
        let args = container::dump(container, name);
        let dumped = self.answer(&args, self.command(&args, LIMITS[2]).writing(file)).await;
        dumped.map(drop).map_err(|call| self.failed(&format!("dump the database {name}"), call))
    }

    /// Restores the dump in `file` to the database `name` in `container`.
    pub(super) async fn restore(&self, container: &str, name: &str, file: &Path) -> Result<(), DockerError> {
        let args = container::restore(container, name);
        let restored = self.answer(&args, self.command(&args, LIMITS[2]).reading(file)).await;
        restored.map(drop).map_err(|call| self.failed("restore the dump of the parent", call))
    }
}
