//! The output of all processes: one thread reads every pipe, cuts it into whole lines and hands them on in chunks.
//!
//! Owns framing and back-pressure: a slow reader slows the children down, memory stays bounded. Refuses to know what a
//! prefix or a colour is: that is the [`Sink`]'s.

mod frame;
mod mux;

pub use frame::{Framer, LONGEST_LINE};
pub use mux::{Mux, Source};

/// Where whole lines go. Called from the output thread.
pub trait Sink: Send {
    /// Takes `chunk` of process number `process`: one or more whole lines, each ending in `\n`. The first of them is
    /// the rest of a line whose beginning was shown before when `continued`. An error means that nobody reads any more.
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> std::io::Result<()>;
}
