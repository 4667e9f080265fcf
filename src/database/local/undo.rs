//! Takes databases away: deleted, or put back to what their parent is now.
//!
//! A reset makes the copy first and changes names in one transaction, so the name always stands for a whole database. What
//! was there before carries a temporary name until it is dropped: a killed devrun's is swept by the next maker.

use tokio_postgres::Client;

use super::branches::{self, Copier, Found, Hold, TEMPORARY, identifier, look, publication};
use super::error::LocalError;
use super::state::random_id;
use crate::database::Wanted;
use crate::event::Events;

/// Makes the database that `wanted` names a copy of its parent again; gives it, and the parent's id. `maker` holds the lock of
/// all makers until it is closed.
pub(super) async fn reset(
    maker: &Client,
    watcher: &Client,
    wanted: &Wanted,
    events: &Events,
) -> Result<(Found, String), LocalError> {
    branches::keep_from_migrating(maker, &wanted.parent, events).await?;
    branches::take_turn(maker, events).await?;
    branches::sweep(maker).await?;
    let name = &wanted.name;
    let doing = format!("reset database {name}");
    let copier = Copier { maker, watcher, events };
    let parent = copier.parent(wanted).await?;
    let temporary = copier.fill(wanted, Some(&parent)).await?;
    let publication = publication(wanted, &temporary, Some(&parent));
    if let Some(old) = look(maker, name).await? {
        let aside = format!("{TEMPORARY}{}", random_id()?);
        let (from, to) = (identifier(name), identifier(&aside));
        let sql = format!("BEGIN; ALTER DATABASE {from} RENAME TO {to}; {publication}; COMMIT");
        let interrupted = copier.run(&sql, &doing, &old, Hold::Removal).await?;
        if let Some(words) = interrupted.words() {
            events.warn(format!("{name} was in use: {words}"));
        }
        remove(maker, &aside, &doing).await?;
    } else {
        let sql = format!("BEGIN; {publication}; COMMIT");
        maker.batch_execute(&sql).await.map_err(LocalError::sql(&doing))?;
    }
    let made = look(maker, name).await?;
    let gone = || LocalError::Sql { doing, reason: "it was dropped as soon as it was there".into() };
    Ok((made.ok_or_else(gone)?, parent.id))
}

/// Deletes the database `name` and ends the sessions in it; false when there is none. `maker` as in [`reset`].
pub(super) async fn delete(maker: &Client, name: &str, events: &Events) -> Result<bool, LocalError> {
    branches::take_turn(maker, events).await?;
    let there = look(maker, name).await?.is_some();
    if there {
        remove(maker, name, &format!("delete database {name}")).await?;
    }
    Ok(there)
}

async fn remove(maker: &Client, name: &str, doing: &str) -> Result<(), LocalError> {
    let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", identifier(name));
    maker.batch_execute(&sql).await.map_err(LocalError::sql(doing))
}
