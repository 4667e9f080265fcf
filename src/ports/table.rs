//! Reads and writes the machine-wide table of leases. Contains the format, but not the rules for leasing.
//!
//! Unknown fields are kept and unreadable rows are left out. A damaged file is renamed, never overwritten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::context::Dirs;
use crate::os::fs::{self, FsError};
use crate::plan::Away;

/// The version of the file's format.
const VERSION: u64 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRow {
    /// Physical path of the worktree.
    #[serde(with = "spelling")]
    pub worktree: PathBuf,
    /// The slot of the worktree.
    pub slot: u16,
    /// Named ports at the last time that the lease was written.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// The repository's common git directory; `None` outside git.
    #[serde(default, with = "optional_spelling", skip_serializing_if = "Option::is_none")]
    pub repository: Option<PathBuf>,
    /// The time of the first lease, in seconds since 1970.
    #[serde(default)]
    pub created: u64,
    /// The reason why this is not the home slot. A reason that another version wrote and this one cannot read is left
    /// out.
    #[serde(default, deserialize_with = "lenient", skip_serializing_if = "Option::is_none")]
    pub away: Option<Away>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// All leases of this user on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseTable {
    /// The leases, in the order in which they were made.
    pub rows: Vec<LeaseRow>,
    /// Fields of other versions.
    other: Map<String, Value>,
}

/// The result of reading a table's file.
#[derive(Debug, PartialEq, Eq)]
pub struct TableFile {
    /// The readable part.
    pub table: LeaseTable,
    /// True if a part could not be read.
    pub damaged: bool,
}

impl LeaseTable {
    /// Parses the file's bytes.
    pub fn parse(bytes: &[u8]) -> TableFile {
        let Ok(Value::Object(mut other)) = serde_json::from_slice(bytes) else {
            return TableFile { table: LeaseTable::default(), damaged: true };
        };
        let Some(Value::Array(values)) = other.remove("leases") else {
            return TableFile { table: LeaseTable { rows: Vec::new(), other }, damaged: true };
        };
        let mut table = LeaseTable { rows: Vec::new(), other };
        let mut damaged = false;
        for value in values {
            match serde_json::from_value::<LeaseRow>(value) {
                // Two rows of one worktree cannot both be right.
                Ok(row) if table.rows.iter().all(|known| known.worktree != row.worktree) => {
                    table.rows.push(row);
                }
                _ => damaged = true,
            }
        }
        TableFile { table, damaged }
    }

    /// Returns the file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut object = Map::new();
        object.insert("version".into(), VERSION.into());
        object.extend(self.other.clone());
        object.insert(
            "leases".into(),
            self.rows.iter().filter_map(|row| serde_json::to_value(row).ok()).collect(),
        );
        let mut bytes = format!("{:#}", Value::Object(object)).into_bytes();
        bytes.push(b'\n');
        bytes
    }

    /// Reads the table in `dirs`. A missing file is an empty table.
    pub fn read(dirs: &Dirs) -> Result<TableFile, FsError> {
        Ok(match fs::read(&file(dirs))? {
            Some(bytes) => LeaseTable::parse(&bytes),
            None => TableFile { table: LeaseTable::default(), damaged: false },
        })
    }

    /// Replaces the table in `dirs`. The caller holds the lock.
    pub fn write(&self, dirs: &Dirs) -> Result<(), FsError> {
        fs::replace(&file(dirs), &self.to_bytes(), 0o600)
    }
}

/// Returns the path of the table's file.
pub fn file(dirs: &Dirs) -> PathBuf {
    dirs.state.join("leases.json")
}

/// Returns the path of the lock that is held while the table is written.
pub fn lock_file(dirs: &Dirs) -> PathBuf {
    dirs.state.join("leases.lock")
}

/// Renames a damaged table to `leases.json.broken-<n>`, with the first free number. The caller holds the lock.
pub fn set_aside(dirs: &Dirs) -> Result<PathBuf, FsError> {
    let file = file(dirs);
    let named = |number: u32| {
        let mut name = file.clone().into_os_string();
        name.push(format!(".broken-{number}"));
        PathBuf::from(name)
    };
    let aside =
        (1..u32::MAX).map(named).find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| named(0));
    std::fs::rename(&file, &aside).map_err(|source| FsError::Io {
        action: "set aside",
        path: file.clone(),
        source,
    })?;
    Ok(aside)
}

fn lenient<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Away>, D::Error> {
    let value = Option::<Value>::deserialize(from)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// Stores a path as text, with its bytes in hexadecimal beside it if it is not UTF-8.
mod spelling {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    use crate::text::{from_hex, hex};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Spelled {
        Text(String),
        Bytes { text: String, hex: String },
    }

    pub(super) fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        let text = path.to_string_lossy().into_owned();
        let spelled = match path.to_str() {
            Some(_) => Spelled::Text(text),
            None => Spelled::Bytes { text, hex: hex(path.as_os_str().as_bytes()) },
        };
        spelled.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        match Spelled::deserialize(from)? {
            Spelled::Text(text) => Ok(text.into()),
            Spelled::Bytes { hex, .. } => {
                let bytes = from_hex(&hex).ok_or_else(|| de::Error::custom("not hexadecimal"))?;
                Ok(OsString::from_vec(bytes).into())
            }
        }
    }
}

mod optional_spelling {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Owned(#[serde(with = "super::spelling")] PathBuf);

    #[derive(Serialize)]
    #[serde(transparent)]
    struct Borrowed<'a>(#[serde(serialize_with = "super::spelling::serialize")] &'a Path);

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_deref().map(Borrowed).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<Owned>::deserialize(from)?.map(|owned| owned.0))
    }
}

/// Returns true if the worktree of a lease exists. In doubt (no permission, a network folder that does not answer)
/// returns true.
pub fn exists(worktree: &Path) -> bool {
    !matches!(
        worktree.symlink_metadata(),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
    )
}
