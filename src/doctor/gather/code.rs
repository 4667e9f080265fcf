//! Gathers the facts that recognition reads from the code, and the packages of logins that manifests name.

use std::path::Path;

use super::off_thread;
use crate::context::Context;
use crate::doctor::facts::CodeFacts;
use crate::os::read::{self, Limit};
use crate::plan::FileLine;
use crate::prepare::recognition_paths;
use crate::recognition::contract::{Binding, Contract, Reason, Remark, RemarkKind};
use crate::recognition::facts::Facts;
use crate::recognition::{self, Recognition};
use crate::worktree::Worktree;

/// Packages that keep a login in a cookie.
const LOGINS: [&str; 8] = [
    "next-auth",
    "better-auth",
    "iron-session",
    "@clerk/nextjs",
    "@auth0/nextjs-auth0",
    "@supabase/ssr",
    "express-session",
    "starsessions",
];
/// Names of manifests.
const MANIFESTS: [&str; 3] = ["package.json", "pyproject.toml", "requirements.txt"];
/// The most manifests that are read.
const MOST: usize = 50;

pub(super) async fn gather(ctx: &Context, own: &Worktree) -> Result<CodeFacts, String> {
    let paths = recognition_paths(ctx, own);
    let root = own.path.clone();
    off_thread(move || {
        let Recognition { facts, parts, contract } = recognition::find(&paths);
        let ports = parts
            .processes
            .iter()
            .flat_map(|part| part.usual_ports.iter().map(|port| (*port, part.name.clone())));
        CodeFacts {
            usual_ports: ports.collect(),
            logins: logins(&root, &facts),
            remarks: remarks(&root, contract),
            limits: facts.limits,
        }
    })
    .await
}

/// Returns the remarks, without those on an address in a file that also reads a variable which gets this worktree's address: the
/// address in the code is then only the default.
fn remarks(root: &Path, contract: Contract) -> Vec<Remark> {
    let own = |binding: &&Binding| binding.reason == Reason::OwnAddress;
    let names: Vec<&str> =
        contract.bindings.iter().filter(own).map(|binding| binding.name.as_str()).collect();
    let is_default = |remark: &Remark| {
        let is_address = matches!(remark.kind, RemarkKind::FixedAddress | RemarkKind::Redirected);
        let text = || read::text(&root.join(&remark.at.file), Limit::SMALL).unwrap_or_default();
        is_address && !names.is_empty() && mentions(&text(), &names)
    };
    contract.remarks.into_iter().filter(|remark| !is_default(remark)).collect()
}

/// Returns true if `text` contains one of `names` as a whole word.
fn mentions(text: &str, names: &[&str]) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.split(|c| !is_part(c)).any(|word| names.contains(&word))
}

/// Returns the first line of each manifest that names one of the packages.
fn logins(root: &Path, facts: &Facts) -> Vec<(String, FileLine)> {
    let is_manifest = |file: &&std::path::PathBuf| {
        file.file_name().is_some_and(|name| MANIFESTS.iter().any(|manifest| name == *manifest))
    };
    let manifests = facts.files.iter().filter(is_manifest).take(MOST);
    manifests.filter_map(|file| login(file, &read::text(&root.join(file), Limit::SMALL).ok()?)).collect()
}

fn login(file: &Path, text: &str) -> Option<(String, FileLine)> {
    text.lines().zip(1..).find_map(|(line, number)| {
        let name = LOGINS.iter().find(|name| names(line, name))?;
        Some(((*name).into(), FileLine { file: file.into(), line: number }))
    })
}

/// Returns true if a line of a manifest names exactly this package: at its start or after a quote. Extras and a version may follow.
fn names(line: &str, package: &str) -> bool {
    let line = line.trim_start();
    line.match_indices(package).any(|(at, _)| {
        let (before, rest) = (&line[..at], &line[at + package.len()..]);
        let is_begin = before.is_empty() || before.ends_with(['"', '\'']);
        is_begin && !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '/' | '.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_beside_a_variable_of_devrun_is_a_default() {
        let names = ["NEXT_PUBLIC_APP_URL"];
        assert!(mentions("return Env.NEXT_PUBLIC_APP_URL ?? 'http://localhost:3000'", &names));
        assert!(!mentions("return OLD_NEXT_PUBLIC_APP_URL", &names));
    }

    #[test]
    fn manifests_name_packages_of_logins() {
        let found = |text: &str| login(Path::new("m"), text).map(|(name, at)| (name, at.line));
        assert_eq!(found("{\n  \"next-auth\": \"^5\",\n"), Some(("next-auth".into(), 2)));
        assert_eq!(found("starsessions[redis]>=2\n"), Some(("starsessions".into(), 1)));
        assert_eq!(found("dependencies = [\n  \"starsessions\",\n"), Some(("starsessions".into(), 2)));
        assert_eq!(found("{\"a\": {\"next-auth\": \"5\"}}"), Some(("next-auth".into(), 1)));
        assert_eq!(found("{\n \"next-auth-extra\": \"1\"\n"), None);
    }
}
