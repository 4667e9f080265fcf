//! The output of all processes. One thread reads every pipe, cuts the output into whole lines and passes them on in
//! chunks.
//!
//! Framing and back-pressure are done here: a slow reader slows the children down, so that memory stays bounded.
//! Prefixes and colours are the task of the [`Sink`].

mod backpressure;
mod frame;
mod mux;
mod stream;

pub use backpressure::Backpressure;
pub use frame::Framer;
pub use mux::Mux;
pub use stream::OutputSource;

/// Receives whole lines. Called from the output thread.
pub trait Sink: Send {
    /// Takes `chunk` of process number `process`: one or more whole lines, each ending in `\n`. If `continued`, the
    /// first line is the rest of a line whose beginning was passed before. Errors if the reader of the sink's output
    /// has gone. Later chunks are still passed, for sinks with other readers, such as log files; further errors have no
    /// effect.
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> std::io::Result<()>;

    /// Returns the backpressure that shows how long this sink has waited for the reader of its output. Called once, before the
    /// first line.
    fn backpressure(&self) -> Backpressure {
        Backpressure::default()
    }
}

impl<S: Sink + ?Sized> Sink for Box<S> {
    fn lines(&mut self, process: usize, chunk: &[u8], continued: bool) -> std::io::Result<()> {
        (**self).lines(process, chunk, continued)
    }

    fn backpressure(&self) -> Backpressure {
        (**self).backpressure()
    }
}
