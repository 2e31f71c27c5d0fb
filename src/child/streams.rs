//! Standard streams and the terminal.
//!
//! Not trusted: what the image has as /dev/console and in /dev/pts.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::devices::empty_file;
use super::root::verified_null;
use super::state::{Child, Done, Trouble};
use crate::plan::op::{ConsoleNode, Terminal};
use crate::sys::path::resolve;
use crate::sys::{descriptor, fs, mount, socket, tty};

impl Child<'_> {
    /// A new terminal from the container's own devpts. The slave comes from the master, never from a name
    /// (CVE-2025-52565), and /dev/console is made without following what the image put there (CVE-2026-88264).
    pub(super) fn console(&mut self, size: Option<(u16, u16)>, uid: u32, node: ConsoleNode, to: Terminal) -> Done {
        let (master, slave) = tty::open_pty(self.root()?, c"dev/ptmx")?;
        if let Some((rows, columns)) = size {
            tty::set_size(slave.as_fd(), rows, columns)?;
        }
        if to == Terminal::Foreground {
            tty::keep_newlines(slave.as_fd())?;
        }
        fs::chown(slave.as_fd(), c"", uid, u32::MAX)?;
        if node == ConsoleNode::Bound {
            let dev = resolve(self.root()?, c"dev", libc::O_DIRECTORY)?;
            let place = empty_file(dev.as_fd(), c"console")?;
            let tree = mount::clone_tree(slave.as_fd(), c"", 0)?;
            mount::attach(tree.as_fd(), place.as_fd())?;
        }
        let socket = self.inherited.console.as_ref().ok_or(Errno::EBADF)?;
        socket::send_fds(socket.as_fd(), b"/dev/ptmx", &[master.as_fd()])?;
        for stream in 0..3 {
            descriptor::dup_onto(slave.as_fd(), stream)?;
        }
        Ok(())
    }
}

/// Gives the standard streams to the user, who may want to open /dev/stdout, as runc does: pipes, sockets and
/// terminals. A file or another device that `create` was given has an owner for everybody, not for this stream
/// (CVE-2026-88265 for /dev/null).
pub(super) fn own(uid: u32) -> Done {
    for stream in 0..3 {
        let fd = standard(stream);
        let Ok(stat) = fs::stat(fd) else { continue };
        let stream = match fs::kind(&stat) {
            libc::S_IFIFO | libc::S_IFSOCK => true,
            libc::S_IFCHR => tty::is_tty(fd),
            _ => false,
        };
        if stat.st_uid == uid || !stream {
            continue;
        }
        match fs::chown(fd, c"", uid, u32::MAX) {
            // Not ours to give, in a user namespace or on a read-only file system.
            Ok(()) | Err(Errno::EPERM | Errno::EINVAL | Errno::EROFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Puts the container's /dev/null in the place of every stream that is the null device: of the host's node the
/// container's root could change mode, owner and times through /proc/self/fd. (runc and crun do so for the first process.)
pub(super) fn own_null(root: BorrowedFd<'_>) -> Done {
    let mut own = None;
    for stream in 0..3 {
        let Ok(stat) = fs::stat(standard(stream)) else { continue };
        if !fs::is_null_device(&stat) {
            continue;
        }
        if own.is_none() {
            // O_NONBLOCK until it is known for what it is: `exec` finds whatever the container has put there.
            let flags = libc::O_RDWR | libc::O_NOCTTY | libc::O_NONBLOCK;
            let null = verified_null(root, flags).map_err(|trouble| match trouble.errno {
                Errno::ENODEV => trouble,
                errno => Trouble::from(errno).with(b"/dev/null"),
            })?;
            descriptor::set_blocking(null.as_fd())?;
            own = Some(null);
        }
        if let Some(null) = &own {
            descriptor::dup_onto(null.as_fd(), stream)?;
        }
    }
    Ok(())
}

fn standard(stream: i32) -> BorrowedFd<'static> {
    match stream {
        0 => fs::STDIN,
        1 => fs::STDOUT,
        _ => fs::STDERR,
    }
}
