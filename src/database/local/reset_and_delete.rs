//! Deletes databases, or resets them to the state of their parent: the current one, or that of its last snapshot.
//!
//! A reset makes the copy first and swaps names in one transaction, so the name always refers to a complete database.
//! The old database has a temporary name until it is dropped. If devrun is killed before that, the next devrun that
//! creates a database drops it.

use tokio_postgres::Client;

use super::branches;
use super::copying::{Copier, CopyState, Hold, close_sessions};
use super::error::LocalError;
use super::program_databases;
use crate::database::WantedDatabase;
use crate::database::catalogue::{
    CatalogueError, ServerDatabase, find, identifier, publication, take_turn, temporary_name,
};
use crate::database::saved_snapshots;
use crate::event::Events;

/// Makes the database that `wanted` names a new copy of its parent. Returns it and the parent's id. The maker's connection holds the
/// makers' lock until it is closed.
pub(super) async fn reset(
    copier: &Copier<'_>,
    wanted: &WantedDatabase,
    state: CopyState,
) -> Result<(ServerDatabase, String), LocalError> {
    let (maker, events) = (copier.maker, copier.events);
    branches::keep_from_migrating(maker, &wanted.parent, events).await?;
    take_turn(maker, events).await?;
    branches::clear_away(copier).await?;
    let doing = format!("reset database {}", wanted.name);
    let parent = copier.parent(wanted).await?;
    let temporary = copier.fill(wanted, Some(&parent), state).await?;
    let publication = publication(wanted, &temporary, Some(&parent));
    Ok((put_in_place(copier, &wanted.name, &publication, &doing).await?, parent.id))
}

/// Runs `publication`, which gives a complete database the name `name`, and removes the database that had the name, with the
/// sessions in it. Returns the new one. The maker's connection holds the makers' lock.
pub(super) async fn put_in_place(
    copier: &Copier<'_>,
    name: &str,
    publication: &str,
    doing: &str,
) -> Result<ServerDatabase, LocalError> {
    let (maker, events) = (copier.maker, copier.events);
    if let Some(old) = find(maker, name).await? {
        let aside = temporary_name()?;
        let (from, to) = (identifier(name), identifier(&aside));
        let sql = format!("BEGIN; ALTER DATABASE {from} RENAME TO {to}; {publication}; COMMIT");
        let closed = close_sessions(copier, &sql, doing, &old, Hold::Removal).await?;
        if let Some(words) = closed.words() {
            events.warn(format!("{name} was in use: {words}"));
        }
        remove(maker, &aside, doing).await?;
    } else {
        let sql = format!("BEGIN; {publication}; COMMIT");
        maker.batch_execute(&sql).await.map_err(LocalError::sql(doing))?;
    }
    let made = find(maker, name).await?;
    let gone = || LocalError::from(CatalogueError::with(doing, "it was dropped right after it was created"));
    made.ok_or_else(gone)
}

/// Deletes the database `name`, its snapshots, and the databases that its programs have created. Ends the sessions in them. Returns false
/// if the database does not exist. `maker` holds the makers' lock until it is closed.
pub(super) async fn delete(maker: &Client, name: &str, events: &Events) -> Result<bool, LocalError> {
    take_turn(maker, events).await?;
    let there = find(maker, name).await?.is_some();
    if there {
        for own in program_databases::of(maker, name).await? {
            remove(maker, &own, &format!("delete database {own}")).await?;
            events.note(format!("deleted {own} too, which programs of the same worktree had created"));
        }
        remove(maker, name, &format!("delete database {name}")).await?;
    }
    saved_snapshots::remove_all(maker, name).await?;
    Ok(there)
}

async fn remove(maker: &Client, name: &str, doing: &str) -> Result<(), LocalError> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    maker.batch_execute(&sql).await.map_err(LocalError::sql(doing))
}
