//! The terminals of processes that have one, for people elsewhere who want to type into them and see what they show.
//!
//! Shared between the loop of the run, which gives each new child's terminal, and whoever attaches. Knows nothing of who
//! that is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::termios::{Winsize, tcsetwinsize};
use tokio::sync::broadcast;

use crate::plan::Process;

/// How many pieces of output somebody may lag behind before some are left out.
const BACKLOG: usize = 256;
/// Time between two tries to give input to a child that does not read.
const RETRY: Duration = Duration::from_millis(10);
/// How long such a child is tried.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a terminal shows, as it comes.
pub type Tap = broadcast::Sender<Vec<u8>>;

/// All of them, by the name of the process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Terminals {
    places: Arc<Mutex<BTreeMap<String, Place>>>,
}

#[derive(Debug)]
struct Place {
    /// Our side; the child's present one, replaced with each start.
    side: Option<Arc<File>>,
    tap: Tap,
    size: Option<(u16, u16)>,
}

impl Terminals {
    /// Makes room for those of `processes` that have a terminal.
    pub fn expect(&self, processes: &[Process]) {
        let mut places = self.lock();
        for process in processes.iter().filter(|process| process.tty) {
            let place = Place { side: None, tap: broadcast::Sender::new(BACKLOG), size: None };
            places.insert(process.name.clone(), place);
        }
    }

    /// A child of `name` was started on the terminal whose our side is `side`. Returns where to send what it shows.
    pub(super) fn begin(&self, name: &str, side: std::io::Result<OwnedFd>) -> Option<Tap> {
        let mut places = self.lock();
        let place = places.get_mut(name)?;
        place.side = side.ok().map(|side| Arc::new(File::from(side)));
        if let (Some(side), Some(size)) = (&place.side, place.size) {
            set_size(side, size);
        }
        Some(place.tap.clone())
    }

    /// True when `name` has a terminal.
    pub fn has(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// What the terminal of `name` shows from now on.
    pub fn watch(&self, name: &str) -> Option<broadcast::Receiver<Vec<u8>>> {
        self.lock().get(name).map(|place| place.tap.subscribe())
    }

    /// Tells the programs of `name` how many rows and columns whoever looks has.
    pub fn resize(&self, name: &str, rows: u16, columns: u16) {
        if let Some(place) = self.lock().get_mut(name) {
            place.size = Some((rows, columns));
            if let Some(side) = &place.side {
                set_size(side, (rows, columns));
            }
        }
    }

    /// Types `bytes`. What a child does not take for long is dropped.
    pub async fn type_in(&self, name: &str, mut bytes: &[u8]) {
        let Some(side) = self.lock().get(name).and_then(|place| place.side.clone()) else { return };
        let start = std::time::Instant::now();
        while !bytes.is_empty() && start.elapsed() < PATIENCE {
            match (&*side).write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => tokio::time::sleep(RETRY).await,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Its last program is gone.
                Err(_) => return,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn set_size(terminal: &File, (rows, columns): (u16, u16)) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // A terminal without a size works too.
    let _ = tcsetwinsize(terminal, size);
}
