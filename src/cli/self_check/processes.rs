//! Reports how well devrun can end the processes that it starts.

use super::line::{CheckLine, Promise};
use crate::os::cgroup::ControlGroup;
use crate::os::{proc, spawn};

/// The facts of this family.
pub(super) struct ProcessFacts {
    /// True if /proc shows the processes of this namespace.
    sees_processes: bool,
    /// True if a process can be named by a descriptor, so that no other one gets its signal.
    has_pidfd: bool,
    group: GroupFact,
}

/// Whether a run gets a control group.
#[derive(Clone, Debug, PartialEq, Eq)]
enum GroupFact {
    /// This system has no cgroup v2.
    None,
    /// A group could not be made, for this reason.
    Refused(String),
    /// A group was made and removed.
    Made,
}

pub(super) fn facts() -> ProcessFacts {
    ProcessFacts {
        sees_processes: proc::is_ours(),
        has_pidfd: spawn::pidfd(std::process::id()).is_some(),
        group: group(),
    }
}

/// Makes a group with this process in it, as a run does, and removes the group.
fn group() -> GroupFact {
    let own = std::process::id();
    let Some(group) = ControlGroup::of_run(&format!("{:x}.{own:x}", u64::MAX)) else {
        return GroupFact::None;
    };
    if let Err(error) = group.enter() {
        return GroupFact::Refused(error.to_string());
    }
    group.release(own);
    group.remove();
    GroupFact::Made
}

pub(super) fn judge(facts: &ProcessFacts) -> Vec<CheckLine> {
    let line = |name, promise, text: String| CheckLine::new("processes", name, promise, text);
    let table = if facts.sees_processes {
        line("/proc", Promise::Kept, "shows the processes: leftovers and holders of ports are found".into())
    } else {
        line(
            "/proc",
            Promise::Limited,
            "does not show the processes here: leftovers and holders of ports cannot be named".into(),
        )
    };
    let signals = if facts.has_pidfd {
        line("pidfd", Promise::Kept, "a signal reaches the process that was meant, and no other".into())
    } else {
        line(
            "pidfd",
            Promise::Limited,
            "not there: the start time of a process is compared before a signal".into(),
        )
    };
    let group = match &facts.group {
        GroupFact::Made => line(
            "cgroup v2",
            Promise::Kept,
            "each run has a control group: after `kill -9` of both devrun processes, the next command ends the rest".into(),
        ),
        GroupFact::Refused(reason) => line(
            "cgroup v2",
            Promise::Limited,
            format!(
                "no group can be made ({reason}): after `kill -9` of both devrun processes, a process that left its session \
                 and cleared its environment is not found"
            ),
        ),
        GroupFact::None => line(
            "cgroup v2",
            Promise::Limited,
            "not there: after `kill -9` of both devrun processes, a process that left its session and cleared its \
             environment is not found"
                .into(),
        ),
    };
    vec![table, signals, group]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_control_groups_the_promise_is_limited() {
        let promises = |group| {
            let facts = ProcessFacts { sees_processes: true, has_pidfd: false, group };
            judge(&facts).iter().map(|line| line.promise).collect::<Vec<_>>()
        };
        assert_eq!(promises(GroupFact::Made), [Promise::Kept, Promise::Limited, Promise::Kept]);
        assert_eq!(promises(GroupFact::Refused("x".into()))[2], Promise::Limited);
        assert_eq!(promises(GroupFact::None)[2], Promise::Limited);
    }
}
