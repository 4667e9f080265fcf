//! Takes and restores the snapshots of branch databases that users name.

use super::branches;
use super::copying::{Copier, CopySource};
use super::error::LocalError;
use super::reset_and_delete;
use crate::database::WantedDatabase;
use crate::database::catalogue::{
    self, CatalogueError, ServerDatabase, publication, take_turn, temporary_name,
};
use crate::database::saved_snapshots::{self, SavedSnapshot};
use crate::event::{Event, Step};

/// Takes the snapshot `snapshot` of the database `name`, as it is at one instant. An older one of that name is deleted afterwards. Returns
/// `None` if there is no such database.
pub(super) async fn save(
    copier: &Copier<'_>,
    name: &str,
    snapshot: &str,
) -> Result<Option<SavedSnapshot>, LocalError> {
    let maker = copier.maker;
    branches::keep_from_migrating(maker, name, copier.events).await?;
    take_turn(maker, copier.events).await?;
    branches::clear_away(copier).await?;
    let Some(database) = catalogue::find(maker, name).await? else { return Ok(None) };
    let older = saved_snapshots::list(maker).await?;
    let older = older.into_iter().filter(|one| one.of == name && one.name == snapshot);
    let temporary = temporary_name()?;
    let source = CopySource { name, database: &database };
    progress(copier, format!("copy database {name} to the snapshot {snapshot}"));
    copier.copy(&source, &temporary).await?;
    copier.copy_settings(&source, &temporary).await?;
    saved_snapshots::publish(maker, &temporary, (snapshot, name), &database).await?;
    for one in older {
        saved_snapshots::remove(maker, &one).await?;
    }
    let all = saved_snapshots::list(maker).await?;
    Ok(all.into_iter().find(|one| one.of == name && one.name == snapshot))
}

/// Makes the database that `wanted` names a copy of `snapshot`. Returns it.
pub(super) async fn restore(
    copier: &Copier<'_>,
    wanted: &WantedDatabase,
    snapshot: &SavedSnapshot,
) -> Result<ServerDatabase, LocalError> {
    let maker = copier.maker;
    take_turn(maker, copier.events).await?;
    branches::clear_away(copier).await?;
    let doing = format!("restore the snapshot {}", snapshot.name);
    let gone = || CatalogueError::with(&doing, "it was deleted a moment ago");
    let source = catalogue::find(maker, &snapshot.database).await?.ok_or_else(gone)?;
    let temporary = temporary_name()?;
    progress(copier, format!("copy the snapshot {} to {}", snapshot.name, wanted.name));
    copier.clone(&snapshot.database, &temporary, &doing).await?;
    let source = CopySource { name: &snapshot.database, database: &source };
    copier.copy_settings(&source, &temporary).await?;
    let has_parent = wanted.parent != wanted.name;
    let parent = if has_parent { catalogue::find(maker, &wanted.parent).await? } else { None };
    let publication = publication(wanted, &temporary, parent.as_ref());
    reset_and_delete::put_in_place(copier, &wanted.name, &publication, &doing).await
}

fn progress(copier: &Copier<'_>, detail: String) {
    copier.events.send(Event::StepProgress { step: Step::Database, detail });
}
