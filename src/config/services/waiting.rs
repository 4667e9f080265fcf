//! Decides which processes wait for a service.

use std::collections::BTreeSet;

use crate::config::model::ServiceConfig;
use crate::config::process::{Dependency, UncheckedProcess};

/// Makes processes wait for the servers among `services`. If a process names a server in `depends_on`, only the processes that name
/// it wait. Otherwise every process except the servers waits, if the server has `autostart`.
pub(super) fn wait(services: &[ServiceConfig], processes: &mut [UncheckedProcess]) {
    let named: BTreeSet<String> = processes
        .iter()
        .flat_map(|draft| draft.depends_on.iter().map(|dependency| dependency.name.clone()))
        .collect();
    let servers: Vec<&ServiceConfig> = services.iter().filter(|service| service.is_server()).collect();
    let wanted = |service: &&&ServiceConfig| service.autostart && !named.contains(&service.name);
    let dependencies: Vec<Dependency> = servers
        .iter()
        .filter(wanted)
        .map(|service| Dependency { name: service.name.clone(), condition: None, at: service.at.clone() })
        .collect();
    for draft in processes {
        if servers.iter().all(|service| service.name != draft.process.name) {
            draft.depends_on.extend(dependencies.iter().cloned());
        }
    }
}
