//! Mount options: one table from the option strings of config.json to the kernel's numbers.
//!
//! `features` prints its `mountOptions` from the same table. Options the table does not know are data for
//! the file system. Pure; runs in the parent.

use libc::{
    MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_PRIVATE, MS_RDONLY, MS_REC, MS_SHARED, MS_SILENT, MS_SLAVE,
    MS_SYNCHRONOUS, MS_UNBINDABLE,
};

use crate::error::Result;

use crate::plan::rootfs::options_idmap;
pub use crate::plan::rootfs::options_idmap::{Idmap, IdmapRange};
use crate::sys::mount_attr as attr;

/// Whether an option reaches the mounts below, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// This mount only.
    Plain,
    /// This mount and all below it.
    Recursive,
}

/// `bind` is [`Depth::Plain`], `rbind` is [`Depth::Recursive`].
pub type Bind = Depth;

/// One change of propagation; several apply in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE: also what mount_setattr(2) takes.
    pub flag: u64,
    /// The `r` of `rslave`.
    pub depth: Depth,
}

impl Propagation {
    /// The propagation an option string names, if it names one.
    pub fn parse(name: &str) -> Option<Self> {
        match find(name) {
            Some(Effect::Propagation(propagation)) => Some(propagation),
            _ => None,
        }
    }

    /// The flags for mount(2).
    pub fn ms_flags(self) -> u64 {
        match self.depth {
            Depth::Plain => self.flag,
            Depth::Recursive => self.flag | MS_REC,
        }
    }
}

/// The options of one mount as numbers. Of two options that contradict each other the later one wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountOptions {
    /// MOUNT_ATTR_* to set on this mount.
    pub attr_set: u64,
    /// MOUNT_ATTR_* to clear on this mount; holds all of the access-time field when that is set or cleared.
    pub attr_clr: u64,
    /// MOUNT_ATTR_* to set on this mount and all below it.
    pub rec_set: u64,
    /// MOUNT_ATTR_* to clear on this mount and all below it.
    pub rec_clr: u64,
    /// MS_* superblock flags to set. `ro` is here and in `attr_set`: a bind mount uses the latter only.
    pub sb_set: u64,
    /// MS_* superblock flags to clear.
    pub sb_clr: u64,
    /// Changes of propagation, in order.
    pub propagation: Vec<Propagation>,
    /// A bind mount.
    pub bind: Option<Bind>,
    /// Change an existing mount.
    pub remount: bool,
    /// Copy what the mount hides into the new tmpfs.
    pub tmpcopyup: bool,
    /// An id-mapped mount.
    pub idmap: Option<Idmap>,
    /// Do not follow a link as the last component of the source.
    pub src_nofollow: bool,
    /// Do not follow a link as the last component of the destination.
    pub dest_nofollow: bool,
    /// Recreate a source that is a link instead of mounting what it points to.
    pub copy_symlink: bool,
    /// What the table does not know: data of the file system, in order.
    pub data: Vec<String>,
}

/// What one option string does.
#[derive(Clone, Copy)]
enum Effect {
    Nothing,
    SetAttr(Depth, u64),
    ClearAttr(Depth, u64),
    SetAtime(Depth, u64),
    ClearAtime(Depth, u64),
    SetSuper(u64),
    ClearSuper(u64),
    ReadOnly,
    ReadWrite,
    Propagation(Propagation),
    Bind(Depth),
    Idmap(Depth),
    Remount,
    TmpCopyUp,
    SrcNoFollow,
    DestNoFollow,
    CopySymlink,
}

const fn propagation(flag: u64, depth: Depth) -> Effect {
    Effect::Propagation(Propagation { flag, depth })
}

use Depth::{Plain, Recursive};
use Effect::{ClearAtime, ClearAttr, ClearSuper, SetAtime, SetAttr, SetSuper};

/// Every option, sorted (it is searched by bisection). The names are those of the specification's table and
/// of runc, then crun's `copy-symlink`, `*-nofollow` and recursive superblock flags. A superblock flag holds
/// for the whole file system, so its recursive form means the same as the plain one.
///
/// "acl" is missing on purpose: MS_POSIXACL is not for user space.
const TABLE: &[(&str, Effect)] = &[
    ("async", ClearSuper(MS_SYNCHRONOUS)),
    ("atime", ClearAtime(Plain, attr::NOATIME)),
    ("bind", Effect::Bind(Plain)),
    ("copy-symlink", Effect::CopySymlink),
    ("defaults", Effect::Nothing),
    ("dest-nofollow", Effect::DestNoFollow),
    ("dev", ClearAttr(Plain, attr::NODEV)),
    ("diratime", ClearAttr(Plain, attr::NODIRATIME)),
    ("dirsync", SetSuper(MS_DIRSYNC)),
    ("exec", ClearAttr(Plain, attr::NOEXEC)),
    ("idmap", Effect::Idmap(Plain)),
    ("iversion", SetSuper(MS_I_VERSION)),
    ("lazytime", SetSuper(MS_LAZYTIME)),
    ("loud", ClearSuper(MS_SILENT)),
    ("mand", SetSuper(MS_MANDLOCK)),
    ("noatime", SetAtime(Plain, attr::NOATIME)),
    ("nodev", SetAttr(Plain, attr::NODEV)),
    ("nodiratime", SetAttr(Plain, attr::NODIRATIME)),
    ("noexec", SetAttr(Plain, attr::NOEXEC)),
    ("noiversion", ClearSuper(MS_I_VERSION)),
    ("nolazytime", ClearSuper(MS_LAZYTIME)),
    ("nomand", ClearSuper(MS_MANDLOCK)),
    ("norelatime", ClearAtime(Plain, attr::RELATIME)),
    ("nostrictatime", ClearAtime(Plain, attr::STRICTATIME)),
    ("nosuid", SetAttr(Plain, attr::NOSUID)),
    ("nosymfollow", SetAttr(Plain, attr::NOSYMFOLLOW)),
    ("private", propagation(MS_PRIVATE, Plain)),
    ("rasync", ClearSuper(MS_SYNCHRONOUS)),
    ("ratime", ClearAtime(Recursive, attr::NOATIME)),
    ("rbind", Effect::Bind(Recursive)),
    ("rdev", ClearAttr(Recursive, attr::NODEV)),
    ("rdiratime", ClearAttr(Recursive, attr::NODIRATIME)),
    ("rdirsync", SetSuper(MS_DIRSYNC)),
    ("relatime", SetAtime(Plain, attr::RELATIME)),
    ("remount", Effect::Remount),
    ("rexec", ClearAttr(Recursive, attr::NOEXEC)),
    ("ridmap", Effect::Idmap(Recursive)),
    ("rmand", SetSuper(MS_MANDLOCK)),
    ("rnoatime", SetAtime(Recursive, attr::NOATIME)),
    ("rnodev", SetAttr(Recursive, attr::NODEV)),
    ("rnodiratime", SetAttr(Recursive, attr::NODIRATIME)),
    ("rnoexec", SetAttr(Recursive, attr::NOEXEC)),
    ("rnomand", ClearSuper(MS_MANDLOCK)),
    ("rnorelatime", ClearAtime(Recursive, attr::RELATIME)),
    ("rnostrictatime", ClearAtime(Recursive, attr::STRICTATIME)),
    ("rnosuid", SetAttr(Recursive, attr::NOSUID)),
    ("rnosymfollow", SetAttr(Recursive, attr::NOSYMFOLLOW)),
    ("ro", Effect::ReadOnly),
    ("rprivate", propagation(MS_PRIVATE, Recursive)),
    ("rrelatime", SetAtime(Recursive, attr::RELATIME)),
    ("rro", SetAttr(Recursive, attr::RDONLY)),
    ("rrw", ClearAttr(Recursive, attr::RDONLY)),
    ("rshared", propagation(MS_SHARED, Recursive)),
    ("rslave", propagation(MS_SLAVE, Recursive)),
    ("rstrictatime", SetAtime(Recursive, attr::STRICTATIME)),
    ("rsuid", ClearAttr(Recursive, attr::NOSUID)),
    ("rsymfollow", ClearAttr(Recursive, attr::NOSYMFOLLOW)),
    ("rsync", SetSuper(MS_SYNCHRONOUS)),
    ("runbindable", propagation(MS_UNBINDABLE, Recursive)),
    ("rw", Effect::ReadWrite),
    ("shared", propagation(MS_SHARED, Plain)),
    ("silent", SetSuper(MS_SILENT)),
    ("slave", propagation(MS_SLAVE, Plain)),
    ("src-nofollow", Effect::SrcNoFollow),
    ("strictatime", SetAtime(Plain, attr::STRICTATIME)),
    ("suid", ClearAttr(Plain, attr::NOSUID)),
    ("symfollow", ClearAttr(Plain, attr::NOSYMFOLLOW)),
    ("sync", SetSuper(MS_SYNCHRONOUS)),
    ("tmpcopyup", Effect::TmpCopyUp),
    ("unbindable", propagation(MS_UNBINDABLE, Plain)),
];

fn find(name: &str) -> Option<Effect> {
    TABLE.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|index| TABLE[index].1)
}

/// The options the table knows, sorted: `mountOptions` of `features`.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// Reads the options of one mount.
pub fn parse(options: &[String]) -> Result<MountOptions> {
    let mut parsed = MountOptions::default();
    for option in options {
        if let Some(effect) = find(option) {
            parsed.apply(effect);
        } else if let Some(idmap) = options_idmap::parse(option)? {
            parsed.idmap = Some(idmap);
        } else if !option.is_empty() {
            parsed.data.push(option.clone());
        }
    }
    Ok(parsed)
}

impl MountOptions {
    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            SetAttr(depth, bits) => {
                let (set, clear) = self.attrs(depth);
                *set |= bits;
                *clear &= !bits;
            }
            ClearAttr(depth, bits) => {
                let (set, clear) = self.attrs(depth);
                *set &= !bits;
                *clear |= bits;
            }
            SetAtime(depth, value) => {
                let (set, clear) = self.attrs(depth);
                *set = *set & !attr::ATIME_MASK | value;
                // mount_setattr(2): the field must be cleared as a whole when any of it is set.
                *clear |= attr::ATIME_MASK;
            }
            ClearAtime(depth, value) => self.clear_atime(depth, value),
            SetSuper(flags) => {
                self.sb_set |= flags;
                self.sb_clr &= !flags;
            }
            ClearSuper(flags) => {
                self.sb_set &= !flags;
                self.sb_clr |= flags;
            }
            Effect::ReadOnly => {
                self.apply(SetAttr(Plain, attr::RDONLY));
                self.apply(SetSuper(MS_RDONLY));
            }
            Effect::ReadWrite => {
                self.apply(ClearAttr(Plain, attr::RDONLY));
                self.apply(ClearSuper(MS_RDONLY));
            }
            Effect::Propagation(propagation) => self.propagation.push(propagation),
            Effect::Bind(depth) => self.bind = Some(depth),
            Effect::Idmap(depth) => self.idmap = Some(Idmap { depth, uids: Vec::new(), gids: Vec::new() }),
            Effect::Remount => self.remount = true,
            Effect::TmpCopyUp => self.tmpcopyup = true,
            Effect::SrcNoFollow => self.src_nofollow = true,
            Effect::DestNoFollow => self.dest_nofollow = true,
            Effect::CopySymlink => self.copy_symlink = true,
        }
    }

    fn attrs(&mut self, depth: Depth) -> (&mut u64, &mut u64) {
        match depth {
            Plain => (&mut self.attr_set, &mut self.attr_clr),
            Recursive => (&mut self.rec_set, &mut self.rec_clr),
        }
    }

    /// `atime` and `nostrictatime` go back to relatime, the kernel's default, unless an earlier option chose
    /// another value. `norelatime` changes nothing: without NOATIME and STRICTATIME the kernel always uses
    /// relatime (since 2.6.30).
    fn clear_atime(&mut self, depth: Depth, value: u64) {
        if value == attr::RELATIME {
            return;
        }
        let (set, clear) = self.attrs(depth);
        if *set & attr::ATIME_MASK == value {
            *set &= !attr::ATIME_MASK;
        }
        *clear |= attr::ATIME_MASK;
    }
}
