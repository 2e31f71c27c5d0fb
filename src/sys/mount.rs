//! The mount API on descriptors (Linux 5.2, attributes 5.12) and the classic calls it cannot replace.

use std::ffi::CStr;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::fs::own;
use super::mount_attr::{self, MountAttr};
use super::{Result, cvt, done, fs, raw};

const OPEN_TREE_CLONE: u32 = 1;
const OPEN_TREE_CLOEXEC: u32 = libc::O_CLOEXEC as u32;
const FSOPEN_CLOEXEC: u32 = 1;
const FSMOUNT_CLOEXEC: u32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
/// `AT_RECURSIVE` of open_tree(2) and mount_setattr(2).
pub const RECURSIVE: u32 = libc::AT_RECURSIVE as u32;

/// open_tree(2): a detached copy of the mount (with [`RECURSIVE`]: the tree) at `path`.
pub fn clone_tree(dir: BorrowedFd<'_>, path: &CStr, flags: u32) -> Result<OwnedFd> {
    let flags = flags | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    // SAFETY: `path` is NUL-terminated and outlives the call.
    cvt(unsafe { raw!(SYS_open_tree, dir.as_raw_fd(), path.as_ptr(), flags) }).map(own)
}

/// [`clone_tree`] with attributes, in one call: open_tree_attr(2), Linux 6.15; with [`RECURSIVE`] they are those of all mounts.
pub fn clone_tree_with(dir: BorrowedFd<'_>, path: &CStr, flags: u32, attr: &MountAttr) -> Result<OwnedFd> {
    const SYS_OPEN_TREE_ATTR: libc::c_long = 467;
    let flags = flags | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as u32;
    let (at, size) = (ptr::from_ref(attr), size_of::<MountAttr>());
    // SAFETY: `path` is NUL-terminated, `attr` is a whole mount_attr of the size given; both outlive the call.
    cvt(unsafe { libc::syscall(SYS_OPEN_TREE_ATTR, dir.as_raw_fd(), path.as_ptr(), flags, at, size) }).map(own)
}

/// move_mount(2): attaches the detached mount onto the object `to` refers to.
pub fn attach(mount: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both strings are static and NUL-terminated.
    done(unsafe { raw!(SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), to.as_raw_fd(), c"".as_ptr(), flags) })
}

/// move_mount(2): attaches the detached mount onto the object of that name in `dir`, a link at its end not followed.
pub fn attach_at(mount: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &CStr) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both strings are NUL-terminated and outlive the call.
    done(unsafe { raw!(SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), dir.as_raw_fd(), name.as_ptr(), flags) })
}

/// mount_setattr(2) on the mount that `fd` is the root of.
pub fn set_attr(fd: BorrowedFd<'_>, flags: u32, attr: &MountAttr) -> Result<()> {
    let flags = flags | libc::AT_EMPTY_PATH as u32;
    // SAFETY: the path is static and NUL-terminated, `attr` is a whole mount_attr of the size given.
    done(unsafe {
        raw!(SYS_mount_setattr, fd.as_raw_fd(), c"".as_ptr(), flags, ptr::from_ref(attr), size_of::<MountAttr>())
    })
}

/// mount_setattr(2): maps the owners in a detached mount (with [`RECURSIVE`]: tree) by a user namespace.
pub fn set_id_map(tree: BorrowedFd<'_>, flags: u32, userns: BorrowedFd<'_>) -> Result<()> {
    let userns_fd = userns.as_raw_fd() as u64;
    set_attr(tree, flags, &MountAttr { set: mount_attr::IDMAP, userns_fd, ..MountAttr::default() })
}

/// fsopen(2): a context for a new file system.
pub fn fs_open(kind: &CStr) -> Result<OwnedFd> {
    // SAFETY: `kind` is NUL-terminated and outlives the call.
    cvt(unsafe { raw!(SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) }).map(own)
}

/// fspick(2): a context to reconfigure the file system mounted at `dir`.
pub fn fs_pick(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    const FSPICK_CLOEXEC: u32 = 1;
    const FSPICK_EMPTY_PATH: u32 = 8;
    // SAFETY: the path is static and NUL-terminated.
    cvt(unsafe { raw!(SYS_fspick, dir.as_raw_fd(), c"".as_ptr(), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH) }).map(own)
}

const FSCONFIG_SET_FLAG: u32 = 0;
const FSCONFIG_SET_STRING: u32 = 1;
const FSCONFIG_CMD_CREATE: u32 = 6;
const FSCONFIG_CMD_RECONFIGURE: u32 = 7;

fn fs_config(fs: BorrowedFd<'_>, cmd: u32, key: *const libc::c_char, value: *const libc::c_char) -> Result<()> {
    // SAFETY: the callers below pass NULL or NUL-terminated strings, as the command wants, that outlive the call.
    done(unsafe { raw!(SYS_fsconfig, fs.as_raw_fd(), cmd, key, value, 0) })
}

/// fsconfig(2): a parameter with a value, or a flag without one.
pub fn fs_set(fs: BorrowedFd<'_>, key: &CStr, value: Option<&CStr>) -> Result<()> {
    match value {
        Some(value) => fs_config(fs, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr()),
        None => fs_config(fs, FSCONFIG_SET_FLAG, key.as_ptr(), ptr::null()),
    }
}

/// fsconfig(2): makes the superblock.
fn fs_create(fs: BorrowedFd<'_>) -> Result<()> {
    fs_config(fs, FSCONFIG_CMD_CREATE, ptr::null(), ptr::null())
}

/// fsconfig(2): applies the parameters to the superblock that was picked.
pub fn fs_reconfigure(fs: BorrowedFd<'_>) -> Result<()> {
    fs_config(fs, FSCONFIG_CMD_RECONFIGURE, ptr::null(), ptr::null())
}

/// Makes the file system of a context and mounts it with `MOUNT_ATTR_*`, nowhere yet: fsconfig(2), fsmount(2).
pub fn fs_make(fs: BorrowedFd<'_>, attr: u64) -> Result<OwnedFd> {
    fs_create(fs)?;
    fs_mount(fs, attr)
}

/// A context with these parameters.
fn fs_context(kind: &CStr, params: &[(&CStr, &CStr)]) -> Result<OwnedFd> {
    let context = fs_open(kind)?;
    for (key, value) in params {
        fs_set(context.as_fd(), key, Some(value))?;
    }
    Ok(context)
}

/// A file system with these parameters, nowhere yet.
pub fn fs_new(kind: &CStr, params: &[(&CStr, &CStr)], attr: u64) -> Result<OwnedFd> {
    fs_make(fs_context(kind, params)?.as_fd(), attr)
}

/// Makes a file system with these parameters, and throws it away.
pub fn fs_try(kind: &CStr, params: &[(&CStr, &CStr)]) -> Result<()> {
    fs_create(fs_context(kind, params)?.as_fd())
}

fn fs_mount(fs: BorrowedFd<'_>, attr: u64) -> Result<OwnedFd> {
    // SAFETY: no memory is passed.
    cvt(unsafe { raw!(SYS_fsmount, fs.as_raw_fd(), FSMOUNT_CLOEXEC, attr as libc::c_uint) }).map(own)
}

/// listmount(2), Linux 6.8: whether this mount namespace holds at least `count` mounts (up to 256). `None`
/// where the kernel does not say.
pub fn holds_mounts(count: usize) -> Option<bool> {
    const LSMT_ROOT: u64 = u64::MAX;
    let mut ids = [0u64; 256];
    let wanted = count.min(ids.len());
    list(LSMT_ROOT, &mut ids[..wanted]).ok().map(|found| found >= wanted)
}

/// mount(2).
pub fn mount(source: Option<&CStr>, target: &CStr, kind: Option<&CStr>, flags: u64, data: Option<&CStr>) -> Result<()> {
    let text = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    // SAFETY: every pointer is NULL or a NUL-terminated string that outlives the call.
    done(unsafe { raw!(SYS_mount, text(source), target.as_ptr(), text(kind), flags, text(data)) })
}

/// umount2(2).
pub fn umount(target: &CStr, flags: i32) -> Result<()> {
    // SAFETY: `target` is NUL-terminated and outlives the call.
    done(unsafe { raw!(SYS_umount2, target.as_ptr(), flags) })
}

/// `pivot_root(".", ".")`: the current directory becomes the root and the old root is stacked on top of it.
pub fn pivot_here() -> Result<()> {
    // SAFETY: both strings are static and NUL-terminated.
    done(unsafe { raw!(SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })
}

/// What statmount(2) (Linux 6.8) says of a mount, its texts escaped as in mountinfo. mountinfo is a line for every mount of
/// the machine, and listmount(2) looks at each. Allocates: for the parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statmount {
    /// Its number.
    pub id: u64,
    /// The number of the mount it is on.
    pub parent: u64,
    /// The directory of the file system that is visible.
    pub root: String,
    /// Where it is.
    pub point: String,
    /// The file system's type.
    pub fs_type: String,
    /// The options of the file system.
    pub options: String,
}

const SYS_STATMOUNT: libc::c_long = 457;
const SYS_LISTMOUNT: libc::c_long = 458;
/// Size of struct mnt_id_req up to `param`.
const REQUEST: u64 = 24;

/// listmount(2): the ids of the mounts below the mount `id`, as many as there is room for.
fn list(id: u64, ids: &mut [u64]) -> Result<usize> {
    // struct mnt_id_req: size and reserved, mnt_id, param (the last id seen).
    let request = [REQUEST, id, 0];
    let room = ids.len();
    // SAFETY: the request is a whole mnt_id_req of the size it names; `ids` has room for `room` ids.
    let found = unsafe { libc::syscall(SYS_LISTMOUNT, request.as_ptr(), ids.as_mut_ptr(), room, 0) };
    cvt(found).map(|found| found as usize)
}

/// The mounts at and below the mount that `path` is on, but those that another one covers. E2BIG when there are more than
/// 64: then mountinfo is the better source. EOPNOTSUPP where the kernel does not tell all of it (options: Linux 6.11).
pub fn below(path: &CStr) -> Result<Vec<Statmount>> {
    let mut ids = [0u64; 65];
    let found = list(fs::mount_id(fs::CWD, path)?, &mut ids)?;
    if found == ids.len() {
        return Err(Errno::E2BIG);
    }
    let all = ids[..found].iter().map(|id| statmount(*id)).collect::<Result<Vec<_>>>()?;
    let covered = |mount: &Statmount| all.iter().any(|other| other.parent == mount.id && other.point == mount.point);
    Ok(all.iter().filter(|mount| !covered(mount)).cloned().collect())
}

fn statmount(id: u64) -> Result<Statmount> {
    const MNT_BASIC: u64 = 0x2;
    const MNT_ROOT: u64 = 0x8;
    const MNT_POINT: u64 = 0x10;
    const FS_TYPE: u64 = 0x20;
    const MNT_OPTS: u64 = 0x80;
    const WANTED: u64 = MNT_BASIC | MNT_ROOT | MNT_POINT | FS_TYPE | MNT_OPTS;
    /// Where the strings of struct statmount begin.
    const STRINGS: usize = 512;
    let request = [REQUEST, id, WANTED];
    let mut answer = [0u64; 512];
    let size = size_of_val(&answer);
    // SAFETY: the request is a whole mnt_id_req of the size it names; `answer` is writable for `size` bytes.
    let done = unsafe { libc::syscall(SYS_STATMOUNT, request.as_ptr(), answer.as_mut_ptr(), size, 0) };
    cvt(done)?;
    let word = |offset: usize| -> u32 {
        let both = answer.get(offset / 8).copied().unwrap_or_default().to_ne_bytes();
        let at = offset % 8;
        u32::from_ne_bytes([both[at], both[at + 1], both[at + 2], both[at + 3]])
    };
    if answer[1] & WANTED & !MNT_OPTS != WANTED & !MNT_OPTS {
        return Err(Errno::EOPNOTSUPP);
    }
    let bytes: Vec<u8> = answer.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let text = |offset: usize| -> Result<String> {
        let tail = bytes.get(STRINGS + word(offset) as usize..).ok_or(Errno::EBADMSG)?;
        let text = CStr::from_bytes_until_nul(tail).map_err(|_| Errno::EBADMSG)?;
        text.to_str().map(str::to_owned).map_err(|_| Errno::EILSEQ)
    };
    // A file system without options has no such field; a kernel that does not know it says the same.
    let options = if answer[1] & MNT_OPTS == 0 { String::new() } else { text(4)? };
    Ok(Statmount { id: answer[5], parent: answer[6], root: text(104)?, point: text(108)?, fs_type: text(36)?, options })
}
