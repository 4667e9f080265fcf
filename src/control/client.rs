//! A client of a running supervisor's socket. Every call has a time limit and errors if the supervisor does not answer.

use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::protocol::{Ask, Bind, Failure, PREFIX};
use super::socket;
use super::status::Status;
use crate::error::{Code, RESTART_STACK, Report};
use crate::os::fs::FsError;
use crate::supervisor::process_binding::ProcessBinding;

/// How long a supervisor may take for an answer that it has, or that takes one round of probes.
const PROMPT: Duration = Duration::from_secs(8);
/// Extra time for a call with its own timeout: the supervisor reports the timeout itself, and may probe its processes
/// once more before that.
const SLACK: Duration = Duration::from_secs(3);

/// A client of one supervisor.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    socket: &'a Path,
}

impl<'a> Client<'a> {
    /// Returns a client of the supervisor that listens at `socket`.
    pub fn new(socket: &'a Path) -> Client<'a> {
        Client { socket }
    }

    /// Returns the current status. The supervisor probes its processes for it.
    pub async fn status(&self) -> Result<Status, Report> {
        self.call(Method::GET, "/status", None, PROMPT).await
    }

    /// Returns the status that the supervisor knows, without new probes; for callers that ask many stacks or have
    /// little time. Errors after `limit`.
    pub async fn known_within(&self, limit: Duration) -> Result<Status, Report> {
        self.call(Method::GET, "/status?known=true", None, limit).await
    }

    /// Asks the supervisor to take the stack down, without waiting for the end.
    pub async fn down(&self) -> Result<Status, Report> {
        self.call(Method::POST, "/down", None, PROMPT).await
    }

    /// Posts `ask` to the path `verb` and returns the status that answers it. Errors a little after the timeout in
    /// `ask`.
    pub async fn post(&self, verb: &str, ask: &Ask) -> Result<Status, Report> {
        self.call(Method::POST, verb, Some(json(ask)), ask.limit() + SLACK).await
    }

    /// Binds the stack to a process, or to none.
    pub async fn bind(&self, binding: Option<ProcessBinding>) -> Result<Status, Report> {
        self.call(Method::POST, "/bind", Some(json(&Bind { binding })), PROMPT).await
    }

    /// Returns a body that receives every event from now on as a line of JSON.
    pub async fn events(&self) -> Result<Incoming, Report> {
        let server = Cell::new(None);
        let answer = tokio::time::timeout(PROMPT, self.send(Method::GET, "/events", None, &server));
        Ok(answer.await.map_err(|_| no_answer(PROMPT, server.get()))??.into_body())
    }

    /// Connects to the terminal of process `name`; [`super::attach`] describes the protocol.
    pub async fn attach(&self, name: &str) -> Result<TokioIo<Upgraded>, Report> {
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let server = Cell::new(None);
        let talk = async {
            let answer = self.send(Method::GET, &format!("/attach/{name}"), None, &server).await?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let body = answer.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
                let failure: Failure = serde_json::from_slice(&body).map_err(|error| strange(&error))?;
                return Err(failure.error.into());
            }
            hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(|error| broken(&error))
        };
        tokio::time::timeout(PROMPT, talk).await.map_err(|_| no_answer(PROMPT, server.get()))?
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        verb: &str,
        body: Option<Vec<u8>>,
        limit: Duration,
    ) -> Result<T, Report> {
        let server = Cell::new(None);
        let talk = async {
            let answer = self.send(method, verb, body, &server).await?;
            let fine = answer.status().is_success();
            let body = answer.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
            if fine {
                serde_json::from_slice(&body).map_err(|error| strange(&error))
            } else {
                let failure: Failure = serde_json::from_slice(&body).map_err(|error| strange(&error))?;
                Err(failure.error.into())
            }
        };
        tokio::time::timeout(limit, talk).await.map_err(|_| no_answer(limit, server.get()))?
    }

    /// Sends a request. Sets `server` to the process id of the supervisor as soon as it is known.
    async fn send(
        &self,
        method: Method,
        verb: &str,
        body: Option<Vec<u8>>,
        server: &Cell<Option<u32>>,
    ) -> Result<Response<Incoming>, Report> {
        let stream = UnixStream::connect(self.socket).await.map_err(|error| gone(&error))?;
        if !socket::is_trusted(&stream) {
            let other = stream.peer_cred().map_or(0, |peer| peer.uid());
            return Err(FsError::Foreign { path: self.socket.into(), owner: other }.into());
        }
        server.set(stream.peer_cred().ok().and_then(|peer| u32::try_from(peer.pid()?).ok()));
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        // The task ends when the body has been read.
        tokio::task::spawn_local(connection.with_upgrades());
        let body = body.unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{verb}"))
            .header(hyper::header::HOST, "devrun")
            .header(hyper::header::UPGRADE, super::attach::PROTOCOL)
            .header(hyper::header::CONNECTION, "upgrade")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Report::bug(format!("the request cannot be built: {error}")))?;
        sender.send_request(request).await.map_err(|error| broken(&error))
    }
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

fn gone(error: &std::io::Error) -> Report {
    Report::new(Code::NotRunning, format!("the supervisor of this worktree cannot be reached: {error}"))
        .with_cause("it is just starting or exiting, or its socket was removed and cannot be made again")
        .with_fix("try again in a moment; `devrun down` ends it in any case")
}

fn broken(error: &hyper::Error) -> Report {
    Report::new(Code::NotRunning, format!("the supervisor of this worktree closed the connection: {error}"))
        .with_cause("it has probably just exited")
        .with_fix("devrun ps")
}

fn strange(error: &serde_json::Error) -> Report {
    Report::new(Code::State, format!("the supervisor's answer cannot be understood: {error}"))
        .with_cause("the devrun that runs the stack may be another version")
        .with_fix(RESTART_STACK)
}

/// Returns the error for a supervisor that is silent. `server` is its process id.
fn no_answer(limit: Duration, server: Option<u32>) -> Report {
    // A process of another pid namespace has the id 0 here.
    let signal =
        server.filter(|pid| *pid > 0).map_or_else(String::new, |pid| format!(" or `kill -CONT {pid}`"));
    Report::new(
        Code::TimedOut,
        format!("the supervisor of this worktree did not answer within {} s", limit.as_secs()),
    )
    .with_cause("it may be stopped (Ctrl-Z)")
    .with_fix(format!("bring it back with `fg` in its terminal{signal}, or end it with `devrun down`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_supervisor_is_named_by_its_process_id() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("own/x.sock");
        let _listener = socket::listen(&path).unwrap();
        let client = Client::new(&path);
        let asked = client.known_within(Duration::from_millis(100));
        let report = tokio::task::LocalSet::new().run_until(asked).await.unwrap_err();
        let own = format!("`kill -CONT {}`", std::process::id());
        assert!(report.fix.is_some_and(|fix| fix.contains(&own)), "{own}");
        assert!(!no_answer(PROMPT, Some(0)).fix.unwrap().contains("kill"));
    }

    #[test]
    fn an_answer_of_another_version_names_a_command_that_returns() {
        let error = serde_json::from_str::<Status>("{").unwrap_err();
        assert_eq!(strange(&error).fix.as_deref(), Some("devrun down && devrun up -d"));
    }
}
