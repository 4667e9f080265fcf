//! The facts of one file, in the form that is kept between runs.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::settings::Class;
use super::{
    Command, ExposedPort, Facts, FileLine, FixedAddress, FixedDatabase, GivenValue, Load, PythonModule,
    Service, TenantUrl, VariableRead,
};

/// All facts of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileFacts {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) reads: Vec<VariableRead>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) values: Vec<GivenValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) commands: Vec<Command>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) module: Option<PythonModule>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) services: Vec<Service>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) addresses: Vec<FixedAddress>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) databases: Vec<FixedDatabase>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) loads: Vec<Load>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tenants: Vec<TenantUrl>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) exposed: Vec<ExposedPort>,
    /// Values of compose files as they are written, where a variable in them has no default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) composed: Vec<GivenValue>,
    /// Variables of an example whose comment names a command that makes a random value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) made: Vec<String>,
    /// Classes that become variables once their bases in other files are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) classes: Vec<Class>,
    /// Parts of the file that could not be read, one sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) limits: Vec<String>,
}

impl FileFacts {
    /// Returns true if the file has no facts.
    pub(super) fn is_empty(&self) -> bool {
        *self == FileFacts::default()
    }

    /// Adds these facts to those of the worktree. Returns the classes, which can be resolved only together with those
    /// of other files.
    pub(super) fn add_to(self, facts: &mut Facts) -> Vec<Class> {
        facts.reads.extend(self.reads);
        facts.values.extend(self.values);
        facts.commands.extend(self.commands);
        facts.modules.extend(self.module);
        facts.services.extend(self.services);
        facts.addresses.extend(self.addresses);
        facts.databases.extend(self.databases);
        facts.loads.extend(self.loads);
        facts.tenants.extend(self.tenants);
        facts.exposed.extend(self.exposed);
        facts.made.extend(self.made);
        facts.limits.extend(self.limits);
        self.classes
    }
}

/// Returns the place of a line of `file`; `row` counts from 0.
pub(super) fn spot(file: &Path, row: usize) -> FileLine {
    FileLine { file: file.into(), line: u32::try_from(row).unwrap_or(u32::MAX - 1) + 1 }
}
