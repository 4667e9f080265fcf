//! Decides whether the repository expects a Redis, and makes the service of the worktree.

use super::tree::Tree;
use super::{Framework, LeftOut, Part, PartKind, PartPort};
use crate::config::presets::ServicePreset;
use crate::context::default_ports::REDIS;
use crate::context::this_machine::is_this_machine;
use crate::recognition::facts::{FileLine, Service};

/// Returns the line that shows that Redis is expected: a compose service, else a value with a local address, else a
/// default in code.
pub fn expected(tree: &Tree<'_>) -> Option<FileLine> {
    let service = tree.facts.services.iter().find(|service| is_redis(service));
    if let Some(service) = service {
        return service.at.clone();
    }
    let names: Vec<&str> = tree.facts.services.iter().map(|service| service.name.as_str()).collect();
    let is_local = |value: &str| {
        let Some(rest) = value.strip_prefix("redis://") else { return false };
        let host = rest.split(['/', '?']).next().unwrap_or(rest).rsplit('@').next().unwrap_or(rest);
        let host = host.split(':').next().unwrap_or(host);
        is_this_machine(host) || names.contains(&host)
    };
    let value = tree.facts.values.iter().find(|given| is_local(&given.value)).map(|given| given.at.clone());
    value.or_else(|| {
        let default =
            |read: &&crate::recognition::facts::VariableRead| read.default.as_deref().is_some_and(is_local);
        tree.facts.reads.iter().find(default).map(|read| read.at.clone())
    })
}

fn is_redis(service: &Service) -> bool {
    service.image_name().is_some_and(|name| preset().images.contains(&name))
}

/// Returns the preset of the service.
fn preset() -> &'static ServicePreset {
    ServicePreset::redis()
}

/// Returns the service of this worktree's Redis, whose preset has the command. Fails if none of its programs is available.
pub fn part(tree: &Tree<'_>, at: &FileLine, available: &dyn Fn(&str) -> bool) -> Result<Part, LeftOut> {
    if !preset().programs.iter().any(|program| available(program.name)) {
        return Err(LeftOut {
            at: at.clone(),
            why: "the repository expects Redis, and neither redis-server nor valkey-server is on PATH: its variables keep \
                  the address of the shared one"
                .into(),
            lines: "# install redis-server or valkey-server; devrun then runs one for this worktree\n".into(),
            candidates: Vec::new(),
        });
    }
    let services = tree.facts.services.iter().filter(|service| is_redis(service));
    Ok(Part {
        name: preset().name.into(),
        kind: PartKind::Service,
        framework: Framework::Other,
        directory: std::path::PathBuf::new(),
        sources: Vec::new(),
        run: String::new(),
        port: preset().ports.first().map_or(PartPort::None, |(_, base)| PartPort::Binds(*base)),
        ready: None,
        usual_ports: vec![REDIS],
        services: services.map(|service| service.name.clone()).collect(),
        at: Some(at.clone()),
        remark: "Redis".into(),
    })
}
