//! Prepares the services of a run before packages and database: checks their programs and shared servers, and prepares their data.

use std::time::Duration;

use super::service_programs::{to_download, without_program};
use super::{ResolvedWorktree, tools};
use crate::config::model::{ServiceConfig, SharedBy};
use crate::config::node_bin::DOWNLOADERS;
use crate::context::Context;
use crate::deps::tool::fetch_service_program;
use crate::error::{Code, RERUN, Report};
use crate::os::blocking;
use crate::plan::ServiceData;
use crate::ports;
use crate::services::ServiceError;
use crate::services::data::{self, DataFolder};
use crate::services::shared_redis::{self, SharedRedis};

/// Time limit to prepare the data of one service.
const LIMIT: Duration = Duration::from_mins(5);

/// Checks and prepares the services that the run starts.
pub(super) async fn prepare(ctx: &Context, resolved: &ResolvedWorktree) -> Result<(), Report> {
    for service in &resolved.config.services {
        if service.shared.is_some() {
            shared_redis::check(&shared(resolved, service)?).await?;
        } else if is_started(resolved, &service.name) {
            provide_program(ctx, resolved, service).await?;
            if let Some(folder) = data_folder(resolved, service) {
                prepare_data(ctx, resolved, service, folder).await?;
            }
        }
    }
    Ok(())
}

/// Returns true if the process starts at all: by itself, or because a process that starts depends on it.
fn is_started(resolved: &ResolvedWorktree, name: &str) -> bool {
    let processes = &resolved.config.processes;
    let mut open: Vec<&str> =
        processes.iter().filter(|process| process.autostart).map(|process| process.name.as_str()).collect();
    let mut seen: Vec<&str> = Vec::new();
    while let Some(next) = open.pop() {
        if next == name {
            return true;
        }
        if !seen.contains(&next) {
            seen.push(next);
            let found = processes.iter().find(|process| process.name == next);
            open.extend(
                found.into_iter().flat_map(|process| &process.depends_on).map(|(name, _)| name.as_str()),
            );
        }
    }
    false
}

/// Downloads the program of a service if none is installed, and makes it available to the processes.
async fn provide_program(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    service: &ServiceConfig,
) -> Result<(), Report> {
    if let Some(missing) = missing_program(ctx, resolved, service) {
        return Err(missing.into());
    }
    let path = resolved.scope.variable("PATH");
    let (Some(preset), Some((name, wheel))) = (service.preset, to_download(service, path)) else {
        return Ok(());
    };
    let program = fetch_service_program(ctx, name, wheel, preset.install).await?;
    tools::link_tool(&resolved.worktree.state, name, program.parent())
}

/// Returns an error if no program of a server is installed, and devrun cannot download one.
fn missing_program(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    service: &ServiceConfig,
) -> Option<ServiceError> {
    let path = resolved.scope.variable("PATH");
    let preset = without_program(service, path)?;
    let can_fetch = || DOWNLOADERS.into_iter().any(|name| ctx.which(name).is_some());
    if to_download(service, path).is_some() && can_fetch() {
        return None;
    }
    Some(ServiceError::ProgramMissing {
        at: service.at.to_string(),
        service: service.name.clone(),
        programs: preset.program_names(),
        install: preset.install,
    })
}

/// Returns a report for each service that the run would start and of which there is no program.
pub fn missing_services(ctx: &Context, resolved: &ResolvedWorktree) -> Vec<Report> {
    let started = resolved.config.services.iter().filter(|service| is_started(resolved, &service.name));
    started.filter_map(|service| missing_program(ctx, resolved, service)).map(Report::from).collect()
}

fn shared(resolved: &ResolvedWorktree, service: &ServiceConfig) -> Result<SharedRedis, Report> {
    let Some(shared) = &service.shared else {
        return Err(Report::bug(format!("the service {} is not shared", service.name)));
    };
    Ok(SharedRedis {
        at: shared.at.to_string(),
        service: service.name.clone(),
        url: shared.url.render(&resolved.scope)?,
        slot: (shared.by == SharedBy::Database).then_some(resolved.lease.slot),
    })
}

fn data_folder(resolved: &ResolvedWorktree, service: &ServiceConfig) -> Option<DataFolder> {
    let process = resolved.config.processes.iter().find(|process| process.name == service.name)?;
    let data = process.service.as_ref()?.data?;
    let path = data::folder(&resolved.worktree.state, &service.name);
    let main = data::folder(&resolved.worktree.shared, &service.name);
    let file = service.preset.and_then(|preset| preset.data_file).filter(|_| main != path);
    Some(DataFolder { path, data, copied_from: file.map(|file| (main, file)) })
}

async fn prepare_data(
    ctx: &Context,
    resolved: &ResolvedWorktree,
    service: &ServiceConfig,
    folder: DataFolder,
) -> Result<(), Report> {
    let name = &service.name;
    if let (ServiceData::Copy, Some((from, file))) = (folder.data, &folder.copied_from)
        && !folder.path.join(file).exists()
        && let Some(port) = main_port(ctx, resolved, name)?
        && !data::save(port, from).await
    {
        ctx.events
            .warn(format!("the {name} of the main worktree did not save its data: the copy may be old"));
    }
    let place = folder.path.clone();
    let copied = blocking::run(LIMIT, move || data::prepare(&folder)).await;
    let copied = copied.map_err(|stuck| {
        Report::new(Code::State, format!("the data of {name} cannot be prepared: {stuck}"))
            .with_fix(format!("{}, then {RERUN}", stuck.fix(&place)))
    })?;
    if copied.map_err(ServiceError::from)? {
        ctx.events.note(format!("{name} begins with a copy of the data of the main worktree"));
    }
    Ok(())
}

/// Returns the port that the main worktree leased for its service of the same name.
fn main_port(ctx: &Context, resolved: &ResolvedWorktree, name: &str) -> Result<Option<u16>, Report> {
    let main = resolved.worktree.git.as_ref().and_then(|git| git.main_worktree.as_ref());
    let rows = ports::list(ctx)?;
    let row = rows.iter().find(|row| Some(&row.worktree) == main);
    Ok(row.and_then(|row| row.ports.get(name)).copied())
}
