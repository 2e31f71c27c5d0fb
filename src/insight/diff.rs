//! `diff`: what a container has changed in its root, as the upper layer of its overlay has it.
//!
//! Not trusted: everything in the layers: names, links, how deep they are. Each directory is opened by a name in the one above,
//! and no link is followed.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use brisk::cli::args::DiffArgs;
use brisk::cli::output;
use brisk::cli::put::Format;
use brisk::container::Container;
use brisk::container::options::Global;
use brisk::error::{Context, Error, Result, Stage};
use brisk::host::Host;
use brisk::plan::namespace::Namespaces;
use brisk::proc::mountinfo::{self, parse, unescape};
use brisk::spec::annotations;
use brisk::spec::overlay::{Upper, split};
use brisk::state::{Caller, StateRoot};
use brisk::sys::{dir, fs};
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::containers::Finder;
use crate::json;
use crate::subject::{RuntimeKind, Subject};

/// Deeper than this nobody builds, and each level holds a descriptor.
const DEEPEST: usize = 500;
/// What nobody reads any more.
const MOST: usize = 1_000_000;

/// Prints the changes.
pub fn diff(global: &Global<'_>, args: &DiffArgs) -> Result<()> {
    let DiffArgs { id, format } = args;
    let subject = Finder::new(global, std::slice::from_ref(id))?.one(global, id)?;
    let layers = RootLayers::of(&subject)?;
    let mut changes = Vec::new();
    let upper = open_dir(fs::CWD, &c_path(&layers.upper)?)
        .at(Stage::Rootfs, || format!("open the upper layer {}", layers.upper.display()))?;
    let walk = Walk { lower: layers.open_lower()?, opaque: layers.opaque() };
    let unseen = walk.enter(upper.as_fd(), &mut Vec::new(), &mut changes)?;
    if unseen > 0 {
        (global.warn)(&format!("directories that lie deeper than {DEEPEST} levels are not looked into: {unseen}"));
    }
    match format {
        Format::Json => {
            let list: Vec<Value> =
                changes.iter().map(|change| json!({ "change": change.kind.word(), "path": change.path() })).collect();
            output::print(&json::text(&json!(list))?)
        }
        Format::Table => {
            let line =
                |change: &PathChange| format!("{} {}\n", change.kind.letter(), brisk::error::printable(&change.path()));
            output::print(&changes.iter().map(line).collect::<String>())
        }
    }
}

/// Of an overlay.
struct RootLayers {
    upper: PathBuf,
    /// The uppermost first.
    lower: Vec<PathBuf>,
    /// How it is mounted, or will be.
    userxattr: bool,
}

impl RootLayers {
    /// The attribute of an opaque directory (overlayfs' documentation). The one of users can be set by whoever owns the files,
    /// and means nothing to an overlay that was not mounted with `userxattr`.
    fn opaque(&self) -> &'static CStr {
        if self.userxattr { c"user.overlay.opaque" } else { c"trusted.overlay.opaque" }
    }

    fn of(subject: &Subject) -> Result<RootLayers> {
        if subject.maker == RuntimeKind::Brisk
            && let Some(layers) = RootLayers::made_by_brisk(subject)?
        {
            return Ok(layers);
        }
        RootLayers::made_by_an_engine(&subject.rootfs)
    }

    /// The layers of `--overlay`.
    fn made_by_brisk(subject: &Subject) -> Result<Option<RootLayers>> {
        let root = StateRoot::choose(Some(&subject.root), Path::new("/"), &Caller::default())?;
        let spec = Container::load(&root, &subject.id)?.spec()?;
        let Some(overlay) = annotations::overlay(&spec)? else { return Ok(None) };
        let bundle = Path::new(&subject.bundle);
        let Upper::Dir(upper) = overlay.upper else {
            return Err(Error::new(
                Stage::Rootfs,
                "what it writes is in a tmpfs that nobody but the container reaches",
            )
            .with_hint("--overlay DIR keeps it where it can be looked at"));
        };
        let below = overlay.lower.iter().map(|path| bundle.join(path));
        let lower = std::iter::once(subject.rootfs.clone()).chain(below).collect();
        // As the plan has mounted it.
        let userxattr = Namespaces::parse(spec.namespaces())?.in_userns(&Host::probe_for_exec()?);
        Ok(Some(RootLayers { upper: bundle.join(upper).join("upper"), lower, userxattr }))
    }

    /// The layers of an overlay that was mounted on the root before the container was made.
    fn made_by_an_engine(root: &Path) -> Result<RootLayers> {
        let what = || "read /proc/self/mountinfo";
        let text = mountinfo::read("self").at(Stage::Host, what)?;
        let here = |line: &mountinfo::MountLine<'_>| unescape(line.point) == root.as_os_str().as_bytes();
        let mount = parse(&text).filter(here).last().filter(|line| line.fs_type == b"overlay");
        let none = || {
            Error::new(Stage::Rootfs, format!("the root {} is no overlay with an upper layer", root.display()))
                .with_hint(
                    "changes are known of a root that is one: of an engine's image, or of `brisk run --overlay DIR`",
                )
        };
        let mount = mount.ok_or_else(none)?;
        let options = unescape(mount.options).into_owned();
        let value = |name: &[u8]| options.split(|byte| *byte == b',').find_map(|option| option.strip_prefix(name));
        let path = |bytes: &[u8]| PathBuf::from(OsStr::from_bytes(bytes));
        let upper = value(b"upperdir=").map(path).ok_or_else(none)?;
        let lower: Vec<PathBuf> = match value(b"lowerdir=").map(std::str::from_utf8) {
            Some(Ok(list)) => split(list).into_iter().filter(|path| !path.is_empty()).map(PathBuf::from).collect(),
            _ => options
                .split(|byte| *byte == b',')
                .filter_map(|option| option.strip_prefix(b"lowerdir+="))
                .map(path)
                .collect(),
        };
        if let Some(path) = lower.iter().chain([&upper]).find(|path| !path.is_absolute()) {
            return Err(Error::new(Stage::Rootfs, format!("where the layer {} begins is not known", path.display())));
        }
        let userxattr = options.split(|byte| *byte == b',').any(|option| option == b"userxattr");
        Ok(RootLayers { upper, lower, userxattr })
    }

    fn open_lower(&self) -> Result<Vec<OwnedFd>> {
        let open = |path: &PathBuf| {
            c_path(path)
                .and_then(|name| open_dir(fs::CWD, &name).at(Stage::Rootfs, || format!("open {}", path.display())))
        };
        self.lower.iter().map(open).collect()
    }
}

fn c_path(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new(Stage::Rootfs, "a path with a NUL byte"))
}

/// A directory by its name; of the operator's own paths the links above it are meant.
fn open_dir(at: BorrowedFd<'_>, name: &CStr) -> brisk::sys::Result<OwnedFd> {
    fs::open(at, name, libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW, 0)
}

/// What has become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChangeKind {
    Added,
    Changed,
    Deleted,
}

impl ChangeKind {
    fn letter(self) -> char {
        match self {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        }
    }

    fn word(self) -> &'static str {
        match self {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Deleted => "deleted",
        }
    }
}

#[derive(Debug)]
struct PathChange {
    kind: ChangeKind,
    /// Without a slash at its beginning.
    names: Vec<u8>,
}

impl PathChange {
    fn path(&self) -> String {
        format!("/{}", String::from_utf8_lossy(&self.names))
    }
}

struct Walk {
    lower: Vec<OwnedFd>,
    opaque: &'static CStr,
}

impl Walk {
    /// Looks at a directory of the upper layer, whose path in the root is `above`. The directories that lie too deep are counted.
    fn enter(&self, upper: BorrowedFd<'_>, above: &mut Vec<CString>, changes: &mut Vec<PathChange>) -> Result<usize> {
        let what = |above: &[CString]| format!("read {} of the upper layer", String::from_utf8_lossy(&joined(above)));
        if above.len() > DEEPEST {
            return Ok(1);
        }
        let mut unseen = 0;
        let names = names_in(upper).at(Stage::Rootfs, || what(above))?;
        for entry in self.compare(upper, above, names)? {
            let LookedAt { name, change, is_dir } = entry;
            above.push(name);
            if let Some(kind) = change {
                note(changes, kind, above)?;
            }
            if is_dir && let Some(name) = above.last() {
                match open_dir(upper, name) {
                    Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {}
                    below => {
                        let below = below.at(Stage::Rootfs, || what(above))?;
                        unseen += self.enter(below.as_fd(), above, changes)?;
                    }
                }
            }
            above.pop();
        }
        Ok(unseen)
    }

    /// What has become of each name in a directory. Done before anything below is looked at: the descriptors of the layers below are held
    /// for one directory at a time.
    fn compare(&self, upper: BorrowedFd<'_>, above: &[CString], names: Vec<CString>) -> Result<Vec<LookedAt>> {
        let what = || format!("compare {} with the layers below", String::from_utf8_lossy(&joined(above)));
        let lower = self.lower_dirs(above).at(Stage::Rootfs, what)?;
        let mut found = Vec::with_capacity(names.len());
        // A layer's own root is not told to be.
        if !above.is_empty() && is_opaque(upper, self.opaque).at(Stage::Rootfs, what)? {
            let gone = seen_in(&lower).at(Stage::Rootfs, what)?.into_iter();
            let gone = gone.filter(|name| names.binary_search(name).is_err());
            found.extend(gone.map(|name| LookedAt { name, change: Some(ChangeKind::Deleted), is_dir: false }));
        }
        for name in names {
            let stat = match fs::stat_at(upper, &name) {
                // The file went away meanwhile.
                Err(Errno::ENOENT) => continue,
                stat => stat.at(Stage::Rootfs, what)?,
            };
            let was = is_in(&lower, &name).at(Stage::Rootfs, what)?;
            let change = match (is_whiteout(&stat), was) {
                (true, true) => Some(ChangeKind::Deleted),
                (true, false) => None,
                (false, true) => Some(ChangeKind::Changed),
                (false, false) => Some(ChangeKind::Added),
            };
            found.push(LookedAt { name, change, is_dir: fs::kind(&stat) == libc::S_IFDIR });
        }
        Ok(found)
    }

    /// What the layers below show at the path of a directory: their directories there, as far as none hides the next.
    fn lower_dirs(&self, path: &[CString]) -> brisk::sys::Result<Vec<OwnedFd>> {
        let mut dirs = Vec::new();
        for layer in &self.lower {
            match look_up(layer.as_fd(), path, self.opaque)? {
                Seen::Dir(dir) => dirs.push(dir),
                Seen::Last(dir) => {
                    dirs.push(dir);
                    break;
                }
                Seen::Hidden => break,
                Seen::Missing => {}
            }
        }
        Ok(dirs)
    }
}

/// A name in a directory of the upper layer, or one that was in those below.
struct LookedAt {
    name: CString,
    change: Option<ChangeKind>,
    is_dir: bool,
}

/// Whether the directories of the layers below have such a name.
fn is_in(lower: &[OwnedFd], name: &CStr) -> brisk::sys::Result<bool> {
    for dir in lower {
        match fs::stat_at(dir.as_fd(), name) {
            Err(Errno::ENOENT) => {}
            stat => return Ok(!is_whiteout(&stat?)),
        }
    }
    Ok(false)
}

/// The names that they show together.
fn seen_in(lower: &[OwnedFd]) -> brisk::sys::Result<BTreeSet<CString>> {
    let (mut found, mut hidden) = (BTreeSet::new(), BTreeSet::new());
    for dir in lower {
        for name in names_in(dir.as_fd())? {
            let gone = fs::stat_at(dir.as_fd(), &name).is_ok_and(|stat| is_whiteout(&stat));
            if gone {
                hidden.insert(name);
            } else if !hidden.contains(&name) {
                found.insert(name);
            }
        }
    }
    Ok(found)
}

/// What a layer says of the path of a directory.
enum Seen {
    Dir(OwnedFd),
    /// A directory, and nothing of the layers below it is seen.
    Last(OwnedFd),
    /// Nothing is there, and it does not matter whether a layer below has it.
    Hidden,
    Missing,
}

fn look_up(layer: BorrowedFd<'_>, path: &[CString], opaque: &CStr) -> brisk::sys::Result<Seen> {
    let mut at = open_dir(layer, c".")?;
    let mut hides = false;
    for name in path {
        at = match open_dir(at.as_fd(), name) {
            Err(Errno::ENOENT) => return Ok(if hides { Seen::Hidden } else { Seen::Missing }),
            // A whiteout, or another file in the place of the directory.
            Err(Errno::ENOTDIR | Errno::ELOOP) => return Ok(Seen::Hidden),
            dir => dir?,
        };
        hides |= is_opaque(at.as_fd(), opaque)?;
    }
    Ok(if hides { Seen::Last(at) } else { Seen::Dir(at) })
}

/// How overlayfs notes that a name is gone (its documentation, "whiteouts and opaque directories").
fn is_whiteout(stat: &libc::stat) -> bool {
    fs::kind(stat) == libc::S_IFCHR && stat.st_rdev == 0
}

/// Whether what is below this directory in other layers is not seen.
fn is_opaque(dir: BorrowedFd<'_>, name: &CStr) -> brisk::sys::Result<bool> {
    let mut value = [0; 2];
    match fs::xattr(dir, name, &mut value) {
        Ok(1) => Ok(value[0] == b'y'),
        // Not set, not on this file system, not for us; or longer than the one that is meant.
        Ok(_) | Err(Errno::ENODATA | Errno::EOPNOTSUPP | Errno::EPERM | Errno::ERANGE) => Ok(false),
        Err(errno) => Err(errno),
    }
}

fn names_in(dir: BorrowedFd<'_>) -> brisk::sys::Result<Vec<CString>> {
    let mut names = Vec::new();
    dir::each(dir, &mut |name| {
        names.push(name.to_owned());
        if names.len() > MOST { Err(Errno::E2BIG) } else { Ok(()) }
    })?;
    names.sort();
    Ok(names)
}

fn joined(names: &[CString]) -> Vec<u8> {
    names.iter().map(|name| name.to_bytes()).collect::<Vec<_>>().join(&b'/')
}

fn note(changes: &mut Vec<PathChange>, kind: ChangeKind, names: &[CString]) -> Result<()> {
    if changes.len() >= MOST {
        return Err(Error::new(Stage::Rootfs, format!("more than {MOST} changes")));
    }
    changes.push(PathChange { kind, names: joined(names) });
    Ok(())
}
