//! Opens a URL with the program that the user's system has for it, without a shell.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

use crate::context::Context;
use crate::error::{Code, Fault, Report};
use crate::event::Ending;
use crate::os::cmd::Cmd;

/// How long the program is watched: programs that only pass the URL on have ended by then, and have reported failures.
const WATCH: Duration = Duration::from_secs(2);

/// Opens `url`. Returns a line that says what was done; without a display, it asks the user to open the URL. Errors if the URL is not
/// that of a web page, or if the program cannot be started or fails at once.
pub(in crate::cli) async fn open(ctx: &Context, url: &str) -> Result<String, Report> {
    let url = page(url)?;
    let Some(command) = command_for(ctx, &url) else {
        return Ok(format!("there is no display here; open {url}"));
    };
    start(ctx, &command).await?;
    Ok(format!("opened {url}"))
}

/// Returns the command that opens `url` here. `None` if BROWSER names no program, and there is no display or no opener.
pub(super) fn command_for(ctx: &Context, url: &str) -> Option<Vec<OsString>> {
    command(&ctx.env, cfg!(target_os = "macos"), |name| ctx.which(name).is_some(), url)
}

/// Returns `url` in its normal form. Errors if it is not the URL of a web page: the configuration of a repository must not open
/// other things.
pub(super) fn page(url: &str) -> Result<String, Report> {
    match url::Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") => Ok(parsed.into()),
        _ => Err(Report::new(Code::Usage, format!("{url} is not the URL of a web page"))
            .with_fix("devrun open NAME, with the name of an http URL; `devrun url` lists them")),
    }
}

/// Starts `command` so that it outlives devrun. Errors if it cannot be started or fails at once.
pub(super) async fn start(ctx: &Context, command: &[OsString]) -> Result<(), Report> {
    let [program, args @ ..] = command else { return Ok(()) };
    let failed = |message: String| {
        Report::new(Code::SpawnFailed, message)
            .with_fault(Fault::Environment)
            .with_fix("set BROWSER to your browser, or open the URL that `devrun open --print` prints")
    };
    let cmd = Cmd::new(program).args(args).only_env(ctx.passed_on());
    let started = cmd
        .detach(Stdio::null(), Stdio::null())
        .map_err(|error| failed(format!("the browser cannot be started: {error}")))?;
    match tokio::time::timeout(WATCH, started.ended).await {
        Ok(Ok(ending)) if ending != Ending::Code(0) => {
            Err(failed(format!("{} ended with {ending}", program.to_string_lossy())))
        }
        _ => Ok(()),
    }
}

/// Returns the command that opens `url`: that of `BROWSER`, or the system's opener if there is a display. Pure.
fn command(
    env: &BTreeMap<OsString, OsString>,
    is_mac: bool,
    exists: impl Fn(&str) -> bool,
    url: &str,
) -> Option<Vec<OsString>> {
    if let Some(mut words) = wanted(env, &exists) {
        if words.iter().skip(1).any(|word| word.contains("%s")) {
            words.iter_mut().skip(1).for_each(|word| *word = word.replace("%s", url));
        } else {
            words.push(url.into());
        }
        return Some(words.into_iter().map(OsString::from).collect());
    }
    let names: &[&str] = if is_mac { &["open"] } else { &["xdg-open", "wslview", "gio"] };
    let found = names.iter().find(|name| has_display(env, is_mac) && exists(name))?;
    let open = (*found == "gio").then(|| OsString::from("open"));
    Some([OsString::from(found)].into_iter().chain(open).chain([OsString::from(url)]).collect())
}

/// Returns the words of the first command in `BROWSER` that exists. The variable is a list of commands, separated by colons; `%s`
/// in an argument stands for the URL.
pub(super) fn wanted(
    env: &BTreeMap<OsString, OsString>,
    exists: impl Fn(&str) -> bool,
) -> Option<Vec<String>> {
    let list = env.get(OsStr::new("BROWSER"))?.to_str()?;
    let is_there = |words: &Vec<String>| words.first().is_some_and(|program| exists(program));
    list.split(':').filter_map(shlex::split).find(is_there)
}

/// Returns true if a window can be shown.
pub(super) fn has_display(env: &BTreeMap<OsString, OsString>, is_mac: bool) -> bool {
    let has = |name: &&str| env.get(OsStr::new(name)).is_some_and(|value| !value.is_empty());
    is_mac || ["DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"].iter().any(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "http://localhost:3147/$(touch x)";

    fn chosen(env: &[(&str, &str)], is_mac: bool, programs: &[&str]) -> Option<Vec<String>> {
        let env = env.iter().map(|(name, value)| (name.into(), value.into())).collect();
        let words = command(&env, is_mac, |name| programs.contains(&name), URL)?;
        Some(words.into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn the_users_browser_comes_first_and_the_url_is_one_argument() {
        let env = [("BROWSER", "missing:firefox -P 'my profile':chromium"), ("DISPLAY", ":0")];
        let command = chosen(&env, false, &["firefox", "chromium", "xdg-open"]).unwrap();
        assert_eq!(command, ["firefox", "-P", "my profile", URL]);
        let command = chosen(&[("BROWSER", "/opt/b --app=%s --x")], false, &["/opt/b"]).unwrap();
        assert_eq!(command, ["/opt/b", &format!("--app={URL}"), "--x"]);
    }

    #[test]
    fn the_systems_opener_needs_a_display() {
        let all = ["xdg-open", "open", "gio"];
        assert_eq!(chosen(&[("DISPLAY", ":0")], false, &all).unwrap(), ["xdg-open", URL]);
        assert_eq!(chosen(&[("WAYLAND_DISPLAY", "w")], false, &["gio"]).unwrap(), ["gio", "open", URL]);
        assert_eq!(chosen(&[], true, &all).unwrap(), ["open", URL]);
        assert_eq!(chosen(&[("DISPLAY", "")], false, &all), None);
        assert_eq!(chosen(&[("DISPLAY", ":0")], false, &[]), None);
    }

    #[test]
    fn only_web_pages_are_opened() {
        for url in ["file:///etc/passwd", "javascript:alert(1)", "--help", "postgresql://x/y"] {
            assert!(page(url).is_err(), "{url}");
        }
        assert_eq!(page("http://demodev.localhost:3147/a").unwrap(), "http://demodev.localhost:3147/a");
    }
}
