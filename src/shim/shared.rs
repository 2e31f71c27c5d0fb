//! What all containers of a shim have in common.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::fault::{Answer, Code, Fault};
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

/// Ids and namespaces become names of files and words of the runtime's command line: containerd's rule for both (its `identifiers`), which
/// lets none begin with a dash or lead elsewhere, is not relied on but asked again.
pub fn identifier(text: &str) -> Answer<()> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if text.len() > 76 || !text.split(['.', '_', '-']).all(plain) {
        return Err(Fault::new(Code::InvalidArgument, format!("{text:?} is no valid identifier")));
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    #[test]
    fn identifiers_are_names_of_files_and_nothing_else() {
        for good in ["a", "0-9_A.b", "f00", "k8s.io", &"x".repeat(76)] {
            assert!(super::identifier(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", ".a", "a/b", "a b", "a\0", "ä", "-x", "--help", "a-", "a..b", "a+b", &"x".repeat(77)]
        {
            assert!(super::identifier(bad).is_err(), "{bad}");
        }
    }
}
