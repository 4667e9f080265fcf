//! The `local` provider: one Postgres cluster per repository, created and started on demand and stopped by its last
//! user.
//!
//! This module owns the server's programs, the cluster's folder, the server and its databases. It needs no account, no
//! container and no installed Postgres. The server listens on 127.0.0.1 only and requires a password.

mod abandoned;
mod account;
mod added_extensions;
mod admin_socket;
mod binaries;
mod branches;
mod choose_programs;
mod cluster;
mod copying;
mod disk;
mod dump_programs;
mod error;
mod extension_fix;
mod fetch;
mod importing;
mod kept_server;
mod operations;
mod packages;
mod postmaster;
mod program_databases;
mod provider;
mod reset_and_delete;
mod restore;
mod saving;
mod server;
mod state;
#[cfg(test)]
mod tests;
mod unfinished_imports;
mod upgrade;
mod wheel;

use std::cell::RefCell;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use tokio_postgres::Client;

pub use self::abandoned::AbandonedCluster;
pub use self::account::cluster_folders;
use self::admin_socket::SocketFolder;
pub use self::admin_socket::{AdminSocket, ConnectFailure};
pub use self::branches::migration_key;
pub use self::error::LocalError;
pub(super) use self::provider::LocalProvider;
pub(super) use self::state::{free_port, next_port, port_of};

use self::account::{Account, Home};
use self::binaries::Search;
use self::branches::DatabaseSource;
use self::cluster::{ADMIN, Cluster, ClusterSettings};
use self::copying::{Copier, ParentReading};
use self::server::NoAnswer;
use self::state::{ClusterState, RepositoryMatch};
use super::catalogue::{self, CatalogueError, MAINTENANCE, ServerDatabase};
use super::{BranchDatabase, Entrust, WantedDatabase};
use crate::context::Context;
use crate::error::Report;
use crate::event::{Event, Step as Preparation};
use crate::os::fs::{self, Lock, LockKind};
use crate::os::net;
use crate::plan::DatabaseOrigin;

/// The time limit for another devrun to download Postgres, create the cluster and start the server.
const START_TURN: Duration = Duration::from_mins(7);
/// The time limit for the last user of a server to stop it.
const STOP_TURN: Duration = Duration::from_secs(20);

/// The repository whose cluster is used, and where its programs may come from.
#[derive(Clone, Debug)]
pub struct LocalRequest {
    /// The repository's shared folder: `<git-common-dir>/devrun`, or the folder that replaces it.
    pub shared: PathBuf,
    /// Owner of the repository. If devrun runs as root, the server runs as this user.
    pub owner_uid: u32,
    /// A folder with `postgres` and `initdb` that the user has configured.
    pub bin: Option<PathBuf>,
    /// True if the data need not survive a power failure (`durability: fast`). The devrun that starts the server decides.
    pub fast: bool,
    /// True for verbs other than a run: they use the programs that last started the cluster instead of `bin`.
    pub looks: bool,
}

/// A claim on the repository's cluster, with a running server. Every devrun that uses the server holds one.
#[derive(Debug)]
pub struct Local {
    ctx: Context,
    request: LocalRequest,
    home: Home,
    cluster: Cluster,
    state: RefCell<ClusterState>,
    users: RefCell<Option<Lock>>,
    client: RefCell<Option<Rc<Client>>>,
    reading: ParentReading,
}

impl Local {
    /// Claims the repository's cluster. If needed, finds or downloads Postgres, creates the cluster and starts the
    /// server. Passes the claim to `entrust` before a server is started; its receiver calls [`stop_if_last`] even if
    /// this process is killed. Without `entrust` the claim is released when this value is dropped.
    pub async fn open(
        ctx: &Context,
        request: LocalRequest,
        entrust: Option<Entrust<'_>>,
    ) -> Result<Local, Report> {
        Local::claim_cluster(ctx, request, entrust).await
    }

    /// Returns the URL that the database `name` has or will have, without starting anything. Returns `None` if the
    /// repository has no cluster.
    pub fn address(ctx: &Context, request: &LocalRequest, name: &str) -> Result<Option<String>, Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(None) };
        let cluster = Cluster::known(&clusters, &id, account);
        Ok(ClusterState::load(&cluster.state())?.map(|state| state.url(name)))
    }

    /// Returns true if the repository has a cluster, even if the cluster's state file was lost.
    pub fn is_made(ctx: &Context, request: &LocalRequest) -> Result<bool, Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(false) };
        let cluster = Cluster::known(&clusters, &id, account);
        Ok(ClusterState::load(&cluster.state())?.is_some() || cluster.made_by()?.is_some())
    }

    /// Returns true if the repository's server runs. Does not start it.
    pub fn is_running(ctx: &Context, request: &LocalRequest) -> Result<bool, Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(false) };
        let cluster = Cluster::known(&clusters, &id, account);
        Ok(postmaster::running(&cluster.data()).is_some())
    }

    /// Returns the path of a client program such as `psql`: the one on PATH, or else one that came with a server.
    /// `None` if there is none.
    pub fn program(ctx: &Context, request: &LocalRequest, name: &str) -> Option<PathBuf> {
        ctx.which(name).or_else(|| {
            let home = Account::choose(ctx, request.owner_uid).ok().map(|account| account.home(&ctx.dirs));
            choose_programs::program(home.as_ref(), request.bin.as_deref(), name)
        })
    }

    /// Returns the path of a client program as [`Local::program`] does, but `pg_dump`, `pg_dumpall` and `pg_restore` only from PATH. If
    /// there is none, downloads the client programs: of the version that made the cluster, or else of the preferred one. The error is the
    /// reason in words.
    pub async fn fetch_program(ctx: &Context, request: &LocalRequest, name: &str) -> Result<PathBuf, String> {
        // A pg_dump that is not on PATH may be older than the server, and would refuse it.
        let dumps = ["pg_dump", "pg_dumpall", "pg_restore"].contains(&name);
        let found = if dumps { ctx.which(name) } else { Local::program(ctx, request, name) };
        if let Some(found) = found {
            return Ok(found);
        }
        let account = Account::choose(ctx, request.owner_uid).map_err(|error| error.to_string())?;
        let home = account.home(&ctx.dirs);
        let known = state::known_id(&request.shared, &home.clusters).ok().flatten();
        let made_by = known.and_then(|id| Cluster::known(&home.clusters, &id, account).made_by().ok()?);
        let major = made_by.filter(|major| wheel::has(*major)).unwrap_or(packages::PREFERRED);
        let search = Search { ctx, account, home: &home, setting: None };
        let bin = wheel::fetch(&search, major).await;
        let program = bin.map_err(|reason| format!("{}: {reason}", wheel::spec()))?.join(name);
        if program.is_file() { Ok(program) } else { Err(format!("{} has no {name}", wheel::spec())) }
    }

    /// Returns the next step of a user whose cluster lacks the extension `name`.
    pub fn extension_fix(ctx: &Context, request: &LocalRequest, name: &str) -> String {
        let known = || {
            let account = Account::choose(ctx, request.owner_uid).ok()?;
            let clusters = account.home(&ctx.dirs).clusters;
            let id = state::known_id(&request.shared, &clusters).ok()??;
            let cluster = Cluster::known(&clusters, &id, account);
            Some((cluster.made_by().ok()??, cluster.folder))
        };
        extension_fix::of(name, known().as_ref(), &extension_fix::installed())
    }

    /// Stops the repository's server if no devrun uses it any more, for example because all of them were killed.
    pub fn stop_unused(ctx: &Context, request: &LocalRequest) -> Result<(), Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(()) };
        let cluster = Cluster::known(&clusters, &id, account);
        if !cluster.users_lock().exists() {
            return Ok(());
        }
        if kept_server::is_kept(&cluster.folder) {
            return Ok(());
        }
        if let Some(alone) = Lock::try_take(&cluster.users_lock(), LockKind::Exclusive)? {
            upgrade::stop_servers(&cluster.folder);
            drop(alone);
        }
        Ok(())
    }

    /// Lets the server run on when its last user ends.
    pub fn keep_server(&self) -> Result<(), Report> {
        Ok(kept_server::keep(&self.cluster.folder)?)
    }

    /// Ends what [`Local::keep_server`] began, and stops the server if no devrun uses it.
    pub fn release_server(ctx: &Context, request: &LocalRequest) -> Result<(), Report> {
        let account = Account::choose(ctx, request.owner_uid)?;
        let clusters = account.home(&ctx.dirs).clusters;
        let Some(id) = state::known_id(&request.shared, &clusters)? else { return Ok(()) };
        kept_server::release(&Cluster::known(&clusters, &id, account).folder)?;
        Local::stop_unused(ctx, request)
    }

    /// Releases the claim, and stops the server if this was the last one.
    pub fn release(&self) {
        self.client.replace(None);
        if let Some(Ok(claim)) = self.users.replace(None).map(|lock| lock.share()) {
            stop_if_last(claim, &self.cluster.folder);
        }
    }

    /// Returns the cluster's folder.
    #[cfg(test)]
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
        // Created here, because another step would make these folders accessible to us only, not to the server's
        // account.
        account.make_dir(&home.clusters)?;
        account.make_dir(&home.binaries)?;
        loop {
            let id = state::repository_id(&request.shared, &home.clusters)?;
            let cluster = Cluster::at(&home.clusters, &id, account)?;
            let _turn = Lock::take(&cluster.start_lock(), LockKind::Exclusive, START_TURN).await?;
            // While we waited for the lock, another devrun may have given this repository a new id, because it is a
            // copy.
            if state::repository_id(&request.shared, &home.clusters)? != id {
                continue;
            }
            let known = ClusterState::load(&cluster.state())?;
            let kinship = known.as_ref().map(|known| state::kinship(&id, &request.shared, &known.shared));
            if kinship == Some(RepositoryMatch::Copy) {
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
                None => ClusterState::new(&id, &request.shared)?,
            };
            if unknown || kinship == Some(RepositoryMatch::Moved) {
                state.shared = request.shared.to_string_lossy().into_owned();
                state.save(&cluster.state())?;
            }
            // Pass the claim on before starting the server, so that the server is stopped even if this process is
            // killed.
            let users = match entrust.take() {
                Some(entrust) => {
                    entrust(cluster.folder.clone(), users.share()?)?;
                    None
                }
                None => Some(users),
            };
            let (state, client) = (RefCell::new(state), RefCell::default());
            let users = RefCell::new(users);
            let reading = ParentReading::default();
            let local = Local { ctx: ctx.clone(), request, home, cluster, state, users, client, reading };
            let client = local.bring_up().await?;
            local.client.replace(Some(Rc::new(client)));
            return Ok(local);
        }
    }

    /// Returns a search for programs that ignores the setting, for what devrun itself downloads.
    fn search(&self) -> Search<'_> {
        Search { ctx: &self.ctx, account: self.cluster.account, home: &self.home, setting: None }
    }

    /// Makes the server run. The caller holds the start lock.
    async fn bring_up(&self) -> Result<Client, LocalError> {
        let cluster = &self.cluster;
        let data = cluster.data();
        upgrade::undo(cluster)?;
        let made_by = cluster.made_by()?;
        if let Some(found) = postmaster::running(&data)
            && let Some(client) = self.join(found.port).await?
        {
            return Ok(client);
        }
        server::clear_away(&data).await?;
        let recorded = server::programs(&data);
        let setting = if self.request.looks { recorded.as_deref() } else { self.request.bin.as_deref() };
        let binaries = Search { setting, ..self.search() }.find(made_by, &cluster.folder).await?;
        let state = self.state.borrow().clone();
        let state = match (made_by, state.renewed()?) {
            (Some(_), Some(renewed)) => {
                // If devrun is killed between the next two steps, the next start repeats both.
                cluster.set_passwords(&binaries, &data, &renewed).await?;
                renewed.save(&cluster.state())?;
                self.state.replace(renewed.clone());
                renewed
            }
            _ => state,
        };
        if made_by.is_none() {
            disk::refuse_network(&cluster.folder)?;
            self.progress(format!("making a Postgres {} cluster", binaries.major));
            // The `initdb` of a killed devrun may have left a process that still writes there.
            server::clear_away(&cluster.half_made()).await?;
            cluster.init(&binaries, &state).await?;
        }
        self.restore_extensions(&binaries).await;
        let client = self.start(&binaries).await?;
        cluster::permit_databases(&client).await?;
        if made_by.is_none() && !self.request.fast {
            cluster.sync_in_background();
        }
        Ok(client)
    }

    /// Connects to a server that runs already, or that a killed devrun has just started. Returns `None` if the server
    /// ends during the attempt or had to be stopped.
    async fn join(&self, port: Option<u16>) -> Result<Option<Client>, LocalError> {
        let data = self.cluster.data();
        if let Some(port) = port {
            self.use_port(port)?;
        }
        let state = self.state.borrow().clone();
        match server::wait_ready(&self.cluster, &state, || postmaster::running(&data).is_some()).await {
            Ok(client) => Ok(Some(client)),
            Err(NoAnswer::Ended) => Ok(None),
            // Our state was lost or belongs to another cluster. The next start sets the passwords again.
            Err(NoAnswer::Refuses(_)) => {
                server::stop(&data);
                Ok(None)
            }
            Err(NoAnswer::TimedOut(said)) => {
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
            cluster.configure(ClusterSettings {
                major: binaries.major,
                port,
                no_shared_memory: cluster::lacks_shared_memory(),
                disposable: self.request.fast,
                closed: false,
            })?;
            let process = server::start(cluster, binaries)?;
            let state = self.state.borrow().clone();
            let silence = match server::wait_ready(cluster, &state, || !process.ended.is_finished()).await {
                Ok(client) => return Ok(client),
                Err(silence) => silence,
            };
            server::stop(&cluster.data());
            match silence {
                // Another process took the port after we had found it free.
                NoAnswer::Ended | NoAnswer::Refuses(_) if attempt < TRIES && !net::is_free(port) => {
                    wish = state::next_port(port);
                }
                NoAnswer::Refuses(_) if attempt < TRIES => {
                    cluster.set_passwords(binaries, &cluster.data(), &state).await?;
                }
                silence => return Err(self.not_started(silence.words())),
            }
        }
        Err(self.not_started("no port stays free".into()))
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

    /// Returns the connection of this devrun. Connects again if it was lost, and starts the server if needed.
    async fn client(&self) -> Result<Rc<Client>, LocalError> {
        let kept = self.client.borrow().clone();
        // A session may look open for a moment after its server was killed.
        if let Some(client) = kept.filter(|client| !client.is_closed() && self.runs()) {
            return Ok(client);
        }
        let state = self.state.borrow().clone();
        let client = if let Ok(client) = server::connect(&self.cluster, &state).await {
            client
        } else {
            let _turn = Lock::take(&self.cluster.start_lock(), LockKind::Exclusive, START_TURN).await?;
            // Another devrun may have changed the state while we waited for the lock.
            if let Some(known) = ClusterState::load(&self.cluster.state())? {
                self.state.replace(known);
            }
            self.bring_up().await?
        };
        let client = Rc::new(client);
        self.client.replace(Some(Rc::clone(&client)));
        Ok(client)
    }

    fn runs(&self) -> bool {
        postmaster::running(&self.cluster.data()).is_some()
    }

    /// Returns the database `name`, if it exists. Asks twice, because often only the first query shows that the server
    /// was killed.
    async fn find_database(&self, name: &str) -> Result<Option<ServerDatabase>, LocalError> {
        let client = self.client().await?;
        if let Ok(found) = catalogue::find(&client, name).await {
            return Ok(found);
        }
        self.client.replace(None);
        Ok(catalogue::find(&*self.client().await?, name).await?)
    }

    async fn make(&self, wanted: &WantedDatabase) -> Result<(ServerDatabase, DatabaseSource), LocalError> {
        let (maker, watcher) = self.makers().await?;
        branches::make(&self.copier(&maker, &watcher), wanted).await
    }

    /// Opens a separate connection for a database that is being created. Closing it releases the makers' lock, also
    /// after an error. The second connection is the one of this devrun.
    async fn makers(&self) -> Result<(Client, Rc<Client>), LocalError> {
        let watcher = self.client().await?;
        Ok((self.session_in(MAINTENANCE).await?, watcher))
    }

    fn copier<'a>(&'a self, maker: &'a Client, watcher: &'a Client) -> Copier<'a> {
        Copier { local: self, maker, watcher, events: &self.ctx.events, reading: self.reading }
    }

    /// Opens a session of devrun's superuser in `database`.
    async fn session_in(&self, database: &str) -> Result<Client, LocalError> {
        let state = self.state.borrow().clone();
        server::connect_to(&self.cluster, &state, database).await.map_err(|refusal| {
            let reason = match refusal {
                ConnectFailure::Password(said)
                | ConnectFailure::NotNow(said)
                | ConnectFailure::Full(said)
                | ConnectFailure::Final(said) => said,
            };
            CatalogueError::with("connect to the local server", reason).into()
        })
    }

    /// Returns the access for programs that connect as devrun's superuser.
    fn client_access(&self) -> Result<ClientAccess, LocalError> {
        let state = self.state.borrow();
        let folder = self.cluster.admin_socket().open_folder()?;
        // Without this, an event trigger runs that was restored before the materialized views are filled.
        let options = format!("-c session_replication_role=replica{}", server::newer_settings(&self.cluster));
        let env = vec![
            ("PGHOST", folder.path().to_string_lossy().into_owned()),
            ("PGPORT", state.port.to_string()),
            ("PGUSER", ADMIN.into()),
            ("PGPASSWORD", state.admin_password.clone()),
            ("PGAPPNAME", format!("devrun (pid {})", std::process::id())),
            ("PGOPTIONS", options),
        ];
        Ok(ClientAccess { env, _folder: folder })
    }

    fn branch(
        &self,
        name: &str,
        found: ServerDatabase,
        origin: DatabaseOrigin,
        copied_from: Option<String>,
    ) -> BranchDatabase {
        let state = self.state.borrow();
        let url = state.url(name);
        let socket = Some(self.cluster.admin_socket());
        BranchDatabase {
            id: found.id,
            name: name.into(),
            direct_url: url.clone(),
            url,
            admin_socket: socket,
            records: None,
            origin,
            copied_from,
        }
    }
}

/// How a program connects: its variables, and the open folder that they name.
struct ClientAccess {
    env: Vec<(&'static str, String)>,
    _folder: SocketFolder,
}

/// Also runs when `open` failed or was cancelled, so that no server without users is left running.
impl Drop for Local {
    fn drop(&mut self) {
        self.release();
    }
}

/// Returns the path of a program of Postgres in the folder of a package of this system.
pub(super) fn installed_program(name: &str) -> Option<PathBuf> {
    choose_programs::program(None, None, name)
}

/// Returns true if the Python registry has a server for this platform.
pub(super) fn has_wheel() -> bool {
    wheel::PinnedWheel::here().is_some()
}

/// Returns the package, with its version, whose server devrun downloads for new clusters on this platform.
pub(super) fn downloadable_server() -> Option<String> {
    packages::package(packages::PREFERRED).map(packages::PinnedPackage::spec)
}

/// Releases a claim, and stops the server if no other devrun has one, unless `devrun db start` keeps it. Serves the process that outlives
/// devrun: needs no runtime and takes a limited time. A devrun that starts during the stop waits, then starts the server again.
pub fn stop_if_last(claim: OwnedFd, cluster: &Path) {
    if let Some(alone) = fs::upgrade_if_last(claim) {
        if !kept_server::is_kept(cluster) {
            server::stop(&cluster::data(cluster));
        }
        // Unlock explicitly: other descriptors of the same lock may still be open, so closing this one would not
        // release it.
        let _ = alone.unlock();
    }
}
