//! The terminals of processes that have one, for clients that show them and type into them.
//!
//! The loop of the run registers the terminal of each new child; the control socket gives clients access. Nothing here
//! depends on the client.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::broadcast;

use crate::plan::Process;

/// How many chunks of output a client may lag behind before it misses some.
const BACKLOG: usize = 256;
/// The pause between two attempts to give input to a child that does not read.
const RETRY: Duration = Duration::from_millis(10);
/// How long input is offered to such a child.
const INPUT_LIMIT: Duration = Duration::from_secs(5);

/// Broadcasts the output of a terminal as it is read.
pub type Tap = broadcast::Sender<Vec<u8>>;

/// The terminals by name of the process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Terminals {
    places: Arc<Mutex<BTreeMap<String, ProcessTerminal>>>,
}

#[derive(Debug)]
struct ProcessTerminal {
    /// devrun's side of the current child's terminal. Replaced at each start.
    side: Option<Arc<File>>,
    tap: Tap,
    size: Option<(u16, u16)>,
}

impl Terminals {
    /// Adds an entry for each of `processes` that has a terminal.
    pub fn expect(&self, processes: &[Process]) {
        let mut places = self.lock();
        for process in processes.iter().filter(|process| process.tty) {
            let place = ProcessTerminal { side: None, tap: broadcast::Sender::new(BACKLOG), size: None };
            places.insert(process.name.clone(), place);
        }
    }

    /// Records that a child of `name` was started on the terminal with devrun's side `side`. Returns the channel for
    /// its output.
    pub(super) fn begin(&self, name: &str, side: std::io::Result<OwnedFd>) -> Option<Tap> {
        let mut places = self.lock();
        let place = places.get_mut(name)?;
        place.side = side.ok().map(|side| Arc::new(File::from(side)));
        if let (Some(side), Some(size)) = (&place.side, place.size) {
            set_size(side, size);
        }
        Some(place.tap.clone())
    }

    /// Returns true if `name` has a terminal.
    pub fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Subscribes to the output of the terminal of `name`.
    pub fn watch(&self, name: &str) -> Option<broadcast::Receiver<Vec<u8>>> {
        self.lock().get(name).map(|place| place.tap.subscribe())
    }

    /// Sets the size of the terminal of `name`, also for later children.
    pub fn resize(&self, name: &str, rows: u16, columns: u16) {
        if let Some(place) = self.lock().get_mut(name) {
            place.size = Some((rows, columns));
            if let Some(side) = &place.side {
                set_size(side, (rows, columns));
            }
        }
    }

    /// Types `bytes` into the terminal of `name`. Drops the rest if the child does not read it within 5 s.
    pub async fn type_in(&self, name: &str, mut bytes: &[u8]) {
        let Some(side) = self.lock().get(name).and_then(|place| place.side.clone()) else { return };
        let start = std::time::Instant::now();
        while !bytes.is_empty() && start.elapsed() < INPUT_LIMIT {
            match (&*side).write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::time::sleep(RETRY).await,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The last program on the terminal has ended.
                Err(_) => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, ProcessTerminal>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_size(terminal: &File, (rows, columns): (u16, u16)) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // Ignore errors, because programs also work on a terminal without a size.
    let _ = tcsetwinsize(terminal, size);
}
