//! Answers on the socket of a worktree: HTTP/1.1 with JSON bodies.
//!
//! Runs beside the supervisor on its thread, so nothing here may take long or block. Refuses peers of other users, bodies
//! over 64 KiB and paths it does not know; says so in the form every failure has.

use std::convert::Infallible;
use std::time::Duration;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::error::RecvError;

use super::desk::{Desk, Order};
use super::protocol::{Ask, Failure, PREFIX};
use super::{attach, desk, openapi, socket, story};
use crate::error::{Code, Report};

/// The largest body of a request, in bytes.
const LARGEST: usize = 64 << 10;
/// How long a client may take to send its request.
const SLOWEST: Duration = Duration::from_secs(5);

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// Serves `desk` at `listener` until dropped. Must run in a `LocalSet`.
pub async fn serve(listener: UnixListener, desk: Desk) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if socket::is_trusted(&stream) => {
                let desk = desk.clone();
                tokio::task::spawn_local(async move { converse(stream, desk).await });
            }
            Ok(_) => {}
            // Out of descriptors, for example: somebody may give some back.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn converse(stream: UnixStream, desk: Desk) {
    let _attendance = desk.attend();
    let answer = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(route(request, &desk).await.unwrap_or_else(|report| refusal(&report))) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SLOWEST)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    // A client that went away needs no answer.
    let _ = connection.await;
}

async fn route(request: Request<Incoming>, desk: &Desk) -> Result<Answer, Report> {
    let path = request.uri().path().to_string();
    let verb = path.strip_prefix(PREFIX).unwrap_or_default();
    match (request.method(), verb) {
        (&Method::GET, "/status") => Ok(json(StatusCode::OK, &desk.audited().await)),
        (&Method::GET, "/openapi.json") => Ok(json(StatusCode::OK, &openapi::document())),
        (&Method::GET, "/events") => Ok(events(desk)),
        (&Method::POST, "/wait") => {
            let ask = read(request).await?;
            desk.wait(&ask.names, limit(&ask)).await?;
            Ok(json(StatusCode::OK, &desk.audited().await))
        }
        (&Method::POST, "/start") => order(request, desk, Order::Start).await,
        (&Method::POST, "/stop") => order(request, desk, Order::Stop).await,
        (&Method::POST, "/restart") => order(request, desk, Order::Restart).await,
        (&Method::POST, "/down") => {
            desk.down();
            Ok(json(StatusCode::ACCEPTED, &desk.status()))
        }
        (&Method::GET, path) if path.starts_with("/attach/") => attach(request, desk),
        (method, _) => Err(Report::new(Code::Usage, format!("there is no {method} {path}"))),
    }
}

/// Hands the connection over to whoever is to be attached, once this answer is sent.
fn attach(mut request: Request<Incoming>, desk: &Desk) -> Result<Answer, Report> {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
    let status = desk.status();
    if status.process(&name).is_none() {
        return Err(desk::unknown(&status, &name));
    }
    if !desk.terminals().has(&name) {
        return Err(Report::new(Code::ProcessUnknown, format!("{name} has no terminal to attach to"))
            .with_fix(format!(
                "write `tty: true` at processes.{name} in devrun.yaml, then run devrun again"
            )));
    }
    let desk = desk.clone();
    tokio::task::spawn_local(async move {
        if let Ok(upgraded) = hyper::upgrade::on(&mut request).await {
            attach::serve(upgraded, &desk, &name).await;
        }
    });
    let mut answer = respond(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Full::default().boxed());
    let headers = answer.headers_mut();
    headers.insert(hyper::header::UPGRADE, HeaderValue::from_static(attach::PROTOCOL));
    headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("upgrade"));
    Ok(answer)
}

async fn order(request: Request<Incoming>, desk: &Desk, order: Order) -> Result<Answer, Report> {
    let ask = read(request).await?;
    desk.order(order, &ask.names, limit(&ask)).await?;
    Ok(json(StatusCode::OK, &desk.audited().await))
}

fn limit(ask: &Ask) -> Duration {
    Duration::from_millis(ask.timeout_ms)
}

async fn read(request: Request<Incoming>) -> Result<Ask, Report> {
    let unusable = |why: String| Report::new(Code::Usage, format!("the request cannot be understood: {why}"));
    let body = Limited::new(request.into_body(), LARGEST);
    let body = tokio::time::timeout(SLOWEST, body.collect())
        .await
        .map_err(|_| unusable("it does not end".into()))?
        .map_err(|error| unusable(error.to_string()))?;
    serde_json::from_slice(&body.to_bytes()).map_err(|error| unusable(error.to_string()))
}

/// One line of JSON per event; what the stack is doing comes first.
fn events(desk: &Desk) -> Answer {
    let told = desk.events();
    let first = story::status(&desk.status());
    let lines = futures_util::stream::unfold((Some(first), told), |(first, mut told)| async move {
        if let Some(first) = first {
            return Some((Ok(line(&first)), (None, told)));
        }
        loop {
            match told.recv().await {
                Ok(Some(event)) => {
                    if let Some(message) = story::event(&event) {
                        return Some((Ok(line(&message)), (None, told)));
                    }
                }
                Ok(None) | Err(RecvError::Closed) => return None,
                Err(RecvError::Lagged(missed)) => {
                    return Some((Ok(line(&story::missed(missed))), (None, told)));
                }
            }
        }
    });
    let body = BodyExt::boxed(StreamBody::new(lines));
    respond(StatusCode::OK, "application/x-ndjson", body)
}

fn line(message: &serde_json::Value) -> Frame<Bytes> {
    Frame::data(Bytes::from(format!("{message}\n")))
}

fn refusal(report: &Report) -> Answer {
    let status = match report.code {
        Code::Usage => StatusCode::BAD_REQUEST,
        Code::ProcessUnknown => StatusCode::NOT_FOUND,
        Code::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::CONFLICT,
    };
    json(status, &Failure { error: report.into() })
}

fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    respond(status, "application/json", Full::new(Bytes::from(bytes)).boxed())
}

fn respond(status: StatusCode, kind: &'static str, body: BoxBody<Bytes, Infallible>) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(hyper::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
