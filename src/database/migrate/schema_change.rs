//! Compares the schema before and after a failed migration command. Pure.

use crate::text::listed;

/// The revisions and the schema of a database.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SchemaSnapshot {
    /// The revisions in the table `alembic_version`; `None` if no such table is visible.
    pub(super) revisions: Option<Vec<String>>,
    /// A hash of the columns and of the values of enums, without those of devrun and of Alembic.
    pub(super) hash: String,
}

/// The changes that a failed migration command left in the database.
#[derive(Debug, Default)]
pub(super) struct SchemaChange {
    /// The revisions of the database now; none if they are not known.
    pub(super) revisions: Vec<String>,
    /// True if the command reached a new revision.
    advanced: bool,
    /// True if the command changed the schema without a new revision: a migration committed a part of its work.
    pub(super) half_applied: bool,
    /// The objects that no migration up to the present revisions makes. This command or an earlier one left them, or the user made
    /// them.
    pub(super) new_objects: Vec<String>,
}

impl SchemaChange {
    /// Compares the states before and after a command. `by_revision` is true if each migration of the tool ends with a new
    /// revision. A change of the schema counts as half applied only if the revisions are visible after the command: a project
    /// may store them in another table or schema, where migrations that succeeded also change the schema.
    pub(super) fn between(
        before: &SchemaSnapshot,
        after: SchemaSnapshot,
        by_revision: bool,
        new_objects: Vec<String>,
    ) -> SchemaChange {
        let Some(revisions) = after.revisions else {
            return SchemaChange { new_objects, ..SchemaChange::default() };
        };
        let advanced = before.revisions.as_deref().unwrap_or_default() != revisions;
        let half_applied = by_revision && !advanced && before.hash != after.hash;
        SchemaChange { revisions, advanced, half_applied, new_objects }
    }

    /// Returns true if the database has parts of a migration that it does not record.
    pub(super) fn has_parts(&self) -> bool {
        self.half_applied || !self.new_objects.is_empty()
    }

    /// Returns true if `output`, the message about an object that exists already, is about one of the new objects.
    pub(super) fn is_about_new_object(&self, output: &str) -> bool {
        let names = self.new_objects.iter().filter_map(|object| object.rsplit(['.', ' ']).next());
        names.into_iter().any(|name| output.contains(&format!("\"{name}\"")))
    }

    /// Returns a sentence about the state of the database. Returns `None` if nothing is known about it.
    pub(super) fn sentence(&self) -> Option<String> {
        let at = self.revisions.join(", ");
        let parts = "the failed migration committed a part of its changes";
        let change = match (at.as_str(), self.advanced, self.half_applied) {
            ("", _, false) => None,
            ("", _, true) => Some(parts.into()),
            (at, _, true) => Some(format!("the database is at revision {at}, and {parts}")),
            (at, true, _) => Some(format!("the database is now at revision {at}")),
            (at, false, _) => Some(format!("the database is at revision {at}, as before")),
        };
        let objects = match (self.new_objects.as_slice(), self.half_applied) {
            ([], _) => None,
            (objects, true) => Some(format!("left over: {}", listed(objects))),
            (objects, false) => {
                Some(format!("left over, perhaps by an attempt that failed: {}", listed(objects)))
            }
        };
        let both: Vec<String> = change.into_iter().chain(objects).collect();
        (!both.is_empty()).then(|| both.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(revisions: Option<&[&str]>, hash: &str) -> SchemaSnapshot {
        let revisions = revisions.map(|all| all.iter().map(ToString::to_string).collect());
        SchemaSnapshot { revisions, hash: hash.into() }
    }

    #[test]
    fn only_a_change_without_a_new_revision_is_half_applied() {
        let one = |hash| state(Some(&["1"]), hash);
        let none = |hash| state(Some(&[]), hash);
        let left =
            |before, after, by_revision| SchemaChange::between(&before, after, by_revision, Vec::new());
        let parts = "the failed migration committed a part of its changes";
        for (left, half_applied, sentence) in [
            (left(one("a"), one("a"), true), false, "the database is at revision 1, as before"),
            (left(one("a"), state(Some(&["2"]), "b"), true), false, "the database is now at revision 2"),
            (left(one("a"), one("b"), true), true, &*format!("the database is at revision 1, and {parts}")),
            (left(none("a"), none("b"), true), true, parts),
            (left(state(None, "a"), none("b"), true), true, parts),
            (left(none("a"), none("b"), false), false, ""),
        ] {
            assert_eq!(
                (left.half_applied, left.sentence().unwrap_or_default().as_str()),
                (half_applied, sentence)
            );
        }
    }

    #[test]
    fn nothing_is_claimed_if_the_revisions_are_not_visible() {
        for before in [None, Some(&["1"][..])] {
            let left = SchemaChange::between(&state(before, "a"), state(None, "b"), true, Vec::new());
            assert_eq!((left.half_applied, left.sentence()), (false, None));
        }
    }

    #[test]
    fn objects_that_an_earlier_attempt_left_are_named() {
        let left = |after| {
            let objects = vec!["table public.part".into(), "column public.leads.score".into()];
            SchemaChange::between(&state(Some(&["1"]), "a"), state(Some(&["1"]), after), true, objects)
        };
        let second = left("a");
        assert!(second.has_parts() && !second.half_applied);
        assert_eq!(
            second.sentence().unwrap(),
            "the database is at revision 1, as before\nleft over, perhaps by an attempt that failed: table public.part, \
             column public.leads.score"
        );
        assert!(
            left("b")
                .sentence()
                .unwrap()
                .ends_with("\nleft over: table public.part, column public.leads.score")
        );
        assert!(second.is_about_new_object("relation \"part\" already exists"));
        assert!(second.is_about_new_object("column \"score\" of relation \"leads\" already exists"));
        assert!(!second.is_about_new_object("relation \"parts\" already exists"));
        assert!(!SchemaChange::default().has_parts());
    }
}
