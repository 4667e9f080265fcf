//! The calls of Neon's API v2 that devrun makes. A call is repeated until it has a usable answer or its time is over.
//!
//! Only calls that are safe to repeat are repeated. If it is unknown whether a change was executed, the caller decides
//! after reading the current state.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::error::{ApiRefusal, CallFailure, numbered};
use super::http::HttpConnection;
use super::retry::{self, Next, RequestOutcome};
use super::wire::{
    Annotation, Begun, Branches, ConnectionUri, Created, Endpoint, Endpoints, NeonBranch, NeonDatabase,
    NeonDatabases, OneBranch, OneOperation, Operation, Operations,
};
use super::{NeonError, NeonProject};
use crate::event::Events;
use crate::os::fs::{Lock, LockKind};
use crate::text::url_encoded;

/// The time limit of one call, including its repetitions.
const BUDGET: Duration = Duration::from_secs(75);
/// After this time the user sees a message with the reason for waiting.
const MESSAGE_DELAY: Duration = Duration::from_secs(2);
/// How long Neon may answer 404 for an object that was just created.
const NEW_OBJECT: Duration = Duration::from_secs(10);
/// The number of unreadable answers after which a call fails.
const UNREADABLE: u32 = 3;
/// The minimum time between two polls of all devruns on this machine. Neon allows eleven calls a second, and some calls
/// are not polls.
const POLL_TURN: Duration = Duration::from_millis(125);
/// The time limit of one answer, including its body.
const ANSWER: Duration = Duration::from_secs(30);
/// The number of branches per page.
const PAGE: u32 = 1000;

/// Time limits, and the source of random numbers.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time limit of one call, including its repetitions.
    pub budget: Duration,
    /// The time limit of one answer, including its body.
    pub answer: Duration,
    /// Returns a random number from 0 to 1.
    pub roll: fn() -> f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { budget: BUDGET, answer: ANSWER, roll: chance }
    }
}

fn chance() -> f64 {
    // Without random numbers all devruns pause equally long, which is slower but correct.
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// A connection to one project of the service.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) link: HttpConnection,
    pub(super) project: NeonProject,
    pub(super) pace: Pace,
    pub(super) events: Events,
    /// The lock file with which the devruns of this machine poll one after the other.
    pub(super) turns: PathBuf,
}

/// A request and its purpose.
struct ApiRequest<'a> {
    doing: &'a str,
    method: Method,
    path: String,
    body: Option<Value>,
    /// True if the requested object was just created.
    young: bool,
}

impl Api {
    /// Returns the branch with exactly this name. The service's own search also matches parts of names and ids.
    pub(super) async fn branch_named(&self, name: &str) -> Result<Option<NeonBranch>, CallFailure> {
        let doing = format!("look for the branch {name}");
        let found = self.branches(&doing, name, |branch| branch.name == name).await?;
        Ok(found.into_iter().next())
    }

    /// Returns the branches that a search for `text` finds and `wanted` accepts.
    pub(super) async fn branches(
        &self,
        doing: &str,
        text: &str,
        wanted: impl Fn(&NeonBranch) -> bool,
    ) -> Result<Vec<NeonBranch>, CallFailure> {
        let found = self.annotated(doing, text, wanted).await?;
        Ok(found.into_iter().map(|(branch, _)| branch).collect())
    }

    /// Returns the branches as [`Api::branches`] does, with their annotations. Reads all pages.
    pub(super) async fn annotated(
        &self,
        doing: &str,
        text: &str,
        wanted: impl Fn(&NeonBranch) -> bool,
    ) -> Result<Vec<(NeonBranch, Annotation)>, CallFailure> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        let search = if text.is_empty() { String::new() } else { format!("search={}&", url_encoded(text)) };
        loop {
            let after = cursor
                .as_deref()
                .map(|cursor| format!("&cursor={}", url_encoded(cursor)))
                .unwrap_or_default();
            // `created_at` does not change while pages are read, so no branch is skipped.
            let query = format!("/branches?{search}limit={PAGE}&sort_by=created_at&sort_order=asc{after}");
            let page: Branches = self.get(doing, &query, false).await?;
            let last = page.all.is_empty();
            let mut notes = page.annotations;
            found.extend(page.all.into_iter().filter(&wanted).map(|branch| {
                let note = notes.remove(&branch.id).unwrap_or_default();
                (branch, note)
            }));
            let next = page.pagination.and_then(|pagination| pagination.next).filter(|next| !next.is_empty());
            if last || next.is_none() || next == cursor {
                return Ok(found);
            }
            cursor = next;
        }
    }

    pub(super) async fn branch(&self, id: &str, young: bool) -> Result<NeonBranch, CallFailure> {
        let one: OneBranch = self.get("look at the branch", &format!("/branches/{id}"), young).await?;
        Ok(one.branch)
    }

    /// Requests a new branch. After the answer Neon is still creating it, so it cannot be used yet.
    pub(super) async fn create(&self, doing: &str, body: Value) -> Result<Created, CallFailure> {
        self.change(doing, Method::POST, "/branches", Some(body)).await
    }

    /// Sets the time at which the branch expires.
    pub(super) async fn expire(&self, id: &str, at: &str) -> Result<(), CallFailure> {
        let body = serde_json::json!({ "branch": { "expires_at": at } });
        let doing = "set when the branch expires";
        self.change::<Value>(doing, Method::PATCH, &format!("/branches/{id}"), Some(body)).await.map(drop)
    }

    /// Gives the branch another name. Its id, host and passwords stay.
    pub(super) async fn rename(&self, id: &str, name: &str) -> Result<(), CallFailure> {
        let body = serde_json::json!({ "branch": { "name": name } });
        self.change::<Value>("rename the branch", Method::PATCH, &format!("/branches/{id}"), Some(body))
            .await
            .map(drop)
    }

    /// Resets the branch to the current state of `source` and ends the sessions in it. Its id, host and passwords stay. With `backup`, the
    /// former state stays as a branch of that name, which gets the children. Neon requires `backup` if the branch has children.
    pub(super) async fn restore(
        &self,
        id: &str,
        source: &str,
        backup: Option<&str>,
    ) -> Result<Vec<Operation>, CallFailure> {
        let mut body = serde_json::json!({ "source_branch_id": source });
        if let Some(backup) = backup {
            body["preserve_under_name"] = backup.into();
        }
        let path = format!("/branches/{id}/restore");
        let begun: Begun = self.change("reset the branch", Method::POST, &path, Some(body)).await?;
        Ok(begun.operations)
    }

    /// Deletes the branch. Succeeds if the branch does not exist.
    pub(super) async fn delete(&self, id: &str) -> Result<Vec<Operation>, CallFailure> {
        let path = format!("/branches/{id}");
        match self.change::<Begun>("delete the branch", Method::DELETE, &path, None).await {
            Ok(begun) => Ok(begun.operations),
            Err(CallFailure::Refused(refusal)) if refusal.status == 404 => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn endpoints(&self, branch: &str, young: bool) -> Result<Vec<Endpoint>, CallFailure> {
        let path = format!("/branches/{branch}/endpoints");
        let all: Endpoints = self.get("look at the branch's computes", &path, young).await?;
        Ok(all.endpoints)
    }

    /// Creates a compute for a branch.
    pub(super) async fn create_endpoint(&self, body: Value) -> Result<Vec<Operation>, CallFailure> {
        let begun: Begun =
            self.change("give the branch a compute", Method::POST, "/endpoints", Some(body)).await?;
        Ok(begun.operations)
    }

    pub(super) async fn start_endpoint(&self, id: &str) -> Result<Vec<Operation>, CallFailure> {
        let path = format!("/endpoints/{id}/start");
        let begun: Begun = self.change("start the branch's compute", Method::POST, &path, None).await?;
        Ok(begun.operations)
    }

    /// Reads an operation once, after waiting for this devrun's turn to poll.
    pub(super) async fn operation(&self, id: &str) -> Result<Operation, CallFailure> {
        self.turn().await;
        let one: OneOperation = self.get("follow what Neon does", &format!("/operations/{id}"), true).await?;
        Ok(one.operation)
    }

    /// Reads the newest operations of the project, after waiting for this devrun's turn to poll.
    pub(super) async fn operations(&self) -> Result<Vec<Operation>, CallFailure> {
        self.turn().await;
        let all: Operations = self.get("follow what Neon does", "/operations?limit=100", false).await?;
        Ok(all.operations)
    }

    pub(super) async fn databases(
        &self,
        branch: &str,
        young: bool,
    ) -> Result<Vec<NeonDatabase>, CallFailure> {
        let path = format!("/branches/{branch}/databases");
        let all: NeonDatabases = self.get("look at the branch's databases", &path, young).await?;
        Ok(all.databases)
    }

    /// Requests a URL with its password. The branch is always named, because without it the service answers for the
    /// default branch.
    pub(super) async fn connection_uri(
        &self,
        branch: &str,
        database: &str,
        role: &str,
        pooled: bool,
    ) -> Result<String, CallFailure> {
        let path = format!(
            "/connection_uri?branch_id={branch}&database_name={}&role_name={}&pooled={pooled}",
            url_encoded(database),
            url_encoded(role)
        );
        let answer: ConnectionUri = self.get("get the branch's URL", &path, true).await?;
        Ok(answer.uri)
    }

    async fn get<T: DeserializeOwned>(&self, doing: &str, path: &str, young: bool) -> Result<T, CallFailure> {
        self.call(ApiRequest { doing, method: Method::GET, path: path.into(), body: None, young }).await
    }

    async fn change<T: DeserializeOwned>(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, CallFailure> {
        self.call(ApiRequest { doing, method, path: path.into(), body, young: false }).await
    }

    /// Makes a call. If it takes long, sends a note with the reason.
    async fn call<T: DeserializeOwned>(&self, ask: ApiRequest<'_>) -> Result<T, CallFailure> {
        let last = RefCell::new("no answer yet".to_string());
        let calling = self.attempts(&ask, &last);
        tokio::pin!(calling);
        tokio::select! {
            biased;
            done = &mut calling => return done,
            () = tokio::time::sleep(MESSAGE_DELAY) => {}
        }
        let limit = self.pace.budget.as_secs();
        self.events.note(format!(
            "waiting for Neon to {}: {} (for {limit} s at most)",
            ask.doing,
            last.borrow()
        ));
        calling.await
    }

    async fn attempts<T: DeserializeOwned>(
        &self,
        ask: &ApiRequest<'_>,
        last: &RefCell<String>,
    ) -> Result<T, CallFailure> {
        let start = Instant::now();
        let path = format!("/projects/{}{}", url_encoded(&self.project.id), ask.path);
        let body = ask.body.as_ref().map(|body| body.to_string().into_bytes());
        let (mut attempt, mut unreadable) = (0, 0);
        loop {
            let mut outcome = self.link.exchange(&ask.method, &path, body.as_deref()).await;
            if let RequestOutcome::Answered(answer) = &outcome
                && (200..300).contains(&answer.status)
            {
                // 204 has no body.
                let body = if answer.status == 204 { b"{}" } else { answer.body.as_slice() };
                match serde_json::from_slice(body) {
                    Ok(value) => return Ok(value),
                    Err(error) => {
                        unreadable += 1;
                        let id = numbered(answer.request_id.as_deref());
                        outcome = RequestOutcome::Lost(format!("the answer cannot be read: {error}{id}"));
                    }
                }
            }
            let young = ask.young && start.elapsed() < NEW_OBJECT;
            let told = match &outcome {
                RequestOutcome::Answered(answer) => ApiRefusal::new(ask.doing, answer).said(),
                RequestOutcome::NotSent(reason)
                | RequestOutcome::Untrusted(reason)
                | RequestOutcome::Lost(reason) => reason.clone(),
            };
            last.replace(told.clone());
            let over = |waited| NeonError::Silent { doing: ask.doing.into(), last: told.clone(), waited };
            let minimum = match retry::next(ask.method == Method::GET, young, &outcome, SystemTime::now()) {
                Next::Again(wish) if unreadable < UNREADABLE => wish,
                Next::Look => return Err(CallFailure::Unsure { last: told, waited: start.elapsed() }),
                Next::Again(_) => return Err(CallFailure::Over(over(start.elapsed()))),
                Next::Done | Next::Stop => match &outcome {
                    RequestOutcome::Answered(answer) => {
                        return Err(CallFailure::Refused(ApiRefusal::new(ask.doing, answer)));
                    }
                    RequestOutcome::NotSent(_) | RequestOutcome::Untrusted(_) | RequestOutcome::Lost(_) => {
                        return Err(CallFailure::Over(over(start.elapsed())));
                    }
                },
            };
            let pause = retry::pause(attempt, (self.pace.roll)(), minimum);
            if start.elapsed() + pause > self.pace.budget {
                return Err(CallFailure::Over(over(start.elapsed())));
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Waits for this devrun's turn to poll. Best effort: if the lock file cannot be used, the poll happens anyway.
    pub(super) async fn turn(&self) {
        let turn = Lock::take(&self.turns, LockKind::Exclusive, BUDGET).await;
        tokio::time::sleep(POLL_TURN).await;
        drop(turn);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::super::Key;
    use super::super::http::Base;
    use super::*;
    use crate::event::Event;

    #[tokio::test(start_paused = true)]
    async fn a_service_that_does_not_answer_is_tried_for_the_budget_of_a_call() {
        // Bound, so that no other process takes the port, but not listening.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let notes = Arc::new(Mutex::new(Vec::new()));
        let events = {
            let notes = notes.clone();
            Events::new(move |event| {
                let Event::Note(note) = event else { return };
                notes.lock().unwrap().push(note);
            })
        };
        let base = Base::parse(&format!("http://127.0.0.1:{port}/api")).unwrap();
        let key = Key::new("napi_x", "NEON_API_KEY").unwrap();
        let api = Api {
            link: HttpConnection::new(base, key, &BTreeMap::new(), ANSWER).unwrap(),
            project: NeonProject { id: "p".into(), origin: "NEON_PROJECT_ID".into() },
            pace: Pace { roll: || 1.0, ..Pace::default() },
            events,
            turns: "/nonexistent".into(),
        };
        let error = api.branch_named("dev-x").await.unwrap_err();
        let CallFailure::Over(NeonError::Silent { last, waited, .. }) = error else { panic!("{error:?}") };
        let refused = format!("cannot connect to 127.0.0.1:{port}: ");
        assert!(last.starts_with(&refused), "{last}");
        assert!(waited <= BUDGET && waited + Duration::from_secs(5) > BUDGET, "{waited:?}");
        let notes = notes.lock().unwrap();
        let [note] = notes.as_slice() else { panic!("{notes:?}") };
        let expected = format!("waiting for Neon to look for the branch dev-x: {refused}");
        assert!(note.starts_with(&expected) && note.ends_with("(for 75 s at most)"), "{note}");
    }
}
