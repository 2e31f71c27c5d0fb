//! A mount namespace for CRIU: what is mounted there for its sake is never seen on the host and gone with it.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Context, Result, Stage};
use crate::sys::{fs, mount, process};

/// Does `work` in a new mount namespace in which `from`, with everything below it, is bound onto `to`. Programs that
/// are started and descriptors that are opened there stay there; CRIU mounts things below the directories we open
/// for it, which only works for those of its own namespace.
pub fn with_bound<T>(from: CString, to: CString, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let what = || "enter a mount namespace for criu";
    let home = Home { namespace: open(c"/proc/self/ns/mnt")?, root: open(c"/")?, cwd: open(c".")? };
    process::unshare(libc::CLONE_NEWNS).at(Stage::Criu, what)?;
    let result = bind(&from, &to).and_then(|()| work());
    // Whatever happened there, everything else has to happen here.
    home.enter()?;
    result
}

fn bind(from: &CStr, to: &CStr) -> Result<()> {
    // Nothing goes to the host, but what is mounted there later on is seen.
    mount::mount(None, c"/", None, libc::MS_SLAVE | libc::MS_REC, None)
        .at(Stage::Criu, || "make the mounts of criu's namespace slaves")?;
    let what = || format!("bind {} on {}", from.to_string_lossy(), to.to_string_lossy());
    mount::mount(Some(from), to, None, libc::MS_BIND | libc::MS_REC, None).at(Stage::Criu, what)
}

fn open(path: &CStr) -> Result<OwnedFd> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC;
    fs::open(fs::CWD, path, flags, 0).at(Stage::Criu, || format!("open {}", path.to_string_lossy()))
}

/// Where we came from.
struct Home {
    namespace: OwnedFd,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl Home {
    /// setns(2) makes the namespace's root ours, which need not be the one we had.
    fn enter(&self) -> Result<()> {
        let back = || {
            process::setns(self.namespace.as_fd(), libc::CLONE_NEWNS)?;
            fs::fchdir(self.root.as_fd())?;
            fs::chroot(c".")?;
            fs::fchdir(self.cwd.as_fd())
        };
        back().at(Stage::Criu, || "go back to our mount namespace")
    }
}
