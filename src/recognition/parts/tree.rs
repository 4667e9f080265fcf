//! Files of a worktree as recognition asks for them: which there are, and the text of a manifest.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::os::read::{self, Limit};
use crate::recognition::facts::{Facts, Module, Spot};

/// The largest file whose text is read.
const MAX_BYTES: usize = 256 << 10;

/// Folders whose code is not the product.
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

/// A worktree and its facts. Texts are read once.
pub struct Tree<'a> {
    /// Facts that were read from it.
    pub facts: &'a Facts,
    root: &'a Path,
    files: BTreeSet<&'a Path>,
    texts: RefCell<BTreeMap<PathBuf, Option<Rc<str>>>>,
}

impl<'a> Tree<'a> {
    /// The worktree at `root` with what was read from it.
    pub fn new(root: &'a Path, facts: &'a Facts) -> Tree<'a> {
        let files = facts.files.iter().map(PathBuf::as_path).collect();
        Tree { facts, root, files, texts: RefCell::default() }
    }

    /// True when the worktree has this file.
    pub fn has(&self, file: &Path) -> bool {
        self.files.contains(file)
    }

    /// True when the worktree has a file below this folder.
    pub fn has_folder(&self, folder: &Path) -> bool {
        self.files.range(folder..).next().is_some_and(|file| file.starts_with(folder))
    }

    /// Files with this name, nearest the top first.
    pub fn named(&self, name: &str) -> impl Iterator<Item = &'a PathBuf> {
        self.facts.files.iter().filter(move |file| file.file_name().is_some_and(|other| other == name))
    }

    /// Python modules of the product, nearest the top first.
    pub fn python(&self) -> impl Iterator<Item = &'a PathBuf> {
        let is_python = |file: &Path| file.extension().is_some_and(|extension| extension == "py");
        self.facts.files.iter().filter(move |file| is_python(file) && !is_aside(file))
    }

    /// The facts of the Python module `file`.
    pub fn module(&self, file: &Path) -> Option<&'a Module> {
        self.facts.modules.iter().find(|module| module.file == file)
    }

    /// The text of a file; nothing when it is large, no text or gone.
    pub fn text(&self, file: &Path) -> Option<Rc<str>> {
        let mut texts = self.texts.borrow_mut();
        texts.entry(file.into()).or_insert_with(|| text_inside(self.root, file).map(Rc::from)).clone()
    }

    /// The first line of `file` that holds `word`, as a whole word.
    pub fn spot(&self, file: &Path, word: &str) -> Spot {
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
        Spot { file: file.into(), line: line.unwrap_or(1) }
    }

    /// The nearest folder, from `folder` up to the top, that has one of the files `names`; the name comes with it.
    pub fn nearest_with(&self, folder: &Path, names: &[&'static str]) -> Option<(PathBuf, &'static str)> {
        folder.ancestors().find_map(|ancestor| {
            let name = names.iter().find(|name| self.has(&ancestor.join(name)))?;
            Some((ancestor.to_path_buf(), *name))
        })
    }
}

/// The text of a file that lies in the worktree; a link that leads out of it counts as gone.
pub fn text_inside(root: &Path, file: &Path) -> Option<String> {
    let bytes = read::inside(&[root], &root.join(file), Limit { bytes: MAX_BYTES, ..Limit::SMALL }).ok()?;
    String::from_utf8(bytes).ok()
}

/// The folder of a file; empty for the top.
pub fn folder(file: &Path) -> PathBuf {
    file.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// How far below the top a folder or file is.
pub fn depth(path: &Path) -> usize {
    path.components().count()
}

/// True for files of tests, examples and documents: what they start is not the product.
pub fn is_aside(path: &Path) -> bool {
    path.iter().any(|part| part.to_str().is_some_and(|part| ASIDE.contains(&part)))
}

/// How a folder is written for people and in devrun.yaml: `.` for the top.
pub fn shown(folder: &Path) -> String {
    if folder.as_os_str().is_empty() { ".".into() } else { folder.to_string_lossy().into_owned() }
}
