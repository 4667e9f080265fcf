//! Gathers the resolved configuration: processes, ports, URLs, variables.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use url::Url;

use crate::config::other_databases;
use crate::context::Context;
use crate::context::this_machine::is_this_machine;
use crate::doctor::facts::{ConfigurationFacts, ConfiguredProcess, LocalAddress};
use crate::error::Report;
use crate::plan::{FileLine, Origin};
use crate::prepare::{self, Preview, ResolvedWorktree};
use crate::worktree::Worktree;

/// Returns the facts, and the worktree that they are about; no worktree if its configuration is refused.
pub(super) async fn gather(ctx: &Context, own: &Worktree) -> (ConfigurationFacts, Option<ResolvedWorktree>) {
    match prepare::preview_without_lease(ctx, own).await {
        Ok(preview) => {
            let (facts, resolved) = facts(ctx, &own.path, preview);
            (facts, Some(resolved))
        }
        Err(report) => (ConfigurationFacts { refusal: Some(report), ..ConfigurationFacts::default() }, None),
    }
}

/// Returns the reason why the branch database of `resolved` cannot be used, and the line that asks for it.
pub(super) async fn unreachable_database(
    ctx: &Context,
    resolved: Option<&ResolvedWorktree>,
) -> Option<(Report, Option<FileLine>)> {
    let resolved = resolved?;
    let report = prepare::unreachable_database(ctx, resolved).await?;
    let at = resolved.config.database.as_ref().map(|database| database.branch.at.spot());
    Some((report, at.filter(|at| resolved.worktree.path.join(&at.file).is_file())))
}

fn facts(ctx: &Context, root: &Path, preview: Preview) -> (ConfigurationFacts, ResolvedWorktree) {
    let Preview { plan, resolved, starts_server, .. } = preview;
    let config = &resolved.config;
    let written = |at: FileLine| Some(at).filter(|at| root.join(&at.file).is_file());
    let env_files =
        config.env_files.iter().chain(config.processes.iter().flat_map(|process| &process.env_files));
    let shared = plan.env.vars.iter().filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?)));
    let mut variables = addresses(shared, &plan.env.origins);
    for process in &plan.processes {
        let own = process.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for one in addresses(own, &process.origins) {
            if !variables.contains(&one) {
                variables.push(one);
            }
        }
    }
    let urls = plan.urls.iter().filter_map(|(name, url)| {
        let written_at = config.urls.iter().find(|(other, _)| other == name);
        address(name, url, written_at.and_then(|(_, template)| written(template.at.spot())))
    });
    let processes = config.processes.iter().map(|process| {
        let run = process.run.to_string();
        ConfiguredProcess {
            package: package(&root.join(&process.directory), &run),
            name: process.name.clone(),
            at: written(process.at.spot()),
            run,
            directory: process.directory.clone(),
        }
    });
    let ports: BTreeMap<String, u16> = plan.ports.clone();
    let facts = ConfigurationFacts {
        refusal: None,
        node: config.dependencies.node.clone(),
        python: config.dependencies.python.clone(),
        has_local_database: starts_server,
        processes: processes.collect(),
        missing_services: prepare::missing_services(ctx, &resolved),
        bases: config.ports.iter().map(|(name, base)| (*base, name.clone())).collect(),
        ports,
        redirects: plan.redirects.keys().copied().collect(),
        urls: urls.collect(),
        variables,
        unreachable_database: None,
        other_databases: config
            .database
            .as_ref()
            .and_then(|database| other_databases::notice(database, &plan.env.elsewhere)),
        foreign: resolved.foreign.clone(),
        env_files: env_files.cloned().collect::<BTreeSet<PathBuf>>(),
        env_out: config.env_out.iter().map(|output| (output.path.clone(), output.at.spot())).collect(),
    };
    (facts, resolved)
}

/// Returns true if the user gave the variable its value. devrun and recognition compute values of this worktree.
fn is_given(origins: &BTreeMap<String, Origin>, name: &str) -> bool {
    matches!(origins.get(name), Some(Origin::File(_) | Origin::Config(_) | Origin::LoginShell))
}

/// Returns the line that sets a variable.
fn line(origins: &BTreeMap<String, Origin>, name: &str) -> Option<FileLine> {
    match origins.get(name)? {
        Origin::File(line) => Some(line.at.clone()),
        Origin::Config(at) => Some(at.clone()),
        Origin::LoginShell | Origin::Recognised | Origin::Computed(_) => None,
    }
}

/// Returns the variables that the user gave a URL on this machine.
fn addresses<'a>(
    vars: impl Iterator<Item = (&'a str, &'a str)>,
    origins: &BTreeMap<String, Origin>,
) -> Vec<LocalAddress> {
    let given = vars.filter(|(name, _)| is_given(origins, name));
    given.filter_map(|(name, value)| address(name, value, line(origins, name))).collect()
}

/// Returns host and port of an HTTP URL on this machine.
fn address(name: &str, value: &str, at: Option<FileLine>) -> Option<LocalAddress> {
    let url = Url::parse(value).ok().filter(|url| matches!(url.scheme(), "http" | "https" | "ws" | "wss"))?;
    let host = url.host_str()?.to_string();
    is_this_machine(&host).then(|| LocalAddress { name: name.into(), host, port: url.port(), at })
}

/// Returns the folder of the package in the first word like `app.main:app`, if it exists in `directory`.
fn package(directory: &Path, run: &str) -> Option<PathBuf> {
    let words = shlex::split(run)?;
    let module = words.iter().find_map(|word| word.split_once(':').map(|(module, _)| module))?;
    let (first, _) = module.split_once('.')?;
    let is_name = !first.is_empty() && first.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (is_name && directory.join(first).is_dir()).then(|| first.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_on_this_machine_count() {
        let found = |value: &str| address("A", value, None).map(|one| (one.host, one.port));
        assert_eq!(found("http://localhost:8000/api"), Some(("localhost".into(), Some(8000))));
        assert_eq!(found("https://demo.localhost"), Some(("demo.localhost".into(), None)));
        assert_eq!(found("postgresql://localhost:5432/x"), None);
        assert_eq!(found("https://example.com:3000"), None);
        assert_eq!(found("8000"), None);
    }

    #[test]
    fn the_package_of_a_module_is_its_first_folder() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("app")).unwrap();
        assert_eq!(package(dir.path(), "uvicorn app.main:app --reload"), Some("app".into()));
        assert_eq!(package(dir.path(), "uvicorn main:app"), None);
        assert_eq!(package(dir.path(), "uvicorn other.main:app"), None);
    }
}
