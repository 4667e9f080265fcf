//! Finds the names that a completion offers: of the running stack, else of the configuration, and of git.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap_complete::PathCompleter;
use clap_complete::engine::{CompletionCandidate, ValueCompleter};

use crate::cli::{help, running};
use crate::context::{Context, Dirs};
use crate::control::client::Client;
use crate::event::Events;
use crate::prepare;
use crate::text::harmless;
use crate::worktree;

/// How long a running stack may take to answer. After that, the configuration answers.
const STACK_LIMIT: Duration = Duration::from_millis(300);
/// The most time for all names of one completion.
const LIMIT: Duration = Duration::from_millis(1500);

type Candidates = Vec<CompletionCandidate>;

/// The names of a stack.
#[derive(Default)]
struct StackNames {
    /// Processes, each with its state or its command.
    processes: Vec<(String, String)>,
    /// URLs, by name.
    urls: Vec<(String, String)>,
}

pub(super) fn processes() -> Candidates {
    of_stack(|names| described(names.processes))
}

pub(super) fn logs() -> Candidates {
    let own = [("devrun".to_string(), "what devrun itself did".to_string())];
    of_stack(|names| described(names.processes.into_iter().chain(own)))
}

pub(super) fn urls() -> Candidates {
    of_stack(|names| described(names.urls))
}

/// Offers the verbs and the pages of `devrun help`.
pub(super) fn pages() -> Candidates {
    described(help::words())
}

pub(super) fn branches() -> Candidates {
    found(async |ctx| {
        let own = worktree::locate(ctx).await.ok()?;
        let branches = worktree::branches(ctx, &own).await.ok()?;
        let all = branches.local.into_keys().chain(branches.remote);
        Some(all.map(CompletionCandidate::new).collect())
    })
}

pub(super) fn worktrees() -> Candidates {
    found(async |ctx| {
        let listed = worktree::list(ctx, &ctx.cwd).await.ok()?;
        let linked = listed.into_iter().filter(|one| !one.is_main && !one.is_bare);
        let named = linked.filter_map(|one| {
            let folder = one.path.file_name()?.to_string_lossy().into_owned();
            Some((one.branch.unwrap_or(folder), one.path.to_string_lossy().into_owned()))
        });
        Some(described(named))
    })
}

/// Offers folders as every program does, and also the worktrees if nothing or an absolute path was typed.
pub(super) fn folders(typed: &OsStr) -> Candidates {
    let mut all = PathCompleter::dir().complete(typed);
    let typed = typed.to_string_lossy();
    if typed.is_empty() || typed.starts_with('/') {
        // The value of `-C` is not complete yet, so the worktrees are those of the current folder.
        let listed = found_in(None, async |ctx| {
            let listed = worktree::list(ctx, &ctx.cwd).await.ok()?;
            let others = listed.into_iter().filter(|one| !one.is_bare && one.path != ctx.cwd);
            Some(others.map(|one| CompletionCandidate::new(one.path)).collect())
        });
        all.extend(listed.into_iter().filter(|one| one.get_value().to_string_lossy().starts_with(&*typed)));
    }
    all
}

fn described(names: impl IntoIterator<Item = (String, String)>) -> Candidates {
    let candidate = |(name, about): (String, String)| {
        let about = harmless(&about);
        CompletionCandidate::new(name).help(Some(about).filter(|about| !about.is_empty()).map(Into::into))
    };
    names.into_iter().map(candidate).collect()
}

fn of_stack(choose: impl FnOnce(StackNames) -> Candidates) -> Candidates {
    found(async |ctx| Some(choose(stack_names(ctx).await?)))
}

async fn stack_names(ctx: &Context) -> Option<StackNames> {
    if let Some(names) = running_names(ctx).await {
        return Some(names);
    }
    let own = worktree::locate(ctx).await.ok()?;
    let config = prepare::configuration(ctx, &own).await.ok()?;
    let ports = config.processes.iter().filter_map(|process| process.port.as_ref().filter(|port| port.asked));
    let mut urls: BTreeMap<String, String> =
        config.urls.iter().map(|(name, _)| (name.clone(), String::new())).collect();
    for port in ports {
        if !urls.keys().any(|known| known.eq_ignore_ascii_case(&port.name)) {
            urls.insert(port.name.clone(), String::new());
        }
    }
    let processes = config.processes.iter().map(|process| (process.name.clone(), process.run.to_string()));
    Some(StackNames { processes: processes.collect(), urls: urls.into_iter().collect() })
}

/// Returns the names of the running stack, because its configuration may have changed since it started.
async fn running_names(ctx: &Context) -> Option<StackNames> {
    let stack = running::find_within(ctx, STACK_LIMIT).await.ok()?;
    let socket = stack.record.as_ref()?.socket.as_deref()?;
    let status = Client::new(socket).known_within(STACK_LIMIT).await.ok()?;
    let urls =
        status.urls.iter().map(|(name, url)| (name.clone(), url.as_str().unwrap_or_default().to_string()));
    let processes =
        status.processes.iter().map(|process| (process.name.clone(), process.state.text().to_string()));
    Some(StackNames { processes: processes.collect(), urls: urls.collect() })
}

/// Runs `find` in the folder of the command line, and returns nothing if it fails or takes too long.
fn found(find: impl AsyncFnOnce(&Context) -> Option<Candidates>) -> Candidates {
    found_in(directory(std::env::args_os()), find)
}

fn found_in(
    directory: Option<PathBuf>,
    find: impl AsyncFnOnce(&Context) -> Option<Candidates>,
) -> Candidates {
    let Some(ctx) = context(directory) else { return Vec::new() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let local = tokio::task::LocalSet::new();
    let candidates = local.block_on(&runtime, within(find(&ctx)));
    drop(local);
    runtime.shutdown_background();
    candidates
}

async fn within(find: impl Future<Output = Option<Candidates>>) -> Candidates {
    tokio::time::timeout(LIMIT, find).await.ok().flatten().unwrap_or_default()
}

fn context(directory: Option<PathBuf>) -> Option<Context> {
    let env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    let mut cwd = std::env::current_dir().ok()?;
    cwd.extend(directory);
    let dirs = Dirs::from_env(&env);
    Some(Context { cwd, dirs, events: Events::discarded(), started: Instant::now(), colour: false, env })
}

/// Returns the folder that `-C` names in a command line.
fn directory(words: impl IntoIterator<Item = OsString>) -> Option<PathBuf> {
    let mut words = words.into_iter().skip_while(|word| word != "--").skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            // The rest belongs to a command that devrun runs.
            Some("--") => return None,
            Some("-C") => return words.next().map(PathBuf::from),
            Some(text) => {
                if let Some(folder) = text.strip_prefix("-C") {
                    return Some(Path::new(folder).into());
                }
            }
            None => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_folder_of_the_command_line() {
        for (line, expected) in [
            ("devrun -- devrun -C /x why", Some("/x")),
            ("devrun -- devrun why -Cy", Some("y")),
            ("devrun -- devrun exec -- make -C z", None),
            ("devrun -- devrun", None),
        ] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(directory(words).as_deref(), expected.map(Path::new), "{line}");
        }
    }
}
