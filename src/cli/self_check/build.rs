//! The version, the build and the platform of this program.

use std::path::PathBuf;

use super::line::{CheckLine, Promise};
use crate::cli::version;

/// The facts of this family.
pub(super) struct BuildFacts {
    /// The commit, if the build was given one in `DEVRUN_COMMIT`.
    commit: Option<&'static str>,
    /// Architecture, system and C library that this program was built for.
    target: String,
    is_release: bool,
    program: Option<PathBuf>,
    /// Name and version of the kernel.
    kernel: String,
    is_root: bool,
}

pub(super) fn facts() -> BuildFacts {
    let kernel = nix::sys::utsname::uname().map_or_else(
        |_| std::env::consts::OS.to_string(),
        |name| format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy()),
    );
    let library = match (cfg!(target_env = "gnu"), cfg!(target_env = "musl")) {
        (true, _) => "-gnu",
        (_, true) => "-musl",
        _ => "",
    };
    BuildFacts {
        commit: version::COMMIT,
        target: format!("{}-{}{library}", std::env::consts::ARCH, std::env::consts::OS),
        is_release: !cfg!(debug_assertions),
        program: std::env::current_exe().ok(),
        kernel,
        is_root: nix::unistd::geteuid().is_root(),
    }
}

pub(super) fn judge(facts: &BuildFacts) -> Vec<CheckLine> {
    let line = |name, text: String| CheckLine::new("build", name, Promise::Fact, text);
    let profile = if facts.is_release { "release" } else { "debug" };
    let commit = facts.commit.map_or_else(|| "unknown".into(), str::to_string);
    let user = if facts.is_root { "; as root: Postgres runs as another user" } else { "" };
    let mut lines = vec![
        line("version", format!("devrun {}", version::text(facts.commit))),
        line("build", format!("{}, {profile}, commit {commit}", facts.target)),
        line("system", format!("{}{user}", facts.kernel)),
    ];
    lines.extend(facts.program.iter().map(|program| line("program", program.to_string_lossy().into_owned())));
    if cfg!(target_os = "macos") {
        let text = "macOS: no subreaper and no /proc; this build has never been run there";
        lines.push(CheckLine::new("build", "platform", Promise::Limited, text));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_a_commit_says_so() {
        let facts = BuildFacts { commit: None, ..facts() };
        let lines = judge(&facts);
        assert_eq!(lines[0].text, concat!("devrun ", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].text.ends_with("commit unknown"), "{lines:?}");
        let known = judge(&BuildFacts { commit: Some("abc"), is_release: true, ..facts });
        assert!(known[1].text.ends_with("release, commit abc"), "{known:?}");
    }
}
