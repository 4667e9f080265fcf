//! Cases for `written`, one per behaviour.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::*;
use crate::context::Dirs;
use crate::event::{Event, Events};

/// A state folder, and the file `.env` beside it.
struct Case {
    dir: tempfile::TempDir,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Case {
    fn new() -> Case {
        Case { dir: tempfile::tempdir().unwrap(), warnings: Arc::default() }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("out/.env")
    }

    fn ctx(&self) -> Context {
        let warnings = self.warnings.clone();
        let keep = move |event| {
            if let Event::Warning(text) = event {
                warnings.lock().unwrap().push(text);
            }
        };
        let home = |name: &str| self.dir.path().join("home").join(name);
        Context {
            cwd: self.dir.path().into(),
            env: std::collections::BTreeMap::new(),
            dirs: Dirs {
                state: home("state"),
                data: home("data"),
                cache: home("cache"),
                runtime: home("runtime"),
            },
            events: Events::new(keep),
            started: Instant::now(),
            colour: false,
        }
    }

    fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap())
    }

    fn record(&self) -> WrittenFiles {
        WrittenFiles::of(&self.ctx(), self.dir.path())
    }

    fn put(&self, text: &str) {
        fs::replace(&self.file(), text.as_bytes(), 0o600).unwrap();
    }

    fn text(&self) -> Option<String> {
        std::fs::read_to_string(self.file()).ok()
    }

    /// Writes `A=1` as devrun does: a block, or the whole file.
    fn write(&self, is_block: bool) {
        let content = FileContent::of(self.text().map(String::into_bytes)).unwrap();
        let bytes = if is_block {
            content.with_block(&env_block::block("/w", "A=1\n"), "A=1\n", &BTreeSet::new())
        } else {
            env_block::generated("/w", "A=1\n").into_bytes()
        };
        self.record().add((Path::new(".env"), &self.file()), "/w", "A=1\n", &content).unwrap();
        fs::replace(&self.file(), &bytes, 0o600).unwrap();
    }
}

#[test]
fn the_file_of_the_user_comes_back_byte_for_byte() {
    for text in [None, Some(""), Some("B=1"), Some("B=1\n"), Some("\n")] {
        let case = Case::new();
        if let Some(text) = text {
            case.put(text);
        }
        case.write(true);
        case.write(true);
        case.record().take_back(&case.ctx());
        assert_eq!(case.text().as_deref(), text, "{text:?}");
    }
}

#[test]
fn another_form_of_the_entry_keeps_what_is_known_about_the_file() {
    let case = Case::new();
    case.write(false);
    case.write(true);
    case.write(false);
    case.record().take_back(&case.ctx());
    assert_eq!(case.text(), None);
}

#[test]
fn a_newline_that_the_user_needs_by_now_stays() {
    let case = Case::new();
    case.put("B=1");
    case.write(true);
    case.put(&case.text().unwrap().replace("B=1\n", "B=1\nC=2\n"));
    case.write(true);
    case.record().take_back(&case.ctx());
    assert_eq!(case.text().as_deref(), Some("B=1\nC=2\n"));
}

#[test]
fn a_file_that_the_user_made_since_is_not_removed() {
    let case = Case::new();
    case.write(true);
    case.put("");
    case.write(true);
    case.record().take_back(&case.ctx());
    assert_eq!(case.text().as_deref(), Some(""));
}

#[test]
fn an_edited_file_stays_with_a_warning() {
    let case = Case::new();
    case.write(false);
    let edited = case.text().unwrap() + "MINE=1\n";
    case.put(&edited);
    case.record().take_back(&case.ctx());
    assert_eq!(case.text(), Some(edited));
    assert!(case.warnings()[0].ends_with("it was edited since devrun wrote it"));
}

#[test]
fn a_file_that_cannot_be_taken_back_stays_in_the_record() {
    let case = Case::new();
    case.write(true);
    let whole = case.text().unwrap();
    case.put(whole.trim_end().rsplit_once('\n').unwrap().0);
    case.record().take_back_others(&case.ctx(), &[]).unwrap();
    assert!(case.warnings()[0].contains("line 1 begins a block"), "{:?}", case.warnings());
    case.put(&whole);
    case.record().take_back_others(&case.ctx(), &[]).unwrap();
    assert_eq!(case.text(), None);
    assert_eq!(case.record().files, []);
}

#[test]
fn a_damaged_record_is_reported() {
    let case = Case::new();
    fs::replace(&case.dir.path().join(FILE), b"[", 0o600).unwrap();
    assert_eq!(case.record().files, []);
    assert!(case.warnings()[0].contains("env_out.json"));
}
