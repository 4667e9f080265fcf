//! Tests with real commands.

use super::*;

#[tokio::test]
async fn output_status_and_both_streams_come_back() {
    let output = Cmd::shell("echo out; echo err >&2; exit 3").output().await.unwrap();
    assert_eq!(output.ending, Ending::Code(3));
    assert_eq!(output.text(), "out");
    assert_eq!(output.tail(5), "err");
    let error = Cmd::shell("echo one; echo two; echo both; echo both >&2; exit 3").ok().await.unwrap_err();
    assert_eq!(error.tails(2).as_deref(), Some("two\nboth"));
}

#[tokio::test]
async fn the_cause_is_found_in_the_first_marked_lines() {
    let said = "npm warn old\nnpm error code E1\nnpm error     at x\nnpm error no route\nnpm error }\nlog";
    let error = Cmd::new("/bin/sh").args(["-c", "echo \"$0\" >&2; exit 1", said]).ok().await.unwrap_err();
    assert_eq!(error.marked(&NPM_MARKS, 2).as_deref(), Some("code E1\nno route"));
    assert_eq!(error.marked(&["yarn "], 2), None);
}

#[tokio::test]
async fn a_missing_program_is_named() {
    let error = Cmd::new("devrun-no-such-program").output().await.unwrap_err();
    assert!(matches!(error, CmdError::NotFound(name) if name == "devrun-no-such-program"));
}

#[tokio::test]
async fn the_time_limit_kills_the_whole_group() {
    let error =
        Cmd::shell("sleep 60 & sleep 60").limit(Duration::from_millis(100)).output().await.unwrap_err();
    assert!(matches!(error, CmdError::TimedOut { .. }));
}

#[tokio::test]
async fn a_background_child_that_holds_the_pipe_does_not_delay_the_result() {
    let output = Cmd::shell("sleep 30 & echo done").limit(Duration::from_secs(20)).output().await.unwrap();
    assert_eq!(output.text(), "done");
}

#[tokio::test]
async fn a_background_child_is_killed_if_nothing_may_be_left() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (closed, is_closed) = tokio::sync::oneshot::channel();
    // The pipe is open as long as the background process lives.
    let reader = pipe.clone();
    std::thread::spawn(move || {
        let mut pipe = std::fs::File::open(reader).unwrap();
        closed.send(std::io::copy(&mut pipe, &mut std::io::sink()).unwrap()).unwrap();
    });
    let line = "exec 3>pipe; sleep 1000 >/dev/null 2>&1 &";
    Cmd::shell(line).directory(dir.path()).leaving_nothing().ok().await.unwrap();
    let closed = tokio::time::timeout(Duration::from_secs(20), is_closed).await;
    closed.expect("the background process ended").unwrap();
}

#[tokio::test]
async fn stdin_is_empty_unless_given() {
    assert_eq!(Cmd::new("cat").output().await.unwrap().text(), "");
    assert_eq!(Cmd::new("cat").stdin("given").output().await.unwrap().text(), "given");
}

#[tokio::test]
async fn files_take_the_place_of_the_streams() {
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
    crate::os::fs::replace(&from, b"given", 0o600).unwrap();
    crate::os::fs::replace(&to, b"longer than that", 0o600).unwrap();
    let output = Cmd::new("cat").reading(&from).writing(&to).ok().await.unwrap();
    assert_eq!((output.text().as_str(), std::fs::read(&to).unwrap().as_slice()), ("", b"given".as_slice()));
    let error = Cmd::new("cat").reading(dir.path().join("none")).ok().await.unwrap_err();
    assert!(matches!(error, CmdError::Spawn { .. }), "{error:?}");
}

#[tokio::test]
async fn lines_are_passed_on_as_they_are_read() {
    let mut seen = Vec::new();
    Cmd::shell("echo one; echo two").watched(&mut |line| seen.push(line.to_string())).await.unwrap();
    assert_eq!(seen, ["one", "two"]);
}

#[tokio::test]
async fn a_detached_command_has_a_separate_session_and_writes_to_its_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let open = || std::fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
    let server = Cmd::shell("ps -o sid= -p $$; echo err >&2; exit 3").detach(open(), open()).unwrap();
    let ending = tokio::time::timeout(Duration::from_secs(20), server.ended).await.unwrap().unwrap();
    assert_eq!(ending, Ending::Code(3));
    assert!(!spawn::is_awaited(server.pid));
    let text = std::fs::read_to_string(&log).unwrap();
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    assert_eq!(lines, [server.pid.to_string().as_str(), "err"]);
}

#[tokio::test]
async fn the_environment_can_be_replaced() {
    let output = Cmd::new("/usr/bin/env").only_env([("A", "1")]).env("B", "2").output().await.unwrap();
    assert_eq!(output.text(), "A=1\nB=2");
}
