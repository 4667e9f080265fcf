//! `devrun help`: prints the help of a verb or a page of the documentation, or lists the pages. The pages are in the program, so
//! they are those of this version.

mod pager;
mod pages;

use clap::{Command, CommandFactory};
use serde_json::json;

use self::pages::{HelpPage, PAGES};
use super::args::{Cli, HelpArgs};
use crate::context::Context;
use crate::error::{Code, Exit, Report};
use crate::text::similar_names;
use crate::ui::console::Console;

/// The end of the name of a page, which no verb has.
const PAGE: &str = ".md";

pub(super) async fn run(
    ctx: &Context,
    console: &Console,
    args: &HelpArgs,
    as_json: bool,
) -> Result<Exit, Report> {
    if args.words.is_empty() {
        return super::printed(if as_json {
            let pages: Vec<_> =
                PAGES.iter().map(|page| json!({ "name": page.name, "about": page.about })).collect();
            console.print_json(&json!({ "pages": pages }))
        } else {
            console.print(&list())
        });
    }
    let (name, text) = find(&args.words)?;
    if as_json {
        return super::printed(console.print_json(&json!({ "name": name, "text": text })));
    }
    pager::show(ctx, console, &text).await
}

/// Returns the verbs and pages, each with its description in a line.
pub(super) fn words() -> Vec<(String, String)> {
    let command = Cli::command();
    let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let verbs = verbs.map(|verb| {
        (verb.get_name().to_string(), verb.get_about().map(ToString::to_string).unwrap_or_default())
    });
    verbs.chain(PAGES.iter().map(|page| (shown(&command, page), page.about.to_string()))).collect()
}

/// Returns the name by which `devrun help` finds a page. It ends in `.md` if a verb has the same name.
fn shown(command: &Command, page: &HelpPage) -> String {
    if command.find_subcommand(page.name).is_some() {
        format!("{}{PAGE}", page.name)
    } else {
        page.name.into()
    }
}

fn list() -> String {
    let command = Cli::command();
    let rows: Vec<(String, &str)> = PAGES.iter().map(|page| (shown(&command, page), page.about)).collect();
    format!(
        "Pages, each with `devrun help PAGE`:\n\n{}\n`devrun --help` lists the verbs; `devrun help VERB` explains one.\n",
        super::columns(&rows)
    )
}

/// Returns the name and the text for `words`: of a verb, else of a page.
fn find(words: &[String]) -> Result<(String, String), Report> {
    let mut whole = Cli::command();
    whole.build();
    let verb = words.iter().try_fold(&mut whole, |command, word| command.find_subcommand_mut(word));
    if let Some(verb) = verb {
        return Ok((words.join(" "), verb.render_long_help().to_string()));
    }
    let wanted = words.join("-").to_ascii_lowercase();
    let wanted = wanted.strip_suffix(PAGE).unwrap_or(&wanted);
    match PAGES.iter().find(|page| page.name.eq_ignore_ascii_case(wanted)) {
        Some(page) => Ok((page.name.into(), page.text.into())),
        None => Err(unknown(&words.join(" "), wanted)),
    }
}

fn unknown(written: &str, wanted: &str) -> Report {
    let known = words();
    let plain = known.iter().map(|(name, _)| name.trim_end_matches(PAGE));
    let nearest = similar_names::nearest_within(1 + wanted.chars().count() / 3, wanted, plain);
    let nearest = known.iter().find(|(name, _)| nearest == Some(name.trim_end_matches(PAGE)));
    let report = Report::new(Code::Usage, format!("there is no verb and no page `{written}`"));
    match nearest {
        Some((name, _)) => report.with_fix(format!("devrun help {name}")),
        None => report.with_fix("`devrun help` lists the pages, `devrun --help` the verbs"),
    }
}

#[cfg(test)]
mod command_lines;
#[cfg(test)]
mod tests;
