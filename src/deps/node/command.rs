//! Builds the command lines of package managers and interprets their output. Starts nothing.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::deps::ToolEnv;
use crate::deps::node::manager::{Manager, ManagerChoice};
use crate::os::cmd::{CmdError, Output};

/// Files beside a manifest that change the result of an install.
pub(super) const SETTINGS_FILES: [&str; 7] = [
    "package.json",
    ".npmrc",
    "pnpm-workspace.yaml",
    ".pnpmfile.cjs",
    ".yarnrc.yml",
    ".nvmrc",
    ".node-version",
];

/// Returns the names of the lock files that `manager` reads.
pub(super) fn lockfiles(manager: Manager) -> impl Iterator<Item = &'static str> {
    let names: &[&str] = match manager {
        Manager::Pnpm => &["pnpm-lock.yaml"],
        Manager::Npm => &["package-lock.json", "npm-shrinkwrap.json"],
        Manager::Yarn | Manager::YarnClassic => &["yarn.lock"],
        Manager::Bun => &["bun.lock", "bun.lockb"],
    };
    names.iter().copied()
}

/// Returns the arguments of the install. The first one is the subcommand.
pub(super) fn arguments(choice: &ManagerChoice) -> Vec<String> {
    let frozen = choice.lockfile.is_some();
    let mut arguments: Vec<&str> = match choice.manager {
        Manager::Pnpm => vec![
            "install",
            if frozen { "--frozen-lockfile" } else { "--no-frozen-lockfile" },
            "--prefer-offline",
            "--reporter=append-only",
            "--config.enable-global-virtual-store=false",
            // devrun has chosen the version already. Without these settings pnpm may download another one, and pnpm 12
            // refuses a lock file that does not record the pinned version.
            "--config.pm-on-fail=ignore",
            "--config.manage-package-manager-versions=false",
            // pnpm 12 exits with 1 if build scripts wait for approval, even if the install is complete.
            "--config.strict-dep-builds=false",
        ],
        Manager::Npm if frozen => vec!["ci", "--no-audit", "--no-fund", "--no-update-notifier"],
        Manager::Npm => vec!["install", "--no-audit", "--no-fund", "--no-update-notifier"],
        Manager::YarnClassic if frozen => vec!["install", "--frozen-lockfile", "--non-interactive"],
        Manager::YarnClassic => vec!["install", "--non-interactive"],
        Manager::Yarn if frozen => vec!["install", "--immutable"],
        // Berry makes installs immutable by default if it detects CI.
        Manager::Yarn => vec!["install", "--no-immutable"],
        Manager::Bun if frozen => vec!["install", "--frozen-lockfile"],
        Manager::Bun => vec!["install"],
    };
    if choice.manager == Manager::Pnpm && !choice.root.join("pnpm-workspace.yaml").is_file() {
        // Otherwise pnpm would treat a worktree inside another checkout as part of that checkout's workspace.
        arguments.push("--ignore-workspace");
    }
    arguments.into_iter().map(Into::into).collect()
}

/// Settings of npm, pnpm and yarn that would leave out packages, install elsewhere, install nothing or change how the
/// lock file is used.
const BENT: [&str; 17] = [
    "omit",
    "only",
    "production",
    "dev",
    "optional",
    "dry_run",
    "global",
    "location",
    "package_lock",
    "package_lock_only",
    "lockfile",
    "lockfile_only",
    "frozen_lockfile",
    "workspace",
    "workspaces",
    "include_workspace_root",
    "dir",
];

/// Variables that npm sets for the scripts it runs. devrun may be started by such a script.
const OF_NPM_RUN: [&str; 12] = [
    "user_agent",
    "local_prefix",
    "global_prefix",
    "init_module",
    "globalconfig",
    "userconfig",
    "node_gyp",
    "npm_version",
    "noproxy",
    "prefix",
    "cache",
    "verify_deps_before_run",
];

/// Returns the setting that a variable sets: `npm_config_omit` sets `omit`.
fn setting(variable: &OsStr) -> Option<String> {
    let name = variable.to_str()?.to_ascii_lowercase().replace('-', "_");
    let prefixes = ["npm_config_", "pnpm_config_", "yarn_", "bun_config_"];
    prefixes.iter().find_map(|prefix| name.strip_prefix(prefix)).map(Into::into)
}

/// Returns the variables of `env` that may change the installed packages, as `NAME=value`.
pub(super) fn settings(env: &ToolEnv) -> Vec<String> {
    let counts = |name: &OsStr| setting(name).is_some_and(|name| !OF_NPM_RUN.contains(&&*name));
    let shown = |(name, value): (&OsString, &OsString)| format!("{}={}", name.display(), value.display());
    env.iter().filter(|(name, _)| counts(name)).map(shown).collect()
}

/// Returns the environment of an install: with development packages, without colours and questions.
pub(super) fn environment(env: &ToolEnv) -> ToolEnv {
    let mut env = env.clone();
    env.retain(|name, _| setting(name).is_none_or(|name| !BENT.contains(&&*name)));
    for name in ["NODE_ENV", "FORCE_COLOR", "CLICOLOR_FORCE"] {
        env.remove(OsStr::new(name));
    }
    for (name, value) in [("NO_COLOR", "1"), ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0")] {
        env.insert(name.into(), value.into());
    }
    env
}

/// Appends `folder`, if there is one, to PATH.
pub(super) fn append_path(env: &mut ToolEnv, folder: Option<&Path>) {
    let name = OsString::from("PATH");
    let old = env.get(&name).cloned().unwrap_or_default();
    let all = std::env::split_paths(&old).chain(folder.map(Into::into));
    if let Ok(joined) = std::env::join_paths(all) {
        env.insert(name, joined);
    }
}

/// Returns true if the manager failed because the lock file does not match the manifest.
pub(super) fn is_stale(error: &CmdError) -> bool {
    const SIGNS: [&str; 9] = [
        "ERR_PNPM_OUTDATED_LOCKFILE",
        "ERR_PNPM_PACKAGE_MANAGER_NO_IMPORTER",
        "ERR_PNPM_LOCKFILE_CONFIG_MISMATCH",
        "ERR_PNPM_FROZEN_LOCKFILE_WITH_OUTDATED_LOCKFILE",
        // npm
        "can only install packages when your package.json and package-lock.json",
        "can only install packages when your package.json and npm-shrinkwrap.json",
        // yarn 1, yarn 2 and later, bun
        "Your lockfile needs to be updated",
        "YN0028",
        "lockfile had changes, but lockfile is frozen",
    ];
    let CmdError::Failed { output, .. } = error else { return false };
    let text = [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned());
    SIGNS.iter().any(|sign| text.iter().any(|stream| stream.contains(sign)))
}

/// The most lines about differences that are shown.
const DIFFERENCES: usize = 8;

/// Returns the lines of npm about the differences between its lock file and the manifest. npm prints its usage after them.
pub(super) fn differences(error: &CmdError) -> Option<String> {
    let CmdError::Failed { output, .. } = error else { return None };
    let text = String::from_utf8_lossy(&output.stderr);
    let said = text.lines().map(|line| {
        let line = line.trim();
        line.strip_prefix("npm error").or_else(|| line.strip_prefix("npm ERR!")).unwrap_or(line).trim()
    });
    let is_difference = |line: &&str| {
        (line.starts_with("Missing: ") && line.ends_with(" from lock file"))
            || line.starts_with("Invalid: lock file")
    };
    let all: Vec<&str> = said.filter(is_difference).collect();
    let mut shown: Vec<String> = all.iter().take(DIFFERENCES).map(ToString::to_string).collect();
    if let Some(more @ 1..) = all.len().checked_sub(DIFFERENCES) {
        shown.push(format!("and {more} more"));
    }
    (!shown.is_empty()).then(|| shown.join("\n"))
}

/// Returns the packages whose build scripts pnpm skipped.
pub(super) fn ignored_builds(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rest = text.lines().find_map(|line| line.split_once("Ignored build scripts:"))?.1;
    Some(rest.trim().trim_end_matches('.').into()).filter(|names: &String| !names.is_empty())
}

/// The facts that the output contains for the summary.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InstallOutput {
    /// The manager's version, if the output contains it.
    pub version: Option<String>,
    packages: Option<u32>,
}

impl InstallOutput {
    /// Reads one line of the output.
    pub(super) fn hear(&mut self, line: &str) {
        let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some((_, version)) = line.split_once(" using pnpm v") {
            self.version = version.split_whitespace().next().map(Into::into);
        }
        // pnpm, then npm.
        let count = ["Packages: +", "added "].into_iter().find_map(|sign| number(line.strip_prefix(sign)?));
        self.packages = count.or(self.packages);
    }

    /// Returns `pnpm 12.21.0, 34 packages`, or less if facts are unknown.
    pub(super) fn outcome(&self, program: &str, version: Option<&str>) -> String {
        let version = version.map(|version| format!(" {version}")).unwrap_or_default();
        let packages = match self.packages {
            Some(1) => ", 1 package".into(),
            Some(count) => format!(", {count} packages"),
            None => String::new(),
        };
        format!("{program}{version}{packages}")
    }
}
