//! The socket of a run and its entry in the runtime folder. That folder can vanish under a run: logind removes it at the last
//! logout, and cleaners of `/tmp` remove old files. Both are made again while the run lives, and removed when it ends.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::context::in_tmp;
use crate::control::registry::{self, Registered, StackEntry};
use crate::control::stack_handle::StackHandle;
use crate::control::{Journal, server, socket};
use crate::os::fs::FsError;

/// Time between two checks. Clients wait a little longer than this for a missing socket.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The socket and the entry, kept in place until the value is dropped.
pub(super) struct RuntimeFiles {
    _kept: Rc<FilesToKeep>,
    task: AbortHandle,
}

struct FilesToKeep {
    stack: StackHandle,
    journal: Journal,
    entry: StackEntry,
    answering: RefCell<ListeningSocket>,
    _registered: Registered,
}

impl RuntimeFiles {
    /// Writes `entry`, and keeps it and the socket `answering` of `stack` in place. Must run in a `LocalSet`.
    pub(super) fn begin(
        answering: ListeningSocket,
        stack: &StackHandle,
        journal: Journal,
        entry: StackEntry,
    ) -> Result<RuntimeFiles, FsError> {
        let registered = registry::enter(&entry)?;
        let answering = answering.into();
        let kept =
            Rc::new(FilesToKeep { stack: stack.clone(), journal, entry, answering, _registered: registered });
        let weak = Rc::downgrade(&kept);
        Ok(RuntimeFiles { task: tokio::task::spawn_local(keep(weak)).abort_handle(), _kept: kept })
    }
}

impl Drop for RuntimeFiles {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes missing files again. The run does not depend on them, so a failure is only a reason to try again.
async fn keep(kept: Weak<FilesToKeep>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let Some(kept) = kept.upgrade() else { return };
        if !kept.answering.borrow().is_there() {
            kept.answer_again();
        }
        if !kept.entry.file.exists() {
            let _ = registry::write(&kept.entry);
        }
    }
}

impl FilesToKeep {
    /// Listens at the same path. Where its folder cannot be made again, listens in the folder for users without a session, and
    /// writes the new path into the record.
    fn answer_again(&self) {
        let place = self.answering.borrow().place.clone();
        let elsewhere = || Some(in_tmp().join(place.file_name()?));
        let again = ListeningSocket::begin(&place, &self.stack)
            .ok()
            .or_else(|| ListeningSocket::begin(&elsewhere()?, &self.stack).ok());
        let Some(answering) = again else { return };
        if answering.place != place {
            self.journal.moved(&answering.place);
        }
        let before = self.answering.replace(answering);
        before.stop();
    }
}

/// A socket on which devrun answers until this value is dropped, which also removes the file.
pub(super) struct ListeningSocket {
    place: PathBuf,
    server: AbortHandle,
}

impl ListeningSocket {
    /// Listens at `place` and answers for `stack`.
    pub(super) fn begin(place: &Path, stack: &StackHandle) -> Result<ListeningSocket, FsError> {
        let listener = socket::listen(place)?;
        let server = tokio::task::spawn_local(server::serve(listener, stack.clone())).abort_handle();
        Ok(ListeningSocket { place: place.into(), server })
    }

    fn is_there(&self) -> bool {
        self.place.exists()
    }

    /// Stops accepting connections. Leaves the file at the path, because another socket has the path now.
    fn stop(mut self) {
        self.place = PathBuf::new();
    }
}

impl Drop for ListeningSocket {
    fn drop(&mut self) {
        self.server.abort();
        // A file that stays is known as stale: no process holds the worktree's lock.
        let _ = std::fs::remove_file(&self.place);
    }
}
