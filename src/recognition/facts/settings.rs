//! Resolves pydantic settings classes: finds the variables that each field reads, once the bases of its class are
//! known.
//!
//! A class and its base are often in two files. So the reader of a file collects classes, and this module resolves them
//! across all files. <https://docs.pydantic.dev/latest/concepts/pydantic_settings/>

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{FileLine, ReadConstruct, VariableRead};

/// Maximum depth of base classes, and of nested models.
const DEPTH: usize = 6;

/// A class with annotated fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Class {
    pub(super) name: String,
    /// The last segments of the names of its bases.
    pub(super) bases: Vec<String>,
    pub(super) config: ClassConfig,
    pub(super) fields: Vec<SettingsField>,
}

/// The keys of `model_config` or `class Config` that affect names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ClassConfig {
    pub(super) prefix: Option<String>,
    pub(super) case_sensitive: Option<bool>,
    pub(super) nested_delimiter: Option<String>,
}

/// One annotated field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SettingsField {
    pub(super) name: String,
    pub(super) at: FileLine,
    /// Names that replace the prefix and the field's name, strongest first.
    pub(super) aliases: Vec<String>,
    pub(super) required: bool,
    pub(super) default: Option<String>,
    pub(super) min_length: Option<usize>,
    pub(super) refused: Vec<String>,
    pub(super) list: bool,
    /// Names of classes in its type.
    pub(super) types: Vec<String>,
}

/// Returns the variables that the settings classes among `classes` read.
pub(super) fn reads(classes: &[Class]) -> Vec<VariableRead> {
    let mut by_name: BTreeMap<&str, Vec<&Class>> = BTreeMap::new();
    for class in classes {
        by_name.entry(class.name.as_str()).or_default().push(class);
    }
    let known = KnownClasses { by_name };
    let mut seen = BTreeSet::new();
    let mut reads = Vec::new();
    for class in classes.iter().filter(|class| known.is_settings(class, DEPTH)) {
        let config = known.config(class, DEPTH);
        let prefix = config.prefix.clone().unwrap_or_default();
        for field in known.fields(class, DEPTH) {
            known.read(field, &prefix, &config, DEPTH, &mut |read| {
                if seen.insert((read.name.clone(), read.at.clone())) {
                    reads.push(read);
                }
            });
        }
    }
    reads
}

struct KnownClasses<'a> {
    by_name: BTreeMap<&'a str, Vec<&'a Class>>,
}

impl<'a> KnownClasses<'a> {
    /// Returns the class of that name. If there are several, returns the first in the file of `beside`; `None` if there is none.
    fn find(&self, name: &str, beside: &Class) -> Option<&'a Class> {
        let found = self.by_name.get(name)?;
        let file = |class: &Class| class.fields.first().map(|field| field.at.file.clone());
        match found.as_slice() {
            [one] => Some(*one),
            several => several.iter().find(|class| file(class) == file(beside)).copied(),
        }
    }

    fn bases(&self, class: &Class) -> Vec<&'a Class> {
        let known = class.bases.iter().filter(|base| **base != class.name);
        known.filter_map(|base| self.find(base, class)).collect()
    }

    fn is_settings(&self, class: &Class, depth: usize) -> bool {
        class.bases.iter().any(|base| base == "BaseSettings")
            || (depth > 0 && self.bases(class).iter().any(|base| self.is_settings(base, depth - 1)))
    }

    /// Returns the configuration of the class. Each key is inherited from the first base that has it.
    fn config(&self, class: &Class, depth: usize) -> ClassConfig {
        let mut config = class.config.clone();
        if depth > 0 {
            for base in self.bases(class) {
                let inherited = self.config(base, depth - 1);
                config.prefix = config.prefix.or(inherited.prefix);
                config.case_sensitive = config.case_sensitive.or(inherited.case_sensitive);
                config.nested_delimiter = config.nested_delimiter.or(inherited.nested_delimiter);
            }
        }
        config
    }

    /// Returns the class's own fields, then those of its bases that it does not override.
    fn fields(&self, class: &'a Class, depth: usize) -> Vec<&'a SettingsField> {
        let mut fields: Vec<&SettingsField> = class.fields.iter().collect();
        if depth > 0 {
            for base in self.bases(class) {
                for field in self.fields(base, depth - 1) {
                    if !fields.iter().any(|own| own.name == field.name) {
                        fields.push(field);
                    }
                }
            }
        }
        fields
    }

    fn read(
        &self,
        field: &SettingsField,
        prefix: &str,
        config: &ClassConfig,
        depth: usize,
        found: &mut dyn FnMut(VariableRead),
    ) {
        let written = |name: &str| {
            if config.case_sensitive == Some(true) { name.to_string() } else { name.to_uppercase() }
        };
        let beside = Class { fields: vec![field.clone()], ..Class::default() };
        let nested = field.types.iter().find_map(|name| self.find(name, &beside));
        if let Some(nested) = nested {
            // A nested settings class reads variables under its own names.
            let delimiter = config.nested_delimiter.as_deref().filter(|_| !self.is_settings(nested, DEPTH));
            if let (Some(delimiter), 1..) = (delimiter, depth) {
                let prefix = format!("{prefix}{}{delimiter}", field.name);
                for inner in self.fields(nested, depth - 1) {
                    let inner = SettingsField { required: inner.required && field.required, ..inner.clone() };
                    self.read(&inner, &prefix, config, depth - 1, found);
                }
            }
            return;
        }
        let mut names = field.aliases.iter().map(|name| written(name));
        found(VariableRead {
            name: names.next().unwrap_or_else(|| written(&format!("{prefix}{}", field.name))),
            aliases: names.collect(),
            at: field.at.clone(),
            by: ReadConstruct::Settings,
            required: field.required,
            default: field.default.clone(),
            min_length: field.min_length,
            refused: field.refused.clone(),
            list: field.list,
        });
    }
}
