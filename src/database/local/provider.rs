//! The local provider as a [`Provider`]: reads its settings, and opens the cluster when it is needed.

use std::cell::RefCell;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::copying::CopyState;
use super::{Local, LocalRequest, upgrade};
use crate::context::Context;
use crate::database::import::{ImportRequest, Imported};
use crate::database::provider_request::ProviderRequest;
use crate::database::saved_snapshots::SavedSnapshot;
use crate::database::undo::UndoError;
use crate::database::upgrade::Upgraded;
use crate::database::{
    BranchDatabase, ListedDatabase, Provider, ProviderFuture, Purpose, ServerState, Urls, WantedDatabase,
};
use crate::error::{Code, Report};
use crate::worktree::Worktree;

/// The cluster of one repository, which may not exist yet.
pub(in crate::database) struct LocalProvider {
    ctx: Context,
    request: LocalRequest,
    /// The databases that other databases are copied from, and what each one is.
    kept: Vec<(String, &'static str)>,
    /// `None` until it is opened, and if the repository has no cluster and none was to be created.
    opened: RefCell<Option<Rc<Local>>>,
}

impl LocalProvider {
    /// Returns the provider with the settings in `request`. Errors if `bin` is refused.
    pub(in crate::database) fn configured(
        ctx: &Context,
        request: &ProviderRequest<'_>,
    ) -> Result<LocalProvider, Report> {
        let section = request.section("local");
        let bin = section.text("bin").map(PathBuf::from);
        let bin = bin.map(|bin| programs(request.worktree, bin)).transpose()?;
        let mut provider = LocalProvider::with(ctx, request.worktree, bin);
        provider.request.fast = section.text("durability").as_deref() == Some("fast");
        Ok(LocalProvider { kept: request.kept(), ..provider })
    }

    /// Returns the provider for verbs that must work without a configuration.
    pub(in crate::database) fn unconfigured(ctx: &Context, worktree: &Worktree) -> LocalProvider {
        LocalProvider::with(ctx, worktree, None)
    }

    fn with(ctx: &Context, worktree: &Worktree, bin: Option<PathBuf>) -> LocalProvider {
        let request = LocalRequest {
            shared: worktree.shared.clone(),
            owner_uid: owner(&worktree.path),
            bin,
            fast: false,
            looks: false,
        };
        LocalProvider { ctx: ctx.clone(), request, kept: Vec::new(), opened: RefCell::default() }
    }

    /// Returns the path of a client program such as `psql`. `None` if there is none.
    pub(in crate::database) fn program(&self, name: &str) -> Option<PathBuf> {
        Local::program(&self.ctx, &self.request, name)
    }

    /// Returns the path of a client program, and downloads it if there is none, as [`Local::fetch_program`] does.
    pub(in crate::database) async fn fetch_program(&self, name: &str) -> Result<PathBuf, String> {
        Local::fetch_program(&self.ctx, &self.request, name).await
    }

    fn opened(&self) -> Option<Rc<Local>> {
        self.opened.borrow().clone()
    }

    fn marked(&self, entry: ListedDatabase) -> ListedDatabase {
        let kept = self.kept.iter().find(|(name, _)| *name == entry.name).map(|(_, what)| *what);
        ListedDatabase { kept, ..entry }
    }
}

fn owner(path: &Path) -> u32 {
    std::fs::metadata(path).map_or_else(|_| nix::unistd::geteuid().as_raw(), |meta| meta.uid())
}

/// Returns `bin`, the folder that `database.local.bin` names. Errors if the path is not absolute, or if a checkout could replace the
/// programs there: they run as soon as a verb needs the server.
fn programs(worktree: &Worktree, bin: PathBuf) -> Result<PathBuf, Report> {
    let refused = |why: &str| {
        Report::new(Code::ConfigInvalid, format!("database.local.bin ({}) is refused: {why}", bin.display()))
            .with_fix(
                "set it to the absolute path of a folder outside the worktree that holds postgres and initdb",
            )
    };
    if !bin.is_absolute() {
        return Err(refused("it is not an absolute path"));
    }
    let git = worktree.git.as_ref();
    let roots = [
        Some(worktree.path.as_path()),
        git.and_then(|git| git.main_worktree.as_deref()),
        git.map(|git| git.common_dir.as_path()),
    ];
    let physical = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let place = physical(&bin);
    if roots.into_iter().flatten().any(|root| place.starts_with(physical(root)) || bin.starts_with(root)) {
        return Err(refused("it lies in the repository, so a checked-out branch can replace its programs"));
    }
    Ok(bin)
}

impl Provider for LocalProvider {
    fn name(&self) -> &'static str {
        "local"
    }

    fn makes_parents(&self) -> bool {
        true
    }

    fn is_shared(&self) -> bool {
        false
    }

    fn address(&self, name: &str) -> Result<Option<Urls>, Report> {
        let url = Local::address(&self.ctx, &self.request, name)?;
        Ok(url.map(|url| Urls { direct_url: url.clone(), url }))
    }

    fn server(&self) -> Result<Option<ServerState>, Report> {
        let runs = Local::is_running(&self.ctx, &self.request)?;
        Ok(Some(if runs { ServerState::Running } else { ServerState::Stopped }))
    }

    fn open<'a>(&'a self, purpose: Purpose<'a>) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let (looks, entrust) = match purpose {
                Purpose::Look if !Local::is_made(&self.ctx, &self.request)? => return Ok(()),
                Purpose::Look => (true, None),
                Purpose::Run(entrust) => (false, Some(entrust)),
            };
            let request = LocalRequest { looks, ..self.request.clone() };
            let local = Local::open(&self.ctx, request, entrust).await?;
            self.opened.replace(Some(Rc::new(local)));
            Ok(())
        })
    }

    fn find<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<BranchDatabase>> {
        Box::pin(async move {
            match self.opened() {
                Some(local) => local.find(name).await,
                None => Ok(None),
            }
        })
    }

    fn ensure<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(wanted.name.clone()))?;
            local.ensure(wanted).await
        })
    }

    fn describe<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, Option<ListedDatabase>> {
        Box::pin(async move {
            let Some(local) = self.opened() else { return Ok(None) };
            Ok(local.describe(name).await?.map(|entry| self.marked(entry)))
        })
    }

    fn list(&self) -> ProviderFuture<'_, Vec<ListedDatabase>> {
        Box::pin(async move {
            let Some(local) = self.opened() else { return Ok(Vec::new()) };
            Ok(local.list().await?.into_iter().map(|entry| self.marked(entry)).collect())
        })
    }

    fn rename<'a>(&'a self, from: &'a ListedDatabase, wanted: &'a WantedDatabase) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            match self.opened() {
                Some(local) => local.rename(from, wanted).await,
                None => Ok(()),
            }
        })
    }

    fn reset<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(wanted.name.clone()))?;
            local.reset(wanted, CopyState::Current).await
        })
    }

    fn reset_from_snapshot<'a>(&'a self, wanted: &'a WantedDatabase) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(wanted.name.clone()))?;
            local.reset(wanted, CopyState::Snapshot).await
        })
    }

    fn save_snapshot<'a>(&'a self, name: &'a str, snapshot: &'a str) -> ProviderFuture<'a, SavedSnapshot> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(name.into()))?;
            local.save_snapshot(name, snapshot).await
        })
    }

    fn saved_snapshots(&self) -> ProviderFuture<'_, Vec<SavedSnapshot>> {
        Box::pin(async move {
            match self.opened() {
                Some(local) => local.saved_snapshots().await,
                None => Ok(Vec::new()),
            }
        })
    }

    fn restore_snapshot<'a>(
        &'a self,
        wanted: &'a WantedDatabase,
        snapshot: &'a str,
    ) -> ProviderFuture<'a, BranchDatabase> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(wanted.name.clone()))?;
            local.restore_snapshot(wanted, snapshot).await
        })
    }

    fn delete_snapshot<'a>(&'a self, name: &'a str, snapshot: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(name.into()))?;
            local.delete_snapshot(name, snapshot).await
        })
    }

    fn prepare_copies<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let is_parent = self.kept.iter().any(|(kept, _)| kept == name);
            match self.opened().filter(|_| is_parent) {
                Some(local) => local.prepare_copies(name).await,
                None => Ok(()),
            }
        })
    }

    fn import<'a>(
        &'a self,
        wanted: &'a WantedDatabase,
        request: &'a ImportRequest,
    ) -> ProviderFuture<'a, Imported> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(wanted.name.clone()))?;
            local.import(wanted, request).await
        })
    }

    fn restore_rows<'a>(&'a self, name: &'a str, file: &'a Path) -> ProviderFuture<'a, ()> {
        Box::pin(async move {
            let local = self.opened().ok_or_else(|| UndoError::Missing(name.into()))?;
            local.restore_rows(name, file).await
        })
    }

    fn provide_extension<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, bool> {
        Box::pin(async move {
            match self.opened() {
                Some(local) => local.provide_extension(name).await,
                None => Ok(false),
            }
        })
    }

    fn extension_fix(&self, name: &str) -> String {
        Local::extension_fix(&self.ctx, &self.request, name)
    }

    fn delete<'a>(&'a self, name: &'a str) -> ProviderFuture<'a, bool> {
        Box::pin(async move {
            match self.opened() {
                Some(local) => local.delete(name).await,
                None => Ok(false),
            }
        })
    }

    fn keep_server(&self) -> Result<bool, Report> {
        let Some(local) = self.opened() else { return Ok(false) };
        local.keep_server().map(|()| true)
    }

    fn release_server(&self) -> Result<(), Report> {
        Local::release_server(&self.ctx, &self.request)
    }

    fn upgrade(&self, keep_old: bool) -> ProviderFuture<'_, Upgraded> {
        Box::pin(upgrade::run(&self.ctx, &self.request, keep_old))
    }

    fn stop_unused(&self) -> Result<(), Report> {
        Local::stop_unused(&self.ctx, &self.request)
    }
}
