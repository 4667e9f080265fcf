//! Manages one cluster's folder: its layout, its creation and its configuration. Does not start a server permanently.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Client;

use super::account::{Account, set_mode};
use super::admin_socket::{AdminSocket, SOCKET_FOLDER};
use super::binaries::{Binaries, server_env};
use super::error::LocalError;
use super::state::{APP, ClusterState};
use crate::os::cmd::Cmd;
use crate::os::fs;

/// The superuser role, used by devrun only.
pub(super) const ADMIN: &str = "devrun";

/// The location of a cluster and the account that owns it.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    pub(super) id: String,
    pub(super) folder: PathBuf,
    pub(super) account: Account,
}

impl Cluster {
    /// Returns the cluster `id` below `clusters` and creates its folder.
    pub(super) fn at(clusters: &Path, id: &str, account: Account) -> Result<Cluster, LocalError> {
        let cluster = Cluster::known(clusters, id, account);
        account.make_dir(&cluster.folder)?;
        Ok(cluster)
    }

    /// Returns the cluster `id` below `clusters` without creating anything.
    pub(super) fn known(clusters: &Path, id: &str, account: Account) -> Cluster {
        Cluster { id: id.into(), folder: clusters.join(id), account }
    }

    pub(super) fn data(&self) -> PathBuf {
        data(&self.folder)
    }

    /// Returns the access for devrun's own connections.
    pub(super) fn admin_socket(&self) -> AdminSocket {
        AdminSocket::new(self.data(), self.account.uid())
    }

    /// Returns the folder of the server's data until `init` has finished.
    pub(super) fn half_made(&self) -> PathBuf {
        self.folder.join("data.tmp")
    }

    /// Returns the file of devrun's [`ClusterState`].
    pub(super) fn state(&self) -> PathBuf {
        self.folder.join("state.json")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Returns the lock that is held while programs are found, the cluster is created and the server is started.
    pub(super) fn start_lock(&self) -> PathBuf {
        self.folder.join("lock")
    }

    /// Returns the lock that every user of the server holds in shared mode.
    pub(super) fn users_lock(&self) -> PathBuf {
        self.folder.join("users.lock")
    }

    /// Returns the major version that created the data, or `None` if there are no data yet.
    pub(super) fn made_by(&self) -> Result<Option<u32>, LocalError> {
        let path = self.data().join("PG_VERSION");
        let Some(bytes) = fs::read(&path)? else { return Ok(None) };
        let major = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        major
            .map(Some)
            .ok_or_else(|| LocalError::io("understand", &path)(std::io::ErrorKind::InvalidData.into()))
    }

    /// Creates the data folder. If a call is killed half-way, the next call starts from the beginning.
    pub(super) async fn init(&self, binaries: &Binaries, state: &ClusterState) -> Result<(), LocalError> {
        let half = self.half_made();
        let mut made = Err(LocalError::Init { what: "no locale is suitable".into(), tail: None });
        for locale in locales(binaries.major) {
            made = self.initdb(binaries, &half, locale).await;
            // Not every system has C.UTF-8.
            if !matches!(&made, Err(LocalError::Init { tail: Some(tail), .. }) if tail.contains("locale")) {
                break;
            }
        }
        made?;
        // initdb's rules let every local user in, but no server listens before they are replaced.
        write_rules(&half)?;
        self.set_passwords(binaries, &half, state).await?;
        std::fs::rename(&half, self.data()).map_err(LocalError::io("rename", &half))
    }

    async fn initdb(&self, binaries: &Binaries, half: &Path, locale: &[&str]) -> Result<(), LocalError> {
        if half.exists() {
            std::fs::remove_dir_all(half).map_err(LocalError::io("remove", half))?;
        }
        self.account.make_dir(half)?;
        set_mode(half, 0o700)?;
        self.account.own(half)?;
        let cmd = Cmd::new(binaries.bin.join("initdb"))
            .args(["--no-sync", "--no-instructions", "--encoding=UTF8", "--auth=trust"])
            .args(["--username", ADMIN])
            .args(locale)
            .arg("--pgdata")
            .arg(half);
        self.tool(cmd).ok().await.map_err(LocalError::init("initdb failed"))?;
        Ok(())
    }

    /// Writes the files that initdb left in memory to the disk, in the background.
    pub(super) fn sync_in_background(&self) {
        #[cfg(target_os = "linux")]
        {
            let folder = self.folder.clone();
            drop(tokio::task::spawn_blocking(move || fs::sync_around(&folder)));
        }
    }

    /// Sets the roles' passwords to those of `state`, and creates the applications' role if it is missing, in single-user mode without a
    /// running server.
    pub(super) async fn set_passwords(
        &self,
        binaries: &Binaries,
        data: &Path,
        state: &ClusterState,
    ) -> Result<(), LocalError> {
        let cmd = Cmd::new(binaries.bin.join("postgres"))
            .args(["--single", "-c", "exit_on_error=on", "-c", "log_min_error_statement=panic", "-D"])
            .arg(data)
            .arg("postgres")
            .stdin(role_statements(state, binaries.major));
        self.tool(cmd).ok().await.map_err(LocalError::init("the roles could not be made"))?;
        Ok(())
    }

    /// Writes the configuration files for the next start.
    pub(super) fn configure(&self, settings: ClusterSettings) -> Result<(), LocalError> {
        fs::replace(&self.data().join("postgresql.conf"), settings.render().as_bytes(), 0o644)?;
        write_rules(&self.data())
    }

    /// Prepares a program of the server that runs to its end.
    fn tool(&self, cmd: Cmd) -> Cmd {
        let cmd = cmd.directory(&self.folder).only_env(server_env()).limit(Duration::from_mins(2));
        self.account.run(cmd)
    }
}

/// Returns the folder of the server's data in the cluster `folder`.
pub(super) fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

/// Returns `initdb` options for the locale, the preferred first. Indexes must not depend on the version of a system
/// library, so the server's own rules are used where it has them.
fn locales(major: u32) -> &'static [&'static [&'static str]] {
    if major >= 17 {
        &[
            &["--locale-provider=builtin", "--locale=C.UTF-8"],
            &["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"],
        ]
    } else {
        &[&["--locale=C.UTF-8"], &["--locale=C"]]
    }
}

/// Returns one statement a line, as single-user mode requires. Passwords are hex and need no quoting.
fn role_statements(state: &ClusterState, major: u32) -> String {
    let (admin, app) = (&state.admin_password, &state.app_password);
    // Iterations protect passwords that can be guessed. The superuser's password is random and used at every start, so
    // one iteration is enough. The application's password has the usual number, because some clients insist on it.
    let quick = if major >= 16 { "SET scram_iterations = 1;\n" } else { "" };
    format!(
        "DO $$BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APP}') THEN CREATE ROLE {APP}; END IF; END$$;\n\
         ALTER ROLE {APP} LOGIN PASSWORD '{app}';\n\
         {quick}ALTER ROLE {ADMIN} LOGIN PASSWORD '{admin}';\n"
    )
}

/// Lets applications create databases, as tools for tests and migrations do. The server logs it, because the log is the only
/// record of the branch database in whose session that happened.
pub(super) async fn permit_databases(client: &Client) -> Result<(), LocalError> {
    let sql = format!(
        "DO $$BEGIN IF NOT (SELECT rolcreatedb FROM pg_roles WHERE rolname = '{APP}') THEN \
         ALTER ROLE {APP} CREATEDB; ALTER ROLE {APP} SET log_statement = 'ddl'; END IF; END$$"
    );
    client.batch_execute(&sql).await.map_err(LocalError::sql("let applications create databases"))
}

/// Writes `pg_hba.conf`: only connections from this machine with a password. On a shared machine every user can reach
/// the port.
fn write_rules(data: &Path) -> Result<(), LocalError> {
    let rules = "# Written by devrun at every start.\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n";
    Ok(fs::replace(&data.join("pg_hba.conf"), rules.as_bytes(), 0o644)?)
}

/// The values that the server's configuration depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ClusterSettings {
    pub(super) major: u32,
    pub(super) port: u16,
    /// True if shared memory is too small to be used.
    pub(super) no_shared_memory: bool,
    /// True if the data need not survive a power failure.
    pub(super) disposable: bool,
    /// True if only devrun may reach the server, through its socket.
    pub(super) closed: bool,
}

impl ClusterSettings {
    fn render(self) -> String {
        let on = |yes: bool| if yes { "on" } else { "off" };
        let mut lines = vec![
            "# Written by devrun at every start. What ALTER SYSTEM sets is kept.".into(),
            format!("listen_addresses = '{}'", if self.closed { "" } else { "127.0.0.1" }),
            format!("port = {}", self.port),
            format!("unix_socket_directories = '{SOCKET_FOLDER}'"),
            "unix_socket_permissions = 0700".into(),
            "max_connections = 200".into(),
            "shared_buffers = 32MB".into(),
            "autovacuum_max_workers = 1".into(),
            "max_parallel_workers_per_gather = 0".into(),
            "jit = off".into(),
            "ssl = off".into(),
            format!("fsync = {}", on(!self.disposable)),
            format!("full_page_writes = {}", on(!self.disposable)),
            "synchronous_commit = off".into(),
            "wal_level = minimal".into(),
            "max_wal_senders = 0".into(),
            "client_connection_check_interval = 100ms".into(),
            "log_checkpoints = off".into(),
            "log_line_prefix = '%m [%p] %q%a@%d '".into(),
            "timezone = 'UTC'".into(),
            "log_timezone = 'UTC'".into(),
            "datestyle = 'iso, mdy'".into(),
            "lc_messages = 'C'".into(),
            "default_text_search_config = 'pg_catalog.english'".into(),
        ];
        if self.no_shared_memory {
            lines.push("dynamic_shared_memory_type = mmap".into());
        }
        if self.major >= 18 {
            lines.push("io_method = sync".into());
            lines.push("file_copy_method = clone".into());
        }
        lines.join("\n") + "\n"
    }
}

/// Returns true if `/dev/shm` is missing, read-only, or has less than 64 MB (docker's default size) free: the server
/// might not start.
#[cfg(target_os = "linux")]
pub(super) fn lacks_shared_memory() -> bool {
    use nix::sys::statvfs::{FsFlags, statvfs};
    const ENOUGH: u64 = 64 << 20;
    statvfs("/dev/shm").map_or(true, |found| {
        let free = found.blocks_available().saturating_mul(found.fragment_size());
        found.flags().contains(FsFlags::ST_RDONLY) || free < ENOUGH
    })
}

/// Returns false: shared memory has no folder on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn lacks_shared_memory() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: ClusterSettings = ClusterSettings {
        major: 18,
        port: 20_001,
        no_shared_memory: false,
        disposable: false,
        closed: false,
    };

    #[test]
    fn settings_that_a_version_does_not_have_are_left_out() {
        assert!(SETTINGS.render().contains("file_copy_method = clone"));
        let older = ClusterSettings { major: 15, ..SETTINGS }.render();
        assert!(!older.contains("file_copy_method") && !older.contains("io_method"));
    }

    #[test]
    fn only_a_disposable_cluster_gives_up_durability() {
        assert!(SETTINGS.render().contains("fsync = on\n"));
        assert!(ClusterSettings { disposable: true, ..SETTINGS }.render().contains("fsync = off\n"));
    }

    #[test]
    fn a_password_is_required_and_connections_from_outside_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        write_rules(dir.path()).unwrap();
        let rules = std::fs::read_to_string(dir.path().join("pg_hba.conf")).unwrap();
        assert!(!rules.contains("trust"));
        assert!(SETTINGS.render().contains("listen_addresses = '127.0.0.1'\n"));
        let closed = ClusterSettings { closed: true, ..SETTINGS }.render();
        assert!(closed.contains("listen_addresses = ''\n"), "only devrun may use it, through its socket");
    }
}
