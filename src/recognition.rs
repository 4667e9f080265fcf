//! Reads a repository and writes a devrun.yaml for it.
//!
//! Works in steps: `facts` reads the files, `parts` finds the processes, `contract` binds each variable that leads to
//! the shared copy of the product to this worktree's ports and database, and `yaml` writes the result. If there are no
//! processes, `proposal` writes a text to start from. The result is
//! configuration text, so `devrun init` shows exactly what runs. Reads files, and never executes anything from the
//! repository.

pub mod contract;
pub mod facts;
pub mod parts;
pub mod proposal;
pub mod yaml;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::presets::is_downloadable;
use crate::config::{Recognised, node_bin};
use crate::plan::{self, Notice, RedirectedCode, RepositoryNotice};
use contract::{Binding, Contract, Reason, Remark, RemarkKind};
use facts::{Facts, FileLine};
use parts::{Framework, PartKind, Parts};

/// The folders and the PATH that recognition works with.
#[derive(Clone, Debug)]
pub struct RecognitionPaths {
    /// Top of the worktree.
    pub root: PathBuf,
    /// The main worktree; its env files are read where this worktree has none.
    pub main_root: Option<PathBuf>,
    /// The worktree's state folder, which keeps facts of unchanged files between runs.
    pub state: Option<PathBuf>,
    /// PATH, to find servers such as Redis that devrun can run beside the product.
    pub path: Option<OsString>,
}

/// The result of each step.
#[derive(Clone, Debug, Default)]
pub struct Recognition {
    /// Facts that the files state.
    pub facts: Facts,
    /// The processes.
    pub parts: Parts,
    /// The variables.
    pub contract: Contract,
}

/// Reads the worktree, and derives its parts and their variables.
pub fn find(place: &RecognitionPaths) -> Recognition {
    let facts = facts::read(&place.root, place.main_root.as_deref(), place.state.as_deref());
    let path = place.path.as_deref();
    let is_installed = |program: &str| node_bin::is_on_path(program, path);
    let available = |program: &str| {
        is_installed(program)
            || (is_downloadable(program) && node_bin::DOWNLOADERS.into_iter().any(is_installed))
    };
    let mut parts = parts::find(&place.root, &facts, &available);
    let source = |file: &Path| parts::tree::text_inside(&place.root, file);
    let mut contract = contract::bind(&facts, &parts, &source);
    contract.bindings.extend(usual_address(&facts, &parts, &contract));
    if let Some(other) = &contract.other_database {
        parts.without_postgres(other);
    }
    Recognition { facts, parts, contract }
}

/// Recognises the worktree and returns the result as configuration text.
pub fn recognise(place: &RecognitionPaths) -> Recognised {
    let Recognition { facts, parts, contract } = find(place);
    Recognised {
        yaml: yaml::text(&parts, &contract, &facts.tenants),
        remarks: remarks(&parts),
        notices: notices(&parts, &contract),
        searched: searched(&parts),
        bindings: contract.bindings.into_iter().map(bound).collect(),
    }
}

/// Returns the text of a devrun.yaml to start from, for a worktree in which [`recognise`] found no process.
pub fn propose(place: &RecognitionPaths) -> String {
    let facts = facts::read(&place.root, place.main_root.as_deref(), place.state.as_deref());
    proposal::propose(&parts::tree::Tree::new(&place.root, &facts))
}

/// Returns the facts of a binding without its value, which the configuration text has.
fn bound(binding: Binding) -> plan::BoundVariable {
    let Binding { name, process, value: _, reason, at, read_at } = binding;
    plan::BoundVariable { name, process, reason, source: Some(at), read: read_at }
}

/// Returns a binding of `NEXT_PUBLIC_API_URL` to the backend, for a Next.js frontend in a repository that does not say
/// how the frontend finds the backend. `None` if any file or code names the variable or another rule covers the
/// address.
fn usual_address(facts: &Facts, parts: &Parts, contract: &Contract) -> Option<Binding> {
    const NAME: &str = "NEXT_PUBLIC_API_URL";
    let is_read = facts.reads.iter().any(|read| read.name == NAME);
    let is_given = facts.values.iter().any(|given| given.name == NAME);
    let next = parts.processes.iter().find(|part| part.framework == Framework::NextJs)?;
    let backend = parts.processes.iter().find(|part| part.kind == PartKind::Backend)?;
    let address = format!("${{ports.{}}}", backend.name);
    let is_bound = contract.bindings.iter().any(|binding| binding.value.contains(&address));
    let is_redirected = contract.redirects.iter().any(|(_, part, _)| *part == backend.name);
    if is_read || is_given || is_bound || is_redirected {
        return None;
    }
    let at = next.at.clone().unwrap_or(FileLine { file: PathBuf::from("package.json"), line: 1 });
    Some(Binding {
        name: NAME.into(),
        process: None,
        value: format!("http://localhost:{address}"),
        reason: Reason::OwnAddress,
        at,
        read_at: None,
    })
}

fn remarks(parts: &Parts) -> Vec<String> {
    let is_front = |part: &&parts::Part| part.kind == PartKind::Frontend;
    let front = parts.processes.iter().filter(is_front);
    let rest = parts.processes.iter().filter(|part| !is_front(part));
    let mut remarks: Vec<String> = front.chain(rest).map(|part| part.remark.clone()).collect();
    remarks.extend(parts.migrations.iter().map(|migrations| migrations.remark.clone()));
    remarks.dedup();
    remarks
}

fn notices(parts: &Parts, contract: &Contract) -> Vec<RepositoryNotice> {
    let left_out = parts.left_out.iter().map(|left| Notice {
        text: format!("{}:{}: {}", left.at.file.display(), left.at.line, left.why),
        fix: Some(left.lines.clone()).filter(|lines| !lines.is_empty()),
    });
    let left_out = left_out.map(RepositoryNotice::certain);
    let same = |a: &Remark, b: &Remark| (a.kind, &a.at.file, &a.text) == (b.kind, &b.at.file, &b.text);
    let is_key = |remark: &Remark| matches!(remark.kind, RemarkKind::RequiredKey | RemarkKind::OptionalKey);
    let (keys, others): (Vec<Remark>, Vec<Remark>) = contract.remarks.iter().cloned().partition(is_key);
    let remarks = others.chunk_by(same).map(notice);
    let keys = keys.chunk_by(|a, b| a.kind == b.kind).map(missing);
    left_out.chain(keys).chain(remarks).collect()
}

/// Returns one notice that lists all missing values of one kind that only the user has.
fn missing(remarks: &[Remark]) -> RepositoryNotice {
    let [first, _, ..] = remarks else { return notice(remarks) };
    let effect = match first.kind {
        RemarkKind::RequiredKey => "the code fails without them",
        _ => "the features that read them do not work without them",
    };
    let lines = remarks.iter().filter_map(|Remark { at, fix, .. }| {
        Some(format!("{}  # read at {}:{}", fix.as_ref()?, at.file.display(), at.line))
    });
    RepositoryNotice::certain(Notice {
        text: format!("{} values that only you have are not set; {effect}", remarks.len()),
        fix: Some(lines.collect::<Vec<_>>().join("\n")),
    })
}

/// Returns one notice for remarks that differ only in their lines.
fn notice(remarks: &[Remark]) -> RepositoryNotice {
    let lines: Vec<String> = remarks.iter().map(|remark| remark.at.line.to_string()).collect();
    let fixes: Vec<String> = remarks
        .iter()
        .filter_map(|remark| match (remarks.len(), &remark.fix) {
            (1, fix) => fix.clone(),
            (_, fix) => Some(format!("line {}: {}", remark.at.line, fix.as_ref()?)),
        })
        .collect();
    let Remark { at, text, without_modules, .. } = &remarks[0];
    let at_lines = |text: &str| format!("{}:{}: {text}", at.file.display(), lines.join(","));
    RepositoryNotice {
        notice: Notice {
            text: at_lines(text),
            fix: Some(fixes.join("\n")).filter(|fixes| !fixes.is_empty()),
        },
        redirect: without_modules
            .as_ref()
            .map(|text| RedirectedCode { file: at.file.clone(), without_modules: at_lines(text) }),
    }
}

/// Returns where recognition looked, or why it left parts out, for a repository in which it found no process.
fn searched(parts: &Parts) -> String {
    if parts.left_out.is_empty() {
        return "looked for an application in scripts, Makefile, Dockerfile, compose file and README, for `FastAPI(…)` \
                objects, and for a package.json whose scripts start a known server"
            .into();
    }
    let whys: Vec<String> = parts
        .left_out
        .iter()
        .map(|left| format!("{}:{}: {}", left.at.file.display(), left.at.line, left.why))
        .collect();
    whys.join("; ")
}

#[cfg(test)]
mod tests;
