//! Removes variables of the shell and of env files that belong to another worktree.
//!
//! direnv and activated shells leave variables that make programs load code and settings of the worktree that they were
//! set for. Without this step, a devrun started from such a shell would run the wrong code. Does no I/O: the caller
//! resolves paths.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::context::variables::{VARIABLES, WORKTREE};
use crate::plan::ForeignVariable;

/// Variables that decide which code or which settings a program loads.
const LOADERS: [&str; 18] = [
    "ALEMBIC_CONFIG",
    "BUNDLE_GEMFILE",
    "COMPOSE_FILE",
    "CELERY_CONFIG_MODULE",
    "DOTENV_CONFIG_PATH",
    "ENV_FILE",
    "INIT_CWD",
    "MYPYPATH",
    "NODE_PATH",
    "NX_WORKSPACE_ROOT_PATH",
    "PDM_PROJECT",
    "PIPENV_PIPFILE",
    "POETRY_PROJECT",
    "PROJECT_CWD",
    "PYTHONPATH",
    "RUBYLIB",
    "TS_NODE_PROJECT",
    "TSX_TSCONFIG_PATH",
];
/// Prefixes of such variables.
const FAMILIES: [&str; 8] =
    ["DJANGO_", "FLASK_", "GUNICORN_", "PYTHON", "UVICORN_", "UV_", "npm_config_", "npm_package_"];
/// Variables that hold a list of paths, separated by colons.
const LISTS: [&str; 5] = ["COMPOSE_FILE", "MYPYPATH", "NODE_PATH", "PYTHONPATH", "RUBYLIB"];

/// The worktrees of a repository, seen from one of them.
pub struct Worktrees<'a> {
    /// Top level of this worktree.
    pub own: &'a Path,
    /// Top levels of the others, which may lie inside this one or around it.
    pub others: &'a [PathBuf],
    /// Returns a path with symbolic links resolved.
    pub physical: &'a dyn Fn(&Path) -> PathBuf,
}

impl Worktrees<'_> {
    /// Returns the other worktree that contains `path`.
    fn other(&self, path: &Path) -> Option<&PathBuf> {
        if !path.is_absolute() {
            return None;
        }
        let path = (self.physical)(path);
        let depth = |root: &Path| path.starts_with(root).then(|| root.components().count());
        let own = depth(self.own);
        let (other, root) = self.others.iter().filter_map(|root| Some((depth(root)?, root))).max()?;
        (own < Some(other)).then_some(root)
    }
}

/// Removes paths of another worktree from the variable: the whole value, or entries of a list. Returns the rest of the
/// value and where the removed part pointed; `None` if there is nothing to remove.
pub fn value(
    name: &str,
    value: &OsStr,
    worktrees: &Worktrees<'_>,
) -> Option<(Option<OsString>, ForeignVariable)> {
    let loads = LOADERS.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family));
    if !loads {
        return None;
    }
    let removed = |worktree: &PathBuf, is_partial| ForeignVariable {
        name: name.into(),
        worktree: worktree.clone(),
        is_partial,
    };
    if !LISTS.contains(&name) {
        return worktrees.other(Path::new(value)).map(|worktree| (None, removed(worktree, false)));
    }
    let entries: Vec<PathBuf> = std::env::split_paths(value).collect();
    let worktree = entries.iter().find_map(|entry| worktrees.other(entry))?;
    let kept: Vec<&PathBuf> = entries.iter().filter(|entry| worktrees.other(entry).is_none()).collect();
    let is_empty = kept.iter().all(|entry| entry.as_os_str().is_empty());
    let left = std::env::join_paths(kept).ok().filter(|_| !is_empty);
    let is_partial = left.is_some();
    Some((left, removed(worktree, is_partial)))
}

/// Removes from `inherited` the variables that a devrun in another worktree set, the folders of that worktree on PATH, and the
/// paths that [`value`] finds. Returns only the last.
pub fn clean(
    inherited: &mut BTreeMap<OsString, OsString>,
    worktrees: &Worktrees<'_>,
) -> Vec<ForeignVariable> {
    let from = inherited.get(OsStr::new(WORKTREE)).map(PathBuf::from);
    if let Some(from) = from.filter(|from| from != worktrees.own) {
        let set = inherited.get(OsStr::new(VARIABLES)).map(|set| set.to_string_lossy().into_owned());
        for name in set.iter().flat_map(|set| set.split(' ')) {
            inherited.remove(OsStr::new(name));
        }
        if set.is_some()
            && let Some(path) = inherited.get_mut(OsStr::new("PATH"))
        {
            // This worktree may be inside the other one.
            let is_foreign = |entry: &PathBuf| entry.starts_with(&from) && !entry.starts_with(worktrees.own);
            let kept = std::env::split_paths(path).filter(|entry| !is_foreign(entry));
            if let Ok(kept) = std::env::join_paths(kept) {
                *path = kept;
            }
        }
    }
    let mut all = Vec::new();
    let names: Vec<OsString> = inherited.keys().cloned().collect();
    for name in names {
        let found = name.to_str().and_then(|text| value(text, &inherited[&name], worktrees));
        let Some((left, foreign)) = found else { continue };
        match left {
            Some(left) => inherited.insert(name, left),
            None => inherited.remove(&name),
        };
        all.push(foreign);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned<const N: usize>(vars: [(&str, &str); N]) -> (BTreeMap<OsString, OsString>, Vec<String>) {
        let others = ["/r/main".into(), "/r/other".into(), "/r/own/inner".into()];
        let physical = |path: &Path| match path.strip_prefix("/link") {
            Ok(rest) => Path::new("/r/main").join(rest),
            Err(_) => path.into(),
        };
        let worktrees = Worktrees { own: Path::new("/r/own"), others: &others, physical: &physical };
        let mut inherited = vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let all = clean(&mut inherited, &worktrees);
        (inherited, all.into_iter().map(|one| format!("{} {}", one.name, one.worktree.display())).collect())
    }

    fn left(name: &str, value: &str) -> Option<String> {
        cleaned([(name, value)]).0.get(OsStr::new(name)).map(|value| value.to_str().unwrap().into())
    }

    #[test]
    fn settings_and_code_of_another_worktree_are_taken_out_and_named() {
        let (vars, all) = cleaned([
            ("ALEMBIC_CONFIG", "/r/main/alembic.ini"),
            ("DJANGO_READ_DOT_ENV_FILE", "/link/.env"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/r/main/key.json"),
            ("DJANGO_SETTINGS_MODULE", "app.settings"),
        ]);
        let names: Vec<_> = vars.keys().map(|name| name.to_str().unwrap()).collect();
        assert_eq!(names, ["DJANGO_SETTINGS_MODULE", "GOOGLE_APPLICATION_CREDENTIALS"]);
        assert_eq!(all, ["ALEMBIC_CONFIG /r/main", "DJANGO_READ_DOT_ENV_FILE /r/main"]);
    }

    #[test]
    fn list_loses_only_the_entries_of_another_worktree() {
        assert_eq!(
            left("PYTHONPATH", "/r/main/src:/opt/lib:src:/r/own/src").unwrap(),
            "/opt/lib:src:/r/own/src"
        );
        assert_eq!(left("PYTHONPATH", "/r/main/src"), None);
        assert_eq!(left("NODE_PATH", "/r/main2/lib").unwrap(), "/r/main2/lib");
    }

    #[test]
    fn path_belongs_to_the_innermost_worktree() {
        assert_eq!(left("PYTHONPATH", "/r/own/inner/src"), None);
        assert_eq!(left("PYTHONPATH", "/r/own/inn/src").unwrap(), "/r/own/inn/src");
    }

    #[test]
    fn variables_of_another_worktrees_devrun_are_removed() {
        let path = "/r/main/.venv/bin:/r/own/bin:/bin";
        let set =
            [("DEVRUN_VARIABLES", "LOG_LEVEL API_URL"), ("LOG_LEVEL", "x"), ("EDITOR", "vi"), ("PATH", path)];
        let from = |worktree| {
            let [a, b, c, d] = set;
            cleaned([a, b, c, d, ("DEVRUN_WORKTREE", worktree)]).0
        };
        let get = |vars: &BTreeMap<OsString, OsString>, name: &str| {
            vars.get(OsStr::new(name)).map(|value| value.to_str().unwrap().to_string())
        };
        let other = from("/r/main");
        assert_eq!((get(&other, "LOG_LEVEL"), get(&other, "EDITOR").unwrap()), (None, "vi".into()));
        assert_eq!(get(&other, "PATH").unwrap(), "/r/own/bin:/bin");
        let own = from("/r/own");
        assert_eq!((get(&own, "LOG_LEVEL").unwrap(), get(&own, "PATH").unwrap()), ("x".into(), path.into()));
    }
}
