//! `devrun man`: writes the manual pages: one for each verb, from the definition of the command line, and devrun.yaml(5).

mod yaml_page;

use std::path::PathBuf;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use serde_json::json;

use super::args::{Cli, ManArgs};
use crate::context::{Context, user_folder};
use crate::error::{Exit, Report};
use crate::os::fs;
use crate::ui::console::Console;

/// A page, as a file below the folder of manual pages.
struct ManualPage {
    path: PathBuf,
    text: Vec<u8>,
}

pub(super) fn run(ctx: &Context, console: &Console, args: &ManArgs, as_json: bool) -> Result<Exit, Report> {
    let own = || user_folder(&ctx.env, "XDG_DATA_HOME", ".local/share").join("man");
    let folder = args.dir.as_ref().map_or_else(own, |dir| ctx.cwd.join(dir));
    let pages = pages()?;
    for page in &pages {
        fs::replace(&folder.join(&page.path), &page.text, 0o644)?;
    }
    if as_json {
        let paths: Vec<_> = pages.iter().map(|page| folder.join(&page.path)).collect();
        return super::printed(console.print_json(&json!({ "folder": folder, "pages": paths })));
    }
    let count = pages.len();
    let text = format!("Wrote {count} pages to {}. Read them with `man devrun`.\n", folder.display());
    super::printed(console.print(&text))
}

/// Returns all pages, sorted by path: devrun.yaml(5) is the last one.
fn pages() -> Result<Vec<ManualPage>, Report> {
    let mut whole = Cli::command();
    whole.build();
    let mut open = vec![whole];
    let mut pages = Vec::new();
    while let Some(command) = open.pop() {
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help");
        let verbs: Vec<Command> = verbs.cloned().collect();
        let man = Man::new(command).manual("devrun").source(concat!("devrun ", env!("CARGO_PKG_VERSION")));
        let mut text = Vec::new();
        man.render(&mut text).map_err(|error| Report::bug(format!("no manual page: {error}")))?;
        pages.push(ManualPage { path: PathBuf::from("man1").join(man.get_filename()), text });
        open.extend(verbs);
    }
    pages.push(ManualPage { path: "man5/devrun.yaml.5".into(), text: yaml_page::text().into_bytes() });
    pages.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_every_key_has_its_page() {
        let pages = pages().unwrap();
        let names: Vec<String> = pages.iter().map(|page| page.path.to_string_lossy().into_owned()).collect();
        for known in ["man1/devrun.1", "man1/devrun-up.1", "man1/devrun-db-reset.1", "man5/devrun.yaml.5"] {
            assert!(names.iter().any(|name| name == known), "{known}: {names:?}");
        }
        let yaml = String::from_utf8_lossy(&pages.last().unwrap().text).into_owned();
        for key in crate::config::schema::keys() {
            assert!(yaml.contains(key), "{key}");
        }
    }
}
