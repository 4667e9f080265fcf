//! Defines why a run ends and which exit status that gives.

use std::fmt;

use crate::error::{Code, Exit, Report};
use crate::event::Ending;

/// Why a run is stopped.
#[derive(Clone, Debug)]
pub enum StopReason {
    /// devrun received this signal.
    Signal(i32),
    /// The reader of standard output has closed it.
    OutputClosed,
    /// The keeper, the process that the user started, was killed.
    KeeperGone,
    /// The process that the stack was bound to has ended, and the grace period is over.
    BoundProcessGone {
        /// The name of the process.
        name: String,
        /// The id that it had.
        pid: u32,
    },
    /// A kill was requested while the run was not being stopped.
    Killed,
    /// A process ended and should have gone on.
    Ended {
        /// The name of the process.
        name: String,
        /// How the process ended.
        ending: Ending,
        /// How often it had been restarted.
        restarts: u32,
    },
    /// Something failed.
    Failed(Report),
    /// Every process has finished its work.
    AllEnded,
}

impl StopReason {
    /// Returns true if the run ends with an error report.
    pub fn is_failure(&self) -> bool {
        match self {
            StopReason::Ended { ending, .. } => !ending.ok(),
            StopReason::Failed(_) => true,
            _ => false,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StopReason::Signal(2) => f.write_str("Ctrl-C"),
            StopReason::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(name) => f.write_str(name.as_str()),
                Err(_) => write!(f, "signal {signal}"),
            },
            StopReason::OutputClosed => f.write_str("the reader of the output has closed it"),
            StopReason::KeeperGone => f.write_str("the devrun process that the user started is gone"),
            StopReason::BoundProcessGone { name, pid } => {
                write!(f, "{name} (pid {pid}), which the stack was bound to, is gone")
            }
            StopReason::Killed => f.write_str("killed"),
            StopReason::Ended { name, ending: Ending::Code(0), restarts: 0 } => {
                write!(f, "{name} ended with 0 and so ended the stack")
            }
            StopReason::Ended { name, ending, restarts: 0 } => write!(f, "{name} ended with {ending}"),
            StopReason::Ended { name, ending, restarts } => {
                let times = if *restarts == 1 { "restart" } else { "restarts" };
                write!(f, "{name} ended with {ending}; given up after {restarts} {times}")
            }
            StopReason::Failed(report) => f.write_str(&report.message),
            StopReason::AllEnded => f.write_str("every process has ended"),
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The exit status of devrun.
    pub exit: Exit,
    /// The error, if the run failed.
    pub report: Option<Report>,
    /// The reason, if a process ended the run with status 0. That is no failure, but clients that wait for the stack
    /// must learn it.
    pub remark: Option<Report>,
    /// The name of the process that ended the run.
    pub process: Option<String>,
}

impl From<StopReason> for Outcome {
    fn from(why: StopReason) -> Outcome {
        let plain = |exit| Outcome { exit, report: None, remark: None, process: None };
        match why {
            StopReason::Signal(signal) => plain(Exit::from_signal(signal)),
            StopReason::OutputClosed => plain(Exit::from_signal(nix::libc::SIGPIPE)),
            StopReason::KeeperGone | StopReason::Killed => plain(Exit::from_signal(nix::libc::SIGKILL)),
            StopReason::AllEnded | StopReason::BoundProcessGone { .. } => plain(Exit::Ok),
            StopReason::Failed(report) => report.into(),
            StopReason::Ended { ending, ref name, .. } => {
                let exit = match ending {
                    Ending::Code(0) => {
                        let report = Report::new(Code::ProcessEnded, why.to_string());
                        let remark = Some(report.about(name));
                        return Outcome { remark, process: Some(name.clone()), ..plain(Exit::Ok) };
                    }
                    Ending::Code(code) => Exit::Child(u8::try_from(code).unwrap_or(255)),
                    Ending::Signal(signal) => Exit::Child(Exit::from_signal(signal).status()),
                };
                let report = Report::new(Code::ProcessEnded, why.to_string()).with_exit(exit);
                let report = Some(report.about(name));
                Outcome { report, process: Some(name.clone()), ..plain(exit) }
            }
        }
    }
}

impl From<Report> for Outcome {
    fn from(report: Report) -> Outcome {
        Outcome { exit: report.exit, report: Some(report), remark: None, process: None }
    }
}
