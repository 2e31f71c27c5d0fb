//! The socket on which a runtime hands over the terminal of a process it made.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, sockopt};

use super::os;

/// A listening socket, removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
}

/// A new listening socket that only its owner may connect to.
pub fn listen(path: &Path, backlog: Backlog) -> Result<UnixListener, Errno> {
    use std::os::unix::fs::PermissionsExt;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    // Before anybody can connect: until listen(2) they are refused.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(errno)?;
    socket::listen(&socket, backlog)?;
    Ok(socket.into())
}

/// The next connection, if its other side is our own user: the socket's mode lets nobody else in, and a capability that
/// passes over modes must not be enough.
pub fn accept(listener: &UnixListener) -> Result<UnixStream, Errno> {
    let (connection, _) = listener.accept().map_err(errno)?;
    connection.set_nonblocking(true).map_err(errno)?;
    let peer = socket::getsockopt(&connection, sockopt::PeerCredentials)?;
    if peer.uid() == nix::unistd::geteuid().as_raw() { Ok(connection) } else { Err(Errno::EACCES) }
}

fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

impl Listener {
    /// In the directory of the shim's own socket: a bundle's path may be longer than a socket's may be.
    pub fn new(directory: &Path, number: u64) -> Result<Listener, Errno> {
        let path = directory.join(format!("console-{}-{number}", os::getpid()));
        match std::fs::remove_file(&path) {
            // A dead shim that had our number.
            Ok(()) | Err(_) => {}
        }
        Ok(Listener { socket: listen(&path, Backlog::new(1)?)?, path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal. The runtime has ended, so it has been sent or never will be.
    pub fn terminal(&self) -> Result<OwnedFd, Errno> {
        let connection = accept(&self.socket)?;
        let (_, terminal) = os::receive(connection.as_fd(), &mut [0; 4096])?;
        terminal.ok_or(Errno::ENOTTY)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            os::log("warning", &format!("{}: {error}", self.path.display()));
        }
    }
}
