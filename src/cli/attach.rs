//! `devrun attach NAME`: connects this terminal to the terminal of a process (`tty: true`). Ctrl-] leaves.

use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::{args, end_signals};
use crate::context::Context;
use crate::control::attach::{ClientMessage, send};
use crate::control::client::Client;
use crate::error::{Code, Exit, Report};
use crate::ui::console::Console;

/// Ctrl-]: ends the attachment but not the process, as in telnet.
const LEAVE: u8 = 0x1d;
/// How long the process must print nothing after the end of the input until the command ends.
const LINGER: Duration = Duration::from_millis(500);

pub(super) async fn run(ctx: &Context, console: &Console, args: &args::Attach) -> Result<Exit, Report> {
    let found = super::running::find(ctx).await?;
    let stream = Client::new(found.socket()?).attach(&args.name).await?;
    let mut sizes = signal(SignalKind::window_change()).map_err(|error| lost(&error))?;
    // Installed before the terminal is changed, because a signal must not end devrun before the terminal is restored.
    let asked = end_signals::first().map_err(|error| lost(&error))?;
    let _raw = RawMode::enter();
    if std::io::stdin().is_terminal() {
        ctx.events.note(format!("attached to {}; Ctrl-] leaves", args.name));
        console.flush();
    }
    tokio::select! {
        exit = asked => Ok(exit),
        talked = talk(stream, &mut sizes) => talked,
    }
}

/// Passes on input and output until the output ends, the user types Ctrl-], or the process prints nothing for [`LINGER`] after
/// the end of the input.
async fn talk(stream: TokioIo<Upgraded>, sizes: &mut Signal) -> Result<Exit, Report> {
    let (mut from, mut to) = tokio::io::split(stream);
    let mut typed = typed();
    if let Some(size) = size() {
        send(&mut to, &size).await.map_err(|error| lost(&error))?;
    }
    let mut buffer = vec![0; 16 << 10];
    let mut typing = true;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LINGER), if !typing => return Ok(Exit::Ok),
            read = from.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return Ok(Exit::Ok),
                Ok(count) => show(buffer[..count].to_vec()).await.map_err(|error| lost(&error))?,
            },
            bytes = typed.recv(), if typing => match bytes {
                Some(bytes) => match bytes.iter().position(|byte| *byte == LEAVE) {
                    Some(at) => {
                        // The input before Ctrl-] still goes to the process.
                        let _ = send(&mut to, &ClientMessage::Typed(bytes[..at].to_vec())).await;
                        return Ok(Exit::Ok);
                    }
                    None => send(&mut to, &ClientMessage::Typed(bytes)).await.map_err(|error| lost(&error))?,
                },
                None => typing = false,
            },
            _ = sizes.recv() => if let Some(size) = size() {
                send(&mut to, &size).await.map_err(|error| lost(&error))?;
            },
        }
    }
}

/// Prints `bytes` unchanged, because they control the terminal. Runs on another thread: a terminal halted with Ctrl-S
/// blocks the write, and signals must still be handled.
async fn show(bytes: Vec<u8>) -> std::io::Result<()> {
    let write = move || {
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    };
    tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)?
}

fn lost(error: &std::io::Error) -> Report {
    Report::new(Code::NotRunning, format!("the connection to the supervisor was lost: {error}"))
        .with_fix("`devrun status` shows whether the stack runs")
}

/// Returns the input of the user. A thread reads it, because a read from a terminal cannot be cancelled.
fn typed() -> UnboundedReceiver<Vec<u8>> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = std::io::stdin().lock().read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn size() -> Option<ClientMessage> {
    tcgetwinsize(std::io::stdout()).ok().map(|size| ClientMessage::Size(size.ws_row, size.ws_col))
}

/// Keeps the terminal in raw mode until this value is dropped.
struct RawMode {
    before: Option<Termios>,
}

impl RawMode {
    fn enter() -> RawMode {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // If this fails, the terminal sends its input line by line.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &raw);
        }
        RawMode { before }
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // `Now`, because a terminal halted with Ctrl-S would block any call that waits for its output.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
