//! Asks a running supervisor through its socket. Every call has a limit; a supervisor that hangs is an error, not a wait.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::protocol::{Ask, Failure, PREFIX};
use super::socket;
use super::status::Status;
use crate::error::{Code, Report};

/// How long a supervisor may take for what it knows already.
const PROMPT: Duration = Duration::from_secs(5);
/// More than what was asked for: the supervisor itself says when that is over.
const SLACK: Duration = Duration::from_secs(2);

/// A supervisor that may be asked.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    socket: &'a Path,
}

impl<'a> Client<'a> {
    /// Of the supervisor that listens at `socket`.
    pub fn new(socket: &'a Path) -> Client<'a> {
        Client { socket }
    }

    /// What the stack is doing.
    pub async fn status(&self) -> Result<Status, Report> {
        self.status_within(PROMPT).await
    }

    /// The same, for those who ask many.
    pub async fn status_within(&self, limit: Duration) -> Result<Status, Report> {
        self.call(Method::GET, "/status", None, limit).await
    }

    /// Posts `ask` to `verb` and waits as long as it says.
    pub async fn post(&self, verb: &str, ask: &Ask) -> Result<Status, Report> {
        self.call(Method::POST, verb, Some(ask), Duration::from_millis(ask.timeout_ms) + SLACK).await
    }

    /// Every event as it is told, as lines of JSON: the body to read from.
    pub async fn events(&self) -> Result<Incoming, Report> {
        let answer = tokio::time::timeout(PROMPT, self.send(Method::GET, "/events", None));
        Ok(answer.await.map_err(|_| silent(PROMPT))??.into_body())
    }

    /// The terminal of process `name`: see [`super::attach`].
    pub async fn attach(&self, name: &str) -> Result<TokioIo<Upgraded>, Report> {
        let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
        let talk = async {
            let answer = self.send(Method::GET, &format!("/attach/{name}"), None).await?;
            if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                let body = answer.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
                let failure: Failure = serde_json::from_slice(&body).map_err(|error| strange(&error))?;
                return Err(failure.error.into());
            }
            hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(|error| broken(&error))
        };
        tokio::time::timeout(PROMPT, talk).await.map_err(|_| silent(PROMPT))?
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        verb: &str,
        ask: Option<&Ask>,
        limit: Duration,
    ) -> Result<T, Report> {
        let talk = async {
            let answer = self.send(method, verb, ask).await?;
            let fine = answer.status().is_success();
            let body = answer.into_body().collect().await.map_err(|error| broken(&error))?.to_bytes();
            if fine {
                serde_json::from_slice(&body).map_err(|error| strange(&error))
            } else {
                let failure: Failure = serde_json::from_slice(&body).map_err(|error| strange(&error))?;
                Err(failure.error.into())
            }
        };
        tokio::time::timeout(limit, talk).await.map_err(|_| silent(limit))?
    }

    async fn send(
        &self,
        method: Method,
        verb: &str,
        ask: Option<&Ask>,
    ) -> Result<Response<Incoming>, Report> {
        let stream = UnixStream::connect(self.socket).await.map_err(|error| gone(&error))?;
        if !socket::is_trusted(&stream) {
            return Err(Report::new(
                Code::State,
                format!("{} belongs to another user", self.socket.display()),
            ));
        }
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(&error))?;
        // Ends with the answer's body.
        tokio::task::spawn_local(connection.with_upgrades());
        let body = ask.map(|ask| serde_json::to_vec(ask).unwrap_or_default()).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{verb}"))
            .header(hyper::header::HOST, "devrun")
            .header(hyper::header::UPGRADE, super::attach::PROTOCOL)
            .header(hyper::header::CONNECTION, "upgrade")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Report::bug(format!("a request that cannot be sent: {error}")))?;
        sender.send_request(request).await.map_err(|error| broken(&error))
    }
}

fn gone(error: &std::io::Error) -> Report {
    Report::new(Code::NotRunning, format!("the supervisor of this worktree cannot be reached: {error}"))
        .with_cause("it is just coming or going, or its socket was removed")
        .with_fix("devrun ps")
}

fn broken(error: &hyper::Error) -> Report {
    Report::new(Code::NotRunning, format!("the supervisor of this worktree broke off: {error}"))
        .with_cause("it ended meanwhile")
        .with_fix("devrun ps")
}

fn strange(error: &serde_json::Error) -> Report {
    Report::new(Code::State, format!("the supervisor's answer cannot be understood: {error}"))
        .with_cause("it is another version of devrun")
        .with_fix("devrun down && devrun up")
}

fn silent(limit: Duration) -> Report {
    Report::new(
        Code::TimedOut,
        format!("the supervisor of this worktree did not answer within {} s", limit.as_secs()),
    )
    .with_cause("it may be stopped (Ctrl-Z)")
    .with_fix("bring it back with `fg` or kill -CONT, or end it with `devrun down`")
}
