//! Recognises in a package manager's output that the version of Node does not suit the project or the manager itself.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use crate::deps::DepsError;
use crate::error::RERUN;
use crate::os::cmd::CmdError;

/// The requirement that the output names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Unfit {
    /// True if the manager itself does not run on this Node.
    is_manager: bool,
    /// The version or range that is needed, if the output names it.
    wanted: Option<String>,
    /// The current version, without `v`.
    current: Option<String>,
}

static OF_MANAGER: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"requires at least Node\.js v?([\d.]+)").ok());
static ALIEN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"ERR_UNKNOWN_BUILTIN_MODULE|ERR_REQUIRE_ESM|SyntaxError: (?:Unexpected|Invalid)|is not a function",
    )
    .ok()
});
static RUNNING: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"(?:Node\.js is |\nNode\.js )v([\d.]+)").ok());
static WANTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    // pnpm, then npm.
    Regex::new(r#"(?:wanted|Required):[\s│|]*\{[^}]*"node":\s*"([^"]+)"[\s\S]*?(?:current|Actual):[\s│|]*\{[^}]*"node":\s*"v?([^"]+)""#).ok()
});
static YARN: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"The engine "node" is incompatible with this module\. Expected version "([^"]+)"\. Got "v?([^"]+)""#)
        .ok()
});
static EXPECTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?s)Your Node version is incompatible.*?Expected version: (\S+).*?Got: v?(\S+)").ok()
});

/// Returns the error for a `program` that failed because of the version of `node`, or `None` if it failed for another
/// reason.
pub(super) fn unfit(error: &CmdError, program: &str, node: Option<&Path>) -> Option<DepsError> {
    let CmdError::Failed { output, .. } = error else { return None };
    let text = [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).into_owned());
    let found = read(&text.join("\n"), program)?;
    let wanted = found.wanted.as_deref();
    let needs = if found.is_manager { format!("this version of {program}") } else { "this project".into() };
    let wants = wanted.map_or_else(|| "a newer Node".into(), |wanted| format!("Node {wanted}"));
    let is = found.current.map(|version| format!("v{version}"));
    let place = node.map(|node| format!(" ({})", node.display())).unwrap_or_default();
    let install = match wanted.and_then(major) {
        Some(major) => {
            format!("install Node.js {major} (`nvm install {major}`, or https://nodejs.org/en/download)")
        }
        None => "install the newest Node.js (`nvm install --lts`, or https://nodejs.org/en/download)".into(),
    };
    Some(DepsError::ToolUnfit {
        what: format!(
            "{needs} needs {wants}, but node is {}{place}",
            is.as_deref().unwrap_or("an older one")
        ),
        fix: format!("{install}, check that `node --version` shows it, then {RERUN}"),
    })
}

fn read(text: &str, program: &str) -> Option<Unfit> {
    let groups = |pattern: &LazyLock<Option<Regex>>| {
        let found = pattern.as_ref()?.captures(text)?;
        Some([1, 2].map(|at| found.get(at).map(|group| group.as_str().to_string())))
    };
    // Files of the manager in the trace: a script of the project may fail with the same words.
    let crashed = ALIEN.as_ref()?.is_match(text) && text.contains(&format!("node_modules/{program}/"));
    let running = || groups(&RUNNING).and_then(|[version, _]| version);
    if let Some([wanted, _]) = groups(&OF_MANAGER) {
        return Some(Unfit { is_manager: true, wanted, current: running() });
    }
    if let Some([wanted, current]) = groups(&WANTED).or_else(|| groups(&YARN)).or_else(|| groups(&EXPECTED)) {
        let is_sign = ["ENGINE", "The engine", "incompatible"].iter().any(|sign| text.contains(sign));
        return is_sign.then_some(Unfit { is_manager: false, wanted, current });
    }
    (crashed && running().is_some()).then(|| Unfit { is_manager: true, wanted: None, current: running() })
}

/// Returns the first number of a range: `>=22.13 <25` gives 22.
fn major(range: &str) -> Option<&str> {
    let digits = range.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?;
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<(bool, String, String)> {
        let found = read(text, "pnpm")?;
        Some((found.is_manager, found.wanted.unwrap_or_default(), found.current.unwrap_or_default()))
    }

    #[test]
    fn the_message_of_every_manager_is_recognised() {
        let project = Some((false, "24.x".to_string(), "20.20.2".to_string()));
        for text in [
            "Error: ERR_PNPM_UNSUPPORTED_ENGINE\n  × Unsupported engine for /w: wanted:\n  │ {\"node\":\"24.x\"} (current: {\"node\":\"20.20.2\"})",
            "ERR_PNPM_UNSUPPORTED_ENGINE  Unsupported environment\n\nYour Node version is incompatible with \"/w\".\n\nExpected version: 24.x\nGot: v20.20.2\n",
            "npm error code EBADENGINE\nnpm error notsup Required: {\"node\":\"24.x\"}\nnpm error notsup Actual:   {\"node\":\"v20.20.2\",\"npm\":\"11\"}",
            "error x@: The engine \"node\" is incompatible with this module. Expected version \"24.x\". Got \"20.20.2\"",
        ] {
            assert_eq!(found(text), project, "{text}");
        }
        assert_eq!(found("ERR_PNPM_NO_MATCHING_VERSION  No matching version found for next@99"), None);
    }

    #[test]
    fn a_manager_too_new_for_this_node_is_distinguished_from_a_crashed_script() {
        let trace = "Error [ERR_UNKNOWN_BUILTIN_MODULE]: No such built-in module: node:sqlite\n    at x \
                     (file:///c/node_modules/pnpm/dist/pnpm.mjs:1:1)\n\nNode.js v20.20.2\n";
        assert_eq!(found(trace), Some((true, String::new(), "20.20.2".into())));
        let named = format!(
            "warn: This version of pnpm requires at least Node.js v22.13\nwarn: The current version of Node.js is v20.20.2\n{trace}"
        );
        assert_eq!(found(&named), Some((true, "22.13".into(), "20.20.2".into())));
        assert_eq!(found("TypeError: x is not a function\n    at /w/build.js:1\n\nNode.js v20.20.2\n"), None);
        assert_eq!(major(">=22.13 <25"), Some("22"));
        assert_eq!(major("lts/*"), None);
    }
}
