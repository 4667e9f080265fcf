//! The part whose address a value is.

use super::super::parts::Kind;
use super::address::{Address, is_loopback};
use super::evidence::Evidence;
use super::names::{Side, is_backend_address, is_page_origin, side};

/// The part whose address a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// That part.
    Part(usize),
    /// One of these; neither port nor name decides.
    Several(Vec<usize>),
    /// No part of the repository.
    Other,
}

/// Returns the owner of the address that the variable `name` holds for the part `reader`.
pub(super) fn owner(
    evidence: &Evidence<'_>,
    name: &str,
    reader: Option<usize>,
    address: &Address<'_>,
) -> Owner {
    let parts = &evidence.parts.processes;
    let served = |kind: Kind| evidence.with_port(kind);
    let all = [served(Kind::Backend), served(Kind::Frontend)].concat();
    if !is_loopback(address.host) {
        let named: Vec<usize> = all
            .into_iter()
            .filter(|part| parts[*part].services.iter().any(|name| name == address.host))
            .collect();
        return choose(evidence, name, reader, named);
    }
    let candidates: Vec<usize> = match address.port {
        Some(port) => all.iter().copied().filter(|part| parts[*part].usual_ports.contains(&port)).collect(),
        None => Vec::new(),
    };
    if !candidates.is_empty() {
        return choose(evidence, name, reader, candidates);
    }
    // A port that nothing else in the repository has, under a name that is plain.
    let taken = evidence.facts.services.iter().any(|service| {
        service
            .ports
            .iter()
            .any(|(host, container)| Some(*host) == address.port || Some(*container) == address.port)
    });
    let proxied = address.port.is_none() && !address.is_origin();
    if taken || proxied || address.scheme.is_none() {
        return Owner::Other;
    }
    if is_backend_address(name) {
        choose(evidence, name, reader, served(Kind::Backend))
    } else if is_page_origin(name) {
        choose(evidence, name, reader, served(Kind::Frontend))
    } else {
        Owner::Other
    }
}

/// Returns the only candidate, else the one that the variable's name means.
pub(super) fn choose(
    evidence: &Evidence<'_>,
    name: &str,
    reader: Option<usize>,
    candidates: Vec<usize>,
) -> Owner {
    let parts = &evidence.parts.processes;
    match candidates.as_slice() {
        [] => return Owner::Other,
        [one] => return Owner::Part(*one),
        _ => {}
    }
    let words = super::names::words(name);
    let named = |part: &usize| words.contains(&parts[*part].name.to_uppercase());
    let of_side = |part: &usize| match side(name) {
        Some(Side::Backend) => parts[*part].kind == Kind::Backend,
        Some(Side::Frontend) => parts[*part].kind == Kind::Frontend,
        None => false,
    };
    // A page that names the origin of pages means its own.
    let own =
        |part: &usize| Some(*part) == reader && parts[*part].kind == Kind::Frontend && is_page_origin(name);
    let tests: [&dyn Fn(&usize) -> bool; 3] = [&named, &own, &of_side];
    for test in tests {
        let fit: Vec<usize> = candidates.iter().copied().filter(|part| test(part)).collect();
        if let [one] = fit.as_slice() {
            return Owner::Part(*one);
        }
    }
    Owner::Several(candidates)
}
