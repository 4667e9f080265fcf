//! Checks the first answer of a Postgres server before the driver acts on it.
//!
//! The driver sends the password in clear text, or as an MD5 hash, if the server asks for it. Only SCRAM-SHA-256 hides
//! the password from a false server and proves that the server knows it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The proof that devrun demands of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The server must prove that it knows the password.
    Required,
    /// A server that asks for no password is accepted; it receives none.
    Optional,
}

/// A stream whose reads fail with `PermissionDenied` if the server asks for the password in an unsafe form.
pub(super) struct ScramOnly<S> {
    inner: S,
    proof: Proof,
    seen: Vec<u8>,
    accepted: bool,
}

impl<S> ScramOnly<S> {
    pub(super) const fn new(inner: S, proof: Proof) -> ScramOnly<S> {
        ScramOnly { inner, proof, seen: Vec::new(), accepted: false }
    }
}

/// Checks the bytes that the server has sent so far. Returns `None` if more bytes are needed. The layout is described
/// in <https://www.postgresql.org/docs/current/protocol-message-formats.html>: a tag, a length, the kind of
/// authentication.
fn check_request(seen: &[u8], proof: Proof) -> Option<Result<(), &'static str>> {
    const SASL: u32 = 10;
    match seen.first()? {
        b'E' => return Some(Ok(())),
        b'R' => {}
        _ => return Some(Err("it does not speak Postgres's protocol")),
    }
    let kind = u32::from_be_bytes(seen.get(5..9)?.try_into().ok()?);
    Some(match (kind, proof) {
        (SASL, _) | (0, Proof::Optional) => Ok(()),
        (0, Proof::Required) => Err("it does not prove that it knows the password"),
        (3, _) => Err("it asks for the password in clear text"),
        (5, _) => Err("it asks for the password as an MD5 hash"),
        _ => Err("it asks for an authentication other than SCRAM-SHA-256"),
    })
}

impl<S: AsyncRead + Unpin> AsyncRead for ScramOnly<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if !self.accepted {
            self.seen.extend_from_slice(&buf.filled()[before..]);
            match check_request(&self.seen, self.proof) {
                // The driver waits for the whole message too.
                None => {}
                Some(Ok(())) => {
                    self.accepted = true;
                    self.seen = Vec::new();
                }
                Some(Err(why)) => {
                    buf.set_filled(before);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::PermissionDenied, why)));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ScramOnly<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    fn request(kind: u32) -> Vec<u8> {
        [b"R".as_slice(), &8_u32.to_be_bytes(), &kind.to_be_bytes()].concat()
    }

    #[test]
    fn only_scram_and_errors_are_accepted() {
        for proof in [Proof::Required, Proof::Optional] {
            assert_eq!(check_request(&request(10), proof), Some(Ok(())));
            assert_eq!(check_request(b"E\0\0", proof), Some(Ok(())));
            for kind in [2, 3, 5, 7, 9] {
                assert!(check_request(&request(kind), proof).unwrap().is_err(), "{kind}");
            }
            assert!(check_request(b"HTTP/1.1", proof).unwrap().is_err());
        }
        assert!(check_request(&request(0), Proof::Required).unwrap().is_err());
        assert_eq!(check_request(&request(0), Proof::Optional), Some(Ok(())));
    }

    #[tokio::test]
    async fn a_request_in_pieces_does_not_reach_the_driver() {
        let (mut server, ours) = tokio::io::duplex(1);
        tokio::spawn(async move { server.write_all(&request(3)).await });
        let mut got = Vec::new();
        let error = ScramOnly::new(ours, Proof::Optional).read_to_end(&mut got).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(got.len() < 9, "{got:?}");
    }
}
