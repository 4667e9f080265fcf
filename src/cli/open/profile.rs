//! Finds a Chromium or Chrome, and builds the command that opens a URL with the profile of one worktree.

use std::ffi::OsString;
use std::path::Path;

use super::opener;
use crate::cleanup::browser;
use crate::context::Context;
use crate::error::{Code, Fault, Report};
use crate::os::fs;

/// Programs that understand the options of Chromium.
const PROGRAMS: [&str; 7] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "microsoft-edge",
    "brave-browser",
    "vivaldi",
];
/// The paths of such programs on macOS, where they are not on PATH.
const MAC_PROGRAMS: [&str; 3] = [
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
];

/// Returns the command that opens `url` with the profile of the worktree with the state folder `state`, and makes the profile's
/// folder. `None` without a display, unless BROWSER names such a browser. Errors if there is none.
pub(super) fn command(ctx: &Context, state: &Path, url: &str) -> Result<Option<Vec<OsString>>, Report> {
    let wanted = opener::wanted(&ctx.env, |name| ctx.which(name).is_some());
    let wanted = wanted.filter(|words| words.first().is_some_and(|program| is_chromium(program)));
    let words = match wanted {
        Some(words) => words,
        None if !opener::has_display(&ctx.env, cfg!(target_os = "macos")) => return Ok(None),
        None => vec![found(ctx).ok_or_else(missing)?],
    };
    let folder = browser::profile(state);
    fs::make_private_dir(&folder)?;
    let mut profile = OsString::from("--user-data-dir=");
    profile.push(&folder);
    let mut command: Vec<OsString> = words.into_iter().filter(|word| word != "%s").map(Into::into).collect();
    command.extend([profile, "--no-first-run".into(), "--no-default-browser-check".into(), url.into()]);
    Ok(Some(command))
}

/// Returns true if the name of the program contains a part of the name of a browser with the options of Chromium.
fn is_chromium(program: &str) -> bool {
    let name = program.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    ["chrom", "edge", "brave", "vivaldi"].iter().any(|part| name.contains(part))
}

fn found(ctx: &Context) -> Option<String> {
    let on_path = PROGRAMS.iter().find(|name| ctx.which(name).is_some());
    let on_mac = || MAC_PROGRAMS.iter().find(|path| cfg!(target_os = "macos") && Path::new(path).exists());
    on_path.or_else(on_mac).map(|program| (*program).to_string())
}

fn missing() -> Report {
    Report::new(Code::ToolMissing, "there is no Chromium or Chrome here")
        .with_fault(Fault::Environment)
        .with_cause("only they take the folder of a profile on the command line")
        .with_fix("install one, name it in BROWSER, or run `devrun open` without --browser-profile")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chromium_browsers_get_chromium_options() {
        for yes in ["chromium", "/opt/google/chrome/google-chrome", "/Applications/Google Chrome"] {
            assert!(is_chromium(yes), "{yes}");
        }
        for no in ["firefox", "/home/chromium/bin/w3m", "open"] {
            assert!(!is_chromium(no), "{no}");
        }
    }
}
