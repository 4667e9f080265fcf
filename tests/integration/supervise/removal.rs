//! The worktree is removed under its stack: the stack stops, reports the reason, and releases its ports.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{assert_nothing_runs, base, world_with};
use crate::support::{Running, Sandbox};

/// Time within which a stack must end after the removal of its worktree.
const PROMISED: Duration = Duration::from_secs(10);

fn two_worktrees() -> (Sandbox, std::path::PathBuf) {
    let top = format!("ports: {{ web: {} }}", base());
    let stubborn = "listen:PORT ready child[ setsid ignore:INT,TERM,HUP ready mute sleep ] sleep";
    let sandbox = world_with(&top, &[("web", stubborn, "port: web, stop_grace: 300ms")]);
    let feature = sandbox.worktree("feature", "feature/x");
    (sandbox, feature)
}

fn start(sandbox: &Sandbox, worktree: &Path) -> Running {
    let mut running = sandbox.devrun(&["-C", worktree.to_str().unwrap()]).start();
    running.expect_lines(r"\| ready", 2);
    running.expect_line("^  Ready in ");
    running
}

fn ends(sandbox: &Sandbox, worktree: &Path, running: Running, since: Instant) {
    let ended = running.wait();
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
    assert_nothing_runs(sandbox);
    assert_eq!(ended.code, Some(89), "{ended}");
    let said = format!("the worktree {} is gone", worktree.display());
    assert!(ended.stderr.contains(&format!("error: {said} [worktree-gone]")), "{ended}");
    let leases = sandbox.home().join(".local/state/devrun-worktree");
    for file in std::fs::read_dir(leases).unwrap().flatten().filter(|file| file.path().is_file()) {
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(!text.contains(worktree.to_str().unwrap()), "still leased: {text}");
    }
}

#[test]
fn stack_ends_when_git_removes_its_worktree() {
    let (sandbox, feature) = two_worktrees();
    let running = start(&sandbox, &feature);
    let since = Instant::now();
    sandbox.git(&["worktree", "remove", "--force", feature.to_str().unwrap()]);
    ends(&sandbox, &feature, running, since);
    assert!(!sandbox.main().join(".git/worktrees/feature").exists(), "devrun created git's folder again");
    assert!(!feature.exists());
}

#[test]
fn stack_ends_when_its_worktree_is_deleted_by_hand() {
    let (sandbox, feature) = two_worktrees();
    let running = start(&sandbox, &feature);
    let since = Instant::now();
    std::fs::remove_dir_all(&feature).unwrap();
    ends(&sandbox, &feature, running, since);
    // A new worktree of the same name works.
    sandbox.git(&["worktree", "prune"]);
    sandbox.git(&["worktree", "add", "-q", "-f", feature.to_str().unwrap(), "feature/x"]);
    let again = start(&sandbox, &feature);
    again.signal(nix::sys::signal::Signal::SIGINT);
    assert_eq!(again.wait().code, Some(130));
}

#[test]
fn stack_ends_when_its_repository_is_deleted() {
    let (sandbox, _) = two_worktrees();
    let main = sandbox.main();
    let running = start(&sandbox, &main);
    let since = Instant::now();
    std::fs::remove_dir_all(&main).unwrap();
    ends(&sandbox, &main, running, since);
    assert!(!main.exists(), "devrun created the repository again");
}

#[test]
fn exiting_process_does_not_hide_the_removal() {
    let (sandbox, feature) = two_worktrees();
    let text =
        super::configuration("", &[("web", "$ while test -e devrun.yaml; do sleep 0.01; done; exit 3", "")]);
    sandbox.write(&feature.join("devrun.yaml"), &text);
    let mut running = sandbox.devrun(&["-C", feature.to_str().unwrap()]).start();
    running.expect_line("^  Ready in ");
    std::fs::rename(&feature, sandbox.path().join("elsewhere")).unwrap();
    let ended = running.wait();
    assert_nothing_runs(&sandbox);
    assert_eq!(ended.code, Some(89), "{ended}");
    assert!(ended.stderr.contains("[worktree-gone]"), "{ended}");
}
