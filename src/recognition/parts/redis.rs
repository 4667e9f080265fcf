//! Decides whether the repository expects a Redis, and makes the process that serves it.

use super::tree::Tree;
use super::{Framework, LeftOut, Part, PartKind, PartPort};
use crate::recognition::facts::FileLine;

/// Servers that speak Redis's protocol.
const PROGRAMS: &[&str] = &["redis-server", "valkey-server"];
/// The default port of Redis.
const USUAL_PORT: u16 = 6379;
/// Port base of the worktree's Redis.
const BASE: u16 = 6400;
/// Hosts at which a shared Redis of this machine runs.
const LOCAL: &[&str] = &["localhost", "127.0.0.1", "host.docker.internal", "0.0.0.0"];

/// Returns the line that shows that Redis is expected: a compose service, else a value with a local address, else a
/// default in code.
pub fn expected(tree: &Tree<'_>) -> Option<FileLine> {
    let is_redis = |image: &str| {
        let name = image.split([':', '@']).next().unwrap_or(image).rsplit('/').next().unwrap_or(image);
        matches!(name, "redis" | "valkey" | "redis-stack" | "redis-stack-server")
    };
    let service = tree.facts.services.iter().find(|service| service.image.as_deref().is_some_and(is_redis));
    if let Some(service) = service {
        return service.at.clone();
    }
    let names: Vec<&str> = tree.facts.services.iter().map(|service| service.name.as_str()).collect();
    let is_local = |value: &str| {
        let Some(rest) = value.strip_prefix("redis://") else { return false };
        let host = rest.split(['/', '?']).next().unwrap_or(rest).rsplit('@').next().unwrap_or(rest);
        let host = host.split(':').next().unwrap_or(host);
        LOCAL.contains(&host) || names.contains(&host)
    };
    let value = tree.facts.values.iter().find(|given| is_local(&given.value)).map(|given| given.at.clone());
    value.or_else(|| {
        let default =
            |read: &&crate::recognition::facts::VariableRead| read.default.as_deref().is_some_and(is_local);
        tree.facts.reads.iter().find(default).map(|read| read.at.clone())
    })
}

/// Returns the process of this worktree's Redis, which runs the first available program. Fails if none is available.
pub fn part(tree: &Tree<'_>, at: &FileLine, available: &dyn Fn(&str) -> bool) -> Result<Part, LeftOut> {
    let Some(program) = PROGRAMS.iter().find(|program| available(program)) else {
        return Err(LeftOut {
            at: at.clone(),
            why: "the repository expects Redis, and neither redis-server nor valkey-server is on PATH: its variables keep \
                  the address of the shared one"
                .into(),
            lines: "# install redis-server or valkey-server; devrun then runs one for this worktree\n".into(),
            candidates: Vec::new(),
        });
    };
    let services = tree.facts.services.iter().filter(|service| {
        service.image.as_deref().is_some_and(|image| image.contains("redis") || image.contains("valkey"))
    });
    Ok(Part {
        name: "redis".into(),
        kind: PartKind::Service,
        framework: Framework::Other,
        directory: std::path::PathBuf::new(),
        sources: Vec::new(),
        // Writes nothing to the worktree.
        run: format!("{program} --port $PORT --bind 127.0.0.1 --save '' --appendonly no"),
        port: PartPort::Binds(BASE),
        ready: Some("tcp: true".into()),
        usual_ports: vec![USUAL_PORT],
        services: services.map(|service| service.name.clone()).collect(),
        at: Some(at.clone()),
        remark: "Redis".into(),
    })
}
