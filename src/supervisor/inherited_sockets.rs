//! Gives each process with `listen:` the socket that listens on its port, and Node programs the modules that they load
//! first.
//!
//! A program that accepts an inherited socket finds its descriptor number in a variable. Node programs have no such
//! option, so a small module makes their servers use the socket. Another module connects to this
//! worktree's port where the code has a fixed port.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::node_preload::{self, PreloadModule};
use crate::context::variables::{LISTEN, REDIRECTS};
use crate::os::spawn;
use crate::plan::{Environment, PortUse, Process};

/// The sockets and redirects of a run.
#[derive(Debug)]
pub struct Handover {
    sockets: BTreeMap<u16, TcpListener>,
    redirects: BTreeMap<u16, u16>,
    cache: PathBuf,
}

/// The descriptors and variables for one process.
#[derive(Debug, Default)]
pub struct InheritedSockets {
    /// Descriptors, numbered from 3 in the child.
    pub descriptors: Vec<OwnedFd>,
    /// Variables that override all others.
    pub variables: Vec<(OsString, OsString)>,
}

impl Handover {
    /// Returns a handover of `sockets`, by port, and of `redirects`. The modules are written to `cache`, because it
    /// outlives the worktree.
    pub fn new(sockets: BTreeMap<u16, TcpListener>, redirects: BTreeMap<u16, u16>, cache: &Path) -> Handover {
        Handover { sockets, redirects, cache: cache.into() }
    }

    /// Returns the descriptors and variables that `process` gets on top of `env`. Errors if a module cannot be written.
    pub fn hand(&self, process: &Process, env: &Environment) -> io::Result<InheritedSockets> {
        let mut handed = InheritedSockets::default();
        let mut modules = Vec::new();
        let socket = match &process.port {
            Some(PortUse::Listens { port, .. }) => self.sockets.get(port).map(|socket| (port, socket)),
            _ => None,
        };
        if let Some((port, socket)) = socket {
            handed.descriptors.push(socket.as_fd().try_clone_to_owned()?);
            if process.node_preload {
                let inode = nix::sys::stat::fstat(socket)?.st_ino;
                let value = format!("{}:{port}:{inode}", spawn::FIRST_DESCRIPTOR);
                handed.variables.push((LISTEN.into(), value.into()));
                modules.push(PreloadModule::Handover);
            }
        }
        if process.node_preload && !self.redirects.is_empty() {
            let pairs: Vec<String> = self.redirects.iter().map(|(from, to)| format!("{from}:{to}")).collect();
            handed.variables.push((REDIRECTS.into(), pairs.join(",").into()));
            modules.push(PreloadModule::Redirect);
        }
        if !modules.is_empty() {
            let own = process.env.get("NODE_OPTIONS").map(OsString::from);
            let given = own.or_else(|| env.vars.get(OsStr::new("NODE_OPTIONS")).cloned());
            let options = node_preload::options(given.unwrap_or_default(), &modules, &self.cache)?;
            handed.variables.push(("NODE_OPTIONS".into(), options));
        }
        Ok(handed)
    }
}
