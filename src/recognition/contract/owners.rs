//! Finds the part that an address belongs to.

use super::super::parts::PartKind;
use super::address::Address;
use super::evidence::Evidence;
use super::names::{ProductSide, is_backend_address, is_page_origin, side};
use crate::context::this_machine::is_this_machine;

/// The part that an address belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Part(usize),
    /// One of these parts; neither port nor name decides which.
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
    let served = |kind: PartKind| evidence.with_port(kind);
    let all = [served(PartKind::Backend), served(PartKind::Frontend)].concat();
    if !is_this_machine(address.host) {
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
        let several = match choose(evidence, name, reader, candidates) {
            Owner::Several(several) => several,
            decided => return decided,
        };
        // The port that the repository gives a part takes precedence over a server's default port.
        let first = |part: &&usize| parts[**part].usual_ports.first().copied() == address.port;
        return match several.iter().filter(first).collect::<Vec<_>>()[..] {
            [one] => Owner::Part(*one),
            _ => Owner::Several(several),
        };
    }
    // No other part of the repository uses the port, so a clear name decides.
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
        choose(evidence, name, reader, served(PartKind::Backend))
    } else if is_page_origin(name) {
        choose(evidence, name, reader, served(PartKind::Frontend))
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
        Some(ProductSide::Backend) => parts[*part].kind == PartKind::Backend,
        Some(ProductSide::Frontend) => parts[*part].kind == PartKind::Frontend,
        None => false,
    };
    // In a page, the origin of the pages means that page's own origin.
    let own = |part: &usize| {
        Some(*part) == reader && parts[*part].kind == PartKind::Frontend && is_page_origin(name)
    };
    let tests: [&dyn Fn(&usize) -> bool; 3] = [&named, &own, &of_side];
    for test in tests {
        let fit: Vec<usize> = candidates.iter().copied().filter(|part| test(part)).collect();
        if let [one] = fit.as_slice() {
            return Owner::Part(*one);
        }
    }
    Owner::Several(candidates)
}
