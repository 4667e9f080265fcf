//! Reports where devrun keeps its files: which folders exist, which are usable, and whether the cache can share content.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

use super::line::{CheckLine, Promise};
use crate::context::Context;
use crate::os::fs;

/// A folder of devrun.
#[derive(Clone, Debug)]
pub(super) struct FolderFacts {
    name: &'static str,
    path: PathBuf,
    /// The consequence if it cannot be used.
    loss: &'static str,
    exists: bool,
    /// True if files can be made in it, or in the folder in which it would be made.
    is_usable: bool,
}

/// The facts of this family.
pub(super) struct StorageFacts {
    folders: Vec<FolderFacts>,
    /// True if two files in the cache folder can share their content; `None` if that cannot be tried.
    shares_content: Option<bool>,
}

pub(super) fn facts(ctx: &Context) -> StorageFacts {
    let dirs = &ctx.dirs;
    let folder = |name, path: &Path, loss| FolderFacts {
        name,
        path: path.into(),
        loss,
        exists: path.is_dir(),
        is_usable: existing(path)
            .is_some_and(|path| access(path, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()),
    };
    StorageFacts {
        folders: vec![
            folder("state", &dirs.state, "no port can be leased, so nothing starts"),
            folder("data", &dirs.data, "there can be no local database"),
            folder("cache", &dirs.cache, "no Postgres and no package manager can be downloaded"),
            folder("runtime", &dirs.runtime, "no other command reaches a running stack"),
        ],
        shares_content: existing(&dirs.cache).and_then(fs::shares_content),
    }
}

/// Returns the folder itself, or the nearest one around it that exists.
fn existing(path: &Path) -> Option<&Path> {
    path.ancestors().find(|folder| folder.is_dir())
}

pub(super) fn judge(facts: &StorageFacts) -> Vec<CheckLine> {
    let mut lines: Vec<CheckLine> = facts
        .folders
        .iter()
        .map(|folder| {
            let path = folder.path.display();
            let (promise, text) = match (folder.is_usable, folder.exists) {
                (true, true) => (Promise::Kept, path.to_string()),
                (true, false) => (Promise::Kept, format!("{path}, made when needed")),
                (false, _) => (Promise::Missing, format!("{path} is not writable: {}", folder.loss)),
            };
            CheckLine::new("folders", folder.name, promise, text)
        })
        .collect();
    let (promise, text) = match facts.shares_content {
        Some(true) => {
            (Promise::Kept, "files in the cache folder share content until they change: copies cost no space")
        }
        Some(false) => (
            Promise::Limited,
            "this file system cannot share content: package managers use hard links or copies",
        ),
        None => (Promise::Fact, "not known for the cache folder"),
    };
    lines.push(CheckLine::new("folders", "reflink", promise, text));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_written_says_what_is_lost() {
        let folder = |exists, is_usable| FolderFacts {
            name: "state",
            path: "/s".into(),
            loss: "nothing starts",
            exists,
            is_usable,
        };
        let facts = StorageFacts {
            folders: vec![folder(true, true), folder(false, true), folder(true, false)],
            shares_content: Some(false),
        };
        let lines = judge(&facts);
        let said: Vec<(Promise, &str)> =
            lines.iter().map(|line| (line.promise, line.text.as_str())).collect();
        assert_eq!(said[0], (Promise::Kept, "/s"));
        assert_eq!(said[1], (Promise::Kept, "/s, made when needed"));
        assert_eq!(said[2], (Promise::Missing, "/s is not writable: nothing starts"));
        assert_eq!(said[3].0, Promise::Limited);
    }
}
