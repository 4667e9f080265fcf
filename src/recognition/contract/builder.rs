//! Collects bindings part by part, and merges those that are equal for every part.

use std::collections::BTreeMap;

use super::super::facts::FileLine;
use super::super::parts::OtherDatabase;
use super::evidence::{Evidence, View};
use super::{Binding, Contract, Reason, Remark, RemarkKind};

/// The contract while the rules add to it. The first rule that binds a variable for a part wins.
pub(super) struct ContractBuilder<'a> {
    computed: &'a dyn Fn(&str) -> bool,
    bound: BTreeMap<(String, Option<usize>), Bound>,
    remarks: Vec<Remark>,
    pub(super) other_database: Option<OtherDatabase>,
    pub(super) redirects: Vec<(u16, String, FileLine)>,
}

#[derive(Clone)]
struct Bound {
    value: String,
    reason: Reason,
    at: FileLine,
    read_at: Option<FileLine>,
}

impl<'a> ContractBuilder<'a> {
    /// Returns an empty draft. It binds no variable for which `computed` returns true, because devrun sets those for
    /// every process.
    pub(super) fn new(computed: &'a dyn Fn(&str) -> bool) -> ContractBuilder<'a> {
        ContractBuilder {
            computed,
            bound: BTreeMap::new(),
            remarks: Vec::new(),
            other_database: None,
            redirects: Vec::new(),
        }
    }

    /// Binds the variable of the view, unless an earlier rule did. `at` is the line that the value was derived from.
    pub(super) fn bind(&mut self, view: &View<'_>, value: String, reason: Reason, at: &FileLine) {
        if (self.computed)(view.name) {
            return;
        }
        let bound = Bound { value, reason, at: at.clone(), read_at: view.read_at().cloned() };
        self.bound.entry((view.name.to_string(), view.part)).or_insert(bound);
    }

    /// Returns true if the variable has a value for that part, or for every part.
    pub(super) fn has(&self, name: &str, part: Option<usize>) -> bool {
        self.bound.contains_key(&(name.to_string(), part))
            || self.bound.contains_key(&(name.to_string(), None))
    }

    /// Returns true if a rule with that reason bound a variable that the part reads.
    pub(super) fn has_any(&self, reason: Reason, part: Option<usize>) -> bool {
        self.bound.iter().any(|((_, of), bound)| *of == part && bound.reason == reason)
    }

    /// Returns the names and values bound so far with one reason.
    pub(super) fn values(&self, reason: Reason) -> impl Iterator<Item = (&str, &str)> {
        self.bound
            .iter()
            .filter(move |(_, bound)| bound.reason == reason)
            .map(|((name, _), bound)| (name.as_str(), bound.value.as_str()))
    }

    /// Adds a remark unless it is there already.
    pub(super) fn remark(&mut self, kind: RemarkKind, at: &FileLine, text: String, fix: Option<String>) {
        self.add_remark(Remark { at: at.clone(), kind, text, fix, without_modules: None });
    }

    /// Adds `remark` unless it is there already.
    pub(super) fn add_remark(&mut self, remark: Remark) {
        if !self.remarks.contains(&remark) {
            self.remarks.push(remark);
        }
    }

    /// Returns the contract. The bindings of a variable depend on the values that its parts need:
    ///
    /// * All parts need the same value: one binding for every process.
    /// * They need different addresses: one binding for each part.
    /// * They need other different values: one binding for each part. Commands that are no process, such as migrations, get the
    ///   value of the part with the migrations.
    /// * A part keeps its present value: bindings for the other parts only.
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
        self.remarks.sort_by(|a, b| {
            (a.kind, &a.at.file, &a.text, a.at.line).cmp(&(b.kind, &b.at.file, &b.text, b.at.line))
        });
        self.redirects.sort();
        self.redirects.dedup_by_key(|(port, _, _)| *port);
        let is_postgres =
            |binding: &Binding| matches!(binding.reason, Reason::DatabaseUrl | Reason::DatabasePart);
        let other_database = self.other_database.filter(|_| !bindings.iter().any(is_postgres));
        Contract {
            bindings,
            remarks: self.remarks,
            other_database,
            redirects: self.redirects,
            ..Contract::default()
        }
    }
}

fn is_address(bound: &[(Option<usize>, Bound)]) -> bool {
    bound.iter().any(|(_, bound)| matches!(bound.reason, Reason::OwnAddress | Reason::Origins))
}

/// Returns the index of the binding that holds for everything that is not a process.
fn main(bound: &[(Option<usize>, Bound)], evidence: &Evidence<'_>) -> usize {
    let directory = evidence.parts.migrations.as_ref().map(|migrations| &migrations.directory);
    let migrates = bound
        .iter()
        .position(|(part, _)| part.is_some_and(|part| Some(&evidence.part(part).directory) == directory));
    let general = bound.iter().position(|(part, _)| part.is_none());
    general.or(migrates).unwrap_or(0)
}
