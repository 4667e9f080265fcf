//! Tests of the test helpers: the sandbox, running programs, the fixture.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::{Sandbox, wait_for};

/// Returns the message of the panic in `act`.
fn complaint(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).unwrap_err();
    panic.downcast::<String>().map_or_else(|_| "no text".into(), |text| *text)
}

fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here.localhost:{port}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn sandbox_is_isolated() {
    let mut sandbox = Sandbox::new();
    sandbox.set("GREETING", "hello");
    let repo = sandbox.repo_with(&[("backend/app.py", "x = 1\n")]);
    let tree = sandbox.worktree("feature", "feature/x");
    assert!(tree.join("backend/app.py").is_file());
    assert_eq!(sandbox.git(&["worktree", "list"]).lines().count(), 2);
    let said =
        sandbox.fixture(&["cwd", "env:GREETING", "env:HOME", "env:DATABASE_URL"]).directory(&tree).run();
    let home = sandbox.home();
    assert_eq!(
        said.stdout,
        format!(
            "cwd {}\nenv GREETING=hello\nenv HOME={}\nenv DATABASE_URL unset\n",
            tree.canonicalize().unwrap().display(),
            home.display()
        )
    );
    let one = sandbox.fixture(&["env:GREETING", "env:EXTRA"]).env("EXTRA", "1").env_remove("GREETING").run();
    assert_eq!((one.code, one.stdout.as_str()), (Some(0), "env GREETING unset\nenv EXTRA=1\n"));
    assert!(repo.starts_with(sandbox.path()) && sandbox.runtime().as_os_str().len() < 40);
}

#[test]
fn devrun_runs_in_a_sandbox() {
    let sandbox = Sandbox::new();
    sandbox.repo();
    let ended = sandbox.devrun(&["--version"]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert!(ended.stdout.contains(env!("CARGO_PKG_VERSION")), "{ended}");
}

#[test]
fn leftovers_are_found_and_killed() {
    let sandbox = Sandbox::new();
    let sleeper = ["child[", "setsid", "child[", "mute", "sleep", "]", "]", "mute"];
    assert_eq!(sandbox.fixture(&sleeper).run().code, Some(0));
    let stray = wait_for("the stray", Duration::from_secs(30), || {
        let found = sandbox.processes();
        found.iter().find(|p| p.command.ends_with("mute sleep")).cloned().ok_or(format!("{found:?}"))
    });
    let _socket = UnixListener::bind(sandbox.runtime().join("s")).unwrap();
    let held = std::fs::File::create(sandbox.home().join("lock")).unwrap();
    held.lock().unwrap();
    let complaint = complaint(|| drop(sandbox));
    for part in [format!("process {}", stray.pid), "/s\n".into(), "home/lock".into()] {
        assert!(complaint.contains(&part), "{part} is not in: {complaint}");
    }
    wait_for("its end", Duration::from_secs(30), || {
        match std::fs::read(format!("/proc/{}/cmdline", stray.pid)) {
            Ok(line) if !line.is_empty() => Err("it lives".into()),
            _ => Ok(()),
        }
    });
}

#[test]
fn failed_wait_names_its_reason() {
    let text = complaint(|| wait_for::<()>("rain", Duration::from_millis(20), || Err("dry".into())));
    assert!(text.contains("for rain: dry"), "{text}");
    let sandbox = Sandbox::new();
    let mut brief = sandbox.fixture(&["say:one", "err:two", "exit:3"]).start();
    let text = complaint(|| drop(brief.expect_line("^three$")));
    assert!(text.contains("ended without") && text.contains("two"), "{text}");
    assert_eq!(brief.wait().code, Some(3));
}

#[test]
fn fixture_reacts_to_signals() {
    let sandbox = Sandbox::new();
    let mut running =
        sandbox.fixture(&["ignore:HUP", "report:USR1", "graceful:INT:10", "ready", "sleep"]).start();
    let ready = running.expect_line("^ready ");
    assert!(ready.starts_with(&format!("ready {} {} ", running.pid(), running.pid())), "{ready}");
    running.signal(Signal::SIGHUP);
    running.signal(Signal::SIGUSR1);
    running.expect_line("^got USR1$");
    running.signal(Signal::SIGUSR1);
    running.expect_lines("^got USR1$", 2);
    assert!(!running.has_ended());
    running.signal_group(Signal::SIGINT);
    let ended = running.wait_within(Duration::from_secs(30));
    assert_eq!((ended.code, ended.signal), (Some(0), None));
    assert!(ended.stdout.ends_with("got INT\nbye\n"), "{ended}");
    assert_eq!(sandbox.fixture(&["die:TERM"]).run().signal, Some(15));
    let mut awaiting = sandbox.fixture(&["ready", "await:USR2", "exit:4"]).start();
    awaiting.expect_line("^ready");
    awaiting.signal(Signal::SIGUSR2);
    assert_eq!(awaiting.wait().code, Some(4));
}

#[test]
fn fixture_prints_every_kind_of_output() {
    let sandbox = Sandbox::new();
    let ended = sandbox
        .fixture(&["+lines:2000:100", "+errlines:10", "join", "invalid", "progress:2", "partial:end"])
        .run();
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert!(
        lines[..2000]
            .iter()
            .enumerate()
            .all(|(i, l)| l.starts_with(&format!("line {} .", i + 1)) && l.len() == 100)
    );
    assert!(lines[2000].contains('\u{fffd}'), "{}", lines[2000]);
    assert_eq!(lines[2001..], ["\rstate 1\rstate 2\rdone", "end"]);
    assert_eq!(ended.stderr.lines().last(), Some("line 10"));
    let fed =
        sandbox.fixture(&["stdin", "tty"]).with(|c| c.stdin(std::fs::File::open("/etc/hostname").unwrap()));
    assert!(fed.run().stdout.ends_with("tty no\n"));
    assert!(
        sandbox.fixture(&["fds"]).with(|c| c.stdin(Stdio::null())).run().stdout.contains("fd 0 /dev/null")
    );
    assert_eq!(sandbox.fixture(&["nonsense"]).run().code, Some(64));
}

#[test]
fn fixture_serves_its_own_or_an_inherited_port() {
    let sandbox = Sandbox::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let words = ["http:503:later", "requests", "listen:PORT", "say:up", "sleep"];
    let mut running = sandbox.fixture(&words).env("PORT", port.to_string()).start();
    running.expect_line("^up$");
    assert!(get(port, "/x").starts_with("HTTP/1.1 503 ") && get(port, "/x").ends_with("later"));
    assert!(get(port, "/env/PORT").ends_with(&format!("\n{port}")));
    assert!(get(port, "/host").ends_with(&format!("here.localhost:{port}")));
    assert!(get(port, "/pid").ends_with(&running.pid().to_string()));
    get(port, "/exit/7");
    let ended = running.wait();
    assert_eq!((ended.code, ended.stdout.matches("GET /x").count()), (Some(7), 2), "{ended}");

    let given = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = given.local_addr().unwrap().port();
    // Standard input is the simplest descriptor to pass on.
    let fixture = sandbox.fixture(&["listen-fd:FD", "sleep"]).env("FD", "0");
    let running = fixture.with(|c| c.stdin(Stdio::from(OwnedFd::from(given)))).start();
    assert!(get(port, "/pid").ends_with(&running.pid().to_string()));
    assert_eq!((running.stdout(), running.stderr()), (String::new(), String::new()));
}

#[test]
fn fixture_starts_every_kind_of_child() {
    let sandbox = Sandbox::new();
    let go = sandbox.path().join("go");
    let wait = format!("await-file:{}", go.display());
    let words = ["ready", "child[", "ready", &wait, "]", "child[", "setsid", "ready", &wait, "]", &wait];
    let mut running = sandbox.fixture(&words).start();
    let ready = running.expect_lines("^ready", 3);
    let ids: Vec<Vec<&str>> = ready.iter().map(|line| line.split(' ').skip(1).collect()).collect();
    let parent = ids.iter().find(|id| id[0] == running.pid().to_string()).unwrap();
    assert_eq!(ids.iter().filter(|id| id[1] == parent[1]).count(), 2, "one child shares the group: {ids:?}");
    assert_eq!(
        ids.iter().filter(|id| id[0] == id[2]).count(),
        1,
        "one child has a session of its own: {ids:?}"
    );
    assert_eq!(sandbox.processes().len(), 3);
    sandbox.write(&go, "");
    assert_eq!(running.wait().code, Some(0));
    let log = sandbox.path().join("pids");
    let mark = format!("append:{}:x", log.display());
    let hopping = sandbox.fixture(&[&mark, "hop:1:5"]).run();
    assert_eq!(hopping.code, Some(0));
    assert_eq!(std::fs::read_to_string(log).unwrap(), "x\n");
}
