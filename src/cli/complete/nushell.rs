//! Completions for Nushell, which the completion engine lacks.
//!
//! Nushell has one function that completes all external commands. The script passes other commands to the function that was
//! there before.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap::Command;
use clap_complete::engine;
use clap_complete::env::EnvCompleter;
use serde_json::json;

pub(in crate::cli) struct Nushell;

const SCRIPT: &str = r#"let devrun_next_completer = $env.config?.completions?.external?.completer?
$env.config.completions.external.enable = true
$env.config.completions.external.completer = {|spans|
    if $spans.0 == "BIN" {
        try {
            with-env { VAR: "nushell" } { ^COMPLETER -- ...$spans | complete | get stdout | from json }
        } catch { null }
    } else if $devrun_next_completer != null {
        do $devrun_next_completer $spans
    }
}
"#;

impl EnvCompleter for Nushell {
    fn name(&self) -> &'static str {
        "nushell"
    }

    fn is(&self, name: &str) -> bool {
        matches!(name, "nu" | "nushell")
    }

    fn write_registration(
        &self,
        var: &str,
        _name: &str,
        bin: &str,
        completer: &str,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        let script = SCRIPT.replace("BIN", bin).replace("COMPLETER", completer).replace("VAR", var);
        buf.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        cmd: &mut Command,
        args: Vec<OsString>,
        current_dir: Option<&Path>,
        buf: &mut dyn Write,
    ) -> Result<(), Error> {
        let index = args.len().saturating_sub(1);
        let found = engine::complete(cmd, args, index, current_dir)?;
        let candidates = found.iter().map(|candidate| {
            let about = candidate.get_help().map(ToString::to_string);
            let about = about.as_deref().and_then(|about| about.lines().next()).map(str::to_string);
            json!({ "value": candidate.get_value().to_string_lossy(), "description": about })
        });
        let candidates: Vec<_> = candidates.collect();
        buf.write_all(json!(candidates).to_string().as_bytes())
    }
}
