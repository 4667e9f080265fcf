//! Takes the whole terminal for a view that redraws itself. Restores the terminal at the end, before a panic is reported, and
//! while another program uses it.

use std::future::Future;
use std::io::{self, Stdout, stdout};
use std::time::Duration;

use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event as TerminalEvent, KeyEvent, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{Frame, Terminal};

/// The terminal in raw mode, with its alternate screen. Dropping it restores the terminal.
pub struct FullScreen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl FullScreen {
    /// Takes the terminal that is standard input and output. Errors if it cannot be changed.
    pub fn enter() -> io::Result<FullScreen> {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            leave();
            report(info);
        }));
        take()?;
        match Terminal::new(CrosstermBackend::new(stdout())) {
            Ok(terminal) => Ok(FullScreen { terminal }),
            Err(error) => {
                leave();
                Err(error)
            }
        }
    }

    /// Draws a picture. Writes only the cells that differ from the picture before.
    pub fn draw(&mut self, picture: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(picture).map(drop)
    }

    /// Restores the terminal until `other` is done, and takes it again.
    pub async fn lend<T>(&mut self, other: impl Future<Output = T>) -> io::Result<T> {
        leave();
        let result = other.await;
        take()?;
        // The screen is empty, and so is the picture of a new terminal. `Terminal::clear` would ask the terminal for the cursor and
        // wait for its answer.
        self.terminal = Terminal::new(CrosstermBackend::new(stdout()))?;
        Ok(result)
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        leave();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen, Hide).inspect_err(|_| leave())
}

fn leave() {
    // A terminal that is closed cannot be restored, and need not be.
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Waits at most `limit` for a key. Blocks the thread. Errors if the terminal is closed.
pub fn next_key(limit: Duration) -> io::Result<Option<KeyEvent>> {
    if !event::poll(limit)? {
        return Ok(None);
    }
    match event::read()? {
        TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => Ok(Some(key)),
        // The next picture has the new size.
        _ => Ok(None),
    }
}
