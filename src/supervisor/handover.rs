//! Sockets that listen before anything starts, and how each process comes by its own.
//!
//! Who can take a descriptor is told its number. Node programs cannot be told: a small module, loaded into them before
//! their own code, makes their servers take it. Refuses to bind: it receives what listens already.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::os::read::{self, Limit};
use crate::os::{fs, spawn};
use crate::plan::{Environment, PortUse, Process};

/// What Node programs load first.
const PRELOAD: &str = include_str!("handover.cjs");

/// Variable that tells the module its socket: descriptor, port and inode.
const LISTEN: &str = "DEVRUN_LISTEN";

/// The sockets of a run.
#[derive(Debug)]
pub struct Handover {
    sockets: BTreeMap<u16, TcpListener>,
    preload: PathBuf,
}

/// What one process gets.
#[derive(Debug, Default)]
pub struct Handed {
    /// Descriptors, from 3 upwards.
    pub descriptors: Vec<OwnedFd>,
    /// Variables that stand above all others.
    pub variables: Vec<(OsString, OsString)>,
}

impl Handover {
    /// Hands out `sockets`, by port; the module lies in `cache`, where it outlives the worktree.
    pub fn new(sockets: BTreeMap<u16, TcpListener>, cache: &Path) -> Handover {
        // Other versions of devrun have other modules.
        Handover { sockets, preload: cache.join(format!("node-{}.cjs", env!("CARGO_PKG_VERSION"))) }
    }

    /// What `process` gets on top of `env`; nothing when it has no `listen`.
    pub fn hand(&self, process: &Process, env: &Environment) -> io::Result<Handed> {
        let Some(PortUse::Listens { port, node, .. }) = &process.port else { return Ok(Handed::default()) };
        let Some(socket) = self.sockets.get(port) else { return Ok(Handed::default()) };
        let descriptors = vec![socket.as_fd().try_clone_to_owned()?];
        let mut variables = Vec::new();
        if *node {
            self.place()?;
            let inode = nix::sys::stat::fstat(socket)?.st_ino;
            let value = format!("{}:{port}:{inode}", spawn::FIRST_DESCRIPTOR);
            variables.push((LISTEN.into(), value.into()));
            let own = process.env.get("NODE_OPTIONS").map(OsString::from);
            let given = own.or_else(|| env.vars.get(OsStr::new("NODE_OPTIONS")).cloned());
            variables.push(("NODE_OPTIONS".into(), options(given.unwrap_or_default(), &self.preload)));
        }
        Ok(Handed { descriptors, variables })
    }

    /// Somebody may have emptied the cache since.
    fn place(&self) -> io::Result<()> {
        if read::file(&self.preload, Limit::SMALL).is_ok_and(|text| text == PRELOAD.as_bytes()) {
            return Ok(());
        }
        fs::replace_for_now(&self.preload, PRELOAD.as_bytes(), 0o600).map_err(io::Error::other)
    }
}

/// `given` and the module. Node splits the variable at spaces; quotes hold a path together.
fn options(given: OsString, preload: &Path) -> OsString {
    let mut all = given;
    if !all.is_empty() {
        all.push(" ");
    }
    all.push("--require ");
    let path = preload.as_os_str();
    if path.as_bytes().iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\\')) {
        let quoted = path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\"");
        all.push(format!("\"{quoted}\""));
    } else {
        all.push(path);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_user_wants_of_node_stays() {
        let plain = options(OsString::new(), Path::new("/c/x.cjs"));
        assert_eq!(plain, "--require /c/x.cjs");
        let more = options("--max-old-space-size=99".into(), Path::new("/my c/\"x\".cjs"));
        assert_eq!(more, r#"--max-old-space-size=99 --require "/my c/\"x\".cjs""#);
    }
}
