//! Finds the files that match a pattern such as `src/**/*.graphql`.
//!
//! `**` stays in the folders of the project: it follows no link, so that no circle of links is walked, and enters neither
//! `node_modules`, nor git's folder, nor caches and virtual environments of Python. A pattern may name each of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use glob::Pattern;

/// Folders that `**` does not enter.
const SKIPPED: [&str; 3] = [".git", "__pycache__", "node_modules"];
/// The file by which Python recognises a virtual environment.
const VENV: &str = "pyvenv.cfg";

/// Adds the files below `root` that match `pattern` to `found`, as paths relative to `root`. Stops when there are more than `most`.
/// Blocks.
pub fn files(root: &Path, pattern: &str, most: usize, found: &mut BTreeSet<PathBuf>) {
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    PatternSearch { root, most, found }.walk(Path::new(""), &parts);
}

struct PatternSearch<'a> {
    root: &'a Path,
    most: usize,
    found: &'a mut BTreeSet<PathBuf>,
}

impl PatternSearch<'_> {
    /// Adds the files in the folder `at` that match the rest of the pattern.
    fn walk(&mut self, at: &Path, parts: &[&str]) {
        if self.found.len() > self.most {
            return;
        }
        match parts {
            [] => {}
            ["**"] => self.walk(at, &["**", "*"]),
            ["**", rest @ ..] => {
                self.walk(at, rest);
                for folder in self.names(at).iter().map(|name| at.join(name)) {
                    if self.is_entered(&folder) {
                        self.walk(&folder, parts);
                    }
                }
            }
            [name, rest @ ..] if Pattern::escape(name) == **name => self.step(&at.join(name), rest),
            [pattern, rest @ ..] => {
                let Ok(pattern) = Pattern::new(pattern) else { return };
                let matching = |name: &PathBuf| pattern.matches(&name.to_string_lossy());
                for name in self.names(at).into_iter().filter(matching) {
                    self.step(&at.join(name), rest);
                }
            }
        }
    }

    fn step(&mut self, path: &Path, rest: &[&str]) {
        let full = self.root.join(path);
        if !rest.is_empty() {
            self.walk(path, rest);
        } else if full.is_file() {
            self.found.insert(path.into());
        }
    }

    /// Returns the names in a folder; none if it is no folder or cannot be read.
    fn names(&self, folder: &Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.root.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().into()).collect()
    }

    fn is_entered(&self, folder: &Path) -> bool {
        let full = self.root.join(folder);
        let is_skipped =
            folder.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped));
        !is_skipped && full.symlink_metadata().is_ok_and(|meta| meta.is_dir()) && !full.join(VENV).exists()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(root: &Path, pattern: &str) -> Vec<String> {
        let mut all = BTreeSet::new();
        files(root, pattern, 100, &mut all);
        all.into_iter().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::Builder::new().prefix("in[put]s").tempdir().unwrap();
        for path in files {
            crate::os::fs::replace(&dir.path().join(path), b"", 0o644).unwrap();
        }
        dir
    }

    #[test]
    fn patterns_match_files_at_their_depth() {
        let dir = tree(&["a.ts", "src/b.ts", "src/deep/c.ts", "src/deep/d.js", "src/.hidden.ts", "[x]/e.ts"]);
        for (pattern, wanted) in [
            ("a.ts", &["a.ts"][..]),
            ("./src/*.ts", &["src/.hidden.ts", "src/b.ts"]),
            ("src/**/*.ts", &["src/.hidden.ts", "src/b.ts", "src/deep/c.ts"]),
            ("**/c.ts", &["src/deep/c.ts"]),
            ("src/deep/**", &["src/deep/c.ts", "src/deep/d.js"]),
            ("*/deep/?.js", &["src/deep/d.js"]),
            ("[[]x]/*", &["[x]/e.ts"]),
            ("src", &[]),
            ("none/**/*.ts", &[]),
        ] {
            assert_eq!(found(dir.path(), pattern), wanted, "{pattern}");
        }
    }

    #[test]
    fn two_stars_follow_no_link_and_enter_no_packages() {
        let dir = tree(&["src/a.ts", "node_modules/x/b.ts", ".venv/pyvenv.cfg", ".venv/c.ts", ".git/d.ts"]);
        symlink(".", dir.path().join("src/circle")).unwrap();
        symlink("..", dir.path().join("src/up")).unwrap();
        symlink("a.ts", dir.path().join("src/link.ts")).unwrap();
        assert_eq!(found(dir.path(), "**/*.ts"), ["src/a.ts", "src/link.ts"]);
        assert_eq!(found(dir.path(), "node_modules/**/*.ts"), ["node_modules/x/b.ts"]);
    }

    #[test]
    fn the_search_stops_after_enough_files() {
        let dir = tree(&["1", "2", "3", "4"]);
        let mut all = BTreeSet::new();
        files(dir.path(), "**", 2, &mut all);
        assert!(all.len() > 2);
    }
}
