//! The server programs of one folder, and their version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::account::{Account, Home};
use crate::context::Context;
use crate::os::cmd::Cmd;

/// A folder with `postgres` and `initdb` of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) bin: PathBuf,
    /// Major version of the server.
    pub(super) major: u32,
}

/// The parameters of a search for the server's programs.
#[derive(Debug)]
pub(super) struct Search<'a> {
    pub(super) ctx: &'a Context,
    /// The account that must be able to run the programs.
    pub(super) account: Account,
    /// The folder of downloaded binaries.
    pub(super) home: &'a Home,
    /// The folder that the user has configured.
    pub(super) setting: Option<&'a Path>,
}

impl Search<'_> {
    /// Returns the major version of the programs in `bin`. Errors if `initdb` is missing or the account cannot run `postgres`.
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

/// Returns the environment of every server program. Variables of the user cannot change what the server does.
pub(super) fn server_env() -> [(&'static str, &'static str); 3] {
    [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C"), ("TZ", "UTC")]
}

/// Parses `postgres (PostgreSQL) 15.18 (Debian 15.18-1)` or `… 19beta1`.
pub(super) fn parse_major(version: &str) -> Option<u32> {
    let (_, rest) = version.split_once("(PostgreSQL) ")?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_with_and_without_a_packagers_suffix() {
        assert_eq!(parse_major("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"), Some(15));
        assert_eq!(parse_major("postgres (PostgreSQL) 18.4"), Some(18));
        assert_eq!(parse_major("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(parse_major("something else"), None);
    }
}
