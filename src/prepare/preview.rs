//! What a run would be, for verbs that only look: nothing is installed, created or started.

use super::Ground;
use super::branch::{self, Choosing, masked};
use super::ground::{self, Address};
use crate::config::model::Notice;
use crate::context::Context;
use crate::database::local::Local;
use crate::database::neon::Neon;
use crate::error::Report;
use crate::plan::{Database, DatabaseOrigin, Plan};

/// A plan as far as it can be told now.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The plan; without the database's URL when it has none yet.
    pub plan: Plan,
    /// Where the configuration came from, in one line.
    pub source: String,
    /// The database's URL leads to a local server that does not run now.
    pub server_is_down: bool,
    /// What should be looked at one day.
    pub warnings: Vec<String>,
    /// Facts about what was recognised that a person should know.
    pub notices: Vec<Notice>,
}

/// Worktree, configuration and ports, without a run in mind.
pub async fn look(ctx: &Context) -> Result<Ground, Report> {
    let worktree = ground::locate(ctx).await?;
    ground::read(ctx, worktree).await
}

/// The whole plan, as far as it can be told now.
pub async fn preview(ctx: &Context) -> Result<Preview, Report> {
    let mut ground = look(ctx).await?;
    let mut server_is_down = false;
    let (known, shown) = match branch::choose(ctx, &ground)? {
        None => (None, None),
        Some(Choosing { asked, wanted, neon, .. }) => {
            let (provider, urls) = if let Some(request) = &neon {
                let urls = Neon::address(request, &wanted.name)?;
                ("neon", urls.map(|(url, direct)| (url, Some(direct))))
            } else {
                let request = branch::local(&ground, &asked)?;
                let url = Local::address(ctx, &request, &wanted.name)?;
                server_is_down = url.is_some() && !Local::is_running(ctx, &request)?;
                ("local", url.map(|url| (url, None)))
            };
            let shown = Database {
                provider: provider.into(),
                name: wanted.name.clone(),
                origin: DatabaseOrigin::Existing,
                masked_url: urls.as_ref().map_or_else(|| "not created yet".into(), |(url, _)| masked(url)),
            };
            (urls.map(|(url, direct)| (wanted.name, url, direct)), Some(shown))
        }
    };
    if shown.is_some() && known.is_none() {
        ground.scope = ground.scope.with_database_to_come();
    }
    let address =
        known.as_ref().map(|(name, url, unpooled)| Address { name, url, unpooled: unpooled.as_deref() });
    let plan = ground.planned(ctx, address, shown)?;
    let provenance = &ground.config.provenance;
    Ok(Preview {
        plan,
        source: provenance.summary(),
        server_is_down,
        warnings: provenance.warnings.clone(),
        notices: provenance.notices.clone(),
    })
}
