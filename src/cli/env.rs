//! `devrun env`: prints the environment of the stack for shells, dotenv files and programs. Masks secrets by default.

mod explain;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use serde_json::{Map, json};

use super::args::{self, Format};
use crate::config::envfile::quote::dotenv_quoted;
use crate::config::names::is_variable_name;
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::plan::{Environment, Process};
use crate::prepare;
use crate::text::quoted_bytes;
use crate::ui::console::Console;

/// The text that replaces a secret.
const MASK: &str = "********";

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &args::EnvArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    let preview = prepare::preview(ctx).await?;
    let process = args.process.as_deref().map(|name| find(&preview.plan.processes, name)).transpose()?;
    if args.explain {
        let known = explain::ExplainInput::of(&preview, args.reveal);
        let mut explanations = explain::explain(&known, &args.names, args.all);
        if let Some(process) = process {
            explanations = explain::of_process(explanations, &process.name);
        }
        return super::printed(if as_json {
            console.print_json(&json!({ "variables": explanations }))
        } else {
            console.print(&explain::text(&explanations))
        });
    }
    let env =
        process.map_or_else(|| preview.plan.env.clone(), |process| of_process(&preview.plan.env, process));
    let withheld: Vec<&str> = preview.resolved.config.withheld().collect();
    let shown = shown(&env, &ctx.env, args.reveal, args.all);
    let text = match if as_json { Format::Json } else { args.format } {
        Format::Json => json_object(&shown),
        Format::Shell => {
            [forgotten(&ctx.env, &env, &withheld), lines(&shown, "export ", quoted_bytes)].concat()
        }
        Format::Dotenv => lines(&shown, "", dotenv_quoted),
    };
    super::printed(console.print(&text))
}

/// Returns the process with this name. Errors if there is none.
fn find<'a>(processes: &'a [Process], name: &str) -> Result<&'a Process, Report> {
    processes.iter().find(|process| process.name == name).ok_or_else(|| {
        let known: Vec<&str> = processes.iter().map(|process| process.name.as_str()).collect();
        Report::new(Code::ProcessUnknown, format!("there is no process named {name}"))
            .with_fix(format!("one of: {}", known.join(", ")))
    })
}

/// Returns the environment of one process: the common one, and its own variables over it.
fn of_process(common: &Environment, process: &Process) -> Environment {
    let mut env = common.clone();
    for (name, value) in &process.env {
        env.vars.insert(name.into(), value.into());
        env.secrets.remove(name);
    }
    env.origins.extend(process.origins.clone());
    env.secrets.extend(process.secrets.iter().cloned());
    env
}

type Shown<'a> = Vec<(&'a str, &'a OsStr)>;

/// Returns the variables that devrun adds, or changes from those in `inherited`; or all of them. Masks secrets unless `reveal` is
/// set.
fn shown<'a>(
    env: &'a Environment,
    inherited: &BTreeMap<OsString, OsString>,
    reveal: bool,
    all: bool,
) -> Shown<'a> {
    env.vars
        .iter()
        .filter_map(|(name, value)| {
            let is_changed = inherited.get(name).is_some_and(|before| before != value);
            let name = name.to_str().filter(|name| all || is_changed || env.origins.contains_key(*name))?;
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

/// Formats a line for each variable. Leaves out names that a shell cannot assign, such as bash's exported functions.
fn lines(shown: &Shown<'_>, lead: &str, quoted: impl Fn(&OsStr) -> Vec<u8>) -> Vec<u8> {
    let named = shown.iter().filter(|(name, _)| is_variable_name(name));
    named
        .flat_map(|(name, value)| [lead.as_bytes(), name.as_bytes(), b"=", &quoted(value), b"\n"].concat())
        .collect()
}

/// Returns `unset` commands for the variables of a shell that the stack must not see, such as another worktree's
/// database, port or virtual environment.
fn forgotten(inherited: &BTreeMap<OsString, OsString>, env: &Environment, withheld: &[&str]) -> Vec<u8> {
    let gone = inherited.keys().filter(|name| !env.vars.contains_key(*name)).filter_map(|name| name.to_str());
    // The next devrun in that shell needs the variables that devrun withholds from processes.
    gone.filter(|name| is_variable_name(name) && !withheld.contains(name))
        .flat_map(|name| format!("unset {name}\n").into_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Origin;

    fn sample() -> Environment {
        Environment {
            vars: [("A", "it's"), ("TOKEN", "x\"$y"), ("PATH", "/bin"), ("BASH_FUNC_x%%", "() { :; }")]
                .map(|(k, v)| (k.into(), v.into()))
                .into(),
            origins: ["A", "TOKEN"].map(|name| (name.to_string(), Origin::Recognised)).into(),
            secrets: ["TOKEN".to_string()].into(),
            ..Environment::default()
        }
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_unknown_process_has_the_code_of_the_other_verbs() {
        let report = find(&[], "x").unwrap_err();
        assert_eq!((report.code, report.exit.status()), (Code::ProcessUnknown, 2));
    }

    #[test]
    fn a_variable_that_lost_a_part_is_shown() {
        let env = sample();
        let inherited = [("PATH".into(), "/w/other/bin:/bin".into()), ("A".into(), "it's".into())].into();
        let shown: Vec<&str> =
            shown(&env, &inherited, false, false).into_iter().map(|(name, _)| name).collect();
        assert_eq!(shown, ["A", "PATH", "TOKEN"]);
    }

    #[test]
    fn secrets_are_masked_unless_revealed() {
        let env = sample();
        let shell = lines(&shown(&env, &BTreeMap::new(), false, false), "export ", quoted_bytes);
        assert_eq!(text(shell), "export A=\"it's\"\nexport TOKEN='********'\n");
        let dotenv = lines(&shown(&env, &BTreeMap::new(), true, false), "", dotenv_quoted);
        assert_eq!(text(dotenv), "A=\"it's\"\nTOKEN='x\"$y'\n");
    }

    #[test]
    fn inherited_variables_are_shown_on_request() {
        let env = sample();
        assert!(!text(json_object(&shown(&env, &BTreeMap::new(), false, false))).contains("PATH"));
        assert!(text(json_object(&shown(&env, &BTreeMap::new(), false, true))).contains("BASH_FUNC_x%%"));
        assert!(
            !text(lines(&shown(&env, &BTreeMap::new(), false, true), "", quoted_bytes)).contains("BASH_FUNC")
        );
    }

    #[test]
    fn shell_unsets_variables_that_the_stack_lacks() {
        let inherited = [
            ("PORT", "1"),
            ("PATH", "/bin"),
            ("NEON_API_KEY", "napi_x"),
            ("ADMIN_URL", "x"),
            ("no name", "x"),
        ]
        .map(|(k, v)| (k.into(), v.into()));
        let withheld = ["NEON_API_KEY", "ADMIN_URL"];
        assert_eq!(text(forgotten(&inherited.into(), &sample(), &withheld)), "unset PORT\n");
    }
}
