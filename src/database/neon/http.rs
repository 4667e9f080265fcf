//! One request, one outcome: HTTP/1.1 over a connection that is kept, encrypted unless the service is on this machine.
//!
//! Repeats nothing, follows no redirect, so the key goes to the one host it is meant for. Every step has a limit.

use std::cell::RefCell;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::ServerName;

use super::Key;
use super::error::numbered;
use super::verdict::{Answer, Outcome};
use crate::database::tls;

/// For name, connection and handshake together.
const CONNECT: Duration = Duration::from_secs(10);
/// A project has at most some thousand branches.
const LARGEST: usize = 32 << 20;
const RETURNED_ID: HeaderName = HeaderName::from_static("x-neon-ret-request-id");

type Sender = SendRequest<Full<Bytes>>;

/// Where the API is: `https://console.neon.tech/api/v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Base {
    /// Reads an address. Without encryption only this very machine is talked to: the key would be seen on the way.
    pub(super) fn parse(text: &str) -> Result<Base, String> {
        let text = text.trim().trim_end_matches('/');
        let (secure, rest) = match text.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            Some(_) => return Err("it begins with neither https:// nor http://".into()),
            None => (true, text),
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        if authority.contains('@') || path.contains(['?', '#']) {
            return Err("it has more than a host and a path".into());
        }
        let default = if secure { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| format!("{port} is no port"))?)
            }
            _ => (authority, default),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_string();
        if host.is_empty() {
            return Err("it has no host".into());
        }
        let is_here = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if !secure && !is_here {
            return Err("the key would travel without encryption".into());
        }
        Ok(Base { secure, host, port, path: path.into() })
    }

    /// Host and port, for messages.
    pub(super) fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// A line to the service.
#[derive(Debug)]
pub(super) struct Link {
    base: Base,
    key: Key,
    /// For one answer, whole.
    limit: Duration,
    kept: RefCell<Option<Sender>>,
}

impl Link {
    pub(super) fn new(base: Base, key: Key, limit: Duration) -> Link {
        Link { base, key, limit, kept: RefCell::default() }
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Sends one request; `path` comes after the base's, with its query.
    pub(super) async fn exchange(&self, method: &Method, path: &str, body: Option<&[u8]>) -> Outcome {
        let request = match self.request(method, path, body) {
            Ok(request) => request,
            Err(error) => return Outcome::NotSent(format!("a request that cannot be sent: {error}")),
        };
        let kept = self.kept.take().filter(|sender| !sender.is_closed());
        let fresh = kept.is_none();
        let sender = match kept {
            Some(sender) => sender,
            None => match self.connect().await {
                Ok(sender) => sender,
                Err(outcome) => return outcome,
            },
        };
        match self.send(sender, request.clone()).await {
            // The service had closed the kept connection, which says nothing about the service.
            Outcome::NotSent(_) if !fresh => match self.connect().await {
                Ok(sender) => self.send(sender, request).await,
                Err(outcome) => outcome,
            },
            outcome => outcome,
        }
    }

    fn request(
        &self,
        method: &Method,
        path: &str,
        body: Option<&[u8]>,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(method.clone())
            .uri(format!("{}{path}", self.base.path))
            .header(HOST, self.base.authority())
            .header(USER_AGENT, concat!("devrun/", env!("CARGO_PKG_VERSION")))
            .header(AUTHORIZATION, self.key.header());
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(Bytes::copy_from_slice(body.unwrap_or_default())))
    }

    async fn send(&self, mut sender: Sender, request: Request<Full<Bytes>>) -> Outcome {
        let talk = async {
            let answer = match sender.send_request(request).await {
                Ok(answer) => answer,
                Err(error) if error.is_canceled() => return Outcome::NotSent(in_words(&error)),
                Err(error) => return Outcome::Lost(in_words(&error)),
            };
            match read(answer).await {
                Ok(answer) => {
                    self.kept.replace(Some(sender));
                    Outcome::Answered(answer)
                }
                Err(reason) => Outcome::Lost(reason),
            }
        };
        let late = || Outcome::Lost(format!("no answer within {} s", self.limit.as_secs()));
        tokio::time::timeout(self.limit, talk).await.unwrap_or_else(|_| late())
    }

    async fn connect(&self) -> Result<Sender, Outcome> {
        let late = || {
            let (place, limit) = (self.base.place(), CONNECT.as_secs());
            Outcome::NotSent(format!("no connection to {place} within {limit} s"))
        };
        tokio::time::timeout(CONNECT, self.dial()).await.map_err(|_| late())?
    }

    async fn dial(&self) -> Result<Sender, Outcome> {
        let Base { secure, host, port, .. } = &self.base;
        let failed = |error: std::io::Error| {
            let told = format!("cannot connect to {}: {error}", self.base.place());
            // How rustls tells of a certificate that it does not accept, or of what is no TLS at all.
            let is_final = error.kind() == std::io::ErrorKind::InvalidData;
            if is_final { Outcome::Untrusted(told) } else { Outcome::NotSent(told) }
        };
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        if !secure {
            return serve(stream).await.map_err(Outcome::NotSent);
        }
        let name =
            ServerName::try_from(host.clone()).map_err(|error| Outcome::Untrusted(error.to_string()))?;
        let connector = tls::connector().map_err(Outcome::Untrusted)?;
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        serve(stream).await.map_err(Outcome::NotSent)
    }
}

/// Speaks HTTP over `stream`, by a task of the current thread that ends with the connection.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, String> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| in_words(&error))?;
    // A broken connection is told by the next request.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(answer: Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let header = |name: &HeaderName| Some(answer.headers().get(name)?.to_str().ok()?.to_string());
    let (status, retry_after, request_id) =
        (answer.status().as_u16(), header(&RETRY_AFTER), header(&RETURNED_ID));
    let body = Limited::new(answer.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| format!("the answer ends too early: {error}{}", numbered(request_id.as_deref())))?
        .to_bytes();
    Ok(Answer { status, retry_after, request_id, body: body.to_vec() })
}

fn in_words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// `text` as one segment of a path or one value of a query.
pub(super) fn encoded(text: &str) -> String {
    const PLAIN: percent_encoding::AsciiSet =
        percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, &PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_the_key_never_travels_in_the_clear() {
        let neon = Base::parse("https://console.neon.tech/api/v2/").unwrap();
        assert_eq!((neon.authority(), neon.path.as_str()), ("console.neon.tech".into(), "/api/v2"));
        assert_eq!(Base::parse("http://127.0.0.1:99/api").unwrap().place(), "127.0.0.1:99");
        assert_eq!(Base::parse("http://[::1]:99").unwrap().authority(), "[::1]:99");
        for bad in ["http://console.neon.tech/api/v2", "ftp://x", "https://", "https://a@b/", "https://h:x/"]
        {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_special_in_a_query_is_encoded() {
        assert_eq!(encoded("dev-feature/x&limit=1 ü"), "dev-feature%2Fx%26limit%3D1%20%C3%BC");
    }
}
