//! How long recognition reads a repository of 5,000 files, the first time and again: `cargo bench --bench recognition`.

#![expect(clippy::print_stdout, reason = "what is measured is to be seen")]
#![expect(clippy::unwrap_used, reason = "a benchmark may end by panicking")]

use std::path::Path;
use std::time::{Duration, Instant};

use devrun::recognition::facts;

const ROUNDS: usize = 10;
const PACKAGES: usize = 100;
/// Files of each package; with the top's they make 5,000.
const FILES: usize = 50;

const PYTHON: &str = "import os\nfrom fastapi import APIRouter\n\nrouter = APIRouter()\n\n\nclass Item:\n    \"\"\"One item.\"\"\"\n\n    def __init__(self, name: str) -> None:\n        self.name = name\n\n\n@router.get(\"/items\")\nasync def items() -> list[str]:\n    return [os.environ[\"ITEM\"]]\n";
const PLAIN: &str = "def add(a, b):\n    return a + b\n\n\nclass Point:\n    x = 1\n    y = 2\n";
const SCRIPT: &str = "export async function load(id: string) {\n  const url = process.env.API_URL ?? 'http://localhost:8000';\n  const answer = await fetch(`${url}/items/${id}`);\n  return answer.json();\n}\n";
const COMPONENT: &str = "export function Button({ label }: { label: string }) {\n  return <button className=\"rounded px-4\">{label}</button>;\n}\n";

/// One file in ten names a variable or an application; the others are ordinary code, repeated to a usual length.
fn make(root: &Path) {
    for package in 0..PACKAGES {
        let folder = root.join(format!("apps/part{package}/src"));
        for file in 0..FILES {
            let (name, text) = match file % 10 {
                0 if file % 20 == 0 => (format!("m{file}.py"), PYTHON.to_string()),
                0 => (format!("m{file}.ts"), SCRIPT.to_string()),
                1..=4 => (format!("m{file}.py"), PLAIN.repeat(40)),
                5..=8 => (format!("c{file}.tsx"), COMPONENT.repeat(40)),
                _ => (format!("i{file}.svg"), "<svg/>".to_string()),
            };
            let folder = folder.join(format!("d{}", file / 10));
            devrun::os::fs::replace_for_now(&folder.join(name), text.as_bytes(), 0o644).unwrap();
        }
    }
}

fn main() {
    let root = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    make(root.path());
    // Facts of files that changed just now are not kept.
    std::thread::sleep(Duration::from_millis(200));
    let mut first = Vec::new();
    let mut again = Vec::new();
    for _ in 0..ROUNDS {
        let _ = std::fs::remove_file(state.path().join("facts.json"));
        first.push(timed(root.path(), state.path()));
        again.push(timed(root.path(), state.path()));
    }
    for (what, mut times) in [("first time", first), ("again", again)] {
        times.sort();
        println!(
            "  {what:>10}: {:.1} ms (median of {ROUNDS}), {:.1} ms at most",
            times[ROUNDS / 2].as_secs_f64() * 1e3,
            times[ROUNDS - 1].as_secs_f64() * 1e3
        );
    }
}

fn timed(root: &Path, state: &Path) -> Duration {
    let start = Instant::now();
    let facts = facts::read(root, None, Some(state));
    let taken = start.elapsed();
    assert!(
        facts.limits.is_empty() && facts.reads.len() == PACKAGES * 5,
        "{} {:?}",
        facts.reads.len(),
        facts.limits
    );
    taken
}
