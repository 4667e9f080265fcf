//! The text of the status line: the state of each process, and the URL. Pure.

use console::{measure_text_width, truncate_str};

use super::style::harmless;
use crate::event::{Event, ProcessState};

/// The states and the URL that the status line shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StatusLine {
    /// Names with their states, in the order in which they were reported first.
    processes: Vec<(String, LineState)>,
    /// Processes without a probe: they are ready as soon as they are started.
    unprobed: Vec<String>,
    url: Option<String>,
    is_stopping: bool,
}

impl StatusLine {
    /// Updates the states with `event`.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Process { name, state } => {
                let is_ready = matches!(state, ProcessState::Started { .. }) && self.unprobed.contains(name);
                let state = if is_ready { LineState::Ready } else { LineState::of(state) };
                match self.processes.iter_mut().find(|(known, _)| known == name) {
                    Some((_, known)) => *known = state,
                    None => self.processes.push((name.clone(), state)),
                }
            }
            Event::Ready { plan, .. } => {
                let unprobed = plan.processes.iter().filter(|process| process.ready.is_none());
                self.unprobed = unprobed.map(|process| process.name.clone()).collect();
                for (name, state) in &mut self.processes {
                    if *state == LineState::Starting && self.unprobed.contains(name) {
                        *state = LineState::Ready;
                    }
                }
                self.url = plan.started_urls().into_iter().next().map(|(_, url)| harmless(&url));
            }
            Event::Stopping { .. } => self.is_stopping = true,
            _ => {}
        }
    }

    /// Returns the text in at most `width` columns. Shortens it in steps: first to the processes that are not ready, then without
    /// the URL, then by cutting it off.
    pub(super) fn text(&self, width: usize) -> String {
        if self.processes.is_empty() || width == 0 {
            return String::new();
        }
        let state = |(name, state): &(String, LineState)| format!("{} {}", harmless(name), state.word());
        let all: Vec<String> = self.processes.iter().map(state).collect();
        let others = self.processes.iter().filter(|(_, state)| *state != LineState::Ready);
        let others: Vec<String> = others.map(state).collect();
        let ready = self.processes.len() - others.len();
        let few = [vec![format!("{ready}/{} ready", self.processes.len())], others].concat();
        let begin = if self.is_stopping { "stopping: " } else { "" };
        let url = self.url.iter().filter(|_| !self.is_stopping).map(|url| format!("  {url}")).next();
        let url = url.unwrap_or_default();
        let line = |words: &[String], url: &str| format!("{begin}{}{url}", words.join(", "));
        let fits = |text: &String| measure_text_width(text) <= width;
        let lines = [line(&all, &url), line(&few, &url), line(&all, ""), line(&few, "")];
        lines
            .iter()
            .find(|line| fits(line))
            .cloned()
            .unwrap_or_else(|| truncate_str(&lines[3], width, "\u{2026}").into_owned())
    }
}

/// The states of a process that the line distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineState {
    Waiting,
    Starting,
    Ready,
    NotReady,
    Restarting,
    Stopping,
    Stopped,
    Ended,
    Skipped,
    Failed,
}

impl LineState {
    const fn of(state: &ProcessState) -> LineState {
        match state {
            ProcessState::Waiting { .. } => LineState::Waiting,
            ProcessState::Started { .. } | ProcessState::Stuck { broken: None } => LineState::Starting,
            ProcessState::Ready => LineState::Ready,
            ProcessState::Unready { .. } | ProcessState::Stuck { broken: Some(_) } => LineState::NotReady,
            ProcessState::Restarting { .. } => LineState::Restarting,
            ProcessState::Stopping => LineState::Stopping,
            ProcessState::Stopped(_) => LineState::Stopped,
            ProcessState::Ended(_) => LineState::Ended,
            ProcessState::Skipped { .. } => LineState::Skipped,
            ProcessState::GaveUp { .. } => LineState::Failed,
        }
    }

    /// Returns the state as the line shows it.
    const fn word(self) -> &'static str {
        match self {
            LineState::Waiting => "waiting",
            LineState::Starting => "starting",
            LineState::Ready => "ready",
            LineState::NotReady => "not ready",
            LineState::Restarting => "restarting",
            LineState::Stopping => "stopping",
            LineState::Stopped => "stopped",
            LineState::Ended => "ended",
            LineState::Skipped => "skipped",
            LineState::Failed => "failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(processes: &[(&str, LineState)], url: Option<&str>) -> StatusLine {
        let processes = processes.iter().map(|(name, state)| ((*name).to_string(), *state)).collect();
        StatusLine { processes, url: url.map(str::to_string), ..StatusLine::default() }
    }

    #[test]
    fn the_line_is_shortened_in_steps() {
        let line = line(
            &[
                ("frontend", LineState::Ready),
                ("backend", LineState::Restarting),
                ("worker", LineState::Ready),
            ],
            Some("http://localhost:3147"),
        );
        let all = "frontend ready, backend restarting, worker ready";
        assert_eq!(line.text(80), format!("{all}  http://localhost:3147"));
        assert_eq!(line.text(60), "2/3 ready, backend restarting  http://localhost:3147");
        assert_eq!(line.text(48), all);
        assert_eq!(line.text(40), "2/3 ready, backend restarting");
        assert_eq!(line.text(12), "2/3 ready, \u{2026}");
        assert_eq!(line.text(0), "");
    }

    #[test]
    fn states_follow_the_events() {
        let mut line = StatusLine::default();
        assert_eq!(line.text(80), "");
        let process = |name: &str, state| Event::Process { name: name.into(), state };
        line.note(&process("web", ProcessState::Waiting { on: vec!["node".into()] }));
        line.note(&process("api", ProcessState::Started { pid: 1, at: None }));
        assert_eq!(line.text(80), "web waiting, api starting");
        line.note(&process("web", ProcessState::Ready));
        line.note(&Event::Stopping { why: "Ctrl-C".into(), failure: false });
        assert_eq!(line.text(80), "stopping: web ready, api starting");
    }
}
