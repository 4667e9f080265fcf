//! Keeps the session that has read the parent for the last copy, so that a test can compare the copy with what it saw.

use std::cell::RefCell;

use tokio_postgres::Client;

use super::reader::ParentReader;

/// A way to copy a database that leaves its sessions alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::database::local) enum CopyMethod {
    /// Clone the snapshot and replace the tables that changed since.
    Replace,
    /// Dump the database and restore the dump.
    Dump,
}

/// How the last copy was made, and the session with the MVCC snapshot.
pub(in crate::database::local) struct Kept {
    pub(in crate::database::local) way: CopyMethod,
    pub(in crate::database::local) reader: Client,
}

thread_local! {
    static LAST: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

pub(super) fn keep(way: CopyMethod, reader: ParentReader) {
    LAST.replace(Some(Kept { way, reader: reader.client }));
}

/// Returns the session of the last copy of this thread.
pub(in crate::database::local) fn take() -> Option<Kept> {
    LAST.take()
}
