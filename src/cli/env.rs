//! `devrun env`: the environment of the stack, for shells, dotenv files and programs. Secrets are masked unless asked for.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use serde_json::{Map, json};

use super::args::{self, Format};
use crate::config::values::is_variable_name;
use crate::context::{Context, WITHHELD};
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
    let env = prepare::preview(ctx).await?.plan.env;
    let shown = shown(&env, args.reveal, args.all);
    let text = match if as_json { Format::Json } else { args.format } {
        Format::Json => json_object(&shown),
        Format::Shell => [forgotten(&ctx.env, &env), lines(&shown, "export ", shell_quoted)].concat(),
        Format::Dotenv => lines(&shown, "", dotenv_quoted),
    };
    super::printed(console.print(&text))
}

type Shown<'a> = Vec<(&'a str, &'a OsStr)>;

/// What devrun adds or changes, or all there is, with secrets masked unless they are to be revealed.
fn shown(env: &Environment, reveal: bool, all: bool) -> Shown<'_> {
    env.vars
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_str().filter(|name| all || env.origins.contains_key(*name))?;
            let masked = env.secrets.contains(name) && !reveal;
            Some((name, if masked { OsStr::new(MASK) } else { value.as_os_str() }))
        })
        .collect()
}

fn json_object(shown: &Shown<'_>) -> Vec<u8> {
    let object: Map<_, _> =
        shown.iter().map(|(name, value)| ((*name).into(), json!(value.to_string_lossy()))).collect();
    format!("{:#}\n", json!(object)).into_bytes()
}

/// A line each. Names that only programs can give a variable (bash's exported functions) are no names to a shell.
fn lines(shown: &Shown<'_>, lead: &str, quoted: impl Fn(&OsStr) -> Vec<u8>) -> Vec<u8> {
    let named = shown.iter().filter(|(name, _)| is_variable_name(name));
    named
        .flat_map(|(name, value)| [lead.as_bytes(), name.as_bytes(), b"=", &quoted(value), b"\n"].concat())
        .collect()
}

/// What a shell has that the stack must not see: another worktree's database, port, virtual environment.
fn forgotten(inherited: &BTreeMap<OsString, OsString>, env: &Environment) -> Vec<u8> {
    let gone = inherited.keys().filter(|name| !env.vars.contains_key(*name)).filter_map(|name| name.to_str());
    // The next devrun in that shell needs what the processes do not get.
    gone.filter(|name| is_variable_name(name) && !WITHHELD.contains(name))
        .flat_map(|name| format!("unset {name}\n").into_bytes())
        .collect()
}

/// Single quotes protect everything but themselves.
fn shell_quoted(value: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in value.as_bytes() {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// Single quotes where every reader of such files takes them literally, shells included; else double quotes with the
/// escapes of our own reader, which most have.
fn dotenv_quoted(value: &OsStr) -> Vec<u8> {
    let text = value.to_string_lossy();
    let literal = !text.contains(['\'', '\r']) && !text.contains(r"\\") && !text.ends_with('\\');
    if literal {
        return [b"'", value.as_bytes(), b"'"].concat();
    }
    let escaped = text
        .replace('\\', r"\\")
        .replace('"', r#"\""#)
        .replace('\n', r"\n")
        .replace('\r', r"\r")
        .replace("${", r"\${");
    format!("\"{escaped}\"").into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::envfile::dotenv;
    use crate::config::source::Source;
    use crate::plan::Origin;

    fn sample() -> Environment {
        Environment {
            vars: [("A", "it's"), ("TOKEN", "x\"$y"), ("PATH", "/bin"), ("BASH_FUNC_x%%", "() { :; }")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            origins: [("A", Origin::Config), ("TOKEN", Origin::File)].map(|(k, o)| (k.to_string(), o)).into(),
            secrets: ["TOKEN".to_string()].into(),
        }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn secrets_are_masked_unless_revealed() {
        let env = sample();
        let shell = lines(&shown(&env, false, false), "export ", shell_quoted);
        assert_eq!(text(shell), "export A='it'\\''s'\nexport TOKEN='********'\n");
        let dotenv = lines(&shown(&env, true, false), "", dotenv_quoted);
        assert_eq!(text(dotenv), "A=\"it's\"\nTOKEN='x\"$y'\n");
    }

    #[test]
    fn inherited_variables_are_shown_on_request() {
        let env = sample();
        assert!(!text(json_object(&shown(&env, false, false))).contains("PATH"));
        assert!(text(json_object(&shown(&env, false, true))).contains("BASH_FUNC_x%%"));
        assert!(!text(lines(&shown(&env, false, true), "", shell_quoted)).contains("BASH_FUNC"));
    }

    #[test]
    fn a_shell_forgets_what_the_stack_does_not_have() {
        let inherited = [("PORT", "1"), ("PATH", "/bin"), ("NEON_API_KEY", "napi_x"), ("no name", "x")]
            .map(|(k, v)| (k.into(), v.into()));
        assert_eq!(text(forgotten(&inherited.into(), &sample())), "unset PORT\n");
    }

    proptest! {
        #[test]
        fn what_is_written_as_dotenv_is_read_back(value in "([a-z '\"`\\\\$\\{\\}#\r\n=]|\\PC){0,30}") {
            let file = format!("NAME={}\nNEXT=1\n", text(dotenv_quoted(OsStr::new(&value))));
            let outer = |_: &str| Some("not this".to_string());
            let read = dotenv::parse(&Source::new(".env", file), &mut dotenv::Known::default(), &outer).unwrap();
            let wanted = vec![("NAME".to_string(), value), ("NEXT".to_string(), "1".to_string())];
            prop_assert_eq!(read.vars, wanted);
        }
    }
}
