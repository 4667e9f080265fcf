//! How package managers are called and what their output means. Pure: values in, values out.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use crate::deps::Env;
use crate::deps::node::manager::{Choice, Manager};
use crate::os::cmd::{CmdError, Output};

/// Files beside a manifest that change what an install does.
pub(super) const SETTINGS_FILES: [&str; 7] = [
    "package.json",
    ".npmrc",
    "pnpm-workspace.yaml",
    ".pnpmfile.cjs",
    ".yarnrc.yml",
    ".nvmrc",
    ".node-version",
];

/// The lock files that `manager` reads.
pub(super) fn lockfiles(manager: Manager) -> impl Iterator<Item = &'static str> {
    let names: &[&str] = match manager {
        Manager::Pnpm => &["pnpm-lock.yaml"],
        Manager::Npm => &["package-lock.json", "npm-shrinkwrap.json"],
        Manager::Yarn | Manager::YarnClassic => &["yarn.lock"],
        Manager::Bun => &["bun.lock", "bun.lockb"],
    };
    names.iter().copied()
}

/// The arguments of the install; the first is its name.
pub(super) fn arguments(choice: &Choice) -> Vec<String> {
    let frozen = choice.lockfile.is_some();
    let mut arguments: Vec<&str> = match choice.manager {
        Manager::Pnpm => vec![
            "install",
            if frozen { "--frozen-lockfile" } else { "--no-frozen-lockfile" },
            "--prefer-offline",
            "--reporter=append-only",
            "--config.enable-global-virtual-store=false",
            // The version was chosen before: left to itself pnpm may fetch another, and pnpm 12 refuses a lock file
            // in which the pinned version is not recorded.
            "--config.pm-on-fail=ignore",
            "--config.manage-package-manager-versions=false",
            // pnpm 12 ends with 1 when build scripts wait for approval although everything is in place.
            "--config.strict-dep-builds=false",
        ],
        Manager::Npm if frozen => vec!["ci", "--no-audit", "--no-fund", "--no-update-notifier"],
        Manager::Npm => vec!["install", "--no-audit", "--no-fund", "--no-update-notifier"],
        Manager::YarnClassic if frozen => vec!["install", "--frozen-lockfile", "--non-interactive"],
        Manager::YarnClassic => vec!["install", "--non-interactive"],
        Manager::Yarn if frozen => vec!["install", "--immutable"],
        // Berry makes installs immutable by itself where it sees CI.
        Manager::Yarn => vec!["install", "--no-immutable"],
        Manager::Bun if frozen => vec!["install", "--frozen-lockfile"],
        Manager::Bun => vec!["install"],
    };
    if choice.manager == Manager::Pnpm && !choice.root.join("pnpm-workspace.yaml").is_file() {
        // A worktree inside another checkout would otherwise be taken for a part of that one's workspace.
        arguments.push("--ignore-workspace");
    }
    arguments.into_iter().map(Into::into).collect()
}

/// The environment of an install: development packages wanted, no colours, no questions.
pub(super) fn environment(env: &Env) -> Env {
    let mut env = env.clone();
    for name in ["NODE_ENV", "FORCE_COLOR", "CLICOLOR_FORCE"] {
        env.remove(OsStr::new(name));
    }
    for (name, value) in [("NO_COLOR", "1"), ("COREPACK_ENABLE_DOWNLOAD_PROMPT", "0")] {
        env.insert(name.into(), value.into());
    }
    env
}

/// Puts `folder`, if there is one, at the end of PATH.
pub(super) fn append_path(env: &mut Env, folder: Option<&Path>) {
    let name = OsString::from("PATH");
    let old = env.get(&name).cloned().unwrap_or_default();
    let all = std::env::split_paths(&old).chain(folder.map(Into::into));
    if let Ok(joined) = std::env::join_paths(all) {
        env.insert(name, joined);
    }
}

/// True when the manager refused because the lock file does not match the manifest.
pub(super) fn is_stale(error: &CmdError) -> bool {
    const SIGNS: [&str; 8] = [
        "ERR_PNPM_OUTDATED_LOCKFILE",
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

/// The packages whose build scripts pnpm skipped.
pub(super) fn ignored_builds(output: &Output) -> Option<String> {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rest = text.lines().find_map(|line| line.split_once("Ignored build scripts:"))?.1;
    Some(rest.trim().trim_end_matches('.').into()).filter(|names: &String| !names.is_empty())
}

/// What the output tells a person afterwards.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Version of the manager, where it says so.
    pub version: Option<String>,
    packages: Option<u32>,
}

impl Told {
    /// Listens to one line.
    pub(super) fn hear(&mut self, line: &str) {
        let number = |text: &str| text.split_whitespace().next().and_then(|word| word.parse().ok());
        if let Some((_, version)) = line.split_once(" using pnpm v") {
            self.version = version.split_whitespace().next().map(Into::into);
        }
        // pnpm, then npm.
        let count = ["Packages: +", "added "].into_iter().find_map(|sign| number(line.strip_prefix(sign)?));
        self.packages = count.or(self.packages);
    }

    /// `pnpm 12.21.0, 34 packages`, with what is known.
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
