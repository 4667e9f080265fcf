//! The verbs that explain devrun: help, manual pages, self-check, completions.

#[path = "help/completions.rs"]
mod completions;

use serde_json::Value;

use crate::asking::{fine, json, skip_without};
use crate::supervise::terminal::Terminal;
use crate::support::Sandbox;
use crate::support::product::{entries, find};

#[test]
fn help_lists_pages_and_prints_one() {
    let sandbox = Sandbox::new();
    let list = fine(sandbox.devrun(&["help"]).directory(sandbox.path())).stdout;
    assert!(list.contains("\nconfiguration ") && list.contains("\nlogs.md "), "{list}");
    let page = fine(sandbox.devrun(&["help", "configuration"]).directory(sandbox.path())).stdout;
    assert_eq!(page, include_str!("../../docs/configuration.md"));
    let wrong = sandbox.devrun(&["help", "prots"]).directory(sandbox.path()).run();
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(wrong.stderr.contains("devrun help ports"), "{wrong}");
}

#[test]
fn a_terminal_shows_a_page_in_the_pager() {
    let mut sandbox = Sandbox::new();
    let pager = sandbox.path().join("pager");
    sandbox.write(&pager, "#!/bin/sh\nprintf 'paged %s: ' \"$1\"\nhead -n 1\n");
    std::fs::set_permissions(&pager, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    sandbox.set("PAGER", format!("{} 'a b'", pager.display()));
    let (running, terminal) =
        Terminal::start(sandbox.devrun(&["help", "configuration"]).directory(sandbox.path()));
    terminal.expect("paged a b: # Configuration");
    let ended = terminal.end(running);
    assert_eq!(ended.code, Some(0), "{ended}");
    let shown = terminal.text();
    assert!(shown.contains("paged a b: # Configuration"), "{shown}");
    assert!(!shown.contains("smallest"), "{shown}");
    // Without a terminal there is no pager.
    let plain = fine(sandbox.devrun(&["help", "configuration"]).directory(sandbox.path()));
    assert!(plain.stdout.starts_with("# Configuration"), "{plain}");
}

#[test]
fn manual_pages_are_read_without_a_warning() {
    let sandbox = Sandbox::new();
    let folder = sandbox.path().join("man pages");
    let folder = folder.to_str().unwrap();
    let written = json(&fine(sandbox.devrun(&["man", "--dir", folder, "--json"]).directory(sandbox.path())));
    let pages: Vec<&str> =
        written["pages"].as_array().unwrap().iter().map(|page| page.as_str().unwrap()).collect();
    assert!(pages.len() > 30, "{pages:?}");
    if find("groff").is_none() {
        return skip_without(&["groff"]);
    }
    for page in &pages {
        let read = fine(sandbox.program("groff", &["-man", "-Tutf8", "-ww", "-z", page]));
        assert_eq!(read.stderr, "", "{page}");
    }
    if find("man").is_none() {
        return skip_without(&["man"]);
    }
    let shown = |page: &str| {
        let path = pages.iter().find(|path| path.ends_with(page)).unwrap();
        fine(sandbox.program("man", &["-l", path]).env("MANPAGER", "cat").env("MANWIDTH", "100")).stdout
    };
    let verb = shown("/devrun-with.1");
    assert!(verb.contains("devrun-with") && verb.contains("--fresh"), "{verb}");
    let yaml = shown("/devrun.yaml.5");
    assert!(yaml.contains("stop_grace: duration") && yaml.contains("KEYS OF database.neon"), "{yaml}");
}

#[test]
fn the_manual_of_the_user_is_found_by_man() {
    let sandbox = Sandbox::new();
    let wrote = fine(sandbox.devrun(&["man"]).directory(sandbox.path())).stdout;
    assert!(wrote.contains("/.local/share/man"), "{wrote}");
    if find("man").is_none() {
        return skip_without(&["man"]);
    }
    let folder = sandbox.home().join(".local/share/man");
    let shown = sandbox.program("man", &["devrun"]).env("MANPATH", folder).env("MANPAGER", "cat");
    assert!(fine(shown).stdout.contains("SYNOPSIS"));
}

#[test]
fn self_check_names_version_folders_and_promises() {
    let sandbox = Sandbox::new();
    let told = json(&fine(sandbox.devrun(&["self-check", "--json"]).directory(sandbox.path())));
    let line = |name: &str| -> Value {
        let all = told["lines"].as_array().unwrap();
        all.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {told:#}")).clone()
    };
    let version = fine(sandbox.devrun(&["--version"])).stdout;
    assert_eq!(line("version")["text"], version.trim());
    assert_eq!(line("unix sockets")["promise"], "kept");
    assert_eq!(line("loopback")["promise"], "kept");
    assert!(line("state")["text"].as_str().unwrap().contains("made when needed"), "{told:#}");
    for name in
        ["build", "system", "cache", "runtime", "reflink", "/proc", "cgroup v2", "*.localhost", "postgres"]
    {
        assert!(!line(name)["text"].as_str().unwrap().is_empty(), "{name}");
    }
    let text = fine(sandbox.devrun(&["self-check"]).directory(sandbox.path())).stdout;
    assert!(text.lines().any(|text| text.starts_with("+ unix sockets ")), "{text}");
    let left = entries(&sandbox.runtime().join("devrun-worktree")).count();
    assert_eq!(left, 0, "the check leaves nothing in the runtime folder");
}
