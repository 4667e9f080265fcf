//! The migration tools that devrun knows: how their commands are recognised, and where they record what they have done.

/// A migration tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct MigrationTool {
    /// A part of its command.
    word: &'static str,
    /// The table in which it keeps its state.
    pub(super) table: &'static str,
    /// The revisions that it has recorded, if devrun can compare them with the files.
    pub(super) revisions: Option<RecordedRevisions>,
}

/// The revisions that a tool has recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordedRevisions {
    /// The query for them.
    pub(super) query: &'static str,
    /// The relation of the revisions to the files.
    pub(super) form: RevisionForm,
}

/// The relation of a tool's revisions to its files: each revision is this part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RevisionForm {
    /// An id inside the file.
    Alembic,
    /// The folder of the file `migration.sql`.
    Prisma,
    /// The application's folder and the file without its extension.
    Django,
    /// The file's name, or the number at its start.
    Files,
}

/// The table in which Alembic keeps its revisions.
pub(super) const ALEMBIC_TABLE: &str = "alembic_version";

/// The revisions of files of SQL that devrun applies itself.
pub(super) const SQL_FILES: RecordedRevisions =
    RecordedRevisions { query: "select path from _devrun.applied", form: RevisionForm::Files };

const TOOLS: [MigrationTool; 6] = [
    MigrationTool {
        word: "alembic",
        table: ALEMBIC_TABLE,
        revisions: Some(recorded(RevisionForm::Alembic, "select version_num::text from alembic_version")),
    },
    MigrationTool {
        word: "prisma",
        table: "_prisma_migrations",
        revisions: Some(recorded(
            RevisionForm::Prisma,
            "select migration_name from _prisma_migrations where finished_at is not null and rolled_back_at is null",
        )),
    },
    // drizzle-kit records hashes of its files.
    MigrationTool { word: "drizzle-kit migrate", table: "__drizzle_migrations", revisions: None },
    MigrationTool {
        word: "manage.py migrate",
        table: "django_migrations",
        revisions: Some(recorded(RevisionForm::Django, "select app || '/' || name from django_migrations")),
    },
    MigrationTool {
        word: "knex",
        table: "knex_migrations",
        revisions: Some(recorded(RevisionForm::Files, "select name from knex_migrations")),
    },
    MigrationTool {
        word: "dbmate",
        table: "schema_migrations",
        revisions: Some(recorded(RevisionForm::Files, "select version from schema_migrations")),
    },
];

const fn recorded(form: RevisionForm, query: &'static str) -> RecordedRevisions {
    RecordedRevisions { query, form }
}

/// Returns the tools whose word is in `command`.
pub(super) fn of_command(command: &str) -> impl Iterator<Item = &'static MigrationTool> {
    TOOLS.iter().filter(move |tool| command.contains(tool.word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_a_word_of_their_command() {
        let tables = |command: &str| of_command(command).map(|tool| tool.table).collect::<Vec<_>>();
        assert_eq!(tables("uv run alembic -c db/alembic.ini upgrade head"), ["alembic_version"]);
        assert_eq!(tables("npx prisma migrate deploy"), ["_prisma_migrations"]);
        assert_eq!(
            tables("drizzle-kit migrate && knex migrate:latest"),
            ["__drizzle_migrations", "knex_migrations"]
        );
        assert_eq!(tables("psql -f schema.sql"), [""; 0]);
    }
}
