//! Makes the plan of a run for subcommands that only show it. Installs and starts nothing and creates no database, but may lease ports and
//! make secrets.

use super::ResolvedWorktree;
use super::branch_database::{self, ChosenProvider};
use super::ready_database::DatabaseAddress;
use super::resolved_worktree;
use super::services::missing_services;
use crate::context::Context;
use crate::database::{ServerState, Urls};
use crate::error::Report;
use crate::plan::{Database, DatabaseOrigin, Notice, Plan};
use crate::text::shown_url;
use crate::worktree::Worktree;

/// A plan, complete except for values that only a run creates.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The plan; without the database's URL if the database has none yet.
    pub plan: Plan,
    /// The data that the plan was made from.
    pub resolved: ResolvedWorktree,
    /// The origin of the configuration, in one line.
    pub source: String,
    /// True when devrun itself starts the server of the database.
    pub starts_server: bool,
    /// True when the database's URL leads to a local server that is not running.
    pub server_is_down: bool,
    /// Warnings that stop nothing.
    pub warnings: Vec<String>,
    /// Facts about the recognised parts that the user should know.
    pub notices: Vec<Notice>,
}

/// Returns worktree, configuration and ports. Leases ports only if the recorded ones do not suffice. Starts nothing.
pub async fn resolve_without_starting(ctx: &Context) -> Result<ResolvedWorktree, Report> {
    let worktree = resolved_worktree::locate(ctx).await?;
    resolved_worktree::read(ctx, worktree).await
}

/// Returns the plan, complete except for values that only a run creates.
pub async fn preview(ctx: &Context) -> Result<Preview, Report> {
    complete(ctx, resolve_without_starting(ctx).await?)
}

/// Returns the plan for `worktree` as [`preview`] does, but leases no ports: they may be those of another worktree by the time of a run.
pub async fn preview_without_lease(ctx: &Context, worktree: &Worktree) -> Result<Preview, Report> {
    complete(ctx, resolved_worktree::read_without_lease(ctx, worktree.clone()).await?)
}

fn complete(ctx: &Context, mut resolved: ResolvedWorktree) -> Result<Preview, Report> {
    let (mut starts_server, mut server_is_down) = (false, false);
    let (known, shown) = match branch_database::choose(ctx, &resolved, false)? {
        None => (None, None),
        Some(ChosenProvider { provider, wanted }) => {
            let urls = provider.address(&wanted.name)?;
            let server = provider.server();
            starts_server = server.as_ref().is_ok_and(Option::is_some);
            server_is_down = urls.is_some() && server? == Some(ServerState::Stopped);
            let shown = Database {
                provider: provider.name().into(),
                name: wanted.name.clone(),
                origin: DatabaseOrigin::Existing,
                masked_url: urls
                    .as_ref()
                    .map_or_else(|| "not created yet".into(), |urls| shown_url(&urls.url)),
            };
            let unpooled = |urls: &Urls| provider.has_pooler().then(|| urls.direct_url.clone());
            let known = urls.map(|urls| (wanted.name, unpooled(&urls), urls.url));
            (known, Some(shown))
        }
    };
    if shown.is_some() && known.is_none() {
        resolved.scope = resolved.scope.with_database_to_come();
    }
    let address = known.as_ref().map(|(name, unpooled, url)| DatabaseAddress {
        name,
        url,
        unpooled: unpooled.as_deref(),
    });
    let plan = resolved.planned(ctx, address, shown)?;
    let provenance = &resolved.config.provenance;
    let missing = missing_services(ctx, &resolved).into_iter();
    let missing = missing.map(|report| Notice { text: report.message, fix: report.fix });
    let notices = resolved.env_file_notices().into_iter().chain(resolved.notices(&plan)).chain(missing);
    let notices = notices.collect();
    Ok(Preview {
        plan,
        source: provenance.summary(),
        starts_server,
        server_is_down,
        warnings: provenance.warnings.clone(),
        notices,
        resolved,
    })
}
