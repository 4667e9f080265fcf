//! Clients that ask a server without pause while something is done to it, and count who was refused.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// Asks for `path` again and again, from four sides, until `meanwhile` is done and `wanted` answers came; how many were
/// answered, and how many refused. Stops at the first refusal.
pub(crate) fn pester(port: u16, path: &str, wanted: usize, meanwhile: impl FnOnce()) -> (usize, usize) {
    let (done, answered, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) || answered.load(Ordering::Relaxed) < wanted {
                    match ask(port, path) {
                        Ok(()) => answered.fetch_add(1, Ordering::Relaxed),
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        // It was being answered by the one that was ended.
                        Err(_) => 0,
                    };
                    if refused.load(Ordering::Relaxed) > 0 {
                        return;
                    }
                }
            });
        }
        meanwhile();
        done.store(true, Ordering::Relaxed);
    });
    (answered.into_inner(), refused.into_inner())
}

/// Succeeds when there is an answer, whatever it is.
fn ask(port: u16, path: &str) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_mins(1)))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}
