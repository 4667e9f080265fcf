//! The branch databases of a repository, for verbs that look at them, migrate them or take them away without a run.
//!
//! Makes nothing that was not asked for: where no database was ever made there is none, and no server is started to find
//! that out. A server that runs for these verbs alone is stopped with them.

use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;

use super::branch::{self, Choosing, NEON, Settled};
use super::{Ground, Progress, Tasks, preview, steps};
use crate::context::Context;
use crate::database::local::{self, Local, LocalRequest};
use crate::database::migrate::{Standing, standing};
use crate::database::neon::Neon;
use crate::database::undo::{UndoError, Undoing, permit};
use crate::database::{Branch, Entry, Provider, Wanted};
use crate::error::{Code, Report};
use crate::plan::Need;

/// The branch databases that this worktree's provider has.
pub struct Databases {
    ctx: Context,
    /// What this worktree is.
    pub ground: Rc<Ground>,
    /// The database of this worktree, which need not exist.
    pub own: Wanted,
    /// The provider's word.
    pub provider: &'static str,
    /// Whether the local server ran before we came; `None` where there is no such server.
    pub server_ran: Option<bool>,
    /// Databases that others are copied from, and what they are.
    kept: Vec<(String, &'static str)>,
    source: Option<Box<dyn Provider>>,
}

impl Databases {
    /// Looks at the configuration, and makes the provider ready to answer.
    pub async fn open(ctx: &Context) -> Result<Databases, Report> {
        let ground = Rc::new(preview::look(ctx).await?);
        let Some(Choosing { asked, wanted, default, neon }) = branch::choose(ctx, &ground)? else {
            return Err(none());
        };
        let mut kept = Vec::new();
        let (source, server_ran): (Option<Box<dyn Provider>>, _) = if let Some(request) = neon {
            (Some(Box::new(Neon::open(ctx, request)?)), None)
        } else {
            kept.extend(default.map(|name| (name, "the default branch's database")));
            if asked.parent.is_some() {
                kept.push((wanted.parent.clone(), "the database that others are copied from"));
            }
            let request = LocalRequest { looks: true, ..branch::local(&ground, &asked)? };
            let ran = Local::is_running(ctx, &request)?;
            let made = Local::is_made(ctx, &request)?;
            let source: Option<Box<dyn Provider>> =
                if made { Some(Box::new(Local::open(ctx, request, None).await?)) } else { None };
            (source, Some(ran))
        };
        let provider = if server_ran.is_some() { "local" } else { NEON };
        Ok(Databases { ctx: ctx.clone(), ground, own: wanted, provider, server_ran, kept, source })
    }

    /// What is known of the database `name`.
    pub async fn describe(&self, name: &str) -> Result<Option<Entry>, Report> {
        let Some(source) = &self.source else { return Ok(None) };
        Ok(source.describe(name).await?.map(|entry| self.marked(entry)))
    }

    /// All there are.
    pub async fn list(&self) -> Result<Vec<Entry>, Report> {
        let Some(source) = &self.source else { return Ok(Vec::new()) };
        Ok(source.list().await?.into_iter().map(|entry| self.marked(entry)).collect())
    }

    /// The database `name`, to connect to.
    pub async fn find(&self, name: &str) -> Result<Branch, Report> {
        let found = match &self.source {
            Some(source) => source.find(name).await?,
            None => None,
        };
        found.ok_or_else(|| UndoError::Missing(name.into()).into())
    }

    /// How far the schema of `branch` is; `None` when this worktree has no migrations to compare with.
    pub async fn standing(&self, branch: &Branch) -> Result<Option<Standing>, Report> {
        let own = branch.name == self.own.name;
        let migrate = self.ground.config.database.as_ref().and_then(|database| database.migrate.as_ref());
        let Some(migrate) = migrate else { return Ok(None) };
        let folder = self.ground.folder(&migrate.directory);
        let files = own.then_some((&migrate.run, folder.as_path(), migrate.inputs.as_slice()));
        Ok(Some(standing(branch, files).await?))
    }

    /// The database `name`, if that may be done to it; `named` is true when the user wrote its whole name.
    pub async fn doomed(&self, name: &str, doing: Undoing, named: bool) -> Result<Option<Entry>, Report> {
        let Some(entry) = self.describe(name).await? else { return Ok(None) };
        permit(&entry, doing, named)?;
        Ok(Some(entry))
    }

    /// Makes a database a copy of its parent again. This worktree's own is migrated; another's at its next run. Gives how the
    /// schema came to be.
    pub async fn reset(&self, entry: &Entry) -> Result<(Branch, Option<String>), Report> {
        let Some(source) = &self.source else { return Err(UndoError::Missing(entry.name.clone()).into()) };
        if entry.name != self.own.name {
            let Some(parent) = entry.parent.clone() else {
                return Err(UndoError::Orphan(entry.name.clone()).into());
            };
            let wanted = Wanted {
                label: entry.git_branch.clone().unwrap_or_else(|| entry.name.clone()),
                name: entry.name.clone(),
                parent,
                worktree: entry.worktree.clone().unwrap_or_else(|| self.own.worktree.clone()),
            };
            return Ok((source.reset(&wanted).await?, None));
        }
        let mut shop = Shop::open(&self.ctx, &self.ground);
        let (ctx, ground, progress) = (&self.ctx, &*self.ground, shop.progress.clone());
        let work = Box::pin(async {
            if self.provider != NEON {
                branch::make_parent(ctx, ground, &progress, &**source, &self.own).await?;
            }
            let branch = source.reset(&self.own).await?;
            let settled = Settled { provider: self.provider, branch };
            let migrated = migrated(ctx, ground, &settled, &progress).await?;
            Ok((settled.branch, migrated))
        });
        shop.during(work).await
    }

    /// Deletes a database; false when it was gone already.
    pub async fn delete(&self, name: &str) -> Result<bool, Report> {
        match &self.source {
            Some(source) => source.delete(name).await,
            None => Ok(false),
        }
    }

    fn marked(&self, entry: Entry) -> Entry {
        let kept = self.kept.iter().find(|(name, _)| *name == entry.name).map(|(_, what)| *what);
        Entry { kept: entry.kept.or(kept), ..entry }
    }
}

/// What `up` does before the servers, alone: makes sure the branch database exists and is migrated. Gives the provider's word,
/// the database, and how its schema came to be.
pub async fn migrate(ctx: &Context) -> Result<(&'static str, Branch, Option<String>), Report> {
    let ground = Rc::new(preview::look(ctx).await?);
    let mut shop = Shop::open(ctx, &ground);
    let mut held = Held(Vec::new());
    let progress = shop.progress.clone();
    let work = Box::pin(async {
        let mut entrust = |folder, claim| {
            held.0.push((folder, claim));
            Ok(())
        };
        let ensuring = branch::ensure(ctx, ground.clone(), progress.clone(), false, &mut entrust);
        let settled = ensuring.await?.ok_or_else(none)?;
        let migrated = migrated(ctx, &ground, &settled, &progress).await?;
        Ok((settled.provider, settled.branch, migrated))
    });
    shop.during(work).await
}

async fn migrated(
    ctx: &Context,
    ground: &Ground,
    settled: &Settled,
    progress: &Progress,
) -> Result<Option<String>, Report> {
    let env = ground.environment(ctx, Some(settled.address()))?;
    branch::migrate(ctx, ground, &env, &settled.branch, progress).await
}

fn none() -> Report {
    Report::new(Code::DatabaseMissing, "this project has no branch database")
        .with_fix("write a `database:` section in devrun.yaml; see docs/database.md")
}

/// Claims on servers; the last user of one stops it.
struct Held(Vec<(PathBuf, OwnedFd)>);

impl Drop for Held {
    fn drop(&mut self) {
        for (cluster, claim) in self.0.drain(..) {
            local::stop_if_last(claim, &cluster);
        }
    }
}

/// The tools that migrations need, being made ready while something else is done.
struct Shop {
    progress: Progress,
    gates: UnboundedReceiver<Result<Need, Report>>,
    _tasks: Tasks,
}

impl Shop {
    fn open(ctx: &Context, ground: &Rc<Ground>) -> Shop {
        let migrate = ground.config.database.as_ref().and_then(|database| database.migrate.as_ref());
        let needs = migrate.map_or_else(BTreeSet::new, |migrate| branch::tools(ground, migrate));
        let met = Need::ALL.into_iter().filter(|need| !needs.contains(need)).collect();
        let (sender, gates) = unbounded_channel();
        let progress =
            Progress { mask: ground.mask(ctx), gates: sender, met: Rc::new(watch::Sender::new(met)) };
        let mut tasks = Tasks::default();
        for need in needs {
            tasks.spawn(steps::install(ctx.clone(), ground.clone(), need, progress.clone()));
        }
        Shop { progress, gates, _tasks: tasks }
    }

    /// Does `work`, unless a tool cannot be had.
    async fn during<T>(
        &mut self,
        mut work: impl Future<Output = Result<T, Report>> + Unpin,
    ) -> Result<T, Report> {
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                Some(gate) = self.gates.recv() => drop(gate?),
            }
        }
    }
}

/// A client program such as `psql`, wherever there is one.
pub fn client_program(ctx: &Context, ground: &Ground, name: &str) -> Option<PathBuf> {
    Local::program(ctx, &branch::request(&ground.worktree, None), name)
}
