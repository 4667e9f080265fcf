//! Keeps the floor plan true: who imports whom, how long files are, that each says what it is for, and that the map in
//! `docs/ARCHITECTURE.md` names exactly the rooms there are.

#![expect(clippy::unwrap_used, reason = "a test says by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// No file may be longer: beyond this nobody holds it in mind.
const LONGEST: usize = 600;

/// What each room may import beside the base, itself and the outside. The base imports nothing but the base.
const BASE: [&str; 6] = ["plan", "event", "error", "os", "context", "text"];
const ROOMS: [(&str, &[&str]); 13] = [
    ("worktree", &[]),
    ("config", &["worktree"]),
    ("recognition", &["worktree", "config"]),
    ("ports", &["worktree"]),
    ("deps", &["worktree"]),
    ("database", &["worktree"]),
    ("supervisor", &[]),
    ("prepare", &["worktree", "config", "recognition", "ports", "deps", "database"]),
    ("isolation", &["ports"]),
    ("control", &["supervisor", "isolation"]),
    // The lines of processes reach the terminal through the supervisor's `Sink`.
    ("ui", &["supervisor"]),
    // Lines on their way from the supervisor are written down, likewise through its `Sink`.
    ("logs", &["supervisor"]),
    (
        "cli",
        &[
            "worktree",
            "config",
            "recognition",
            "ports",
            "deps",
            "database",
            "supervisor",
            "isolation",
            "prepare",
            "control",
            "logs",
            "ui",
        ],
    ),
];

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut open = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(entry.path()).unwrap();
                found.push((entry.path().strip_prefix(&root).unwrap().to_path_buf(), text));
            }
        }
    }
    assert!(found.len() > 20, "the sources were not found");
    found
}

fn room(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

/// Rooms named by `crate::room` anywhere in the code, tests included.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut found = BTreeSet::new();
    for line in code {
        for part in line.split("crate::").skip(1) {
            if let Some(list) = part.strip_prefix('{') {
                found.extend(list.split(',').map(|name| name.trim().split("::").next().unwrap().to_string()));
            } else {
                found.insert(part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn rooms_import_only_what_the_floor_plan_allows() {
    let allowed: BTreeMap<&str, &[&str]> = ROOMS.into_iter().collect();
    let mut offences = Vec::new();
    for (path, text) in sources() {
        let room = room(&path);
        if room == "main" || room == "lib" {
            continue;
        }
        let beside = if BASE.contains(&room.as_str()) {
            &[]
        } else {
            *allowed.get(room.as_str()).unwrap_or_else(|| panic!("{room} is not on the floor plan"))
        };
        for import in imports(&text) {
            let fine = import == room || BASE.contains(&import.as_str()) || beside.contains(&import.as_str());
            if !fine {
                offences.push(format!("{} imports {import}", path.display()));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        if text.lines().count() > LONGEST {
            offences.push(format!("{} is longer than {LONGEST} lines", path.display()));
        }
        if !text.starts_with("//! ") {
            offences.push(format!("{} does not open with what it is for", path.display()));
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn unsafe_code_stays_in_one_file() {
    let with: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|(_, text)| {
            text.lines().any(|line| line.contains("unsafe ") && !line.trim_start().starts_with("//"))
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(with, [Path::new("os/spawn.rs")]);
}

/// The code of a file without its tests.
fn without_tests(text: &str) -> &str {
    let end = ["#[cfg(test)]", "#[cfg(all(test"].iter().filter_map(|mark| text.find(mark)).min();
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn files_are_read_through_one_door() {
    /// Ways to open a file by its path; a named pipe, a device or a huge file in its place would hang devrun or fill its memory.
    const FORBIDDEN: [&str; 8] = [
        "std::fs::read(",
        "std::fs::read_to_string(",
        "std::fs::copy(",
        "use std::fs;",
        "tokio::fs",
        "File::open(",
        "OpenOptions::new()",
        "File::options()",
    ];
    const ALLOWED: [(&str, &str); 9] = [
        ("os/read.rs", "the door itself"),
        ("os/fs.rs", "lock files, and a folder that is brought to the disk"),
        ("os/proc.rs", "the process table"),
        ("os/usage.rs", "the process table"),
        ("os/tcp.rs", "the kernel's table of sockets"),
        ("database/local/door.rs", "a handle of the server's own folder, whose owner is checked"),
        ("logs/file.rs", "appends to devrun's own logs"),
        ("database/local/server.rs", "appends to the server's log"),
        ("deps/stage.rs", "tests only"),
    ];
    let mut offences = Vec::new();
    for (path, text) in sources() {
        let is_test = path.iter().any(|part| part == "tests" || part == "tests.rs");
        if is_test || ALLOWED.iter().any(|(allowed, _)| path == Path::new(allowed)) {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let uses = |way: &&&str| {
                // `LogFile::open(` is another function.
                code.match_indices(**way).any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric()))
            };
            if let Some(way) = FORBIDDEN.iter().find(uses) {
                offences.push(format!("{}:{} uses {way}: read through os::read", path.display(), number + 1));
            }
        }
    }
    assert!(offences.is_empty(), "{offences:#?}");
}

#[test]
fn the_map_names_the_rooms_there_are() {
    let map =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md")).unwrap();
    let rooms: BTreeSet<String> = sources().iter().map(|(path, _)| room(path)).collect();
    let missing: Vec<&String> = rooms.iter().filter(|room| !map.contains(&format!("`{room}"))).collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md does not speak of {missing:?}");
}
