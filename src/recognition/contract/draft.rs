//! Collects bindings part by part, and merges those that are the same for every part.

use std::collections::BTreeMap;

use super::super::facts::Spot;
use super::evidence::{Evidence, View};
use super::{Binding, Contract, Reason, Remark, RemarkKind};

/// The contract while the rules write it. The first rule that binds a variable for a part decides.
#[derive(Default)]
pub(super) struct Draft {
    bound: BTreeMap<(String, Option<usize>), Bound>,
    remarks: Vec<Remark>,
    pub(super) redirects: Vec<(u16, String, Spot)>,
}

#[derive(Clone)]
struct Bound {
    value: String,
    reason: Reason,
    at: Spot,
    read_at: Option<Spot>,
}

impl Draft {
    /// Binds the variable of the view, if no rule did before. `at` is the line that the value was learnt from.
    pub(super) fn bind(&mut self, view: &View<'_>, value: String, reason: Reason, at: &Spot) {
        let bound = Bound { value, reason, at: at.clone(), read_at: view.read_at().cloned() };
        self.bound.entry((view.name.to_string(), view.part)).or_insert(bound);
    }

    /// True when the variable has a value for that part, or for every part.
    pub(super) fn has(&self, name: &str, part: Option<usize>) -> bool {
        self.bound.contains_key(&(name.to_string(), part))
            || self.bound.contains_key(&(name.to_string(), None))
    }

    /// True when a rule of that reason bound a variable that the part reads.
    pub(super) fn has_any(&self, reason: Reason, part: Option<usize>) -> bool {
        self.bound.iter().any(|((_, of), bound)| *of == part && bound.reason == reason)
    }

    /// Values bound so far by one rule.
    pub(super) fn values(&self, reason: Reason) -> impl Iterator<Item = (&str, &str)> {
        self.bound
            .iter()
            .filter(move |(_, bound)| bound.reason == reason)
            .map(|((name, _), bound)| (name.as_str(), bound.value.as_str()))
    }

    /// Adds a remark, once.
    pub(super) fn remark(&mut self, kind: RemarkKind, at: &Spot, text: String, fix: Option<String>) {
        let remark = Remark { at: at.clone(), kind, text, fix };
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// The contract. A variable has one binding for every process when all parts that read it agree. Where they do not,
    /// each has its own address; of other values, the migration's part decides for everything that is no process. Where a
    /// part keeps the value that it has, only the others are bound.
    pub(super) fn finish(mut self, evidence: &Evidence<'_>, views: &[View<'_>]) -> Contract {
        let mut names: BTreeMap<String, Vec<(Option<usize>, Bound)>> = BTreeMap::new();
        for ((name, part), bound) in self.bound {
            names.entry(name).or_default().push((part, bound));
        }
        let mut bindings = Vec::new();
        for (name, bound) in names {
            let first = main(&bound, evidence);
            let is_bound =
                |part: Option<usize>| bound.iter().any(|(other, _)| *other == part || other.is_none());
            let kept = views.iter().any(|view| {
                let differs =
                    if is_address(&bound) { !view.values.is_empty() } else { view.person().is_some() };
                view.name == name && view.part.is_some() && differs && !is_bound(view.part)
            });
            let conflict = bound.iter().any(|(_, other)| other.value != bound[first].1.value);
            for (part, own) in &bound {
                let differs = kept || (conflict && (is_address(&bound) || own.value != bound[first].1.value));
                let process = part.filter(|_| differs).map(|part| evidence.part(part).name.clone());
                let binding = Binding {
                    name: name.clone(),
                    process,
                    value: own.value.clone(),
                    reason: own.reason,
                    at: own.at.clone(),
                    read_at: own.read_at.clone(),
                };
                if !bindings
                    .iter()
                    .any(|other: &Binding| other.name == name && other.process == binding.process)
                {
                    bindings.push(binding);
                }
            }
        }
        self.remarks.sort_by(|a, b| (a.kind, &a.at, &a.text).cmp(&(b.kind, &b.at, &b.text)));
        self.redirects.sort();
        self.redirects.dedup_by_key(|(port, _, _)| *port);
        Contract { bindings, remarks: self.remarks, redirects: self.redirects }
    }
}

fn is_address(bound: &[(Option<usize>, Bound)]) -> bool {
    bound.iter().any(|(_, bound)| matches!(bound.reason, Reason::OwnAddress | Reason::Origins))
}

/// The index of the binding that holds for everything that is no process.
fn main(bound: &[(Option<usize>, Bound)], evidence: &Evidence<'_>) -> usize {
    let directory = evidence.parts.migrations.as_ref().map(|migrations| &migrations.directory);
    let migrates = bound
        .iter()
        .position(|(part, _)| part.is_some_and(|part| Some(&evidence.part(part).directory) == directory));
    let general = bound.iter().position(|(part, _)| part.is_none());
    general.or(migrates).unwrap_or(0)
}
