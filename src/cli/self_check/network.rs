//! Reports whether stacks can be reached: sockets for commands, loopback, names below localhost.

use std::net::{IpAddr, ToSocketAddrs};
use std::time::Duration;

use super::line::{CheckLine, Promise};
use crate::context::Context;
use crate::control;
use crate::os::{blocking, net};

/// The most time to resolve a name.
const RESOLVE_LIMIT: Duration = Duration::from_secs(3);
/// A name below localhost, such as tenants have. RFC 6761 reserves them for loopback.
const NAME: &str = "self-check.localhost";

/// The facts of this family.
pub(super) struct NetworkFacts {
    /// The reason why no socket could be made in the runtime folder.
    socket: Result<(), String>,
    loopback: Result<(), String>,
    /// The addresses of [`NAME`], by the system's resolver.
    name: Result<Vec<IpAddr>, String>,
}

pub(super) async fn facts(ctx: &Context) -> NetworkFacts {
    let resolve = || {
        let found = (NAME, 0).to_socket_addrs().map_err(|error| error.to_string())?;
        Ok::<_, String>(found.map(|address| address.ip()).collect())
    };
    let name = blocking::run(RESOLVE_LIMIT, resolve).await.unwrap_or_else(|error| Err(error.to_string()));
    NetworkFacts {
        socket: socket(ctx).map_err(|error| error.to_string()),
        loopback: net::check_loopback().map_err(|error| error.to_string()),
        name,
    }
}

/// Makes a socket where stacks have theirs, with a name that is as long, and removes it.
fn socket(ctx: &Context) -> std::io::Result<()> {
    let path = control::socket::path(&ctx.dirs, &format!("check-{:010}", std::process::id()));
    let listener = control::socket::listen(&path).map_err(std::io::Error::other)?;
    drop(listener);
    std::fs::remove_file(path)
}

pub(super) fn judge(facts: &NetworkFacts) -> Vec<CheckLine> {
    let line = |name, promise, text: String| CheckLine::new("network", name, promise, text);
    let socket = match &facts.socket {
        Ok(()) => line("unix sockets", Promise::Kept, "commands reach a running stack".into()),
        Err(error) => {
            line("unix sockets", Promise::Missing, format!("{error}: commands cannot reach a running stack"))
        }
    };
    let loopback = match &facts.loopback {
        Ok(()) => line("loopback", Promise::Kept, "127.0.0.1 can be used".into()),
        Err(error) => line("loopback", Promise::Missing, format!("{error}: no port can be opened")),
    };
    let name = match &facts.name {
        Ok(found) if !found.is_empty() && found.iter().all(IpAddr::is_loopback) => {
            line("*.localhost", Promise::Kept, "resolves to this machine, in browsers and in programs".into())
        }
        Ok(found) if !found.is_empty() => {
            let list = found.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            line("*.localhost", Promise::Missing, format!("resolves to {list}, which is not this machine"))
        }
        _ => line(
            "*.localhost",
            Promise::Limited,
            "browsers resolve it, other programs do not: curl and tests need `--resolve` or the Host header"
                .into(),
        ),
    };
    vec![socket, loopback, name]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_must_lead_to_this_machine() {
        let promise = |name: Result<Vec<IpAddr>, String>| {
            judge(&NetworkFacts { socket: Ok(()), loopback: Ok(()), name })[2].promise
        };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(promise(Ok(vec![address("::1"), address("127.0.0.1")])), Promise::Kept);
        assert_eq!(promise(Ok(vec![address("10.0.0.1")])), Promise::Missing);
        assert_eq!(promise(Ok(Vec::new())), Promise::Limited);
        assert_eq!(promise(Err("x".into())), Promise::Limited);
    }

    #[test]
    fn a_stack_without_a_socket_cannot_be_reached() {
        let facts =
            NetworkFacts { socket: Err("no space".into()), loopback: Err("x".into()), name: Ok(Vec::new()) };
        let lines = judge(&facts);
        assert!(lines[..2].iter().all(|line| line.promise == Promise::Missing));
        assert!(lines[0].text.starts_with("no space: "), "{lines:?}");
    }
}
