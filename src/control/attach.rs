//! The protocol of a client that is attached to the terminal of a process, after the upgrade of an HTTP request. The
//! server sends the terminal's output as it is. The client sends its input and the size of its window in labelled
//! pieces.

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::broadcast::error::RecvError;

use super::stack_handle::StackHandle;
use crate::supervisor::terminals::Terminals;

/// The name of the protocol in the `Upgrade` header.
pub const PROTOCOL: &str = "devrun-terminal";
/// The largest number of input bytes in one piece.
const LONGEST: u16 = 4096;

/// A piece that the client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientMessage {
    /// Input of the user.
    Typed(Vec<u8>),
    /// Rows and columns of the window.
    Size(u16, u16),
}

/// Writes one piece: a letter, two big-endian numbers of 16 bits, and the bytes. Splits long input.
pub async fn send(out: &mut (impl AsyncWrite + Unpin), piece: &ClientMessage) -> std::io::Result<()> {
    match piece {
        ClientMessage::Size(rows, columns) => write(out, b'S', *rows, *columns, &[]).await,
        ClientMessage::Typed(bytes) => {
            for part in bytes.chunks(usize::from(LONGEST)) {
                write(out, b'T', u16::try_from(part.len()).unwrap_or(LONGEST), 0, part).await?;
            }
            Ok(())
        }
    }
}

async fn write(
    out: &mut (impl AsyncWrite + Unpin),
    kind: u8,
    first: u16,
    second: u16,
    bytes: &[u8],
) -> std::io::Result<()> {
    let [a, b] = first.to_be_bytes();
    let [c, d] = second.to_be_bytes();
    out.write_all(&[&[kind, a, b, c, d], bytes].concat()).await?;
    out.flush().await
}

/// Reads one piece. Errors at the end of the stream and on an invalid piece.
pub async fn receive(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<ClientMessage> {
    let mut head = [0; 5];
    from.read_exact(&mut head).await?;
    let (first, second) = (u16::from_be_bytes([head[1], head[2]]), u16::from_be_bytes([head[3], head[4]]));
    match head[0] {
        b'S' => Ok(ClientMessage::Size(first, second)),
        b'T' if first <= LONGEST => {
            let mut bytes = vec![0; usize::from(first)];
            from.read_exact(&mut bytes).await?;
            Ok(ClientMessage::Typed(bytes))
        }
        _ => Err(std::io::ErrorKind::InvalidData.into()),
    }
}

/// Connects a client to the terminal of `name` until the client disconnects or the stack ends.
pub(super) async fn serve(upgraded: Upgraded, stack: &StackHandle, name: &str) {
    let (mut from, mut to) = tokio::io::split(TokioIo::new(upgraded));
    let terminals = stack.terminals();
    let (Some(mut shown), mut told) = (terminals.watch(name), stack.events()) else { return };
    let typing = typing(&mut from, terminals, name);
    tokio::pin!(typing);
    loop {
        tokio::select! {
            () = &mut typing => return,
            bytes = shown.recv() => match bytes {
                Ok(bytes) => if to.write_all(&bytes).await.is_err() || to.flush().await.is_err() { return },
                // The client lost output; the process can redraw its screen.
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            },
            event = told.recv() => if matches!(event, Ok(None) | Err(RecvError::Closed)) { return },
        }
    }
}

async fn typing(from: &mut (impl AsyncRead + Unpin), terminals: &Terminals, name: &str) {
    while let Ok(piece) = receive(from).await {
        match piece {
            ClientMessage::Typed(bytes) => terminals.type_in(name, &bytes).await,
            ClientMessage::Size(rows, columns) => terminals.resize(name, rows, columns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pieces_arrive_as_they_were_sent_and_nonsense_is_refused() {
        let (mut here, mut there) = tokio::io::duplex(64 << 10);
        let long = vec![b'x'; usize::from(LONGEST) + 1];
        send(&mut here, &ClientMessage::Size(24, 80)).await.unwrap();
        send(&mut here, &ClientMessage::Typed(long)).await.unwrap();
        assert_eq!(receive(&mut there).await.unwrap(), ClientMessage::Size(24, 80));
        for expected in [usize::from(LONGEST), 1] {
            assert!(
                matches!(receive(&mut there).await.unwrap(), ClientMessage::Typed(part) if part.len() == expected)
            );
        }
        here.write_all(b"Z\0\0\0\0").await.unwrap();
        assert!(receive(&mut there).await.is_err());
        here.write_all(b"T\xff\xff\0\0").await.unwrap();
        assert!(receive(&mut there).await.is_err());
    }
}
