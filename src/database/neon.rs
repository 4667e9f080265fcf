//! The `neon` provider: one branch of a Neon project per git branch, created exactly once, and never the parent itself.
//!
//! This module talks to Neon's API and stores what a worktree remembers of its branch. The service is the authority: a
//! branch id identifies the database, and because names are unique, the service shows who created a branch. The API key
//! is sent to the service and appears nowhere else. The default branch, protected branches and the copied branch are
//! refused unless the user names and allows them.

mod api;
mod create;
mod error;
mod guard;
mod http;
mod names;
mod project;
mod provider;
mod proxy;
mod readiness;
mod record;
mod related_branches;
mod reset_and_delete;
mod retry;
mod saving;
mod wire;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hyper::header::HeaderValue;

pub use self::api::Pace;
pub use self::error::NeonError;
pub use self::names::fit;
pub use self::project::linked;
pub(super) use self::provider::{NeonProvider, chosen};

use self::api::Api;
use self::create::CreateResult;
use self::error::CallFailure;
use self::http::{Base, HttpConnection};
use self::readiness::Compute;
use self::record::BranchRecord;
use super::{BranchDatabase, ListedDatabase, WantedDatabase};
use crate::context::Context;
use crate::error::Report;
use crate::event::{Event, Step as Preparation};
use crate::plan::DatabaseOrigin;

/// The address of the API, unless `NEON_API_HOST` sets another one.
const HOST: &str = "https://console.neon.tech/api/v2";

/// The API key and where it was found. `Debug` does not print the key.
#[derive(Clone)]
pub struct Key {
    header: HeaderValue,
    origin: String,
}

impl Key {
    /// Returns the key `secret`, which was found in `origin` (`NEON_API_KEY in .env`). Errors if it contains characters
    /// that an HTTP header cannot have.
    pub fn new(secret: &str, origin: impl Into<String>) -> Result<Key, NeonError> {
        let origin = origin.into();
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", secret.trim())).map_err(|_| NeonError::Missing {
                what: "a key of printable ASCII characters",
                fix: format!("correct {origin}"),
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
pub struct NeonProject {
    pub id: String,
    /// `NEON_PROJECT_ID in .env`.
    pub origin: String,
}

/// The user's permission to use a branch that other work depends on: the default branch, a protected one, or the one
/// that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// No: the branch's name is computed, so the user has not chosen this branch explicitly.
    No,
    /// Not yet: the configuration names the branch literally, but the user has not allowed it.
    Named,
    /// Yes: the user has named and allowed it.
    Yes,
}

impl Grant {
    /// Returns the grant after the user has allowed it.
    #[must_use]
    pub fn allowed(self) -> Grant {
        if self == Grant::Named { Grant::Yes } else { self }
    }
}

/// The parameters of the provider.
#[derive(Clone, Debug)]
pub struct NeonRequest {
    /// Address of the API, if it is not Neon's own.
    pub host: Option<String>,
    /// The API key.
    pub key: Key,
    /// The project to create branches in.
    pub project: NeonProject,
    /// Name or id of the branch to copy; the project's default branch when absent.
    pub parent: Option<String>,
    /// Database on the branch. If absent, the branch must have exactly one.
    pub database: Option<String>,
    /// Role to connect as; the database's owner when absent.
    pub role: Option<String>,
    /// True if the application gets the pooled URL.
    pub pooled: bool,
    /// True if only the schema is copied, without rows.
    pub schema_only: bool,
    /// How long a branch lives after its last use.
    pub expires_in: Option<Duration>,
    /// Idle time until its compute is suspended.
    pub suspend_timeout: Option<Duration>,
    /// Minimum and maximum compute units.
    pub compute_units: Option<(f64, f64)>,
    /// The repository, for the branch's annotation.
    pub repository: String,
    /// The worktree's own state folder.
    pub state: PathBuf,
    /// The permission to use a branch that other work depends on.
    pub grant: Grant,
    /// Time limits.
    pub pace: Pace,
}

/// A Neon project in which devrun creates branch databases.
#[derive(Debug)]
pub struct Neon {
    ctx: Context,
    request: NeonRequest,
    api: Api,
    /// False if the current branch never expires, because other work depends on it.
    expires: Cell<bool>,
}

impl Neon {
    /// Prepares the provider. Sends no request. Errors if the address of the API is invalid.
    pub fn open(ctx: &Context, request: NeonRequest) -> Result<Neon, Report> {
        let base = Base::parse(request.host.as_deref().unwrap_or(HOST)).map_err(NeonError::Host)?;
        let link = HttpConnection::new(base, request.key.clone(), &ctx.env, request.pace.answer)
            .map_err(NeonError::Proxy)?;
        let api = Api {
            link,
            project: request.project.clone(),
            pace: request.pace,
            events: ctx.events.clone(),
            turns: ctx.dirs.runtime.join("neon-turns.lock"),
        };
        Ok(Neon { ctx: ctx.clone(), request, api, expires: Cell::new(true) })
    }

    /// Returns the URLs, pooled and direct, that the branch `name` had at its last use in this worktree. Sends no
    /// request.
    pub fn address(request: &NeonRequest, name: &str) -> Result<Option<(String, String)>, Report> {
        let record = BranchRecord::load(&request.state, &wish(request))?.filter(|record| record.name == name);
        Ok(record.map(|record| (record.url, record.direct_url)))
    }

    /// Deletes the record in `state`, because its URLs did not work.
    pub fn forget(state: &Path) {
        BranchRecord::forget(state);
    }

    /// Moves the expiry date of the branch `id`, which was just taken up. The default branch, a protected one and the
    /// copied one never expire. A failure is only a warning, because the branch works.
    pub async fn refresh(&self, id: &str) {
        let Some(at) = self.expiry(SystemTime::now()).filter(|_| self.expires.get()) else { return };
        if let Err(failure) = self.api.expire(id, &at).await {
            let error = self.explain(failure, "set when the branch expires");
            let why = crate::error::Explain::why(&error).unwrap_or_default();
            self.ctx.events.warn(format!("the Neon branch keeps its old expiry date: {error}: {why}"));
        }
    }

    fn compute(&self) -> Compute {
        let NeonRequest { suspend_timeout, compute_units, .. } = self.request;
        Compute { suspend_timeout, compute_units }
    }

    fn explain(&self, failure: CallFailure, doing: &str) -> NeonError {
        let NeonProject { id, origin } = &self.request.project;
        failure.into_error(doing, &self.api.link.key().origin, &format!("{id}, from {origin}"))
    }

    async fn find_branch(&self, name: &str) -> Result<Option<wire::NeonBranch>, NeonError> {
        let doing = format!("look for the branch {name}");
        self.api.branch_named(name).await.map_err(|failure| self.explain(failure, &doing))
    }

    /// Errors if other work depends on the branch and the user has not allowed its use.
    fn guard(&self, branch: &wire::NeonBranch) -> Result<(), NeonError> {
        let NeonRequest { grant, parent, .. } = &self.request;
        match guard::what(branch, parent.as_deref()) {
            Some(what) if *grant != Grant::Yes => {
                let named = *grant == Grant::Named;
                Err(NeonError::Parent { name: branch.name.clone(), what, named })
            }
            _ => Ok(()),
        }
    }

    /// See [`Provider::ensure`](super::Provider::ensure).
    pub async fn ensure(&self, wanted: &WantedDatabase) -> Result<BranchDatabase, Report> {
        let name = &wanted.name;
        if guard::is_nobodys(name) {
            return Err(NeonError::Name(name.clone()).into());
        }
        if let Some(found) = self.find_branch(name).await? {
            return self.existing(found).await;
        }
        if self.request.parent.as_ref() == Some(name) {
            return Err(NeonError::NoParent(name.clone()).into());
        }
        let doing = format!("creating the Neon branch {name}");
        self.ctx.events.send(Event::StepStarted { step: Preparation::Database, doing });
        let created = match self.create(wanted).await? {
            CreateResult::Found(found) => return self.existing(found).await,
            CreateResult::ByUs(created) => created,
        };
        let branch = created.branch;
        self.guard(&branch)?;
        let doing = format!("finish the branch {name}");
        let finished = self.api.finish(&branch, created.operations).await;
        finished.map_err(|failure| self.explain(failure, &doing))?;
        let (url, direct_url) = self.urls(&branch, created.databases).await?;
        self.remember(&branch, &url, &direct_url)?;
        let parent = self.request.parent.clone().unwrap_or_else(|| "the default branch".into());
        Ok(BranchDatabase {
            id: branch.id,
            name: branch.name,
            url,
            direct_url,
            admin_socket: None,
            records: None,
            origin: DatabaseOrigin::CopyOf(parent),
            // Without the parent's rows the copy has no success marker.
            copied_from: branch.parent_id.filter(|_| !self.request.schema_only),
        })
    }

    /// Returns an existing branch. Uses the remembered URLs, or else makes the branch usable and requests its URLs.
    async fn existing(&self, found: wire::NeonBranch) -> Result<BranchDatabase, Report> {
        self.guard(&found)?;
        self.expires.set(guard::what(&found, self.request.parent.as_deref()).is_none());
        let remembered = BranchRecord::load(&self.request.state, &wish(&self.request))?;
        let (url, direct_url) = match remembered.filter(|record| record.branch == found.id) {
            Some(record) if found.is_settled() => (record.url, record.direct_url),
            _ => {
                let doing = format!("take up the branch {}", found.name);
                let taken = self.api.take_up(found.clone(), &self.compute()).await;
                let branch = taken.map_err(|failure| self.explain(failure, &doing))?;
                self.guard(&branch)?;
                let (url, direct_url) = self.urls(&branch, Vec::new()).await?;
                self.remember(&branch, &url, &direct_url)?;
                (url, direct_url)
            }
        };
        Ok(reached(found, url, direct_url))
    }

    /// Returns the URLs of an existing branch: remembered, or else requested.
    async fn addresses(&self, branch: &wire::NeonBranch) -> Result<(String, String), Report> {
        let remembered = BranchRecord::load(&self.request.state, &wish(&self.request))?;
        match remembered.filter(|record| record.branch == branch.id && branch.is_settled()) {
            Some(record) => Ok((record.url, record.direct_url)),
            None => Ok(self.urls(branch, Vec::new()).await?),
        }
    }

    /// Requests the URL for the application and the direct URL. `known` has the branch's databases, if an answer
    /// already contained them.
    async fn urls(
        &self,
        branch: &wire::NeonBranch,
        known: Vec<wire::NeonDatabase>,
    ) -> Result<(String, String), NeonError> {
        let doing = "get the branch's URL";
        let told = |failure| self.explain(failure, doing);
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

    fn remember(&self, branch: &wire::NeonBranch, url: &str, direct_url: &str) -> Result<(), Report> {
        let record = BranchRecord::new(wish(&self.request), &branch.id, &branch.name, url, direct_url);
        Ok(record.save(&self.request.state)?)
    }
}

/// Returns the database with the wanted name, or the only one. Errors if there is no such choice.
fn which(
    branch: &wire::NeonBranch,
    all: Vec<wire::NeonDatabase>,
    wanted: Option<&str>,
) -> Result<wire::NeonDatabase, NeonError> {
    let found = all.iter().map(|database| database.name.clone()).collect();
    let mut fitting = all.into_iter().filter(|database| wanted.is_none_or(|name| name == database.name));
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(NeonError::WhichDatabase { branch: branch.name.clone(), found }),
    }
}

/// Returns everything that determines the URLs of a branch.
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

/// Returns a branch that existed before this run.
fn reached(found: wire::NeonBranch, url: String, direct_url: String) -> BranchDatabase {
    let (id, name) = (found.id, found.name);
    BranchDatabase {
        id,
        name,
        url,
        direct_url,
        admin_socket: None,
        records: None,
        origin: DatabaseOrigin::Existing,
        copied_from: None,
    }
}

impl Neon {
    /// See [`Provider::find`](super::Provider::find).
    pub async fn find(&self, name: &str) -> Result<Option<BranchDatabase>, Report> {
        let Some(found) = self.find_branch(name).await? else { return Ok(None) };
        self.guard(&found)?;
        let (url, direct_url) = self.addresses(&found).await?;
        Ok(Some(reached(found, url, direct_url)))
    }

    /// See [`Provider::describe`](super::Provider::describe).
    pub async fn describe(&self, name: &str) -> Result<Option<ListedDatabase>, Report> {
        Ok(self.entry(name).await?.map(|(_, entry)| entry))
    }
}
