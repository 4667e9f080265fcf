//! The Postgres server behind the double of Neon and behind `support::server`. It is deleted when it stops. All logins use SCRAM.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use devrun::testing::database::connect::connect;
use devrun::testing::os::cmd::Cmd;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use tokio::sync::oneshot;
use tokio_postgres::Client;

/// The password in every URL. devrun must never print it.
pub(crate) const PASSWORD: &str = "Xsecret5";
/// The superuser, with the name of the role that Neon creates.
pub(crate) const ROLE: &str = "neondb_owner";

pub(crate) struct Postgres {
    pub(crate) port: u16,
    /// The certificate of a server with TLS.
    pub(crate) proof: Option<Proof>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
}

/// A certificate for this machine, its key, and the certificate of the authority, as PEM.
#[derive(Clone, Debug)]
pub(crate) struct Proof {
    pub(super) authority: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Postgres {
    /// Starts Postgres as a child of the current thread: it ends with this thread at the latest.
    pub(crate) async fn start(binaries: PathBuf, encrypted: bool) -> Postgres {
        let (stop, stopped) = oneshot::channel();
        let (told, port) = oneshot::channel();
        let ended = tokio::task::spawn_local(async move {
            serve(&binaries, encrypted, told, stopped).await;
        });
        let (port, proof) = port.await.unwrap();
        Postgres { port, proof, stop, ended }
    }

    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.ended.await.unwrap();
    }

    pub(crate) async fn admin(&self) -> Client {
        connect(&url("127.0.0.1", self.port, "postgres"), Duration::from_secs(30)).await.unwrap()
    }
}

pub(super) fn url(host: &str, port: u16, database: &str) -> String {
    format!("postgresql://{ROLE}:{PASSWORD}@{host}:{port}/{database}?sslmode=disable")
}

/// Returns the folder with the programs of a Postgres server, if one is installed.
pub(crate) fn binaries() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = glob::glob("/usr/lib/postgresql/*/bin").unwrap().flatten().collect();
    found.extend(which::which("postgres").ok().and_then(|path| Some(path.parent()?.to_path_buf())));
    found.into_iter().find(|dir| dir.join("initdb").is_file() && dir.join("postgres").is_file())
}

/// Runs SQL and returns the first column of its rows.
pub(crate) fn query(url: String, statement: &str) -> Vec<String> {
    let statement = statement.to_string();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = connect(&url, Duration::from_secs(20)).await.unwrap();
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

async fn serve(
    binaries: &Path,
    encrypted: bool,
    told: oneshot::Sender<(u16, Option<Proof>)>,
    stopped: oneshot::Receiver<()>,
) {
    let dir = tempfile::Builder::new()
        .prefix("devrun-neon-pg-")
        .permissions(std::fs::Permissions::from_mode(0o755))
        .tempdir()
        .unwrap();
    let data = dir.path().join("data");
    let password = dir.path().join("password");
    std::fs::create_dir(&data).unwrap();
    devrun::testing::os::fs::replace(&password, PASSWORD.as_bytes(), 0o644).unwrap();
    // Postgres refuses to run as root.
    let nobody = geteuid().is_root().then(|| User::from_name("nobody").unwrap().unwrap());
    if let Some(user) = &nobody {
        std::os::unix::fs::chown(&data, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let tool = |name: &str| {
        let command = Cmd::new(binaries.join(name)).arg("-D").arg(&data).directory(&data);
        match &nobody {
            Some(user) => command.user(user.uid.as_raw(), user.gid.as_raw()),
            None => command,
        }
    };
    let initdb = ["-A", "scram-sha-256", "-U", ROLE, "-E", "UTF8", "--locale=C", "--no-sync", "--pwfile"];
    tool("initdb").args(initdb).arg(&password).ok().await.unwrap();
    let proof = if encrypted { Some(certify(&data, nobody.as_ref()).await) } else { None };
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let settings =
        ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "max_connections=100"];
    let postgres = tool("postgres")
        .args(["-p", &port.to_string()])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .args(["-c", if encrypted { "ssl=on" } else { "ssl=off" }])
        .limit(Duration::from_hours(1));
    let mut running = Box::pin(postgres.output());
    told.send((port, proof)).map_err(drop).unwrap();
    tokio::select! {
        ended = &mut running => panic!("Postgres ended: {}", ended.unwrap().tail(5)),
        _ = stopped => {}
    }
    let pid = std::fs::read_to_string(data.join("postmaster.pid")).ok();
    match pid.and_then(|text| text.lines().next()?.parse().ok()) {
        Some(pid) => {
            kill(Pid::from_raw(pid), Signal::SIGQUIT).unwrap();
            running.await.unwrap();
        }
        None => drop(running),
    }
}

/// Creates an authority, and a certificate from it for `localhost` and 127.0.0.1.
async fn certify(data: &Path, owner: Option<&User>) -> Proof {
    let names = "subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n";
    devrun::testing::os::fs::replace(&data.join("names"), names.as_bytes(), 0o600).unwrap();
    for line in [
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-authority \
         -keyout ca.key -out ca.crt",
        "req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -sha384 -extfile names \
         -out server.crt",
    ] {
        Cmd::new("openssl").args(line.split_whitespace()).directory(data).ok().await.unwrap();
    }
    let key = data.join("server.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
    if let Some(user) = owner {
        std::os::unix::fs::chown(&key, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    }
    let read = |name: &str| std::fs::read_to_string(data.join(name)).unwrap();
    Proof { authority: read("ca.crt"), certificate: read("server.crt"), key: read("server.key") }
}
