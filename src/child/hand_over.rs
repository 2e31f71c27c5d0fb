//! The end of the process that starts a template: what was found goes to the container's process, which goes on with it.

use std::os::fd::AsFd;

use nix::errno::Errno;

use super::state::{Child, CwdBy, Done};
use crate::plan::op::LastOp;
use crate::sys::{fs, process, socket};

impl Child<'_> {
    /// One message, so that it comes whole or not at all: the block's length, and what [`crate::wire::received`] says.
    pub(super) fn hand_over(&mut self) -> Done {
        let by = self.cwd.as_ref().map_or(CwdBy::Root, |(_, by)| *by);
        let plan = self.inherited.plan;
        for (index, op) in (plan.setup.len()..).zip(&plan.last) {
            let other = match by {
                CwdBy::Root => matches!(op, LastOp::CwdAs(..)),
                CwdBy::User => *op == LastOp::Cwd,
            };
            if other {
                self.inherited.block.leave_out(index as u32);
            }
        }
        let second = self.inherited.second.as_ref().ok_or(Errno::EBADF)?;
        let cwd = match &self.cwd {
            Some((dir, _)) => dir.as_fd(),
            None => self.root()?,
        };
        let length = self.inherited.block.used_len() as u64;
        let wire = self.inherited.wire.as_fd();
        let files = [second.file.as_fd(), fs::STDIN, fs::STDOUT, fs::STDERR, cwd, wire];
        socket::send_fds(second.sender.as_fd(), &length.to_ne_bytes(), &files)?;
        process::exit(0)
    }
}
