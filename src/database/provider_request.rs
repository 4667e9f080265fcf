//! The parameters that every provider is made from.

use super::names;
use super::variables::Variables;
use crate::plan::{Section, Sections};
use crate::worktree::Worktree;

/// The choice that the configuration of a worktree makes, with everything that a provider needs to read.
pub struct ProviderRequest<'a> {
    /// The name of the provider. `None` if devrun chooses it.
    pub provider: Option<&'a str>,
    /// The settings of the providers.
    pub settings: &'a Sections,
    /// The database to copy, if the configuration names one.
    pub parent: Option<&'a str>,
    /// The name of the default branch's own database, if there is a default branch.
    pub default: Option<&'a str>,
    /// True if the name of the worktree's database contains variables, so that the user did not choose it literally.
    pub name_is_computed: bool,
    /// True if the user allows to work in a database that other work depends on.
    pub allow_parent: bool,
    pub worktree: &'a Worktree,
    /// The variables of the worktree.
    pub variables: &'a dyn Variables,
}

impl ProviderRequest<'_> {
    /// Returns the settings of the provider `name`.
    pub(super) fn section(&self, name: &str) -> Section {
        self.settings.get(name).cloned().unwrap_or_default()
    }

    /// Returns the names of databases that devrun never resets or deletes, with the reason.
    pub(super) fn kept(&self) -> Vec<(String, &'static str)> {
        let default = self.default.map(|name| (names::safe(name), "the default branch's database"));
        let parent = self.parent.map(|name| (names::safe(name), "the database that others are copied from"));
        default.into_iter().chain(parent).collect()
    }
}
