//! A double of Neon's API v2 on loopback, with a real Postgres behind it: each branch is a real database. It records its
//! requests, so that a test can count them, and fails on demand. It checks requests and answers against Neon's description.

pub(crate) mod contract;
pub(crate) mod postgres;
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

/// The only key that the double accepts. devrun must never print it.
pub(crate) const KEY: &str = "napi_Xsecretkey7";
/// How long an operation is `scheduling`, and then `running`, unless a test changes it.
const STEP: Duration = Duration::from_millis(60);
/// The only project of the double.
pub(crate) const PROJECT: &str = "quiet-moon-123456";

/// One request, and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// The path below the project, without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    /// `Null` for a request without a body.
    pub(crate) body: Value,
    pub(crate) status: u16,
    /// When the request arrived.
    pub(crate) at: Instant,
}

/// A failure of a request, with or without its effect.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// No effect; answers with this status, these headers and this body.
    Answer(u16, Vec<(&'static str, String)>, String),
    /// Full effect, but the connection breaks before the answer.
    LoseAnswer,
    /// Full effect, but the answer is this status and body.
    Mask(u16, String),
    /// Full effect, and half of the answer.
    HalfAnswer,
    /// No effect, and never an answer.
    Silence,
}

impl Fault {
    /// Returns an error in the service's format.
    pub(crate) fn status(status: u16, code: &str, message: &str) -> Fault {
        let body = serde_json::json!({ "request_id": "req-1", "code": code, "message": message });
        Fault::Answer(status, Vec::new(), body.to_string())
    }
}

/// A branch in the double's state.
#[derive(Clone, Debug)]
pub(crate) struct Branch {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
    pub(crate) default: bool,
    pub(crate) protected: bool,
    pub(crate) annotation: Value,
    pub(crate) expires_at: Option<String>,
    /// The id and state of its compute.
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

/// The services that require TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tls {
    Nowhere,
    /// The URLs of databases require TLS, and logins bound to the certificate.
    ForDatabases,
    /// The API also requires TLS.
    Everywhere,
}

/// The state of the project.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) branches: Vec<Branch>,
    operations: Vec<Operation>,
    pub(crate) calls: Vec<Call>,
    /// Planned failures: method, part of the path, fault. Each applies once.
    pub(crate) faults: VecDeque<(&'static str, &'static str, Fault)>,
    /// Delay of each answer.
    pub(crate) delay: Duration,
    /// How long each stage of an operation lasts.
    pub(crate) step: Duration,
    /// Names of the databases on each branch; `neondb` if empty.
    pub(crate) databases: Vec<String>,
    /// Violations of Neon's description by requests and answers.
    pub(crate) breaches: Vec<String>,
    /// The port in the URLs of databases, in place of Postgres' port.
    pub(crate) door: Option<u16>,
    /// Whether the compute of the next operations fails to start.
    pub(crate) compute_fails: bool,
    /// Whether the creation of a branch is refused with 423 while operations run.
    pub(crate) locks: bool,
    tls: Tls,
    /// With TLS, the certificate of the authority, as PEM.
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
    /// Starts the double with a default branch `main`. Returns `None` if Postgres is not installed.
    pub(crate) fn start() -> Option<Neon> {
        Neon::serve(State::new())
    }

    /// Starts the double with databases that require TLS. Also returns `None` without openssl.
    pub(crate) fn start_encrypted() -> Option<Neon> {
        which::which("openssl").ok()?;
        Neon::serve(State { tls: Tls::ForDatabases, ..State::new() })
    }

    /// Starts the double with databases and an API that require TLS.
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
        // Children die with the thread that started them, so the server has a separate thread.
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let all = tokio::task::LocalSet::new();
            all.block_on(&runtime, service::serve(binaries, shared, told, stopped));
        });
        let (port, postgres) = ports.recv().unwrap();
        Some(Neon { port, postgres, state, stop: Some(stop), thread: Some(thread) })
    }

    /// Returns the value for `NEON_API_HOST`.
    pub(crate) fn host(&self) -> String {
        let origin =
            if self.state().tls == Tls::Everywhere { "https://localhost" } else { "http://127.0.0.1" };
        format!("{origin}:{}/api/v2", self.port)
    }

    /// Returns the port of Postgres.
    pub(crate) fn postgres_port(&self) -> u16 {
        self.postgres
    }

    /// Locks the state of the project, to read and change it.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies `fault` to the next request with this method and `part` in its path.
    pub(crate) fn fail(&self, method: &'static str, part: &'static str, fault: Fault) {
        self.state().faults.push_back((method, part, fault));
    }

    /// Returns the requests since the last call.
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// Returns the branch of this name.
    pub(crate) fn branch(&self, name: &str) -> Option<Branch> {
        self.state().branches.iter().find(|branch| branch.name == name).cloned()
    }

    /// Finishes all running operations. Later ones take as long as usual.
    pub(crate) fn hurry(&self) {
        let mut state = self.state();
        state.step = STEP;
        state.operations.iter_mut().for_each(|operation| operation.step = Duration::ZERO);
    }

    /// Removes a branch as another client would. Its database stays, as on a soft deletion.
    pub(crate) fn remove(&self, name: &str) {
        self.state().branches.retain(|branch| branch.name != name);
    }

    /// Runs SQL in a branch's database and returns the first column.
    pub(crate) fn sql(&self, branch: &str, statement: &str) -> Vec<String> {
        let id = self.branch(branch).unwrap().id;
        let url = postgres::url("127.0.0.1", self.postgres, &service::database(&id));
        postgres::query(url, statement)
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
