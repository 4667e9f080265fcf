//! Asks a server on this machine, by any host name: not every resolver knows `*.localhost`.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// The body; invalid UTF-8 replaced.
    pub(crate) body: String,
}

/// `GET path` as `host`.
pub(crate) fn get(port: u16, host: &str, path: &str) -> Answer {
    ask(port, &format!("GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n"))
}

/// `POST path` with a JSON body.
pub(crate) fn post(port: u16, path: &str, json: &serde_json::Value) -> Answer {
    let body = json.to_string();
    let head =
        format!("POST {path} HTTP/1.0\r\nHost: localhost:{port}\r\nContent-Type: application/json\r\n");
    ask(port, &format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Version 1.0 asks for an answer in one piece, up to the end of the connection.
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
