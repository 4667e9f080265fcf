//! What every test here stands on: folders of its own, a repository, a way to ask its databases.

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio_postgres::Client;

use super::super::{Local, LocalRequest, cluster, server, state};
use crate::context::{Context, Dirs};
use crate::database::{Branch, Wanted};
use crate::event::{Event, Events};
use crate::os::proc;

/// Folders and a context for one test.
pub(super) struct Bed {
    pub(super) ctx: Context,
    told: Arc<Mutex<Vec<String>>>,
    root: TempDir,
}

impl Bed {
    pub(super) fn new() -> Bed {
        let root = tempfile::Builder::new().prefix("devrun-local-").tempdir().unwrap();
        // As root, the server is another user.
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
        // On a CI machine the server does not wait for the disk, which is what most tests want.
        let env = std::env::vars_os().chain([("CI".into(), "1".into())]).collect();
        let ctx =
            Context { cwd: root.path().into(), env, dirs, events, started: Instant::now(), colour: false };
        Bed { ctx, told, root }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The repository `name` with the programs in `bin`, or those devrun chooses.
    pub(super) fn request(&self, name: &str, bin: Option<&Path>) -> LocalRequest {
        LocalRequest {
            shared: self.path(name).join(".git/devrun"),
            owner_uid: nix::unistd::geteuid().as_raw(),
            bin: bin.map(Into::into),
            looks: false,
            npmrc: None,
        }
    }

    pub(super) async fn open(&self, bin: Option<&Path>) -> Local {
        Local::open(&self.ctx, self.request("repo", bin), None).await.unwrap()
    }

    /// The same, with the claim as a keeper would hold it.
    pub(super) async fn open_claimed(&self, bin: Option<&Path>) -> (Local, OwnedFd) {
        let mut claim = None;
        let mut entrust = |_, handle| {
            claim = Some(handle);
            Ok(())
        };
        let local = Local::open(&self.ctx, self.request("repo", bin), Some(&mut entrust)).await.unwrap();
        (local, claim.unwrap())
    }

    /// How often something with `part` in it was told.
    pub(super) fn told(&self, part: &str) -> usize {
        self.told.lock().unwrap().iter().filter(|text| text.contains(part)).count()
    }

    /// What was told with `part` in it.
    pub(super) fn words(&self, part: &str) -> Vec<String> {
        self.told.lock().unwrap().iter().filter(|text| text.contains(part)).cloned().collect()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let left = || -> Vec<String> {
            let ours =
                |pid: u32| proc::directory_of(pid).is_some_and(|folder| folder.starts_with(self.root.path()));
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

/// Binaries are fetched once for all tests of this build, beside it.
fn shared_cache() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().join("tmp/devrun-test-cache")
}

/// The system's server of another major than the preferred one, if there is one.
pub(super) fn system() -> Option<PathBuf> {
    let bin = (15..18).rev().map(|major| PathBuf::from(format!("/usr/lib/postgresql/{major}/bin")));
    let found = bin.into_iter().find(|bin| bin.join("initdb").exists());
    if found.is_none() {
        skip("no system Postgres 15, 16 or 17");
    }
    found
}

#[expect(clippy::print_stderr, reason = "a test that does nothing must say so")]
pub(super) fn skip(why: &str) {
    eprintln!("skipped: {why}");
}

pub(super) fn wanted(name: &str, parent: &str) -> Wanted {
    Wanted { label: name.into(), name: name.into(), parent: parent.into(), worktree: "/w/tree".into() }
}

/// Connects as an application does.
pub(super) async fn connect(branch: &Branch) -> Client {
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
    let known = state::State::load(&local.folder().join("state.json")).unwrap().unwrap();
    server::connect(&local.cluster, &known).await.unwrap()
}

/// Waits until `done`; for things that happen in other processes.
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
