//! Checks the rules for the sources and documents: imports between modules, length and module comments of files, one file with
//! unsafe code, reads through `os::read`, hints, modules in `docs/ARCHITECTURE.md`; and in the submodules: circles of imports, links,
//! names, readable text, and concrete providers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "architecture/circles.rs"]
mod circles;
#[path = "architecture/links.rs"]
mod links;
#[path = "architecture/names.rs"]
mod names;
#[path = "architecture/prose.rs"]
mod prose;
#[path = "architecture/providers.rs"]
mod providers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The largest number of lines of a file in `src`.
const LONGEST: usize = 600;

/// The modules that every module may import. They import only each other.
const BASE: [&str; 6] = ["plan", "event", "error", "os", "context", "text"];
/// The other modules, each with those that it may import in addition to the base and itself.
const ROOMS: [(&str, &[&str]); 17] = [
    ("worktree", &[]),
    ("config", &["worktree"]),
    ("recognition", &["worktree", "config"]),
    ("ports", &["worktree"]),
    ("deps", &["worktree"]),
    ("database", &["worktree"]),
    ("services", &[]),
    ("supervisor", &[]),
    ("prepare", &["worktree", "config", "recognition", "ports", "deps", "database", "services"]),
    ("isolation", &["ports"]),
    ("control", &["supervisor", "isolation"]),
    // The output of processes reaches the terminal through the supervisor's `Sink`.
    ("ui", &["supervisor"]),
    // The output of processes reaches the log files through the supervisor's `Sink` too.
    ("logs", &["supervisor"]),
    ("testing", &["control", "database", "isolation", "logs", "recognition", "supervisor", "ui"]),
    ("cleanup", &["worktree", "ports", "database", "supervisor", "control", "prepare"]),
    ("doctor", &["cleanup", "worktree", "config", "recognition", "ports", "deps", "database", "prepare"]),
    (
        "cli",
        &[
            "cleanup",
            "doctor",
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

/// Returns the modules named by `crate::module` anywhere in the code, including tests.
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
fn modules_import_only_allowed_modules() {
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
            *allowed.get(room.as_str()).unwrap_or_else(|| panic!("{room} is missing in `ROOMS`"))
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
fn files_are_short_and_have_a_module_comment() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        if text.lines().count() > LONGEST {
            offences.push(format!("{} is longer than {LONGEST} lines", path.display()));
        }
        if !text.starts_with("//! ") {
            offences.push(format!("{} does not begin with a module comment", path.display()));
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

/// Returns the code of a file without the module of tests at its end. `mod tests;` is only a declaration, and code follows it.
fn without_tests(text: &str) -> &str {
    let end = ["#[cfg(test)]\nmod tests {", "#[cfg(all(test"].iter().filter_map(|mark| text.find(mark)).min();
    &text[..end.unwrap_or(text.len())]
}

#[test]
fn files_are_read_through_os_read() {
    /// Calls that open a file by its path. A named pipe, a device or a huge file in its place would hang devrun or fill its memory.
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
    const ALLOWED: [(&str, &str); 10] = [
        ("os/read.rs", "implements the limits"),
        ("os/fs.rs", "lock files, and the sync of a folder"),
        ("os/cgroup.rs", "the control groups of the kernel"),
        ("os/proc.rs", "the process table"),
        ("os/usage.rs", "the process table"),
        ("os/tcp.rs", "the kernel's table of sockets"),
        ("database/local/admin_socket.rs", "opens the server's folder and checks its owner"),
        ("logs/file.rs", "appends to devrun's own logs"),
        ("database/local/server.rs", "appends to the server's log"),
        ("deps/test_env.rs", "tests only"),
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
fn architecture_page_names_every_module() {
    let map =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ARCHITECTURE.md")).unwrap();
    let rooms: BTreeSet<String> = sources().iter().map(|(path, _)| room(path)).collect();
    let missing: Vec<&String> = rooms.iter().filter(|room| !map.contains(&format!("`{room}"))).collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md does not name {missing:?}");
}

#[test]
fn hints_name_the_next_start_by_a_constant() {
    // A plain `devrun` does not return to the script or agent that runs it.
    let joined = regex::Regex::new(r"\\\n\s*").unwrap();
    let mut offences = Vec::new();
    for (path, text) in sources() {
        if path == Path::new("error.rs") || path.ends_with("tests.rs") {
            continue;
        }
        let text = joined.replace_all(without_tests(&text), "");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            if line.contains("devrun again") || line.contains("devrun` again") {
                offences.push(format!("{}: {}", path.display(), line.trim()));
            }
        }
    }
    assert!(offences.is_empty(), "write `{{RERUN}}`: {offences:#?}");
}
