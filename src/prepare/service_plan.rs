//! Completes the services of a plan: the folders of their data, and the ports of servers that worktrees share.

use std::collections::BTreeSet;

use crate::config::{Config, Scope};
use crate::context::variables;
use crate::plan::{Computed, Origin, Plan, PlannedService};
use crate::services::{data, shared_redis};

/// Returns the ports of the shared servers on this machine.
pub(super) fn shared_ports(config: &Config, scope: &Scope) -> BTreeSet<u16> {
    let shared = config.services.iter().filter_map(|service| service.shared.as_ref());
    shared.filter_map(|shared| shared_redis::local_port(&shared.url.render(scope).ok()?)).collect()
}

/// Adds the folders of data to the plan, for the plan itself and in the environment of each service.
pub(super) fn add_folders(plan: &mut Plan) {
    let state = plan.worktree.state.clone();
    for process in &mut plan.processes {
        let Some(PlannedService { data: Some(_), folder, .. }) = &mut process.service else { continue };
        let found = data::folder(&state, &process.name);
        process.env.insert(variables::DATA.into(), found.to_string_lossy().into_owned());
        process.origins.insert(variables::DATA.into(), Origin::Computed(Computed::Service));
        *folder = Some(found);
    }
}
