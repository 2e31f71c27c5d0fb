//! Leases on files (fcntl(2)): who opens such a file waits for its holder, up to /proc/sys/fs/lease-break-time seconds.
#![allow(unsafe_code, reason = "nix has no F_SETLEASE")]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;

/// One that is not given up.
pub struct Lease(File);

impl Lease {
    /// Nobody else has the file open.
    pub fn take(path: &Path) -> Self {
        let lease = Lease(File::open(path).unwrap());
        lease.again();
        lease
    }

    /// Once whoever waited has given up.
    pub fn again(&self) {
        const F_SETSIG: i32 = 10;
        let set = |what: i32, value: i32| {
            // SAFETY: no memory is passed.
            Errno::result(unsafe { libc::fcntl(self.0.as_raw_fd(), what, value) })
        };
        set(libc::F_SETLEASE, libc::F_UNLCK)
            .or_else(|errno| if errno == Errno::EAGAIN { Ok(0) } else { Err(errno) })
            .unwrap();
        // That somebody waits is told by a signal, and this one is ignored. It is forgotten with the lease.
        set(F_SETSIG, libc::SIGURG).unwrap();
        super::host::wait_until(|| set(libc::F_SETLEASE, libc::F_WRLCK).is_ok());
    }
}
