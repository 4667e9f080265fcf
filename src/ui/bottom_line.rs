//! Keeps one line at the bottom of the terminal, below everything else that is written. Every writer erases it before and draws
//! it again after, under one lock, so that no other line is torn.
//!
//! It is erased with spaces instead of escape sequences, so that it also works where those are not wanted. While a shell has the
//! terminal (Ctrl-Z), nothing is erased and nothing is drawn.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::shared_stream::SharedStream;
use super::status_line::StatusLine;
use super::style::Style;
use crate::event::Event;
use crate::os::proc;

/// The columns behind the text that stay free: a terminal shows `^C` there.
const FREE: usize = 3;
/// The width of a terminal that does not report its width.
const USUAL_WIDTH: usize = 80;
/// How many pauses of 0.1 ms a bulk write makes to let short messages through.
const BULK_PAUSES: u32 = 20;

/// The line at the bottom. A clone is the same line.
#[derive(Clone)]
pub(super) struct BottomLine {
    stream: Arc<SharedStream>,
    style: Style,
    is_kept: Arc<AtomicBool>,
    drawn: Arc<Mutex<DrawnLine>>,
    /// The number of short messages that wait for the lock.
    urgent: Arc<AtomicUsize>,
}

#[derive(Default)]
struct DrawnLine {
    status: StatusLine,
    /// The columns that the line takes on the screen; 0 if it is not there.
    columns: usize,
    /// The text on the screen, and the width that it was made for.
    text: (String, usize),
    /// True while something else is at the bottom.
    is_hidden: bool,
}

impl BottomLine {
    /// Returns a line on the terminal `stream` that is not kept yet.
    pub(super) fn new(stream: Arc<SharedStream>, style: Style) -> BottomLine {
        BottomLine { stream, style, is_kept: Arc::default(), drawn: Arc::default(), urgent: Arc::default() }
    }

    /// Draws the line from now on.
    pub(super) fn keep(&self) {
        self.is_kept.store(true, Ordering::Relaxed);
        self.refresh();
    }

    pub(super) fn is_kept(&self) -> bool {
        self.is_kept.load(Ordering::Relaxed)
    }

    /// Erases the line, and draws it no more.
    pub(super) fn end(&self) {
        if self.is_kept.swap(false, Ordering::Relaxed) {
            self.erase(&mut self.lock());
        }
    }

    /// Updates the states with `event`, and draws the line if it has changed.
    pub(super) fn note(&self, event: &Event) {
        self.lock().status.note(event);
        self.refresh();
    }

    /// Erases the line while something else is at the bottom, or draws it again.
    pub(super) fn hide(&self, is_hidden: bool) {
        let mut drawn = self.lock();
        drawn.is_hidden = is_hidden;
        self.erase(&mut drawn);
        self.draw(&mut drawn);
    }

    /// Draws the line again if its text or the width of the terminal has changed, or if the terminal was taken back.
    pub(super) fn refresh(&self) {
        if !self.is_kept() {
            return;
        }
        let mut drawn = self.lock();
        let width = width();
        if drawn.columns == 0 || drawn.text != (drawn.status.text(room(width)), width) {
            self.erase(&mut drawn);
            self.draw(&mut drawn);
        }
    }

    /// Writes a short message with `write`, above the line.
    pub(super) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.urgent.fetch_add(1, Ordering::Relaxed);
        let mut drawn = self.lock();
        self.urgent.fetch_sub(1, Ordering::Relaxed);
        self.write(&mut drawn, write)
    }

    /// Writes a part of bulk output with `write`, above the line. Lets short messages through first.
    pub(super) fn above_in_bulk<T>(&self, write: impl FnOnce() -> T) -> T {
        if !self.is_kept() {
            return write();
        }
        for _ in 0..BULK_PAUSES {
            if self.urgent.load(Ordering::Relaxed) == 0 {
                break;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        self.write(&mut self.lock(), write)
    }

    fn write<T>(&self, drawn: &mut DrawnLine, write: impl FnOnce() -> T) -> T {
        if !self.is_kept() {
            return write();
        }
        self.erase(drawn);
        let result = write();
        self.draw(drawn);
        result
    }

    fn draw(&self, drawn: &mut DrawnLine) {
        if !self.is_kept() || drawn.is_hidden || !has_terminal() {
            return;
        }
        let width = width();
        let text = drawn.status.text(room(width));
        if text.is_empty() || self.stream.say(self.style.dim(&text).as_bytes()).is_err() {
            return;
        }
        drawn.columns = console::measure_text_width(&text);
        drawn.text = (text, width);
    }

    fn erase(&self, drawn: &mut DrawnLine) {
        let columns = std::mem::take(&mut drawn.columns);
        if columns == 0 || !has_terminal() {
            return;
        }
        // In the last column, a terminal may begin a new line.
        let blank = " ".repeat((columns + FREE - 1).min(width().saturating_sub(1)));
        let erased: io::Result<()> = self.stream.say(format!("\r{blank}\r").as_bytes());
        // A terminal that cannot be written to is closed.
        drop(erased);
    }

    fn lock(&self) -> MutexGuard<'_, DrawnLine> {
        self.drawn.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns how many columns the text may take.
fn room(width: usize) -> usize {
    width.saturating_sub(FREE)
}

/// Returns the number of columns of the terminal.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    size.ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
}

/// Returns false while a shell has taken the terminal from the process that the user started.
fn has_terminal() -> bool {
    let keeper = nix::unistd::getppid().as_raw().cast_unsigned();
    !proc::is_in_background(keeper)
}
