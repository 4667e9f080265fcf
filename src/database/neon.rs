//! The `neon` provider: a branch of a Neon project per git branch, made exactly once, never the parent.
//!
//! Owns the talk with Neon's API and what a worktree remembers of its branch. The service decides: its branch ids say which
//! database is meant, its unique names say who made it. The key is read and sent, and stays out of everything else. Refuses
//! the default branch, protected ones and the one that is copied, unless it is told to by name.

mod api;
mod create;
mod error;
mod guard;
mod http;
mod names;
mod project;
mod record;
mod settle;
mod undo;
mod verdict;
mod wire;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;

pub use self::api::Pace;
pub use self::error::{NeonError, Refusal};
pub use self::names::fit;
pub use self::project::linked;

use self::api::Api;
use self::create::Made;
use self::error::Failure;
use self::http::{Base, Link};
use self::record::Record;
use self::settle::Compute;
use super::{Branch, Entry, Provider, Step, Wanted};
use crate::context::Context;
use crate::error::Report;
use crate::event::{Event, Step as Preparation};
use crate::plan::DatabaseOrigin;

/// Where the API is unless `NEON_API_HOST` says something else.
const HOST: &str = "https://console.neon.tech/api/v2";

/// The key, and where it was found. Never printed.
#[derive(Clone)]
pub struct Key {
    header: HeaderValue,
    origin: String,
}

impl Key {
    /// The key `secret`, which was found in `origin` (`NEON_API_KEY in .env`).
    pub fn new(secret: &str, origin: impl Into<String>) -> Result<Key, NeonError> {
        let origin = origin.into();
        let mut header = HeaderValue::from_str(&format!("Bearer {}", secret.trim())).map_err(|_| {
            NeonError::Missing { what: "a key of printable characters", fix: format!("look at {origin}") }
        })?;
        header.set_sensitive(true);
        Ok(Key { header, origin })
    }

    fn header(&self) -> HeaderValue {
        self.header.clone()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Key from {}", self.origin)
    }
}

/// A project, and where its id was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// `NEON_PROJECT_ID in .env`.
    pub origin: String,
}

/// Whether a branch that others work with may be used: the default branch, a protected one, the one that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// No: its name is computed, so nobody has said that very branch.
    No,
    /// Not yet: the configuration names it literally, but the user has not allowed it.
    Named,
    /// Yes: named and allowed.
    Yes,
}

impl Grant {
    /// What becomes of it when the user allows it.
    #[must_use]
    pub fn allowed(self) -> Grant {
        if self == Grant::Named { Grant::Yes } else { self }
    }
}

/// What is wanted of which project.
#[derive(Clone, Debug)]
pub struct NeonRequest {
    /// Address of the API, where it is not Neon's own.
    pub host: Option<String>,
    /// The key.
    pub key: Key,
    /// The project.
    pub project: Project,
    /// Name or id of the branch to copy; the project's default branch when absent.
    pub parent: Option<String>,
    /// Database on the branch; its only one when absent.
    pub database: Option<String>,
    /// Role to connect as; the database's owner when absent.
    pub role: Option<String>,
    /// Give the application the pooled URL.
    pub pooled: bool,
    /// Copy the schema without rows.
    pub schema_only: bool,
    /// How long a branch lives after it was last used.
    pub expires_in: Option<Duration>,
    /// Idle time until its compute sleeps.
    pub suspend_timeout: Option<Duration>,
    /// Least and most compute units of its compute.
    pub compute_units: Option<(f64, f64)>,
    /// The repository, for the branch's annotation.
    pub repository: String,
    /// The worktree's own state folder.
    pub state: PathBuf,
    /// Whether a branch that others work with may be used.
    pub grant: Grant,
    /// How long things may take.
    pub pace: Pace,
}

/// A Neon project that branch databases come from.
#[derive(Debug)]
pub struct Neon {
    ctx: Context,
    request: NeonRequest,
    api: Api,
    /// Whether the branch that was taken up may expire: one that others work with never does.
    expires: Cell<bool>,
}

impl Neon {
    /// Gets ready to ask; asks nothing.
    pub fn open(ctx: &Context, request: NeonRequest) -> Result<Neon, Report> {
        let base = Base::parse(request.host.as_deref().unwrap_or(HOST)).map_err(NeonError::Host)?;
        let api = Api {
            link: Link::new(base, request.key.clone(), request.pace.answer),
            project: request.project.clone(),
            pace: request.pace,
            events: ctx.events.clone(),
            turns: ctx.dirs.runtime.join("neon-turns.lock"),
        };
        Ok(Neon { ctx: ctx.clone(), request, api, expires: Cell::new(true) })
    }

    /// What this worktree remembers: the URLs, pooled and direct, that the branch `name` had when it was last used. Asks nobody.
    pub fn address(request: &NeonRequest, name: &str) -> Result<Option<(String, String)>, Report> {
        let record = Record::load(&request.state, &wish(request))?.filter(|record| record.name == name);
        Ok(record.map(|record| (record.url, record.direct_url)))
    }

    /// Forgets what is remembered in `state`: its URLs did not work.
    pub fn forget(state: &Path) {
        Record::forget(state);
    }

    /// Moves the day on which the branch `id`, just taken up, expires, if it is to expire at all: the default branch, a
    /// protected one and the one that is copied never are. A refusal is a warning: the branch works.
    pub async fn refresh(&self, id: &str) {
        let Some(at) = self.expiry(SystemTime::now()).filter(|_| self.expires.get()) else { return };
        if let Err(failure) = self.api.expire(id, &at).await {
            let error = self.told(failure, "set when the branch expires");
            let why = crate::error::Explain::why(&error).unwrap_or_default();
            self.ctx
                .events
                .warn(format!("the Neon branch keeps the day on which it expires: {error}: {why}"));
        }
    }

    fn compute(&self) -> Compute {
        let NeonRequest { suspend_timeout, compute_units, .. } = self.request;
        Compute { suspend_timeout, compute_units }
    }

    fn told(&self, failure: Failure, doing: &str) -> NeonError {
        let Project { id, origin } = &self.request.project;
        failure.told(doing, &self.api.link.key().origin, &format!("{id}, from {origin}"))
    }

    async fn look(&self, name: &str) -> Result<Option<wire::Branch>, NeonError> {
        let doing = format!("look for the branch {name}");
        self.api.branch_named(name).await.map_err(|failure| self.told(failure, &doing))
    }

    /// Refuses a branch that others work with.
    fn guard(&self, branch: &wire::Branch) -> Result<(), NeonError> {
        let NeonRequest { grant, parent, .. } = &self.request;
        match guard::what(branch, parent.as_deref()) {
            Some(what) if *grant != Grant::Yes => {
                let named = *grant == Grant::Named;
                Err(NeonError::Parent { name: branch.name.clone(), what, named })
            }
            _ => Ok(()),
        }
    }

    async fn ensure_branch(&self, wanted: &Wanted) -> Result<Branch, Report> {
        let name = &wanted.name;
        if guard::is_nobodys(name) {
            return Err(NeonError::Name(name.clone()).into());
        }
        if let Some(found) = self.look(name).await? {
            return self.existing(found).await;
        }
        if self.request.parent.as_ref() == Some(name) {
            return Err(NeonError::NoParent(name.clone()).into());
        }
        let doing = format!("creating the Neon branch {name}");
        self.ctx.events.send(Event::StepStarted { step: Preparation::Database, doing });
        let created = match self.create(wanted).await? {
            Made::Found(found) => return self.existing(found).await,
            Made::ByUs(created) => created,
        };
        let branch = created.branch;
        self.guard(&branch)?;
        let doing = format!("finish the branch {name}");
        let finished = self.api.finish(&branch, created.operations).await;
        finished.map_err(|failure| self.told(failure, &doing))?;
        let (url, direct_url) = self.urls(&branch, created.databases).await?;
        self.remember(&branch, &url, &direct_url)?;
        let parent = self.request.parent.clone().unwrap_or_else(|| "the default branch".into());
        Ok(Branch {
            id: branch.id,
            name: branch.name,
            url,
            direct_url,
            door: None,
            origin: DatabaseOrigin::CopyOf(parent),
            // Without the parent's rows its marker is not there either.
            copied_from: branch.parent_id.filter(|_| !self.request.schema_only),
        })
    }

    /// A branch that is there: as remembered, else made usable and asked for its URLs.
    async fn existing(&self, found: wire::Branch) -> Result<Branch, Report> {
        self.guard(&found)?;
        self.expires.set(guard::what(&found, self.request.parent.as_deref()).is_none());
        let remembered = Record::load(&self.request.state, &wish(&self.request))?;
        let (url, direct_url) = match remembered.filter(|record| record.branch == found.id) {
            Some(record) if found.is_settled() => (record.url, record.direct_url),
            _ => {
                let doing = format!("take up the branch {}", found.name);
                let taken = self.api.take_up(found.clone(), &self.compute()).await;
                let branch = taken.map_err(|failure| self.told(failure, &doing))?;
                self.guard(&branch)?;
                let (url, direct_url) = self.urls(&branch, Vec::new()).await?;
                self.remember(&branch, &url, &direct_url)?;
                (url, direct_url)
            }
        };
        Ok(reached(found, url, direct_url))
    }

    /// The URLs of a branch that is there: as remembered, else asked for.
    async fn addresses(&self, branch: &wire::Branch) -> Result<(String, String), Report> {
        let remembered = Record::load(&self.request.state, &wish(&self.request))?;
        match remembered.filter(|record| record.branch == branch.id && branch.is_settled()) {
            Some(record) => Ok((record.url, record.direct_url)),
            None => Ok(self.urls(branch, Vec::new()).await?),
        }
    }

    /// The URL for the application and the direct one. `known` are the branch's databases when they were told already.
    async fn urls(
        &self,
        branch: &wire::Branch,
        known: Vec<wire::Database>,
    ) -> Result<(String, String), NeonError> {
        let doing = "get the branch's URL";
        let told = |failure| self.told(failure, doing);
        let (database, role) = match (&self.request.database, &self.request.role) {
            (Some(database), Some(role)) => (database.clone(), role.clone()),
            (database, role) => {
                let all = if known.is_empty() {
                    self.api.databases(&branch.id, true).await.map_err(told)?
                } else {
                    known
                };
                let chosen = which(branch, all, database.as_deref())?;
                (chosen.name, role.clone().unwrap_or(chosen.owner_name))
            }
        };
        let uri = async |pooled| self.api.connection_uri(&branch.id, &database, &role, pooled).await;
        let direct = uri(false).await.map_err(told)?;
        let url = if self.request.pooled { uri(true).await.map_err(told)? } else { direct.clone() };
        Ok((url, direct))
    }

    fn remember(&self, branch: &wire::Branch, url: &str, direct_url: &str) -> Result<(), Report> {
        let record = Record::new(wish(&self.request), &branch.id, &branch.name, url, direct_url);
        Ok(record.save(&self.request.state)?)
    }
}

/// The database that is meant.
fn which(
    branch: &wire::Branch,
    all: Vec<wire::Database>,
    wanted: Option<&str>,
) -> Result<wire::Database, NeonError> {
    let found = all.iter().map(|database| database.name.clone()).collect();
    let mut fitting = all.into_iter().filter(|database| wanted.is_none_or(|name| name == database.name));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(NeonError::WhichDatabase { branch: branch.name.clone(), found }),
    }
}

/// Everything that changes which URLs are right for a branch.
fn wish(request: &NeonRequest) -> Vec<String> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
    vec![
        or_none(&request.host),
        request.project.id.clone(),
        or_none(&request.database),
        or_none(&request.role),
        request.pooled.to_string(),
    ]
}

/// A branch that was there before.
fn reached(found: wire::Branch, url: String, direct_url: String) -> Branch {
    let (id, name) = (found.id, found.name);
    Branch { id, name, url, direct_url, door: None, origin: DatabaseOrigin::Existing, copied_from: None }
}

impl Provider for Neon {
    fn name(&self) -> &'static str {
        "neon"
    }

    fn find<'a>(&'a self, name: &'a str) -> Step<'a, Option<Branch>> {
        Box::pin(async move {
            let Some(found) = self.look(name).await? else { return Ok(None) };
            self.guard(&found)?;
            let (url, direct_url) = self.addresses(&found).await?;
            Ok(Some(reached(found, url, direct_url)))
        })
    }

    fn ensure<'a>(&'a self, wanted: &'a Wanted) -> Step<'a, Branch> {
        Box::pin(self.ensure_branch(wanted))
    }

    fn describe<'a>(&'a self, name: &'a str) -> Step<'a, Option<Entry>> {
        Box::pin(async move { Ok(self.entry(name).await?.map(|(_, entry)| entry)) })
    }

    fn list(&self) -> Step<'_, Vec<Entry>> {
        Box::pin(async move { Ok(self.entries().await?) })
    }

    fn reset<'a>(&'a self, wanted: &'a Wanted) -> Step<'a, Branch> {
        Box::pin(self.reset_branch(wanted))
    }

    fn delete<'a>(&'a self, name: &'a str) -> Step<'a, bool> {
        Box::pin(self.delete_branch(name))
    }
}
