//! A branch database that exists, as a part of the plan.

use std::rc::Rc;

use crate::database::{BranchDatabase, Provider};
use crate::plan::Database;
use crate::text::shown_url;

/// The address of a branch database.
#[derive(Clone, Copy)]
pub(super) struct DatabaseAddress<'a> {
    pub(super) name: &'a str,
    /// The URL for the application.
    pub(super) url: &'a str,
    /// The URL that bypasses the pooler, if the provider has one.
    pub(super) unpooled: Option<&'a str>,
}

/// A branch database that exists, and its provider.
pub(super) struct ReadyDatabase {
    pub(super) provider: Rc<dyn Provider>,
    pub(super) branch: BranchDatabase,
}

impl ReadyDatabase {
    pub(super) fn address(&self) -> DatabaseAddress<'_> {
        let BranchDatabase { name, url, direct_url, .. } = &self.branch;
        let unpooled = self.provider.has_pooler().then_some(direct_url.as_str());
        DatabaseAddress { name, url, unpooled }
    }

    /// Returns the database as shown to the user, with its password masked.
    pub(super) fn shown(&self) -> Database {
        Database {
            provider: self.provider.name().into(),
            name: self.branch.name.clone(),
            origin: self.branch.origin.clone(),
            masked_url: shown_url(&self.branch.url),
        }
    }
}
