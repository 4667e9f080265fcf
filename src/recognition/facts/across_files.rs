//! Completes facts that need several files: settings classes with their bases, factories with the objects they make,
//! folders of commands.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use super::settings::{self, Class};
use super::{ApplicationKind, Facts, ReadConstruct, VariableRead};

/// Completes `facts`; `classes` are its settings classes.
pub(super) fn join(facts: &mut Facts, classes: &[Class]) {
    let reads = settings::reads(classes);
    name_guards(&mut facts.reads, classes, &reads);
    facts.reads.extend(reads);
    keep_made_applications(facts);
    check_directories(facts);
}

/// Names the variable in each of `guards`, code outside a settings class that checks a field. Until then, a guard has the field's
/// name in upper case. `reads` are the variables of `classes`. The guard of a field without a class, or of a field with several
/// variables, keeps its name.
fn name_guards(guards: &mut [VariableRead], classes: &[Class], reads: &[VariableRead]) {
    for guard in guards.iter_mut().filter(|read| read.by == ReadConstruct::Settings) {
        let fields = classes.iter().flat_map(|class| &class.fields);
        let places: Vec<_> =
            fields.filter(|field| field.name.to_uppercase() == guard.name).map(|field| &field.at).collect();
        let variables: BTreeSet<&String> =
            reads.iter().filter(|read| places.contains(&&read.at)).map(|read| &read.name).collect();
        if let (1, Some(name)) = (variables.len(), variables.first()) {
            guard.name = (*name).clone();
        }
    }
}

/// Removes objects that are made by a function other than a known factory. For example, the result of `get_settings()`
/// is not an application.
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

/// Corrects folders from `cd repository` after `git clone` in a document: if the folder does not exist, drops its first
/// component, or the whole folder if the rest does not exist either.
fn check_directories(facts: &mut Facts) {
    let mut folders: HashSet<&Path> = HashSet::new();
    let mut last = None;
    for file in &facts.files {
        // Files of one folder follow each other, and a known folder has known folders above it.
        let folder = file.parent();
        if folder.map(Path::as_os_str) != last {
            last = folder.map(Path::as_os_str);
            let _ = file.ancestors().skip(1).find(|folder| !folders.insert(folder));
        }
    }
    for command in &mut facts.commands {
        let Some(directory) = &command.directory else { continue };
        if directory.as_os_str().is_empty() || folders.contains(directory.as_path()) {
            continue;
        }
        let rest: PathBuf = directory.iter().skip(1).collect();
        command.directory = folders.contains(rest.as_path()).then_some(rest);
    }
}
