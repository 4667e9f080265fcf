//! Writes the modules that Node programs load before their own code (`NODE_OPTIONS=--require`).

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::os::fs;
use crate::os::read::{self, Limit};

/// A module that Node programs load first.
#[derive(Clone, Copy, Debug)]
pub(super) enum PreloadModule {
    /// Gives a server the socket that already listens on its port.
    Handover,
    /// Connects to the port of this worktree where the code has a fixed port.
    Redirect,
}

impl PreloadModule {
    fn text(self) -> &'static str {
        match self {
            PreloadModule::Handover => include_str!("handover.cjs"),
            PreloadModule::Redirect => include_str!("redirect.cjs"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            PreloadModule::Handover => "node",
            PreloadModule::Redirect => "redirect",
        }
    }

    /// Writes the module into `cache` unless it is there, and returns its path. The user may have emptied the cache
    /// since the last start.
    fn write_into(self, cache: &Path) -> io::Result<PathBuf> {
        // The version is part of the name, because another version of devrun may run at the same time.
        let path = cache.join(format!("{}-{}.cjs", self.name(), env!("CARGO_PKG_VERSION")));
        if !read::file(&path, Limit::SMALL).is_ok_and(|text| text == self.text().as_bytes()) {
            fs::replace_for_now(&path, self.text().as_bytes(), 0o600).map_err(io::Error::other)?;
        }
        Ok(path)
    }
}

/// Returns the value of `NODE_OPTIONS` that loads `modules` after `given`, the value that the user has set. Errors if a
/// module cannot be written.
pub(super) fn options(given: OsString, modules: &[PreloadModule], cache: &Path) -> io::Result<OsString> {
    let paths = modules.iter().map(|module| module.write_into(cache)).collect::<io::Result<Vec<_>>>()?;
    Ok(paths.iter().fold(given, |options, path| with_module(options, path)))
}

/// Appends `--require` with `path`. Node splits the variable at spaces, so a path with a space needs quotes.
fn with_module(given: OsString, path: &Path) -> OsString {
    let mut all = given;
    if !all.is_empty() {
        all.push(" ");
    }
    all.push("--require ");
    let path = path.as_os_str();
    if path.as_bytes().iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\\')) {
        let quoted = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
        all.push(format!("\"{quoted}\""));
    } else {
        all.push(path);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_user_stay_before_the_module() {
        let plain = with_module(OsString::new(), Path::new("/c/x.cjs"));
        assert_eq!(plain, "--require /c/x.cjs");
        let more = with_module("--max-old-space-size=99".into(), Path::new("/my c/\"x\".cjs"));
        assert_eq!(more, r#"--max-old-space-size=99 --require "/my c/\"x\".cjs""#);
    }

    #[test]
    fn a_module_is_written_again_after_the_cache_was_emptied() {
        let cache = tempfile::tempdir().unwrap();
        let both = [PreloadModule::Handover, PreloadModule::Redirect];
        for _ in 0..2 {
            options(OsString::new(), &both, cache.path()).unwrap();
            let files: Vec<_> =
                std::fs::read_dir(cache.path()).unwrap().map(|file| file.unwrap().path()).collect();
            assert_eq!(files.len(), 2);
            for file in files {
                std::fs::remove_file(file).unwrap();
            }
        }
    }
}
