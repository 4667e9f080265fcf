//! Reports where a local Postgres server would come from.

use std::path::PathBuf;

use super::line::{CheckLine, Promise};
use crate::context::Context;
use crate::database::providers;

/// The facts of this family.
pub(super) struct ServerFacts {
    /// A server that is installed.
    installed: Option<PathBuf>,
    /// The package with a server for this platform.
    package: Option<String>,
    /// True if npm is there, which downloads the package.
    has_npm: bool,
    /// True if uv or pip can download a server from the Python registry.
    has_python: bool,
}

pub(super) fn facts(ctx: &Context) -> ServerFacts {
    ServerFacts {
        installed: providers::installed_server(ctx),
        package: providers::downloadable_server(),
        has_npm: ctx.which("npm").is_some(),
        has_python: providers::has_python_server()
            && ["uv", "python3"].iter().any(|name| ctx.which(name).is_some()),
    }
}

pub(super) fn judge(facts: &ServerFacts) -> Vec<CheckLine> {
    let (promise, text) = match (&facts.installed, &facts.package) {
        (Some(program), _) => (Promise::Kept, format!("{} is installed", program.display())),
        (None, Some(package)) if facts.has_npm => {
            (Promise::Kept, format!("npm downloads {package} when it is needed"))
        }
        (None, _) if facts.has_python => (Promise::Kept, "uv or pip downloads one when it is needed".into()),
        (None, Some(package)) => (
            Promise::Missing,
            format!("none is installed, and npm, which would download {package}, is not on PATH"),
        ),
        (None, None) => (
            Promise::Missing,
            "none is installed, and there is none to download for this platform: set database.local.bin"
                .into(),
        ),
    };
    vec![CheckLine::new("database", "postgres", promise, text)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_installed_or_downloaded() {
        let promise = |installed: Option<&str>, package: Option<&str>, has_npm, has_python| {
            let facts = ServerFacts {
                installed: installed.map(Into::into),
                package: package.map(Into::into),
                has_npm,
                has_python,
            };
            judge(&facts)[0].promise
        };
        assert_eq!(promise(Some("/p"), None, false, false), Promise::Kept);
        assert_eq!(promise(None, Some("p@1"), true, false), Promise::Kept);
        assert_eq!(promise(None, Some("p@1"), false, false), Promise::Missing);
        assert_eq!(promise(None, Some("p@1"), false, true), Promise::Kept);
        assert_eq!(promise(None, None, true, false), Promise::Missing);
    }
}
