//! Opens devrun's own connections to a running server, through a unix socket in its data folder that only the server's
//! account can enter.
//!
//! The socket is reached through a descriptor of the folder, after its owner and mode were checked. So no link leads
//! elsewhere, the kernel names the process that listens, and where `/proc` exists, the path is never too long for a
//! socket. TCP is used only if the server has no such socket, and only while the server's pid file says that it is
//! ready on that port.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};

use super::error::LocalError;
use super::postmaster::{Postmaster, running};
use crate::database::catalogue::words;
use crate::database::scram::{Proof, ScramOnly};

/// The server's setting: its working folder, which is its data folder.
pub(super) const SOCKET_FOLDER: &str = ".";
/// The time limit of one attempt.
const LIMIT: Duration = Duration::from_secs(3);

/// Access to the server of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminSocket {
    data: PathBuf,
    /// The user id of the server.
    user: u32,
}

/// The reason why a connection failed.
#[derive(Debug)]
pub enum ConnectFailure {
    /// The server does not accept the password or cannot prove that it knows it: it is another server, or ours after
    /// our state was lost. Also returned if other users can enter the data folder.
    Password(String),
    /// No server runs, it is not ready yet, or it answered with an error that may pass.
    NotNow(String),
    /// The server answers that it has too many connections.
    Full(String),
    /// A permanent error, such as a database that does not exist.
    Final(String),
}

impl AdminSocket {
    /// Returns the access to the server with the data folder `data` that runs as `user`.
    pub(super) fn new(data: PathBuf, user: u32) -> AdminSocket {
        AdminSocket { data, user }
    }

    /// Connects to the database that `config` names, and ignores its host and port. The connection ends with the
    /// client.
    pub async fn open(&self, config: &Config) -> Result<Client, ConnectFailure> {
        let server = running(&self.data).ok_or_else(|| ConnectFailure::NotNow("no server runs".into()))?;
        let port = server
            .port
            .filter(|_| server.ready)
            .ok_or_else(|| ConnectFailure::NotNow("the server is starting".into()))?;
        let mut config = config.clone();
        config.ssl_mode(SslMode::Disable);
        let attempt = async {
            match self.socket(&server, port).await {
                Ok(stream) => shake_hands(&config, stream).await,
                // A server that an older devrun started has no socket.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let stream =
                        TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| passing(&error))?;
                    shake_hands(&config, stream).await
                }
                Err(error) => Err(passing(&error)),
            }
        };
        tokio::time::timeout(LIMIT, attempt)
            .await
            .unwrap_or_else(|_| Err(ConnectFailure::NotNow("no answer".into())))
    }

    async fn socket(&self, server: &Postmaster, port: u16) -> io::Result<UnixStream> {
        let folder = self.folder()?;
        let stream = UnixStream::connect(socket_path(&folder, &self.data, port)).await?;
        let peer = stream.peer_cred()?;
        let is_server = peer.pid().is_none_or(|pid| pid.cast_unsigned() == server.pid);
        if peer.uid() != self.user || !is_server {
            return Err(denied("another process listens on the server's socket"));
        }
        Ok(stream)
    }

    /// Opens the folder of the socket for other programs. Its path is valid while the returned value lives.
    pub(super) fn open_folder(&self) -> Result<SocketFolder, LocalError> {
        let folder = self.folder().map_err(LocalError::io("open", &self.data))?;
        Ok(SocketFolder { folder, data: self.data.clone() })
    }

    /// Opens the data folder. Errors unless it belongs to the server's account and is closed to all other users.
    fn folder(&self) -> io::Result<File> {
        let flags = nix::libc::O_DIRECTORY | nix::libc::O_NOFOLLOW;
        let folder = OpenOptions::new().read(true).custom_flags(flags).open(&self.data)?;
        let meta = folder.metadata()?;
        if meta.uid() != self.user || meta.mode() & 0o077 != 0 {
            return Err(denied("the data folder is open to other users"));
        }
        Ok(folder)
    }
}

/// The open folder of the server's socket.
pub(super) struct SocketFolder {
    folder: File,
    data: PathBuf,
}

impl SocketFolder {
    /// Returns a short path of the folder, for other processes of the same user.
    pub(super) fn path(&self) -> PathBuf {
        let short = format!("/proc/{}/fd/{}", std::process::id(), self.folder.as_raw_fd());
        let short = PathBuf::from(short);
        if short.exists() { short } else { self.data.clone() }
    }
}

fn denied(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// Returns a path of the socket that is shorter than the 108 bytes that unix(7) allows, where `/proc` exists.
fn socket_path(folder: &File, data: &Path, port: u16) -> PathBuf {
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let base = if short.exists() { short } else { data.to_path_buf() };
    base.join(format!(".s.PGSQL.{port}"))
}

fn passing(error: &io::Error) -> ConnectFailure {
    if error.kind() == io::ErrorKind::PermissionDenied {
        ConnectFailure::Password(error.to_string())
    } else {
        ConnectFailure::NotNow(error.to_string())
    }
}

async fn shake_hands<S>(config: &Config, stream: S) -> Result<Client, ConnectFailure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = ScramOnly::new(stream, Proof::Required);
    let (client, connection) = config.connect_raw(stream, NoTls).await.map_err(|error| refusal(&error))?;
    tokio::spawn(async move {
        // The client's next call reports a broken connection.
        let _ = connection.await;
    });
    Ok(client)
}

fn refusal(error: &tokio_postgres::Error) -> ConnectFailure {
    let said = words(error);
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let unproven = cause.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied);
    match error.code().map(|code| &code.code()[..2]) {
        _ if error.code() == Some(&SqlState::TOO_MANY_CONNECTIONS) => ConnectFailure::Full(said),
        Some("28") => ConnectFailure::Password(said),
        // SQLSTATE class 3D, "invalid catalog name": there is no such database.
        Some("3D") => ConnectFailure::Final(said),
        None if unproven => ConnectFailure::Password(said),
        _ => ConnectFailure::NotNow(said),
    }
}
