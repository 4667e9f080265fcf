//! Decides from the system's error why a program did not start: because of the program, or because the system starts no more
//! processes. Pure.

use std::io::{Error, ErrorKind};

use nix::errno::Errno;

use crate::error::{Code, Report};

/// The reason why a program did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartObstacle {
    /// It is missing, or this user cannot execute it.
    Program,
    /// The limit of processes is reached.
    Processes,
    /// There is no memory for it.
    Memory,
    /// The limit of open files is reached.
    Files,
    /// Another reason.
    Unknown,
}

impl StartObstacle {
    /// Returns the reason of `error`.
    pub fn of(error: &Error) -> StartObstacle {
        match error.raw_os_error().map(Errno::from_raw) {
            Some(
                Errno::ENOENT
                | Errno::EACCES
                | Errno::EISDIR
                | Errno::ELOOP
                | Errno::ENAMETOOLONG
                | Errno::ENOEXEC
                | Errno::ENOTDIR,
            ) => StartObstacle::Program,
            Some(Errno::EAGAIN) => StartObstacle::Processes,
            Some(Errno::ENOMEM) => StartObstacle::Memory,
            Some(Errno::EMFILE | Errno::ENFILE) => StartObstacle::Files,
            // The standard library rejects a path with a zero byte itself.
            None if error.kind() == ErrorKind::NotFound => StartObstacle::Program,
            _ => StartObstacle::Unknown,
        }
    }

    /// Returns what to do if the system is at fault. `None` if the program or an unknown reason is.
    pub fn system_fix(self) -> Option<&'static str> {
        match self {
            StartObstacle::Processes => Some(
                "end other processes, or raise the limit of processes (`ulimit -u`, or that of the container)",
            ),
            StartObstacle::Memory => Some("free some memory: `devrun ls` lists the stacks that run"),
            StartObstacle::Files => Some("raise the limit of open files (`ulimit -n 4096`)"),
            StartObstacle::Program | StartObstacle::Unknown => None,
        }
    }
}

/// Returns the error for something that devrun needs from the system and did not get. An error that no limit of the system explains
/// is a bug.
pub fn refused(message: impl Into<String>, error: &Error) -> Report {
    let message = format!("{}: {error}", message.into());
    match StartObstacle::of(error).system_fix() {
        Some(fix) => {
            Report::new(Code::State, message).with_fix(format!("{fix}, then run the same command again"))
        }
        None => Report::bug(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Fault;

    #[test]
    fn a_full_system_is_no_bug_of_devrun() {
        let report = refused("cannot fork", &Errno::EAGAIN.into());
        assert_eq!((report.code, report.fault), (Code::State, Some(Fault::Environment)));
        assert!(report.fix.is_some_and(|fix| fix.contains("`ulimit -u`")));
        assert_eq!(refused("cannot fork", &Errno::EINVAL.into()).code, Code::Bug);
    }

    #[test]
    fn obstacle_of_the_program_differs_from_one_of_the_system() {
        for (errno, obstacle, has_fix) in [
            (Errno::ENOENT, StartObstacle::Program, false),
            (Errno::EACCES, StartObstacle::Program, false),
            (Errno::ENOEXEC, StartObstacle::Program, false),
            (Errno::EAGAIN, StartObstacle::Processes, true),
            (Errno::ENOMEM, StartObstacle::Memory, true),
            (Errno::EMFILE, StartObstacle::Files, true),
            (Errno::E2BIG, StartObstacle::Unknown, false),
        ] {
            let found = StartObstacle::of(&errno.into());
            assert_eq!((found, found.system_fix().is_some()), (obstacle, has_fix), "{errno}");
        }
    }
}
