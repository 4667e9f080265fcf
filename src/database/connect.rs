//! Opens devrun's own connections to Postgres, from the URLs that applications use and within a time limit.
//!
//! Waits for a server that is still starting. Errors name host, port and database, never the password.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket};

use super::BranchDatabase;
use super::local::ConnectFailure;
use super::scram::{Proof, ScramOnly};
use super::tls::PostgresTls;
use crate::context::default_ports::POSTGRES;
use crate::error::{Code, Explain, RERUN};
use crate::os::deadline::Deadline;
use crate::text::{is_postgres_url, user_info_len};

/// Connection parameters that the driver understands. ORMs add many others to the same URL, which the driver would
/// reject.
const PARAMETERS: [&str; 10] = [
    "application_name",
    "channel_binding",
    "dbname",
    "host",
    "options",
    "password",
    "port",
    "sslmode",
    "target_session_attrs",
    "user",
];

/// An error while connecting.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is invalid.
    #[error("the database URL cannot be used: {0}")]
    Url(String),
    /// No server answered, or the server did not become ready in time.
    #[error("no database server answers at {place} within {} s", waited.as_secs())]
    Unreachable {
        /// Host, port and database.
        place: String,
        /// The time limit that has passed.
        waited: Duration,
        /// The last error.
        reason: String,
    },
    /// The connection cannot be made, because the host has no address or the network refuses it.
    #[error("no connection to {place}: {reason}")]
    NoConnection {
        /// Host, port and database.
        place: String,
        /// The error of the system.
        reason: String,
    },
    /// The server refused the connection, or connecting failed with an error that does not pass.
    #[error("the database server refuses {place}: {reason}")]
    Refused {
        /// Host, port and database.
        place: String,
        /// The reason, in the server's words.
        reason: String,
        /// The server's SQLSTATE, if it sent one.
        state: Option<SqlState>,
    },
}

impl Explain for ConnectError {
    fn code(&self) -> Code {
        match self {
            ConnectError::Url(_) => Code::ConfigInvalid,
            ConnectError::Unreachable { .. }
            | ConnectError::NoConnection { .. }
            | ConnectError::Refused { .. } => Code::DatabaseUnavailable,
        }
    }

    fn why(&self) -> Option<String> {
        match self {
            ConnectError::Unreachable { reason, .. } => Some(reason.clone()),
            ConnectError::Url(_) | ConnectError::NoConnection { .. } | ConnectError::Refused { .. } => None,
        }
    }

    fn fix(&self) -> Option<String> {
        Some(match self {
            ConnectError::Url(_) => "write it as postgresql://user:password@host:port/database".into(),
            ConnectError::Unreachable { .. } => format!(
                "start the database \
                 server or correct its address, then {RERUN}"
            ),
            ConnectError::NoConnection { .. } => {
                format!("correct the host in the URL, or check the network, then {RERUN}")
            }
            ConnectError::Refused { state: Some(state), .. } if *state == SqlState::TOO_MANY_CONNECTIONS => {
                format!(
                    "close other connections, or raise the limit of the database, role or server, then {RERUN}"
                )
            }
            ConnectError::Refused { .. } => format!(
                "check user, password and \
                 database name in the URL, then {RERUN}"
            ),
        })
    }
}

/// How long an attempt to connect goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// The time limit.
    limit: Duration,
    /// The time limit while the server answers that it has too many connections.
    full: Duration,
}

impl Patience {
    /// Returns a patience with this limit that waits at most 1 s while the server has too many connections, for commands that only read.
    pub fn of_a_look(limit: Duration) -> Patience {
        Patience { limit, full: Duration::from_secs(1).min(limit) }
    }

    /// Returns the time limit of all attempts.
    pub fn limit(self) -> Duration {
        self.limit
    }
}

impl From<Duration> for Patience {
    fn from(limit: Duration) -> Patience {
        Patience { limit, full: limit }
    }
}

/// Connects to `url`. While no server answers, or the server is still starting, tries again within `patience`. A
/// task of the current runtime serves the connection and ends with the client. If the URL demands encryption, the
/// server's certificate is checked, which is stricter than `sslmode=require` in libpq.
pub async fn connect(url: &str, patience: impl Into<Patience>) -> Result<Client, ConnectError> {
    let (config, patience) = (parse(url)?, patience.into());
    if config.get_ssl_mode() != SslMode::Require {
        return connect_plain(&config, patience).await;
    }
    let refused = |reason| ConnectError::Refused { place: server_text(&config), reason, state: None };
    connect_with(&config, PostgresTls::new().map_err(refused)?, patience).await
}

/// Connects to the database of `branch` without a pooler: through the local server's socket if `branch` has one, otherwise with the direct
/// URL. `dbname` selects another database of the same server and is used only with a socket.
pub async fn reach(
    branch: &BranchDatabase,
    dbname: Option<&str>,
    patience: impl Into<Patience>,
) -> Result<Client, ConnectError> {
    let patience = patience.into();
    let Some(socket) = &branch.admin_socket else { return connect(&branch.direct_url, patience).await };
    let mut config = parse(&branch.direct_url)?;
    if let Some(dbname) = dbname {
        config.dbname(dbname);
    }
    let deadlines = Deadlines::of(patience);
    loop {
        let attempt = match socket.open(&config).await {
            Ok(client) => return Ok(client),
            Err(ConnectFailure::Password(reason) | ConnectFailure::Final(reason)) => {
                return Err(ConnectError::Refused { place: server_text(&config), reason, state: None });
            }
            Err(ConnectFailure::Full(reason)) => Attempt {
                passing: true,
                state: Some(SqlState::TOO_MANY_CONNECTIONS),
                ..Attempt::refused(reason)
            },
            Err(ConnectFailure::NotNow(reason)) => Attempt { passing: true, ..Attempt::refused(reason) },
        };
        let left = deadlines.left(&attempt);
        if left.is_zero() {
            return Err(attempt.error(&config, patience));
        }
        tokio::time::sleep(Duration::from_millis(20).min(left)).await;
    }
}

/// Connects like [`connect`], without encryption. The password is never sent in clear text or as an MD5 hash.
async fn connect_plain(config: &Config, patience: Patience) -> Result<Client, ConnectError> {
    let dial = async || {
        let mut failed = Attempt::refused("it names no host");
        for (index, host) in config.get_hosts().iter().enumerate() {
            match dial_plain(config, host, port_of(config, index)).await {
                Ok(client) => return Ok(client),
                // A host that is starting may answer in a moment.
                Err(attempt) if index == 0 || attempt.passing || !failed.passing => failed = attempt,
                Err(_) => {}
            }
        }
        Err(failed)
    };
    repeat(config, patience, dial).await
}

/// Connects to one `host` of `config` without encryption.
async fn dial_plain(config: &Config, host: &Host, port: u16) -> Result<Client, Attempt> {
    let failed = |error: io::Error| Attempt {
        passing: is_passing_io(&error),
        unconnected: true,
        reason: error.to_string(),
        state: None,
    };
    match host {
        Host::Tcp(name) => {
            let stream = TcpStream::connect((name.as_str(), port)).await.map_err(failed)?;
            keep_alive(&stream);
            log_in(config, stream).await
        }
        Host::Unix(folder) => {
            let socket = folder.join(format!(".s.PGSQL.{port}"));
            log_in(config, UnixStream::connect(socket).await.map_err(failed)?).await
        }
    }
}

/// Logs in to the server behind `stream`. Errors if the server asks for the password in an unsafe form, or is not in the mode that
/// `target_session_attrs` asks for.
async fn log_in<S>(config: &Config, stream: S) -> Result<Client, Attempt>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let of_driver = |error: tokio_postgres::Error| Attempt::of(&error);
    let stream = ScramOnly::new(stream, Proof::Optional);
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(of_driver)?;
    tokio::spawn(async move {
        // The client's next call reports a broken connection.
        let _ = connection.await;
    });
    if config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
        let row = client.query_one("show transaction_read_only", &[]).await.map_err(of_driver)?;
        if row.try_get::<_, String>(0).map_err(of_driver)? == "on" {
            return Err(Attempt::refused("it is read-only"));
        }
    }
    Ok(client)
}

/// Returns the port of the host at `index`: one port may be given for all hosts.
fn port_of(config: &Config, index: usize) -> u16 {
    let ports = config.get_ports();
    ports.get(index).or(ports.first()).copied().unwrap_or(POSTGRES)
}

/// Connects like [`connect`], with a parsed URL and a given kind of encryption.
async fn connect_with<T>(config: &Config, tls: T, patience: Patience) -> Result<Client, ConnectError>
where
    T: MakeTlsConnect<Socket> + Clone,
    T::Stream: Send + 'static,
{
    let dial = async || match config.connect(tls.clone()).await {
        Ok((client, connection)) => {
            tokio::spawn(async move {
                // The client's next call reports a broken connection.
                let _ = connection.await;
            });
            Ok(client)
        }
        Err(error) => Err(Attempt::of(&error)),
    };
    repeat(config, patience, dial).await
}

/// A failed attempt to connect.
struct Attempt {
    /// True if another attempt may succeed in a moment.
    passing: bool,
    /// True if the system could not make the connection, so that no server has answered.
    unconnected: bool,
    reason: String,
    state: Option<SqlState>,
}

impl Attempt {
    fn of(error: &tokio_postgres::Error) -> Attempt {
        Attempt {
            passing: is_transient(error),
            unconnected: is_unconnected(error),
            reason: in_words(error),
            state: error.code().cloned(),
        }
    }

    /// Returns the attempt that a server ended, for `reason`.
    fn refused(reason: impl Into<String>) -> Attempt {
        Attempt { passing: false, unconnected: false, reason: reason.into(), state: None }
    }

    /// Returns true if the server has too many connections.
    fn is_full(&self) -> bool {
        self.state == Some(SqlState::TOO_MANY_CONNECTIONS)
    }

    /// Returns the error if this was the last attempt.
    fn error(self, config: &Config, patience: Patience) -> ConnectError {
        let place = server_text(config);
        if self.passing && !self.is_full() {
            return ConnectError::Unreachable { place, waited: patience.limit, reason: self.reason };
        }
        if self.unconnected {
            return ConnectError::NoConnection { place, reason: self.reason };
        }
        ConnectError::Refused { place, reason: self.reason, state: self.state }
    }
}

/// The deadlines of a [`Patience`] that began with the first attempt.
struct Deadlines {
    limit: Deadline,
    full: Deadline,
}

impl Deadlines {
    fn of(patience: Patience) -> Deadlines {
        Deadlines { limit: Deadline::within(patience.limit), full: Deadline::within(patience.full) }
    }

    /// Returns the time for further attempts after `attempt`.
    fn left(&self, attempt: &Attempt) -> Duration {
        match attempt {
            Attempt { passing: false, .. } => Duration::ZERO,
            _ if attempt.is_full() => self.full.left(),
            _ => self.limit.left(),
        }
    }
}

/// Repeats `dial` until it succeeds, fails permanently, or `patience` ends.
async fn repeat(
    config: &Config,
    patience: Patience,
    dial: impl AsyncFn() -> Result<Client, Attempt>,
) -> Result<Client, ConnectError> {
    let deadlines = Deadlines::of(patience);
    let mut pause = Duration::from_millis(10);
    let mut last = Attempt { passing: true, ..Attempt::refused("no answer in time") };
    loop {
        match tokio::time::timeout(deadlines.limit.left(), dial()).await {
            Ok(Ok(client)) => return Ok(client),
            Ok(Err(attempt)) => last = attempt,
            Err(_) => return Err(last.error(config, patience)),
        }
        let left = deadlines.left(&last);
        if left.is_zero() {
            return Err(last.error(config, patience));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(Duration::from_millis(250));
    }
}

/// Turns on TCP keep-alive, so that a router does not drop an idle connection.
fn keep_alive(stream: &TcpStream) {
    // Best effort: a connection without keep-alive works too, until a router drops it.
    let _ = nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::KeepAlive, &true);
}

/// Parses a URL in the style of `SQLAlchemy`, Prisma or libpq: ignores a driver in the scheme and parameters of other
/// libraries. Sets keep-alive, so that a router does not drop the connection while it waits for a long migration.
pub fn parse(url: &str) -> Result<Config, ConnectError> {
    let unusable = |reason: &str| ConnectError::Url(reason.to_string());
    let (_, rest) = url.split_once("://").ok_or_else(|| unusable("it has no scheme"))?;
    if !is_postgres_url(url) {
        return Err(unusable("it does not begin with postgresql://"));
    }
    let (user_info, after) = rest.split_at(user_info_len(rest));
    let (place, query) = after.split_once('?').unwrap_or((after, ""));
    let query: Vec<String> = query.split('&').filter_map(parameter).collect();
    // The driver ends the user and password at the first of these characters.
    let user_info = user_info.strip_suffix('@').map_or(String::new(), |text| {
        format!("{}@", text.replace('@', "%40").replace('/', "%2F").replace('?', "%3F"))
    });
    let plain = format!("postgresql://{user_info}{place}?{}", query.join("&"));
    let mut config: Config = plain.parse().map_err(|error| ConnectError::Url(in_words(&error)))?;
    config.keepalives_idle(Duration::from_secs(30));
    if config.get_application_name().is_none() {
        config.application_name(format!("devrun (pid {})", std::process::id()));
    }
    Ok(config)
}

fn parameter(pair: &str) -> Option<String> {
    match pair.split_once('=')? {
        ("sslmode", "allow") => Some("sslmode=prefer".into()),
        ("sslmode", "verify-ca" | "verify-full") => Some("sslmode=require".into()),
        (name, _) => PARAMETERS.contains(&name).then(|| pair.to_string()),
    }
}

/// Returns true if another attempt may succeed in a moment.
fn is_transient(error: &tokio_postgres::Error) -> bool {
    if let Some(state) = error.code() {
        return [SqlState::CANNOT_CONNECT_NOW, SqlState::TOO_MANY_CONNECTIONS].contains(state)
            || error.as_db_error().is_some_and(|server| is_waking(server.message()));
    }
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    error.is_closed() || cause.is_some_and(is_passing_io)
}

/// Returns true if the system failed to make the connection. An error of the stream itself, such as an unsafe request for the password,
/// is of an answer.
fn is_unconnected(error: &tokio_postgres::Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() != io::ErrorKind::PermissionDenied)
}

fn is_passing_io(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound, UnexpectedEof};
    // `NotFound`: a local server that is starting has not created its socket file yet.
    matches!(error.kind(), ConnectionRefused | ConnectionReset | NotFound | UnexpectedEof)
}

/// Returns true for the messages that Neon's proxy sends while the compute behind it starts. They have no SQLSTATE of
/// their own.
fn is_waking(message: &str) -> bool {
    ["Couldn't connect to compute node", "Control plane request failed"]
        .iter()
        .any(|known| message.starts_with(known))
}

/// Returns the message of the server, or the driver's error with its causes on one line.
pub(super) fn in_words(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        return server.message().to_string();
    }
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            let _ = write!(text, ": {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Returns host, port and database of `config`, for messages.
fn server_text(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => "localhost".into(),
    };
    let port = config.get_ports().first().copied().unwrap_or(POSTGRES);
    match config.get_dbname() {
        Some(name) => format!("{host}:{port}/{name}"),
        None => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::error::Report;

    #[test]
    fn urls_of_other_libraries_are_understood() {
        let url = "postgresql+psycopg://me:p%40ss@db.example:6543/app\
                   ?schema=public&sslmode=verify-full&pgbouncer=true";
        let config = parse(url).unwrap();
        assert_eq!(server_text(&config), "db.example:6543/app");
        assert_eq!(config.get_password(), Some(b"p@ss".as_slice()));
        assert_eq!(config.get_ssl_mode(), tokio_postgres::config::SslMode::Require);
        let unescaped = parse("postgresql://me:p@s/s?w@db.example/app?sslmode=require").unwrap();
        assert_eq!(unescaped.get_password(), Some(b"p@s/s?w".as_slice()));
        assert_eq!(server_text(&unescaped), "db.example:5432/app");
        let socket = parse("postgresql:///app?host=/run/pg&port=5433").unwrap();
        assert_eq!(server_text(&socket), "/run/pg:5433/app");
    }

    #[test]
    fn urls_of_other_databases_are_refused() {
        for url in ["", "sqlite:///x.db", "host=localhost password=secret", "mysql://u:secret@h/d"] {
            let error = parse(url).unwrap_err();
            assert!(matches!(error, ConnectError::Url(_)));
            assert!(!error.to_string().contains("secret"));
        }
    }

    /// Accepts one connection, asks for the password in clear text, and returns the bytes that follow.
    async fn ask_for_password<S: AsyncRead + AsyncWrite + Unpin>(mut client: S) -> Vec<u8> {
        let length = client.read_u32().await.unwrap();
        let mut startup = vec![0; length as usize - 4];
        client.read_exact(&mut startup).await.unwrap();
        client.write_all(b"R\0\0\0\x08\0\0\0\x03").await.unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn a_host_without_an_address_has_refused_nothing() {
        let error = connect("postgresql://u:p@host.invalid/d", Duration::from_secs(20)).await.unwrap_err();
        assert!(matches!(error, ConnectError::NoConnection { .. }), "{error:?}");
        assert!(error.to_string().starts_with("no connection to host.invalid:5432/d: "), "{error}");
    }

    #[tokio::test]
    async fn no_host_of_a_url_gets_the_password_in_clear_text() {
        let folder = tempfile::tempdir().unwrap();
        let socket = tokio::net::UnixListener::bind(folder.path().join(".s.PGSQL.7")).unwrap();
        let tcp = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = tcp.local_addr().unwrap().port();
        let unix = format!("postgresql://u:s3cret@/d?host={}&port=7", folder.path().display());
        let several = format!("postgresql://u:s3cret@127.0.0.1:{port},127.0.0.1:{port},127.0.0.1:{port}/d");
        for (url, hosts) in [(unix, 1), (several, 3)] {
            let server = async {
                let mut said = Vec::new();
                for _ in 0..hosts {
                    said.extend(if hosts == 1 {
                        ask_for_password(socket.accept().await.unwrap().0).await
                    } else {
                        ask_for_password(tcp.accept().await.unwrap().0).await
                    });
                }
                said
            };
            let (refused, said) = tokio::join!(connect(&url, Duration::from_secs(20)), server);
            let Err(ConnectError::Refused { reason, .. }) = refused else { panic!("{url}: {refused:?}") };
            assert!(reason.contains("in clear text"), "{reason}");
            assert!(!String::from_utf8_lossy(&said).contains("s3cret"), "{url}");
        }
    }

    proptest! {
        #[test]
        fn no_error_of_the_url_shows_the_password(tail in "[ -~]{0,20}", head in "[ -~]{0,6}") {
            let url = format!("postgresql://me:{head}Xsecret5{tail}");
            if let Err(error) = parse(&url) {
                let told = format!("{:?}", Report::from(error));
                prop_assert!(!told.contains("Xsecret5"), "{}", told);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_connection_is_retried_until_the_limit() {
        // Bound, so that no other process takes the port, but not listening.
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let port = socket.local_addr().unwrap().port();
        let limit = Duration::from_secs(20);
        let start = tokio::time::Instant::now();
        let url = format!("postgresql://me:Xsecret5@127.0.0.1:{port}/app");
        let error = connect(&url, limit).await.unwrap_err();
        assert!(start.elapsed() >= limit, "gave up early");
        let report = Report::from(error);
        assert_eq!(report.code, Code::DatabaseUnavailable);
        assert!(report.message.contains(&format!("127.0.0.1:{port}/app")), "{report:?}");
        assert!(!format!("{report:?}").contains("Xsecret5"));
    }

    #[tokio::test]
    async fn a_server_that_asks_for_clear_text_gets_no_password() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut got = vec![0; 1024];
            let _ = stream.read(&mut got).await.unwrap();
            stream.write_all(b"R\0\0\0\x08\0\0\0\x03").await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
            rest
        });
        let url = format!("postgresql://me:Xsecret5@127.0.0.1:{port}/app");
        let error = connect(&url, Duration::from_secs(10)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        assert!(error.to_string().contains("clear text"), "{error}");
        assert!(!String::from_utf8_lossy(&server.await.unwrap()).contains("Xsecret5"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_accepts_and_sends_nothing_ends_in_an_error_at_the_limit() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = format!("postgresql://me@127.0.0.1:{port}/app");
        let error = connect(&url, Duration::from_secs(20)).await.unwrap_err();
        assert!(matches!(error, ConnectError::Unreachable { .. }));
    }
}
