//! Computes that sleep, and a service that does not answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{World, creations, double, ensure, stop};
use crate::support::neon::Fault;
use crate::support::{LIMIT, wait_for};

/// Behaves as Neon's proxy does for a compute that sleeps: it first refuses the connection, then delays it, and later forwards
/// to Postgres. Returns its port, and the number of connections.
fn sleeper(postgres: u16, nap: Duration) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::new(AtomicUsize::new(0));
    let counted = came.clone();
    std::thread::spawn(move || {
        for (at, client) in listener.incoming().flatten().enumerate() {
            counted.fetch_add(1, Ordering::Relaxed);
            std::thread::spawn(move || match at {
                0 => refuse(client),
                1 => pass(client, postgres, nap),
                _ => pass(client, postgres, Duration::ZERO),
            });
        }
    });
    (port, came)
}

/// Reads the client's first message, and answers with an error as Postgres does.
fn refuse(mut client: TcpStream) {
    let mut length = [0; 4];
    client.read_exact(&mut length).unwrap();
    let rest = usize::try_from(u32::from_be_bytes(length)).unwrap() - length.len();
    client.read_exact(&mut vec![0; rest]).unwrap();
    let fields = b"SFATAL\0VFATAL\0C08006\0MCouldn't connect to compute node\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    client.write_all(&[b"E", &length[..], fields].concat()).unwrap();
}

fn pass(client: TcpStream, postgres: u16, nap: Duration) {
    std::thread::sleep(nap);
    let server = TcpStream::connect(("127.0.0.1", postgres)).unwrap();
    let carry = |mut from: TcpStream, mut to: TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
    };
    let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    std::thread::spawn(move || carry(from, to));
    carry(server, client);
}

#[test]
fn sleeping_compute_is_woken_and_awaited() {
    let Some(world) = World::new("") else { return };
    let (port, _) = sleeper(world.neon.postgres_port(), Duration::from_millis(10_200));
    world.neon.state().door = Some(port);
    let worktree = world.worktree("x", "x");
    let start = Instant::now();
    world.run(&worktree, &[]);
    assert!(start.elapsed() > Duration::from_secs(10), "the compute did not sleep");
    assert!(world.migrated()[0].contains(&format!(":{port}/")), "{:?}", world.migrated());
}

#[test]
fn ctrl_c_while_a_compute_wakes_ends_at_once() {
    let Some(world) = World::new("") else { return };
    let (port, came) = sleeper(world.neon.postgres_port(), Duration::from_hours(1));
    world.neon.state().door = Some(port);
    let worktree = world.worktree("x", "x");
    let running = world.devrun(&worktree, &[]).start();
    wait_for("a connection that wakes it", LIMIT, || {
        let came = came.load(Ordering::Relaxed);
        if came > 1 { Ok(()) } else { Err(format!("{came} came, {}", running.stderr())) }
    });
    // The compute wakes in an hour, which is longer than the test waits for the exit.
    let ended = stop(running);
    assert_eq!(ended.code, Some(130), "{ended}");
    assert_eq!(world.migrated(), [""; 0]);
}

#[test]
fn idle_compute_is_not_started_by_a_call() {
    let Some(neon) = double() else { return };
    ensure(&neon, "dev-x", |_| ()).unwrap();
    neon.state().branches.last_mut().unwrap().endpoint.as_mut().unwrap().1 = "idle".into();
    neon.take_calls();
    ensure(&neon, "dev-x", |_| ()).unwrap();
    let calls = neon.take_calls();
    assert!(calls.iter().all(|call| call.method == "GET"), "connecting wakes it: {calls:#?}");
}

#[test]
fn silent_service_times_out() {
    let Some(neon) = double() else { return };
    let brief = |request: &mut devrun::testing::database::neon::NeonRequest| {
        // On a busy machine an answer may take a second.
        request.pace.answer = Duration::from_secs(3);
    };
    // devrun repeats a read, but checks for the effect of a change first.
    neon.fail("GET", "/branches", Fault::Silence);
    neon.fail("POST", "/branches", Fault::Silence);
    ensure(&neon, "dev-x", brief).unwrap();
    let calls = neon.take_calls();
    let kinds: Vec<&str> = calls.iter().take(2).map(|call| call.method.as_str()).collect();
    assert_eq!(kinds, ["GET", "GET"], "looked, and looked again before it was made: {calls:#?}");
    assert!(neon.state().faults.is_empty());
    assert_eq!(creations(&calls), 1);
    neon.fail("GET", "/branches", Fault::Silence);
    let report = ensure(&neon, "dev-x", |request| {
        request.pace.answer = Duration::from_millis(300);
        request.pace.budget = Duration::from_millis(300);
    })
    .unwrap_err();
    assert!(report.cause.unwrap().contains("no answer from 127.0.0.1:"));
}
