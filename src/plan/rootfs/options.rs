//! Mount options: one table from the option strings of config.json to the kernel's numbers.
//!
//! `features` prints its `mountOptions` from the same table. Options the table does not know are data for
//! the file system. Pure; runs in the parent.

use libc::{
    MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_PRIVATE, MS_RDONLY, MS_REC, MS_SHARED, MS_SILENT, MS_SLAVE,
    MS_SYNCHRONOUS, MS_UNBINDABLE,
};

use crate::error::{Error, Result, Stage};
use crate::plan::reach::Reach;
use crate::plan::rootfs::options_idmap;
pub use crate::plan::rootfs::options_idmap::IdMapOption;
use crate::spec::linux::Linux;
use crate::sys::mount_attr::{self as attr, MountAttr};

/// One change of propagation; several apply in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Propagation {
    /// One of MS_SHARED, MS_SLAVE, MS_PRIVATE, MS_UNBINDABLE: also what mount_setattr(2) takes.
    pub flag: u64,
    /// The `r` of `rslave`.
    pub reach: Reach,
}

impl Propagation {
    /// The propagation an option string names, if it names one.
    pub fn parse(name: &str) -> Option<Self> {
        match find(name) {
            Some(Effect::Propagation(propagation)) => Some(propagation),
            _ => None,
        }
    }

    /// What rootfsPropagation says.
    pub(in crate::plan) fn of_root(linux: &Linux) -> Result<Option<Propagation>> {
        match linux.rootfs_propagation.as_deref() {
            None | Some("") => Ok(None),
            Some(name) => Propagation::parse(name).map(Some).ok_or_else(|| {
                let what = format!("linux.rootfsPropagation {name:?} does not exist");
                Error::of_field(Stage::Bundle, "linux.rootfsPropagation", what).meant(name, Propagation::names())
            }),
        }
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(|(_, effect)| matches!(effect, Effect::Propagation(_))).map(|(name, _)| *name)
    }

    /// The flags for mount(2).
    pub fn ms_flags(self) -> u64 {
        match self.reach {
            Reach::One => self.flag,
            Reach::Tree => self.flag | MS_REC,
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
    /// A flag of the mount itself or of its superblock is among them, whatever it does.
    pub named: bool,
    /// Changes of propagation, in order.
    pub propagation: Vec<Propagation>,
    /// A bind mount.
    pub bind: Option<Reach>,
    /// Change an existing mount.
    pub remount: bool,
    /// Copy what the mount hides into the new tmpfs.
    pub tmpcopyup: bool,
    /// An id-mapped mount.
    pub idmap: Option<IdMapOption>,
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
    SetAttr(Reach, u64),
    ClearAttr(Reach, u64),
    SetAtime(Reach, u64),
    ClearAtime(Reach, u64),
    SetSuper(u64),
    ClearSuper(u64),
    ReadOnly,
    ReadWrite,
    Propagation(Propagation),
    Bind(Reach),
    IdMap(Reach),
    Remount,
    TmpCopyUp,
    SrcNoFollow,
    DestNoFollow,
    CopySymlink,
}

const fn propagation(flag: u64, reach: Reach) -> Effect {
    Effect::Propagation(Propagation { flag, reach })
}

use Effect::{ClearAtime, ClearAttr, ClearSuper, SetAtime, SetAttr, SetSuper};
use Reach::{One, Tree};

/// Every option, sorted (it is searched by bisection). The names are those of the specification's table and
/// of runc, then crun's `copy-symlink`, `*-nofollow` and recursive superblock flags. A superblock flag holds
/// for the whole file system, so its recursive form means the same as the plain one.
///
/// "acl" is missing on purpose: MS_POSIXACL is not for user space.
const TABLE: &[(&str, Effect)] = &[
    ("async", ClearSuper(MS_SYNCHRONOUS)),
    ("atime", ClearAtime(One, attr::NOATIME)),
    ("bind", Effect::Bind(One)),
    ("copy-symlink", Effect::CopySymlink),
    ("defaults", Effect::Nothing),
    ("dest-nofollow", Effect::DestNoFollow),
    ("dev", ClearAttr(One, attr::NODEV)),
    ("diratime", ClearAttr(One, attr::NODIRATIME)),
    ("dirsync", SetSuper(MS_DIRSYNC)),
    ("exec", ClearAttr(One, attr::NOEXEC)),
    ("idmap", Effect::IdMap(One)),
    ("iversion", SetSuper(MS_I_VERSION)),
    ("lazytime", SetSuper(MS_LAZYTIME)),
    ("loud", ClearSuper(MS_SILENT)),
    ("mand", SetSuper(MS_MANDLOCK)),
    ("noatime", SetAtime(One, attr::NOATIME)),
    ("nodev", SetAttr(One, attr::NODEV)),
    ("nodiratime", SetAttr(One, attr::NODIRATIME)),
    ("noexec", SetAttr(One, attr::NOEXEC)),
    ("noiversion", ClearSuper(MS_I_VERSION)),
    ("nolazytime", ClearSuper(MS_LAZYTIME)),
    ("nomand", ClearSuper(MS_MANDLOCK)),
    ("norelatime", ClearAtime(One, attr::RELATIME)),
    ("nostrictatime", ClearAtime(One, attr::STRICTATIME)),
    ("nosuid", SetAttr(One, attr::NOSUID)),
    ("nosymfollow", SetAttr(One, attr::NOSYMFOLLOW)),
    ("private", propagation(MS_PRIVATE, One)),
    ("rasync", ClearSuper(MS_SYNCHRONOUS)),
    ("ratime", ClearAtime(Tree, attr::NOATIME)),
    ("rbind", Effect::Bind(Tree)),
    ("rdev", ClearAttr(Tree, attr::NODEV)),
    ("rdiratime", ClearAttr(Tree, attr::NODIRATIME)),
    ("rdirsync", SetSuper(MS_DIRSYNC)),
    ("relatime", SetAtime(One, attr::RELATIME)),
    ("remount", Effect::Remount),
    ("rexec", ClearAttr(Tree, attr::NOEXEC)),
    ("ridmap", Effect::IdMap(Tree)),
    ("rmand", SetSuper(MS_MANDLOCK)),
    ("rnoatime", SetAtime(Tree, attr::NOATIME)),
    ("rnodev", SetAttr(Tree, attr::NODEV)),
    ("rnodiratime", SetAttr(Tree, attr::NODIRATIME)),
    ("rnoexec", SetAttr(Tree, attr::NOEXEC)),
    ("rnomand", ClearSuper(MS_MANDLOCK)),
    ("rnorelatime", ClearAtime(Tree, attr::RELATIME)),
    ("rnostrictatime", ClearAtime(Tree, attr::STRICTATIME)),
    ("rnosuid", SetAttr(Tree, attr::NOSUID)),
    ("rnosymfollow", SetAttr(Tree, attr::NOSYMFOLLOW)),
    ("ro", Effect::ReadOnly),
    ("rprivate", propagation(MS_PRIVATE, Tree)),
    ("rrelatime", SetAtime(Tree, attr::RELATIME)),
    ("rro", SetAttr(Tree, attr::RDONLY)),
    ("rrw", ClearAttr(Tree, attr::RDONLY)),
    ("rshared", propagation(MS_SHARED, Tree)),
    ("rslave", propagation(MS_SLAVE, Tree)),
    ("rstrictatime", SetAtime(Tree, attr::STRICTATIME)),
    ("rsuid", ClearAttr(Tree, attr::NOSUID)),
    ("rsymfollow", ClearAttr(Tree, attr::NOSYMFOLLOW)),
    ("rsync", SetSuper(MS_SYNCHRONOUS)),
    ("runbindable", propagation(MS_UNBINDABLE, Tree)),
    ("rw", Effect::ReadWrite),
    ("shared", propagation(MS_SHARED, One)),
    ("silent", SetSuper(MS_SILENT)),
    ("slave", propagation(MS_SLAVE, One)),
    ("src-nofollow", Effect::SrcNoFollow),
    ("strictatime", SetAtime(One, attr::STRICTATIME)),
    ("suid", ClearAttr(One, attr::NOSUID)),
    ("symfollow", ClearAttr(One, attr::NOSYMFOLLOW)),
    ("sync", SetSuper(MS_SYNCHRONOUS)),
    ("tmpcopyup", Effect::TmpCopyUp),
    ("unbindable", propagation(MS_UNBINDABLE, One)),
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
        } else {
            parsed.data.extend(parameters(option).filter(|parameter| !parameter.is_empty()).map(str::to_owned));
        }
    }
    Ok(parsed)
}

/// The parameters of a file system in one string, as mount(2) takes them apart: at commas that are neither quoted (contexts
/// of SELinux have some) nor behind a backslash (paths of overlayfs).
fn parameters(option: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    option.split(move |character| {
        let ends = character == ',' && !quoted && !escaped;
        quoted ^= character == '"' && !escaped;
        escaped = character == '\\' && !escaped;
        ends
    })
}

/// The flags of a mount that the kernel locks in a user namespace (mount_namespaces(7)), but for the access-time field.
pub const LOCKABLE: u64 = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;

impl MountOptions {
    /// What a bind mount is given, and which of the cleared flags were not named. As runc: where no flag is named all of the
    /// source's stay; where some are, the others go (mount(8) keeps them where only clearing ones are named). Of the
    /// access-time field only what is set counts.
    pub fn of_bind(&self) -> (MountAttr, u64) {
        let (set, mut clear) = (self.attr_set, self.attr_clr);
        if !self.named {
            return (MountAttr { set, clear, ..MountAttr::default() }, 0);
        }
        let unnamed = (LOCKABLE | attr::NOSYMFOLLOW) & !set & !clear;
        clear |= unnamed;
        if clear & attr::ATIME_MASK != 0 || set & attr::NODIRATIME != 0 {
            clear |= attr::ATIME_MASK | attr::NODIRATIME & !set;
        } else {
            clear &= !attr::NODIRATIME;
        }
        (MountAttr { set, clear, ..MountAttr::default() }, unnamed)
    }

    /// Whether nothing can be written through the mount.
    pub fn is_read_only(&self) -> bool {
        (self.attr_set | self.rec_set) & attr::RDONLY != 0
    }

    fn apply(&mut self, effect: Effect) {
        self.named |= match effect {
            SetAttr(reach, _) | ClearAttr(reach, _) | SetAtime(reach, _) | ClearAtime(reach, _) => reach == One,
            SetSuper(_) | ClearSuper(_) | Effect::ReadOnly | Effect::ReadWrite => true,
            Effect::Nothing
            | Effect::Propagation(_)
            | Effect::Bind(_)
            | Effect::IdMap(_)
            | Effect::Remount
            | Effect::TmpCopyUp
            | Effect::SrcNoFollow
            | Effect::DestNoFollow
            | Effect::CopySymlink => false,
        };
        match effect {
            Effect::Nothing => {}
            SetAttr(reach, bits) => {
                let (set, clear) = self.attrs(reach);
                *set |= bits;
                *clear &= !bits;
            }
            ClearAttr(reach, bits) => {
                let (set, clear) = self.attrs(reach);
                *set &= !bits;
                *clear |= bits;
            }
            SetAtime(reach, value) => {
                let (set, clear) = self.attrs(reach);
                *set = *set & !attr::ATIME_MASK | value;
                // mount_setattr(2): the field must be cleared as a whole when any of it is set.
                *clear |= attr::ATIME_MASK;
            }
            ClearAtime(reach, value) => self.clear_atime(reach, value),
            SetSuper(flags) => {
                self.sb_set |= flags;
                self.sb_clr &= !flags;
            }
            ClearSuper(flags) => {
                self.sb_set &= !flags;
                self.sb_clr |= flags;
            }
            Effect::ReadOnly => {
                self.apply(SetAttr(One, attr::RDONLY));
                self.apply(SetSuper(MS_RDONLY));
            }
            Effect::ReadWrite => {
                self.apply(ClearAttr(One, attr::RDONLY));
                self.apply(ClearSuper(MS_RDONLY));
            }
            Effect::Propagation(propagation) => self.propagation.push(propagation),
            // As flags that are or-ed: `bind` after `rbind` takes nothing away (CRI-O ends all options of a volume with it).
            Effect::Bind(reach) => {
                if reach == Tree || self.bind.is_none() {
                    self.bind = Some(reach);
                }
            }
            Effect::IdMap(reach) => self.idmap = Some(IdMapOption { reach, uids: Vec::new(), gids: Vec::new() }),
            Effect::Remount => self.remount = true,
            Effect::TmpCopyUp => self.tmpcopyup = true,
            Effect::SrcNoFollow => self.src_nofollow = true,
            Effect::DestNoFollow => self.dest_nofollow = true,
            Effect::CopySymlink => self.copy_symlink = true,
        }
    }

    fn attrs(&mut self, reach: Reach) -> (&mut u64, &mut u64) {
        match reach {
            One => (&mut self.attr_set, &mut self.attr_clr),
            Tree => (&mut self.rec_set, &mut self.rec_clr),
        }
    }

    /// `atime` and `nostrictatime` take back what an earlier option chose: a new file system has relatime then, the
    /// kernel's default, and a mount that is there what it had, as with mount(8) and runc. Their recursive forms go back
    /// to relatime. `norelatime` changes nothing: without NOATIME and STRICTATIME the kernel always uses relatime (since
    /// 2.6.30).
    fn clear_atime(&mut self, reach: Reach, value: u64) {
        if value == attr::RELATIME {
            return;
        }
        let (set, clear) = self.attrs(reach);
        let chosen = *set & attr::ATIME_MASK == value;
        if chosen {
            *set &= !attr::ATIME_MASK;
        }
        match reach {
            One if chosen => *clear &= !attr::ATIME_MASK,
            One => {}
            Tree => *clear |= attr::ATIME_MASK,
        }
    }
}
