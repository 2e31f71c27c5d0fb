//! Standard streams and the terminal.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::devices::empty_file;
use super::{Child, Done};
use crate::plan::op::{ConsoleNode, Terminal};
use crate::sys::path::resolve;
use crate::sys::{fs, mount, socket, tty};

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
            fs::dup_onto(slave.as_fd(), stream)?;
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

fn standard(stream: i32) -> BorrowedFd<'static> {
    match stream {
        0 => fs::STDIN,
        1 => fs::STDOUT,
        _ => fs::STDERR,
    }
}
