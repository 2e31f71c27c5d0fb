//! What is kept of a pool: `ROOT/.pools/NAME` holds `pool.json` and a state root of its own, in which each member is a
//! container. Whoever changes the pool has the lock of its directory; whoever changes a member, that of the member's.
//!
//! Nothing is written about how many members wait: they are those that can be started.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::inherited::Inheritance;
use crate::container::environment::Environment;
use crate::container::lookup::Container;
use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::tolerance::Tolerance;
use crate::plan::systemd::driver::CgroupDriver;
use crate::proc::mountinfo;
use crate::spec::linux::Namespace;
use crate::spec::status::Status;
use crate::spec::{Spec, annotations};
use crate::state::{self, Dir, END, Lock, MadeOf, Record, StateRoot, Wait};
use crate::sys::{fs, process};

/// Where the pools of a state root are; no container has a name that begins with a dot.
const POOLS: &str = ".pools";
const DEFINITION: &CStr = c"pool.json";
/// The version of its format.
const VERSION: u32 = 1;

/// What a pool is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Definition {
    pub version: u32,
    /// The bundle directory, absolute.
    pub bundle: PathBuf,
    /// How many members wait when it has been filled.
    pub size: u32,
    /// This pool's alone: none that had its name before has had that.
    pub generation: String,
    /// Who makes their cgroups.
    pub cgroups: CgroupDriver,
    /// What is done about cgroups that cannot be written.
    pub tolerance: Tolerance,
    /// The annotations that whoever made the pool trusts.
    pub trust_annotations: Option<String>,
    /// What whoever makes or claims a member has to have.
    pub inherited: Inheritance,
}

impl Definition {
    /// Of a pool that is made now.
    pub fn new(global: &Global, bundle: PathBuf, size: u32, inherited: Inheritance) -> Definition {
        let trusted = global.trusted_annotations();
        Definition {
            version: VERSION,
            bundle,
            size,
            generation: new_name(""),
            cgroups: global.cgroups,
            tolerance: global.tolerance,
            trust_annotations: (!trusted.is_empty()).then(|| trusted.join(",")),
            inherited,
        }
    }

    /// What holds for its members: said when it was made, but for where they are; nothing that the environment asks for.
    pub fn inside<'a>(&self, global: &Global<'a>, pool: &Pool) -> Global<'a> {
        Global { root: pool.root.clone(), ..self.outside(global) }
    }

    /// What holds for a member that has become a container of this root.
    pub fn outside<'a>(&self, global: &Global<'a>) -> Global<'a> {
        Global {
            environment: Environment::default(),
            root: global.root.clone(),
            cgroups: self.cgroups,
            tolerance: self.tolerance,
            trust_annotations: self.trust_annotations.clone(),
            warn: global.warn,
            debug: global.debug,
        }
    }
}

/// A pool that is there.
#[derive(Debug)]
pub(super) struct Pool {
    pub name: String,
    pub dir: Dir,
    /// Where its members are.
    pub root: StateRoot,
}

impl Pool {
    /// The directory of a new pool, locked: made, or one in which nobody has come to define a pool; an error where there is one.
    pub fn claim(global: &Global, name: &str) -> Result<(Pool, Lock)> {
        global.root.open_or_make()?;
        let pools = pools(global)?;
        loop {
            let dir = Dir::find_or_make(&pools, name)?;
            // Deleted while we waited for whoever does that: the name is free again.
            let Some(lock) = dir.lock(Wait::Forever)? else { continue };
            let pool = Pool { name: name.to_owned(), dir, root: pools.below(name) };
            return match pool.definition()? {
                None => Ok((pool, lock)),
                Some(_) => Err(Error::new(Stage::State, format!("pool {name} exists already"))),
            };
        }
    }

    /// The directory that is made with the first pool, where it is not there. The root around it stays: a container may be about to be
    /// made in it.
    pub fn missing_directory(global: &Global) -> Result<Option<PathBuf>> {
        let pools = pools(global)?.path().to_owned();
        Ok((!pools.exists()).then_some(pools))
    }

    /// Finds it by name, if it is there.
    pub fn look_up(global: &Global, name: &str) -> Result<Option<Pool>> {
        let pools = pools(global)?;
        let dir = Dir::find(&pools, name)?;
        Ok(dir.map(|dir| Pool { name: name.to_owned(), dir, root: pools.below(name) }))
    }

    /// Finds it by name.
    pub fn find(global: &Global, name: &str) -> Result<Pool> {
        Pool::look_up(global, name)?.ok_or_else(|| no_pool(name))
    }

    /// Keeps others from changing it; an error where it was deleted meanwhile.
    pub fn lock(&self, wait: Wait) -> Result<Lock> {
        self.dir.lock(wait)?.ok_or_else(|| no_pool(&self.name))
    }

    /// What it is; none of one that was never finished, or is being deleted.
    pub fn definition(&self) -> Result<Option<Definition>> {
        let Some(text) = self.dir.read(DEFINITION)? else { return Ok(None) };
        let found: Definition = serde_json::from_slice(&text).at(Stage::State, || "parse pool.json")?;
        if found.version == VERSION {
            return Ok(Some(found));
        }
        let what = format!("pool.json has format {}, this brisk knows {VERSION}", found.version);
        Err(Error::new(Stage::State, what).with_hint("delete the pool with the brisk that made it"))
    }

    /// [`Pool::definition`] of one that is there.
    pub fn defined(&self) -> Result<Definition> {
        self.definition()?.ok_or_else(|| no_pool(&self.name))
    }

    /// Writes what it is. The caller has the lock.
    pub fn define(&self, definition: &Definition) -> Result<()> {
        let text = serde_json::to_vec(definition).at(Stage::State, || "write pool.json")?;
        self.dir.write(DEFINITION, &text)
    }

    /// The names of its members, the oldest first.
    pub fn members(&self) -> Result<Vec<String>> {
        self.root.ids()
    }

    /// A member, if it is still in the pool.
    pub fn member(&self, name: &str) -> Result<Option<Container>> {
        let Some(dir) = Dir::find(&self.root, name)? else { return Ok(None) };
        Ok(dir.find_record()?.map(|record| Container { dir, record }))
    }

    /// A member's directory, which nobody else can claim or delete; none where it is not in the pool any more.
    pub fn hold(&self, name: &str, wait: Wait) -> Result<Option<(Dir, Lock)>> {
        let Some(dir) = Dir::find(&self.root, name)? else { return Ok(None) };
        let Some(lock) = dir.lock(wait)? else { return Ok(None) };
        // Renamed between the look at its name and the lock: another's by now.
        Ok(dir.is_named()?.then_some((dir, lock)))
    }
}

/// A name that nothing else has: two are not made in one nanosecond by one process. In the order of their age.
pub(super) fn new_name(of: &str) -> String {
    format!("{of}.{:016x}.{}", process::monotonic_ns(), process::getpid())
}

/// Where they are. Whoever may write above that decides what is there.
fn pools(global: &Global) -> Result<StateRoot> {
    match global.root.open() {
        Err(error) if error.root_errno() != Some(Errno::ENOENT) => Err(error),
        _ => Ok(global.root.below(POOLS)),
    }
}

/// The names of all pools.
pub(super) fn names(global: &Global) -> Result<Vec<String>> {
    pools(global)?.ids()
}

fn no_pool(name: &str) -> Error {
    Error::new(Stage::State, format!("pool {name} does not exist")).with_hint("`brisk pool list` shows what is there")
}

/// Whether a member can be started: it waits, it is what this brisk would make of the bundle now, and somebody waits for its end.
pub(super) fn fits(definition: &Definition, container: &Container) -> Result<bool> {
    let Record { template, build, furnishing, member: Some(member), resources, added_mounts, .. } = &container.record
    else {
        return Ok(false);
    };
    // `update` and `mounts add`, by who knows where members are.
    let is_changed = resources.is_some() || !added_mounts.is_empty();
    if !template
        || is_changed
        || member.generation != definition.generation
        || *furnishing
        || *build != state::build()
        || container.status()? != Status::Created
    {
        return Ok(false);
    }
    let is_same = member.made_of.iter().all(is_there) && mounts_of(&member.made_of)? == member.mounts;
    Ok(is_same && has_cgroup(container)? && has_keeper(&container.dir)?)
}

fn has_cgroup(container: &Container) -> Result<bool> {
    container.saved_cgroup()?.map_or(Ok(true), |saved| saved.is_there())
}

/// The fifo has somebody who has it open: the keeper of a process that lives. Nothing is read, for it may be another's by now, and
/// what is in it is for whoever has claimed the member.
fn has_keeper(dir: &Dir) -> Result<bool> {
    // fifo(7): without a reader, which the keeper is, too, this end is not to be had.
    match fs::open(dir.fd(), END, libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW, 0) {
        Err(Errno::ENOENT | Errno::ENXIO) => Ok(false),
        end => end.map(|_| true).at(Stage::State, || "open end.fifo"),
    }
}

/// Where its keeper will say how it has ended.
pub(super) fn open_end(dir: &Dir) -> crate::sys::Result<OwnedFd> {
    fs::open(dir.fd(), END, libc::O_RDONLY | libc::O_NONBLOCK | libc::O_NOFOLLOW, 0)
}

/// What there is under a path.
fn seen(path: PathBuf) -> MadeOf {
    MadeOf { content: None, ..read_once(path) }
}

/// What there is under the path of something whose content counts as it was when it was read.
pub(super) fn read_once(path: PathBuf) -> MadeOf {
    // What cannot be looked at is as good as missing: it is an error where it is needed.
    let missing = MadeOf { path, real: None, inode: None, content: None };
    let Ok(object) =
        fs::c_path(&missing.path).and_then(|path| fs::open(fs::CWD, &path, libc::O_PATH, 0)).map(File::from)
    else {
        return missing;
    };
    let real = std::fs::read_link(fs::by_number(object.as_fd()));
    let (Ok(found), Ok(real)) = (object.metadata(), real) else { return missing };
    let content = [found.len().cast_signed(), found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    MadeOf { real: Some(real), inode: Some((found.dev(), found.ino())), content: Some(content), ..missing }
}

/// Whether there is the same still.
fn is_there(made: &MadeOf) -> bool {
    let now = if made.content.is_some() { read_once } else { seen };
    *made == now(made.path.clone())
}

/// What a bundle's containers are made of, beside its config.json, which is looked at before it is read: a member has the root,
/// the layers, the sources of binds and the namespaces that there were.
pub(super) fn made_of(spec: &Spec, bundle: &Path, config: MadeOf) -> Result<Vec<MadeOf>> {
    let overlay = annotations::overlay(spec)?;
    let root = spec.root.iter().map(|root| root.path.as_str());
    let layers = overlay.iter().flat_map(|overlay| overlay.lower.iter().map(String::as_str));
    let binds = spec.mounts.iter().filter(|mount| mount.is_bind()).filter_map(|mount| mount.source.as_deref());
    let namespaces = spec.linux.iter().flat_map(|linux| &linux.namespaces);
    let joined = namespaces.filter_map(Namespace::joined);
    // To a layer that changes below an overlay the kernel promises nothing. A root of its own may be written to.
    let layer = if overlay.is_some() { read_once } else { seen };
    let layers = root.chain(layers).map(|path| layer(bundle.join(path)));
    // The ids that an ordinary user may map, which newuidmap(1) and newgidmap(1) have looked at.
    let ids: &[&str] = if process::geteuid() == 0 { &[] } else { &["/etc/subuid", "/etc/subgid"] };
    let ids = ids.iter().map(|path| read_once(path.into()));
    let others = binds.chain(joined).map(|path| seen(bundle.join(path)));
    Ok([config].into_iter().chain(layers).chain(others).chain(ids).collect())
}

/// Of what [`made_of`] has beside config.json, the mounts on which it lies and those below, as the kernel describes them: a member
/// has copies of those that there were.
pub(super) fn mounts_of(made_of: &[MadeOf]) -> Result<Vec<String>> {
    let real: Vec<&Path> = made_of.iter().skip(1).filter_map(|made| made.real.as_deref()).collect();
    let text = mountinfo::read("self").at(Stage::Rootfs, || "read /proc/self/mountinfo")?;
    let mounts: Vec<_> = mountinfo::points(&text).collect();
    let point = |mount: &(Cow<'_, [u8]>, &[u8])| PathBuf::from(OsStr::from_bytes(&mount.0));
    let mut found = BTreeSet::new();
    for path in real {
        // The last of several at one place is the one that is seen.
        let on = mounts.iter().filter(|mount| path.starts_with(point(mount))).max_by_key(|mount| mount.0.len());
        found.extend(on.into_iter().chain(mounts.iter().filter(|mount| point(mount).starts_with(path))));
    }
    Ok(found.into_iter().map(|(_, line)| String::from_utf8_lossy(line).into_owned()).collect())
}
