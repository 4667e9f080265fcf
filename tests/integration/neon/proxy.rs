//! The API behind an HTTP proxy.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::World;
use crate::asking::skip_without;
use crate::support::neon::Neon;

/// An HTTP proxy that opens tunnels and records the heads of the requests.
struct Proxy {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy that answers each request with `answer`, and opens the tunnel if that is a success.
    fn start(answer: &'static str) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = heads.clone();
        let thread = thread::spawn(move || {
            let mut tunnels = Vec::new();
            while let Ok((client, _)) = listener.accept() {
                let head = head(&client);
                if head.is_empty() {
                    break;
                }
                seen.lock().unwrap().push(head.clone());
                tunnels.push(thread::spawn(move || serve(client, &head, answer)));
            }
            for tunnel in tunnels {
                tunnel.join().unwrap();
            }
        });
        Proxy { port, heads, thread: Some(thread) }
    }

    fn take_heads(&self) -> Vec<String> {
        std::mem::take(&mut self.heads.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // A connection without a request ends the loop.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Reads the head of a request. Returns an empty string if the client sends nothing.
fn head(mut client: &TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && client.read(&mut byte).is_ok_and(|count| count == 1) {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

fn serve(mut client: TcpStream, head: &str, answer: &str) {
    client.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).unwrap();
    if !answer.starts_with("200") {
        return;
    }
    let target = head.strip_prefix("CONNECT ").and_then(|rest| rest.split_once(' ')).unwrap().0;
    let server = TcpStream::connect(target).unwrap();
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let _ = std::io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    let up = copy(client.try_clone().unwrap(), server.try_clone().unwrap());
    let down = copy(server, client);
    up.join().unwrap();
    down.join().unwrap();
}

/// Returns a world whose API requires TLS, and which trusts the authority of its certificate.
fn guarded() -> Option<World> {
    let Some(neon) = Neon::start_guarded() else {
        skip_without(&["postgres", "openssl"]);
        return None;
    };
    let authority = neon.state().authority.clone().unwrap();
    let mut world = World::around(neon, "");
    let file = world.sandbox.path().join("authority.pem");
    world.sandbox.write(&file, &authority);
    world.sandbox.set("SSL_CERT_FILE", &file);
    Some(world)
}

#[test]
fn api_is_reached_through_the_proxy_of_the_environment() {
    let Some(mut world) = guarded() else { return };
    let proxy = Proxy::start("200 Connection established");
    world.sandbox.set("HTTPS_PROXY", format!("http://me:hunter2@127.0.0.1:{}", proxy.port));
    let worktree = world.worktree("x", "x");
    world.run(&worktree, &[]);
    assert_eq!(world.migrated().len(), 1);
    let heads = proxy.take_heads();
    assert!(!heads.is_empty());
    for head in &heads {
        assert!(head.starts_with("CONNECT localhost:") && !head.contains("napi_"), "{head}");
        assert!(head.to_lowercase().contains("proxy-authorization: basic bwu6ahvudgvymg=="), "{head}");
    }
    world.sandbox.set("NO_PROXY", "localhost");
    world.run(&worktree, &[]);
    assert_eq!(proxy.take_heads(), [""; 0]);
}

#[test]
fn refusal_of_the_proxy_ends_the_call_at_once_and_hides_its_password() {
    let Some(mut world) = guarded() else { return };
    let proxy = Proxy::start("407 Proxy Authentication Required");
    world.sandbox.set("HTTPS_PROXY", format!("http://me:hunter2@127.0.0.1:{}", proxy.port));
    let worktree = world.worktree("x", "x");
    let ended = world.fail(&worktree, &[], "database-unavailable");
    assert!(ended.stderr.contains("refuses a tunnel to localhost:"), "{ended}");
    assert!(ended.stderr.contains("407") && !ended.stderr.contains("hunter2"), "{ended}");
    assert_eq!(proxy.take_heads().len(), 1);
}
