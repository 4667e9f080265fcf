//! `devrun attach NAME`: types into the terminal of a process (`tty: true`) and shows what it shows. Ctrl-] leaves.

use std::future::Future;
use std::io::{IsTerminal, Read, Write};
use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::args;
use crate::context::Context;
use crate::control::attach::{Piece, send};
use crate::control::client::Client;
use crate::error::{Code, Exit, Report};
use crate::ui::console::Console;

/// Ctrl-]: ends the attachment and not the process, as in telnet.
const LEAVE: u8 = 0x1d;
/// How long the terminal must show nothing, once nothing more will be typed, until this ends.
const LINGER: Duration = Duration::from_millis(500);

pub(super) async fn run(ctx: &Context, console: &Console, args: &args::Attach) -> Result<Exit, Report> {
    let found = super::running::find(ctx).await?;
    let stream = Client::new(found.socket()?).attach(&args.name).await?;
    let mut sizes = signal(SignalKind::window_change()).map_err(|error| lost(&error))?;
    // From before the terminal is changed: whoever ends this must leave it as it was.
    let asked = asked_to_end().map_err(|error| lost(&error))?;
    let _raw = Raw::enter();
    if std::io::stdin().is_terminal() {
        ctx.events.note(format!("attached to {}; Ctrl-] leaves", args.name));
        console.flush();
    }
    tokio::select! {
        exit = asked => Ok(exit),
        talked = talk(stream, &mut sizes) => talked,
    }
}

/// Passes on what is typed and shown, to the end of either.
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
                        // What was typed before leaving was meant.
                        let _ = send(&mut to, &Piece::Typed(bytes[..at].to_vec())).await;
                        return Ok(Exit::Ok);
                    }
                    None => send(&mut to, &Piece::Typed(bytes)).await.map_err(|error| lost(&error))?,
                },
                None => typing = false,
            },
            _ = sizes.recv() => if let Some(size) = size() {
                send(&mut to, &size).await.map_err(|error| lost(&error))?;
            },
        }
    }
}

/// As it comes: it commands the terminal, which is what it is for. Beside this thread: a terminal that was halted (Ctrl-S)
/// takes nothing, and signals must be heard.
async fn show(bytes: Vec<u8>) -> std::io::Result<()> {
    let write = move || {
        let mut out = std::io::stdout().lock();
        out.write_all(&bytes)?;
        out.flush()
    };
    tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other)?
}

fn lost(error: &std::io::Error) -> Report {
    Report::new(Code::NotRunning, format!("the attachment broke off: {error}"))
}

/// Resolves when a signal asks this program to end, with the status that says so.
fn asked_to_end() -> std::io::Result<impl Future<Output = Exit>> {
    let mut interrupts = signal(SignalKind::interrupt())?;
    let mut terms = signal(SignalKind::terminate())?;
    let mut hangups = signal(SignalKind::hangup())?;
    let mut quits = signal(SignalKind::quit())?;
    Ok(async move {
        let kind = tokio::select! {
            _ = interrupts.recv() => SignalKind::interrupt(),
            _ = terms.recv() => SignalKind::terminate(),
            _ = hangups.recv() => SignalKind::hangup(),
            _ = quits.recv() => SignalKind::quit(),
        };
        Exit::from_signal(kind.as_raw_value())
    })
}

/// What is typed, read by a thread: reading a terminal cannot be given up half-way.
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

fn size() -> Option<Piece> {
    tcgetwinsize(std::io::stdout()).ok().map(|size| Piece::Size(size.ws_row, size.ws_col))
}

/// The terminal hands over each key as it is, until this is dropped.
struct Raw {
    before: Option<Termios>,
}

impl Raw {
    fn enter() -> Raw {
        let before = tcgetattr(std::io::stdin()).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            // A terminal that cannot is typed into line by line.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Flush, &raw);
        }
        Raw { before }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // At once: one that was halted would be waited for, for ever.
            let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
