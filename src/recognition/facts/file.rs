//! The facts of one file, as they are kept between runs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::settings::Class;
use super::{Command, Facts, FixedAddress, Given, Load, Module, Read, Service, Spot, TenantUrl};

/// Everything that one file states.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileFacts {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reads: Vec<Read>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<Given>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commands: Vec<Command>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<Module>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) services: Vec<Service>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) addresses: Vec<FixedAddress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) loads: Vec<Load>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tenants: Vec<TenantUrl>,
    /// Classes that become variables once their bases in other files are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) classes: Vec<Class>,
    /// Parts of the file that could not be read, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) limits: Vec<String>,
}

impl FileFacts {
    /// True when the file states nothing.
    pub(super) fn is_empty(&self) -> bool {
        *self == FileFacts::default()
    }

    /// Adds these facts to those of the worktree; the classes are returned, because they wait for the other files.
    pub(super) fn add_to(self, facts: &mut Facts) -> Vec<Class> {
        facts.reads.extend(self.reads);
        facts.values.extend(self.values);
        facts.commands.extend(self.commands);
        facts.modules.extend(self.module);
        facts.services.extend(self.services);
        facts.addresses.extend(self.addresses);
        facts.loads.extend(self.loads);
        facts.tenants.extend(self.tenants);
        facts.limits.extend(self.limits);
        self.classes
    }
}

/// The place of a line of `file`; `row` counts from 0.
pub(super) fn spot(file: &Path, row: usize) -> Spot {
    Spot { file: file.into(), line: u32::try_from(row).unwrap_or(u32::MAX - 1) + 1 }
}
