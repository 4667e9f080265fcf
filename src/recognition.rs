//! Reads what a repository says about itself and writes the devrun.yaml that it would have.
//!
//! Three pure steps follow one reading: `facts` reads files, `parts` finds the processes, and `contract` binds each
//! variable that names the shared copy of the product to this worktree's ports and database. The result is configuration
//! text, so `devrun init` shows exactly what runs. This module reads files and never executes anything from the
//! repository.

pub mod contract;
pub mod facts;
pub mod parts;
pub mod yaml;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::config::Recognised;
use crate::config::model::Notice;
use contract::{Binding, Contract, Reason, RemarkKind};
use facts::{Facts, Spot};
use parts::{Kind, Parts};

/// Where recognition looks.
#[derive(Clone, Debug)]
pub struct Place {
    /// Top of the worktree.
    pub root: PathBuf,
    /// The main worktree, whose env files stand in for missing ones.
    pub main_root: Option<PathBuf>,
    /// The worktree's own state folder, where facts of unchanged files are kept between runs.
    pub state: Option<PathBuf>,
    /// PATH, for the servers that devrun can run beside the product.
    pub path: Option<OsString>,
}

/// The result of each step.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Facts that the files state.
    pub facts: Facts,
    /// The processes.
    pub parts: Parts,
    /// The variables.
    pub contract: Contract,
}

/// Reads the worktree and concludes its parts and their variables.
pub fn find(place: &Place) -> Found {
    let facts = facts::read(&place.root, place.main_root.as_deref(), place.state.as_deref());
    let available = |program: &str| {
        which::which_in_global(program, place.path.as_ref()).is_ok_and(|mut found| found.next().is_some())
    };
    let parts = parts::find(&place.root, &facts, &available);
    let source = |file: &Path| parts::tree::text_inside(&place.root, file);
    let mut contract = contract::bind(&facts, &parts, &source);
    contract.bindings.extend(usual_address(&facts, &parts));
    without_redirects(&mut contract);
    Found { facts, parts, contract }
}

/// Takes out redirections, for which the configuration has no key yet, and says so where the contract promises one.
fn without_redirects(contract: &mut Contract) {
    contract.redirects.clear();
    for remark in contract.remarks.iter_mut().filter(|remark| remark.kind == RemarkKind::Redirected) {
        remark.kind = RemarkKind::FixedAddress;
        remark.text =
            remark.text.replace("connections of Node to it are redirected to", "it does not lead to");
    }
}

/// Returns what the files of the worktree say about how it runs.
pub fn recognise(place: &Place) -> Recognised {
    let Found { facts, parts, contract } = find(place);
    Recognised {
        yaml: yaml::text(&parts, &contract, &facts.tenants),
        remarks: remarks(&parts),
        notices: notices(&parts, &contract),
        searched: searched(&parts),
    }
}

/// `NEXT_PUBLIC_API_URL`, which devrun gives a Next.js frontend beside a backend whose files never mention it. Where a file
/// reads it or gives it a value, the contract has decided, and a value of the user stays.
fn usual_address(facts: &Facts, parts: &Parts) -> Option<Binding> {
    const NAME: &str = "NEXT_PUBLIC_API_URL";
    let is_read = facts.reads.iter().any(|read| read.name == NAME);
    let is_given = facts.values.iter().any(|given| given.name == NAME);
    if is_read || is_given {
        return None;
    }
    let is_next = |part: &&parts::Part| part.kind == Kind::Frontend && part.remark.starts_with("Next.js");
    let next = parts.processes.iter().find(is_next)?;
    let backend = parts.processes.iter().find(|part| part.kind == Kind::Backend)?;
    let at = next.at.clone().unwrap_or(Spot { file: PathBuf::from("package.json"), line: 1 });
    Some(Binding {
        name: NAME.into(),
        process: None,
        value: format!("http://localhost:${{ports.{}}}", backend.name),
        reason: Reason::OwnAddress,
        at,
        read_at: None,
    })
}

fn remarks(parts: &Parts) -> Vec<String> {
    let is_front = |part: &&parts::Part| part.kind == Kind::Frontend;
    let front = parts.processes.iter().filter(is_front);
    let rest = parts.processes.iter().filter(|part| !is_front(part));
    let mut remarks: Vec<String> = front.chain(rest).map(|part| part.remark.clone()).collect();
    remarks.extend(parts.migrations.iter().map(|migrations| migrations.remark.clone()));
    remarks.dedup();
    remarks
}

fn notices(parts: &Parts, contract: &Contract) -> Vec<Notice> {
    let left_out = parts.left_out.iter().map(|left| Notice {
        text: format!("{}:{}: {}", left.at.file.display(), left.at.line, left.why),
        fix: Some(left.lines.clone()),
    });
    let remarks = contract.remarks.iter().map(|remark| Notice {
        text: format!("{}:{}: {}", remark.at.file.display(), remark.at.line, remark.text),
        fix: remark.fix.clone(),
    });
    left_out.chain(remarks).collect()
}

/// Returns where recognition looked, for a repository in which it found no process.
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
