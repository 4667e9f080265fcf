//! The calls of Neon's API v2 that devrun makes, each until there is an answer that counts or its time is over.
//!
//! Repeats what may be repeated and nothing else: a change whose fate is unknown goes back to the caller, who looks first.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use hyper::Method;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::{Failure, Refusal, numbered};
use super::http::{Link, encoded};
use super::verdict::{self, Next, Outcome};
use super::wire::{
    Annotation, Begun, Branch, Branches, ConnectionUri, Created, Database, Databases, Endpoint, Endpoints,
    OneBranch, OneOperation, Operation, Operations,
};
use super::{NeonError, Project};
use crate::event::Events;
use crate::os::fs::{Lock, LockKind};

/// How long one call may be tried.
const BUDGET: Duration = Duration::from_secs(75);
/// After this a person is told what is being waited for.
const QUIET: Duration = Duration::from_secs(2);
/// How long what was just made may be unknown.
const YOUNG: Duration = Duration::from_secs(10);
/// How often an answer may come that cannot be read.
const UNREADABLE: u32 = 3;
/// Time between two polls of all devruns of this machine together: Neon allows eleven calls a second, and some are no polls.
const POLL_TURN: Duration = Duration::from_millis(125);
/// For one answer, whole.
const ANSWER: Duration = Duration::from_secs(30);
/// Branches per page.
const PAGE: u32 = 1000;

/// How long things may take, and where chance comes from.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// For one call, with everything that has to be repeated.
    pub budget: Duration,
    /// For one answer, whole.
    pub answer: Duration,
    /// A number from 0 to 1.
    pub roll: fn() -> f64,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { budget: BUDGET, answer: ANSWER, roll: chance }
    }
}

fn chance() -> f64 {
    // Without chance all devruns pause equally long, which is slower but no harm.
    f64::from(getrandom::u32().unwrap_or(u32::MAX / 2)) / f64::from(u32::MAX)
}

/// One project of the service.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) link: Link,
    pub(super) project: Project,
    pub(super) pace: Pace,
    pub(super) events: Events,
    /// Lock file by which the devruns of this machine take turns in polling.
    pub(super) turns: PathBuf,
}

/// A request, and what it is for.
struct Ask<'a> {
    doing: &'a str,
    method: Method,
    path: String,
    body: Option<Value>,
    /// What is asked for was made by us a moment ago.
    young: bool,
}

impl Api {
    /// The branch of exactly this name. The service's own search finds parts of names and ids.
    pub(super) async fn branch_named(&self, name: &str) -> Result<Option<Branch>, Failure> {
        let doing = format!("look for the branch {name}");
        let found = self.branches(&doing, name, |branch| branch.name == name).await?;
        Ok(found.into_iter().next())
    }

    /// Branches that a search for `text` finds and that are `wanted`.
    pub(super) async fn branches(
        &self,
        doing: &str,
        text: &str,
        wanted: impl Fn(&Branch) -> bool,
    ) -> Result<Vec<Branch>, Failure> {
        let found = self.annotated(doing, text, wanted).await?;
        Ok(found.into_iter().map(|(branch, _)| branch).collect())
    }

    /// The same, with what was written down when each was made. All pages are read.
    pub(super) async fn annotated(
        &self,
        doing: &str,
        text: &str,
        wanted: impl Fn(&Branch) -> bool,
    ) -> Result<Vec<(Branch, Annotation)>, Failure> {
        let mut found = Vec::new();
        let mut cursor: Option<String> = None;
        let search = if text.is_empty() { String::new() } else { format!("search={}&", encoded(text)) };
        loop {
            let after =
                cursor.as_deref().map(|cursor| format!("&cursor={}", encoded(cursor))).unwrap_or_default();
            // Sorted by something that does not move while pages are read.
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

    pub(super) async fn branch(&self, id: &str, young: bool) -> Result<Branch, Failure> {
        let one: OneBranch = self.get("look at the branch", &format!("/branches/{id}"), young).await?;
        Ok(one.branch)
    }

    /// Asks for a branch. A plain 201 is a receipt, not a branch that can be used.
    pub(super) async fn create(&self, doing: &str, body: Value) -> Result<Created, Failure> {
        self.change(doing, Method::POST, "/branches", Some(body)).await
    }

    /// Changes when the branch expires.
    pub(super) async fn expire(&self, id: &str, at: &str) -> Result<(), Failure> {
        let body = serde_json::json!({ "branch": { "expires_at": at } });
        let doing = "set when the branch expires";
        self.change::<Value>(doing, Method::PATCH, &format!("/branches/{id}"), Some(body)).await.map(drop)
    }

    /// Makes the branch what `source` is now. Sessions in it are ended; its id, host and passwords stay.
    pub(super) async fn restore(&self, id: &str, source: &str) -> Result<Vec<Operation>, Failure> {
        let body = serde_json::json!({ "source_branch_id": source });
        let path = format!("/branches/{id}/restore");
        let begun: Begun = self.change("reset the branch", Method::POST, &path, Some(body)).await?;
        Ok(begun.operations)
    }

    /// Deletes the branch; one that is not there counts as deleted.
    pub(super) async fn delete(&self, id: &str) -> Result<Vec<Operation>, Failure> {
        let path = format!("/branches/{id}");
        match self.change::<Begun>("delete the branch", Method::DELETE, &path, None).await {
            Ok(begun) => Ok(begun.operations),
            Err(Failure::Refused(refusal)) if refusal.status == 404 => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn endpoints(&self, branch: &str, young: bool) -> Result<Vec<Endpoint>, Failure> {
        let path = format!("/branches/{branch}/endpoints");
        let all: Endpoints = self.get("look at the branch's computes", &path, young).await?;
        Ok(all.endpoints)
    }

    /// Gives a branch a compute.
    pub(super) async fn create_endpoint(&self, body: Value) -> Result<Vec<Operation>, Failure> {
        let begun: Begun =
            self.change("give the branch a compute", Method::POST, "/endpoints", Some(body)).await?;
        Ok(begun.operations)
    }

    pub(super) async fn start_endpoint(&self, id: &str) -> Result<Vec<Operation>, Failure> {
        let path = format!("/endpoints/{id}/start");
        let begun: Begun = self.change("start the branch's compute", Method::POST, &path, None).await?;
        Ok(begun.operations)
    }

    /// One look at an operation, when it is this devrun's turn.
    pub(super) async fn operation(&self, id: &str) -> Result<Operation, Failure> {
        self.turn().await;
        let one: OneOperation = self.get("follow what Neon does", &format!("/operations/{id}"), true).await?;
        Ok(one.operation)
    }

    /// The newest operations of the project, when it is this devrun's turn.
    pub(super) async fn operations(&self) -> Result<Vec<Operation>, Failure> {
        self.turn().await;
        let all: Operations = self.get("follow what Neon does", "/operations?limit=100", false).await?;
        Ok(all.operations)
    }

    pub(super) async fn databases(&self, branch: &str, young: bool) -> Result<Vec<Database>, Failure> {
        let path = format!("/branches/{branch}/databases");
        let all: Databases = self.get("look at the branch's databases", &path, young).await?;
        Ok(all.databases)
    }

    /// A URL with its password. The branch is always named: left out, the service answers with the default branch's.
    pub(super) async fn connection_uri(
        &self,
        branch: &str,
        database: &str,
        role: &str,
        pooled: bool,
    ) -> Result<String, Failure> {
        let path = format!(
            "/connection_uri?branch_id={branch}&database_name={}&role_name={}&pooled={pooled}",
            encoded(database),
            encoded(role)
        );
        let answer: ConnectionUri = self.get("get the branch's URL", &path, true).await?;
        Ok(answer.uri)
    }

    async fn get<T: DeserializeOwned>(&self, doing: &str, path: &str, young: bool) -> Result<T, Failure> {
        self.call(Ask { doing, method: Method::GET, path: path.into(), body: None, young }).await
    }

    async fn change<T: DeserializeOwned>(
        &self,
        doing: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<T, Failure> {
        self.call(Ask { doing, method, path: path.into(), body, young: false }).await
    }

    /// Says what is being waited for as soon as it takes long, whatever the reason.
    async fn call<T: DeserializeOwned>(&self, ask: Ask<'_>) -> Result<T, Failure> {
        let last = RefCell::new("no answer yet".to_string());
        let calling = self.attempts(&ask, &last);
        tokio::pin!(calling);
        tokio::select! {
            biased;
            done = &mut calling => return done,
            () = tokio::time::sleep(QUIET) => {}
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
        ask: &Ask<'_>,
        last: &RefCell<String>,
    ) -> Result<T, Failure> {
        let start = Instant::now();
        let path = format!("/projects/{}{}", encoded(&self.project.id), ask.path);
        let body = ask.body.as_ref().map(|body| body.to_string().into_bytes());
        let (mut attempt, mut unreadable) = (0, 0);
        loop {
            let mut outcome = self.link.exchange(&ask.method, &path, body.as_deref()).await;
            if let Outcome::Answered(answer) = &outcome
                && (200..300).contains(&answer.status)
            {
                // 204 has nothing to say.
                let body = if answer.status == 204 { b"{}" } else { answer.body.as_slice() };
                match serde_json::from_slice(body) {
                    Ok(value) => return Ok(value),
                    Err(error) => {
                        unreadable += 1;
                        let id = numbered(answer.request_id.as_deref());
                        outcome = Outcome::Lost(format!("the answer cannot be read: {error}{id}"));
                    }
                }
            }
            let young = ask.young && start.elapsed() < YOUNG;
            let told = match &outcome {
                Outcome::Answered(answer) => Refusal::new(ask.doing, answer).said(),
                Outcome::NotSent(reason) | Outcome::Untrusted(reason) | Outcome::Lost(reason) => {
                    reason.clone()
                }
            };
            last.replace(told.clone());
            let over = |waited| NeonError::Silent { doing: ask.doing.into(), last: told.clone(), waited };
            let minimum = match verdict::next(ask.method == Method::GET, young, &outcome, SystemTime::now()) {
                Next::Again(wish) if unreadable < UNREADABLE => wish,
                Next::Look => return Err(Failure::Unsure { last: told, waited: start.elapsed() }),
                Next::Again(_) => return Err(Failure::Over(over(start.elapsed()))),
                Next::Done | Next::Stop => match &outcome {
                    Outcome::Answered(answer) => {
                        return Err(Failure::Refused(Refusal::new(ask.doing, answer)));
                    }
                    Outcome::NotSent(_) | Outcome::Untrusted(_) | Outcome::Lost(_) => {
                        return Err(Failure::Over(over(start.elapsed())));
                    }
                },
            };
            let pause = verdict::pause(attempt, (self.pace.roll)(), minimum);
            if start.elapsed() + pause > self.pace.budget {
                return Err(Failure::Over(over(start.elapsed())));
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// Waits for this devrun's turn to poll. Courtesy, not correctness: without the file nobody is stopped.
    pub(super) async fn turn(&self) {
        let turn = Lock::take(&self.turns, LockKind::Exclusive, BUDGET).await;
        tokio::time::sleep(POLL_TURN).await;
        drop(turn);
    }
}
