//! Sums up the catalogues of a database, to find out whether its schema is that of another one.
//!
//! A clone has the oids of its original, so equal schemas have equal rows. Columns that describe files or statistics are
//! left out, and so are temporary objects, which belong to one session.

use tokio_postgres::Client;

use crate::database::catalogue::{CatalogueError, rows};

/// The rows of each catalogue: their number and the sum of their hashes.
pub(super) type SchemaSum = Vec<Vec<Option<String>>>;

/// Catalogues that hold no schema, or whose rows are chosen below.
const LEFT_OUT: &str =
    "pg_class, pg_depend, pg_statistic, pg_statistic_ext_data, pg_largeobject, pg_largeobject_metadata";

/// Conditions that leave out the rows of temporary objects, and of the tables behind large values, which a rewrite of their
/// table replaces.
const CONDITIONS: [(&str, &str); 13] = [
    ("pg_attribute", "attrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_attrdef", "adrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_constraint", "conrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_description", "objoid NOT IN (SELECT oid FROM temporary)"),
    ("pg_index", "indrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_inherits", "inhrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_namespace", "oid NOT IN (SELECT oid FROM spaces)"),
    ("pg_proc", "pronamespace NOT IN (SELECT oid FROM spaces)"),
    ("pg_rewrite", "ev_class NOT IN (SELECT oid FROM temporary)"),
    ("pg_sequence", "seqrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_statistic_ext", "stxrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_trigger", "tgrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_type", "typnamespace NOT IN (SELECT oid FROM spaces)"),
];

/// Returns the sum of the catalogues that the transaction of `client` sees.
pub(super) async fn sum(client: &Client) -> Result<SchemaSum, CatalogueError> {
    let doing = "read the schema";
    let sql = format!(
        "SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace AND relkind = 'r' AND oid < 16384 \
         AND NOT relisshared AND relname <> ALL (string_to_array('{LEFT_OUT}', ', ')) ORDER BY 1"
    );
    let names: Vec<String> =
        rows(client, &sql, doing).await?.into_iter().filter_map(|row| row.into_iter().next()?).collect();
    // These settings change how names and numbers are written in the rows.
    let sql = format!(
        "SET search_path = pg_catalog; SET extra_float_digits = 1; {}; RESET search_path; RESET extra_float_digits",
        sum_sql(&names)
    );
    rows(client, &sql, doing).await
}

fn sum_sql(catalogues: &[String]) -> String {
    let sum = |name: &str, row: &str, from: &str, condition: &str| {
        format!(
            "SELECT '{name}', count(*), sum(hashtextextended({row}::text, 0)::numeric) FROM {from} c WHERE {condition}"
        )
    };
    let mut parts: Vec<String> = catalogues
        .iter()
        .map(|name| {
            let condition = CONDITIONS.iter().find(|(catalogue, _)| catalogue == name);
            let from = format!("pg_catalog.{name}");
            sum(name, "c", &from, condition.map_or("true", |(_, condition)| condition))
        })
        .collect();
    let class = "ROW(oid, relname, relnamespace, reltype, reloftype, relowner, relam, reltablespace, relpersistence, relkind, \
        relnatts, relchecks, relrowsecurity, relforcerowsecurity, relispopulated, relreplident, relispartition, relacl, \
        reloptions, relpartbound::text, \
        (SELECT t.reloptions FROM pg_class t WHERE t.oid = c.reltoastrelid))";
    parts.push(sum("pg_class", class, "pg_class", "oid NOT IN (SELECT oid FROM temporary)"));
    // No other catalogue has the owners of sequences and the members of extensions.
    let owned = "deptype = 'e' OR classid = 'pg_class'::regclass AND deptype IN ('a', 'i', 'x') \
        AND objid NOT IN (SELECT oid FROM temporary)";
    parts.push(sum("pg_depend", "c", "pg_depend", owned));
    format!(
        "WITH spaces AS MATERIALIZED (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_'), \
         temporary AS MATERIALIZED (SELECT oid FROM pg_class WHERE relpersistence = 't' \
         OR relnamespace = 'pg_toast'::regnamespace) {} ORDER BY 1",
        parts.join(" UNION ALL ")
    )
}
