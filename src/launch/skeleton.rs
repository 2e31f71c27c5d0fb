//! The skeleton mount namespace: next to nothing, kept by one mount on the host.
//!
//! A new mount namespace is a copy of its maker's, and pivot_root with umount throws the copy away again: on a
//! host with thousands of mounts that is most of a container's start. A child that is cloned from a namespace
//! which holds a single read-only tmpfs copies that instead.
//!
//! The namespace lives as long as something refers to it: one nsfs bind mount at [`PIN`], outside of every
//! engine's root, private, and unbindable so that no container gets a copy of it. `umount` of it is all it
//! takes to drop it; the next container that wants one makes it again.

use std::ffi::{CStr, CString};
use std::fs::OpenOptions;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;

use super::running::{destroy, sync_error};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::namespace::NamespaceKind;
use crate::plan::rootfs::SKELETON_ROOT;
use crate::sys::mount;
use crate::sys::mount_attr::{self, MountAttr};
use crate::sys::process::{self, CloneArgs, Cloned};
use crate::sys::{affinity, fs, namespace, socket};

/// Directory of the pin; root's own.
const DIR: &str = "/run/brisk-skeleton";
/// The file the namespace is bound over.
pub const PIN: &str = "/run/brisk-skeleton/mnt";
const PIN_PATH: &CStr = c"/run/brisk-skeleton/mnt";

/// Opens the skeleton; makes and pins it first where there is none.
pub(super) fn open() -> Result<OwnedFd> {
    if let Some(fd) = pinned()? {
        return Ok(fd);
    }
    make_dir()?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let lock = options.open(PIN).at(Stage::Namespace, || format!("open {PIN}"))?;
    fs::lock(lock.as_fd(), libc::LOCK_EX).at(Stage::Namespace, || format!("lock {PIN}"))?;
    // Somebody else may have been faster.
    match pinned()? {
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
    let (mut namespace, mut kept) = make(None)?;
    for cpu in affinity::allowed_cpus().take(ATTEMPTS) {
        if kept == Pinned::Yes {
            break;
        }
        (namespace, kept) = make(Some(cpu))?;
    }
    Ok(namespace)
}

/// Whether a namespace could be bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pinned {
    Yes,
    /// It is younger than ours by its number.
    No,
}

/// The namespace, if it is pinned in this mount namespace.
fn pinned() -> Result<Option<OwnedFd>> {
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(PIN) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => OwnedFd::from(result.at(Stage::Namespace, || format!("open {PIN}"))?),
    };
    let is_mount = namespace::kind(file.as_fd()).is_ok_and(|kind| kind == NamespaceKind::Mount.flag());
    Ok(is_mount.then_some(file))
}

/// The directory must be root's alone: whoever could write there could give containers another start.
fn make_dir() -> Result<()> {
    let what = || format!("make {DIR}");
    match std::fs::DirBuilder::new().mode(0o700).create(DIR) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        result => result.at(Stage::Namespace, what)?,
    }
    let meta = Path::new(DIR).symlink_metadata().at(Stage::Namespace, what)?;
    if !meta.is_dir() || meta.uid() != 0 || meta.mode() & 0o022 != 0 {
        return Err(Error::new(Stage::Namespace, format!("{DIR} is not a directory that only root can write")));
    }
    Ok(())
}

/// Makes the namespace in a child, on this CPU, and binds it over the pin.
fn make(cpu: Option<usize>) -> Result<(OwnedFd, Pinned)> {
    let (ours, theirs) = socket::pair().at(Stage::Namespace, || "make a socket pair")?;
    match process::clone3(&CloneArgs::default()).at(Stage::Namespace, || "clone3 for the skeleton mount namespace")? {
        Cloned::Child => {
            drop(ours);
            let errno = build(cpu).err().unwrap_or(Errno::from_raw(0));
            // The parent reads the errno, binds the namespace, and closes its end.
            let _ = socket::send(theirs.as_fd(), &(errno as i32).to_ne_bytes());
            let _ = fs::read(theirs.as_fd(), &mut [0]);
            process::exit(0)
        }
        Cloned::Parent { pid, pidfd } => {
            drop(theirs);
            let pinned = pin(pid, &ours);
            drop(ours);
            destroy(pid, &pidfd).ok_or_else(|| sync_error("reap the maker of the skeleton mount namespace"))?;
            pinned
        }
    }
}

/// In the child: a mount namespace where a small tmpfs with a mount point takes the place of everything.
fn build(cpu: Option<usize>) -> crate::sys::Result<()> {
    if let Some(cpu) = cpu {
        // Where it fails this CPU is tried once more.
        let _ = affinity::stay_on_cpu(cpu);
    }
    process::unshare(NamespaceKind::Mount.flag() as i32)?;
    mount::mount(None, c"/", None, libc::MS_PRIVATE | libc::MS_REC, None)?;
    let context = mount::fs_open(c"tmpfs")?;
    mount::fs_set(context.as_fd(), c"source", Some(c"brisk-skeleton"))?;
    mount::fs_set(context.as_fd(), c"mode", Some(c"0755"))?;
    mount::fs_set(context.as_fd(), c"nr_inodes", Some(c"16"))?;
    mount::fs_create(context.as_fd())?;
    let tmpfs = mount::fs_mount(context.as_fd(), 0)?;
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

fn pin(pid: i32, child: &OwnedFd) -> Result<(OwnedFd, Pinned)> {
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
    let namespace = OwnedFd::from(std::fs::File::open(&path).at(Stage::Namespace, || format!("open {path}"))?);
    let source = CString::new(path.clone()).map_err(|_| sync_error("a NUL in the path of a namespace"))?;
    // mount(2): moving a detached copy of a mount namespace's file is refused (ELOOP).
    match mount::mount(Some(&source), PIN_PATH, None, libc::MS_BIND, None) {
        Err(Errno::EINVAL) => return Ok((namespace, Pinned::No)),
        result => result.at(Stage::Namespace, what)?,
    }
    // The mount above may be shared and must not spread it, nor may a recursive bind of /run copy it.
    mount::mount(None, PIN_PATH, None, libc::MS_UNBINDABLE, None).at(Stage::Namespace, what)?;
    Ok((namespace, Pinned::Yes))
}
