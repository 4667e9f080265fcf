//! Decides how a parent in use is copied. Pure.

use super::relations::ParentChanges;

/// Above this size of changed tables, a dump is faster: it builds each index once, at the end.
const LARGE: u64 = 64 << 20;

/// Returns the reason why replacing `changes` in a clone of the snapshot is not exact or not fast. `None` if it is both.
pub(super) fn objection(has_same_schema: bool, changes: &ParentChanges, has_tools: bool) -> Option<String> {
    if !has_same_schema {
        return Some("its schema has changed since its last snapshot".into());
    }
    if changes.large_objects {
        return Some("its large objects have changed since its last snapshot".into());
    }
    if let Some(name) = &changes.without_columns {
        return Some(format!("its table {name}, which has no columns to copy, has changed"));
    }
    let mebibytes = changes.bytes >> 20;
    (has_tools && changes.bytes > LARGE)
        .then(|| format!("{mebibytes} MB of its tables have changed since its last snapshot"))
}

/// Returns true if a new snapshot makes later copies faster.
pub(super) fn is_worth_a_snapshot(has_same_schema: bool, changes: &ParentChanges) -> bool {
    /// Replacing less than this is faster than the time of a new snapshot at each start.
    const SMALL: u64 = 8 << 20;
    !has_same_schema || changes.large_objects || changes.without_columns.is_some() || changes.bytes > SMALL
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn large_changes_are_replaced_only_if_no_dump_is_possible() {
        let changes = ParentChanges { bytes: LARGE + 1, ..ParentChanges::default() };
        assert!(objection(true, &changes, true).unwrap().starts_with("64 MB"));
        assert_eq!(objection(true, &changes, false), None);
        assert!(is_worth_a_snapshot(true, &changes) && !is_worth_a_snapshot(true, &ParentChanges::default()));
    }

    proptest! {
        #[test]
        fn a_copy_that_could_differ_is_never_made(
            has_same_schema: bool, large_objects: bool, has_bare: bool, bytes: u64, has_tools: bool,
        ) {
            let without_columns = has_bare.then(|| "t".to_string());
            let changes = ParentChanges { bytes, large_objects, without_columns, ..ParentChanges::default() };
            if objection(has_same_schema, &changes, has_tools).is_none() {
                prop_assert!(has_same_schema && !large_objects && !has_bare);
            }
        }
    }
}
