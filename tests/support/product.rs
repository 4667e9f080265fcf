//! The reference product in a sandbox. Of the tools of a project, the PATH has only git, node, npm and Python, so devrun must provide
//! all others. All tests share the downloads of package managers, in `.tools/cache` of the project, and also devrun's own downloads
//! unless the tests run as root in a folder that other users cannot enter.

use std::ffi::OsStr;
use std::io::Write;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde_json::{Value, json};

use super::http::{self, Answer};
use super::{Ended, Invocation, Running, Sandbox};

/// Long enough for a first start on a busy machine, downloads included.
pub(crate) const PATIENCE: Duration = Duration::from_mins(5);

/// Next.js compiles with all cores, so two products at once would only slow each other down.
static TURN: Mutex<()> = Mutex::new(());

/// Programs that the shell scripts of the tools call.
const TOOLS: [&str; 34] = [
    "basename", "cat", "chmod", "cp", "cut", "date", "dirname", "env", "expr", "find", "grep", "head", "id",
    "ln", "ls", "mkdir", "mktemp", "mv", "pwd", "readlink", "realpath", "rm", "rmdir", "sed", "sh", "sleep",
    "sort", "tail", "test", "touch", "tr", "true", "uname", "wc",
];

/// A repository with the reference product, in a sandbox.
pub(crate) struct Product {
    sandbox: Sandbox,
    // Fields drop in order: the next product may start once the sandbox is removed.
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Product {
    type Target = Sandbox;

    fn deref(&self) -> &Sandbox {
        &self.sandbox
    }
}

impl DerefMut for Product {
    fn deref_mut(&mut self) -> &mut Sandbox {
        &mut self.sandbox
    }
}

impl Product {
    /// Makes the unchanged product.
    pub(crate) fn new() -> Product {
        Product::shaped(|_| ())
    }

    /// Makes the product with a change before its first commit.
    pub(crate) fn shaped(change: impl FnOnce(&Path)) -> Product {
        Product::made(|repository| {
            copy(&project().join("examples/leadboard"), repository);
            change(repository);
        })
    }

    /// Makes another product, whose files `fill` writes into the repository.
    pub(crate) fn made(fill: impl FnOnce(&Path)) -> Product {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // Not in memory: the packages are hard links into a store on the disk.
        let mut sandbox = Sandbox::in_folder(Path::new("/tmp"));
        furnish(&mut sandbox);
        let repository = sandbox.main();
        std::fs::create_dir(&repository).unwrap();
        fill(&repository);
        sandbox.git(&["init", "-q"]);
        sandbox.git(&["add", "-A"]);
        sandbox.git(&["commit", "-q", "-m", "first"]);
        Product { sandbox, _turn: turn }
    }

    /// Adds a program of this machine to the PATH. Panics if the machine does not have it.
    pub(crate) fn provide(&self, program: &str) {
        let found = find(program).unwrap_or_else(|| panic!("the tests need {program}"));
        symlink(found, self.path().join("bin").join(program)).unwrap();
    }

    /// Returns a call of devrun with these arguments, in this worktree.
    pub(crate) fn devrun_in(&self, worktree: &Path, args: &[&str]) -> Invocation {
        self.devrun(args).directory(worktree)
    }

    /// Starts `devrun` in `worktree`.
    pub(crate) fn start(&self, worktree: &Path) -> Running {
        self.devrun_in(worktree, &[]).start().patient(PATIENCE)
    }

    /// Starts `devrun` in `worktree` and waits until it reports that it is ready.
    #[track_caller]
    pub(crate) fn up(&self, worktree: &Path) -> Stack {
        Stack::when_ready(self.start(worktree))
    }

    /// Runs `devrun` in `worktree` and returns its failure. Panics if it succeeds.
    #[track_caller]
    pub(crate) fn fail(&self, worktree: &Path) -> Ended {
        let ended = self.start(worktree).wait();
        assert_ne!(ended.code, Some(0), "{ended}");
        ended
    }

    /// Waits until no process of the sandbox runs.
    #[track_caller]
    pub(crate) fn expect_quiet(&self) {
        super::wait_for("the last process to go", super::LIMIT, || {
            let left = self.processes();
            if left.is_empty() { Ok(()) } else { Err(format!("{left:#?}")) }
        });
    }

    /// Returns the folder of the only database cluster.
    #[track_caller]
    pub(crate) fn cluster(&self) -> PathBuf {
        let folder = self.path().join("data/devrun-worktree/pg");
        let mut all: Vec<PathBuf> =
            entries(&folder).filter(|path| path.join("state.json").is_file()).collect();
        assert_eq!(all.len(), 1, "{all:?}");
        all.swap_remove(0)
    }

    /// Reads the recorded state of the cluster: port and passwords.
    pub(crate) fn cluster_state(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.cluster().join("state.json")).unwrap()).unwrap()
    }
}

/// A running devrun that has reported that it is ready.
pub(crate) struct Stack {
    running: Running,
    block: String,
}

impl Deref for Stack {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Stack {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

impl Stack {
    /// Waits until `running` reports that it is ready.
    #[track_caller]
    pub(crate) fn when_ready(mut running: Running) -> Stack {
        running.expect_line(r"^  Ready in [0-9.]+ s\. Ctrl-C stops everything\.$");
        let said = running.stdout();
        let block = said.lines().filter(|line| line.starts_with("  ")).collect::<Vec<_>>().join("\n");
        Stack { running, block }
    }

    /// Returns the first value beside `name` in the final block, such as a URL.
    #[track_caller]
    pub(crate) fn told(&self, name: &str) -> String {
        let row =
            self.block.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix("  "));
        let row = row.unwrap_or_else(|| panic!("no {name} in:\n{}", self.block)).trim();
        // A second URL, under the worktree's own host name, may follow.
        row.split("  ").next().unwrap_or(row).into()
    }

    /// Returns the port in the URL beside `name` in the final block.
    #[track_caller]
    pub(crate) fn port(&self, name: &str) -> u16 {
        let url = self.told(name);
        let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()?.parse().ok());
        port.unwrap_or_else(|| panic!("no port in {url}"))
    }

    /// Fetches the page of a tenant.
    pub(crate) fn page(&self, tenant: &str) -> Answer {
        http::get(self.port("Frontend"), &format!("{tenant}.localhost"), "/admin/leads")
    }

    /// Sends `GET path` to the backend and returns its JSON answer.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str) -> Value {
        let answer = http::get(self.port("Backend"), "localhost", path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Returns the database to which the backend is connected.
    pub(crate) fn database(&self) -> String {
        self.ask("/whoami")["database"].as_str().unwrap_or_default().into()
    }

    /// Returns the names of a tenant's leads, newest first.
    pub(crate) fn leads(&self, tenant: &str) -> Vec<String> {
        let board = self.ask(&format!("/leads?tenant={tenant}"));
        board["leads"].as_array().unwrap().iter().map(|lead| lead["name"].as_str().unwrap().into()).collect()
    }

    /// Adds a lead through the API.
    #[track_caller]
    pub(crate) fn add_lead(&self, tenant: &str, name: &str) {
        let lead = json!({ "tenant": tenant, "name": name, "company": "A Company", "value": 1 });
        let answer = http::post(self.port("Backend"), "/leads", &lead);
        assert_eq!(answer.status, 201, "{answer:?}");
    }

    /// Presses Ctrl-C and waits for the exit. Panics if the exit code is not 130.
    #[track_caller]
    pub(crate) fn stop(self) -> Ended {
        self.running.signal_group(Signal::SIGINT);
        let ended = self.running.wait();
        assert_eq!(ended.code, Some(130), "{ended}");
        ended
    }
}

/// Returns the folder of devrun's sources.
pub(crate) fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Replaces `old` by `new` in a file. Panics if the file does not contain `old`.
#[track_caller]
pub(crate) fn edit(file: &Path, old: &str, new: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(old), "{old:?} is not in {}:\n{text}", file.display());
    let new = text.replace(old, new);
    std::fs::File::create(file).and_then(|mut file| file.write_all(new.as_bytes())).unwrap();
}

/// Returns the paths in a folder, or none if the folder is missing.
pub(crate) fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Returns the path of a program on the developer's PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join(program));
    places.find(|place| {
        place.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

fn furnish(sandbox: &mut Sandbox) {
    let programs = sandbox.path().join("bin");
    std::fs::create_dir(&programs).unwrap();
    let place = |name: &str, target: &Path| symlink(target, programs.join(name)).unwrap();
    for tool in TOOLS {
        place(tool, &find(tool).unwrap_or_else(|| panic!("the tests need {tool}")));
    }
    for program in ["git", "node", "npm"] {
        let found = find(program).unwrap_or_else(|| panic!("the tests need {program}"));
        place(program, &found.canonicalize().unwrap());
    }
    place("devrun", Path::new(env!("CARGO_BIN_EXE_devrun")));
    // With a version manager, the program on the PATH is not Python itself.
    let code = "import os, sys; print(os.path.realpath(sys.executable))";
    place("python3", Path::new(sandbox.program("python3", &["-c", code]).run().stdout.trim()));
    let temporary = sandbox.path().join("tmp");
    std::fs::create_dir(&temporary).unwrap();
    let data = sandbox.path().join("data");
    sandbox.set("PATH", programs);
    sandbox.set("TMPDIR", temporary);
    sandbox.set("XDG_DATA_HOME", data);
    let shared = project().join(".tools/cache");
    std::fs::create_dir_all(&shared).unwrap();
    share_downloads(sandbox, &shared);
    // For root, the database server runs as another user, which may not have access to this folder.
    let open = |folder: &Path| folder.metadata().is_ok_and(|meta| meta.permissions().mode() & 0o001 != 0);
    let own = geteuid().is_root() && !shared.ancestors().all(open);
    let cache = if own { sandbox.path().join("cache") } else { shared };
    set_cache(sandbox, &cache);
}

/// Sets the folder of devrun's cache.
pub(crate) fn set_cache(sandbox: &mut Sandbox, folder: &Path) {
    sandbox.set("XDG_CACHE_HOME", folder);
}

/// Lets package managers keep their downloads in `folder`.
fn share_downloads(sandbox: &mut Sandbox, folder: &Path) {
    let places = [
        ("PNPM_CONFIG_STORE_DIR", "pnpm-store"),
        ("npm_config_cache", "npm"),
        ("UV_CACHE_DIR", "uv"),
        ("PIP_CACHE_DIR", "pip"),
    ];
    for (name, place) in places {
        sandbox.set(name, folder.join(place));
    }
}

/// Copies a folder without what tools have made in it.
fn copy(from: &Path, to: &Path) {
    const MADE: [&str; 4] = ["node_modules", ".venv", ".next", "__pycache__"];
    std::fs::create_dir_all(to).unwrap();
    for entry in entries(from) {
        let name = entry.file_name().unwrap_or_default();
        if MADE.iter().any(|made| name == OsStr::new(made)) {
            continue;
        }
        let target = to.join(name);
        if entry.is_dir() {
            copy(&entry, &target);
        } else {
            std::fs::copy(&entry, &target).unwrap();
        }
    }
}
