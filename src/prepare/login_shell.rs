//! Reads the variables of `shell_env` from the user's login shell: people keep keys in `.zshrc`, which an agent's shell does not
//! read.
//!
//! Runs the shell only if one of the variables is not set. Takes the named variables from its environment and nothing else. Neither
//! the shell's output nor a value is ever shown. Kills what the shell's files left in its process group.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::env_output::NamePattern;
use crate::context::Context;
use crate::os::cmd::Cmd;
use crate::text::hex;

/// How long the shell may take. Version managers in its files make it slow.
const LIMIT: Duration = Duration::from_secs(10);
/// The variable that devrun sets for the shell: a devrun that the shell's files start must not start the shell again.
const INSIDE: &str = "DEVRUN_READS_SHELL";

/// Returns those variables that `wanted` names and `ctx` does not have.
pub(super) async fn read(ctx: &Context, wanted: &[NamePattern]) -> BTreeMap<OsString, OsString> {
    let missing: Vec<&NamePattern> = wanted.iter().filter(|pattern| !is_set(ctx, pattern)).collect();
    if missing.is_empty() || ctx.env.contains_key(OsStr::new(INSIDE)) {
        return BTreeMap::new();
    }
    let shell = shell(ctx);
    let found = match environment(ctx, shell.as_os_str()).await {
        Ok(all) => all,
        Err(why) => {
            let names = missing.iter().map(|pattern| pattern.text()).collect::<Vec<_>>().join(", ");
            ctx.events.warn(format!("shell_env: {names} not read from {}: {why}", shell.display()));
            return BTreeMap::new();
        }
    };
    let is_wanted = |name: &OsStr| {
        let is_new = !ctx.env.contains_key(name);
        is_new && name.to_str().is_some_and(|name| missing.iter().any(|pattern| pattern.matches(name)))
    };
    found.into_iter().filter(|(name, _)| is_wanted(name)).collect()
}

/// Returns true if the environment has a variable that matches.
fn is_set(ctx: &Context, pattern: &NamePattern) -> bool {
    ctx.env.keys().filter_map(|name| name.to_str()).any(|name| pattern.matches(name))
}

/// Returns the user's login shell.
fn shell(ctx: &Context) -> PathBuf {
    let named = ctx.env.get(OsStr::new("SHELL")).filter(|shell| !shell.is_empty()).map(PathBuf::from);
    let of_user =
        || nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.shell);
    named.or_else(of_user).unwrap_or_else(|| "/bin/sh".into())
}

/// Runs the shell and returns its environment. Errors with a reason that holds no output of the shell.
async fn environment(ctx: &Context, shell: &OsStr) -> Result<BTreeMap<OsString, OsString>, String> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    // Files of the shell may print greetings, so the environment is printed between two markers. They differ, because dash exports the last
    // argument of a command as `_`.
    let (begin, end) = (format!("devrun-begin-{}", hex(random)), format!("devrun-end-{}", hex(random)));
    let line = format!("printf %s {begin}; /usr/bin/env -0; printf %s {end}");
    let home = ctx.env.get(OsStr::new("HOME")).map(PathBuf::from).filter(|home| home.is_dir());
    let home = home.unwrap_or_else(|| ctx.cwd.clone());
    let output = Cmd::new(shell)
        .args(["-l", "-i", "-c", &line])
        .only_env(ctx.passed_on())
        .env("TERM", "dumb")
        .env(INSIDE, "1")
        // Version managers and direnv act on files of the current folder.
        .directory(home)
        .limit(LIMIT)
        .leaving_nothing()
        .output()
        .await
        .map_err(|error| match error {
            crate::os::cmd::CmdError::TimedOut { .. } => {
                format!("it did not end within {} s", LIMIT.as_secs())
            }
            other => other.to_string(),
        })?;
    between(&output.stdout, begin.as_bytes(), end.as_bytes())
        .ok_or_else(|| "it did not print its environment".into())
}

/// Returns the variables between the two markers.
fn between(output: &[u8], begin: &[u8], end: &[u8]) -> Option<BTreeMap<OsString, OsString>> {
    let start = output.windows(begin.len()).position(|window| window == begin)? + begin.len();
    let length = output[start..].windows(end.len()).position(|window| window == end)?;
    let lines = output[start..start + length].split(|byte| *byte == 0);
    let pair = |line: &[u8]| {
        let equals = line.iter().position(|byte| *byte == b'=')?;
        Some((OsStr::from_bytes(&line[..equals]).into(), OsStr::from_bytes(&line[equals + 1..]).into()))
    };
    Some(lines.filter_map(pair).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn greetings_around_the_environment_do_not_count() {
        let found = between(b"Hello A=no\nm1A=1\nx\0_=m1\0B=2=3\0m2bye B=no\0", b"m1", b"m2").unwrap();
        let wanted =
            [("A", "1\nx"), ("_", "m1"), ("B", "2=3")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(found, wanted.into());
        assert_eq!(between(b"m1A=1\0", b"m1", b"m2"), None);
    }
}
