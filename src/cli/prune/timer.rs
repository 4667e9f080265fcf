//! `devrun prune --install-timer` and `--remove-timer`: writes the files of a daily timer after showing them, and switches it on or
//! off.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::timer_files::{TimerFiles, TimerService, TimerSettings};
use crate::cli::confirm::{Confirmation, confirm};
use crate::cli::{args, printed, this_program};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::os::cmd::Cmd;
use crate::os::fs::{self, FsError};
use crate::text::quoted;
use crate::ui::console::Console;
use crate::worktree::{Git, Worktree, slug};

/// The digits of the repository's hash in the names of the files.
const DIGITS: usize = 12;

pub(super) async fn install(
    ctx: &Context,
    console: &Console,
    args: &args::Prune,
    as_json: bool,
    own: &Worktree,
) -> Result<Exit, Report> {
    let timer = timer(ctx, own)?;
    if !as_json {
        printed(console.print(&shown(&timer)))?;
    }
    if timer.service == TimerService::Launchd {
        ctx.events.warn("devrun has never been run on macOS: check the file before you load it");
    }
    if args.dry_run || !args.yes && (as_json || !Console::can_ask()) {
        let text = "Nothing was written: devrun prune --install-timer --yes\n";
        return answer(console, &timer, false, None, text, as_json);
    }
    if !args.yes {
        let question = Confirmation {
            text: "Write these files?",
            outcome: "the files would be written",
            refused: "nothing was written",
            command: "devrun prune --install-timer --yes",
        };
        confirm(console, question, as_json).await?;
    }
    for (path, text) in &timer.files {
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder).map_err(|source| FsError::Io {
            action: "create",
            path: folder.into(),
            source,
        })?;
        fs::replace(path, text.as_bytes(), 0o644)?;
    }
    let command = timer.enable.join(" && ");
    let (enabled, text) = match run_all(ctx, &timer, &timer.enable).await {
        Ok(()) => (true, "The timer is on.\n".to_string()),
        Err(why) => (
            false,
            format!("The files are written, and the timer is off ({why}). To switch it on: {command}\n"),
        ),
    };
    answer(console, &timer, true, Some(enabled), &text, as_json)
}

pub(super) async fn remove(
    ctx: &Context,
    console: &Console,
    args: &args::Prune,
    as_json: bool,
    own: &Worktree,
) -> Result<Exit, Report> {
    let timer = timer(ctx, own)?;
    let there: Vec<&PathBuf> =
        timer.files.iter().map(|(path, _)| path).filter(|path| path.exists()).collect();
    if there.is_empty() {
        return answer(console, &timer, false, Some(false), "This repository has no timer.\n", as_json);
    }
    let names: Vec<String> = there.iter().map(|path| path.display().to_string()).collect();
    if args.dry_run {
        let text = format!("Would delete {}\n", names.join(", "));
        return answer(console, &timer, true, None, &text, as_json);
    }
    let off = run_all(ctx, &timer, &timer.disable).await;
    // Without systemctl, the link would stay and lead nowhere.
    let link = timer.link.iter().filter(|link| link.is_symlink());
    for path in there.into_iter().chain(link) {
        std::fs::remove_file(path).map_err(|source| FsError::Io {
            action: "delete",
            path: path.clone(),
            source,
        })?;
    }
    let mut text = format!("Deleted {}\n", names.join(", "));
    if let Err(why) = off {
        let command = timer.disable.join(" && ");
        let _ = writeln!(text, "The timer may be on until the next login ({why}): {command}");
    }
    answer(console, &timer, false, Some(false), &text, as_json)
}

/// Returns the timer of the repository of `own`. Errors if there is no home folder, or a path cannot be written in its files.
fn timer(ctx: &Context, own: &Worktree) -> Result<TimerFiles, Report> {
    let absolute =
        |name: &str| ctx.env.get(OsStr::new(name)).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = absolute("HOME").ok_or_else(|| {
        Report::new(Code::State, "the home folder is unknown").with_fix("set HOME, then the same again")
    })?;
    let config = absolute("XDG_CONFIG_HOME").unwrap_or_else(|| home.join(".config"));
    let main = own.git.as_ref().and_then(|git| git.main_worktree.as_deref());
    let repository = own.git.as_ref().map_or(&own.path, |Git { common_dir, .. }| common_dir);
    let service = if cfg!(target_os = "macos") { TimerService::Launchd } else { TimerService::Systemd };
    let program = this_program()?;
    Ok(TimerFiles::of(
        service,
        &TimerSettings {
            folder: line(main.unwrap_or(&own.path))?,
            program: line(&program)?,
            search_path: ctx.var("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin"),
            id: &slug::hash(repository)[..DIGITS],
            home: &home,
            config: &config,
        },
    ))
}

/// Returns `path` as text. Errors if it is not UTF-8 or has line breaks.
fn line(path: &Path) -> Result<&str, Report> {
    path.to_str().filter(|text| !text.contains(['\n', '\r'])).ok_or_else(|| {
        let message = format!("a timer cannot contain the path {}", quoted(path));
        Report::new(Code::Usage, message).with_fix("run `devrun prune --yes` from your own timer")
    })
}

/// Runs commands of systemctl. Errors with the reason if one fails. The commands of launchd are the user's, because nothing here was
/// ever run on macOS.
async fn run_all(ctx: &Context, timer: &TimerFiles, commands: &[String]) -> Result<(), String> {
    if timer.service == TimerService::Launchd {
        return Err("devrun does not run launchctl".into());
    }
    for line in commands {
        let mut words = line.split(' ');
        let cmd = Cmd::new(words.next().unwrap_or_default()).args(words).only_env(ctx.passed_on());
        cmd.ok().await.map_err(|error| error.tail(1).unwrap_or_else(|| error.to_string()))?;
    }
    Ok(())
}

fn shown(timer: &TimerFiles) -> String {
    timer.files.iter().fold(String::new(), |mut shown, (path, text)| {
        let _ = writeln!(shown, "# {}\n{text}", path.display());
        shown
    })
}

/// Prints the answer. `enabled` is `None` if nothing was done.
fn answer(
    console: &Console,
    timer: &TimerFiles,
    installed: bool,
    enabled: Option<bool>,
    text: &str,
    as_json: bool,
) -> Result<Exit, Report> {
    if !as_json {
        return printed(console.print(text));
    }
    let files =
        timer.files.iter().map(|(path, text)| json!({ "path": path.to_string_lossy(), "text": text }));
    printed(console.print_json(&json!({
        "service": timer.service,
        "files": files.collect::<Vec<_>>(),
        "installed": installed,
        "enabled": enabled.unwrap_or(false),
        "dry_run": enabled.is_none(),
        "enable": timer.enable.join(" && "),
    })))
}
