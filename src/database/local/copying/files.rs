//! The size and time of change of each file of a database, from which the tables that changed since are known.
//!
//! The comparison is for inequality, so a clock that jumps does no harm. A file that was changed a moment before devrun
//! read its time has no known state, because a later change could have the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// How old a change must be. The kernel counts time in steps of up to 10 ms.
pub(super) const SETTLED: Duration = Duration::from_millis(25);

/// The state of one file: its size, and when it was changed, in nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileState(u64, i128);

/// The files with the data of a database by name. A name is a number, and for the second and later gigabyte of a table
/// also a dot and another number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DataFiles(BTreeMap<String, FileState>);

impl DataFiles {
    /// Returns the states of the files in `folder`.
    pub(super) fn read(folder: &Path) -> std::io::Result<DataFiles> {
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if node(&name).is_none() {
                continue;
            }
            match std::fs::metadata(entry.path()) {
                Ok(meta) => {
                    let time = i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec());
                    files.insert(name, FileState(meta.len(), time));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(DataFiles(files))
    }

    /// Returns the files that were last changed at least [`SETTLED`] before `now`.
    pub(super) fn settled(self, now: SystemTime) -> DataFiles {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
        let limit = i128::try_from(now).unwrap_or(0) - i128::try_from(SETTLED.as_nanos()).unwrap_or(0);
        DataFiles(self.0.into_iter().filter(|(_, FileState(_, changed))| *changed <= limit).collect())
    }

    /// Returns the numbers of the files that differ between `self` and the later `now`, or are in one of them only.
    pub(super) fn changed(&self, now: &DataFiles) -> BTreeSet<u32> {
        let names = self.0.keys().chain(now.0.keys());
        names.filter(|name| self.0.get(*name) != now.0.get(*name)).filter_map(|name| node(name)).collect()
    }

    /// Returns the size of all files.
    pub(super) fn total(&self) -> u64 {
        self.0.values().map(|FileState(size, _)| size).sum()
    }

    /// Returns the size of the files with the number `wanted`.
    pub(super) fn bytes(&self, wanted: u32) -> u64 {
        let first = wanted.to_string();
        let after = format!("{first}/");
        // A dot sorts before a slash, so the range is the file itself and those of its later gigabytes.
        let range = self.0.range(first..after);
        range.filter(|(name, _)| node(name) == Some(wanted)).map(|(_, FileState(size, _))| size).sum()
    }
}

/// Returns the number in the name of a file with data: `16384` or `16384.1`, but not `16384_fsm`.
fn node(name: &str) -> Option<u32> {
    let (number, part) = name.split_once('.').map_or((name, None), |(number, part)| (number, Some(part)));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(number) && part.is_none_or(is_number)).then(|| number.parse().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(all: &[(&str, u64, i128)]) -> DataFiles {
        DataFiles(all.iter().map(|(name, size, time)| ((*name).into(), FileState(*size, *time))).collect())
    }

    #[test]
    fn other_sizes_times_and_names_are_changes() {
        let before = files(&[("1", 8, 1), ("2", 8, 1), ("3", 8, 1), ("4", 8, 1), ("5.1", 8, 1)]);
        let now = files(&[("1", 8, 1), ("2", 9, 1), ("3", 8, 0), ("5.1", 8, 2), ("6", 8, 1)]);
        assert_eq!(before.changed(&now), BTreeSet::from([2, 3, 4, 5, 6]));
    }

    #[test]
    fn a_table_has_the_size_of_all_its_files() {
        let all = files(&[("16", 1, 0), ("16.1", 2, 0), ("16.10", 4, 0), ("160", 8, 0), ("1", 16, 0)]);
        assert_eq!((all.bytes(16), all.bytes(160), all.bytes(1), all.bytes(2)), (7, 8, 16, 0));
    }

    #[test]
    fn only_files_with_data_count() {
        assert_eq!(node("16384"), Some(16384));
        assert_eq!(node("16384.12"), Some(16384));
        for other in ["16384_fsm", "16384_init", "PG_VERSION", "pg_internal.init", "t3_16384", "1.", ".1", ""]
        {
            assert_eq!(node(other), None, "{other}");
        }
    }

    #[test]
    fn a_file_that_changed_a_moment_ago_or_in_the_future_counts_as_changed() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
        let all = files(&[("1", 8, 9_970_000_000), ("2", 8, 9_980_000_000), ("3", 8, 11_000_000_000)]);
        let known = all.clone().settled(now);
        assert_eq!(known.changed(&all), BTreeSet::from([2, 3]));
    }

    proptest! {
        #[test]
        fn each_difference_is_found(
            before in proptest::collection::btree_map(0u32..40, (0u64..3, 0i64..3), 0..20),
            now in proptest::collection::btree_map(0u32..40, (0u64..3, 0i64..3), 0..20),
        ) {
            let make = |map: &BTreeMap<u32, (u64, i64)>| {
                DataFiles(map.iter().map(|(n, (s, t))| (n.to_string(), FileState(*s, (*t).into()))).collect())
            };
            let expected: BTreeSet<u32> =
                (0..40).filter(|number| before.get(number) != now.get(number)).collect();
            prop_assert_eq!(make(&before).changed(&make(&now)), expected);
        }
    }
}
