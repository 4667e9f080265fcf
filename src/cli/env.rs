//! `devrun env`: the environment of the stack, for shells, dotenv files and programs. Secrets are masked unless asked for.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Map, json};

use super::args::{self, Format};
use crate::context::Context;
use crate::error::{Exit, Report};
use crate::plan::Environment;
use crate::prepare;
use crate::ui::console::Console;

/// What stands in for a secret.
const MASK: &str = "********";

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::Env,
    as_json: bool,
) -> Result<Exit, Report> {
    let preview = prepare::preview(ctx).await?;
    let format = if as_json { Format::Json } else { args.format };
    let text = render(&preview.plan.env, format, args.reveal, args.all);
    super::printed(console.print(&text))
}

fn render(env: &Environment, format: Format, reveal: bool, all: bool) -> String {
    let shown = env.vars.iter().filter_map(|(name, value)| {
        let name = name.to_str()?;
        let wanted = all || env.origins.contains_key(name);
        let value = if env.secrets.contains(name) && !reveal { OsStr::new(MASK) } else { value };
        wanted.then_some((name, value))
    });
    match format {
        Format::Json => {
            let object: Map<_, _> =
                shown.map(|(name, value)| (name.into(), json!(value.to_string_lossy()))).collect();
            format!("{:#}\n", json!(object))
        }
        Format::Shell => lines(shown.map(|(name, value)| format!("export {name}={}", shell_quoted(value)))),
        Format::Dotenv => lines(shown.map(|(name, value)| format!("{name}={}", dotenv_quoted(value)))),
    }
}

fn lines(rows: impl Iterator<Item = String>) -> String {
    rows.flat_map(|row| [row, "\n".into()]).collect()
}

/// Single quotes protect everything but themselves.
fn shell_quoted(value: &OsStr) -> String {
    let text = String::from_utf8_lossy(value.as_bytes());
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Double quotes with the escapes that dotenv readers agree upon.
fn dotenv_quoted(value: &OsStr) -> String {
    let text = value.to_string_lossy();
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('\n', "\\n");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Origin;

    fn sample() -> Environment {
        Environment {
            vars: [("A", "it's"), ("TOKEN", "x\"$y"), ("PATH", "/bin")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            origins: [("A", Origin::Config), ("TOKEN", Origin::File)].map(|(k, o)| (k.to_string(), o)).into(),
            secrets: ["TOKEN".to_string()].into(),
        }
    }

    #[test]
    fn secrets_are_masked_unless_revealed() {
        let text = render(&sample(), Format::Shell, false, false);
        assert_eq!(text, "export A='it'\\''s'\nexport TOKEN='********'\n");
        let text = render(&sample(), Format::Dotenv, true, false);
        assert_eq!(text, "A=\"it's\"\nTOKEN=\"x\\\"\\$y\"\n");
    }

    #[test]
    fn inherited_variables_are_shown_on_request() {
        assert!(!render(&sample(), Format::Json, false, false).contains("PATH"));
        assert!(render(&sample(), Format::Json, false, true).contains("PATH"));
    }
}
