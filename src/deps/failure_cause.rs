//! Finds the cause of a failed install, in the files that it read and in the tool's output.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::error::{Fault, RERUN};
use crate::os::read::{self, Limit};
use crate::text::quoted;

/// The cause of a failed install.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A file has conflict markers of an unfinished merge.
    Conflict {
        /// File and line.
        at: String,
    },
    /// A manifest, a lock file or a requirements file does not parse.
    Unparsable {
        /// File and line.
        at: String,
        /// The parser's message.
        reason: String,
    },
    /// A requirements file names a file that does not exist.
    NoFile {
        /// The name as written.
        file: String,
        /// File and line that name it.
        at: String,
    },
    /// The registry does not have a wanted package or version.
    NoVersion {
        /// The package, with the version if the tool named it.
        package: String,
        /// File and line that want it.
        at: Option<String>,
    },
    /// No versions satisfy all requirements.
    Unresolvable {
        /// The file with the requirements.
        at: String,
    },
    /// An install script of the project failed.
    Script {
        /// The script's name in `package.json`.
        name: String,
        /// File and line.
        at: String,
    },
    /// The registry did not accept the login, or there was none.
    Login,
    /// This machine has no Python of a version that fits, and none could be downloaded.
    Python {
        /// The versions that the project allows, if the tool named them.
        allowed: Option<String>,
        /// The version that could not be downloaded.
        tried: Option<String>,
    },
    /// The registry could not be reached.
    Network,
    /// The disk is full.
    Disk,
    /// A package had to be compiled, and the build failed.
    Build,
}

/// The files of the failed install.
pub(crate) struct InstallFiles<'a> {
    /// The files that the install read. The project's manifest comes first.
    pub files: &'a [PathBuf],
    /// The folders whose manifests must parse.
    pub folders: &'a [&'a Path],
    /// The folder to which printed paths are relative.
    pub worktree: &'a Path,
}

const DISK: [&str; 4] = ["no space left on device", "enospc", "edquot", "disk quota exceeded"];
const LOGIN: [&str; 6] = ["e401", "e403", "fetch_401", "fetch_403", "401 unauthorized", "403 forbidden"];
const NETWORK: [&str; 22] = [
    "enotfound",
    "eai_again",
    "econnrefused",
    "econnreset",
    "etimedout",
    "enetunreach",
    "ehostunreach",
    "err_socket_timeout",
    "dns error",
    "failed to lookup address",
    "name resolution",
    "name or service not known",
    "failed to establish a new connection",
    "all attempts to connect to",
    "error sending request for url",
    "tcp connect error",
    "network is unreachable",
    "client error (connect)",
    "connectionrefused",
    "self-signed certificate",
    "certificate verify failed",
    "unknownissuer",
];
const UNRESOLVABLE: [&str; 8] = [
    "no solution found when resolving",
    "requirements are unsatisfiable",
    "version solving failed",
    "resolutionimpossible",
    "conflicting dependencies",
    "unable to find a resolution",
    "code eresolve",
    "unable to resolve dependency tree",
];
const BUILD: [&str; 5] = [
    "failed to build",
    "subprocess-exited-with-error",
    "gyp err!",
    "pg_config executable not found",
    "failed building wheel",
];

static NO_VERSION: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        // npm and pnpm.
        r"No matching version found for (@?[\w./-]+@[^\s,;]*[^\s,;.])",
        r"404\s+'(@?[\w./-]+@[^\s']+)' is not in this registry",
        r"GET https?://[^/\s]+/(?:[^@\s]*/)?((?:@[\w.-]+/)?[\w.-]+)/-/\S+?\.tgz(?:: Not Found)? - 404",
        r"The requested resource '(@?[\w./-]+@[^\s']+)' could not be found",
        r"(?:- 404|No matching version found).*Failed to resolve (@?[\w./-]+@\S+)",
        r"(@?[\w./-]+) is not in the npm registry",
        // In this order: bun, yarn 1, yarn 2 and later, yarn 1 (two patterns), bun.
        r"GET https?://\S*?/((?:@[\w.-]+/)?[\w.-]+)(?:: Not Found)? - 404",
        r"https?://\S*?/((?:@[\w.-]+/)?[\w.-]+): Not found",
        r"(@?[\w./-]+@npm:[^\s:]+): (?:Package not found|No candidates found)",
        r#"Couldn't find any versions for "([^"]+)" that matches"#,
        r#"Couldn't find package "([^"]+)""#,
        r#"No version matching "[^"]*" found for specifier "([^"]+)""#,
        // uv, pip, poetry.
        r"there is no version of ([\w.-]+(?:\[[\w,]*\])?(?:[=<>~!]=?=?[\w.*]+)?)",
        r"[Bb]ecause ([\w.-]+) was not found in the package registry",
        r"No matching distribution found for ([^\s;]+)",
        r"depends on ([\w.-]+ \([^)]*\)) which doesn't match any versions",
    ];
    patterns.iter().filter_map(|pattern| Regex::new(pattern).ok()).collect()
});

/// The name of the file that uv downloads a Python from, and the message of Poetry about the versions of the project.
static INTERPRETER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let patterns = [
        r"[Ff]ailed to download.*/(?:cpython|pypy|graalpy)-(\d+\.\d+)",
        r"Current Python version \([^)]*\) is not allowed by the project \(([^)]*)\)",
    ];
    Regex::new(&patterns.join("|")).ok()
});

/// uv's message about an invalid line in a requirements file.
static REQUIREMENT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r"Couldn't parse requirement in `([^`]+)`[^\n]*\n\s*(?:Caused by|cause): ([^\n]*)\n\s*(\S[^\n]*)",
    )
    .ok()
});

impl Cause {
    /// Returns where the fault lies.
    pub(crate) fn fault(&self) -> Fault {
        match self {
            Cause::Login | Cause::Python { .. } | Cause::Network | Cause::Disk | Cause::Build => {
                Fault::Environment
            }
            // No file of the worktree names it, so the registry lacks a part of another package.
            Cause::NoVersion { at: None, .. } => Fault::Environment,
            _ => Fault::Code,
        }
    }

    /// Returns the file to correct first, with its line where it is known.
    pub(crate) fn at(&self) -> Option<&str> {
        match self {
            Cause::Conflict { at }
            | Cause::Unparsable { at, .. }
            | Cause::NoFile { at, .. }
            | Cause::NoVersion { at: Some(at), .. }
            | Cause::Unresolvable { at }
            | Cause::Script { at, .. } => Some(at),
            _ => None,
        }
    }

    /// Returns the cause in words.
    pub(crate) fn why(&self) -> String {
        match self {
            Cause::Conflict { at } => format!("{at} has conflict markers of an unfinished merge"),
            Cause::Unparsable { at, reason } => format!("{at} does not parse: {reason}"),
            Cause::NoFile { file, at } => format!("{at} names {file}, which does not exist"),
            Cause::NoVersion { package, at: Some(at) } => {
                format!("{at} wants {package}, which the registry does not have")
            }
            Cause::NoVersion { package, at: None } => {
                format!("{package} is wanted, which the registry does not have")
            }
            Cause::Unresolvable { at } => format!("no versions satisfy all requirements of {at}"),
            Cause::Script { name, at } => format!("the project's own script `{name}` ({at}) failed"),
            Cause::Login => "the package registry refused the login, or there was none".into(),
            Cause::Python { allowed: Some(allowed), .. } => {
                format!("the project needs Python {allowed}, which was not found here")
            }
            Cause::Python { tried, .. } => {
                let tried = tried.as_deref().unwrap_or_default();
                format!(
                    "no Python that the project allows was found here, and Python {tried} could not be downloaded"
                )
            }
            Cause::Network => "the package registry could not be reached".into(),
            Cause::Disk => "the disk is full".into(),
            Cause::Build => "a package has no ready build for this machine, and compiling it failed".into(),
        }
    }

    /// Returns the user's next step. `by_hand` is the command that reproduces the failure.
    pub(crate) fn fix(&self, by_hand: &str) -> String {
        let then = format!("then {RERUN}");
        match self {
            Cause::Conflict { at } if is_lock(at) => {
                let file = at.rsplit_once(':').map_or(at.as_str(), |(file, _)| file);
                // The path counts from the top of the worktree in every folder.
                let path = quoted(format!(":/{file}"));
                format!(
                    "take one side of {at} whole (`git checkout --ours -- {path}` or `--theirs`), let the package manager \
                     bring it up to date, {then}"
                )
            }
            Cause::Conflict { at } => format!("resolve the conflict in {at}, {then}"),
            Cause::Unparsable { at, .. } => format!("correct {at}, {then}"),
            Cause::NoFile { file, at } => format!("add {file}, or correct {at}, {then}"),
            Cause::NoVersion { package, at } => {
                let place = at.as_deref().unwrap_or("the manifest");
                format!("correct {package} in {place} to a name and version that exist, {then}")
            }
            Cause::Unresolvable { at } => {
                format!("change the versions in {at} that exclude each other, named above, {then}")
            }
            Cause::Script { name, at } => format!("correct the script `{name}` in {at}, {then}"),
            Cause::Login => format!("log in to the registry that is named above, {then}"),
            Cause::Python { allowed, .. } => {
                let allowed = allowed
                    .as_deref()
                    .unwrap_or("that the project allows (`requires-python` in its pyproject.toml)");
                format!("install a Python {allowed} and put it first on PATH, {then}")
            }
            Cause::Network => {
                format!(
                    "check the network, the proxy and the registry in your settings, {then}; by hand: {by_hand}"
                )
            }
            Cause::Disk => format!("free some disk space, {then}"),
            Cause::Build => format!(
                "install the library or compiler that is named above, or take a version with a ready build, {then}; by \
                 hand: {by_hand}"
            ),
        }
    }
}

fn is_lock(at: &str) -> bool {
    at.contains("lock") || at.contains("shrinkwrap")
}

/// Returns the cause of a failed install with the output `said`, or `None` if it is unknown.
pub(crate) fn find(said: &str, evidence: &InstallFiles<'_>) -> Option<Cause> {
    if let Some(cause) = evidence.files.iter().find_map(|file| conflict(file, evidence)) {
        return Some(cause);
    }
    let mut parsed =
        evidence.files.iter().filter(|file| file.parent().is_some_and(|own| evidence.folders.contains(&own)));
    if let Some(cause) = parsed.find_map(|file| unparsable(file, evidence)) {
        return Some(cause);
    }
    if let Some(cause) = evidence.files.iter().find_map(|file| no_file(said, file, evidence)) {
        return Some(cause);
    }
    let lower = said.to_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
    if has(&DISK) {
        return Some(Cause::Disk);
    }
    if let Some(version) = INTERPRETER.as_ref().and_then(|pattern| pattern.captures(said)) {
        let group = |index| version.get(index).map(|found| found.as_str().to_string());
        return Some(Cause::Python { tried: group(1), allowed: group(2) });
    }
    if has(&NETWORK) {
        return Some(Cause::Network);
    }
    if let Some(cause) = requirement(said, evidence) {
        return Some(cause);
    }
    let unwrapped = unwrapped(said);
    if let Some(found) = NO_VERSION.iter().find_map(|pattern| pattern.captures(&unwrapped)) {
        let package = found[1].to_string();
        let at = line_with(bare(&package), evidence);
        return Some(Cause::NoVersion { package, at });
    }
    if has(&LOGIN) {
        return Some(Cause::Login);
    }
    if has(&UNRESOLVABLE) {
        let at = evidence.files.first().map(|file| shown(file, evidence)).unwrap_or_default();
        return Some(Cause::Unresolvable { at });
    }
    if let Some(cause) = script(said, evidence) {
        return Some(cause);
    }
    has(&BUILD).then_some(Cause::Build)
}

/// Returns the cause for a line of a requirements file that uv cannot parse.
fn requirement(said: &str, evidence: &InstallFiles<'_>) -> Option<Cause> {
    let found = REQUIREMENT.as_ref()?.captures(said)?;
    let named = Path::new(&found[1]);
    let file = evidence.files.iter().find(|file| file.ends_with(named))?;
    let text = read::text(file, Limit::LARGE).ok()?;
    let row = text.lines().position(|line| line.trim().starts_with(found[3].trim()))?;
    let at = format!("{}:{}", shown(file, evidence), row + 1);
    Some(Cause::Unparsable { at, reason: found[2].trim().to_string() })
}

/// Returns the cause for a line of the requirements file `list` that names a file that does not exist, if the output names it too.
fn no_file(said: &str, list: &Path, evidence: &InstallFiles<'_>) -> Option<Cause> {
    if !list.extension().is_some_and(|ending| ending == "txt" || ending == "in") {
        return None;
    }
    let text = read::text(list, Limit::SMALL).ok()?;
    let named = |line: &str| {
        let options = ["--requirement", "--constraint", "-r", "-c"];
        let rest = options.iter().find_map(|option| line.trim().strip_prefix(option))?;
        Some(rest.trim_start_matches(['=', ' ']).split(" #").next()?.trim().to_string())
    };
    let (row, file) = text.lines().enumerate().find_map(|(row, line)| {
        let file = named(line).filter(|file| !file.is_empty() && !file.contains("://"))?;
        let name = Path::new(&file).file_name()?.to_str()?;
        let is_missing = !list.parent()?.join(&file).exists() && said.contains(name);
        is_missing.then_some((row, file))
    })?;
    Some(Cause::NoFile { file, at: format!("{}:{}", shown(list, evidence), row + 1) })
}

/// Joins lines that a tool wrapped at the width of a terminal, also behind a hyphen within a word, and removes its border.
fn unwrapped(said: &str) -> String {
    let mut whole = String::new();
    for line in said.lines() {
        let words = line.split_whitespace().filter(|word| !["│", "|", "├─▶", "╰─▶", "×"].contains(word));
        let line = words.collect::<Vec<_>>().join(" ");
        let is_cut = whole.ends_with('-') && !whole.ends_with(" -");
        if !whole.is_empty() && !line.is_empty() && !is_cut {
            whole.push(' ');
        }
        whole.push_str(&line);
    }
    whole
}

/// Returns a package's name without its version.
fn bare(package: &str) -> &str {
    let end = package
        .char_indices()
        .skip(1)
        .find(|(_, c)| matches!(c, '@' | '=' | '<' | '>' | '~' | '!' | '[' | ' '));
    &package[..end.map_or(package.len(), |(at, _)| at)]
}

fn shown(file: &Path, evidence: &InstallFiles<'_>) -> String {
    file.strip_prefix(evidence.worktree).unwrap_or(file).display().to_string()
}

fn conflict(file: &Path, evidence: &InstallFiles<'_>) -> Option<Cause> {
    let bytes = read::file(file, Limit::LARGE).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let begins = text.lines().position(|line| line.starts_with("<<<<<<< "))?;
    let whole = text.lines().any(|line| line.starts_with(">>>>>>> "));
    whole.then(|| Cause::Conflict { at: format!("{}:{}", shown(file, evidence), begins + 1) })
}

fn unparsable(file: &Path, evidence: &InstallFiles<'_>) -> Option<Cause> {
    let name = file.file_name()?.to_str()?;
    let text = read::text(file, Limit::LARGE).ok()?;
    let (line, reason) = match name {
        "package.json" | "package-lock.json" | "npm-shrinkwrap.json" => {
            let error = serde_json::from_str::<serde_json::Value>(&text).err()?;
            (error.line(), error.to_string())
        }
        "pyproject.toml" | "uv.lock" | "poetry.lock" | "pdm.lock" | "Pipfile" | "uv.toml" | "poetry.toml" => {
            let error = toml::from_str::<toml::Value>(&text).err()?;
            let before = error.span().map_or(0, |span| span.start);
            (text.get(..before).unwrap_or_default().matches('\n').count() + 1, error.message().to_string())
        }
        _ => return None,
    };
    Some(Cause::Unparsable { at: format!("{}:{line}", shown(file, evidence)), reason })
}

/// Returns file and line of the first line in a manifest that names `package`, or else in a lock file.
fn line_with(package: &str, evidence: &InstallFiles<'_>) -> Option<String> {
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '@' | '/');
    let names = |line: &str| {
        line.match_indices(package).any(|(at, _)| {
            let after = line[at + package.len()..].chars().next();
            let before = line[..at].chars().next_back();
            !before.is_some_and(is_part) && !after.is_some_and(|c| is_part(c) && c != '@')
        })
    };
    let (locks, manifests): (Vec<_>, Vec<_>) =
        evidence.files.iter().partition(|file| is_lock(&file.to_string_lossy()));
    manifests.into_iter().chain(locks).find_map(|file| {
        let text = read::text(file, Limit::LARGE).ok()?;
        let line = text.lines().position(|line| !line.trim_start().starts_with('#') && names(line))?;
        Some(format!("{}:{}", shown(file, evidence), line + 1))
    })
}

/// Returns the project's install script whose command line is part of the output.
fn script(said: &str, evidence: &InstallFiles<'_>) -> Option<Cause> {
    let hooks = ["preinstall", "install", "postinstall", "preprepare", "prepare", "postprepare"];
    evidence.files.iter().filter(|file| file.ends_with("package.json")).find_map(|file| {
        let text = read::text(file, Limit::SMALL).ok()?;
        let manifest: serde_json::Value = serde_json::from_str(&text).ok()?;
        let ran = |name: &&&str| manifest["scripts"][**name].as_str().is_some_and(|line| said.contains(line));
        let name = *hooks.iter().find(ran)?;
        let line = text.lines().position(|line| line.contains(&format!("\"{name}\""))).unwrap_or(0);
        Some(Cause::Script { name: name.into(), at: format!("{}:{}", shown(file, evidence), line + 1) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fs::replace;

    fn cause(said: &str, files: &[(&str, &str)]) -> Option<Cause> {
        let folder = tempfile::tempdir().unwrap();
        let paths = files.iter().map(|(name, text)| {
            let path = folder.path().join(name);
            replace(&path, text.as_bytes(), 0o600).unwrap();
            path
        });
        let files: Vec<PathBuf> = paths.collect();
        find(said, &InstallFiles { files: &files, folders: &[folder.path()], worktree: folder.path() })
    }

    #[test]
    fn conflict_markers_are_found_with_any_output_of_the_tool() {
        let text = "{\n<<<<<<< HEAD\n\"a\": 1\n=======\n\"a\": 2\n>>>>>>> b\n}\n";
        for file in ["package-lock.json", "requirements.txt", "pyproject.toml", "pnpm-lock.yaml"] {
            let found = cause("Usage: npm ci [options]", &[(file, text)]).unwrap();
            assert_eq!(found, Cause::Conflict { at: format!("{file}:2") });
            assert_eq!(found.fault(), Fault::Code);
        }
        let lock = Cause::Conflict { at: "backend/uv.lock:12".into() };
        assert!(lock.fix("").contains("`git checkout --ours -- :/backend/uv.lock` or `--theirs`"));
    }

    #[test]
    fn a_manifest_that_does_not_parse_is_named_with_its_line() {
        let found = cause("", &[("package.json", "{\n \"a\": 1,\n}\n")]);
        assert!(matches!(found, Some(Cause::Unparsable { at, .. }) if at == "package.json:3"));
        let found = cause("", &[("pyproject.toml", "[project]\nname = \n")]);
        assert!(matches!(found, Some(Cause::Unparsable { at, .. }) if at == "pyproject.toml:2"));
        assert_eq!(cause("", &[("template/package.json", "{{ x }}")]), None, "another folder's");
    }

    #[test]
    fn the_message_of_every_tool_about_a_missing_version_is_recognised() {
        let manifest = (
            "package.json",
            "{\n \"dependencies\": {\n  \"is-odd-x\": \"1\",\n  \"is-odd\": \"99\"\n }\n}\n",
        );
        for said in [
            "npm error notarget No matching version found for is-odd@99.",
            "ERR_PNPM_NO_MATCHING_VERSION\n  × No matching version found\n  │ for is-odd@99 while fetching",
            "error Couldn't find any versions for \"is-odd\" that matches \"99\"",
            "error: No version matching \"99\" found for specifier \"is-odd\" (but package exists)",
            "npm error 404  'is-odd@99' is not in this registry.",
            "error: GET https://host/npm/is-odd/-/is-odd-99.0.0.tgz - 404",
            " ERR_PNPM_FETCH_404  GET https://host/is-odd/-/is-odd-99.0.0.tgz: Not Found - 404",
            "npm error code E404\nnpm error 404  The requested resource 'is-odd@99' could not be found or you do not have permission",
            "  ├─▶ Failed to resolve dependency tree: No matching version found for is-\n  │   odd@99 while fetching it\n  │   \n  \
             │   Failed to resolve is-odd@99\n",
            " ERR_PNPM_FETCH_404  GET https://host/npm/is-odd: Not Found - 404\n\nis-odd is not in the npm registry",
            "error: GET https://host/is-odd - 404",
            "error An unexpected error occurred: \"https://host/is-odd: Not found\".",
            "➤ YN0035: │ is-odd@npm:99: Package not found",
            "➤ YN0082: │ is-odd@npm:99: No candidates found",
        ] {
            let found = cause(said, &[manifest]);
            assert!(
                matches!(&found, Some(Cause::NoVersion { at: Some(at), .. }) if at == "package.json:4"),
                "{said}: {found:?}"
            );
        }
        let inner = cause("npm error 404  'inner@1' is not in this registry.", &[manifest]).unwrap();
        assert_eq!(inner, Cause::NoVersion { package: "inner@1".into(), at: None });
        assert_eq!(inner.fault(), Fault::Environment, "no file of the worktree names it");
        let list = ("requirements.txt", "# six\nsix==99.0\n");
        for said in [
            "  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of six==99.0 and you require six==99.0, we",
            "ERROR: No matching distribution found for six==99.0",
        ] {
            let at = Some("requirements.txt:2".to_string());
            assert_eq!(cause(said, &[list]), Some(Cause::NoVersion { package: "six==99.0".into(), at }));
        }
    }

    #[test]
    fn a_requirement_that_does_not_parse_is_named_with_its_line() {
        let said = "error: Couldn't parse requirement in `requirements.txt` at position 6\n  cause: after parsing `1`, found \
                    `<2`, which is not part of a valid version\n         httpx>=1<2\n              ^^^^\n";
        let found = cause(said, &[("requirements.txt", "six\nhttpx>=1<2\n")]).unwrap();
        assert!(matches!(&found, Cause::Unparsable { at, .. } if at == "requirements.txt:2"), "{found:?}");
        assert_eq!(found.fault(), Fault::Code);
    }

    #[test]
    fn a_list_that_a_requirements_file_names_and_that_is_missing_is_the_fault_of_the_code() {
        let said = "error: Error parsing included file in `requirements.txt` at position 4\n  Caused by: failed to read from \
                    file `/w/other.txt`: No such file or directory (os error 2)";
        let found = cause(said, &[("requirements.txt", "six\n-r other.txt\n")]).unwrap();
        assert_eq!(found, Cause::NoFile { file: "other.txt".into(), at: "requirements.txt:2".into() });
        assert_eq!(found.fault(), Fault::Code);
        let list = [("requirements.txt", "six\n-r other.txt\n"), ("other.txt", "six\n")];
        assert_eq!(cause(said, &list), None);
    }

    #[test]
    fn problems_of_the_environment_are_not_blamed_on_the_code() {
        for (said, wanted) in [
            ("npm error code ENOTFOUND", Cause::Network),
            (
                "error: Failed to fetch: `https://pypi.org/simple/six/`\n  Caused by: dns error",
                Cause::Network,
            ),
            (
                "error: Request failed after 3 retries in 10.3s\n  Caused by: Failed to download \
                 `https://host/releases/download/20260610/cpython-3.12.16%2B20260610-x86_64-unknown-linux-gnu.tar.gz`\n  \
                 Caused by: dns error",
                Cause::Python { tried: Some("3.12".into()), allowed: None },
            ),
            (
                "Current Python version (3.11.7) is not allowed by the project (>=3.12,<4.0).",
                Cause::Python { tried: None, allowed: Some(">=3.12,<4.0".into()) },
            ),
            ("ENOSPC: no space left on device, write", Cause::Disk),
            ("npm error code E401", Cause::Login),
            ("× Failed to build `psycopg2==2.9`", Cause::Build),
        ] {
            let found = cause(said, &[("package.json", "{}")]).unwrap();
            assert_eq!((&found, found.fault()), (&wanted, Fault::Environment), "{said}");
        }
        assert_eq!(cause("killed", &[("package.json", "{}")]), None);
    }

    #[test]
    fn version_conflicts_and_own_scripts_are_blamed_on_the_code() {
        let list = ("requirements.txt", "fastapi==0.100\nstarlette==0.1\n");
        let said = "  × No solution found when resolving dependencies:\n  ╰─▶ Because fastapi==0.100 depends on starlette";
        assert_eq!(cause(said, &[list]), Some(Cause::Unresolvable { at: "requirements.txt".into() }));
        let manifest = ("package.json", "{\n \"scripts\": {\n  \"postinstall\": \"node build.js\"\n }\n}\n");
        let said = "npm error command sh -c node build.js\nnpm error Error: Cannot find module '/w/build.js'";
        let script = Cause::Script { name: "postinstall".into(), at: "package.json:3".into() };
        assert_eq!(cause(said, &[manifest]), Some(script));
    }
}
