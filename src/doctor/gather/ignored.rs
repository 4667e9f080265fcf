//! Asks git which files it ignores: env files, files of `env_out`, and worktrees inside others.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::context::Context;
use crate::doctor::facts::{DoctorFacts, IgnoreFacts};
use crate::worktree::Worktree;
use crate::worktree::git::git;

/// Env files that belong to one machine.
const PRIVATE: [&str; 2] = [".env", ".env.local"];
/// The most outer worktrees that are checked.
const OUTER: usize = 8;

pub(super) async fn gather(
    ctx: &Context,
    own: &Worktree,
    facts: &DoctorFacts,
) -> Result<IgnoreFacts, String> {
    let Some(repository) = &own.git else { return Ok(IgnoreFacts::default()) };
    let configuration = &facts.configuration;
    let mut names: BTreeSet<PathBuf> =
        configuration.env_files.iter().filter(|file| is_private(file)).cloned().collect();
    let folders =
        configuration.processes.iter().map(|process| process.directory.as_path()).chain([Path::new("")]);
    for folder in folders {
        names.extend(PRIVATE.iter().map(|name| plain(&folder.join(name))));
    }
    let outputs: BTreeSet<PathBuf> = configuration.env_out.iter().map(|(path, _)| plain(path)).collect();
    let written: BTreeSet<PathBuf> = names
        .into_iter()
        .filter(|name| {
            !outputs.contains(name) && own.path.join(name).symlink_metadata().is_ok_and(|meta| meta.is_file())
        })
        .collect();
    let asked: BTreeSet<PathBuf> = outputs.iter().chain(&written).cloned().collect();
    let shown = shown(ctx, &own.path, &asked).await?;
    let tracked = if shown.is_empty() { BTreeSet::new() } else { tracked(ctx, &own.path, &shown).await? };
    let env_out = configuration.env_out.iter().filter(|(path, _)| shown.contains(&plain(path)));
    Ok(IgnoreFacts {
        common_dir: Some(repository.common_dir.clone()),
        env_files: written
            .into_iter()
            .filter(|name| shown.contains(name) && !tracked.contains(name))
            .collect(),
        env_out: env_out
            .map(|(path, at)| (path.clone(), at.clone(), tracked.contains(&plain(path))))
            .collect(),
        worktrees: nested(ctx, facts).await?,
    })
}

/// Returns true for a name that is not usually committed.
fn is_private(file: &Path) -> bool {
    let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default();
    PRIVATE.contains(&name) || name.strip_prefix(".env.").is_some_and(|rest| rest.ends_with("local"))
}

fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

/// Returns the worktrees inside others that git does not ignore there, with the outer ones.
async fn nested(ctx: &Context, facts: &DoctorFacts) -> Result<Vec<(PathBuf, PathBuf)>, String> {
    let all: Vec<&PathBuf> = facts
        .worktrees
        .iter()
        .filter(|(one, exists)| *exists && !one.is_bare)
        .map(|(one, _)| &one.path)
        .collect();
    let mut by_outer: BTreeMap<&PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for path in &all {
        let around = all.iter().filter(|other| *other != path && path.starts_with(other));
        let Some(outer) = around.max_by_key(|other| other.components().count()) else { continue };
        let inside = path.strip_prefix(outer).map(Path::to_path_buf).unwrap_or_default();
        by_outer.entry(outer).or_default().insert(inside);
    }
    let mut found = Vec::new();
    for (outer, inside) in by_outer.into_iter().take(OUTER) {
        let shown = shown(ctx, outer, &inside).await?;
        found.extend(shown.into_iter().map(|path| (outer.clone(), path)));
    }
    Ok(found)
}

/// Returns those of `paths` that git does not ignore in the worktree `top`.
async fn shown(ctx: &Context, top: &Path, paths: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, String> {
    if paths.is_empty() {
        return Ok(BTreeSet::new());
    }
    let input: Vec<u8> =
        paths.iter().flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect();
    let asked = git(ctx, top).args(["check-ignore", "--stdin", "-z"]).stdin(input).output().await;
    let output = asked.map_err(|error| error.to_string())?;
    match output.ending.status() {
        0 | 1 => {}
        _ => return Err(output.tail(1)),
    }
    let ignored = listed(&output.stdout);
    Ok(paths.iter().filter(|path| !ignored.contains(*path)).cloned().collect())
}

/// Returns those of `paths` that git tracks.
async fn tracked(ctx: &Context, top: &Path, paths: &BTreeSet<PathBuf>) -> Result<BTreeSet<PathBuf>, String> {
    let asked = git(ctx, top).env("GIT_LITERAL_PATHSPECS", "1").args(["ls-files", "-z", "--"]).args(paths);
    Ok(listed(&asked.ok().await.map_err(|error| error.to_string())?.stdout))
}

fn listed(output: &[u8]) -> BTreeSet<PathBuf> {
    let names = output.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| PathBuf::from(OsStr::from_bytes(name))).collect()
}
