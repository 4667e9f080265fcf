//! Provides the environment of the tests here: separate folders, a repository, and ways to query its databases.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;

use super::super::{Local, LocalRequest, cluster, server, state};
use crate::context::{Context, Dirs};
use crate::database::{BranchDatabase, WantedDatabase};
use crate::event::{Event, Events};
use crate::os::proc;

/// Folders and a context for one test.
pub(super) struct TestServer {
    pub(super) ctx: Context,
    told: Arc<Mutex<Vec<String>>>,
    root: TempDir,
}

impl TestServer {
    pub(super) fn new() -> TestServer {
        let root = tempfile::Builder::new().prefix("devrun-local-").tempdir().unwrap();
        // For root, the server runs as another account.
        std::fs::set_permissions(root.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&told);
        let events = Events::new(move |event| {
            let text = match event {
                Event::Note(text) => format!("note: {text}"),
                Event::Warning(text) => format!("warning: {text}"),
                Event::StepProgress { detail, .. } => detail,
                _ => return,
            };
            ear.lock().unwrap().push(text);
        });
        let at = |name: &str| root.path().join(name);
        let dirs = Dirs { state: at("state"), data: at("data"), cache: shared_cache(), runtime: at("run") };
        let env = std::env::vars_os().collect();
        let ctx =
            Context { cwd: root.path().into(), env, dirs, events, started: Instant::now(), colour: false };
        TestServer { ctx, told, root }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Returns a request for the repository `name`, with the programs in `bin` or those that devrun chooses.
    pub(super) fn request(&self, name: &str, bin: Option<&Path>) -> LocalRequest {
        LocalRequest {
            shared: self.path(name).join(".git/devrun"),
            owner_uid: nix::unistd::geteuid().as_raw(),
            bin: bin.map(Into::into),
            // Without waiting for the disk, the tests are faster.
            fast: true,
            looks: false,
        }
    }

    pub(super) async fn open(&self, bin: Option<&Path>) -> Local {
        Local::open(&self.ctx, self.request("repo", bin), None).await.unwrap()
    }

    /// Opens the provider like [`TestServer::open`], and returns the claim that the keeper would hold.
    pub(super) async fn open_claimed(&self, bin: Option<&Path>) -> (Local, OwnedFd) {
        let mut claim = None;
        let mut entrust = |_, handle| {
            claim = Some(handle);
            Ok(())
        };
        let local = Local::open(&self.ctx, self.request("repo", bin), Some(&mut entrust)).await.unwrap();
        (local, claim.unwrap())
    }

    /// Returns how many messages contain `part`.
    pub(super) fn count_messages(&self, part: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|text| text.contains(part)).count()
    }

    /// Returns the messages that contain `part`.
    pub(super) fn words(&self, part: &str) -> Vec<String> {
        self.told.lock().unwrap().iter().filter(|text| text.contains(part)).cloned().collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let left = || -> Vec<String> {
            let ours = |pid: u32| {
                proc::last_directory_of(pid).is_some_and(|folder| folder.starts_with(self.root.path()))
            };
            proc::table().iter().filter(|e| ours(e.pid)).filter_map(|e| proc::command_of(e.pid)).collect()
        };
        if std::thread::panicking() {
            for folder in std::fs::read_dir(self.path("data/pg")).into_iter().flatten().flatten() {
                server::stop(&cluster::data(&folder.path()));
            }
        } else {
            assert_eq!(left(), [""; 0], "processes were left behind");
        }
    }
}

/// Returns the cache for binaries, which all tests of this build share.
fn shared_cache() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().join("tmp/devrun-test-cache")
}

/// Returns a system server whose major is not the preferred one, if there is one.
pub(super) fn system() -> Option<PathBuf> {
    let bin = (15..18).rev().map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
    let found = bin.into_iter().find(|bin| bin.join("initdb").exists());
    if found.is_none() {
        crate::os::skip_without("postgres");
    }
    found
}

pub(super) use crate::os::skip;

pub(super) fn wanted(name: &str, parent: &str) -> WantedDatabase {
    WantedDatabase {
        label: name.into(),
        name: name.into(),
        parent: parent.into(),
        worktree: "/w/tree".into(),
    }
}

/// Connects as an application does.
pub(super) async fn connect(branch: &BranchDatabase) -> Client {
    session(&branch.url, "app").await
}

pub(super) async fn session(url: &str, program: &str) -> Client {
    let mut config: tokio_postgres::Config = url.parse().unwrap();
    config.application_name(program);
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Connects as devrun does.
pub(super) async fn admin(local: &Local) -> Client {
    let known = state::ClusterState::load(&local.folder().join("state.json")).unwrap().unwrap();
    server::connect(&local.cluster, &known).await.unwrap()
}

/// Waits until `done` returns true, for events in other processes.
pub(super) async fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}
