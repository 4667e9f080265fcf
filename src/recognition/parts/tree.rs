//! Looks up files of a worktree for recognition, and reads their text.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::os::read::{self, Limit};
use crate::recognition::facts::{Facts, FileLine, PythonModule};

/// Maximum size of a file to read, in bytes.
const MAX_BYTES: usize = 256 << 10;

/// Names of folders with code that is not part of the product.
const ASIDE: &[&str] = &[
    "tests",
    "test",
    "e2e",
    "examples",
    "example",
    "fixtures",
    "templates",
    "playground",
    "docs",
    "documentation",
    "storybook",
    "emails",
    "benchmarks",
];

/// A worktree and its facts. Reads each file once.
pub struct Tree<'a> {
    /// Facts that were read from it.
    pub facts: &'a Facts,
    root: &'a Path,
    files: BTreeSet<&'a Path>,
    texts: RefCell<BTreeMap<PathBuf, Option<Rc<str>>>>,
}

impl<'a> Tree<'a> {
    /// Returns the worktree at `root` with its facts.
    pub fn new(root: &'a Path, facts: &'a Facts) -> Tree<'a> {
        let files = facts.files.iter().map(PathBuf::as_path).collect();
        Tree { facts, root, files, texts: RefCell::default() }
    }

    /// Returns true if the worktree has this file.
    pub fn has(&self, file: &Path) -> bool {
        self.files.contains(file)
    }

    /// Returns true if the worktree has a file below this folder.
    pub fn has_folder(&self, folder: &Path) -> bool {
        self.files.range(folder..).next().is_some_and(|file| file.starts_with(folder))
    }

    /// Iterates over files with this name, nearest the top first.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &'a PathBuf> {
        self.facts.files.iter().filter(move |file| file.file_name().is_some_and(|other| other == name))
    }

    /// Iterates over Python modules of the product, nearest the top first.
    pub fn python(&self) -> impl Iterator<Item = &'a PathBuf> {
        let is_python = |file: &Path| file.extension().is_some_and(|extension| extension == "py");
        self.facts.files.iter().filter(move |file| is_python(file) && !is_aside(file))
    }

    /// Returns the facts of the Python module `file`.
    pub fn module(&self, file: &Path) -> Option<&'a PythonModule> {
        self.facts.modules.iter().find(|module| module.file == file)
    }

    /// Returns the text of a file; `None` if it is too large, not text or missing.
    pub fn text(&self, file: &Path) -> Option<Rc<str>> {
        let mut texts = self.texts.borrow_mut();
        texts.entry(file.into()).or_insert_with(|| text_inside(self.root, file).map(Rc::from)).clone()
    }

    /// Returns the first line of `file` that contains `word`, in lower case, as a whole word; the line 1 if there is none.
    pub fn spot(&self, file: &Path, word: &str) -> FileLine {
        let text = self.text(file).unwrap_or_else(|| Rc::from(""));
        let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let holds = |line: &str| {
            line.match_indices(word).any(|(start, _)| {
                let before = line[..start].chars().next_back();
                let after = line[start + word.len()..].chars().next();
                !before.is_some_and(is_inner) && !after.is_some_and(is_inner)
            })
        };
        let line =
            text.to_ascii_lowercase().lines().zip(1..).find(|(line, _)| holds(line)).map(|(_, line)| line);
        FileLine { file: file.into(), line: line.unwrap_or(1) }
    }

    /// Returns the nearest folder, from `folder` up to the top, that contains one of the files `names`, with the name
    /// of that file.
    pub fn nearest_with(&self, folder: &Path, names: &[&'static str]) -> Option<(PathBuf, &'static str)> {
        folder.ancestors().find_map(|ancestor| {
            let name = names.iter().find(|name| self.has(&ancestor.join(name)))?;
            Some((ancestor.to_path_buf(), *name))
        })
    }
}

/// Returns the text of a file inside the worktree. A symbolic link that leads out of the worktree counts as missing.
pub fn text_inside(root: &Path, file: &Path) -> Option<String> {
    let bytes = read::inside(&[root], &root.join(file), Limit { bytes: MAX_BYTES, ..Limit::SMALL }).ok()?;
    read::decoded(bytes)
}

/// Returns the folder of a file; empty for the top.
pub fn folder(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// Returns the number of path components below the top.
pub fn depth(path: &Path) -> usize {
    path.components().count()
}

/// Returns true for files of tests, examples and documents, which are not part of the product.
pub fn is_aside(path: &Path) -> bool {
    path.iter().any(|part| part.to_str().is_some_and(|part| ASIDE.contains(&part)))
}

/// Returns a folder as messages and devrun.yaml write it: `.` for the top.
pub fn shown(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".into() } else { folder.to_string_lossy().into_owned() }
}
