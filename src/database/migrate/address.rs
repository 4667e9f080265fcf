//! Finds the server that a migration failed to reach, and the line of the repository that contains its address.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use regex::Regex;

use crate::context::default_ports::POSTGRES;
use crate::context::server_address;
pub use crate::context::server_address::ServerAddress;
use crate::context::this_machine::is_this_machine;
use crate::os::read::{self, Limit};

/// Limits of the search: the number of files, and the depth below the migration's folder.
const MOST: usize = 2000;
const DEEPEST: usize = 6;
/// A failed HTTP request, as Prisma and other Node programs print it, with its host.
static REQUEST: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"request to https?://(?:[^/\s@]*@)?(\[[^\]]*\]|[^/:\s]+)").ok());

/// Returns true if the output reports a failed HTTP request to another machine. A request to this machine is no download: it
/// goes to a server of the product.
pub(super) fn is_download(tail: &str) -> bool {
    REQUEST
        .as_ref()
        .is_some_and(|request| request.captures_iter(tail).any(|found| !is_this_machine(&found[1])))
}

/// Returns the server that the command's output reports as unreachable. An HTTP server does not count, because it is no
/// database.
pub(super) fn unreached(tail: &str) -> Option<ServerAddress> {
    let is_request = |line: &&str| REQUEST.as_ref().is_some_and(|request| request.is_match(line));
    let tail = tail.lines().filter(|line| !is_request(line)).collect::<Vec<_>>().join("\n");
    server_address::unreached(&tail)
}

/// Rates how clearly a line of code contains `address`: 3 for a URL with host and port, 2 for host and port, 1 for a URL without
/// a port, 0 for none.
fn rank(address: &ServerAddress, line: &str) -> u8 {
    let ServerAddress { host, port } = address;
    let names = if is_this_machine(host) { vec!["localhost", "127.0.0.1"] } else { vec![host.as_str()] };
    let rank = |name: &str| {
        let with_port = format!("{name}:{port}");
        if line.contains("://") && line.contains(&format!("@{with_port}")) {
            3
        } else if line.contains(&with_port) {
            2
        } else {
            u8::from(*port == POSTGRES && line.contains("://") && line.contains(&format!("@{name}/")))
        }
    };
    names.into_iter().map(rank).max().unwrap_or(0)
}

/// Returns the line in Python code or `alembic.ini` below `directory` that contains `address`, as `config.py:27`.
/// Comments do not count.
pub(super) fn written(directory: &Path, address: &ServerAddress) -> Option<String> {
    let mut best: Option<(u8, String)> = None;
    for file in sources(directory) {
        let Ok(text) = read::text(&file, Limit::SMALL) else { continue };
        for (at, line) in text.lines().enumerate() {
            let rank = if line.trim_start().starts_with(['#', ';']) { 0 } else { rank(address, line) };
            if rank > best.as_ref().map_or(0, |(best, _)| *best) {
                best = Some((rank, format!("{}:{}", file.display(), at + 1)));
            }
        }
    }
    best.map(|(_, place)| place)
}

/// Returns the Python files and `alembic.ini` files below `directory`, breadth first.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = std::collections::VecDeque::from([(directory.to_path_buf(), 0)]);
    while let Some((folder, depth)) = open.pop_front() {
        let mut entries: Vec<_> = std::fs::read_dir(&folder).into_iter().flatten().flatten().collect();
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let skipped = name.starts_with('.') || ["node_modules", "venv", "env", "tests"].contains(&&*name);
            if is_folder && depth < DEEPEST && !skipped && !path.join("pyvenv.cfg").exists() {
                open.push_back((path, depth + 1));
            } else if !is_folder && (name == "alembic.ini" || name.ends_with(".py")) {
                found.push(path);
            }
            if found.len() >= MOST {
                return found;
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_with_the_whole_url_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            crate::os::fs::replace(&folder.path().join(name), text.as_bytes(), 0o600).unwrap();
        };
        write("app/main.py", "print('localhost:5432')\n");
        write(
            "db/config.py",
            "# u = 'postgresql://a:b@localhost:5432/x'\nurl = 'postgresql://a:b@localhost:5432/x'\n",
        );
        write(".venv/lib/x.py", "url = 'postgresql://a:b@localhost:5432/x'\n");
        let address = ServerAddress { host: "127.0.0.1".into(), port: 5432 };
        assert!(written(folder.path(), &address).unwrap().ends_with("db/config.py:2"));
        assert_eq!(written(folder.path(), &ServerAddress { port: 5433, ..address }), None);
    }
}
