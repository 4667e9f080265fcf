//! Finds out what called devrun (a terminal, an agent or a hook), and the session of that caller.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::context::Context;
use crate::context::agent::{self, Agent};
use crate::control::started_by::{Session, StartedBy, StarterKind};
use crate::error::{Code, Report};
use crate::os::proc;
use crate::os::process_identity::ProcessIdentity;
use crate::supervisor::process_binding::ProcessBinding;
use crate::text::hex;

/// The largest number of ancestors that devrun inspects.
const MOST_ANCESTORS: usize = 64;

/// The caller of devrun, in the form in which `up -d` passes it to the devrun in the background.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Caller {
    pub(super) started_by: StartedBy,
    pub(super) session: Option<Session>,
    pub(super) binding: Option<ProcessBinding>,
}

impl Caller {
    /// Returns what called the process `pid`, which is this one or its keeper.
    pub(super) fn of(ctx: &Context, pid: u32) -> Caller {
        let on_terminal = is_on_terminal();
        let agent = agent::recognise(&ctx.env, on_terminal);
        let kind = if is_hook(ctx) {
            StarterKind::Hook
        } else if agent.is_some() {
            StarterKind::Agent
        } else if on_terminal {
            StarterKind::Terminal
        } else {
            StarterKind::Other
        };
        let session = session(agent.as_ref(), pid);
        Caller {
            started_by: StartedBy { kind, agent: agent.map(|agent| agent.name) },
            session,
            binding: None,
        }
    }

    /// Adds the process that the stack is bound to, which is then the session.
    pub(super) fn bound_to(self, binding: Option<ProcessBinding>) -> Caller {
        let session = binding.as_ref().map(|binding| Session::Bound(binding.process)).or(self.session);
        Caller { session, binding, ..self }
    }

    /// Returns true if the stack of `other` belongs to the session of this command.
    pub(super) fn is_same_session(&self, other: &Session) -> bool {
        match other {
            Session::Bound(process) => ancestors(std::process::id()).any(|ancestor| ancestor == *process),
            other => self.session.as_ref() == Some(other),
        }
    }
}

/// Returns true if a standard stream is a terminal.
pub(super) fn is_on_terminal() -> bool {
    std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal()
}

/// Returns the binding to the process `pid`. Errors if there is none.
pub(super) fn binding(pid: u32, grace_seconds: u64) -> Result<ProcessBinding, Report> {
    let process = ProcessIdentity::of(pid).ok_or_else(|| {
        let report =
            Report::new(Code::Usage, format!("there is no process {pid} that a stack can be bound to"));
        if proc::is_ours() {
            report.with_fix("give --with-pid the id of a process that runs, such as $PPID")
        } else {
            report.with_cause("/proc does not show the processes of this namespace").with_fix("devrun up -d")
        }
    })?;
    let name = proc::name_of(pid).unwrap_or_else(|| "a process".into());
    Ok(ProcessBinding { process, name, grace_seconds })
}

/// Returns true if git or Claude Code called devrun, or a script around it, as a hook.
fn is_hook(ctx: &Context) -> bool {
    ctx.var("GIT_EXEC_PATH").is_some() && ctx.var("GIT_PREFIX").is_some()
        || ctx.var("CLAUDE_PROJECT_DIR").is_some()
}

fn session(agent: Option<&Agent>, pid: u32) -> Option<Session> {
    if let Some(agent) = agent {
        if let Some(id) = &agent.session {
            let digest = Sha256::digest(format!("{}\0{id}", agent.name));
            return Some(Session::Agent(hex(&digest[..16])));
        }
        // The agent sets the variable for its commands, and does not have it itself.
        let is_agent = |process: &ProcessIdentity| proc::env_of(process.pid, &agent.variable).is_none();
        if let Some(process) = ancestors(pid).find(is_agent) {
            return Some(Session::Process(process));
        }
    }
    let leader = proc::entry(pid)?.session;
    ProcessIdentity::of(leader).map(Session::Leader)
}

/// Returns the ancestors of `pid`, the nearest first, without the first process of the system.
fn ancestors(pid: u32) -> impl Iterator<Item = ProcessIdentity> {
    let parent = |pid: u32| Some(proc::entry(pid)?.parent).filter(|parent| *parent > 1);
    std::iter::successors(parent(pid), move |pid| parent(*pid))
        .take(MOST_ANCESTORS)
        .filter_map(ProcessIdentity::of)
}
