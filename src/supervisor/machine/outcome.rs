//! Why a run ends, and with what status.

use std::fmt;

use crate::error::{Code, Exit, Report};
use crate::event::Ending;

/// Why a run is taken down.
#[derive(Clone, Debug)]
pub enum Why {
    /// This signal was sent to devrun.
    Signal(i32),
    /// Nobody reads standard output any more.
    OutputClosed,
    /// The keeper is gone: somebody killed the process the user started.
    KeeperGone,
    /// A second request while stopping, or a kill from the start.
    Killed,
    /// A process ended that should have gone on.
    Ended {
        /// Its name.
        name: String,
        /// How.
        ending: Ending,
        /// How often it had been started again.
        restarts: u32,
    },
    /// Something failed.
    Failed(Report),
    /// Every process did what it was for.
    AllEnded,
}

impl Why {
    /// True when a report tells it at the end.
    pub fn is_failure(&self) -> bool {
        match self {
            Why::Ended { ending, .. } => !ending.ok(),
            Why::Failed(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Signal(2) => f.write_str("Ctrl-C"),
            Why::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => f.write_str(name.as_str()),
                Err(_) => write!(f, "signal {signal}"),
            },
            Why::OutputClosed => f.write_str("nobody reads the output any more"),
            Why::KeeperGone => f.write_str("the process that was started is gone"),
            Why::Killed => f.write_str("killed"),
            Why::Ended { name, ending, restarts: 0 } => write!(f, "{name} ended with {ending}"),
            Why::Ended { name, ending, restarts } => {
                write!(f, "{name} ended with {ending}; given up after {restarts} restarts")
            }
            Why::Failed(report) => f.write_str(&report.message),
            Why::AllEnded => f.write_str("every process has ended"),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The status for the program.
    pub exit: Exit,
    /// What to tell about it, when it was a failure.
    pub report: Option<Report>,
    /// The process whose end it was.
    pub process: Option<String>,
}

impl From<Why> for Outcome {
    fn from(why: Why) -> Outcome {
        let plain = |exit| Outcome { exit, report: None, process: None };
        match why {
            Why::Signal(signal) => plain(Exit::from_signal(signal)),
            Why::OutputClosed => plain(Exit::from_signal(nix::libc::SIGPIPE)),
            Why::KeeperGone | Why::Killed => plain(Exit::from_signal(nix::libc::SIGKILL)),
            Why::AllEnded => plain(Exit::Ok),
            Why::Failed(report) => report.into(),
            Why::Ended { ending, ref name, .. } => {
                let exit = match ending {
                    Ending::Code(0) => return plain(Exit::Ok),
                    Ending::Code(code) => Exit::Child(u8::try_from(code).unwrap_or(255)),
                    Ending::Signal(signal) => Exit::Child(Exit::from_signal(signal).status()),
                };
                let report = Report::new(Code::ProcessEnded, why.to_string()).with_exit(exit);
                Outcome {
                    exit,
                    report: Some(report.with_fix(format!("devrun why {name}"))),
                    process: Some(name.clone()),
                }
            }
        }
    }
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Outcome {
        Outcome { exit: report.exit, report: Some(report), process: None }
    }
}
