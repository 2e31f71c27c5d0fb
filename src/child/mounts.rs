//! Mounts below the root: a detached tree with its final attributes, then attached to a descriptor.
//!
//! Not trusted: where a destination leads to, through links of the image or of a volume: it is resolved once, to a
//! descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::copy;
use super::state::{Child, Done, Trouble};
use crate::plan::reach::Reach;
use crate::plan::rootfs::mount_op::{
    CopyUp, HostTree, LateIndex, MountIdMap, MountKind, MountOp, MountSource, NewFileSystem, TmpfsMode,
};
use crate::plan::rootfs::options::{LOCKABLE, Propagation};
use crate::sys::mount_attr::{self, MountAttr};
use crate::sys::path::{Missing, make_missing, resolve, resolve_or_make};
use crate::sys::{descriptor, fs, mount};

/// fsconfig(2) takes strings of up to 255 bytes.
const FSCONFIG_MAX: usize = 255;

impl Child<'_> {
    pub(super) fn mount(&mut self, op: &MountOp) -> Done {
        let extra = if op.no_follow { libc::O_NOFOLLOW } else { 0 };
        let mounted = match &op.what {
            MountKind::New(new) if self.mount_within(op, new)? => return Ok(()),
            MountKind::New(new) => return self.mount_new(op, new, extra),
            MountKind::Bind { source, reach, end, .. } => {
                let tree = match self.source_with(source, *reach, end.flag(), op) {
                    Some(tree) => tree,
                    None => {
                        let tree = self.source(source, reach.flag() | end.flag())?;
                        attributes(tree.as_fd(), op)?;
                        tree
                    }
                };
                self.bind(op, tree, extra)?
            }
            MountKind::BindOrLink { source, reach } => {
                let mut buf = [0; libc::PATH_MAX as usize];
                match fs::readlink(fs::CWD, source, &mut buf[..libc::PATH_MAX as usize - 1]) {
                    Ok(_) => return self.copy_link(&op.dest, &buf),
                    Err(Errno::EINVAL) => {}
                    Err(errno) => return Err(errno.into()),
                }
                let tree = mount::clone_tree(fs::CWD, source, reach.flag())?;
                attributes(tree.as_fd(), op)?;
                self.bind(op, tree, extra)?
            }
            MountKind::Remount { params } => {
                let fd = resolve(self.root()?, &op.dest, extra)?;
                if !params.is_empty() {
                    let context = mount::fs_pick(fd.as_fd())?;
                    set_params(context.as_fd(), params)?;
                    mount::fs_reconfigure(context.as_fd()).map_err(|errno| explain(errno, context.as_fd()))?;
                }
                attributes(fd.as_fd(), op)?;
                fd
            }
        };
        propagate(mounted.as_fd(), op)?;
        if op.dest.is_empty() {
            self.root_is(mounted);
        } else {
            self.spent.add(mounted);
        }
        Ok(())
    }

    pub(super) fn source(&self, source: &MountSource, flags: u32) -> Result<OwnedFd, Trouble> {
        match source {
            MountSource::Path(path) => {
                mount::clone_tree(fs::CWD, path, flags).map_err(|errno| Trouble::from(errno).with(b"source"))
            }
            cloned => self.tree(cloned),
        }
    }

    /// A source of the host, while its mounts are seen.
    pub(super) fn clone_late(&mut self, tree: &HostTree, late: LateIndex) -> Done {
        let tree = mount::clone_tree(fs::CWD, &tree.path, tree.reach.flag() | tree.end.flag())?;
        *self.inherited.late.get_mut(late.0).ok_or(Errno::EBADF)? = Some(tree);
        Ok(())
    }

    /// The source with its attributes at once, where they are those of all that is cloned. If that fails, two calls say what
    /// was wrong.
    fn source_with(&mut self, source: &MountSource, reach: Reach, link: u32, op: &MountOp) -> Option<OwnedFd> {
        let MountSource::Path(path) = source else { return None };
        let one = reach == Reach::One && op.recursive == MountAttr::default() && op.attr != MountAttr::default();
        if !one || !self.clones_with_attributes {
            return None;
        }
        let tree = mount::clone_tree_with(fs::CWD, path, link, &op.attr);
        self.clones_with_attributes = tree.is_ok();
        tree.ok()
    }

    fn bind(&mut self, op: &MountOp, tree: OwnedFd, extra: i32) -> Result<OwnedFd, Trouble> {
        self.idmap(tree.as_fd(), op)?;
        if self.attach_within(op, tree.as_fd())? {
            return Ok(tree);
        }
        let is_dir = fs::kind(&fs::stat(tree.as_fd())?) == libc::S_IFDIR;
        let missing = if is_dir { Missing::Directory } else { Missing::File };
        let place = resolve_or_make(self.root()?, &op.dest, missing, 0o755, extra)?;
        let stat = fs::stat(place.as_fd())?;
        self.check_place(place.as_fd(), &stat, op)?;
        // move_mount(2) says EINVAL for it, which engines cannot explain.
        if is_dir != (fs::kind(&stat) == libc::S_IFDIR) {
            return Err(Errno::ENOTDIR.into());
        }
        mount::attach(tree.as_fd(), place.as_fd())?;
        self.spent.add(place);
        Ok(tree)
    }

    /// Attaches the tree of a directory in a tmpfs of ours. False: the name is taken, or the tree is no directory; the way
    /// by the path knows what to do.
    fn attach_within(&self, op: &MountOp, tree: BorrowedFd<'_>) -> Result<bool, Trouble> {
        let Some((dir, name)) = self.within(op.within, &op.dest) else { return Ok(false) };
        if fs::mkdir(dir, name, 0o755).is_err() {
            return Ok(false);
        }
        match mount::attach_at(tree, dir, name) {
            Err(Errno::ENOTDIR | Errno::EINVAL) => {
                fs::unlink(dir, name, libc::AT_REMOVEDIR)?;
                Ok(false)
            }
            attached => Ok(attached.map(|()| true)?),
        }
    }

    /// A new file system in a tmpfs of ours, by one call where that can say all: mount(2) takes a path, and from inside the
    /// tmpfs this one is a name that we have just made. False: it did not come to that; the way by the path knows why.
    fn mount_within(&mut self, op: &MountOp, new: &NewFileSystem) -> Result<bool, Trouble> {
        let NewFileSystem { kind, source, flags, data, label: None, .. } = new else { return Ok(false) };
        let Some((dir, name)) = self.within(op.within, &op.dest) else { return Ok(false) };
        if fs::mkdir(dir, name, 0o755).is_err() {
            return Ok(false);
        }
        if self.started_in.is_none() {
            let Ok(here) = fs::open(fs::CWD, c".", libc::O_PATH | libc::O_DIRECTORY, 0) else { return Ok(false) };
            self.started_in = Some(here);
        }
        let Some((dir, name)) = self.within(op.within, &op.dest) else { return Ok(false) };
        fs::fchdir(dir)?;
        Ok(mount::mount(Some(source), name, Some(kind), flags | mount_attr::ms_flags(op.attr.set), Some(data)).is_ok())
    }

    fn idmap(&self, tree: BorrowedFd<'_>, op: &MountOp) -> Done {
        let Some(MountIdMap { userns, reach }) = op.idmap else { return Ok(()) };
        let userns = self.inherited.idmaps.get(userns.0).ok_or(Errno::EBADF)?;
        mount::set_id_map(tree, reach.flag(), userns.as_fd()).map_err(|errno| Trouble::from(errno).with(b"id mapping"))
    }

    /// Where a new file system is mounted, and the permissions of that which it takes over.
    fn place_of_new(
        &mut self,
        op: &MountOp,
        new: &NewFileSystem,
        extra: i32,
    ) -> Result<(OwnedFd, Option<u32>), Trouble> {
        match resolve(self.root()?, &op.dest, extra) {
            Ok(fd) => {
                let stat = fs::stat(fd.as_fd())?;
                if fs::kind(&stat) != libc::S_IFDIR {
                    // A link is not followed here on purpose; anything else cannot hold a file system.
                    return Err(if fs::kind(&stat) == libc::S_IFLNK {
                        Trouble::from(Errno::ELOOP).with(b"must be mounted on ordinary directory")
                    } else {
                        Errno::ENOTDIR.into()
                    });
                }
                self.check_place(fd.as_fd(), &stat, op)?;
                Ok((fd, (new.mode == TmpfsMode::OfMountPoint).then_some(stat.st_mode & 0o7777)))
            }
            Err(Errno::ENOENT) => {
                let made = make_missing(self.root()?, &op.dest, Missing::Directory, 0o755, extra)?;
                check_proc(fs::fs_magic(made.as_fd())?, op)?;
                Ok((made, None))
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn mount_new(&mut self, op: &MountOp, new: &NewFileSystem, extra: i32) -> Done {
        let (place, mode) = self.place_of_new(op, new, extra)?;
        let any_value = |is: fn(&CStr) -> bool| new.params.iter().any(|(_, value)| value.as_deref().is_some_and(is));
        let is_long = |value: &CStr| value.count_bytes() > FSCONFIG_MAX;
        let long = is_long(&new.source) || any_value(is_long);
        // fsconfig(2) has no names for these.
        let classic = new.flags & (libc::MS_SILENT | libc::MS_I_VERSION) != 0;
        let context = if long || classic { Err(Errno::ENOSYS) } else { mount::fs_open(&new.kind) };
        let fresh = match context {
            Ok(context) => {
                let made = fs_context(context.as_fd(), new, op.attr.set, mode);
                self.spent.add(context);
                match made {
                    // A file system that knows no fsopen(2) (overlayfs before Linux 6.5) is given no value with a comma by it.
                    Err(told)
                        if told.errno == Errno::EINVAL
                            && op.idmap.is_none()
                            && any_value(|value| value.to_bytes().contains(&b',')) =>
                    {
                        let mounted = self.mount_classic(op, new, place.as_fd(), mode).map_err(|_| told)?;
                        return self.keep(op, mounted);
                    }
                    made => made?,
                }
            }
            // Values that fsconfig(2) cannot take; and a filter of the caller's may say that there is no fsopen(2).
            Err(Errno::ENOSYS) => {
                let mounted = self.mount_classic(op, new, place.as_fd(), mode)?;
                return self.keep(op, mounted);
            }
            Err(errno) => return Err(errno.into()),
        };
        if let Some(label) = &new.label {
            let root = fs::open(fresh.as_fd(), c".", libc::O_RDONLY | libc::O_DIRECTORY, 0)?;
            fs::set_selinux_label(root.as_fd(), label).map_err(|errno| Trouble::from(errno).with(b"label"))?;
        }
        if new.copy_up == CopyUp::Yes {
            copy::tree(place.as_fd(), fresh.as_fd(), self.inherited.scratch)?;
        }
        // After what was written to it: it may be read-only.
        if op.recursive != MountAttr::default() {
            mount::set_attr(fresh.as_fd(), 0, &op.recursive)?;
        }
        self.idmap(fresh.as_fd(), op)?;
        mount::attach(fresh.as_fd(), place.as_fd())?;
        propagate(fresh.as_fd(), op)?;
        self.spent.add(place);
        self.keep(op, fresh)
    }

    /// A link of the image may not put a mount in the place of the whole root, which nobody but config.json may, not
    /// into proc, which is never on the root's own file system, and not where devices are made.
    fn check_place(&mut self, place: BorrowedFd<'_>, stat: &libc::stat, op: &MountOp) -> Done {
        if !op.dest.is_empty() && self.is_root(place, stat)? {
            return Err(Trouble::from(Errno::EPERM).with(b"the destination leads to the root itself"));
        }
        if !self.is_on_roots_device(stat) {
            let magic = fs::fs_magic(place)?;
            check_proc(magic, op)?;
            // Nothing is made in a sysfs; the hierarchies of cgroups are mounted there at every start.
            if magic == libc::SYSFS_MAGIC {
                return Ok(());
            }
        }
        if fs::kind(stat) == libc::S_IFDIR { self.check_devices(stat, op) } else { Ok(()) }
    }

    /// By what [`Child::is_root`] has looked at.
    fn is_on_roots_device(&self, stat: &libc::stat) -> bool {
        self.root_file.is_some_and(|(dev, _)| dev == stat.st_dev)
    }

    /// See [`MountOp::keeps_off`].
    fn check_devices(&self, stat: &libc::stat, op: &MountOp) -> Done {
        for dir in &op.keeps_off {
            if dir.apart && self.is_on_roots_device(stat) {
                continue;
            }
            let found = match resolve(self.root()?, &dir.path, 0) {
                // The image may have none yet, or something that will not do.
                Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => continue,
                found => fs::stat(found?.as_fd())?,
            };
            if (found.st_dev, found.st_ino) == (stat.st_dev, stat.st_ino) {
                return Err(Trouble::from(Errno::EPERM).with(b"the destination leads to where devices are made"));
            }
        }
        Ok(())
    }

    /// Keeps the mount for what is set later.
    fn keep(&mut self, op: &MountOp, mounted: OwnedFd) -> Done {
        if op.dest.is_empty() {
            self.root_is(descriptor::dup(mounted.as_fd(), 3)?);
        }
        match op.kept {
            Some(kept) => *self.inherited.kept_mounts.get_mut(kept.0).ok_or(Errno::EBADF)? = Some(mounted),
            None => self.spent.add(mounted),
        }
        Ok(())
    }

    /// mount(2), which takes a path: on a directory of our own that nobody else can reach, from where the finished mount is
    /// moved to its place by descriptor. What another container does to a shared volume meanwhile changes nothing of it.
    fn mount_classic(
        &mut self,
        op: &MountOp,
        new: &NewFileSystem,
        place: BorrowedFd<'_>,
        mode: Option<u32>,
    ) -> Result<OwnedFd, Trouble> {
        const NAME: &CStr = c"m";
        if op.idmap.is_some() {
            // Only what is in no mount namespace can be mapped.
            return Err(
                Trouble::from(Errno::EINVAL).with(b"an id mapping needs fsopen(2), which cannot take these options")
            );
        }
        let NewFileSystem { kind, source, flags, data, copy_up, .. } = new;
        // Over our root, where no path leads to it.
        let tmpfs = mount::fs_new(c"tmpfs", &[], 0)?;
        let root = fs::open(fs::CWD, c"/", libc::O_PATH | libc::O_DIRECTORY, 0)?;
        mount::attach(tmpfs.as_fd(), root.as_fd())?;
        fs::mkdir(tmpfs.as_fd(), NAME, 0o700)?;
        let dir = fs::open(tmpfs.as_fd(), NAME, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
        fs::fchdir(dir.as_fd())?;
        mount::mount(Some(source), c".", Some(kind), flags | mount_attr::ms_flags(op.attr.set), Some(data))?;
        let mounted = fs::open(tmpfs.as_fd(), NAME, libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)?;
        if let Some(mode) = mode {
            fs::chmod_at(mounted.as_fd(), c".", mode)?;
        }
        if *copy_up == CopyUp::Yes {
            copy::tree(place, mounted.as_fd(), self.inherited.scratch)?;
        }
        // Last: it may be read-only.
        if op.recursive != MountAttr::default() {
            mount::set_attr(mounted.as_fd(), 0, &op.recursive)?;
        }
        mount::attach(mounted.as_fd(), place)?;
        fs::fchdir(tmpfs.as_fd())?;
        mount::umount(c".", libc::MNT_DETACH)?;
        fs::chdir(c"/")?;
        propagate(mounted.as_fd(), op)?;
        Ok(mounted)
    }

    fn copy_link(&self, dest: &CStr, target: &[u8]) -> Done {
        let bytes = dest.to_bytes();
        let mut parent = [0; libc::PATH_MAX as usize];
        let cut = bytes.iter().rposition(|&b| b == b'/');
        let (dir, name) = match cut {
            Some(at) if at < parent.len() => {
                parent[..at].copy_from_slice(&bytes[..at]);
                (CStr::from_bytes_until_nul(&parent).unwrap_or(c"."), &dest[at + 1..])
            }
            _ => (c".", dest),
        };
        let dir = resolve_or_make(self.root()?, dir, Missing::Directory, 0o755, libc::O_DIRECTORY)?;
        let target = CStr::from_bytes_until_nul(target).map_err(|_| Errno::ENAMETOOLONG)?;
        match fs::symlink(target, dir.as_fd(), name) {
            Err(Errno::EEXIST) => {
                let mut buf = [0; libc::PATH_MAX as usize];
                let same = fs::readlink(dir.as_fd(), name, &mut buf).is_ok_and(|found| found == target.to_bytes());
                if same { Ok(()) } else { Err(Errno::EEXIST.into()) }
            }
            result => Ok(result?),
        }
    }
}

/// A link of the image may not lead a mount into proc: what stands there could take the place of the files
/// that labels and parameters are written to (CVE-2019-16884). `plan` has checked the paths that say so.
fn check_proc(magic: i64, op: &MountOp) -> Done {
    let dest = op.dest.to_bytes();
    if dest != b"proc" && !dest.starts_with(b"proc/") && magic == libc::PROC_SUPER_MAGIC {
        return Err(Trouble::from(Errno::EPERM).with(b"the destination leads into proc"));
    }
    Ok(())
}

/// A new file system that is nowhere yet, its type as its source.
pub(super) fn detached(kind: &CStr) -> crate::sys::Result<OwnedFd> {
    mount::fs_new(kind, &[(c"source", kind)], 0)
}

fn set_params(context: BorrowedFd<'_>, params: &[(CString, Option<CString>)]) -> Done {
    for (key, value) in params {
        let result = mount::fs_set(context, key, value.as_deref());
        result.map_err(|errno| explain(errno, context).or(key.to_bytes()))?;
    }
    Ok(())
}

fn fs_context(context: BorrowedFd<'_>, new: &NewFileSystem, attr: u64, mode: Option<u32>) -> Result<OwnedFd, Trouble> {
    mount::fs_set(context, c"source", Some(&new.source))?;
    if let Some(mode) = mode {
        mount::fs_set(context, c"mode", Some(octal(mode, &mut [0; 8])))?;
    }
    set_params(context, &new.params)?;
    mount::fs_make(context, attr).map_err(|errno| explain(errno, context))
}

impl Trouble {
    /// Keeps the detail there is, else takes this.
    fn or(self, text: &[u8]) -> Self {
        if self.detail[0] == 0 { self.with(text) } else { self }
    }
}

/// What the kernel wrote into the context's log: `e tmpfs: Bad value for 'size'`.
pub(super) fn explain(errno: Errno, context: BorrowedFd<'_>) -> Trouble {
    let mut log = [0; 112];
    match fs::read(context, &mut log) {
        Ok(len) if len > 2 => Trouble::from(errno).with(log[2..len].trim_ascii_end()),
        _ => errno.into(),
    }
}

/// Octal digits without allocation.
fn octal(mode: u32, buf: &mut [u8; 8]) -> &CStr {
    for (i, digit) in buf[..5].iter_mut().enumerate() {
        *digit = b'0' + ((mode >> (3 * (4 - i))) & 7) as u8;
    }
    CStr::from_bytes_until_nul(buf).unwrap_or(c"0755")
}

/// Sets what the operation asks for, before the mount can be seen.
fn attributes(tree: BorrowedFd<'_>, op: &MountOp) -> Done {
    if op.attr != MountAttr::default() {
        own_attributes(tree, op).map_err(|errno| Trouble::from(errno).with(b"attributes"))?;
    }
    // After them, as in runc: of the mount itself, too, they clear nothing that was asked for all of the tree.
    if op.recursive != MountAttr::default() {
        mount::set_attr(tree, mount::RECURSIVE, &op.recursive)?;
    }
    Ok(())
}

/// Flags that were not named stay where the kernel does not let us clear them: locked ones in a user namespace
/// (mount_namespaces(7)), and nosymfollow before Linux 5.14.
fn own_attributes(tree: BorrowedFd<'_>, op: &MountOp) -> crate::sys::Result<()> {
    let mut attr = op.attr;
    loop {
        let set = mount::set_attr(tree, 0, &attr);
        let stay = match set {
            Err(Errno::EPERM) => LOCKABLE,
            Err(Errno::EINVAL) => mount_attr::NOSYMFOLLOW,
            _ => return set,
        };
        if op.unnamed & attr.clear & stay == 0 {
            return set;
        }
        attr.clear &= !(op.unnamed & stay);
    }
}

fn propagate(mounted: BorrowedFd<'_>, op: &MountOp) -> Done {
    for Propagation { flag, reach } in &op.propagation {
        let attr = MountAttr { propagation: *flag, ..MountAttr::default() };
        mount::set_attr(mounted, reach.flag(), &attr).map_err(|errno| Trouble::from(errno).with(b"propagation"))?;
    }
    Ok(())
}
