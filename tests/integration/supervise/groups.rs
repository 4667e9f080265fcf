//! A process that left its session, its environment and its parents is still in the run's control group, and ends with it.

use std::path::{Path, PathBuf};

use devrun::testing::context::variables;
use devrun::testing::os::cgroup::ControlGroup;
use devrun::testing::os::proc;
use devrun::testing::supervisor::sweep;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use super::{assert_nothing_runs, pid_in, world};
use crate::asking::skip;
use crate::support::{LIMIT, Sandbox, kill_both, wait_for};

/// A child that is found only in its control group once both processes of devrun are dead.
const ESCAPED: &str = "$ env -i $(command -v devrun-fixture) setsid child[ setsid ignore:INT,TERM,HUP ready mute sleep ] & \
                       exec devrun-fixture ready sleep";

/// Returns true if a group can be made; otherwise reports that the test is skipped.
pub(crate) fn has_groups() -> bool {
    // No worktree has this tag.
    let group = ControlGroup::of_run(&format!("{:016x}.{:x}", 0, std::process::id()));
    let made = group.as_ref().is_some_and(|group| std::fs::create_dir(group.path()).is_ok());
    if made {
        assert!(group.is_some_and(|group| group.remove()));
    } else {
        skip("no control group (cgroup v2) can be made here");
    }
    made
}

/// Returns the groups of runs in `worktree` that exist.
fn groups(worktree: &Path) -> Vec<PathBuf> {
    let tag = sweep::worktree_tag(worktree);
    let own = ControlGroup::of_run(&format!("{tag}.0")).unwrap();
    let beside = std::fs::read_dir(own.path().parent().unwrap()).unwrap().flatten().map(|entry| entry.path());
    let beginning = format!("devrun-{tag}.");
    beside.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(&beginning)).collect()
}

/// Starts a stack in `worktree` and kills both processes of devrun. Returns the id of the process that outlives them.
fn outlived(sandbox: &Sandbox, worktree: &Path) -> u32 {
    let mut running = sandbox.devrun(&["-C", worktree.to_str().unwrap()]).start();
    let ready = running.expect_lines(r"\| ready \d+", 2);
    let pids = ready.iter().map(|line| pid_in(line).as_raw().cast_unsigned());
    let escaped: Vec<u32> = pids.filter(|pid| proc::env_of(*pid, variables::RUN).is_none()).collect();
    assert_eq!(escaped.len(), 1, "{ready:?}");
    let group = expect_group(worktree);
    wait_for("the move of all processes", LIMIT, || {
        if group.contains(escaped[0]) { Ok(()) } else { Err(format!("{:?}", group.members())) }
    });
    kill_both(running.pid());
    running.wait();
    assert!(sweep::is_alive(escaped[0]));
    assert_eq!(groups(worktree).len(), 1);
    escaped[0]
}

/// Waits until a run in `worktree` has entered its control group, and returns it.
#[track_caller]
pub(crate) fn expect_group(worktree: &Path) -> ControlGroup {
    wait_for("the control group", LIMIT, || {
        let groups = groups(worktree);
        let group = groups
            .first()
            .and_then(|path| ControlGroup::at(path))
            .filter(|group| !group.members().is_empty());
        group.ok_or_else(|| format!("{groups:?}"))
    })
}

#[track_caller]
fn assert_ended(pid: u32) {
    wait_for("the end of the process", LIMIT, || {
        if sweep::is_alive(pid) { Err(format!("{pid} lives")) } else { Ok(()) }
    });
}

#[test]
fn down_and_the_next_start_end_a_process_without_the_tag() {
    if !has_groups() {
        return;
    }
    let sandbox = world(&[("web", ESCAPED, "")]);
    let main = sandbox.main();
    let escaped = outlived(&sandbox, &main);
    let ended = sandbox.devrun(&["down"]).run();
    assert_ended(escaped);
    assert!(ended.stdout.contains("that an earlier run left behind"), "{ended}");
    assert_eq!(groups(&main), [] as [PathBuf; 0]);

    let escaped = outlived(&sandbox, &main);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"^note: ended \d+ processes that an earlier run left behind");
    assert_ended(escaped);
    running.expect_lines(r"\| ready \d+", 2);
    expect_group(&main);
    assert_eq!(groups(&main).len(), 1, "the group of the new run alone");
    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code, Some(130));
    assert_nothing_runs(&sandbox);
    assert_eq!(groups(&main), [] as [PathBuf; 0]);
}

#[test]
fn a_group_that_no_record_names_is_removed_by_down_and_the_next_start() {
    if !has_groups() {
        return;
    }
    let sandbox = world(&[("web", "ready sleep", "")]);
    let main = sandbox.main();
    // A supervisor leaves this group if it is killed after it deleted its record and before it removed its group.
    let left = ControlGroup::of_run(&format!("{}.1", sweep::worktree_tag(&main))).unwrap();
    std::fs::create_dir(left.path()).unwrap();
    let ended = sandbox.devrun(&["down"]).run();
    assert_eq!(ended.stdout, "Nothing runs in this worktree.\n", "{ended}");
    assert_eq!(groups(&main), [] as [PathBuf; 0]);

    std::fs::create_dir(left.path()).unwrap();
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready \d+");
    let now = expect_group(&main);
    assert!(now.path() != left.path() && groups(&main).len() == 1, "{now:?}");
    running.signal(Signal::SIGINT);
    running.wait();
    assert_eq!(groups(&main), [] as [PathBuf; 0]);
}

#[test]
fn ls_ends_a_process_without_the_tag_when_its_worktree_is_gone() {
    if !has_groups() {
        return;
    }
    let sandbox = world(&[("web", ESCAPED, "")]);
    let other = sandbox.worktree("other", "other");
    let escaped = outlived(&sandbox, &other);
    sandbox.git(&["worktree", "remove", "--force", other.to_str().unwrap()]);
    let said = sandbox.devrun(&["ls"]).run();
    assert_ended(escaped);
    assert!(said.stderr.contains("which is gone"), "{said}");
    assert_eq!(groups(&other), [] as [PathBuf; 0]);
}

#[test]
fn down_in_a_shell_that_a_killed_run_left_does_not_end_that_shell() {
    if !has_groups() {
        return;
    }
    let sandbox = Sandbox::new();
    let (go, said) = (sandbox.path().join("go"), sandbox.path().join("said"));
    nix::unistd::mkfifo(&go, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let shell =
        format!("cat {}; devrun down > {said}; echo survived >> {said}", go.display(), said = said.display());
    let run =
        format!("$ setsid env -u {} sh -c '{shell}' & {}", variables::RUN, ESCAPED.trim_start_matches("$ "));
    sandbox.repo_with(&[("devrun.yaml", &super::configuration("", &[("web", &run, "")]))]);
    let escaped = outlived(&sandbox, &sandbox.main());
    // The shell sees the pipe open and close.
    drop(std::fs::OpenOptions::new().read(true).write(true).open(&go).unwrap());
    let told = wait_for("the shell's answer", LIMIT, || {
        let text = std::fs::read_to_string(&said).unwrap_or_default();
        if text.ends_with("survived\n") { Ok(text) } else { Err(text) }
    });
    assert!(told.contains("that an earlier run left behind"), "{told}");
    assert_ended(escaped);
    assert_eq!(groups(&sandbox.main()), [] as [PathBuf; 0]);
}

#[test]
fn a_record_that_names_the_group_of_another_stack_ends_nothing_there() {
    if !has_groups() {
        return;
    }
    let sandbox = world(&[("web", ESCAPED, "")]);
    let other = sandbox.worktree("other", "other");
    let mut neighbour = sandbox.devrun(&["-C", other.to_str().unwrap()]).start();
    neighbour.expect_lines(r"\| ready \d+", 2);
    expect_group(&other);
    let escaped = outlived(&sandbox, &sandbox.main());
    let record = sandbox.main().join(".git/devrun/run.json");
    let mut written: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&record).unwrap()).unwrap();
    let own = written["groups"][0].clone();
    written["groups"] = serde_json::json!([groups(&other)[0], "/sys/fs/cgroup", "/", own]);
    sandbox.write(&record, &written.to_string());
    let ended = sandbox.devrun(&["down"]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_ended(escaped);
    assert!(!neighbour.has_ended());
    assert_eq!(groups(&other).len(), 1);
    neighbour.signal(Signal::SIGINT);
    assert_eq!(neighbour.wait().code, Some(130));
    assert_nothing_runs(&sandbox);
}

#[test]
fn a_stack_inside_another_has_a_group_of_its_own_and_ends_with_it() {
    if !has_groups() {
        return;
    }
    let sandbox = Sandbox::new();
    let (other, run) =
        (sandbox.path().join("other"), "$ devrun -C ../other up -d && exec devrun-fixture ready sleep");
    sandbox.repo_with(&[("devrun.yaml", &super::configuration("", &[("web", run, "")]))]);
    sandbox.worktree("other", "other");
    let inner = super::configuration("", &[("inner", "ready sleep", "")]);
    sandbox.write(&other.join("devrun.yaml"), &inner);
    let mut running = sandbox.devrun(&[]).start();
    running.expect_line(r"\| ready \d+");
    let (outer, inner) = (expect_group(&sandbox.main()), expect_group(&other));
    let is_server = |pid: &u32| {
        let command = proc::command_of(*pid).unwrap_or_default();
        proc::directory_of(*pid).is_some_and(|folder| folder == other) && command.contains("devrun-fixture")
    };
    wait_for("the move of the inner server", LIMIT, || {
        let (members, others) = (inner.members(), outer.members());
        let is_moved = members.iter().any(is_server) && !others.iter().any(is_server);
        if is_moved { Ok(()) } else { Err(format!("{members:?} {others:?}")) }
    });
    running.signal(Signal::SIGINT);
    running.wait();
    let ended = sandbox.devrun(&["-C", other.to_str().unwrap(), "down"]).run();
    assert_eq!(ended.stdout, "Nothing runs in this worktree.\n", "it ended with the outer one: {ended}");
    assert_nothing_runs(&sandbox);
    assert_eq!((groups(&sandbox.main()), groups(&other)), (Vec::new(), Vec::new()));
}
