//! devrun's own way into a running server: a unix socket in its data folder, which only the server's user can enter.
//!
//! The socket is reached through a handle on the folder whose owner and mode were checked, so no path is too long for it and
//! no link leads elsewhere; the kernel names the process that listens on it. TCP serves only where there is no such socket,
//! and only while the server's own pid file says that it is ready on that port.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, NoTls};

use super::error::words;
use super::server::{Postmaster, running};
use crate::database::scram::{Proof, ScramOnly};

/// The server's setting: its working folder, which is its data folder.
pub(super) const SOCKET_FOLDER: &str = ".";
/// How long one attempt may take.
const LIMIT: Duration = Duration::from_secs(3);

/// The way into the server of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Door {
    data: PathBuf,
    /// Whom the server runs as.
    user: u32,
}

/// Why a connection was not made.
#[derive(Debug)]
pub enum Refusal {
    /// The server does not take the password, or its proof is wrong: another server, or ours after its state was lost.
    Password(String),
    /// No server runs, or not yet.
    NotNow(String),
    /// The database does not exist, or the server refuses it for another reason that does not pass.
    Final(String),
}

impl Door {
    /// For the server whose data are in `data` and which runs as `user`.
    pub(super) fn new(data: PathBuf, user: u32) -> Door {
        Door { data, user }
    }

    /// Connects to the database that `config` names; ignores its host and port. The connection ends with the client.
    pub async fn open(&self, config: &Config) -> Result<Client, Refusal> {
        let server = running(&self.data).ok_or_else(|| Refusal::NotNow("no server runs".into()))?;
        let port = server
            .port
            .filter(|_| server.ready)
            .ok_or_else(|| Refusal::NotNow("the server is starting".into()))?;
        let mut config = config.clone();
        config.ssl_mode(SslMode::Disable);
        let attempt = async {
            match self.socket(&server, port).await {
                Ok(stream) => shake_hands(&config, stream).await,
                // A server that an older devrun started has none.
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
            .unwrap_or_else(|_| Err(Refusal::NotNow("no answer".into())))
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

    /// A handle on the data folder, which must belong to the server's user and be closed to every other user.
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

fn denied(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

/// A path of the socket that fits into the 107 bytes that unix(7) allows.
fn socket_path(folder: &File, data: &Path, port: u16) -> PathBuf {
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()));
    let base = if short.exists() { short } else { data.to_path_buf() };
    base.join(format!(".s.PGSQL.{port}"))
}

fn passing(error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::PermissionDenied {
        Refusal::Password(error.to_string())
    } else {
        Refusal::NotNow(error.to_string())
    }
}

async fn shake_hands<S>(config: &Config, stream: S) -> Result<Client, Refusal>
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

fn refusal(error: &tokio_postgres::Error) -> Refusal {
    let said = words(error);
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let unproven = cause.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied);
    match error.code().map(|code| &code.code()[..2]) {
        Some("28") => Refusal::Password(said),
        // "invalid catalogue name": there is no such database.
        Some("3D") => Refusal::Final(said),
        None if unproven => Refusal::Password(said),
        _ => Refusal::NotNow(said),
    }
}
