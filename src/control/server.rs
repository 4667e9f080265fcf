//! The server on the socket of a worktree: HTTP/1.1 with JSON bodies.
//!
//! It runs on the thread of the supervisor, so nothing here may block. It drops connections of other users, and answers
//! bodies over 64 KiB, unknown paths and wrong methods with an error.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;

use super::events::EventMessage;
use super::protocol::Failure;
use super::routes::{self, Handler, Match, Route};
use super::stack_handle::StackHandle;
use super::{attach, openapi, socket, stack_handle};
use crate::error::{Code, RERUN, Report};

/// The largest body of a request, in bytes.
const LARGEST: usize = 64 << 10;
/// How long a client may take to send its headers, and then its body.
const SLOWEST: Duration = Duration::from_secs(5);

type HttpResponse = Response<BoxBody<Bytes, Infallible>>;

/// Serves `stack` on `listener` until the future is dropped. Must run in a `LocalSet`.
pub async fn serve(listener: UnixListener, stack: StackHandle) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if socket::is_trusted(&stream) => {
                let stack = stack.clone();
                tokio::task::spawn_local(async move { converse(stream, stack).await });
            }
            Ok(_) => {}
            // The process may be out of file descriptors; another task may close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: UnixStream, stack: StackHandle) {
    let _attendance = stack.open_connection();
    let answer = service_fn(move |request| {
        let stack = stack.clone();
        async move { Ok::<_, Infallible>(respond_to(request, &stack).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    // The client may have disconnected.
    let _ = connection.await;
}

async fn respond_to(request: Request<Incoming>, stack: &StackHandle) -> HttpResponse {
    let path = request.uri().path().to_string();
    let no_route = || Failure {
        error: (&Report::new(Code::Usage, format!("there is no {} {path}", request.method()))).into(),
    };
    match routes::find(request.method(), &path) {
        Match::Route(route, name) => {
            let answer = handle(route, name, request, stack).await;
            answer.unwrap_or_else(|report| refusal(&report))
        }
        Match::OtherMethod(allowed) => {
            let mut answer = json(StatusCode::METHOD_NOT_ALLOWED, &no_route());
            if let Ok(allowed) = HeaderValue::from_str(allowed.as_str()) {
                answer.headers_mut().insert(hyper::header::ALLOW, allowed);
            }
            answer
        }
        Match::Unknown => json(StatusCode::NOT_FOUND, &no_route()),
    }
}

async fn handle(
    route: &Route,
    name: &str,
    request: Request<Incoming>,
    stack: &StackHandle,
) -> Result<HttpResponse, Report> {
    let success = StatusCode::from_u16(route.success).unwrap_or_default();
    Ok(match route.handler {
        Handler::Query(look) => json(success, &look(stack, request.uri().query()).await?),
        Handler::Ask(ask) => json(success, &ask(stack, read(request).await?).await?),
        Handler::Bind(bind) => json(success, &bind(stack, read(request).await?)),
        Handler::Events => events(stack),
        Handler::Document => json(success, &openapi::document()),
        Handler::Terminal => attach(request, stack, name)?,
    })
}

/// Answers with an upgrade of the connection to the terminal of a process, and serves the terminal once the upgrade is
/// done.
fn attach(mut request: Request<Incoming>, stack: &StackHandle, name: &str) -> Result<HttpResponse, Report> {
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
    let status = stack.status();
    if status.process(&name).is_none() {
        return Err(stack_handle::unknown(&status, &name));
    }
    if !stack.terminals().has(&name) {
        return Err(Report::new(Code::ProcessUnknown, format!("{name} has no terminal to attach to"))
            .with_fix(format!("write `tty: true` at processes.{name} in devrun.yaml, then {RERUN}")));
    }
    let stack = stack.clone();
    tokio::task::spawn_local(async move {
        if let Ok(upgraded) = hyper::upgrade::on(&mut request).await {
            attach::serve(upgraded, &stack, &name).await;
        }
    });
    let mut answer = respond(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Full::default().boxed());
    let headers = answer.headers_mut();
    headers.insert(hyper::header::UPGRADE, HeaderValue::from_static(attach::PROTOCOL));
    headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(answer)
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Report> {
    let unusable = |why: String| Report::new(Code::Usage, format!("the request cannot be understood: {why}"));
    let body = Limited::new(request.into_body(), LARGEST);
    let body = tokio::time::timeout(SLOWEST, body.collect())
        .await
        .map_err(|_| unusable("it does not end".into()))?
        .map_err(|error| unusable(error.to_string()))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| unusable(error.to_string()))
}

/// Returns a stream with a line of JSON for the current status, then one for each event.
fn events(stack: &StackHandle) -> HttpResponse {
    let told = stack.events();
    let first = EventMessage::Status { status: Box::new(stack.status()) };
    let lines = futures_util::stream::unfold((Some(first), told), |(first, mut told)| async move {
        if let Some(first) = first {
            return Some((Ok(line(&first)), (None, told)));
        }
        loop {
            match told.recv().await {
                Ok(Some(event)) => {
                    if let Some(message) = EventMessage::of(&event) {
                        return Some((Ok(line(&message)), (None, told)));
                    }
                }
                Ok(None) | Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(count)) => {
                    return Some((Ok(line(&EventMessage::Missed { count })), (None, told)));
                }
            }
        }
    });
    let body = BodyExt::boxed(StreamBody::new(lines));
    respond(StatusCode::OK, "application/x-ndjson", body)
}

fn line(message: &EventMessage) -> Frame<Bytes> {
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    Frame::data(Bytes::from(line))
}

fn refusal(report: &Report) -> HttpResponse {
    let status = match report.code {
        Code::Usage => StatusCode::BAD_REQUEST,
        Code::ProcessUnknown => StatusCode::NOT_FOUND,
        Code::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::CONFLICT,
    };
    json(status, &Failure { error: report.into() })
}

fn json(status: StatusCode, body: &impl Serialize) -> HttpResponse {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    respond(status, "application/json", Full::new(Bytes::from(bytes)).boxed())
}

fn respond(status: StatusCode, kind: &'static str, body: BoxBody<Bytes, Infallible>) -> HttpResponse {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
