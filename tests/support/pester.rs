//! Clients that request a path without pause during an action, and count answered requests and refused connections.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Time from the start after which the clients no longer wait for the wanted number of answers.
const LIMIT: Duration = Duration::from_mins(2);

/// Requests `path` repeatedly from four threads until `meanwhile` has returned and `wanted` answers came or [`LIMIT`] has passed.
/// A refused connection also ends the threads. Returns the numbers of answered and refused requests.
pub(crate) fn pester(port: u16, path: &str, wanted: usize, meanwhile: impl FnOnce()) -> (usize, usize) {
    let start = Instant::now();
    let (done, answered, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let is_enough = || answered.load(Ordering::Relaxed) >= wanted || start.elapsed() > LIMIT;
                while !(done.load(Ordering::Relaxed) && is_enough()) {
                    match ask(port, path) {
                        Ok(()) => answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        // The stopped server was just answering this request.
                        Err(_) => 0,
                    };
                    if refused.load(Ordering::Relaxed) > 0 {
                        return;
                    }
                }
            });
        }
        // The flag is also set when `meanwhile` panics: otherwise the scope would wait forever for the threads.
        let _end = Raise(&done);
        meanwhile();
    });
    (answered.into_inner(), refused.into_inner())
}

/// Sets a flag when it is dropped, also by a panic.
pub(crate) struct Raise<'a>(pub(crate) &'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Sends one request. Any answer counts as success.
fn ask(port: u16, path: &str) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
