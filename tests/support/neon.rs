//! A double of Neon's API v2 on loopback, with a real Postgres behind it: each branch is a real database. It remembers what
//! it was asked, so that a test can count, and fails on demand. What it is asked and answers is held to Neon's own description.

pub(crate) mod contract;
mod postgres;
mod service;
mod shapes;
mod undo;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::oneshot;

pub(crate) use self::postgres::PASSWORD;

/// The only key it accepts: must be seen nowhere.
pub(crate) const KEY: &str = "napi_Xsecretkey7";
/// How long an operation is `scheduling`, and `running` after that, unless a test says otherwise.
const STEP: Duration = Duration::from_millis(60);
/// The only project it has.
pub(crate) const PROJECT: &str = "quiet-moon-123456";

/// One request, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Below the project, without its query.
    pub(crate) path: String,
    pub(crate) query: String,
    /// `Null` without one.
    pub(crate) body: Value,
    pub(crate) status: u16,
    /// When it came.
    pub(crate) at: Instant,
}

/// What goes wrong with a request, instead of or after doing it.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// This status, headers and body; nothing is done.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// It is done, but the connection breaks before the answer.
    LoseAnswer,
    /// It is done, but this status and body are answered.
    Mask(u16, String),
    /// It is done, and half of the answer comes.
    HalfAnswer,
    /// Nothing is done, and no answer ever comes.
    Silence,
}

impl Fault {
    /// A refusal as the service writes it.
    pub(crate) fn status(status: u16, code: &str, message: &str) -> Fault {
        let body = serde_json::json!({ "request_id": "req-1", "code": code, "message": message });
        Fault::Answer(status, Vec::new(), body.to_string())
    }
}

/// A branch as the double keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
    pub(crate) default: bool,
    pub(crate) protected: bool,
    pub(crate) annotation: Value,
    pub(crate) expires_at: Option<String>,
    /// Its compute: id and state.
    pub(crate) endpoint: Option<(String, String)>,
}

#[derive(Debug)]
struct Operation {
    id: String,
    branch: String,
    action: &'static str,
    begun: Instant,
    step: Duration,
    fails: bool,
}

/// What is reached by TLS only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Nowhere,
    /// Their URLs demand it, and logins bound to the certificate.
    ForDatabases,
    /// The API, too.
    Everywhere,
}

/// Everything about the one project.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) branches: Vec<Branch>,
    operations: Vec<Operation>,
    pub(crate) calls: Vec<Call>,
    /// Method, part of the path, what goes wrong; each once.
    pub(crate) faults: VecDeque<(&'static str, &'static str, Fault)>,
    /// How long each answer takes.
    pub(crate) delay: Duration,
    /// How long each stage of an operation lasts.
    pub(crate) step: Duration,
    /// Names of the databases on each branch; `neondb` when there are none.
    pub(crate) databases: Vec<String>,
    /// Where requests and answers do not keep to Neon's description of its API.
    pub(crate) breaches: Vec<String>,
    /// Where the databases' URLs lead in place of Postgres itself.
    pub(crate) door: Option<u16>,
    /// The next compute does not start.
    pub(crate) compute_fails: bool,
    /// While operations run, changes are refused with 423.
    pub(crate) locks: bool,
    tls: Tls,
    /// What vouches for the certificate then, as PEM.
    pub(crate) authority: Option<String>,
    next: u32,
}

impl State {
    fn new() -> State {
        State {
            branches: Vec::new(),
            operations: Vec::new(),
            calls: Vec::new(),
            faults: VecDeque::new(),
            delay: Duration::ZERO,
            step: STEP,
            databases: Vec::new(),
            breaches: Vec::new(),
            door: None,
            compute_fails: false,
            locks: false,
            tls: Tls::Nowhere,
            authority: None,
            next: 0,
        }
    }
}

/// The running double.
pub(crate) struct Neon {
    port: u16,
    postgres: u16,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Neon {
    /// Starts it with a default branch `main`; `None` where Postgres is not installed.
    pub(crate) fn start() -> Option<Neon> {
        Neon::serve(State::new())
    }

    /// The same with databases that can be reached by TLS only; `None` also without openssl.
    pub(crate) fn start_encrypted() -> Option<Neon> {
        which::which("openssl").ok()?;
        Neon::serve(State { tls: Tls::ForDatabases, ..State::new() })
    }

    /// The same, and the API is reached by TLS only, too.
    pub(crate) fn start_guarded() -> Option<Neon> {
        which::which("openssl").ok()?;
        Neon::serve(State { tls: Tls::Everywhere, ..State::new() })
    }

    fn serve(state: State) -> Option<Neon> {
        let binaries = postgres::binaries()?;
        let state = Arc::new(Mutex::new(state));
        let shared = state.clone();
        let (stop, stopped) = oneshot::channel();
        let (told, ports) = std::sync::mpsc::channel();
        // Children die with the thread that made them, so the server has one of its own.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let all = tokio::task::LocalSet::new();
            all.block_on(&runtime, service::serve(binaries, shared, told, stopped));
        });
        let (port, postgres) = ports.recv().unwrap();
        Some(Neon { port, postgres, state, stop: Some(stop), thread: Some(thread) })
    }

    /// What `NEON_API_HOST` is to be.
    pub(crate) fn host(&self) -> String {
        let origin =
            if self.state().tls == Tls::Everywhere { "https://localhost" } else { "http://127.0.0.1" };
        format!("{origin}:{}/api/v2", self.port)
    }

    /// Where Postgres listens.
    pub(crate) fn postgres_port(&self) -> u16 {
        self.postgres
    }

    /// The project, to look at and to change.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next request of this method whose path has `part` in it goes wrong like this.
    pub(crate) fn fail(&self, method: &'static str, part: &'static str, fault: Fault) {
        self.state().faults.push_back((method, part, fault));
    }

    /// What was asked since the last time.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// The branch of this name.
    pub(crate) fn branch(&self, name: &str) -> Option<Branch> {
        self.state().branches.iter().find(|branch| branch.name == name).cloned()
    }

    /// Ends what goes on at the moment.
    pub(crate) fn hurry(&self) {
        let mut state = self.state();
        state.step = STEP;
        state.operations.iter_mut().for_each(|operation| operation.step = Duration::ZERO);
    }

    /// Removes a branch as somebody else would. Its database stays, as on a soft deletion.
    pub(crate) fn remove(&self, name: &str) {
        self.state().branches.retain(|branch| branch.name != name);
    }

    /// Runs SQL in a branch's database and returns the first column.
    pub(crate) fn sql(&self, branch: &str, statement: &str) -> Vec<String> {
        let id = self.branch(branch).unwrap().id;
        let url = postgres::url("127.0.0.1", self.postgres, &service::database(&id));
        let statement = statement.to_string();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = devrun::database::connect::connect(&url, Duration::from_secs(20)).await.unwrap();
                let answer = client.simple_query(&statement).await.unwrap();
                let rows = answer.into_iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0)?.to_string()),
                    _ => None,
                });
                rows.collect()
            })
        })
        .join()
        .unwrap()
    }
}

impl Drop for Neon {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(ended, Some(Ok(()))), "the double failed");
            let breaches = std::mem::take(&mut self.state().breaches);
            assert!(breaches.is_empty(), "Neon's description does not allow:\n{}", breaches.join("\n"));
        }
    }
}
