//! Answers a shell that completes a command line of devrun. The scripts of `devrun completions` call it.
//!
//! It changes nothing, connects to nothing but the socket of a running stack, and ends within a time limit. After
//! an error it prints nothing, because a shell would print the message into the line that the user is typing.

mod names;
mod nushell;

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory};
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{Bash, EnvCompleter, Fish, Powershell, Zsh};

use self::nushell::Nushell;
use super::args::{Cli, CompletedShell};

/// The variable in which a script of `devrun completions` names its shell.
pub(super) const VARIABLE: &str = "DEVRUN_COMPLETE";
/// The most time that a completion takes.
const LIMIT: Duration = Duration::from_secs(2);

/// Returns the completion engine for `shell`.
pub(super) fn engine(shell: CompletedShell) -> &'static dyn EnvCompleter {
    match shell {
        CompletedShell::Bash => &Bash,
        CompletedShell::Zsh => &Zsh,
        CompletedShell::Fish => &Fish,
        CompletedShell::Nushell => &Nushell,
        CompletedShell::Powershell => &Powershell,
    }
}

/// Answers the shell `name`. `args` are those of devrun: `--`, then the words of the command line.
pub(super) fn answer(name: &OsStr, args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A panic would print its message.
    std::panic::set_hook(Box::new(|_| {}));
    let shell = name.to_str().and_then(|name| clap::ValueEnum::from_str(name, true).ok());
    let words: Vec<OsString> = args.into_iter().skip_while(|word| word != "--").skip(1).collect();
    let (Some(shell), false) = (shell, words.is_empty()) else { return ExitCode::FAILURE };
    let (send, completed) = channel();
    let work = move || {
        let mut text = Vec::new();
        let folder = std::env::current_dir().ok();
        let done = engine(shell).write_complete(&mut command(), words, folder.as_deref(), &mut text);
        // Fails if the time is over.
        let _ = send.send(done.map(|()| text));
    };
    let started = std::thread::Builder::new().name("complete".into()).spawn(work);
    match started.map(|_| completed.recv_timeout(LIMIT)) {
        Ok(Ok(Ok(text))) if std::io::stdout().write_all(&text).is_ok() => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

/// Returns the definition of the command line, with the names that exist here for the arguments that take one.
fn command() -> Command {
    let mut command = Cli::command();
    for live in &LIVE {
        let add = |arg: Arg| arg.add(ArgValueCandidates::new(live.find));
        command = command.mut_subcommand(live.verb, |verb| verb.mut_arg(live.argument, add));
    }
    command.mut_arg("directory", |arg| arg.add(ArgValueCompleter::new(names::folders)))
}

/// An argument that takes a name which exists here.
struct LiveArgument {
    verb: &'static str,
    /// The field of the verb's arguments.
    argument: &'static str,
    /// Finds the names.
    find: fn() -> Vec<CompletionCandidate>,
}

const fn live(
    verb: &'static str,
    argument: &'static str,
    find: fn() -> Vec<CompletionCandidate>,
) -> LiveArgument {
    LiveArgument { verb, argument, find }
}

const LIVE: [LiveArgument; 13] = [
    live("attach", "name", names::processes),
    live("env", "process", names::processes),
    live("help", "words", names::pages),
    live("logs", "names", names::logs),
    live("new", "from", names::branches),
    live("open", "name", names::urls),
    live("restart", "names", names::processes),
    live("rm", "name", names::worktrees),
    live("start", "names", names::processes),
    live("stop", "names", names::processes),
    live("url", "name", names::urls),
    live("wait", "names", names::processes),
    live("why", "name", names::processes),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_completed_argument_exists() {
        command().debug_assert();
    }
}
