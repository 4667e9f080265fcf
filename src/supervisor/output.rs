//! The output of all processes: one thread reads every pipe, cuts it into whole lines and hands them on in chunks.
//!
//! Owns framing and back-pressure: a slow reader slows the children down, memory stays bounded. Refuses to know what a
//! prefix or a colour is: that is the [`Sink`]'s.

mod frame;
mod gauge;
mod mux;
mod stream;

pub use frame::{Framer, LONGEST_LINE};
pub use gauge::Gauge;
pub use mux::Mux;
pub use stream::Source;

/// Where whole lines go. Called from the output thread.
pub trait Sink: Send {
    /// Takes `chunk` of process number `process`: one or more whole lines, each ending in `\n`. The first of them is
    /// the rest of a line whose beginning was shown before when `continued`. An error means that nobody reads any more;
    /// what is handed over after that is for whoever else listens in, and an error again says nothing new.
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> std::io::Result<()>;

    /// Shows whether this sink waits for whoever reads its other end. Asked once, before the first line.
    fn gauge(&self) -> Gauge {
        Gauge::default()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> std::io::Result<()> {
        (**self).lines(process, chunk, continued)
    }

    fn gauge(&self) -> Gauge {
        (**self).gauge()
    }
}
