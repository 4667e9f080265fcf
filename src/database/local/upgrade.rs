//! Moves the databases of a cluster to another major version of Postgres, by dump and restore.
//!
//! The new cluster is made beside the old one, filled and compared, while no program can reach either of the two. Then
//! the folders of the data change places. The old folder has the name `data.old` until the new server has started; only
//! then it is removed or gets its final name. Until that moment, [`leftovers::undo`] returns to the old folder after a
//! kill, so a killed upgrade has changed nothing.

mod comparison;
mod definitions;
mod leftovers;
mod roles;
mod transfer;

use std::cell::RefCell;
use std::path::PathBuf;

use tokio_postgres::Client;

pub(super) use self::leftovers::{stop_servers, undo};
use super::account::Account;
use super::binaries::{Binaries, Search};
use super::cluster::{Cluster, ClusterSettings, lacks_shared_memory};
use super::copying::ParentReading;
use super::error::LocalError;
use super::state::{self, ClusterState, RepositoryMatch};
use super::{Local, LocalRequest, START_TURN, kept_server, server};
use crate::context::Context;
use crate::database::upgrade::{UpgradeError, Upgraded};
use crate::error::Report;
use crate::os::fs::{Lock, LockKind};

/// Moves the databases of the repository's cluster to the newest Postgres that `request` permits. With `keep_old`, keeps
/// the folder of the old data.
pub(super) async fn run(ctx: &Context, request: &LocalRequest, keep_old: bool) -> Result<Upgraded, Report> {
    let account = Account::choose(ctx, request.owner_uid)?;
    let home = account.home(&ctx.dirs);
    let id = state::known_id(&request.shared, &home.clusters)?.ok_or(UpgradeError::NoCluster)?;
    let cluster = Cluster::known(&home.clusters, &id, account);
    if !cluster.users_lock().exists() {
        return Err(UpgradeError::NoCluster.into());
    }
    let _turn = Lock::take(&cluster.start_lock(), LockKind::Exclusive, START_TURN).await?;
    let users = Lock::try_take(&cluster.users_lock(), LockKind::Exclusive)?;
    let _users = users.ok_or(UpgradeError::InUse)?;
    undo(&cluster)?;
    let known = ClusterState::load(&cluster.state())?.ok_or(UpgradeError::NoCluster)?;
    let from = cluster.made_by()?.ok_or(UpgradeError::NoCluster)?;
    let shared = request.shared.canonicalize().map_err(LocalError::io("look at", &request.shared))?;
    if state::kinship(&id, &shared, &known.shared) == RepositoryMatch::Copy {
        return Err(UpgradeError::NoCluster.into());
    }
    let search = Search { ctx, account, home: &home, setting: request.bin.as_deref() };
    let newest = search.find(None, &cluster.folder).await?;
    if newest.major <= from {
        let nothing = Upgraded { from, to: from, databases: 0, snapshots: 0, tables: 0, rows: 0, kept: None };
        let is_older = newest.major < from;
        return if is_older {
            Err(UpgradeError::Older { from, newest: newest.major }.into())
        } else {
            Ok(nothing)
        };
    }
    // The programs that started the server last are the best ones to start it once more.
    let recorded = server::programs(&cluster.data());
    let last = Search { setting: recorded.as_deref(), ..search }.find(Some(from), &cluster.folder).await;
    let present = match last {
        Ok(found) => found,
        Err(_) => Search { setting: None, ..search }.find(Some(from), &cluster.folder).await?,
    };
    let was_kept = kept_server::is_kept(&cluster.folder);
    let request = LocalRequest { shared, ..request.clone() };
    let open = |cluster: Cluster| Local {
        ctx: ctx.clone(),
        request: request.clone(),
        home: home.clone(),
        cluster,
        state: RefCell::new(known.clone()),
        users: RefCell::default(),
        client: RefCell::default(),
        reading: ParentReading::default(),
    };
    let beside = Cluster { id: id.clone(), folder: leftovers::new_folder(&cluster.folder), account };
    account.make_dir(&beside.folder)?;
    let (old, new) = (open(cluster.clone()), open(beside));
    let running = RunningServers(cluster.folder.clone());
    let attempt = async {
        let done = fill(&old, &present, &new, &newest).await?;
        running.stop();
        let back = switch(&old, &new)?;
        // The last part of the comparison: the data can be read where they are from now on.
        drop(old.start(&newest).await?);
        let kept = leftovers::finish(&cluster, &back, from, keep_old)?;
        Ok::<_, Report>(Upgraded { kept, ..done })
    };
    let attempt = attempt.await;
    if attempt.is_err() {
        undo(&cluster)?;
    }
    let done = attempt?;
    if was_kept {
        kept_server::keep(&cluster.folder)?;
        std::mem::forget(running);
    }
    Ok(done)
}

/// Makes the cluster of `new`, copies everything into it, and compares it with `old`.
async fn fill(old: &Local, present: &Binaries, new: &Local, newest: &Binaries) -> Result<Upgraded, Report> {
    let tools = transfer::UpgradeTools::find(old, present, newest).await?;
    old.restore_extensions(newest).await;
    server::stop(&old.cluster.data());
    server::clear_away(&old.cluster.data()).await?;
    let source = start_closed(old, present, old.request.fast).await?;
    old.progress(format!("making a Postgres {} cluster", newest.major));
    let known = new.state.borrow().clone();
    new.cluster.init(newest, &known).await?;
    // Its files are written to the disk at the end, all at once.
    let target = start_closed(new, newest, cfg!(target_os = "linux") || new.request.fast).await?;
    super::cluster::permit_databases(&target).await?;
    roles::copy(&source, &target).await?;
    let databases = definitions::list(&source, &target).await?;
    for database in &databases {
        transfer::check_extensions(old, &target, database, newest).await?;
    }
    let (mut tables, mut rows) = (0, 0);
    for (at, database) in databases.iter().enumerate() {
        let number = format!("{} of {}", at + 1, databases.len());
        old.progress(format!("moving {} to Postgres {} ({number})", database.shown(), newest.major));
        let compared = transfer::copy(old, &source, new, &target, database, &tools).await?;
        tables += compared.tables();
        rows += compared.rows();
    }
    roles::copy_settings(&source, &target).await?;
    let snapshots = databases.iter().filter(|database| database.is_snapshot()).count();
    Ok(Upgraded {
        from: present.major,
        to: newest.major,
        databases: databases.len() - snapshots,
        snapshots,
        tables,
        rows,
        kept: None,
    })
}

/// Starts the server of `local` so that only devrun can reach it. Returns a session of devrun's superuser.
async fn start_closed(local: &Local, binaries: &Binaries, disposable: bool) -> Result<Client, LocalError> {
    let cluster = &local.cluster;
    let known = local.state.borrow().clone();
    cluster.configure(ClusterSettings {
        major: binaries.major,
        port: known.port,
        no_shared_memory: lacks_shared_memory(),
        disposable,
        closed: true,
    })?;
    let process = server::start(cluster, binaries)?;
    let answer = server::wait_ready(cluster, &known, || !process.ended.is_finished()).await;
    let client = answer.map_err(|silence| local.not_started(silence.words()))?;
    // Comparing and copying a large database takes its time.
    let unlimited = client.batch_execute("SET statement_timeout = 0").await;
    unlimited.map_err(LocalError::sql("prepare the session of the upgrade"))?;
    Ok(client)
}

/// Puts the data of `new` in the place of those of `old`. Returns the folder of the old data.
fn switch(old: &Local, new: &Local) -> Result<PathBuf, LocalError> {
    #[cfg(target_os = "linux")]
    crate::os::fs::sync_around(&new.cluster.folder)
        .map_err(LocalError::io("write to the disk", &new.cluster.folder))?;
    let (data, back) = (old.cluster.data(), leftovers::old_data(&old.cluster.folder));
    std::fs::rename(&data, &back).map_err(LocalError::io("rename", &data))?;
    let made = new.cluster.data();
    std::fs::rename(&made, &data).map_err(LocalError::io("rename", &made))?;
    Ok(back)
}

/// The servers of an upgrade of the cluster in this folder. Stops them when it is dropped, also if the upgrade failed or was
/// interrupted.
struct RunningServers(PathBuf);

impl RunningServers {
    fn stop(&self) {
        stop_servers(&self.0);
    }
}

impl Drop for RunningServers {
    fn drop(&mut self) {
        self.stop();
    }
}
