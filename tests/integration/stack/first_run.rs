//! `devrun` in a new worktree of a repository in which it has never run.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::product::{Product, entries};

/// A thread that repeatedly collects the command lines of all processes on this machine.
struct Onlooker {
    done: Arc<AtomicBool>,
    thread: JoinHandle<BTreeSet<String>>,
}

impl Onlooker {
    fn start() -> Onlooker {
        let done = Arc::new(AtomicBool::new(false));
        let over = done.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeSet::new();
            while !over.load(Ordering::Relaxed) {
                let lines = entries(Path::new("/proc")).map(|process| std::fs::read(process.join("cmdline")));
                seen.extend(lines.flatten().map(|line| String::from_utf8_lossy(&line).into_owned()));
                std::thread::sleep(Duration::from_millis(30));
            }
            seen
        });
        Onlooker { done, thread }
    }

    fn stop(self) -> BTreeSet<String> {
        self.done.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// Adds the files below `folder` that the group or other users may read and that contain `secret`. Skips files of package managers.
fn betrayals(folder: &Path, secret: &str, found: &mut Vec<String>) {
    for path in entries(folder) {
        let Ok(meta) = path.symlink_metadata() else { continue };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if meta.is_dir() && !["node_modules", ".venv"].contains(&name.as_str()) {
            betrayals(&path, secret, found);
        } else if meta.is_file() && meta.permissions().mode() & 0o044 != 0 {
            let bytes = std::fs::read(&path).unwrap_or_default();
            if bytes.windows(secret.len()).any(|window| window == secret.as_bytes()) {
                found.push(path.display().to_string());
            }
        }
    }
}

#[test]
fn new_worktree_starts_and_stops_without_a_trace() {
    let product = Product::new();
    let worktree = product.worktree("feature-x", "feature/x");
    let onlooker = Onlooker::start();
    let stack = product.up(&worktree);

    let (frontend, backend) = (stack.port("Frontend"), stack.port("Backend"));
    assert_eq!(
        stack.told("Worktree"),
        format!("{} on feature/x", worktree.canonicalize().unwrap().display())
    );
    assert_eq!(stack.told("Frontend"), format!("http://localhost:{frontend}"));
    assert_eq!(stack.told("Backend"), format!("http://localhost:{backend}"));
    assert_eq!(stack.told("Tenant"), format!("http://demodev.localhost:{frontend}/admin/leads"));
    assert_eq!((frontend - 3100, frontend < 3200), (backend - 8100, true), "one slot for all ports");
    let database = stack.told("Database");
    assert!(
        database.starts_with("dev-feature-x-") && database.contains("created from dev-main"),
        "{database}"
    );
    assert!(database.contains("migrated"), "{database}");

    let (ours, theirs) = ("Ines Albrecht", "Hannah Lindqvist");
    let page = stack.page("demodev");
    assert!(page.status == 200 && page.body.contains(ours) && !page.body.contains(theirs), "{page:?}");
    let page = stack.page("acme");
    assert!(page.status == 200 && page.body.contains(theirs) && !page.body.contains(ours), "{page:?}");
    let name = stack.database();
    assert!(database.starts_with(&format!("{name} (")), "{name} is not the reported name: {database}");
    assert_eq!(stack.ask("/whoami")["branch"], "feature/x");
    assert_eq!(stack.ask("/whoami")["worktree"], worktree.canonicalize().unwrap().to_str().unwrap());

    let status = product
        .program("git", &["status", "--porcelain", "--untracked-files=all"])
        .directory(&worktree)
        .run();
    assert_eq!(status.stdout, "", "what a run makes is ignored or elsewhere");
    assert_eq!(product.git(&["status", "--porcelain"]), "", "the main checkout is left alone");

    let state = product.cluster_state();
    let server = u16::try_from(state["port"].as_u64().unwrap()).unwrap();
    let ended = stack.stop();
    assert_eq!(product.processes(), [], "processes are left");
    for port in [frontend, backend, server] {
        assert!(TcpListener::bind(("127.0.0.1", port)).is_ok(), "port {port} is still taken");
    }

    let argv = onlooker.stop();
    assert!(
        argv.iter().any(|line| line.contains("next-server")),
        "the search for command lines missed Next.js"
    );
    for secret in ["app_password", "admin_password"] {
        let secret = state[secret].as_str().unwrap();
        assert!(
            !ended.stdout.contains(secret) && !ended.stderr.contains(secret),
            "a password was printed: {ended}"
        );
        assert_eq!(argv.iter().find(|line| line.contains(secret)), None, "a password in a command line");
        let mut found = Vec::new();
        betrayals(product.path(), secret, &mut found);
        betrayals(product.runtime(), secret, &mut found);
        assert_eq!(found, [""; 0], "a password in files that other users can read");
    }
}
