//! The program: its working directory, its HOME, and where it is.
//!
//! Not trusted: passwd, which is the image's: it is read only if it is a file, without waiting; and what is at the
//! program's name.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::state::{Child, CwdBy, Done, Trouble};
use crate::plan::process::environment::Candidate;
use crate::proc::passwd::home_of;
use crate::sys::cred::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CapMasks, Ids};
use crate::sys::path::resolve;
use crate::sys::{cred, fs, process};

/// How much of /etc/passwd is looked at, in bytes: 100,000 users and more.
const PASSWD_MAX: u64 = 16 << 20;

impl Child<'_> {
    /// Enters the working directory through a descriptor resolved below the root, and makes sure that it has
    /// a path from there (CVE-2024-21626). A missing one was made with the root file system; `exec` makes none.
    pub(super) fn working_directory(&mut self, path: &CStr, user: Ids) -> Done {
        if !path.is_empty() {
            let enter = |child: &mut Self| -> Result<OwnedFd, Trouble> {
                let dir = resolve(child.root()?, path, libc::O_DIRECTORY)?;
                fs::fchdir(dir.as_fd())?;
                Ok(dir)
            };
            let entered = match enter(self) {
                // Root may be refused where the user is not: FUSE, NFS with root_squash.
                Err(trouble) if trouble.errno == Errno::EACCES && user.uid != 0 => {
                    (self.as_user(user, enter)?, CwdBy::User)
                }
                result => (result?, CwdBy::Root),
            };
            if self.inherited.second.is_some() {
                self.cwd = Some(entered);
            }
        }
        if fs::cwd_is_inside_root()? {
            Ok(())
        } else {
            Err(Trouble::from(Errno::EPERM).with(b"outside of the container's root"))
        }
    }

    /// Does something with the user's rights to files.
    fn as_user<T>(&mut self, user: Ids, what: impl FnOnce(&mut Self) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let (own_uid, own_gid) = (process::geteuid(), process::getegid());
        cred::set_fs_ids(user.uid, user.gid)?;
        let result = what(self);
        cred::set_fs_ids(own_uid, own_gid)?;
        result
    }

    /// HOME from the container's own /etc/passwd, read line by line through the root; `/` where it says
    /// nothing, as in runc.
    pub(super) fn home(&mut self, uid: u32) -> Done {
        let scratch = std::mem::take(&mut self.inherited.scratch);
        let found = self.passwd_home(uid, scratch);
        self.inherited.scratch = scratch;
        if found? {
            return Ok(());
        }
        let (slot, _) = self.inherited.home_slot;
        self.inherited.block.fill(slot, b"HOME=/\0");
        Ok(())
    }

    fn passwd_home(&mut self, uid: u32, scratch: &mut [u8]) -> Result<bool, Trouble> {
        let flags = libc::O_RDONLY | libc::O_NOCTTY | libc::O_NONBLOCK;
        let passwd = match fs::open2(self.root()?, c"etc/passwd", flags, 0, fs::IN_ROOT) {
            Ok(fd) => fd,
            // EAGAIN: somebody has a lease on it (fcntl(2)), who may be in another container with the same root, and gives it up
            // when it suits him.
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP | Errno::EACCES | Errno::EAGAIN) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        if fs::kind(&fs::stat(passwd.as_fd())?) != libc::S_IFREG {
            return Ok(false);
        }
        let mut offset = 0;
        // A sparse file of the image may be of any size.
        while offset < PASSWD_MAX {
            let len = fs::pread(passwd.as_fd(), scratch, offset)?;
            if len == 0 {
                return Ok(false);
            }
            let text = &scratch[..len];
            // Whole lines only, unless the file ends here or a line is longer than the buffer.
            let whole = text.iter().rposition(|&b| b == b'\n').map_or(len, |at| at + 1);
            let whole = if len < scratch.len() { len } else { whole };
            if let Some(home) = home_of(&text[..whole], uid) {
                let (slot, room) = self.inherited.home_slot;
                if home.len() + 6 > room {
                    return Err(Trouble::from(Errno::ENAMETOOLONG).with(b"home directory"));
                }
                self.inherited.block.fill(slot, b"HOME=");
                self.inherited.block.fill(slot + 5, home);
                return Ok(true);
            }
            offset += whole as u64;
        }
        Ok(false)
    }

    /// The first candidate that is a file the user may execute. EACCES when one was found but none may be.
    pub(super) fn program(&mut self, candidates: &[Candidate], user: Ids, caps: u64) -> Done {
        // With CAP_DAC_OVERRIDE it does not matter whose the file is (capabilities(7)).
        if user.uid == 0 || caps & CAP_DAC_OVERRIDE != 0 {
            return self.find(candidates);
        }
        self.as_user(user, |child| {
            // What setfsuid(2) has just taken away; it comes back with root's id.
            if caps & CAP_DAC_READ_SEARCH != 0 {
                let now = cred::caps()?;
                cred::set_caps(&CapMasks { effective: now.effective | CAP_DAC_READ_SEARCH, ..now })?;
            }
            child.find(candidates)
        })
    }

    fn find(&mut self, candidates: &[Candidate]) -> Done {
        let mut last = Trouble::from(Errno::ENOENT);
        for candidate in candidates {
            match executable(candidate.path()) {
                Ok(()) => {
                    let Candidate::Take(path) = candidate else {
                        return Err(Trouble::from(Errno::EPERM).with(b"found relative to the working directory"));
                    };
                    let found = path.to_bytes_with_nul();
                    if found.len() > libc::PATH_MAX as usize {
                        return Err(Errno::ENAMETOOLONG.into());
                    }
                    let slot = self.inherited.program_slot;
                    self.inherited.block.fill(slot, found);
                    return Ok(());
                }
                // One name stands for itself, so its own error counts.
                Err(trouble) if trouble.errno == Errno::EACCES || candidates.len() == 1 => last = trouble,
                Err(_) => {}
            }
        }
        Err(last)
    }
}

/// Whether the path is a file that may be executed.
fn executable(path: &CStr) -> Done {
    let fd = fs::open(fs::CWD, path, libc::O_PATH, 0)?;
    match fs::kind(&fs::stat(fd.as_fd())?) {
        libc::S_IFREG => {}
        libc::S_IFDIR => return Err(Errno::EISDIR.into()),
        // As execve(2) has it, which is too late for the start of a template.
        _ => return Err(Errno::EACCES.into()),
    }
    fs::access(fd.as_fd(), c"", libc::X_OK).map_err(|errno| match errno {
        Errno::EACCES if fs::is_noexec(fd.as_fd()) => Trouble::from(errno).with(b"it is on a mount with noexec"),
        errno => errno.into(),
    })
}
