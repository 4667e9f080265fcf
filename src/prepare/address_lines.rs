//! Reads the lines with addresses from the env files that the loader of a process may read.
//!
//! Each call reads the files, because users change them while a stack runs. devrun itself does not use all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::ResolvedWorktree;
use crate::config::envfile::{self, EnvFile, EnvFileOrigin, EnvFilePlaces};
use crate::config::postgres_names::{PostgresPart, split};
use crate::config::url_forms;
use crate::context::address_lines::{AddressLine, value_address};
use crate::plan::FileLine;

/// Names of env files in a folder that loaders read by default, the strongest first.
const USUAL: [&str; 4] = [".env.local", ".env.development.local", ".env.development", ".env"];

/// The env files of a worktree. Cheap to make: reads nothing.
#[derive(Clone, Debug)]
pub struct AddressLines {
    root: PathBuf,
    main: Option<PathBuf>,
    /// The folder of each process, relative to the worktree.
    folders: BTreeMap<String, PathBuf>,
    /// The files that the configuration names.
    named: BTreeSet<PathBuf>,
    /// Files that may be links out of the worktree.
    outside: Vec<PathBuf>,
}

impl AddressLines {
    /// Returns the env files of `resolved`.
    pub fn of(resolved: &ResolvedWorktree) -> AddressLines {
        let folders = resolved.config.processes.iter();
        let folders = folders.map(|process| (process.name.clone(), process.directory.clone()));
        let git = resolved.worktree.git.as_ref();
        AddressLines {
            root: resolved.worktree.path.clone(),
            main: git.and_then(|git| git.main_worktree.clone()),
            folders: folders.collect(),
            named: resolved.files.names.clone(),
            outside: resolved.files.outside.clone(),
        }
    }

    /// Returns the lines with addresses in the env files of the folder of `process` and of the folders above it. Reads
    /// files, and may block for the time limit of each.
    pub fn of_process(&self, process: &str) -> Vec<AddressLine> {
        let folder = self.folders.get(process).map_or(Path::new(""), PathBuf::as_path);
        let folders: Vec<&Path> = folder.ancestors().collect();
        let usual = folders.iter().flat_map(|folder| USUAL.map(|name| folder.join(name)));
        let named =
            self.named.iter().filter(|file| file.parent().is_some_and(|parent| folders.contains(&parent)));
        let mut seen = BTreeSet::new();
        let files = usual.chain(named.cloned()).filter(|name| seen.insert(name.clone()));
        files.flat_map(|name| self.lines(name)).collect()
    }

    fn lines(&self, name: PathBuf) -> Vec<AddressLine> {
        let places = EnvFilePlaces {
            outside: &self.outside,
            ..EnvFilePlaces::own_and_main(&self.root, self.main.as_deref())
        };
        // A file that cannot be read was reported when the stack started.
        let files = envfile::load(&[name], places, &BTreeMap::new()).unwrap_or_default();
        files.iter().filter(|file| file.found == EnvFileOrigin::Worktree).flat_map(addresses).collect()
    }
}

fn addresses(file: &EnvFile) -> Vec<AddressLine> {
    let line = |(variable, value): &(String, String)| {
        let at = FileLine { file: file.name.clone(), line: *file.lines.get(variable)? };
        read(at, variable, value)
    };
    file.vars.iter().filter_map(line).collect()
}

/// Returns the address in a variable of an env file; `None` if it has none.
fn read(at: FileLine, variable: &str, value: &str) -> Option<AddressLine> {
    let is_name = split(variable).is_some_and(|(_, part)| part == PostgresPart::Name);
    let line = AddressLine { at, variable: variable.into(), host: None, port: None, database: None };
    if let Some(url) = url_forms::parts(value) {
        let (host, port) = (Some(url.host), Some(url.port.parse().ok()?));
        return Some(AddressLine { host, port, database: Some(url.name), ..line });
    }
    match value_address(value) {
        // A number alone is a port only if the variable is named so.
        Some((None, port)) if variable.to_ascii_uppercase().ends_with("PORT") => {
            Some(AddressLine { port: Some(port), ..line })
        }
        Some((Some(host), port)) => Some(AddressLine { host: Some(host), port: Some(port), ..line }),
        _ if is_name => Some(AddressLine { database: Some(value.into()), ..line }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(folder: &Path) -> AddressLines {
        AddressLines {
            root: folder.into(),
            main: None,
            folders: [("backend".into(), "apps/backend".into())].into(),
            named: ["apps/backend/extra.env".into(), "web/.env".into()].into(),
            outside: Vec::new(),
        }
    }

    #[test]
    fn lines_come_from_the_folder_of_the_process_and_those_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            crate::os::fs::replace(&path, text.as_bytes(), 0o600).unwrap();
        };
        write(".env", "REDIS_URL=redis://localhost/0\nLEVEL=7\n");
        write(
            "apps/backend/.env",
            "# shared\nDATABASE_URL=postgresql+asyncpg://u:s3cret@localhost/app?x=1\n",
        );
        write("apps/backend/.env.local", "DB_PORT=5433\nPOSTGRES_DB=dev-main\nNAME=\n");
        write("apps/backend/extra.env", "API=localhost:8000\n");
        write("web/.env", "DATABASE_URL=postgresql://u@h/other\n");
        let all = lines(folder.path()).of_process("backend");
        let shown: Vec<String> = all
            .iter()
            .map(|line| format!("{line} {:?} {:?} {:?}", line.host, line.port, line.database))
            .collect();
        assert_eq!(
            shown,
            [
                "apps/backend/.env.local:1 (DB_PORT) None Some(5433) None",
                "apps/backend/.env.local:2 (POSTGRES_DB) None None Some(\"dev-main\")",
                "apps/backend/.env:2 (DATABASE_URL) Some(\"localhost\") Some(5432) Some(\"app\")",
                ".env:1 (REDIS_URL) Some(\"localhost\") Some(6379) None",
                "apps/backend/extra.env:1 (API) Some(\"localhost\") Some(8000) None",
            ]
        );
        assert!(!format!("{all:?}").contains("s3cret"));
    }
}
