//! Keeps the session that has read the parent for the last copy, so that a test can compare the copy with what it saw.

use std::cell::RefCell;
use std::time::Duration;

use tokio_postgres::Client;

use super::super::Local;
use super::super::copying::{CopyMethod, ParentReading};

/// How the last copy was made, and the session with the MVCC snapshot.
pub(super) struct Kept {
    pub(super) way: CopyMethod,
    pub(super) reader: Client,
}

thread_local! {
    static LAST: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Lets the copies of `local` keep their sessions, and wait only 2 s for a lock.
pub(super) fn of_copies(local: &mut Local) {
    local.reading = ParentReading {
        lock_limit: Duration::from_secs(2),
        finished: |way, reader| drop(LAST.replace(Some(Kept { way, reader }))),
    };
}

/// Returns the session of the last copy of this thread.
pub(super) fn take() -> Option<Kept> {
    LAST.take()
}
