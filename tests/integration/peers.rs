//! Clients of the socket: another user, and a client that requests events but does not read them.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use devrun::testing::control::stack_handle::StackHandle;
use devrun::testing::control::status::Status;
use devrun::testing::control::{server, socket};
use devrun::testing::event::Events;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::asking::{base, server as web, skip};
use crate::support::{LIMIT, Sandbox};

/// A program that requests the status from the socket argv\[1\] as user argv\[2\] and prints the first line of the answer.
const ASK: &str = r#"
import os, socket, sys
user = int(sys.argv[2])
if user != os.geteuid():
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
stream = socket.socket(socket.AF_UNIX)
stream.settimeout(60)
stream.connect(sys.argv[1])
try:
    stream.sendall(b"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    print(stream.recv(4096).split(b"\r\n")[0].decode())
except ConnectionError:
    print()
"#;

#[test]
fn another_user_gets_no_answer() {
    if !nix::unistd::geteuid().is_root() {
        return skip("only root can become another user");
    }
    let sandbox = Sandbox::new();
    let main = sandbox.repo_with(&[("devrun.yaml", &web(base()))]);
    let ended = sandbox.devrun(&["up", "-d"]).run();
    assert_eq!(ended.code, Some(0), "{ended}");
    let record: Value =
        serde_json::from_slice(&std::fs::read(main.join(".git/devrun/run.json")).unwrap()).unwrap();
    let socket: PathBuf = record["socket"].as_str().unwrap().into();
    for (path, mode) in
        [(socket.as_path(), 0o666), (socket.parent().unwrap(), 0o711), (sandbox.runtime(), 0o711)]
    {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let answer = |user: &str| {
        let asked =
            sandbox.program("python3", &["-c", ASK, socket.to_str().unwrap(), user]).directory("/").run();
        assert_eq!(asked.code, Some(0), "{asked}");
        asked.stdout
    };
    assert_eq!(answer("65534"), "\n");
    assert_eq!(answer("0"), "HTTP/1.1 200 OK\n");
    assert_eq!(sandbox.devrun(&["down"]).run().code, Some(0));
}

/// Sends `count` events to a client that reads the first byte, and nothing more until all are sent. Returns what the client then
/// reads.
async fn tell_a_sleeper(path: &Path, count: u64) -> String {
    let (stops, _stopped) = tokio::sync::mpsc::unbounded_channel();
    let (stack, _orders) = StackHandle::new(Status::preparing(Path::new("/w"), None, "w"), stops);
    let events = stack.listen(Events::discarded());
    let listener = socket::listen(path).unwrap();
    tokio::task::spawn_local(server::serve(listener, stack.clone()));
    let mut reader = UnixStream::connect(path).await.unwrap();
    reader.write_all(b"GET /v1/events HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut said = vec![0];
    reader.read_exact(&mut said).await.unwrap();
    for number in 0..count {
        events.note(number.to_string());
        if number % 100 == 0 {
            // Lets the server send as much as the socket accepts.
            tokio::task::yield_now().await;
        }
    }
    stack.close(None).await;
    tokio::time::timeout(LIMIT, reader.read_to_end(&mut said)).await.unwrap().unwrap();
    String::from_utf8(said).unwrap()
}

#[test]
fn slow_event_reader_learns_how_many_it_missed() {
    const TOLD: u64 = 60_000;
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let said =
        tokio::task::LocalSet::new().block_on(&runtime, tell_a_sleeper(&dir.path().join("own/x.sock"), TOLD));
    let messages = said.lines().filter(|line| line.starts_with('{'));
    let messages: Vec<Value> = messages.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(messages[0]["event"], "status");
    let (mut next, mut missed) = (0, 0);
    for message in &messages[1..] {
        match message["event"].as_str().unwrap() {
            "missed" => {
                missed += message["count"].as_u64().unwrap();
                next += message["count"].as_u64().unwrap();
            }
            "note" => {
                assert_eq!(message["text"], next.to_string(), "not what follows, after {missed} missed");
                next += 1;
            }
            _ => {}
        }
    }
    // The client gets each event, or a message that counts it as missed.
    assert!(missed > 0 && next == TOLD, "{missed} missed, {next} accounted for");
}
