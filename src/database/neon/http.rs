//! Sends one HTTP/1.1 request and returns one outcome. The connection is kept open, and is encrypted unless the service
//! runs on this machine.
//!
//! Follows no redirect, so the key is sent only to the configured host. Sends a request again only if it was not sent
//! because the kept connection was closed. Every step has a time limit.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
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
use url::{Host, Url};

use super::Key;
use super::error::numbered;
use super::proxy::Proxy;
use super::retry::{self, ApiAnswer, RequestOutcome};
use crate::database::tls;

/// The time limit for name lookup, connection and TLS handshake together.
const CONNECT: Duration = Duration::from_secs(10);
/// The largest answer in bytes. A project has at most a few thousand branches.
const LARGEST: usize = 32 << 20;
const RETURNED_ID: HeaderName = HeaderName::from_static("x-neon-ret-request-id");

type Sender = SendRequest<Full<Bytes>>;

/// The address of the API: `https://console.neon.tech/api/v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Base {
    secure: bool,
    host: String,
    port: u16,
    path: String,
}

impl Base {
    /// Parses an address. Errors if it is invalid, or if the key would be sent unencrypted to another machine.
    pub(super) fn parse(text: &str) -> Result<Base, String> {
        let text = text.trim();
        let whole = if text.contains("://") { text.into() } else { format!("https://{text}") };
        let url = Url::parse(&whole).map_err(|error| format!("it is no URL: {error}"))?;
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err("it begins with neither https:// nor http://".into()),
        };
        let has_login = !url.username().is_empty() || url.password().is_some();
        if has_login || url.query().is_some() || url.fragment().is_some() {
            return Err("it has more than a host and a path".into());
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err("it has no host".into());
        };
        let (is_here, host) = match host {
            Host::Domain(name) => (name == "localhost", name.to_string()),
            Host::Ipv4(ip) => (ip.is_loopback(), ip.to_string()),
            Host::Ipv6(ip) => (ip.is_loopback(), ip.to_string()),
        };
        if !secure && !is_here {
            return Err("the key would travel without encryption".into());
        }
        let path = url.path().trim_end_matches('/').to_string();
        Ok(Base { secure, host, port, path })
    }

    /// Returns host and port, for messages.
    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.bracketed(), self.port)
    }

    /// Returns the host, an IPv6 address in brackets.
    fn bracketed(&self) -> String {
        if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() }
    }

    fn authority(&self) -> String {
        let host = self.bracketed();
        match (self.secure, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// A connection to the service, opened on demand.
#[derive(Debug)]
pub(super) struct HttpConnection {
    base: Base,
    key: Key,
    proxy: Option<Proxy>,
    /// The time limit of one answer, including its body.
    limit: Duration,
    kept: RefCell<Option<Sender>>,
}

impl HttpConnection {
    /// Returns a connection to `base`, through the proxy that `env` names if `base` is encrypted. Opens nothing yet. Errors
    /// if devrun cannot use that proxy.
    pub(super) fn new(
        base: Base,
        key: Key,
        env: &BTreeMap<OsString, OsString>,
        limit: Duration,
    ) -> Result<HttpConnection, String> {
        let proxy = if base.secure { Proxy::of(env, &base.address())? } else { None };
        Ok(HttpConnection { base, key, proxy, limit, kept: RefCell::default() })
    }

    pub(super) fn key(&self) -> &Key {
        &self.key
    }

    /// Sends one request. `path` is relative to the base's path and includes the query.
    pub(super) async fn exchange(&self, method: &Method, path: &str, body: Option<&[u8]>) -> RequestOutcome {
        let request = match self.request(method, path, body) {
            Ok(request) => request,
            Err(error) => return RequestOutcome::NotSent(format!("the request cannot be built: {error}")),
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
            // The service may close an idle connection at any time, so try a new one once.
            RequestOutcome::NotSent(_) if !fresh => match self.connect().await {
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

    async fn send(&self, mut sender: Sender, request: Request<Full<Bytes>>) -> RequestOutcome {
        let talk = async {
            let answer = match sender.send_request(request).await {
                Ok(answer) => answer,
                Err(error) if error.is_canceled() => return RequestOutcome::NotSent(in_words(&error)),
                Err(error) => return RequestOutcome::Lost(in_words(&error)),
            };
            match read(answer).await {
                Ok(answer) => {
                    self.kept.replace(Some(sender));
                    RequestOutcome::Answered(answer)
                }
                Err(reason) => RequestOutcome::Lost(reason),
            }
        };
        let late = || {
            let (place, limit) = (self.place(), self.limit.as_secs());
            RequestOutcome::Lost(format!("no answer from {place} within {limit} s"))
        };
        tokio::time::timeout(self.limit, talk).await.unwrap_or_else(|_| late())
    }

    async fn connect(&self) -> Result<Sender, RequestOutcome> {
        let late = || {
            let (place, limit) = (self.place(), CONNECT.as_secs());
            RequestOutcome::NotSent(format!("no connection to {place} within {limit} s"))
        };
        tokio::time::timeout(CONNECT, self.dial()).await.map_err(|_| late())?
    }

    /// Returns the address of the service, and the proxy on the way to it. For messages.
    fn place(&self) -> String {
        match &self.proxy {
            Some(proxy) => format!("{} through the proxy {}", self.base.address(), proxy.address()),
            None => self.base.address(),
        }
    }

    async fn dial(&self) -> Result<Sender, RequestOutcome> {
        let Base { secure, host, port, .. } = &self.base;
        let failed = |error| retry::not_connected(&self.place(), &error);
        if let Some(proxy) = &self.proxy {
            let stream = proxy.connect(&self.base.address()).await?;
            return self.encrypt(stream, failed).await;
        }
        let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
        let _ = stream.set_nodelay(true);
        if *secure {
            self.encrypt(stream, failed).await
        } else {
            serve(stream).await.map_err(RequestOutcome::NotSent)
        }
    }

    /// Speaks HTTP over TLS over `stream`. `failed` makes an outcome of an error of the handshake.
    async fn encrypt(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        failed: impl Fn(std::io::Error) -> RequestOutcome,
    ) -> Result<Sender, RequestOutcome> {
        let name = ServerName::try_from(self.base.host.clone())
            .map_err(|error| RequestOutcome::Untrusted(error.to_string()))?;
        let connector = tls::connector().map_err(RequestOutcome::Untrusted)?;
        let stream = connector.connect(name, stream).await.map_err(failed)?;
        serve(stream).await.map_err(RequestOutcome::NotSent)
    }
}

/// Speaks HTTP over `stream`. A task of the current thread serves the connection until it ends.
async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, String> {
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| in_words(&error))?;
    // The next request reports a broken connection.
    tokio::spawn(connection);
    Ok(sender)
}

async fn read(answer: Response<hyper::body::Incoming>) -> Result<ApiAnswer, String> {
    let header = |name: &HeaderName| Some(answer.headers().get(name)?.to_str().ok()?.to_string());
    let (status, retry_after, request_id) =
        (answer.status().as_u16(), header(&RETRY_AFTER), header(&RETURNED_ID));
    let body = Limited::new(answer.into_body(), LARGEST)
        .collect()
        .await
        .map_err(|error| format!("the answer ends too early: {error}{}", numbered(request_id.as_deref())))?
        .to_bytes();
    Ok(ApiAnswer { status, retry_after, request_id, body: body.to_vec() })
}

fn in_words(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_the_key_never_travels_in_the_clear() {
        let neon = Base::parse("https://console.neon.tech/api/v2/").unwrap();
        assert_eq!((neon.authority(), neon.path.as_str()), ("console.neon.tech".into(), "/api/v2"));
        assert_eq!(Base::parse("http://127.0.0.1:99/api").unwrap().address(), "127.0.0.1:99");
        assert_eq!(Base::parse("http://[::1]:99").unwrap().authority(), "[::1]:99");
        assert_eq!(
            Base::parse("console.neon.tech").unwrap(),
            Base::parse("https://console.neon.tech/").unwrap()
        );
        let bad = [
            "http://console.neon.tech/api/v2",
            "http://localhost.example.com",
            "ftp://x",
            "https://",
            "https://a@b/",
            "https://h/?a",
            "https://h:x/",
        ];
        for bad in bad {
            assert!(Base::parse(bad).is_err(), "{bad}");
        }
    }

    /// The paused clock advances as soon as all tasks wait, so the proxy never answers in time.
    #[tokio::test(start_paused = true)]
    async fn timeout_names_the_proxy_without_its_password() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let proxy = format!("http://me:hunter2@127.0.0.1:{port}");
        let env = [("HTTPS_PROXY".into(), proxy.into())].into();
        let base = Base::parse("https://console.neon.tech/api/v2").unwrap();
        let link = HttpConnection::new(
            base,
            Key::new("napi_x", "NEON_API_KEY").unwrap(),
            &env,
            Duration::from_secs(30),
        )
        .unwrap();
        let outcome = link.exchange(&Method::GET, "/projects", None).await;
        let expected =
            format!("no connection to console.neon.tech:443 through the proxy 127.0.0.1:{port} within 10 s");
        assert_eq!(outcome, RequestOutcome::NotSent(expected));
    }
}
