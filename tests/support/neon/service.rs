//! Handles the requests of the double by the rules of the real service, as far as they are known.

use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::contract::{Contract, Exchange};
use super::postgres::{self, Postgres, Proof};
use super::{Branch, Call, Fault, KEY, Operation, PASSWORD, PROJECT, State, Tls, shapes, undo};

/// Longer than any test.
const AGES: Duration = Duration::from_hours(24);

pub(super) type Shared = Arc<Mutex<State>>;

pub(super) async fn serve(
    binaries: PathBuf,
    state: Shared,
    told: Sender<(u16, u16)>,
    stopped: oneshot::Receiver<()>,
) {
    let tls = state.lock().unwrap().tls;
    let postgres = Postgres::start(binaries, tls != Tls::Nowhere).await;
    let proof = postgres.proof.clone();
    state.lock().unwrap().authority = proof.as_ref().map(|proof| proof.authority.clone());
    let guard = proof.filter(|_| tls == Tls::Everywhere).map(|proof| acceptor(&proof));
    let main = add(&mut state.lock().unwrap(), "main", None);
    let admin = std::rc::Rc::new(postgres.admin().await);
    admin.batch_execute(&format!("create database {}", database(&main.id))).await.unwrap();
    {
        let mut state = state.lock().unwrap();
        state.branches[0].default = true;
        state.branches[0].endpoint = Some(("ep-main-1".into(), "active".into()));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = postgres.port;
    told.send((listener.local_addr().unwrap().port(), port)).unwrap();
    let accepting = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (state, admin, guard) = (state.clone(), admin.clone(), guard.clone());
            tokio::task::spawn_local(async move {
                let handler = service_fn(move |request| handle(request, state.clone(), admin.clone(), port));
                let server = hyper::server::conn::http1::Builder::new();
                // A fault that loses the answer closes the connection, and so does a client that rejects the certificate.
                let _ = match guard {
                    None => server.serve_connection(TokioIo::new(stream), handler).await,
                    Some(guard) => match guard.accept(stream).await {
                        Ok(stream) => server.serve_connection(TokioIo::new(stream), handler).await,
                        Err(_) => Ok(()),
                    },
                };
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stopped => {}
    }
    postgres.stop().await;
}

fn acceptor(proof: &Proof) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(proof.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(proof.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    TlsAcceptor::from(Arc::new(config.unwrap()))
}

/// Returns the name of the real database behind a branch.
pub(super) fn database(id: &str) -> String {
    id.replace('-', "_")
}

pub(super) fn add(state: &mut State, name: &str, parent: Option<String>) -> Branch {
    state.next += 1;
    let branch = Branch {
        id: format!("br-calm-tree-{:06}", state.next),
        name: name.into(),
        parent,
        default: false,
        protected: false,
        annotation: Value::Null,
        expires_at: None,
        endpoint: None,
    };
    state.branches.push(branch.clone());
    branch
}

/// Closes the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("lost on purpose")]
struct Lost;

async fn handle(
    request: Request<Incoming>,
    state: Shared,
    admin: std::rc::Rc<tokio_postgres::Client>,
    port: u16,
) -> Result<Response<Full<Bytes>>, Lost> {
    let method = request.method().to_string();
    let path = request.uri().path().to_string();
    let query = request.uri().query().unwrap_or_default().to_string();
    let key = request.headers().get("authorization").and_then(|key| key.to_str().ok()).map(str::to_string);
    let arrived = Instant::now();
    let body = request.into_body().collect().await.map_err(|_| Lost)?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let prefix = format!("/api/v2/projects/{PROJECT}");
    let inner = path.strip_prefix(&prefix).map(str::to_string);
    let shown = inner.clone().unwrap_or_else(|| path.clone());
    let (delay, fault) = {
        let mut state = state.lock().unwrap();
        let at = state.faults.iter().position(|(of, part, _)| *of == method && shown.contains(part));
        (state.delay, at.and_then(|at| state.faults.remove(at)).map(|(_, _, fault)| fault))
    };
    if matches!(fault, Some(Fault::Silence)) {
        std::future::pending::<()>().await;
    }
    let (status, answer) = if let Some(Fault::Answer(status, _, body)) = &fault {
        (*status, body.clone())
    } else if key.as_deref() != Some(&format!("Bearer {KEY}")) {
        problem(401, "", "supplied credentials do not pass authentication")
    } else if let Some(inner) = &inner {
        answer(&method, inner, &query, &body, &state, &admin, port).await
    } else {
        problem(404, "", "project not found")
    };
    let is_free = matches!(fault, Some(Fault::Answer(..))) && serde_json::from_str::<Value>(&answer).is_err();
    if let (Some(contract), false) = (Contract::fetched(), is_free) {
        let path = path.strip_prefix("/api/v2").unwrap_or(&path);
        let exchange =
            Exchange { method: &method, path, query: &query, body: &body, status, answer: &answer };
        state.lock().unwrap().breaches.extend(contract.breaches(&exchange));
    }
    tokio::time::sleep_until((arrived + delay).into()).await;
    state.lock().unwrap().calls.push(Call { method, path: shown, query, body, status, at: arrived });
    let mut response = Response::builder().header("x-neon-ret-request-id", "req-2");
    let (status, answer) = match fault {
        Some(Fault::LoseAnswer | Fault::Silence) => return Err(Lost),
        Some(Fault::Mask(status, body)) => (status, body),
        Some(Fault::HalfAnswer) => (status, answer[..answer.len() / 2].to_string()),
        Some(Fault::Answer(_, headers, _)) => {
            for (name, value) in headers {
                response = response.header(name, value);
            }
            (status, answer)
        }
        None => (status, answer),
    };
    Ok(response.status(status).body(Full::new(Bytes::from(answer))).unwrap())
}

pub(super) type Reply = (u16, String);

pub(super) fn problem(status: u16, code: &str, message: &str) -> Reply {
    (status, json!({ "request_id": "req-1", "code": code, "message": message }).to_string())
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pair = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name);
    pair.map(|(_, value)| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
}

async fn answer(
    method: &str,
    path: &str,
    query: &str,
    body: &Value,
    state: &Shared,
    admin: &tokio_postgres::Client,
    port: u16,
) -> Reply {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    if (method, parts.as_slice()) == ("POST", &["branches"]) {
        return create(body, state, admin).await;
    }
    if let Some(reply) = undo::answer(method, &parts, body, state, admin).await {
        return reply;
    }
    let mut state = state.lock().unwrap();
    settle(&mut state);
    match (method, parts.as_slice()) {
        ("GET", ["branches"]) => list(&state, query),
        ("GET", ["branches", id]) => match state.branches.iter().find(|branch| branch.id == *id) {
            Some(branch) => {
                let annotation = shapes::annotation(branch);
                ok(&json!({ "branch": shapes::branch(&state, branch), "annotation": annotation }))
            }
            None => problem(404, "", "branch not found"),
        },
        ("PATCH", ["branches", id]) => change(&mut state, id, body),
        ("GET", ["branches", id, "endpoints"]) => {
            let branch = state.branches.iter().find(|branch| branch.id == *id);
            let endpoints: Vec<Value> = branch.into_iter().filter_map(shapes::endpoint).collect();
            ok(&json!({ "endpoints": endpoints }))
        }
        ("GET", ["branches", id, "databases"]) => ok(&json!({ "databases": shapes::databases(&state, id) })),
        ("GET", ["branches", id, "roles"]) => ok(&json!({ "roles": shapes::roles(id) })),
        ("GET", ["branches", _, "roles", _, "reveal_password"]) => ok(&json!({ "password": PASSWORD })),
        ("POST", ["endpoints"]) => {
            let id = body["endpoint"]["branch_id"].as_str().unwrap_or_default().to_string();
            match state.branches.iter().position(|branch| branch.id == id) {
                Some(at) if state.branches[at].endpoint.is_some() => {
                    problem(409, "", "read_write endpoint already exists")
                }
                Some(at) => {
                    state.branches[at].endpoint = Some((format!("ep-late-{at}"), "init".into()));
                    let operations = begin(&mut state, &id, &["start_compute"]);
                    let endpoint = shapes::endpoint(&state.branches[at]);
                    (201, json!({ "endpoint": endpoint, "operations": operations }).to_string())
                }
                None => problem(404, "", "branch not found"),
            }
        }
        ("POST", ["endpoints", id, "start"]) => {
            let owner = state
                .branches
                .iter()
                .find(|branch| branch.endpoint.as_ref().is_some_and(|(endpoint, _)| endpoint == id));
            match owner.map(|branch| (branch.id.clone(), shapes::endpoint(branch))) {
                Some((branch, endpoint)) => {
                    let operations = begin(&mut state, &branch, &["start_compute"]);
                    ok(&json!({ "endpoint": endpoint, "operations": operations }))
                }
                None => problem(404, "", "endpoint not found"),
            }
        }
        ("GET", ["operations"]) => {
            let all: Vec<Value> = state.operations.iter().rev().map(shapes::operation).collect();
            ok(&json!({ "operations": all, "pagination": { "cursor": "c" } }))
        }
        ("GET", ["operations", id]) => match state.operations.iter().find(|operation| operation.id == *id) {
            Some(found) => ok(&json!({ "operation": shapes::operation(found) })),
            None => problem(404, "", "operation not found"),
        },
        ("GET", ["connection_uri"]) => {
            // Like the real service, uses the default branch if no branch is named.
            let id = parameter(query, "branch_id");
            let wanted = state.branches.iter().find(|branch| match &id {
                Some(id) => branch.id == *id,
                None => branch.default,
            });
            match wanted {
                Some(branch) if branch.endpoint.is_some() => {
                    let pooled = parameter(query, "pooled").is_some_and(|pooled| pooled == "true");
                    let host = if pooled { "localhost" } else { "127.0.0.1" };
                    let mut uri = postgres::url(host, state.door.unwrap_or(port), &database(&branch.id));
                    if state.tls != Tls::Nowhere {
                        uri = uri.replace("sslmode=disable", "sslmode=require&channel_binding=require");
                    }
                    ok(&json!({ "uri": uri }))
                }
                _ => problem(404, "", "no such branch or compute"),
            }
        }
        _ => problem(404, "", "no such route"),
    }
}

fn change(state: &mut State, id: &str, body: &Value) -> Reply {
    let Some(at) = state.branches.iter().position(|branch| branch.id == id) else {
        return problem(404, "", "branch not found");
    };
    if let Some(name) = body["branch"]["name"].as_str() {
        if state.branches.iter().any(|branch| branch.name == name) {
            return problem(409, "", "branch already exists");
        }
        state.branches[at].name = name.into();
    }
    if let Some(expires_at) = body["branch"].get("expires_at") {
        if expires_at.is_string() && undo::has_children(state, id) {
            return problem(422, "", "a branch with children cannot expire");
        }
        state.branches[at].expires_at = expires_at.as_str().map(Into::into);
    }
    ok(&json!({ "branch": shapes::branch(state, &state.branches[at]), "operations": [] }))
}

async fn create(body: &Value, state: &Shared, admin: &tokio_postgres::Client) -> Reply {
    let name = body["branch"]["name"].as_str().unwrap_or_default().to_string();
    let (made, parent) = {
        let mut state = state.lock().unwrap();
        settle(&mut state);
        if state.locks && state.operations.iter().any(|operation| status(operation) != "finished") {
            return problem(423, "", "project already has running conflicting operations");
        }
        if state.branches.iter().any(|branch| branch.name == name) {
            return problem(
                409,
                "BRANCH_ALREADY_EXISTS",
                &format!("branch already exists; branch_name:{name:?}"),
            );
        }
        let asked = body["branch"]["parent_id"].as_str();
        let parent = state.branches.iter().find(|branch| match asked {
            Some(id) => branch.id == id,
            None => branch.default,
        });
        if parent.is_some_and(|parent| parent.expires_at.is_some()) {
            return problem(422, "", "a branch that expires cannot have children");
        }
        let Some(parent) = parent.map(|parent| parent.id.clone()) else {
            return problem(404, "", "parent branch not found");
        };
        let made = add(&mut state, &name, Some(parent.clone()));
        let branch = state.branches.last_mut().unwrap();
        branch.annotation = body["annotation_value"].clone();
        if body["branch"]["init_source"] == "schema-only" {
            branch.parent = None;
        }
        branch.expires_at = body["branch"]["expires_at"].as_str().map(Into::into);
        if body["endpoints"].is_array() {
            branch.endpoint = Some((format!("ep-{}", made.id), "init".into()));
        }
        let has_compute = body["endpoints"].is_array();
        begin(
            &mut state,
            &made.id,
            if has_compute { &["create_branch", "start_compute"] } else { &["create_branch"] },
        );
        // The operations must not finish before the database exists, however long that takes.
        for operation in state.operations.iter_mut().filter(|operation| operation.branch == made.id) {
            operation.begun += AGES;
        }
        (made.id, parent)
    };
    let statement = format!("create database {} template {}", database(&made), database(&parent));
    admin.batch_execute(&statement).await.unwrap();
    let mut state = state.lock().unwrap();
    // The operations begin only now, so that the answer never reports them as finished, however long the copy took.
    for (at, operation) in (0_u32..).zip(state.operations.iter_mut().filter(|op| op.branch == made)) {
        operation.begun = Instant::now() + operation.step * at;
    }
    let branch = state.branches.iter().find(|branch| branch.id == made).unwrap();
    let operations: Vec<Value> =
        state.operations.iter().filter(|operation| operation.branch == made).map(shapes::operation).collect();
    let answer = json!({
        "branch": shapes::branch(&state, branch),
        "endpoints": shapes::endpoint(branch).into_iter().collect::<Vec<_>>(),
        "operations": operations,
        "roles": shapes::roles(&made),
        "databases": shapes::databases(&state, &made),
        "connection_uris": shapes::connection_uris(branch),
    });
    (201, answer.to_string())
}

pub(super) fn ok(value: &Value) -> Reply {
    (200, value.to_string())
}

fn list(state: &State, query: &str) -> Reply {
    // Like the real service, matches parts of names and ids.
    let search = parameter(query, "search").unwrap_or_default();
    // A client that sends a limit gets short pages; Neon's own client sends none and expects all branches.
    let limit = parameter(query, "limit").map_or(usize::MAX, |limit| limit.parse::<usize>().unwrap().min(2));
    let after: usize = parameter(query, "cursor").and_then(|cursor| cursor.parse().ok()).unwrap_or(0);
    let fitting: Vec<&Branch> =
        state.branches.iter().filter(|b| b.name.contains(&search) || b.id.contains(&search)).collect();
    let page: Vec<Value> = fitting.iter().skip(after).take(limit).map(|b| shapes::branch(state, b)).collect();
    let mut pagination = json!({ "sort_by": "created_at", "sort_order": "ASC" });
    if after + page.len() < fitting.len() {
        pagination["next"] = json!((after + page.len()).to_string());
    }
    let noted = fitting.iter().filter(|b| b.annotation.is_object());
    let annotations: serde_json::Map<_, _> = noted.map(|b| (b.id.clone(), shapes::annotation(b))).collect();
    ok(&json!({ "branches": page, "annotations": annotations, "pagination": pagination }))
}

pub(super) fn begin(state: &mut State, branch: &str, actions: &[&'static str]) -> Vec<Value> {
    let fails = std::mem::take(&mut state.compute_fails);
    let step = state.step;
    let first = state.operations.len();
    for (at, action) in (0_u32..).zip(actions) {
        state.next += 1;
        state.operations.push(Operation {
            id: format!("00000000-0000-4000-8000-{:012}", state.next),
            branch: branch.into(),
            action,
            begun: Instant::now() + step * at,
            step,
            fails: fails && *action == "start_compute",
        });
    }
    state.operations[first..].iter().map(shapes::operation).collect()
}

pub(super) fn status(operation: &Operation) -> &'static str {
    let age = Instant::now().saturating_duration_since(operation.begun);
    match operation.fails {
        _ if age < operation.step => "scheduling",
        _ if age < operation.step * 2 => "running",
        true => "failed",
        false => "finished",
    }
}

/// Marks computes as active once their operation has finished.
fn settle(state: &mut State) {
    let done: Vec<String> = state
        .operations
        .iter()
        .filter(|operation| operation.action == "start_compute" && status(operation) == "finished")
        .map(|operation| operation.branch.clone())
        .collect();
    for branch in state.branches.iter_mut().filter(|branch| done.contains(&branch.id)) {
        if let Some((_, state)) = branch.endpoint.as_mut().filter(|(_, state)| state == "init") {
            *state = "active".into();
        }
    }
}
