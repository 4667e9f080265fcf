//! The version of this devrun, with the commit that it was built from.

use std::sync::LazyLock;

/// The commit, if the build was given one in `DEVRUN_COMMIT`, as `scripts/package` does.
pub(super) const COMMIT: Option<&str> = option_env!("DEVRUN_COMMIT");

/// Returns the version as `devrun --version` prints it after the name.
pub(super) fn current() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| text(COMMIT));
    &TEXT
}

/// Returns the version, followed by the commit if it is known.
pub(super) fn text(commit: Option<&str>) -> String {
    let version = env!("CARGO_PKG_VERSION");
    commit
        .filter(|commit| !commit.is_empty())
        .map_or_else(|| version.into(), |commit| format!("{version} ({commit})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commit_follows_the_version() {
        assert_eq!(text(None), env!("CARGO_PKG_VERSION"));
        assert_eq!(text(Some("abc123")), concat!(env!("CARGO_PKG_VERSION"), " (abc123)"));
    }
}
