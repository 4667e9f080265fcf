//! `devrun ls`: the stacks of this user that run, do not answer, or were killed.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::asking::{base, json, server};
use crate::support::{LIMIT, Process, Sandbox, kill_both, wait_for};

/// Returns the answer of `devrun ls --json` from a folder outside every worktree.
#[track_caller]
fn stacks(sandbox: &Sandbox) -> Vec<Value> {
    let ended = sandbox.devrun(&["ls", "--json"]).directory(sandbox.home()).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    json(&ended)["stacks"].as_array().unwrap().clone()
}

#[track_caller]
fn fine(sandbox: &Sandbox, folder: &Path, args: &[&str]) {
    let ended = sandbox.devrun(args).directory(folder).run();
    assert_eq!(ended.code, Some(0), "{args:?}: {ended}");
}

fn pid(value: &Value) -> Pid {
    Pid::from_raw(i32::try_from(value["pid"].as_i64().unwrap()).unwrap())
}

/// Waits until `ls` lists the stack of `folder` in `state`.
#[track_caller]
fn listed(sandbox: &Sandbox, folder: &Path, state: &str) -> Value {
    let path = folder.canonicalize().unwrap();
    wait_for(state, LIMIT, || {
        let all = stacks(sandbox);
        let found =
            all.iter().find(|stack| stack["worktree"] == path.to_str().unwrap() && stack["state"] == state);
        found.cloned().ok_or_else(|| format!("{all:#?}"))
    })
}

#[test]
fn ls_lists_stacks_with_their_usage() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let other = sandbox.worktree("other", "feature/x");
    assert_eq!(stacks(&sandbox), [] as [Value; 0]);
    fine(&sandbox, &main, &["up", "-d"]);
    fine(&sandbox, &other, &["up", "-d"]);
    let stack = listed(&sandbox, &other, "ready");
    assert_eq!((&stack["repo"], &stack["branch"]), (&json!("repo"), &json!("feature/x")));
    let port = stack["ports"]["web"].as_u64().unwrap();
    assert_eq!(stack["url"], format!("http://localhost:{port}"));
    assert!(stack["processes"].as_u64().unwrap() >= 3, "keeper, supervisor, web: {stack:#}");
    assert!(stack["memory_bytes"].as_u64().unwrap() > 1_000_000, "{stack:#}");
    assert!(stack["age_seconds"].as_u64().unwrap() < 600 && stack["cpu_percent"].is_f64(), "{stack:#}");
    listed(&sandbox, &main, "ready");
    let said = sandbox.devrun(&["ls"]).directory(sandbox.home()).run().stdout;
    let rows: Vec<&str> = said.lines().collect();
    assert!(rows.len() == 3 && rows[0].starts_with("STATE") && !said.contains('\x1b'), "{said}");
    assert!(rows.iter().any(|row| row.starts_with("ready  repo  feature/x ")), "{said}");

    // A stack that hangs does not delay the others.
    kill(pid(&stack), Signal::SIGTSTP).unwrap();
    let silent = listed(&sandbox, &other, "silent");
    assert_eq!(silent["ports"], stack["ports"]);
    listed(&sandbox, &main, "ready");
    let said = sandbox.devrun(&["ls"]).run().stdout;
    assert!(said.contains("does not answer; `devrun -C "), "{said}");
    kill(pid(&stack), Signal::SIGCONT).unwrap();
    listed(&sandbox, &other, "ready");

    fine(&sandbox, &other, &["down"]);
    assert_eq!(stacks(&sandbox).len(), 1);
    fine(&sandbox, &main, &["down"]);
    assert_eq!(stacks(&sandbox), [] as [Value; 0]);
}

#[test]
fn killed_stack_is_stale_until_cleanup() {
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &server(base()))]);
    let other = sandbox.worktree("other", "other");
    for folder in [&main, &other] {
        fine(&sandbox, folder, &["up", "-d"]);
        kill_both(pid(&listed(&sandbox, folder, "ready")).as_raw().cast_unsigned());
        let stale = listed(&sandbox, folder, "stale");
        assert_eq!((&stale["pid"], &stale["processes"]), (&Value::Null, &json!(0)));
    }
    let said = sandbox.devrun(&["ls"]).run().stdout;
    assert!(said.contains("left processes or files behind; `devrun -C "), "{said}");
    fine(&sandbox, &main, &["down"]);
    assert_eq!(stacks(&sandbox).len(), 1);
    // `ls` drops a stack whose worktree is gone.
    sandbox.git(&["worktree", "remove", "--force", other.to_str().unwrap()]);
    assert_eq!(stacks(&sandbox), [] as [Value; 0]);
    let left: Vec<_> =
        std::fs::read_dir(sandbox.runtime().join("devrun-worktree")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Returns the processes that left their session and lost their parent, one of each stack.
fn strays(sandbox: &Sandbox) -> Vec<i32> {
    let all = sandbox.processes().into_iter();
    let escaped = |process: &Process| process.command.contains("mute") && !process.command.contains("child[");
    all.filter(escaped).map(|process| process.pid).collect()
}

#[test]
fn leftovers_of_a_removed_worktree_are_killed() {
    let sandbox = Sandbox::new();
    let words = "devrun-fixture ready child[ setsid child[ ignore:INT,TERM,HUP ready mute sleep ] ] sleep";
    let main = sandbox.repo_with(&[("devrun.yaml", &format!("processes:\n  web: exec {words}\n"))]);
    let (by_git, by_hand) = (sandbox.worktree("git", "git"), sandbox.worktree("hand", "hand"));
    fine(&sandbox, &main, &["up", "-d"]);
    let stray = |count: usize| {
        wait_for("the strays", LIMIT, || match strays(&sandbox) {
            found if found.len() == count => Ok(found),
            found => Err(format!("{found:?}")),
        })
    };
    let neighbours = stray(1);
    for folder in [&by_git, &by_hand] {
        fine(&sandbox, folder, &["up", "-d"]);
        stray(2);
        kill_both(pid(&listed(&sandbox, folder, "ready")).as_raw().cast_unsigned());
        listed(&sandbox, folder, "stale");
        assert_eq!(stray(2).len(), 2, "nothing outlived its devrun");
        if folder == &by_git {
            sandbox.git(&["worktree", "remove", "--force", folder.to_str().unwrap()]);
        } else {
            std::fs::remove_dir_all(folder).unwrap();
        }
        let said = sandbox.devrun(&["ls"]).directory(sandbox.home()).run();
        assert_eq!(strays(&sandbox), neighbours, "{said}");
        let told = format!("left behind in {}, which is gone", folder.display());
        assert!(said.stderr.contains(&told), "{said}");
        assert_eq!(stacks(&sandbox).len(), 1);
        let again = sandbox.devrun(&["ls"]).directory(sandbox.home()).run();
        assert!(!again.stderr.contains("which is gone"), "{again}");
    }
    listed(&sandbox, &main, "ready");
    fine(&sandbox, &main, &["down"]);
    let left = std::fs::read_dir(sandbox.runtime().join("devrun-worktree")).unwrap().count();
    assert_eq!(left, 0);
}

#[test]
fn ls_spares_a_stack_that_is_ending() {
    let sandbox = Sandbox::new();
    let go = sandbox.path().join("go");
    let words = format!("devrun-fixture report:INT ready await-file:{} say:bye exit:0", go.display());
    let text = format!("processes:\n  web: {{ run: 'exec {words}', stop_grace: 10m }}\n");
    sandbox.repo_with(&[("devrun.yaml", &text)]);
    let other = sandbox.worktree("other", "other");
    let mut running = sandbox.devrun(&["-C", other.to_str().unwrap()]).start();
    running.expect_line(r"\| ready");
    // This also removes the lock file, so the stack looks killed.
    sandbox.git(&["worktree", "remove", "--force", other.to_str().unwrap()]);
    running.expect_line(r"\| got INT");
    stacks(&sandbox);
    sandbox.write(&go, "");
    let ended = running.wait();
    assert!(ended.stdout.contains("| bye"), "{ended}");
    assert_eq!(stacks(&sandbox), [] as [Value; 0]);
}

/// A barrier that lets the pretended stacks answer only when all of them have a request.
struct Meeting {
    size: usize,
    /// The number of open requests, and of completed rounds.
    state: Mutex<(usize, usize)>,
}

impl Meeting {
    /// Waits until all stacks have a request. Returns false if the client on `stream` gives up first.
    fn attend(&self, stream: &mut UnixStream) -> bool {
        let mine = {
            let mut state = self.state.lock().unwrap();
            let mine = state.1;
            state.0 += 1;
            if state.0 == self.size {
                *state = (0, mine + 1);
            }
            mine
        };
        stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        loop {
            if self.state.lock().unwrap().1 != mine {
                return true;
            }
            if matches!(stream.read(&mut [0]), Ok(0)) {
                let mut state = self.state.lock().unwrap();
                if state.1 == mine {
                    state.0 -= 1;
                }
                return false;
            }
        }
    }
}

/// Pretends to be a stack, with a lock held by this test, a record, an entry, and a socket. A thread answers on the socket
/// together with the others of `meeting`; without one, the socket never answers.
fn pretend(sandbox: &Sandbox, number: usize, meeting: Option<Arc<Meeting>>) -> (File, Option<UnixListener>) {
    let worktree = sandbox.path().join(format!("w{number:03}"));
    let state = worktree.join(".git/devrun");
    let runtime = sandbox.runtime().join("devrun-worktree");
    let tag = devrun::testing::supervisor::sweep::worktree_tag(&worktree);
    let socket: PathBuf = runtime.join(format!("{tag}.sock"));
    devrun::testing::os::fs::make_own_dir(&runtime).unwrap();
    let record = json!({ "version": 1, "pid": std::process::id(), "started": 1, "worktree": worktree,
        "ports": { "web": 3000 + number }, "socket": socket });
    sandbox.write(&state.join("run.json"), &record.to_string());
    let entry = json!({ "version": 1, "worktree": worktree, "state": state, "repo": "r", "branch": "b" });
    sandbox.write(&runtime.join(format!("{tag}.stack")), &entry.to_string());
    let lock = File::create(state.join("lock")).unwrap();
    lock.lock().unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let Some(meeting) = meeting else { return (lock, Some(listener)) };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            if meeting.attend(&mut stream) {
                let body = r#"{"state": "ready"}"#;
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
                let _ = write!(stream, "{head}: {}\r\n\r\n{body}", body.len());
            }
        }
    });
    (lock, None)
}

#[test]
fn ls_queries_a_hundred_stacks_in_parallel() {
    let sandbox = Sandbox::new();
    let hangs = |number: usize| number % 10 == 3;
    // No stack answers before all have a request, so the first would be silent if `ls` asked one after the other.
    let meeting = Arc::new(Meeting { size: 90, state: Mutex::default() });
    let held: Vec<_> =
        (0..100).map(|number| pretend(&sandbox, number, (!hangs(number)).then(|| meeting.clone()))).collect();
    let expected: Vec<(u64, &str)> =
        (0..100).map(|n| (3000 + n as u64, if hangs(n) { "silent" } else { "ready" })).collect();
    // On a busy machine an answer may come too late; then the next `ls` gets it.
    wait_for("all answers", LIMIT, || {
        let all = stacks(&sandbox);
        let seen: Vec<(u64, &str)> = all
            .iter()
            .map(|stack| (stack["ports"]["web"].as_u64().unwrap(), stack["state"].as_str().unwrap()))
            .collect();
        if seen == expected { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    drop(held);
    for number in 0..100 {
        let tag =
            devrun::testing::supervisor::sweep::worktree_tag(&sandbox.path().join(format!("w{number:03}")));
        std::fs::remove_file(sandbox.runtime().join(format!("devrun-worktree/{tag}.sock"))).unwrap();
    }
}

#[test]
fn forged_entry_cannot_reach_other_folders() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    let precious = sandbox.home().join("precious");
    let record =
        r#"{"version":1,"pid":1,"started":1,"worktree":"/w","urls":[["web","http://evil.example/"]]}"#;
    sandbox.write(&precious.join("run.json"), record);
    let runtime = sandbox.runtime().join("devrun-worktree");
    devrun::testing::os::fs::make_own_dir(&runtime).unwrap();
    let gone = Path::new("/nonexistent");
    let tag = devrun::testing::supervisor::sweep::worktree_tag(gone);
    for name in ["y", &tag] {
        let entry =
            json!({ "version": 1, "worktree": gone, "state": precious, "repo": "shop", "branch": "main" });
        sandbox.write(&runtime.join(format!("{name}.stack")), &entry.to_string());
    }
    nix::unistd::mkfifo(&runtime.join("x.stack"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(stacks(&sandbox), Vec::<Value>::new());
    let left: Vec<_> =
        std::fs::read_dir(&precious).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["run.json"]);
    assert_eq!(std::fs::read_to_string(precious.join("run.json")).unwrap(), record);
}
