//! What the child has and becomes while it walks, and how an operation of it fails.

use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;

use crate::plan::Plan;
use crate::plan::rootfs::mount_op::{KeptIndex, MountSource};
use crate::sys::last_calls::Block;
use crate::sys::{descriptor, fs, mount, mount_attr};
use crate::wire;

/// Why an operation failed, with more about the object where the plan cannot say it.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(super) errno: Errno,
    pub(super) detail: [u8; wire::DETAIL_SIZE],
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Trouble { errno, detail: [0; wire::DETAIL_SIZE] }
    }
}

impl Trouble {
    /// Adds a text, cut where the record ends.
    pub(super) fn with(mut self, text: &[u8]) -> Self {
        let len = text.len().min(self.detail.len() - 1);
        self.detail[..len].copy_from_slice(&text[..len]);
        self
    }
}

pub(super) type Done = Result<(), Trouble>;

/// What the child inherits, all of it made by the parent before the clone.
#[derive(Debug)]
pub struct Inherited<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Descriptors below this number stay open: the standard streams and those to preserve.
    pub first_fd: u32,
    /// The numbers of all descriptors below, sorted. Everything else is the parent's: its end of the wire, which
    /// must not keep the child from seeing the parent's end, and the lock of the container.
    pub needed_fds: Vec<u32>,
    /// Our end of the wire.
    pub wire: OwnedFd,
    /// Namespaces to join, by index.
    pub namespaces: Vec<OwnedFd>,
    /// Trees the parent cloned, by index.
    pub trees: Vec<OwnedFd>,
    /// Room for mounts whose attributes are set later, by index.
    pub kept_mounts: Vec<Option<OwnedFd>>,
    /// Trees that come later ([`MountSource::Late`]), by index.
    pub late: Vec<Option<OwnedFd>>,
    /// User namespaces of id-mapped mounts, by index.
    pub idmaps: Vec<OwnedFd>,
    /// What takes the place of the caller's standard streams, by number.
    pub streams: [Option<OwnedFd>; 3],
    /// The connected console socket.
    pub console: Option<OwnedFd>,
    /// The start fifo, open for reading and writing.
    pub fifo: Option<OwnedFd>,
    /// The pidfd of the container's first process, for one more that joins it.
    pub init: Option<OwnedFd>,
    /// The second block and where it goes, where a template is started.
    pub second: Option<SecondBlock>,
    /// The socket by which we are sent a second block, both ends, as a template.
    pub pair: Option<(OwnedFd, OwnedFd)>,
    /// The table of the last system calls.
    pub block: Block,
    /// Where the program's path goes in the block.
    pub program_slot: u64,
    /// Where HOME goes in the block, and its room.
    pub home_slot: (u64, usize),
    /// Pointers to argv and environment of each hook, in the order of the operations.
    pub hooks: Vec<HookPointers>,
    /// Files for standard output and error of hooks.
    pub hook_output: [Option<OwnedFd>; 2],
    /// Room for reading files.
    pub scratch: &'static mut [u8],
    /// Where each operation's start time goes, in memory shared with the parent, when tracing.
    pub trace: Option<crate::sys::shared::Times>,
    /// Tells the parent how far we are.
    pub progress: &'static crate::sys::shared::Progress,
}

/// What a template's process waits for, on its way.
#[derive(Debug)]
pub struct SecondBlock {
    /// Where it is sent.
    pub sender: OwnedFd,
    /// The file that the block is in.
    pub file: OwnedFd,
}

/// NULL-terminated arrays of argv and environment, built by the parent.
#[derive(Debug)]
pub struct HookPointers {
    /// argv.
    pub args: Vec<*const c_char>,
    /// Environment.
    pub env: Vec<*const c_char>,
}

/// Who may enter the working directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CwdBy {
    /// The container's root.
    Root,
    /// Only the program's user.
    User,
}

/// The child's state while it walks.
pub(super) struct Child<'a> {
    pub(super) inherited: Inherited<'a>,
    pub(super) root: Option<OwnedFd>,
    /// Device and inode of the root.
    pub(super) root_file: Option<(u64, u64)>,
    pub(super) dir: Option<OwnedFd>,
    pub(super) procfs: Option<OwnedFd>,
    pub(super) empty_dir: Option<OwnedFd>,
    pub(super) null: Option<OwnedFd>,
    pub(super) next_hook: usize,
    /// What hooks get: the caller's until the container's is set. Ours is 0.
    pub(super) umask: u32,
    /// Types of namespaces that were joined, `CLONE_NEW*`.
    pub(super) joined: u64,
    /// What was asked for last.
    pub(super) asked: Option<OwnedFd>,
    /// File systems of joined namespaces, in the order of [`crate::plan::namespace::NamespaceFs`].
    pub(super) namespace_fs: [Option<OwnedFd>; 2],
    /// What a hook that failed has said.
    pub(super) said: Option<OwnedFd>,
    /// No mount that we were born with is shared any more.
    pub(super) unshared: bool,
    /// open_tree_attr(2) has not failed yet.
    pub(super) clones_with_attributes: bool,
    /// Descriptors that are done with.
    pub(super) spent: Spent,
    /// The directory that we were started in, while we are in a mount that is kept.
    pub(super) started_in: Option<OwnedFd>,
    /// The working directory, and whose rights it took to enter it.
    pub(super) cwd: Option<(OwnedFd, CwdBy)>,
    /// `start` has said go: its end of the fifo is the only one that anybody listens to.
    pub(super) told_to_start: bool,
}

impl<'a> Child<'a> {
    pub(super) fn new(inherited: Inherited<'a>) -> Child<'a> {
        Child {
            inherited,
            root: None,
            root_file: None,
            dir: None,
            procfs: None,
            empty_dir: None,
            null: None,
            next_hook: 0,
            umask: 0,
            joined: 0,
            asked: None,
            namespace_fs: [None, None],
            said: None,
            unshared: false,
            clones_with_attributes: true,
            spent: Spent::default(),
            started_in: None,
            cwd: None,
            told_to_start: false,
        }
    }

    pub(super) fn root(&self) -> Result<BorrowedFd<'_>, Trouble> {
        self.root.as_ref().map(AsFd::as_fd).ok_or_else(|| Errno::EBADF.into())
    }

    pub(super) fn dir(&self) -> Result<BorrowedFd<'_>, Trouble> {
        self.dir.as_ref().map(AsFd::as_fd).ok_or_else(|| Errno::EBADF.into())
    }

    /// The directory of ours that the operation works in, and the name in it.
    pub(super) fn within<'p>(&self, within: Option<KeptIndex>, path: &'p CStr) -> Option<(BorrowedFd<'_>, &'p CStr)> {
        let dir = self.inherited.kept_mounts.get(within?.0)?.as_ref()?;
        let start = path.to_bytes().iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
        Some((dir.as_fd(), &path[start..]))
    }

    /// Whether `place`, with what fstat(2) says of it, is the root itself: the mount as well, for the directory may be
    /// bound somewhere in it.
    pub(super) fn is_root(&mut self, place: BorrowedFd<'_>, stat: &libc::stat) -> Result<bool, Trouble> {
        let root_file = match self.root_file {
            Some(file) => file,
            None => {
                let stat = fs::stat(self.root()?)?;
                *self.root_file.insert((stat.st_dev, stat.st_ino))
            }
        };
        Ok((stat.st_dev, stat.st_ino) == root_file && fs::mount_number(place)? == fs::mount_number(self.root()?)?)
    }

    /// What is mounted on the root is the root from now on: what follows is done in it, and it is what is entered.
    pub(super) fn root_is(&mut self, mounted: OwnedFd) {
        self.root = Some(mounted);
        self.root_file = None;
    }

    pub(super) fn tree(&self, source: &MountSource) -> Result<OwnedFd, Trouble> {
        let tree = match source {
            MountSource::Path(_) => None,
            MountSource::Tree(index) => self.inherited.trees.get(index.0),
            MountSource::Late(index) => self.inherited.late.get(index.0).and_then(Option::as_ref),
            MountSource::Asked => self.asked.as_ref(),
            MountSource::NamespaceFs(made) => self.namespace_fs.get(*made as usize).and_then(Option::as_ref),
        };
        Ok(descriptor::dup(tree.ok_or(Errno::EBADF)?.as_fd(), 3)?)
    }
}

/// Descriptors that are done with, to be closed together: while their numbers are low, for the caller's limit may be 32.
#[derive(Default)]
pub(super) struct Spent {
    files: [Option<OwnedFd>; 8],
    count: usize,
}

impl Spent {
    const HIGH: RawFd = 24;

    pub(super) fn add(&mut self, file: OwnedFd) {
        let high = file.as_raw_fd() >= Self::HIGH;
        self.files[self.count] = Some(file);
        self.count += 1;
        if high || self.count == self.files.len() {
            descriptor::close_all(&mut self.files);
            self.count = 0;
        }
    }
}

/// One empty read-only tmpfs, cloned for every masked directory.
pub(super) fn empty_directory(label: Option<&CStr>) -> Result<OwnedFd, Trouble> {
    let context = mount::fs_open(c"tmpfs")?;
    mount::fs_set(context.as_fd(), c"source", Some(c"tmpfs"))?;
    mount::fs_set(context.as_fd(), c"mode", Some(c"0755"))?;
    // Kernels of Ubuntu that have AUFS's patch refuse 1 (runc 1.5.1).
    mount::fs_set(context.as_fd(), c"nr_inodes", Some(c"2"))?;
    mount::fs_set(context.as_fd(), c"nr_blocks", Some(c"1"))?;
    if let Some(label) = label {
        mount::fs_set(context.as_fd(), c"context", Some(label))
            .map_err(|errno| Trouble::from(errno).with(b"context"))?;
    }
    Ok(mount::fs_make(context.as_fd(), mount_attr::RDONLY)?)
}

/// Mounts a proc file system of our own, detached: nobody else can put anything on it (CVE-2025-52881).
pub(super) fn private_procfs() -> Result<OwnedFd, Trouble> {
    match mount::fs_new(c"proc", &[], 0) {
        // The pid namespace belongs to a user namespace above ours, as with an ordinary user's `--pid host`.
        Err(Errno::EPERM) => mounted_procfs(),
        made => Ok(made?),
    }
}

/// The proc that is mounted: really a proc, and its root. What is below is opened without crossing a mount.
pub(super) fn mounted_procfs() -> Result<OwnedFd, Trouble> {
    /// PROC_ROOT_INO of include/linux/proc_fs.h
    const ROOT: libc::ino_t = 1;
    let place = fs::open(fs::CWD, c"/proc", libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
    if fs::fs_magic(place.as_fd())? == libc::PROC_SUPER_MAGIC && fs::stat(place.as_fd())?.st_ino == ROOT {
        Ok(place)
    } else {
        Err(Errno::EPERM.into())
    }
}
