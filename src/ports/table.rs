//! The machine-wide table of leases: its rows and its file. Knows the format, not who may have what.
//!
//! Read leniently: fields it does not know are kept, rows it cannot read are left out. A file that is damaged is set
//! aside, never overwritten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::context::Dirs;
use crate::os::fs::{self, FsError};

/// Version of the file's format.
const VERSION: u64 = 1;

/// One lease.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Physical path of the worktree.
    #[serde(with = "spelling")]
    pub worktree: PathBuf,
    /// The slot.
    pub slot: u16,
    /// Named ports as they were when the lease was last written.
    #[serde(default)]
    pub ports: BTreeMap<String, u16>,
    /// The repository's common git directory; `None` outside git.
    #[serde(default, with = "optional_spelling", skip_serializing_if = "Option::is_none")]
    pub repository: Option<PathBuf>,
    /// When the lease was first given, in seconds since 1970.
    #[serde(default)]
    pub created: u64,
    /// Fields of other versions.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// All leases of this user on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The leases, in the order they were given.
    pub rows: Vec<Row>,
    /// Fields of other versions.
    other: Map<String, Value>,
}

/// What the bytes of a table's file are worth.
#[derive(Debug, PartialEq, Eq)]
pub struct Reading {
    /// What could be read.
    pub table: Table,
    /// True when something could not.
    pub damaged: bool,
}

impl Table {
    /// Reads the file's bytes.
    pub fn parse(bytes: &[u8]) -> Reading {
        let Ok(Value::Object(mut other)) = serde_json::from_slice(bytes) else {
            return Reading { table: Table::default(), damaged: true };
        };
        let Some(Value::Array(values)) = other.remove("leases") else {
            return Reading { table: Table { rows: Vec::new(), other }, damaged: true };
        };
        let mut table = Table { rows: Vec::new(), other };
        let mut damaged = false;
        for value in values {
            match serde_json::from_value::<Row>(value) {
                // Two rows of one worktree cannot both be right.
                Ok(row) if table.rows.iter().all(|known| known.worktree != row.worktree) => {
                    table.rows.push(row);
                }
                _ => damaged = true,
            }
        }
        Reading { table, damaged }
    }

    /// The file's bytes.
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

    /// Reads the table of `dirs`; an absent file is an empty table.
    pub fn read(dirs: &Dirs) -> Result<Reading, FsError> {
        Ok(match fs::read(&file(dirs))? {
            Some(bytes) => Table::parse(&bytes),
            None => Reading { table: Table::default(), damaged: false },
        })
    }

    /// Replaces the table of `dirs`. The caller holds the lock.
    pub fn write(&self, dirs: &Dirs) -> Result<(), FsError> {
        fs::replace(&file(dirs), &self.to_bytes(), 0o600)
    }
}

/// The table's file.
pub fn file(dirs: &Dirs) -> PathBuf {
    dirs.state.join("leases.json")
}

/// The lock that whoever writes the table holds.
pub fn lock_file(dirs: &Dirs) -> PathBuf {
    dirs.state.join("leases.lock")
}

/// Moves a damaged table to `leases.json.broken-<n>`, the first such name that is not there yet. The caller holds the
/// lock.
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

/// A path as text; with its bytes in hexadecimal beside it where text cannot say it.
mod spelling {
    use std::ffi::OsString;
    use std::fmt::Write;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

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
                let bytes = bytes(&hex).ok_or_else(|| de::Error::custom("not hexadecimal"))?;
                Ok(OsString::from_vec(bytes).into())
            }
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }

    fn bytes(hex: &str) -> Option<Vec<u8>> {
        let pairs = hex.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
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

/// True while the worktree of a lease exists; any doubt (no permission, a network folder that does not answer) means
/// yes.
pub fn exists(worktree: &Path) -> bool {
    !matches!(
        worktree.symlink_metadata(),
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
    )
}
