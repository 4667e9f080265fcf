//! The Neon provider as a [`Provider`]: finds its key, project and settings, and decides whether there is a Neon provider
//! at all. Sends nothing until it is used.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::path::Path;

use super::{Grant, Key, Neon, NeonError, NeonProject, NeonRequest, Pace, fit, linked};
use crate::context::Context;
use crate::database::provider_request::ProviderRequest;
use crate::database::saved_snapshots::SavedSnapshot;
use crate::database::variables::Variable;
use crate::database::{
    BranchDatabase, ListedDatabase, Provider, ProviderFuture, Purpose, Urls, WantedDatabase,
};
use crate::error::Report;
use crate::plan::Section;

const API_KEY: &str = "NEON_API_KEY";
const HOST: &str = "NEON_API_HOST";
const PROJECT: &str = "NEON_PROJECT_ID";

/// Returns the parameters of the provider. Returns `None` if devrun chooses the provider and there is no key or no project.
pub(in crate::database) fn chosen(
    ctx: &Context,
    request: &ProviderRequest<'_>,
) -> Result<Option<NeonRequest>, Report> {
    let settings = request.section("neon");
    let key = request.variables.find(API_KEY);
    let project = project(ctx, request, &settings);
    let is_free = request.provider.is_none();
    let (key, project) = match (key, project) {
        (Some(key), Some(project)) => (key, project),
        (None, _) if is_free => return Ok(None),
        (Some(_), None) if is_free => {
            ctx.events
                .note(format!("{API_KEY} is set, but no Neon project is named: the local provider is used"));
            return Ok(None);
        }
        (None, _) => {
            let fix = format!("set {API_KEY} in the environment or in an env file that is not committed");
            return Err(NeonError::Missing { what: "an API key", fix }.into());
        }
        (Some(_), None) => {
            let fix =
                format!("set `database.neon.project_id`, or {PROJECT} in the environment or an env file");
            return Err(NeonError::Missing { what: "a project", fix }.into());
        }
    };
    let grant = if request.name_is_computed { Grant::No } else { Grant::Named };
    Ok(Some(NeonRequest {
        host: host(request, &key)?,
        key: Key::new(&key.value, format!("{API_KEY} ({})", key.place))?,
        project,
        parent: request.parent.map(Into::into),
        database: settings.text("database"),
        role: settings.text("role"),
        pooled: settings.flag("pooled").unwrap_or(true),
        schema_only: settings.flag("schema_only").unwrap_or(false),
        expires_in: settings.time("expires_in"),
        suspend_timeout: settings.time("suspend_timeout"),
        compute_units: settings.range("compute_units"),
        repository: request.worktree.repo(),
        state: request.worktree.state.clone(),
        grant: if request.allow_parent { grant.allowed() } else { grant },
        pace: Pace::default(),
    }))
}

fn project(ctx: &Context, request: &ProviderRequest<'_>, settings: &Section) -> Option<NeonProject> {
    if let Some(id) = settings.text("project_id") {
        return Some(NeonProject { id, origin: "database.neon.project_id".into() });
    }
    if let Some(variable) = request.variables.find(PROJECT) {
        let origin = format!("{PROJECT}, {}", variable.place);
        return Some(NeonProject { id: variable.value, origin });
    }
    // The file is seldom committed, so it may be in the main worktree only.
    let main = request.worktree.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    let folders: Vec<_> = std::iter::once(request.worktree.path.as_path()).chain(main).collect();
    let home = ctx.env.get(OsStr::new("HOME")).map(Path::new);
    Some(NeonProject { id: linked(&folders, home)?, origin: ".neon".into() })
}

/// Returns the address that the key goes to; `None` is Neon's own. Refuses one from a place that is trusted less than the
/// key.
fn host(request: &ProviderRequest<'_>, key: &Variable) -> Result<Option<String>, Report> {
    let Some(host) = request.variables.find(HOST) else { return Ok(None) };
    if request.variables.may_direct(&host, key) {
        return Ok(Some(host.value));
    }
    Err(NeonError::HostNotTrusted { host: host.place, key: key.place.clone() }.into())
}

/// The branches of a Neon project.
pub(in crate::database) struct NeonProvider {
    ctx: Context,
    request: NeonRequest,
    /// True if devrun has chosen the provider, which the user should know.
    is_chosen: bool,
    opened: OnceCell<Neon>,
}

impl NeonProvider {
    /// Returns the provider with these parameters. `is_chosen` is true if the configuration does not name it.
    pub(in crate::database) fn new(ctx: &Context, request: NeonRequest, is_chosen: bool) -> NeonProvider {
        NeonProvider { ctx: ctx.clone(), request, is_chosen, opened: OnceCell::new() }
    }

    /// Returns the client. Errors if the address of the API is invalid.
    fn neon(&self) -> Result<&Neon, Report> {
        if let Some(neon) = self.opened.get() {
            return Ok(neon);
        }
        let neon = Neon::open(&self.ctx, self.request.clone())?;
        Ok(self.opened.get_or_init(|| neon))
    }
}

impl Provider for NeonProvider {
    fn name(&self) -> &'static str {
        "neon"
    }

    fn safe_name(&self, rendered: &str) -> String {
        fit(rendered)
    }

    fn has_pooler(&self) -> bool {
        true
    }

    /// Returns false: the parent is not devrun's. It is copied as it is, never created and never migrated.
    fn makes_parents(&self) -> bool {
        false
    }

    fn may_sleep(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn address(&self, name: &str) -> Result<Option<Urls>, Report> {
        let urls = Neon::address(&self.request, name)?;
        Ok(urls.map(|(url, direct_url)| Urls { url, direct_url }))
    }

    fn open<'a>(&'a self, purpose: Purpose<'a>) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            if self.is_chosen && matches!(purpose, Purpose::Run(_)) {
                let NeonProject { id, origin } = &self.request.project;
                let text = format!("the database is on Neon: there is a key, and project {id} ({origin})");
                self.ctx.events.note(text);
            }
            self.neon().map(drop)
        })
    }

    fn find<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<BranchDatabase>> {
        Box::pin(async move { self.neon()?.find(name).await })
    }

    fn ensure<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move { self.neon()?.ensure(wanted).await })
    }

    fn describe<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<ListedDatabase>> {
        Box::pin(async move { self.neon()?.describe(name).await })
    }

    fn list(&self) -> ProviderFuture<'_, Vec<ListedDatabase>> {
        Box::pin(async move { self.neon()?.list().await })
    }

    fn rename<'a>(&'a self, from: &'a ListedDatabase, wanted: &'a WantedDatabase) -> ProviderFuture<'a, ()> {
        Box::pin(async move { self.neon()?.rename(from, &wanted.name).await })
    }

    fn reset<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move { self.neon()?.reset(wanted).await })
    }

    fn save_snapshot<'a>(&'a self, name: &'a str, snapshot: &'a str) -> ProviderFuture<'a, SavedSnapshot> {
        Box::pin(async move { self.neon()?.save_snapshot(name, snapshot).await })
    }

    fn saved_snapshots(&self) -> ProviderFuture<'_, Vec<SavedSnapshot>> {
        Box::pin(async move { self.neon()?.saved_snapshots().await })
    }

    fn restore_snapshot<'a>(
        &'a self,
        wanted: &'a WantedDatabase,
        snapshot: &'a str,
    ) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move { self.neon()?.restore_snapshot(wanted, snapshot).await })
    }

    fn delete_snapshot<'a>(&'a self, name: &'a str, snapshot: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(async move { self.neon()?.delete_snapshot(name, snapshot).await })
    }

    fn delete<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, bool> {
        Box::pin(async move { self.neon()?.delete(name).await })
    }

    fn refresh<'a>(&'a self, id: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            self.neon()?.refresh(id).await;
            Ok(())
        })
    }

    fn forget(&self) {
        Neon::forget(&self.request.state);
    }
}
