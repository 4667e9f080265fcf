//! Copies the roles of a server, and the settings of roles and databases. Both servers belong to the same cluster of devrun.

use tokio_postgres::Client;

use crate::database::catalogue::{CatalogueError, literal, rows};
use crate::database::local::cluster::ADMIN;
use crate::database::local::error::LocalError;
use crate::database::local::state::APP;

/// The columns of `pg_authid` that are true or false, with the words of `ALTER ROLE`.
const FLAGS: [(&str, &str); 7] = [
    ("rolsuper", "SUPERUSER"),
    ("rolinherit", "INHERIT"),
    ("rolcreaterole", "CREATEROLE"),
    ("rolcreatedb", "CREATEDB"),
    ("rolcanlogin", "LOGIN"),
    ("rolreplication", "REPLICATION"),
    ("rolbypassrls", "BYPASSRLS"),
];

/// Creates the roles of `source` in `target`, except those that every cluster of devrun has.
pub(super) async fn copy(source: &Client, target: &Client) -> Result<(), LocalError> {
    let doing = "copy the roles";
    let others = format!("rolname !~ '^pg_' AND rolname NOT IN ('{ADMIN}', '{APP}')");
    let flags = FLAGS.map(|(column, word)| format!("CASE WHEN {column} THEN '{word}' ELSE 'NO{word}' END"));
    let statements = [
        format!("SELECT format('CREATE ROLE %I', rolname) FROM pg_authid WHERE {others} ORDER BY 1"),
        format!(
            "SELECT concat_ws(' ', format('ALTER ROLE %I', rolname), {}, format('CONNECTION LIMIT %s', rolconnlimit), \
             format('PASSWORD %L', rolpassword), CASE WHEN rolvaliduntil IS NOT NULL THEN format('VALID UNTIL %L', rolvaliduntil) END) \
             FROM pg_authid WHERE {others}",
            flags.join(", ")
        ),
        "SELECT format('GRANT %I TO %I %s', g.rolname, m.rolname, CASE WHEN admin_option THEN 'WITH ADMIN OPTION' END) \
         FROM pg_auth_members JOIN pg_roles g ON g.oid = roleid JOIN pg_roles m ON m.oid = member WHERE m.rolname !~ '^pg_'"
            .into(),
    ];
    for statement in statements {
        for row in rows(source, &statement, doing).await? {
            for sql in row.into_iter().flatten() {
                // A statement may have a password, so the error does not contain it.
                target.batch_execute(&sql).await.map_err(LocalError::sql(doing))?;
            }
        }
    }
    Ok(())
}

/// Gives the roles and databases of `target` the settings of `source` (`ALTER ROLE … SET`, `ALTER DATABASE … SET`).
pub(super) async fn copy_settings(source: &Client, target: &Client) -> Result<(), LocalError> {
    let doing = "copy the settings of roles and databases";
    let sql = "SELECT COALESCE(d.datname, ''), COALESCE(r.rolname, ''), s.setconfig::text FROM pg_db_role_setting s \
               LEFT JOIN pg_database d ON d.oid = s.setdatabase LEFT JOIN pg_roles r ON r.oid = s.setrole";
    for row in rows(source, sql, doing).await? {
        let Ok([Some(database), Some(role), Some(settings)]) = <[Option<String>; 3]>::try_from(row) else {
            return Err(CatalogueError::with(doing, "the answer is incomplete").into());
        };
        let oid = |catalogue: &str, column: &str, name: &str| match name {
            "" => "0::oid".to_string(),
            name => format!("(SELECT oid FROM {catalogue} WHERE {column} = {})", literal(name)),
        };
        let (database, role) = (oid("pg_database", "datname", &database), oid("pg_roles", "rolname", &role));
        // A database that was left out, such as a half-made one, has no oid.
        let sql = format!(
            "BEGIN; DELETE FROM pg_db_role_setting WHERE setdatabase = {database} AND setrole = {role}; \
             INSERT INTO pg_db_role_setting SELECT {database}, {role}, {}::text[] WHERE {database} IS NOT NULL; COMMIT",
            literal(&settings)
        );
        target.batch_execute(&sql).await.map_err(LocalError::sql(doing))?;
    }
    Ok(())
}
