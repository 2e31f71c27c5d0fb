//! The skeleton mount namespace: next to nothing, kept by one mount on the host.
//!
//! A new mount namespace is a copy of its maker's, and pivot_root with umount throws the copy away again: on a
//! host with thousands of mounts that is most of a container's start. A child that is cloned from a namespace
//! which holds a single read-only tmpfs copies that instead.
//!
//! The namespace lives as long as something refers to it: one nsfs bind mount at [`PIN`], outside of every
//! engine's root, private, and unbindable so that no container gets a copy of it. `umount` of it is all it
//! takes to drop it; the next container that wants one makes it again.
//!
//! Not trusted: what is at the pin. Nothing is taken from a directory that others than root can write, and nothing there is
//! waited for.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;

use super::running::{destroy, sync_error};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::namespace::NamespaceKind;
use crate::plan::rootfs::SKELETON_ROOT;
use crate::sys::clone::{self, CloneArgs, Cloned};
use crate::sys::mount;
use crate::sys::mount_attr::{self, MountAttr};
use crate::sys::{affinity, fs, namespace, process, socket};

/// Directory of the pin; root's own.
const DIR: &str = "/run/brisk-skeleton";
const DIR_PATH: &CStr = c"/run/brisk-skeleton";
/// The file the namespace is bound over.
pub const PIN: &str = "/run/brisk-skeleton/mnt";
const PIN_PATH: &CStr = c"/run/brisk-skeleton/mnt";
const NAME: &CStr = c"mnt";

/// Opens the skeleton; makes and pins it first where there is none. Where it cannot be kept, for what is at the pin is not
/// root's alone, one is made for this container: that is no reason not to make it.
pub(super) fn open(warn: &dyn Fn(&str)) -> Result<OwnedFd> {
    match find_or_make() {
        Ok(namespace) => Ok(namespace),
        Err(error) => {
            warn(&format!("the skeleton mount namespace is made anew for this container: {error}"));
            make(Pin::No).map(|(namespace, _)| namespace)
        }
    }
}

fn find_or_make() -> Result<OwnedFd> {
    let dir = open_dir()?;
    if let Some(fd) = pinned(&dir)? {
        return Ok(fd);
    }
    let flags = libc::O_RDWR | libc::O_CREAT | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let lock = fs::open(dir.as_fd(), NAME, flags, 0o600).at(Stage::Namespace, || format!("open {PIN}"))?;
    if kind_of(&lock)? != libc::S_IFREG {
        return Err(Error::new(Stage::Namespace, format!("{PIN} is not a file")));
    }
    fs::lock(lock.as_fd(), libc::LOCK_EX).at(Stage::Namespace, || format!("lock {PIN}"))?;
    // Somebody else may have been faster.
    match pinned(&dir)? {
        Some(fd) => Ok(fd),
        None => make_and_pin(),
    }
}

/// A namespace may only be bound in an older one, and since Linux 6.18 their numbers come in batches per CPU: in a mount
/// namespace that is not the machine's first the order is right only on some CPUs, that on which it was made among
/// them. Where none of a few will do the last is used once and not kept: each attempt copies the host's mounts, and the
/// next container tries again, from the CPU that it is on.
fn make_and_pin() -> Result<OwnedFd> {
    const ATTEMPTS: usize = 8;
    let (mut namespace, mut pinned) = make(Pin::Here)?;
    for cpu in affinity::allowed_cpus().take(ATTEMPTS) {
        if pinned == Pinned::Yes {
            break;
        }
        (namespace, pinned) = make(Pin::From(cpu))?;
    }
    Ok(namespace)
}

/// Whether a namespace is to be bound, and from which CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin {
    No,
    Here,
    From(usize),
}

/// Whether a namespace could be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pinned {
    Yes,
    /// The skeleton is younger than ours by its number, or was not to be.
    No,
}

/// The namespace, if it is pinned in this mount namespace.
fn pinned(dir: &OwnedFd) -> Result<Option<OwnedFd>> {
    // O_NONBLOCK: a fifo must not make us wait.
    let file = match fs::open(dir.as_fd(), NAME, libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK, 0) {
        Err(Errno::ENOENT) => return Ok(None),
        result => result.at(Stage::Namespace, || format!("open {PIN}"))?,
    };
    let is_mount = namespace::kind(file.as_fd()).is_ok_and(|kind| kind == NamespaceKind::Mount.flag());
    Ok(is_mount.then_some(file))
}

/// Opens the directory, made first where it is missing. It must be root's alone: whoever could write there could give
/// containers another start.
fn open_dir() -> Result<OwnedFd> {
    let what = || format!("open {DIR}");
    let open = || fs::open(fs::CWD, DIR_PATH, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0);
    let dir = match open() {
        Err(Errno::ENOENT) => {
            match fs::mkdir(fs::CWD, DIR_PATH, 0o700) {
                Err(Errno::EEXIST) => {}
                result => result.at(Stage::Namespace, || format!("make {DIR}"))?,
            }
            open()
        }
        result => result,
    };
    let dir = dir.at(Stage::Namespace, what)?;
    let stat = fs::stat(dir.as_fd()).at(Stage::Namespace, what)?;
    if stat.st_uid != 0 || stat.st_mode & 0o022 != 0 {
        return Err(Error::new(Stage::Namespace, format!("{DIR} is not a directory that only root can write")));
    }
    Ok(dir)
}

fn kind_of(file: &OwnedFd) -> Result<u32> {
    let stat = fs::stat(file.as_fd()).at(Stage::Namespace, || format!("examine {PIN}"))?;
    Ok(fs::kind(&stat))
}

/// Makes the namespace in a child, and binds it over the pin.
fn make(how: Pin) -> Result<(OwnedFd, Pinned)> {
    let (ours, theirs) = socket::pair().at(Stage::Namespace, || "make a socket pair")?;
    match clone::clone3(&CloneArgs::default()).at(Stage::Namespace, || "clone3 for the skeleton mount namespace")? {
        Cloned::Child => {
            drop(ours);
            let errno = build(how).err().unwrap_or(Errno::from_raw(0));
            // The parent reads the errno, binds the namespace, and closes its end.
            let _ = socket::send(theirs.as_fd(), &(errno as i32).to_ne_bytes());
            let _ = fs::read(theirs.as_fd(), &mut [0]);
            process::exit(0)
        }
        Cloned::Parent(maker) => {
            drop(theirs);
            let pinned = pin(maker.pid, &ours, how);
            drop(ours);
            destroy(&maker).ok_or_else(|| sync_error("reap the maker of the skeleton mount namespace"))?;
            pinned
        }
    }
}

/// In the child: a mount namespace where a small tmpfs with a mount point takes the place of everything.
fn build(how: Pin) -> crate::sys::Result<()> {
    if let Pin::From(cpu) = how {
        // Where it fails this CPU is tried once more.
        let _ = affinity::stay_on_cpu(cpu);
    }
    process::unshare(NamespaceKind::Mount.flag() as i32)?;
    mount::mount(None, c"/", None, libc::MS_PRIVATE | libc::MS_REC, None)?;
    let params = [(c"source", c"brisk-skeleton"), (c"mode", c"0755"), (c"nr_inodes", c"16")];
    let tmpfs = mount::fs_new(c"tmpfs", &params, 0)?;
    let name = SKELETON_ROOT.to_bytes_with_nul().strip_prefix(b"/").unwrap_or(b"\0");
    let name = CStr::from_bytes_with_nul(name).map_err(|_| Errno::EINVAL)?;
    fs::mkdir(tmpfs.as_fd(), name, 0o755)?;
    let readonly = MountAttr { set: mount_attr::RDONLY, ..MountAttr::default() };
    mount::set_attr(tmpfs.as_fd(), 0, &readonly)?;
    // Any directory will do to attach it to; it becomes the root at once.
    let place = fs::open(fs::CWD, c"/proc", libc::O_PATH | libc::O_DIRECTORY, 0)?;
    mount::attach(tmpfs.as_fd(), place.as_fd())?;
    let old = fs::open(fs::CWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0)?;
    fs::fchdir(tmpfs.as_fd())?;
    mount::pivot_here()?;
    fs::fchdir(old.as_fd())?;
    mount::umount(c".", libc::MNT_DETACH)
}

fn pin(pid: i32, child: &OwnedFd, how: Pin) -> Result<(OwnedFd, Pinned)> {
    let mut word = [0; 4];
    let (len, _) =
        socket::receive(child.as_fd(), &mut word).at(Stage::Namespace, || "wait for the skeleton's maker")?;
    match i32::from_ne_bytes(word) {
        0 if len == 4 => {}
        errno => {
            return Err(Error::errno(Stage::Namespace, "build the skeleton mount namespace", Errno::from_raw(errno)));
        }
    }
    let what = || format!("pin the skeleton mount namespace at {PIN}");
    let path = format!("/proc/{pid}/ns/mnt");
    let namespace = fs::open_namespace(&path).at(Stage::Namespace, || format!("open {path}"))?;
    let source = CString::new(path.clone()).map_err(|_| sync_error("a NUL in the path of a namespace"))?;
    if how == Pin::No {
        return Ok((namespace, Pinned::No));
    }
    // mount(2): moving a detached copy of a mount namespace's file is refused (ELOOP).
    match mount::mount(Some(&source), PIN_PATH, None, libc::MS_BIND, None) {
        Err(Errno::EINVAL) => return Ok((namespace, Pinned::No)),
        result => result.at(Stage::Namespace, what)?,
    }
    // The mount above may be shared and must not spread it, nor may a recursive bind of /run copy it.
    mount::mount(None, PIN_PATH, None, libc::MS_UNBINDABLE, None).at(Stage::Namespace, what)?;
    Ok((namespace, Pinned::Yes))
}
