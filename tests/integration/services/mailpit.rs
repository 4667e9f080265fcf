//! Tests of presets whose programs Debian does not have. Skipped where these programs are missing.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use super::{down, up, world};
use crate::asking::{answer, get, port, skip_without};
use crate::support::LIMIT;

#[test]
fn mailpit_shows_the_mail_that_it_received() {
    if which::which("mailpit").is_err() {
        return skip_without(&["mailpit"]);
    }
    let sandbox = world("services: { mailpit: {} }\n");
    let main = sandbox.main();
    up(&sandbox, &main);
    let plan = answer(&sandbox, &main, "plan");
    let mut stream = TcpStream::connect(("127.0.0.1", port(&plan, "mailpit-smtp"))).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut answers = BufReader::new(stream.try_clone().unwrap()).lines();
    answers.next().unwrap().unwrap();
    for line in [
        "HELO test",
        "MAIL FROM:<a@example.test>",
        "RCPT TO:<b@example.test>",
        "DATA",
        "Subject: greeting\r\n\r\nhello\r\n.",
        "QUIT",
    ] {
        write!(stream, "{line}\r\n").unwrap();
        answers.next().unwrap().unwrap();
    }
    let found = get(port(&plan, "mailpit"), "/api/v1/messages");
    assert!(found.contains("greeting"), "{found}");
    down(&sandbox, &main);
}
