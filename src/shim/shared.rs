//! What all containers of a shim have in common.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::oom::Watcher;
use super::publisher::Publisher;

/// The shim, as its containers see it.
#[derive(Debug)]
pub struct Shared {
    pub namespace: String,
    /// The runtime where a container's options name none.
    pub runtime: String,
    /// The directory of the shim's socket.
    pub sockets: PathBuf,
    pub publisher: Rc<Publisher>,
    pub oom: Rc<Watcher>,
    console: Cell<u64>,
}

/// What the streams of a process need to know of where it is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub namespace: &'a str,
    pub container: &'a str,
    /// Where console sockets go, and the number of the next.
    pub sockets: &'a Path,
    pub number: u64,
}

impl Shared {
    pub fn new(namespace: String, runtime: String, sockets: PathBuf, publisher: Rc<Publisher>) -> Shared {
        let oom = Watcher::new(Rc::clone(&publisher));
        Shared { namespace, runtime, sockets, publisher, oom, console: Cell::new(0) }
    }

    /// Where a process of `container` is.
    pub fn place<'a>(&'a self, container: &'a str) -> Place<'a> {
        self.console.set(self.console.get() + 1);
        Place { namespace: &self.namespace, container, sockets: &self.sockets, number: self.console.get() }
    }
}
