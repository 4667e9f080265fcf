//! Chooses the provider that a configuration asks for, and gives access to the servers and programs of the local provider without a
//! configuration.
//!
//! Outside the providers' own files, only this one and `config::keys::providers` list the providers. A new provider is a module of this
//! one. It needs its name in `NAMES` and [`choose`], and the keys of its section in `config::keys`.

mod command;
mod docker;
mod records;
mod swap;
mod url;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use self::command::CommandProvider;
use self::docker::DockerProvider;
use self::url::UrlProvider;
use super::Provider;
pub use super::local::AbandonedCluster;
use super::local::{self, Local, LocalProvider};
use super::neon::{self, NeonProvider};
use super::provider_request::ProviderRequest;
use crate::context::{Context, Dirs};
use crate::error::Report;
use crate::worktree::Worktree;

/// The names of all providers.
#[cfg(test)]
pub const NAMES: [&str; 5] = ["local", "neon", "url", "docker", "command"];

/// Returns the provider that `request` asks for. Creates and starts nothing, and sends no request. Errors if a setting
/// is missing or refused.
pub fn choose(ctx: &Context, request: &ProviderRequest<'_>) -> Result<Rc<dyn Provider>, Report> {
    let local = || Ok::<_, Report>(Rc::new(LocalProvider::configured(ctx, request)?));
    match request.provider {
        Some("local") => Ok(local()?),
        Some("neon") | None => match neon::chosen(ctx, request)? {
            Some(neon) => Ok(Rc::new(NeonProvider::new(ctx, neon, request.provider.is_none()))),
            // Happens only if devrun chooses.
            None => Ok(local()?),
        },
        Some("docker") => Ok(Rc::new(DockerProvider::configured(ctx, request)?)),
        Some("command") => Ok(Rc::new(CommandProvider::configured(ctx, request)?)),
        Some("url") => Ok(Rc::new(UrlProvider::configured(ctx, request)?)),
        Some(other) => Err(Report::bug(format!("there is no provider {other}"))),
    }
}

/// Returns the Postgres server that a new local cluster can use without a download, on PATH or in the folder of a package.
pub fn installed_server(ctx: &Context) -> Option<PathBuf> {
    ctx.which("postgres").or_else(|| local::installed_program("postgres"))
}

/// Returns the package with a Postgres server that devrun would download on this platform.
pub fn downloadable_server() -> Option<String> {
    local::downloadable_server()
}

/// Stops the servers for the repository of `worktree` that no devrun uses. Needs no configuration.
pub fn stop_unused(ctx: &Context, worktree: &Worktree) -> Result<(), Report> {
    LocalProvider::unconfigured(ctx, worktree).stop_unused()
}

/// Stops the servers of this user whose repository no longer exists and that no devrun uses. Returns the repositories.
pub fn stop_abandoned(ctx: &Context) -> Vec<String> {
    Local::stop_abandoned(ctx)
}

/// Returns the clusters of this user whose repository no longer exists where they remember it. Starts and stops nothing.
pub fn abandoned(ctx: &Context) -> Vec<AbandonedCluster> {
    Local::abandoned(ctx)
}

/// Returns the id of the repository with the shared folder `shared`, if it has one. Its cluster has the same id.
pub fn repository_id(shared: &Path) -> Option<String> {
    Local::repository_id(shared)
}

/// Stops the server of `cluster` and deletes its databases. Returns false if a devrun uses it, or if its repository is
/// there again.
pub fn remove_abandoned(cluster: &AbandonedCluster) -> Result<bool, Report> {
    Local::remove_abandoned(cluster)
}

/// Releases a claim that a provider has entrusted, and stops the server in `folder` if this was the last claim. Needs no
/// runtime and takes a limited time.
pub fn stop_if_last(claim: OwnedFd, folder: &Path) {
    local::stop_if_last(claim, folder);
}

/// Returns the folders that may contain servers which several runs share.
pub fn server_folders(dirs: &Dirs) -> [PathBuf; 2] {
    local::cluster_folders(dirs)
}

/// The client programs that devrun can download.
pub const CLIENT_PROGRAMS: [&str; 11] = [
    "createdb",
    "createuser",
    "dropdb",
    "dropuser",
    "pg_dump",
    "pg_dumpall",
    "pg_isready",
    "pg_restore",
    "pgbench",
    "psql",
    "vacuumdb",
];

/// Returns the path of a client program as [`client_program`] does, but programs that dump or restore only from PATH. Downloads the program
/// if there is none. The error is the reason in words.
pub async fn fetch_client_program(ctx: &Context, worktree: &Worktree, name: &str) -> Result<PathBuf, String> {
    LocalProvider::unconfigured(ctx, worktree).fetch_program(name).await
}

/// Returns the path of a client program such as `psql`: the one on PATH, or else one that came with a server. `None` if
/// there is none.
pub fn client_program(ctx: &Context, worktree: &Worktree, name: &str) -> Option<PathBuf> {
    LocalProvider::unconfigured(ctx, worktree).program(name)
}
