//! Reads `database.provider` and the sections of the providers.
//!
//! `keys::providers` names the providers and their keys. This file does not depend on their meaning, except for `parent`.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::error::ConfigError;
use crate::config::interpolate::Template;
use crate::config::key_types::{TableForm, ValueForm};
use crate::config::keys::{AUTO, NONE, PARENT, PROVIDER_WORDS, SECTIONS};
use crate::config::value_tree::{Mapping, Node};
use crate::config::{names, values};
use crate::plan::{RunCommand, Section, Sections, Setting};

/// The provider that the configuration asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderChoice {
    /// devrun chooses it from what it finds.
    Auto,
    /// The provider with this name.
    Named(&'static str),
    /// There is no database.
    None,
}

/// A setting as written.
#[derive(Clone, Debug)]
enum SettingValue {
    Text(Template),
    Word(String),
    Variable(String),
    Flag(bool),
    Time(Duration),
    Range(f64, f64),
    Run(RunCommand),
}

/// The sections as written, by provider and key.
#[derive(Clone, Debug, Default)]
pub struct ProviderSettings(BTreeMap<&'static str, BTreeMap<&'static str, SettingValue>>);

/// Returns the names of all providers. Each is also the name of a section of `database`.
pub fn names() -> impl Iterator<Item = &'static str> {
    SECTIONS.iter().map(|section| section.name)
}

impl ProviderChoice {
    /// Reads the word of `database.provider`. Errors if no provider has this name.
    pub(super) fn read(node: &Node) -> Result<ProviderChoice, ConfigError> {
        match node.word()? {
            AUTO => Ok(ProviderChoice::Auto),
            NONE => Ok(ProviderChoice::None),
            word => names().find(|name| *name == word).map(ProviderChoice::Named).ok_or_else(|| {
                node.error(format!("there is no provider `{word}`"))
                    .with_fix(format!("known: {}", PROVIDER_WORDS.join(", ")))
            }),
        }
    }
}

impl ProviderSettings {
    /// Reads the sections in `database`.
    pub(super) fn read(database: &Mapping<'_>) -> Result<ProviderSettings, ConfigError> {
        let mut sections = BTreeMap::new();
        for key in &SECTIONS {
            let ValueForm::Table(form) = key.form else { continue };
            if let Some(section) = database.map(key.name, |node| section(node, form))? {
                sections.insert(key.name, section);
            }
        }
        Ok(ProviderSettings(sections))
    }

    /// Returns every template in the sections.
    pub(super) fn templates(&self) -> impl Iterator<Item = &Template> {
        self.0.values().flat_map(BTreeMap::values).filter_map(|value| match value {
            SettingValue::Text(template) => Some(template),
            SettingValue::Word(_)
            | SettingValue::Variable(_)
            | SettingValue::Flag(_)
            | SettingValue::Time(_)
            | SettingValue::Range(..)
            | SettingValue::Run(_) => None,
        })
    }

    /// Returns the variables that hold secrets of `provider`.
    pub(super) fn variables(&self, provider: ProviderChoice) -> impl Iterator<Item = &str> {
        let own = self.0.iter().filter(move |(name, _)| provider == ProviderChoice::Named(name));
        own.flat_map(|(_, section)| section.values()).filter_map(|value| match value {
            SettingValue::Variable(name) => Some(name.as_str()),
            SettingValue::Text(_)
            | SettingValue::Word(_)
            | SettingValue::Flag(_)
            | SettingValue::Time(_)
            | SettingValue::Range(..)
            | SettingValue::Run(_) => None,
        })
    }

    /// Returns the sections that count for `provider`: its own one, or all if devrun chooses the provider. `render`
    /// returns the text of a template, or `None` if the setting counts as absent.
    pub(super) fn render(
        &self,
        provider: ProviderChoice,
        render: impl Fn(&Template) -> Result<Option<String>, ConfigError>,
    ) -> Result<Sections, ConfigError> {
        let counts = |name: &str| match provider {
            ProviderChoice::Auto => true,
            ProviderChoice::Named(named) => named == name,
            ProviderChoice::None => false,
        };
        let mut rendered = Sections::new();
        for (name, section) in self.0.iter().filter(|(name, _)| counts(name)) {
            let settings = section.iter().filter_map(|(key, value)| {
                let setting = match value {
                    SettingValue::Text(template) => render(template).transpose()?.map(Setting::Text),
                    SettingValue::Variable(text) | SettingValue::Word(text) => {
                        Ok(Setting::Text(text.clone()))
                    }
                    SettingValue::Flag(flag) => Ok(Setting::Flag(*flag)),
                    SettingValue::Time(time) => Ok(Setting::Time(*time)),
                    SettingValue::Range(least, most) => Ok(Setting::Range(*least, *most)),
                    SettingValue::Run(run) => Ok(Setting::Run(run.clone())),
                };
                Some(setting.map(|setting| (*key, setting)))
            });
            rendered.insert(*name, settings.collect::<Result<Section, _>>()?);
        }
        Ok(rendered)
    }
}

/// Returns the parent that a section names, for a configuration without `database.parent`.
pub(super) fn parent(sections: &Sections) -> Option<String> {
    sections.values().find_map(|section| section.text(PARENT))
}

fn section(
    node: &Node,
    form: &'static TableForm,
) -> Result<BTreeMap<&'static str, SettingValue>, ConfigError> {
    let table = node.table(form)?;
    let mut section = BTreeMap::new();
    for key in form.keys() {
        let value = table.map(key.name, |node| match key.form {
            ValueForm::Word(known) => match node.word()? {
                word if known.contains(&word) => Ok(SettingValue::Word(word.into())),
                word => Err(node
                    .error(format!("there is no value `{word}`"))
                    .with_fix(format!("known: {}", known.join(", ")))),
            },
            ValueForm::Variable => match node.word()? {
                name if names::is_variable_name(name) => Ok(SettingValue::Variable(name.into())),
                _ => Err(node.error("takes the name of an environment variable, never the URL itself")),
            },
            ValueForm::Flag => node.boolean().map(SettingValue::Flag),
            ValueForm::Command => values::run(node).map(SettingValue::Run),
            ValueForm::Duration => values::duration(node).map(SettingValue::Time),
            ValueForm::PositiveDuration => values::positive_duration(node).map(SettingValue::Time),
            ValueForm::ComputeUnits => {
                values::compute_units(node).map(|(least, most)| SettingValue::Range(least, most))
            }
            // A text, with variables.
            _ => values::filled_template(node).map(SettingValue::Text),
        })?;
        section.extend(value.map(|value| (key.name, value)));
    }
    Ok(section)
}
