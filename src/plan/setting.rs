//! The settings of database providers, as values that `config` reads and `database` interprets.

use std::collections::BTreeMap;
use std::time::Duration;

use super::RunCommand;

/// The value of one key in the section of a provider, with its variables replaced.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// A text that is not empty.
    Text(String),
    /// On or off.
    Flag(bool),
    /// A duration.
    Time(Duration),
    /// The least and the most of something.
    Range(f64, f64),
    /// A command of the user.
    Run(RunCommand),
}

/// The settings of one provider, by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section(BTreeMap<&'static str, Setting>);

impl Section {
    /// Returns the text of `key`.
    pub fn text(&self, key: &str) -> Option<String> {
        match self.0.get(key)? {
            Setting::Text(text) => Some(text.clone()),
            Setting::Flag(_) | Setting::Time(_) | Setting::Range(..) | Setting::Run(_) => None,
        }
    }

    /// Returns whether `key` is on or off.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.0.get(key)? {
            Setting::Flag(flag) => Some(*flag),
            Setting::Text(_) | Setting::Time(_) | Setting::Range(..) | Setting::Run(_) => None,
        }
    }

    /// Returns the duration of `key`.
    pub fn time(&self, key: &str) -> Option<Duration> {
        match self.0.get(key)? {
            Setting::Time(time) => Some(*time),
            Setting::Text(_) | Setting::Flag(_) | Setting::Range(..) | Setting::Run(_) => None,
        }
    }

    /// Returns the least and the most of `key`.
    pub fn range(&self, key: &str) -> Option<(f64, f64)> {
        match self.0.get(key)? {
            Setting::Range(least, most) => Some((*least, *most)),
            Setting::Text(_) | Setting::Flag(_) | Setting::Time(_) | Setting::Run(_) => None,
        }
    }

    /// Returns the command of `key`.
    pub fn run(&self, key: &str) -> Option<RunCommand> {
        match self.0.get(key)? {
            Setting::Run(run) => Some(run.clone()),
            Setting::Text(_) | Setting::Flag(_) | Setting::Time(_) | Setting::Range(..) => None,
        }
    }
}

impl FromIterator<(&'static str, Setting)> for Section {
    fn from_iter<T: IntoIterator<Item = (&'static str, Setting)>>(settings: T) -> Section {
        Section(settings.into_iter().collect())
    }
}

/// The sections that count for the chosen provider, by its name.
pub type Sections = BTreeMap<&'static str, Section>;
