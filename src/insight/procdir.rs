//! The files of one process in proc, by a descriptor that stays with this process, whoever has its number later.
//!
//! Not trusted: what a container's process may choose: its name, its mounts, the links in its root. Nothing of it is followed.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use brisk::error::{Context, Error, Result, Stage};
use brisk::state::{Life, ProcessId};
use brisk::sys::fs;
use nix::errno::Errno;

/// A directory of proc.
pub struct ProcDir {
    fd: OwnedFd,
    pid: i32,
}

impl ProcDir {
    /// The directory of a process; `None` where it has ended.
    pub fn open(process: ProcessId) -> Result<Option<ProcDir>> {
        let path = CString::new(format!("/proc/{}", process.pid)).unwrap_or_default();
        let fd = match fs::open(fs::CWD, &path, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0) {
            Err(Errno::ENOENT | Errno::ESRCH) => return Ok(None),
            fd => fd.at(Stage::State, || format!("open /proc/{}", process.pid))?,
        };
        // Looked at when it was open: it is of this process and of no later one.
        Ok((process.life()? == Life::Alive).then_some(ProcDir { fd, pid: process.pid }))
    }

    /// A file; `None` where we may not read it, the kernel has none, or the process has ended.
    pub fn open_file(&self, name: &str) -> Result<Option<OwnedFd>> {
        let what = || format!("open /proc/{}/{name}", self.pid);
        let path = CString::new(name).map_err(|_| Error::new(Stage::State, what()))?;
        match fs::open(self.fd.as_fd(), &path, libc::O_RDONLY | libc::O_NOFOLLOW, 0) {
            Err(errno) if is_untold(errno) => Ok(None),
            file => file.map(Some).at(Stage::State, what),
        }
    }

    /// What is known of the file that a link of the kernel's is of, without asking anybody.
    pub fn stat_behind(&self, name: &str) -> brisk::sys::Result<libc::statx> {
        let path = fs::by_number(self.fd.as_fd()).join(name);
        fs::stat_known(&CString::new(path.into_os_string().into_vec()).map_err(|_| Errno::EINVAL)?)
    }

    /// The regular file that a link of the kernel's is of, to be read; `None` where it is none. A server may be asked, and may
    /// not answer.
    pub fn open_behind(&self, name: &str) -> brisk::sys::Result<Option<OwnedFd>> {
        // Looked at first: to open a device may do something.
        if u32::from(self.stat_behind(name)?.stx_mode) & libc::S_IFMT != libc::S_IFREG {
            return Ok(None);
        }
        let path = CString::new(name).map_err(|_| Errno::EINVAL)?;
        let flags = libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = match fs::open(self.fd.as_fd(), &path, flags | libc::O_NOATIME, 0) {
            // For those who do not own it.
            Err(Errno::EPERM) => fs::open(self.fd.as_fd(), &path, flags, 0)?,
            file => file?,
        };
        let stat = fs::stat(file.as_fd())?;
        Ok((fs::kind(&stat) == libc::S_IFREG).then_some(file))
    }

    /// The text of a file; `None` where we may not read it, the kernel has none, or the process has ended. An error where
    /// it is longer than `most`.
    pub fn read(&self, name: &str, most: usize) -> Result<Option<Vec<u8>>> {
        let what = || format!("read /proc/{}/{name}", self.pid);
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let mut text = Vec::new();
        let mut part = vec![0; 64 << 10];
        loop {
            match fs::read(file.as_fd(), &mut part) {
                Ok(0) => return Ok(Some(text)),
                Err(errno) if is_untold(errno) => return Ok(None),
                count => text.extend(&part[..count.at(Stage::State, what)?]),
            }
            if text.len() > most {
                return Err(Error::new(Stage::State, format!("{}: more than {most} bytes", what())));
            }
        }
    }

    /// [`Self::read`] as text; what is no UTF-8 is replaced.
    pub fn text(&self, name: &str) -> Result<Option<String>> {
        /// Such files are a page or two.
        const MOST: usize = 1 << 20;
        Ok(self.read(name, MOST)?.map(|text| String::from_utf8_lossy(&text).into_owned()))
    }

    /// Where a link of the kernel's leads, as text.
    pub fn link(&self, name: &str) -> Result<Option<String>> {
        let what = || format!("read /proc/{}/{name}", self.pid);
        let path = CString::new(name).map_err(|_| Error::new(Stage::State, what()))?;
        let mut buffer = [0; libc::PATH_MAX as usize];
        match fs::readlink(self.fd.as_fd(), &path, &mut buffer) {
            Err(errno) if is_untold(errno) => Ok(None),
            target => Ok(Some(String::from_utf8_lossy(target.at(Stage::State, what)?).into_owned())),
        }
    }
}

/// The text of a file of a cgroup whose path is in a state: what is there is not waited for, and has an end.
pub fn read_small(path: &Path) -> std::io::Result<String> {
    const MOST: u64 = 1 << 20;
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut text = String::new();
    file.take(MOST).read_to_string(&mut text).map(|_| text)
}

fn is_untold(errno: Errno) -> bool {
    // EINVAL: attr/current of a kernel without a security module.
    matches!(errno, Errno::ENOENT | Errno::ESRCH | Errno::EACCES | Errno::EPERM | Errno::EINVAL)
}
