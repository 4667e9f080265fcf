//! The relations of a database that hold data, and which of them changed since the snapshot. The decision is pure.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::Client;

use super::files::DataFiles;
use crate::database::catalogue::{CatalogueError, rows};

/// A kind of relation with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelationKind {
    Table,
    Sequence,
    /// A materialized view that is populated.
    View,
}

/// A relation with data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) oid: u32,
    pub(super) kind: RelationKind,
    /// Schema and name, quoted.
    pub(super) name: String,
    /// The number of its file.
    pub(super) node: u32,
    /// True if a checkpoint need not write it, or if its file is in another folder.
    pub(super) is_elsewhere: bool,
    /// The columns that are not computed, quoted and separated by commas.
    pub(super) columns: String,
}

/// The relations that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ParentChanges {
    pub(super) relations: Vec<Relation>,
    /// The size of their files.
    pub(super) bytes: u64,
    /// True if a large object may have changed.
    pub(super) large_objects: bool,
    /// The name of a changed table without columns.
    pub(super) without_columns: Option<String>,
}

/// Everything that is known of the relations of one database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Relations {
    pub(super) all: Vec<Relation>,
    /// The numbers of the files with large objects.
    pub(super) large_object_nodes: Vec<u32>,
    /// True if there is a large object.
    pub(super) has_large_objects: bool,
}

/// Lists the relations of the database of `client`, except temporary ones and those of the server.
pub(super) async fn list(client: &Client) -> Result<Relations, CatalogueError> {
    let doing = "list the tables";
    // The two rows without a name are the catalogues with large objects.
    let sql = "SELECT c.oid, c.relkind, format('%I.%I', n.nspname, c.relname), c.relfilenode, \
        c.relpersistence = 'u' OR c.reltablespace <> 0, (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) \
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') \
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
        WHERE c.oid >= 16384 AND (c.relkind IN ('r', 'S') OR c.relkind = 'm' AND c.relispopulated) \
        AND c.relpersistence <> 't' AND n.nspname <> 'pg_toast' \
        UNION ALL SELECT oid, relkind, NULL, pg_relation_filenode(oid), \
        EXISTS (SELECT FROM pg_largeobject_metadata), NULL FROM pg_class \
        WHERE oid IN ('pg_largeobject'::regclass, 'pg_largeobject_metadata'::regclass) ORDER BY 1";
    let mut found = Relations::default();
    for row in rows(client, sql, doing).await? {
        let Ok([Some(oid), Some(kind), name, Some(node), Some(flag), columns]) =
            <[Option<String>; 6]>::try_from(row)
        else {
            return Err(CatalogueError::with(doing, "the server sent an incomplete row"));
        };
        let (Ok(oid), Ok(node)) = (oid.parse(), node.parse()) else {
            return Err(CatalogueError::with(doing, "the server sent no numbers"));
        };
        let Some(name) = name else {
            found.large_object_nodes.push(node);
            found.has_large_objects |= flag == "t";
            continue;
        };
        let kind = match kind.as_str() {
            "S" => RelationKind::Sequence,
            "m" => RelationKind::View,
            _ => RelationKind::Table,
        };
        let columns = columns.unwrap_or_default();
        found.all.push(Relation { oid, kind, name, node, is_elsewhere: flag == "t", columns });
    }
    Ok(found)
}

/// Returns the relations of `parent` whose data may differ from `clone`, a clone of its snapshot. `then` and `now` are the files of the
/// parent before the snapshot, and after everything that `parent` describes was written to them.
pub(super) fn changes(
    parent: &Relations,
    clone: &Relations,
    then: &DataFiles,
    now: &DataFiles,
) -> ParentChanges {
    let nodes: BTreeMap<u32, u32> = clone.all.iter().map(|relation| (relation.oid, relation.node)).collect();
    let files: BTreeSet<u32> = then.changed(now);
    let has_changed = |relation: &&Relation| {
        relation.is_elsewhere
            || nodes.get(&relation.oid) != Some(&relation.node)
            || files.contains(&relation.node)
    };
    let relations: Vec<Relation> = parent.all.iter().filter(has_changed).cloned().collect();
    let is_bare = |relation: &&Relation| relation.kind == RelationKind::Table && relation.columns.is_empty();
    let has_objects = parent.has_large_objects || clone.has_large_objects;
    let objects = parent.large_object_nodes != clone.large_object_nodes
        || parent.large_object_nodes.iter().any(|node| files.contains(node));
    ParentChanges {
        bytes: relations.iter().map(|relation| now.bytes(relation.node)).sum(),
        large_objects: has_objects && objects,
        without_columns: relations.iter().find(is_bare).map(|relation| relation.name.clone()),
        relations,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(oid: u32, node: u32) -> Relation {
        let (kind, name, columns) = (RelationKind::Table, format!("t{oid}"), "a".into());
        Relation { oid, kind, name, node, is_elsewhere: false, columns }
    }

    fn relations(all: &[(u32, u32)]) -> Relations {
        Relations {
            all: all.iter().map(|(oid, node)| relation(*oid, *node)).collect(),
            large_object_nodes: vec![2613, 2995],
            has_large_objects: false,
        }
    }

    fn files(json: &str) -> DataFiles {
        serde_json::from_str(json).unwrap()
    }

    fn oids(changes: &ParentChanges) -> Vec<u32> {
        changes.relations.iter().map(|relation| relation.oid).collect()
    }

    #[test]
    fn relations_with_another_file_and_with_a_changed_file_are_changed() {
        let parent = relations(&[(1, 10), (2, 20), (3, 31), (4, 40)]);
        let clone = relations(&[(1, 10), (2, 20), (3, 30)]);
        let then = files(r#"{"10":[8,1],"20":[8,1],"30":[8,1]}"#);
        let now = files(r#"{"10":[8,1],"20":[8,2],"31":[16,1],"40":[32,1]}"#);
        let found = changes(&parent, &clone, &then, &now);
        assert_eq!((oids(&found), found.bytes), (vec![2, 3, 4], 56));
    }

    #[test]
    fn unlogged_relations_are_always_changed() {
        let mut parent = relations(&[(1, 10), (2, 20)]);
        parent.all[1].is_elsewhere = true;
        let same = files(r#"{"10":[8,1],"20":[8,1]}"#);
        assert_eq!(oids(&changes(&parent, &parent, &same, &same)), [2]);
    }

    #[test]
    fn large_objects_count_only_if_there_are_some_and_their_files_changed() {
        let mut parent = relations(&[]);
        let (then, now) = (files(r#"{"2613":[0,1]}"#), files(r#"{"2613":[8,1]}"#));
        assert!(!changes(&parent, &parent, &then, &now).large_objects);
        parent.has_large_objects = true;
        assert!(changes(&parent, &parent, &then, &now).large_objects);
        assert!(!changes(&parent, &parent, &now, &now).large_objects);
    }
}
