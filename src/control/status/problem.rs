//! Chooses the one problem of a stack that a list has room for. Pure.

use super::process::{ProcessStatus, Word};
use super::{Status, StepState};

impl Status {
    /// Returns the problem that a user should look at first, in one line: the error that ended the stack, a step that failed, a
    /// process that is not as it should be, a connection to a foreign server. `None` if all is well or still starts.
    pub fn problem(&self) -> Option<String> {
        let failed = self.steps.iter().find(|step| step.state == StepState::Failed);
        let process = self.processes.iter().filter_map(trouble).max_by_key(|(weight, _)| *weight);
        self.end()
            .map(|error| error.message.clone())
            .or_else(|| failed.map(|step| format!("{} failed", step.name.name())))
            .or_else(|| process.map(|(_, text)| text))
            .or_else(|| self.isolation.first().map(|finding| format!("not isolated: {}", finding.text())))
            .map(|text| text.lines().next().unwrap_or_default().to_string())
    }
}

/// Returns the problem of a process with its weight, or `None` if it is fine, starts for the first time or stops.
fn trouble(process: &ProcessStatus) -> Option<(u8, String)> {
    let ProcessStatus { name, reason, exit, .. } = process;
    let because = |what: &str| match (reason, exit) {
        (Some(reason), _) => format!("{name}: {reason}"),
        (None, Some(exit)) => format!("{name} {what} with status {exit}"),
        (None, None) => format!("{name} {what}"),
    };
    match process.state {
        Word::Failed => Some((4, because("failed"))),
        Word::Ended if !process.ready => Some((3, because("ended"))),
        Word::Restarting => Some((2, because("ended, and is started again,"))),
        Word::Skipped => Some((1, because("was not started"))),
        Word::Running if !process.ready => reason.as_ref().map(|reason| (2, format!("{name}: {reason}"))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn problem(value: serde_json::Value) -> Option<String> {
        serde_json::from_value::<Status>(value).unwrap().problem()
    }

    #[test]
    fn the_worst_problem_is_named_first() {
        let processes = json!([
            { "name": "web", "state": "running", "ready": false, "reason": "port 3100: refused\nmore" },
            { "name": "api", "state": "failed", "exit": 1 },
            { "name": "db", "state": "waiting", "reason": "waiting for api" },
        ]);
        let status = json!({ "state": "degraded", "processes": processes });
        assert_eq!(problem(status).as_deref(), Some("api failed with status 1"));
        let web = json!([processes[0], processes[2]]);
        let status = json!({ "state": "degraded", "processes": web });
        assert_eq!(problem(status).as_deref(), Some("web: port 3100: refused"));
        let error = json!({ "code": "migration-failed", "message": "it failed\nmore", "exit": 85 });
        let status = json!({ "state": "failed", "processes": processes, "error": error });
        assert_eq!(problem(status).as_deref(), Some("it failed"));
    }

    #[test]
    fn a_stack_that_starts_or_runs_has_no_problem() {
        let processes = json!([
            { "name": "web", "state": "waiting", "reason": "waiting for node" },
            { "name": "api", "state": "running", "ready": true },
            { "name": "tool", "state": "idle" },
        ]);
        assert_eq!(problem(json!({ "state": "preparing", "processes": processes })), None);
    }
}
