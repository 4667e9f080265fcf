//! Measures recognition of a repository of 5,000 files, the first time and again, and the audit of connections, beside
//! `git status` in the same repository: `cargo bench --bench recognition`.

#![expect(clippy::print_stdout, reason = "the figures are printed")]
#![expect(clippy::unwrap_used, reason = "a benchmark may end by panicking")]
#![expect(clippy::disallowed_methods, reason = "git and the clients of the audit end with the benchmark")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use devrun::testing::isolation::{self, Territory};
use devrun::testing::recognition::{self, RecognitionPaths};

const ROUNDS: usize = 15;
const PACKAGES: usize = 100;
/// Files of each package; all packages have 5,000.
const FILES: usize = 50;

const PYTHON: &str = "import os\nfrom fastapi import APIRouter\n\nrouter = APIRouter()\n\n\nclass Item:\n    \"\"\"One item.\"\"\"\n\n    def __init__(self, name: str) -> None:\n        self.name = name\n\n\n@router.get(\"/items\")\nasync def items() -> list[str]:\n    return [os.environ[\"ITEM\"]]\n";
const PLAIN: &str = "def add(a, b):\n    return a + b\n\n\nclass Point:\n    x = 1\n    y = 2\n";
const SCRIPT: &str = "export async function load(id: string) {\n  const url = process.env.API_URL ?? 'http://localhost:8000';\n  const answer = await fetch(`${url}/items/${id}`);\n  return answer.json();\n}\n";
const COMPONENT: &str = "export function Button({ label }: { label: string }) {\n  return <button className=\"rounded px-4\">{label}</button>;\n}\n";

/// Makes the packages of the repository. One file in ten names a variable or an application, and one is an image; the others are
/// ordinary code, repeated to a usual length.
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
            devrun::testing::os::fs::replace_for_now(&folder.join(name), text.as_bytes(), 0o644).unwrap();
        }
    }
}

/// A product with parts and variables, so that every step of the recognition has a result.
const PRODUCT: [(&str, &str); 9] = [
    ("api/requirements.txt", "fastapi\nasyncpg\nsqlalchemy\nalembic\n"),
    ("api/alembic.ini", "[alembic]\nscript_location = alembic\n"),
    ("api/alembic/env.py", ""),
    ("api/main.py", "from fastapi import FastAPI\n\nfrom settings import ORIGINS\n\napp = FastAPI()\n"),
    (
        "api/settings.py",
        "import os\n\nURL = os.environ['DATABASE_URL']\nORIGINS = os.environ['CORS_ORIGINS'].split(',')\n",
    ),
    (
        "api/.env.example",
        "DATABASE_URL=postgresql+asyncpg://u:p@localhost:5432/app\nCORS_ORIGINS=http://localhost:3000\n",
    ),
    (
        "web/package.json",
        "{ \"scripts\": { \"dev\": \"next dev\" }, \"dependencies\": { \"next\": \"16\" } }\n",
    ),
    ("web/package-lock.json", "{}\n"),
    ("web/.env.example", "API_URL=http://localhost:8000\n"),
];

fn git(root: &Path, words: &[&str]) {
    let author =
        ["-c", "user.name=Bench", "-c", "user.email=bench@example.invalid", "-c", "commit.gpgsign=false"];
    let output = Command::new("git").args(author).args(words).current_dir(root).output().unwrap();
    assert!(output.status.success(), "git {words:?}");
}

fn main() {
    let root = tempfile::tempdir().unwrap();
    let state = tempfile::tempdir().unwrap();
    make(root.path());
    for (name, text) in PRODUCT {
        devrun::testing::os::fs::replace_for_now(&root.path().join(name), text.as_bytes(), 0o644).unwrap();
    }
    for words in [&["init", "-q"][..], &["add", "-A"], &["commit", "-q", "-m", "first"]] {
        git(root.path(), words);
    }
    // Facts of files that changed just now are not kept.
    std::thread::sleep(Duration::from_millis(200));
    let place = RecognitionPaths {
        root: root.path().into(),
        main_root: None,
        state: Some(state.path().into()),
        path: std::env::var_os("PATH"),
    };
    let recognised = || {
        let found = recognition::recognise(&place);
        assert!(
            found.yaml.contains("CORS_ORIGINS") && found.yaml.contains("listen: backend"),
            "{}",
            found.yaml
        );
    };
    let (mut status, mut first, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        status.push(timed(|| git(root.path(), &["status", "--porcelain"])));
        let _ = std::fs::remove_file(state.path().join("facts.json"));
        first.push(timed(recognised));
        again.push(timed(recognised));
    }
    let status = print("git status", status, None);
    print("first time", first, Some(status));
    print("again", again, Some(status));
    print("audit", audits(), Some(status));
}

/// Times the audit of a stack of three processes with twenty connections each to a server outside the stack.
fn audits() -> Vec<Duration> {
    const CLIENT: &str = "import socket, sys, time\n\
        all = [socket.create_connection(('127.0.0.1', int(sys.argv[1]))) for _ in range(20)]\n\
        print('connected', flush=True)\n\
        time.sleep(600)\n";
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    let start = |_| {
        let words = ["-c", CLIENT, &port];
        let mut client = Command::new("python3").args(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        client
    };
    let clients: Vec<Child> = (0..3).map(start).collect();
    let leaders: BTreeMap<u32, String> =
        clients.iter().map(|client| (client.id(), "worker".into())).collect();
    let mut territory = Territory::default();
    territory.leaders = leaders;
    let times = (0..ROUNDS).map(|_| timed(|| drop(isolation::audit(&territory)))).collect();
    for mut client in clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    times
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

/// Prints the median and the extremes, and the ratio of the median to `other` if it is given. Returns the median.
fn print(what: &str, mut times: Vec<Duration>, other: Option<Duration>) -> Duration {
    times.sort();
    let median = times[times.len() / 2];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let ratio =
        other.map(|other| format!("   {:.2} of git status", median.as_secs_f64() / other.as_secs_f64()));
    println!(
        "  {what:>10}  {:7.1} ms  {:7.1}  {:7.1}{}",
        ms(median),
        ms(times[0]),
        ms(times[times.len() - 1]),
        ratio.unwrap_or_default()
    );
    median
}
