//! Facts that need several files: settings classes and their bases, factories and what they make, folders of commands.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::settings::{self, Class};
use super::{ApplicationKind, Facts};

/// Completes `facts`, whose settings classes are `classes`.
pub(super) fn join(facts: &mut Facts, classes: &[Class]) {
    facts.reads.extend(settings::reads(classes));
    keep_made_applications(facts);
    check_directories(facts);
}

/// An object that a function makes is an application only when the function is a known factory: `get_settings()` is none.
fn keep_made_applications(facts: &mut Facts) {
    let applications = facts.modules.iter().flat_map(|module| &module.applications);
    let factories: BTreeSet<String> = applications
        .filter(|application| application.kind == ApplicationKind::Factory)
        .map(|application| application.name.clone())
        .collect();
    for module in &mut facts.modules {
        module.applications.retain(|application| match &application.kind {
            ApplicationKind::Made(function) => {
                function.rsplit('.').next().is_some_and(|name| factories.contains(name))
            }
            _ => true,
        });
    }
    facts.modules.retain(|module| !module.applications.is_empty());
}

/// A document says `cd repository` after `git clone`: a folder that does not exist below the one that the rest names.
fn check_directories(facts: &mut Facts) {
    let folders: BTreeSet<&Path> = facts.files.iter().flat_map(|file| file.ancestors().skip(1)).collect();
    for command in &mut facts.commands {
        let Some(directory) = &command.directory else { continue };
        if directory.as_os_str().is_empty() || folders.contains(directory.as_path()) {
            continue;
        }
        let rest: PathBuf = directory.iter().skip(1).collect();
        command.directory = folders.contains(rest.as_path()).then_some(rest);
    }
}
