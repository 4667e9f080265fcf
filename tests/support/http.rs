//! Sends HTTP requests to loopback with any host name, because not every resolver knows `*.localhost`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The answer to a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body; invalid UTF-8 replaced.
    pub(crate) body: String,
}

/// Sends `GET path` with `host` as host name.
pub(crate) fn get(port: u16, host: &str, path: &str) -> Answer {
    ask(port, &format!("GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n"))
}

/// Sends `POST path` with a JSON body.
pub(crate) fn post(port: u16, path: &str, json: &serde_json::Value) -> Answer {
    let body = json.to_string();
    let head =
        format!("POST {path} HTTP/1.0\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n");
    ask(port, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Sends a request and reads the answer to the end of the connection. HTTP/1.0 has no chunks and closes the connection.
fn ask(port: u16, request: &str) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer { status: status.unwrap_or_else(|| panic!("no status in {text:?}")), body: body.into() }
}
