//! Files and directories: by a name below a directory's descriptor ([`CWD`] for none), or by a descriptor of their own.

use std::ffi::{CStr, CString};
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::{Result, appended, cvt, done, raw};

/// The current directory as a directory fd.
// SAFETY: AT_FDCWD is not a descriptor that can be closed; every *at call accepts it.
pub const CWD: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };

// SAFETY: borrowing a standard stream by number neither closes nor owns it; where it is closed, calls fail.
/// Standard input.
pub const STDIN: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(0) };
// SAFETY: borrowing a standard stream by number neither closes nor owns it; where it is closed, calls fail.
/// Standard output.
pub const STDOUT: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(1) };
// SAFETY: borrowing a standard stream by number neither closes nor owns it; where it is closed, calls fail.
/// Standard error.
pub const STDERR: BorrowedFd<'static> = unsafe { BorrowedFd::borrow_raw(2) };

/// openat2(2): no component may leave the directory fd, absolute links count from it.
pub const IN_ROOT: u64 = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
/// openat2(2): no symbolic link and no mount point on the way.
pub const STRICT: u64 = libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV;

/// Owns the descriptor a system call returned.
pub(super) fn own(fd: libc::c_long) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor to us, so nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// openat(2), always close-on-exec. Tried again on EINTR, which FIFOs, terminals and network file systems return.
pub fn open(dir: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32) -> Result<OwnedFd> {
    loop {
        // SAFETY: `path` is NUL-terminated and outlives the call.
        match cvt(unsafe { raw!(SYS_openat, dir.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC, mode) }) {
            Err(Errno::EINTR) => {}
            result => return result.map(own),
        }
    }
}

/// A path as system calls take it; EINVAL where there is a NUL in it.
pub fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Errno::EINVAL)
}

/// Opens a file of the operator's or the kernel's to be read: std's own, over musl, says close-on-exec in a second call.
pub fn open_file(path: impl AsRef<Path>) -> Result<OwnedFd> {
    open(CWD, &c_path(path.as_ref())?, libc::O_RDONLY, 0)
}

/// Opens what is said to be a namespace: one that is something else, a fifo, is not waited for.
pub fn open_namespace(path: impl AsRef<Path>) -> Result<OwnedFd> {
    open(CWD, &c_path(path.as_ref())?, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0)
}

/// A regular file that somebody else may have made: never a link, a fifo or a device, whatever has its name.
#[derive(Debug)]
pub struct RegularFile {
    fd: OwnedFd,
    /// What fstat(2) says of it.
    pub stat: libc::stat,
}

impl RegularFile {
    /// [`Self::open`] by a path as the caller has it.
    pub fn find(path: &Path) -> Result<Option<RegularFile>> {
        Self::open(CWD, &c_path(path)?)
    }

    /// Opens it without waiting for anybody; none where something else has the name.
    pub fn open(dir: BorrowedFd<'_>, path: &CStr) -> Result<Option<RegularFile>> {
        let fd = open(dir, path, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY, 0)?;
        let stat = stat(fd.as_fd())?;
        appended::refuse(&stat)?;
        Ok((kind(&stat) == libc::S_IFREG).then_some(RegularFile { fd, stat }))
    }

    /// Its bytes.
    pub fn bytes(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// What it had in it when it was opened, and no more than `most` bytes of that.
    pub fn read(&self, most: u64) -> Result<Vec<u8>> {
        let mut text = vec![0; usize::try_from(self.bytes().min(most)).unwrap_or(0)];
        let mut filled = 0;
        while filled < text.len() {
            match read(self.fd.as_fd(), &mut text[filled..])? {
                0 => break,
                more => filled += more,
            }
        }
        text.truncate(filled);
        Ok(text)
    }
}

/// openat2(2), always close-on-exec. EAGAIN (a rename raced with `..`) is tried again a bounded number of times,
/// EINTR always.
pub fn open2(dir: BorrowedFd<'_>, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Result<OwnedFd> {
    // SAFETY: open_how is plain data, for which all zeros is a valid value.
    let mut how: libc::open_how = unsafe { MaybeUninit::zeroed().assume_init() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = resolve;
    let mut tries = 0;
    loop {
        // SAFETY: `path` is NUL-terminated, `how` is a whole open_how of the size given; both outlive the call.
        let fd =
            unsafe { raw!(SYS_openat2, dir.as_raw_fd(), path.as_ptr(), &raw const how, size_of::<libc::open_how>()) };
        match cvt(fd) {
            Err(Errno::EAGAIN) if tries < 128 => tries += 1,
            Err(Errno::EINTR) => {}
            result => return result.map(own),
        }
    }
}

/// fstat(2); works on `O_PATH` descriptors.
pub fn stat(fd: BorrowedFd<'_>) -> Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `stat` is writable memory of the right size.
    done(unsafe { libc::fstat(fd.as_raw_fd(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: plain data that was zeroed and then filled by the kernel.
    Ok(unsafe { stat.assume_init() })
}

/// Whether it is of character device 1:3.
pub fn is_null_device(stat: &libc::stat) -> bool {
    kind(stat) == libc::S_IFCHR && stat.st_rdev == libc::makedev(1, 3)
}

/// fstatat(2) without following a final symbolic link.
pub fn stat_at(dir: BorrowedFd<'_>, path: &CStr) -> Result<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `path` is NUL-terminated; `stat` is writable memory of the right size.
    let ret = unsafe { libc::fstatat(dir.as_raw_fd(), path.as_ptr(), stat.as_mut_ptr(), libc::AT_SYMLINK_NOFOLLOW) };
    done(ret.into())?;
    // SAFETY: plain data that was zeroed and then filled by the kernel.
    Ok(unsafe { stat.assume_init() })
}

/// The type bits of a mode (`S_IFDIR`, …).
pub fn kind(stat: &libc::stat) -> u32 {
    stat.st_mode & libc::S_IFMT
}

/// fstatfs(2): the file system's magic number.
pub fn fs_magic(fd: BorrowedFd<'_>) -> Result<i64> {
    let mut buf = MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: `buf` is writable memory of the right size.
    done(unsafe { libc::fstatfs(fd.as_raw_fd(), buf.as_mut_ptr()) }.into())?;
    // SAFETY: plain data that was zeroed and then filled by the kernel.
    let buf = unsafe { buf.assume_init() };
    Ok(buf.f_type as _)
}

/// Whether the file has a handle: name_to_handle_at(2) gives one; works on `O_PATH` descriptors.
pub fn has_handle(file: BorrowedFd<'_>) -> bool {
    /// The longest that there is (MAX_HANDLE_SZ).
    const LONGEST: u32 = 128;
    // struct file_handle: its length, its type, and what it is.
    let mut handle = [0u32; 2 + LONGEST as usize / 4];
    handle[0] = LONGEST;
    let mut mount = 0i32;
    let (fd, flags) = (file.as_raw_fd(), libc::AT_EMPTY_PATH);
    // SAFETY: the path is static and NUL-terminated; `handle` is writable for the length it begins with, `mount` for an int.
    let done = unsafe { raw!(SYS_name_to_handle_at, fd, c"".as_ptr(), handle.as_mut_ptr(), &raw mut mount, flags) };
    done == 0
}

/// The flags (`ST_*`) of the mount that the file is on; works on `O_PATH` descriptors.
pub fn mount_flags(fd: BorrowedFd<'_>) -> Result<u64> {
    Ok(statvfs(fd)?.f_flag)
}

/// The bytes and inodes in use on the file system that the file is on; works on `O_PATH` descriptors.
pub fn in_use(fd: BorrowedFd<'_>) -> Result<(u64, u64)> {
    let stat = statvfs(fd)?;
    // A tmpfs without limits says 0 of all.
    let used = |all: u64, free: u64| all.saturating_sub(free);
    Ok((used(stat.f_blocks, stat.f_bfree) * stat.f_frsize, used(stat.f_files, stat.f_ffree)))
}

/// fstatvfs(3).
fn statvfs(fd: BorrowedFd<'_>) -> Result<libc::statvfs> {
    let mut stat = MaybeUninit::<libc::statvfs>::zeroed();
    // SAFETY: `stat` is writable memory of the right size.
    done(unsafe { libc::fstatvfs(fd.as_raw_fd(), stat.as_mut_ptr()) }.into())?;
    // SAFETY: plain data that was zeroed and then filled by the C library.
    Ok(unsafe { stat.assume_init() })
}

/// Whether the file is on a mount from which nothing is executed. One that cannot be looked at is not.
pub fn is_noexec(fd: BorrowedFd<'_>) -> bool {
    mount_flags(fd).is_ok_and(|flags| flags & libc::ST_NOEXEC != 0)
}

/// mkdirat(2).
pub fn mkdir(dir: BorrowedFd<'_>, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_mkdirat, dir.as_raw_fd(), path.as_ptr(), mode) })
}

/// mknodat(2).
pub fn mknod(dir: BorrowedFd<'_>, path: &CStr, mode: u32, dev: u64) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_mknodat, dir.as_raw_fd(), path.as_ptr(), mode, dev as libc::c_uint) })
}

/// symlinkat(2).
pub fn symlink(target: &CStr, dir: BorrowedFd<'_>, path: &CStr) -> Result<()> {
    // SAFETY: both strings are NUL-terminated and outlive the call.
    done(unsafe { raw!(SYS_symlinkat, target.as_ptr(), dir.as_raw_fd(), path.as_ptr()) })
}

/// unlinkat(2); `flags` is 0 or `AT_REMOVEDIR`. Tried again on EINTR: network file systems return it.
pub fn unlink(dir: BorrowedFd<'_>, path: &CStr, flags: i32) -> Result<()> {
    loop {
        // SAFETY: `path` is NUL-terminated and outlives the call.
        match done(unsafe { raw!(SYS_unlinkat, dir.as_raw_fd(), path.as_ptr(), flags) }) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// renameat2(2) with no flags.
pub fn rename(dir: BorrowedFd<'_>, from: &CStr, to: &CStr) -> Result<()> {
    rename2((dir, from), (dir, to), 0)
}

/// renameat2(2) to a name, in another directory, that nothing has; EEXIST where something does.
pub fn rename_new(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr)) -> Result<()> {
    rename2(from, to, libc::RENAME_NOREPLACE)
}

/// renameat2(2) that exchanges two names.
pub fn exchange(dir: BorrowedFd<'_>, from: &CStr, to: &CStr) -> Result<()> {
    rename2((dir, from), (dir, to), libc::RENAME_EXCHANGE)
}

fn rename2(from: (BorrowedFd<'_>, &CStr), to: (BorrowedFd<'_>, &CStr), flags: u32) -> Result<()> {
    let ((from, old), (to, new)) = (from, to);
    // SAFETY: both strings are NUL-terminated and outlive the call.
    done(unsafe { raw!(SYS_renameat2, from.as_raw_fd(), old.as_ptr(), to.as_raw_fd(), new.as_ptr(), flags) })
}

/// readlinkat(2) into `buf`; returns the part that was filled.
pub fn readlink<'a>(dir: BorrowedFd<'_>, path: &CStr, buf: &'a mut [u8]) -> Result<&'a [u8]> {
    // SAFETY: `path` is NUL-terminated; `buf` is writable for the length given.
    let len = cvt(unsafe { raw!(SYS_readlinkat, dir.as_raw_fd(), path.as_ptr(), buf.as_mut_ptr(), buf.len()) })?;
    Ok(&buf[..len as usize])
}

/// The link of an open file in /proc; allocates nothing.
pub(super) fn link_of<'a>(fd: BorrowedFd<'_>, buf: &'a mut [u8; 32]) -> Result<&'a CStr> {
    use std::io::Write;
    write!(&mut buf[..31], "/proc/self/fd/{}", fd.as_raw_fd()).map_err(|_| Errno::ENAMETOOLONG)?;
    CStr::from_bytes_until_nul(buf).map_err(|_| Errno::EINVAL)
}

/// A path to what a descriptor is of, for calls that take none (proc(5)).
pub fn by_number(fd: BorrowedFd<'_>) -> PathBuf {
    format!("/proc/self/fd/{}", fd.as_raw_fd()).into()
}

/// The path of an open file, as /proc tells it; allocates nothing.
pub fn path_of<'a>(fd: BorrowedFd<'_>, buf: &'a mut [u8]) -> Result<&'a [u8]> {
    readlink(CWD, link_of(fd, &mut [0; 32])?, buf)
}

/// Opens the file that a descriptor is of once more: one that was opened to be looked at (`O_PATH`), or for something else.
pub fn reopen(fd: BorrowedFd<'_>, flags: i32) -> Result<OwnedFd> {
    open(CWD, link_of(fd, &mut [0; 32])?, flags, 0)
}

/// The id of the mount that `name` in `dir`, or `dir` itself, is on; it is never used again while the machine is up
/// (`STATX_MNT_ID_UNIQUE`, Linux 6.8). A final link is not followed.
pub fn mount_id(dir: BorrowedFd<'_>, name: &CStr) -> Result<u64> {
    const STATX_MNT_ID_UNIQUE: u32 = 0x4000;
    mount_of(dir, name, STATX_MNT_ID_UNIQUE)
}

/// The number of the mount that `fd` is on, as mountinfo has it: free again when the mount is gone (`STATX_MNT_ID`, Linux
/// 5.8).
pub fn mount_number(fd: BorrowedFd<'_>) -> Result<u64> {
    const STATX_MNT_ID: u32 = 0x1000;
    mount_of(fd, c"", STATX_MNT_ID)
}

/// What is known of the file that a path leads to, without asking a server for it (`AT_STATX_DONT_SYNC`): one of FUSE may not
/// answer. The last name may be a link of /proc/PID/fd, for which nothing is looked up.
pub fn stat_known(path: &CStr) -> Result<libc::statx> {
    let flags = libc::AT_STATX_DONT_SYNC | libc::AT_NO_AUTOMOUNT;
    statx(CWD, path, flags, libc::STATX_BASIC_STATS)
}

fn mount_of(dir: BorrowedFd<'_>, name: &CStr, mask: u32) -> Result<u64> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW | libc::AT_NO_AUTOMOUNT | libc::AT_STATX_DONT_SYNC;
    let stat = statx(dir, name, flags, mask)?;
    if stat.stx_mask & mask != 0 { Ok(stat.stx_mnt_id) } else { Err(Errno::EOPNOTSUPP) }
}

fn statx(dir: BorrowedFd<'_>, name: &CStr, flags: i32, mask: u32) -> Result<libc::statx> {
    // SAFETY: statx is plain data, for which all zeros is a valid value.
    let mut stat: libc::statx = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: `name` is NUL-terminated and outlives the call; `stat` is a writable struct statx.
    done(unsafe { raw!(SYS_statx, dir.as_raw_fd(), name.as_ptr(), flags, mask, &raw mut stat) })?;
    Ok(stat)
}

/// fchownat(2) on the descriptor itself or on a name below it, never following a final link.
pub fn chown(dir: BorrowedFd<'_>, path: &CStr, uid: u32, gid: u32) -> Result<()> {
    let flags = libc::AT_EMPTY_PATH | libc::AT_SYMLINK_NOFOLLOW;
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_fchownat, dir.as_raw_fd(), path.as_ptr(), uid, gid, flags) })
}

/// fchmod(2); the descriptor must not be `O_PATH`.
pub fn chmod(fd: BorrowedFd<'_>, mode: u32) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_fchmod, fd.as_raw_fd(), mode) })
}

/// fchmodat(2); follows a final link, so only for names that were just made.
pub fn chmod_at(dir: BorrowedFd<'_>, path: &CStr, mode: u32) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_fchmodat, dir.as_raw_fd(), path.as_ptr(), mode) })
}

/// faccessat2(2) with the effective ids; an empty path is `dir` itself.
pub fn access(dir: BorrowedFd<'_>, path: &CStr, mode: i32) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_faccessat2, dir.as_raw_fd(), path.as_ptr(), mode, libc::AT_EACCESS | libc::AT_EMPTY_PATH) })
}

/// flock(2), tried again on EINTR; the lock goes with the last descriptor of the open file.
pub fn lock(fd: BorrowedFd<'_>, how: i32) -> Result<()> {
    loop {
        // SAFETY: no memory is passed.
        match done(unsafe { raw!(SYS_flock, fd.as_raw_fd(), how) }) {
            Err(Errno::EINTR) => {}
            result => return result,
        }
    }
}

/// read(2), tried again on EINTR.
pub fn read(fd: BorrowedFd<'_>, buf: &mut [u8]) -> Result<usize> {
    loop {
        // SAFETY: `buf` is writable for the length given.
        match cvt(unsafe { raw!(SYS_read, fd.as_raw_fd(), buf.as_mut_ptr(), buf.len()) }) {
            Err(Errno::EINTR) => {}
            result => return result.map(|n| n as usize),
        }
    }
}

/// One write(2), tried again on EINTR.
pub fn write(fd: BorrowedFd<'_>, buf: &[u8]) -> Result<usize> {
    loop {
        // SAFETY: `buf` is readable for the length given.
        match cvt(unsafe { raw!(SYS_write, fd.as_raw_fd(), buf.as_ptr(), buf.len()) }) {
            Err(Errno::EINTR) => {}
            result => return result.map(|n| n as usize),
        }
    }
}

/// write(2) until everything is written.
pub fn write_all(fd: BorrowedFd<'_>, mut buf: &[u8]) -> Result<()> {
    while !buf.is_empty() {
        match write(fd, buf)? {
            0 => return Err(Errno::EIO),
            n => buf = &buf[n..],
        }
    }
    Ok(())
}

/// fgetxattr(2): the length of the attribute, which fills the beginning of `value`.
pub fn xattr(fd: BorrowedFd<'_>, name: &CStr, value: &mut [u8]) -> Result<usize> {
    // SAFETY: `name` is NUL-terminated and `value` writable for the length given; both outlive the call.
    let length = unsafe { raw!(SYS_fgetxattr, fd.as_raw_fd(), name.as_ptr(), value.as_mut_ptr(), value.len()) };
    cvt(length).map(|length| length as usize)
}

/// fsetxattr(2): the SELinux label of an open file or directory.
pub fn set_selinux_label(fd: BorrowedFd<'_>, label: &CStr) -> Result<()> {
    let (name, value) = (c"security.selinux".as_ptr(), label.to_bytes_with_nul());
    // SAFETY: both are readable for the lengths that the kernel is told or finds.
    done(unsafe { raw!(SYS_fsetxattr, fd.as_raw_fd(), name, value.as_ptr(), value.len(), 0) })
}

/// One pread(2), tried again on EINTR; 0 at the end of the file.
pub fn pread(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Result<usize> {
    loop {
        // SAFETY: `buf` is writable for the length given.
        match cvt(unsafe { raw!(SYS_pread64, fd.as_raw_fd(), buf.as_mut_ptr(), buf.len(), offset) }) {
            Err(Errno::EINTR) => {}
            result => return result.map(|n| n as usize),
        }
    }
}

/// Sets the file offset to the start.
pub fn rewind(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_lseek, fd.as_raw_fd(), 0, libc::SEEK_SET) })
}

/// memfd_create(2), close-on-exec and executable (`MFD_EXEC` where the kernel, since 6.3, wants to be told).
pub fn memfd(name: &CStr) -> Result<OwnedFd> {
    memfd_with(name, 0)
}

/// [`memfd`] that can be sealed.
pub(super) fn sealable_memfd(name: &CStr) -> Result<OwnedFd> {
    memfd_with(name, libc::MFD_ALLOW_SEALING)
}

fn memfd_with(name: &CStr, flags: u32) -> Result<OwnedFd> {
    const MFD_EXEC: u32 = 0x10;
    let flags = flags | libc::MFD_CLOEXEC;
    // SAFETY: `name` is NUL-terminated and outlives the call.
    match cvt(unsafe { raw!(SYS_memfd_create, name.as_ptr(), flags | MFD_EXEC) }) {
        // FALLBACK(linux < 6.3): the flag is unknown and its meaning the default.
        // SAFETY: `name` is NUL-terminated and outlives the call.
        Err(Errno::EINVAL) => cvt(unsafe { raw!(SYS_memfd_create, name.as_ptr(), flags) }),
        result => result,
    }
    .map(own)
}

/// lseek(2) by so many bytes from where it is.
pub fn seek_by(fd: BorrowedFd<'_>, bytes: i64) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_lseek, fd.as_raw_fd(), bytes, libc::SEEK_CUR) })
}

/// umask(2); cannot fail.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: no memory is passed.
    (unsafe { raw!(SYS_umask, mask) }) as u32
}

/// fchdir(2).
pub fn fchdir(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is passed.
    done(unsafe { raw!(SYS_fchdir, fd.as_raw_fd()) })
}

/// chdir(2).
pub fn chdir(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_chdir, path.as_ptr()) })
}

/// chroot(2).
pub fn chroot(path: &CStr) -> Result<()> {
    // SAFETY: `path` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_chroot, path.as_ptr()) })
}

/// getcwd(2): whether the current directory can be reached from the root, that is, its path starts with `/`.
/// The kernel writes `(unreachable)` in front otherwise (CVE-2024-21626).
pub fn cwd_is_inside_root() -> Result<bool> {
    let mut buf = [0u8; libc::PATH_MAX as usize];
    // SAFETY: `buf` is writable for the length given.
    match cvt(unsafe { raw!(SYS_getcwd, buf.as_mut_ptr(), buf.len()) }) {
        // ENOENT: the directory has been removed, so it has no path at all.
        Err(Errno::ENOENT) => Ok(false),
        result => result.map(|_| buf[0] == b'/'),
    }
}

/// mkfifoat(3).
pub fn mkfifo(dir: BorrowedFd<'_>, path: &CStr, mode: u32) -> Result<()> {
    mknod(dir, path, libc::S_IFIFO | mode, 0)
}
