//! Lists the Alembic heads of a worktree from its files, without a database. `migrate::ambiguous_heads` refuses several heads before
//! a migration.

use std::path::PathBuf;

use super::resolved_worktree;
use crate::context::Context;
use crate::database::alembic_history::{self, AlembicHead};
use crate::database::migrate::{self, MigrateError};
use crate::error::{Code, Report};

/// The heads of the migrations of a worktree.
#[derive(Clone, Debug)]
pub struct MigrationHeads {
    /// The heads, sorted by revision. Their files have absolute paths.
    pub heads: Vec<AlembicHead>,
    /// False if Alembic may see other heads, because a file cannot be understood or is missing.
    pub is_certain: bool,
    /// The folder of the migration command.
    pub directory: PathBuf,
    /// The command up to `upgrade`.
    pub prefix: String,
}

/// Returns the heads. Errors if the configuration has no Alembic migrations, if the files cannot be read, or if two of them have the
/// same id.
pub async fn migration_heads(ctx: &Context) -> Result<MigrationHeads, Report> {
    let worktree = resolved_worktree::locate(ctx).await?;
    let resolved = resolved_worktree::read_without_lease(ctx, worktree).await?;
    let migrate = resolved.config.database.as_ref().and_then(|database| database.migrate.as_ref());
    let found = migrate.and_then(|migrate| Some((migrate, alembic_history::upgrades(&migrate.run)?)));
    let Some((migrate, prefix)) = found else {
        return Err(Report::new(Code::ConfigInvalid, "this project has no migrations of Alembic").with_fix(
            "set `database.migrate.run` to a command with `alembic upgrade head`; `devrun help database` describes it",
        ));
    };
    let directory = resolved.folder(&migrate.directory);
    let history = migrate::alembic_history(&directory, &migrate.inputs).await?;
    if let Some(duplicate) = history.duplicate().filter(|duplicate| duplicate.is_certain()) {
        return Err(MigrateError::duplicate(&directory, duplicate).into());
    }
    let mut heads = history.heads();
    for head in &mut heads {
        head.file = directory.join(&head.file);
    }
    Ok(MigrationHeads { heads, is_certain: history.is_certain(), directory, prefix })
}
