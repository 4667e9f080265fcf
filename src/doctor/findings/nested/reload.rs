//! Finds commands that restart a server when files of a nested worktree change.

use std::path::{Path, PathBuf};

use super::container;
use crate::doctor::facts::ConfiguredProcess;
use crate::doctor::finding::{DoctorFinding, FindingId};

/// Returns a finding if the command of `process` watches one of the worktrees `inside`. Paths are relative to `root`.
pub(super) fn finding(process: &ConfiguredProcess, root: &Path, inside: &[PathBuf]) -> Option<DoctorFinding> {
    let directory = plain(&process.directory);
    let words = shlex::split(&process.run)?;
    // The folder that the command runs in is not certain.
    if words.iter().any(|word| word == "cd") {
        return None;
    }
    let start = words.iter().position(|word| {
        Path::new(word).file_name().is_some_and(|name| name == "uvicorn" || name == "fastapi")
    })?;
    let is_end = |word: &String| ["&&", "||", ";", "|", "&"].contains(&word.as_str());
    let command: Vec<&String> = words[start..].iter().take_while(|word| !is_end(word)).collect();
    let is_fastapi = Path::new(command[0]).ends_with("fastapi");
    let has = |option: &str| command.iter().any(|word| *word == option);
    let reloads = if is_fastapi { has("dev") && !has("--no-reload") } else { has("--reload") };
    if !reloads {
        return None;
    }
    let named = values(&command, "--reload-dir");
    let watched: Vec<PathBuf> = match named.as_slice() {
        [] => vec![directory.clone()],
        named => named.iter().map(|folder| plain(&directory.join(folder))).collect(),
    };
    let excluded = values(&command, "--reload-exclude");
    let is_watched = |path: &&PathBuf| {
        watched.iter().any(|folder| path.starts_with(folder))
            && !excluded.iter().any(|pattern| excludes(pattern, root, &directory, path))
    };
    let path = inside.iter().find(is_watched)?;
    let fix = match (&process.package, named.is_empty()) {
        (Some(package), true) if !path.starts_with(directory.join(package)) => {
            format!("add `--reload-dir {}` to the command of {}", package.display(), process.name)
        }
        _ if is_fastapi => {
            format!("name the folders to watch with `--reload-dir` in the command of {}", process.name)
        }
        _ => {
            let folder = container(path).strip_prefix(&directory).unwrap_or(path);
            format!("add `--reload-exclude \"$PWD/{}\"` to the command of {}", folder.display(), process.name)
        }
    };
    let title = format!(
        "{} restarts when files of another worktree change, such as {}",
        process.name,
        path.display()
    );
    let finding = DoctorFinding::new(FindingId::ReloadReachesWorktrees, title, fix);
    Some(match &process.at {
        Some(at) => finding.at(&at.file, Some(at.line)),
        None => finding,
    })
}

/// Returns true if a pattern of uvicorn excludes the folder `path`. uvicorn compares absolute paths, so a relative folder excludes
/// nothing. In doubt, a pattern with `*` that names a folder on the way counts.
fn excludes(pattern: &str, root: &Path, directory: &Path, path: &Path) -> bool {
    if pattern.contains('*') {
        return container(path).iter().any(|name| name.to_str().is_some_and(|name| pattern.contains(name)));
    }
    let inside = ["$PWD/", "${PWD}/"].iter().find_map(|prefix| pattern.strip_prefix(prefix));
    let excluded = inside.map_or_else(|| PathBuf::from(pattern), |inside| root.join(directory).join(inside));
    excluded.is_absolute() && root.join(path).starts_with(excluded)
}

/// Returns the values of an option: `--name value` and `--name=value`. The name may have an `s` at its end.
fn values(command: &[&String], option: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, word) in command.iter().enumerate() {
        let Some(rest) = word.strip_prefix(option) else { continue };
        let rest = rest.strip_prefix('s').unwrap_or(rest);
        match rest.strip_prefix('=') {
            Some(value) => found.push(value.into()),
            None if rest.is_empty() => found.extend(command.get(at + 1).map(ToString::to_string)),
            None => {}
        }
    }
    found
}

/// Returns `path` without `.` components.
fn plain(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != std::path::Component::CurDir).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fix(run: &str, directory: &str, package: Option<&str>, inside: &str) -> Option<String> {
        let process = ConfiguredProcess {
            name: "api".into(),
            run: run.into(),
            directory: directory.into(),
            package: package.map(Into::into),
            at: None,
        };
        finding(&process, Path::new("/w"), &[inside.into()]).map(|finding| finding.fix)
    }

    #[test]
    fn a_server_that_watches_its_whole_folder_reaches_worktrees_in_it() {
        let nested = ".claude/worktrees/a";
        let dir = "add `--reload-dir app` to the command of api";
        let exclude = "add `--reload-exclude \"$PWD/.claude/worktrees\"` to the command of api";
        assert_eq!(fix("uvicorn app.main:app --reload", ".", Some("app"), nested).unwrap(), dir);
        assert_eq!(
            fix("exec .venv/bin/uvicorn main:app --reload --fd $X", ".", None, nested).unwrap(),
            exclude
        );
        assert_eq!(fix("uvicorn main:app --reload", "backend", None, nested), None);
        assert_eq!(fix("uvicorn main:app", ".", None, nested), None);
        assert_eq!(fix("cd backend && uvicorn main:app --reload", ".", None, nested), None);
        assert_eq!(fix("uvicorn main:app --reload-dir src --reload", ".", None, nested), None);
        assert_eq!(fix("uvicorn main:app --reload --reload-dir=.", ".", None, nested).unwrap(), exclude);
        assert!(fix("fastapi dev main.py", ".", None, nested).unwrap().contains("--reload-dir"));
        assert_eq!(fix("fastapi run main.py", ".", None, nested), None);
    }

    #[test]
    fn the_fix_answers_the_finding() {
        for pattern in ["\"$PWD/.claude/worktrees\"", "/w/.claude", "'.claude/worktrees/*'"] {
            let run = format!("uvicorn main:app --reload --reload-exclude {pattern}");
            assert_eq!(fix(&run, ".", None, ".claude/worktrees/a"), None, "{pattern}");
        }
        for pattern in ["'*.txt'", ".claude/worktrees", "/w/other"] {
            let run = format!("uvicorn main:app --reload --reload-exclude {pattern}");
            assert!(fix(&run, ".", None, ".claude/worktrees/a").is_some(), "{pattern}");
        }
        assert!(fix("uvicorn app.main:app --reload --reload-dir app", ".", Some("app"), "trees/a").is_none());
    }
}
