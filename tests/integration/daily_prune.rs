//! `prune: { auto: daily }` and the timer of `devrun prune`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::asking::{base, devrun, fine, json, refusal, server};
use crate::db::World;
use crate::supervise::terminal::Terminal;
use crate::support::{LIMIT, Sandbox, wait_for};

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Makes a worktree with a lease, and deletes its folder.
fn gone(sandbox: &Sandbox, name: &str) -> PathBuf {
    let folder = sandbox.worktree(name, name);
    fine(devrun(sandbox, &folder, &["ports"]));
    std::fs::remove_dir_all(&folder).unwrap();
    folder
}

fn state(sandbox: &Sandbox, file: &str) -> PathBuf {
    sandbox.main().join(".git/devrun").join(file)
}

/// Starts and ends a stack in the main worktree. Waits for its daily prune if `before` is given: the content of the file with the time of
/// the last one. Returns the output of the start.
#[track_caller]
fn up_and_down(sandbox: &Sandbox, before: Option<&str>) -> String {
    let main = sandbox.main();
    fine(devrun(sandbox, &main, &["up", "-d"]));
    let said = read(&state(sandbox, "up.log"));
    if let Some(before) = before {
        wait_for_prune(sandbox, before);
    }
    fine(devrun(sandbox, &main, &["down"]));
    said
}

/// Waits until the file with the time of the daily prune differs from `before`, and no daily prune runs.
#[track_caller]
fn wait_for_prune(sandbox: &Sandbox, before: &str) {
    wait_for("the daily prune", LIMIT, || {
        let now = read(&state(sandbox, "prune-daily.time"));
        let told = || read(&state(sandbox, "prune-daily.log"));
        if now.is_empty() || now == before { Err(told()) } else { Ok(()) }
    });
    wait_for("its end", LIMIT, || match sandbox.processes() {
        all if all.iter().all(|process| !process.command.contains("--daily")) => Ok(()),
        all => Err(format!("{all:?}")),
    });
}

#[test]
fn c2_up_prunes_in_the_background_at_most_once_a_day() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &format!("prune: {{ auto: daily }}\n{}", server(base())))]);
    let one = gone(&sandbox, "one");
    let log = state(&sandbox, "prune-daily.log");
    let said = up_and_down(&sandbox, Some(""));
    assert!(said.contains(&format!("the daily prune runs in the background: {}", log.display())), "{said}");
    assert!(read(&log).contains(text(&one)) && read(&log).contains("Removed "), "{}", read(&log));
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
    // The branch of the deleted worktree stays.
    assert_eq!(sandbox.git(&["branch", "--list", "one"]).trim(), "one");
    gone(&sandbox, "two");
    let said = up_and_down(&sandbox, None);
    assert!(!said.contains("daily prune"), "{said}");
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 2);
    sandbox.write(&state(&sandbox, "prune-daily.time"), "1\n");
    let said = up_and_down(&sandbox, Some("1\n"));
    assert!(said.contains("daily prune"), "{said}");
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 1);
    // Without the key, nothing runs.
    sandbox.write(&state(&sandbox, "prune-daily.time"), "1\n");
    sandbox.write(&sandbox.main().join("devrun.yaml"), &server(base()));
    let said = up_and_down(&sandbox, None);
    assert!(!said.contains("daily prune"), "{said}");
}

#[test]
fn d6_daily_prune_deletes_no_database_of_a_branch() {
    let Some(world) = World::with("prune: { auto: daily }") else { return };
    let main = world.sandbox.main();
    for name in ["here", "deleted"] {
        let folder = world.worktree(name);
        world.ask(&folder, &["migrate"]);
        world.sandbox.git(&["worktree", "remove", text(&folder)]);
        // As if it was made long ago.
        let remark = format!(r#"{{"branch":"{name}","worktree":"{}","created":1}}"#, text(&folder));
        world.sql(&main, &format!("comment on database \"dev-{name}\" is '{remark}'"));
    }
    world.sandbox.git(&["branch", "-D", "deleted"]);
    up_and_down(&world.sandbox, Some(""));
    let listed = world.ask(&main, &["list"]);
    let names: Vec<&str> =
        listed["databases"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dev-here", "dev-main"], "{}", read(&state(&world.sandbox, "prune-daily.log")));
}

#[test]
fn r3_killed_daily_prune_is_repeated() {
    let sandbox = Sandbox::new();
    sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    gone(&sandbox, "gone");
    let held = std::fs::File::create(state(&sandbox, "worktrees.lock")).unwrap();
    held.lock().unwrap();
    let daily = || sandbox.devrun(&["prune", "--yes", "--daily"]);
    let mut first = daily().start();
    first.expect_line("remove  .*gone");
    let second = fine(daily());
    assert!(second.stderr.contains("another devrun prunes this repository"), "{second}");
    first.signal(Signal::SIGKILL);
    first.wait();
    held.unlock().unwrap();
    assert!(!state(&sandbox, "prune-daily.time").exists());
    let third = fine(daily());
    assert!(third.stdout.contains("Removed "), "{third}");
    let fourth = fine(daily());
    assert!(fourth.stderr.contains("did so within a day") && fourth.stdout.is_empty(), "{fourth}");
}

/// Puts a program `systemctl` first on PATH, which writes its arguments to a file and exits with `status`.
fn with_systemctl(sandbox: &mut Sandbox, status: u8) -> PathBuf {
    let (folder, log) = (sandbox.path().join("fake"), sandbox.path().join("systemctl.log"));
    let script = format!("#!/bin/sh\necho \"$*\" >>{}\necho 'no bus' >&2\nexit {status}\n", log.display());
    sandbox.write(&folder.join("systemctl"), &script);
    std::fs::set_permissions(folder.join("systemctl"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let rest = fine(sandbox.program("/bin/sh", &["-c", "echo $PATH"])).stdout;
    sandbox.set("PATH", format!("{}:{}", folder.display(), rest.trim()));
    log
}

#[test]
fn c3_timer_is_shown_written_switched_on_and_removed() {
    let mut sandbox = Sandbox::new();
    sandbox.repo();
    let log = with_systemctl(&mut sandbox, 0);
    let units = sandbox.home().join(".config/systemd/user");
    for args in [&["prune", "--install-timer"][..], &["prune", "--install-timer", "--dry-run", "--yes"]] {
        let ended = fine(sandbox.devrun(args));
        assert!(
            ended.stdout.contains("OnCalendar=daily") && ended.stdout.contains("Nothing was written"),
            "{ended}"
        );
        assert!(!units.exists());
    }
    let (running, terminal) = Terminal::start(sandbox.devrun(&["prune", "--install-timer"]));
    terminal.expect("[y/N] ");
    terminal.press("n\n");
    assert_eq!(terminal.end(running).code, Some(2));
    let done = json(&fine(sandbox.devrun(&["prune", "--install-timer", "--yes", "--json"])));
    assert_eq!((&done["installed"], &done["enabled"]), (&true.into(), &true.into()), "{done:#}");
    for file in done["files"].as_array().unwrap() {
        assert_eq!(read(Path::new(file["path"].as_str().unwrap())), file["text"].as_str().unwrap());
    }
    let timer = done["files"][1]["path"].as_str().unwrap().to_string();
    let name = Path::new(&timer).file_name().unwrap().to_str().unwrap().to_string();
    assert!(name.starts_with("devrun-prune-") && timer.starts_with(text(&units)), "{timer}");
    assert_eq!(read(&log), format!("--user daemon-reload\n--user enable --now {name}\n"));
    // Its command works as it is written.
    let service = done["files"][0]["text"].as_str().unwrap();
    let line = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let ran = fine(sandbox.program("/bin/sh", &["-c", line]).directory("/"));
    assert!(ran.stdout.contains("Nothing to remove."), "{ran}");
    let ended = fine(sandbox.devrun(&["prune", "--remove-timer"]));
    assert!(ended.stdout.contains("Deleted ") && !Path::new(&timer).exists(), "{ended}");
    assert!(read(&log).ends_with(&format!("--user disable --now {name}\n")), "{}", read(&log));
    let ended = fine(sandbox.devrun(&["prune", "--remove-timer"]));
    assert!(ended.stdout.contains("has no timer"), "{ended}");
}

#[test]
fn c3_without_systemctl_the_commands_are_printed() {
    let mut sandbox = Sandbox::new();
    sandbox.repo();
    with_systemctl(&mut sandbox, 1);
    let ended = fine(sandbox.devrun(&["prune", "--install-timer", "--yes"]));
    let advice = "the timer is off (no bus). To switch it on: systemctl --user daemon-reload && systemctl --user \
                  enable --now devrun-prune-";
    assert!(ended.stdout.contains(advice), "{ended}");
    let folder = sandbox.home().join(".config/systemd/user");
    let names = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name());
    let names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    // As if it had been switched on in another session.
    let timer = names.iter().find(|name| name.contains(".timer")).unwrap();
    let link = folder.join("timers.target.wants").join(timer);
    std::fs::create_dir(link.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(folder.join(timer), &link).unwrap();
    let ended = fine(sandbox.devrun(&["prune", "--remove-timer"]));
    assert!(ended.stdout.contains("may be on until the next login (no bus)"), "{ended}");
    assert!(!link.is_symlink() && !folder.join(timer).exists());
}

#[test]
fn c3_folder_that_a_unit_cannot_name_is_refused() {
    use std::os::unix::ffi::OsStrExt;

    let sandbox = Sandbox::new();
    for name in [&b"two\nlines"[..], b"not text \xff"] {
        let folder = sandbox.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir(&folder).unwrap();
        fine(sandbox.program("git", &["init", "-q"]).directory(&folder));
        let error =
            refusal(devrun(&sandbox, &folder, &["prune", "--install-timer", "--yes", "--json"]), "usage", 2);
        assert!(
            error["message"].as_str().unwrap().starts_with("a timer cannot contain the path"),
            "{error:#}"
        );
    }
    assert!(!sandbox.home().join(".config/systemd").exists());
}
