//! Words the next step of a user whose local server lacks an extension: another server on this machine that has it, or the
//! package to install.

use std::path::{Path, PathBuf};

use super::choose_programs;
use super::packages::{OLDEST, PREFERRED};
use crate::database::extensions;
use crate::error::RERUN;
use crate::text::quoted;

/// A server that is installed on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InstalledServer {
    pub(super) major: u32,
    pub(super) bin: PathBuf,
    /// The folders that may hold the control files of its extensions.
    pub(super) controls: Vec<PathBuf>,
}

impl InstalledServer {
    fn has(&self, name: &str) -> bool {
        self.controls.iter().any(|folder| folder.join(format!("{name}.control")).is_file())
    }
}

/// Returns the servers in the usual folders, newest first.
pub(super) fn installed() -> Vec<InstalledServer> {
    let majors = (OLDEST..=choose_programs::NEWEST).rev();
    let places = majors.flat_map(|major| choose_programs::usual_folders(major).map(|bin| (major, bin)));
    places
        .filter(|(_, bin)| bin.join("postgres").is_file() && bin.join("initdb").is_file())
        .map(|(major, bin)| {
            let base = bin.parent().map(Path::to_path_buf).unwrap_or_default();
            let controls = [
                PathBuf::from(format!("/usr/share/postgresql/{major}/extension")),
                base.join("share/extension"),
                base.join("share/postgresql/extension"),
                base.join(format!("share/postgresql@{major}/extension")),
            ];
            InstalledServer { major, bin, controls: controls.into() }
        })
        .collect()
}

/// Returns the next step. `cluster` is the major version of the repository's databases, and their folder.
pub(super) fn of(name: &str, cluster: Option<&(u32, PathBuf)>, servers: &[InstalledServer]) -> String {
    let is_same = |server: &InstalledServer| cluster.is_none_or(|(major, _)| *major == server.major);
    let with_it: Vec<&InstalledServer> = servers.iter().filter(|server| server.has(name)).collect();
    let chosen = with_it.iter().find(|server| is_same(server)).or(with_it.first());
    if let Some(server) = chosen {
        let setting = format!("set `database.local.bin` to {}, which has `{name}`", quoted(&server.bin));
        return format!("{setting}{}, then {RERUN}", giving_up(cluster, server.major));
    }
    let major = match (cluster, servers.first()) {
        (Some((major, _)), servers_first) => {
            let same = servers.iter().find(|server| is_same(server));
            same.or(servers_first).map_or(*major, |server| server.major)
        }
        (None, first) => first.map_or(PREFERRED, |server| server.major),
    };
    let package = match extensions::debian_package(name, major) {
        Some(package) => format!(" (Debian: {package})"),
        None => String::new(),
    };
    format!(
        "install `{name}` for a Postgres {major} of this system{package} and set `database.local.bin` to the folder \
         of its programs (Debian: /usr/lib/postgresql/{major}/bin){}; or use another `database.provider`; then {RERUN}",
        giving_up(cluster, major)
    )
}

/// Returns the words for databases that another major version made, which a server of `major` opens only after an upgrade, or
/// not at all.
fn giving_up(cluster: Option<&(u32, PathBuf)>, major: u32) -> String {
    match cluster {
        Some((made_by, _)) if *made_by < major => {
            format!(", run `devrun db upgrade`, which moves the databases from Postgres {made_by} to {major}")
        }
        Some((made_by, folder)) if *made_by != major => format!(
            "; Postgres {major} cannot open this repository's databases, which Postgres {made_by} made: to give them up, \
             remove {}",
            quoted(folder)
        ),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(major: u32, folder: &Path, extensions: &[&str]) -> InstalledServer {
        let controls = folder.join(major.to_string());
        for name in extensions {
            let file = controls.join(format!("{name}.control"));
            crate::os::fs::replace(&file, b"", 0o600).unwrap();
        }
        InstalledServer { major, bin: format!("/pg/{major}").into(), controls: vec![controls] }
    }

    #[test]
    fn a_server_that_has_the_extension_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let servers = [server(17, folder.path(), &["vector"]), server(16, folder.path(), &["vector"])];
        let cluster = |major| Some((major, PathBuf::from("/c/1")));
        let same = of("vector", cluster(16).as_ref(), &servers);
        assert_eq!(same, "set `database.local.bin` to /pg/16, which has `vector`, then run `devrun up -d`");
        let other = of("vector", cluster(18).as_ref(), &servers);
        assert!(other.contains("/pg/17, which has") && other.contains("remove /c/1"), "{other}");
        assert!(of("vector", None, &servers).contains("/pg/17, which has"));
        let newer = of("vector", cluster(15).as_ref(), &servers[..1]);
        assert!(newer.contains("run `devrun db upgrade`") && !newer.contains("remove"), "{newer}");
    }

    #[test]
    fn without_such_a_server_the_package_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let none = of("vector", Some(&(15, "/c/1".into())), &[server(15, folder.path(), &["citext"])]);
        assert!(none.contains("(Debian: postgresql-15-pgvector)") && !none.contains("remove"), "{none}");
        let unknown = of("mine", Some(&(18, "/c/1".into())), &[]);
        assert!(unknown.contains("for a Postgres 18 of this system and set"), "{unknown}");
    }
}
