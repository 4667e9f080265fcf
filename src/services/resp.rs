//! Sends commands to a Redis server and reads its answers, as far as devrun needs it: short texts, numbers and lists.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The largest text or line of an answer that is read, in bytes.
const LARGEST: usize = 64 << 10;
/// The most elements of a list.
const MOST: usize = 64;

/// An answer of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RespValue {
    /// A text or number; empty for an absent value.
    Text(String),
    /// The server's error message.
    Error(String),
    /// A list of texts.
    List(Vec<String>),
}

/// Sends `commands` over one connection and returns an answer for each, within `limit`.
pub(super) async fn ask(
    host: &str,
    port: u16,
    commands: &[Vec<&str>],
    limit: Duration,
) -> io::Result<Vec<RespValue>> {
    let asked = async {
        let mut stream = BufReader::new(TcpStream::connect((host, port)).await?);
        stream.write_all(&request(commands)).await?;
        let mut answers = Vec::new();
        for _ in commands {
            answers.push(answer(&mut stream).await?);
        }
        Ok(answers)
    };
    let timed_out =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()));
    tokio::time::timeout(limit, asked).await.map_err(timed_out)?
}

/// Returns the bytes of commands, in which every word may contain any character.
fn request(commands: &[Vec<&str>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for words in commands {
        bytes.extend(format!("*{}\r\n", words.len()).into_bytes());
        for word in words {
            bytes.extend(format!("${}\r\n{word}\r\n", word.len()).into_bytes());
        }
    }
    bytes
}

async fn answer(stream: &mut BufReader<TcpStream>) -> io::Result<RespValue> {
    let (kind, rest) = line(stream).await?;
    Ok(match kind {
        '-' => RespValue::Error(rest),
        '*' => {
            let count = length(&rest, MOST)?;
            let mut items = Vec::new();
            for _ in 0..count {
                let (kind, rest) = line(stream).await?;
                items.push(text(stream, kind, rest).await?);
            }
            RespValue::List(items)
        }
        kind => RespValue::Text(text(stream, kind, rest).await?),
    })
}

async fn text(stream: &mut BufReader<TcpStream>, kind: char, rest: String) -> io::Result<String> {
    match kind {
        '+' | ':' => Ok(rest),
        // A length of -1 is the absence of a value.
        '$' if rest == "-1" => Ok(String::new()),
        '$' => {
            let mut bytes = vec![0; length(&rest, LARGEST)? + 2];
            stream.read_exact(&mut bytes).await?;
            bytes.truncate(bytes.len() - 2);
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        }
        _ => Err(strange()),
    }
}

/// Reads a line and returns its first character, which is the kind of answer, and the rest.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<(char, String)> {
    let mut bytes = Vec::new();
    let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    (&mut *stream).take(most).read_until(b'\n', &mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut chars = text.strip_suffix("\r\n").ok_or_else(strange)?.chars();
    let kind = chars.next().ok_or_else(strange)?;
    Ok((kind, chars.as_str().to_string()))
}

fn length(text: &str, most: usize) -> io::Result<usize> {
    text.parse().ok().filter(|length| *length <= most).ok_or_else(strange)
}

fn strange() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it does not answer as a Redis does")
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Returns the answers to two commands of a server that sends `bytes`.
    async fn answers(bytes: &'static [u8]) -> io::Result<Vec<RespValue>> {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        let serve = async {
            let (mut client, _) = server.accept().await.unwrap();
            client.write_all(bytes).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let asked = [vec!["A"], vec!["B"]];
        let (answers, ()) = tokio::join!(ask("127.0.0.1", port, &asked, Duration::from_secs(30)), serve);
        answers
    }

    #[test]
    fn words_are_sent_with_their_lengths() {
        assert_eq!(request(&[vec!["AUTH", "a b"]]), b"*2\r\n$4\r\nAUTH\r\n$3\r\na b\r\n");
    }

    #[tokio::test]
    async fn every_kind_of_answer_is_read() {
        let found =
            answers(b"*2\r\n$9\r\ndatabases\r\n$2\r\n16\r\n-ERR DB index is out of range\r\n").await.unwrap();
        let expected = RespValue::List(vec!["databases".into(), "16".into()]);
        assert_eq!(found, [expected, RespValue::Error("ERR DB index is out of range".into())]);
        let found = answers(b"+OK\r\n:7\r\n").await.unwrap();
        assert_eq!(found, [RespValue::Text("OK".into()), RespValue::Text("7".into())]);
    }

    #[tokio::test]
    async fn server_of_another_protocol_is_an_error() {
        for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"$999999999\r\n", b"+OK\r\n", b"*99\r\n"] {
            let error = answers(bytes).await.unwrap_err();
            assert!(!error.to_string().is_empty(), "{error:?}");
        }
    }
}
