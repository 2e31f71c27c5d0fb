//! What of the host a container uses, by names of our own: CRIU saves the name and gets the thing back at restore.
//!
//! A name is what config.json calls the place, taken as a word: an engine that restores writes its entries in another order
//! (Podman does). It is never looked up in the image, where it would go through symbolic links that the container may have
//! changed since, and then one entry's source would come back at another's place (CVE-2026-119101): at a checkpoint a mount
//! belongs to an entry when it shows the very directory or file that the entry names on the host, wherever in the container
//! it is.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result, Stage};
use crate::plan::namespace::{JoinedNamespace, NamespaceKind, Namespaces};
use crate::proc::mountinfo::{self, MountLine};
use crate::spec::Spec;
use crate::spec::path::clean;
use crate::sys::fs;

/// A mount, as far as it matters to CRIU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// The mount's id.
    pub id: u32,
    /// The file system's device number, and what of it is seen.
    pub what: Identity,
    /// Where, from the reader's root.
    pub point: String,
}

/// A directory or file on a file system, whatever path leads there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `major:minor`.
    pub device: String,
    /// The path from the file system's root.
    pub path: String,
}

/// The mounts in the text of a mountinfo file.
pub fn parse(text: &[u8]) -> Vec<Mounted> {
    let text_of = |field: &[u8]| String::from_utf8_lossy(&mountinfo::unescape(field)).into_owned();
    let mounted = |line: MountLine<'_>| Mounted {
        id: line.id,
        what: Identity { device: text_of(line.device), path: text_of(line.root) },
        point: text_of(line.point),
    };
    mountinfo::parse(text).map(mounted).collect()
}

/// Something of the host that config.json puts into the container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name CRIU knows it by.
    pub name: String,
    /// Where it is on the host.
    pub path: PathBuf,
    /// Where config.json wants it.
    pub destination: String,
}

/// Everything of the host that the bundle names; `cgroups` are the container's own directories. The same bundle
/// gives the same names at every time.
pub fn sources(spec: &Spec, bundle: &Path, cgroups: &[PathBuf]) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    // Of several entries with one destination the others have a number, too.
    let mut seen: HashMap<String, usize> = HashMap::new();
    for mount in &spec.mounts {
        check(&mount.destination)?;
        let destination = format!("/{}", clean(&mount.destination));
        if destination == "/" && mount.options.iter().all(|option| option != "remount") {
            return Err(Error::new(Stage::Criu, "a mount on the root itself cannot be told to criu"));
        }
        let before = seen.entry(destination.clone()).or_default();
        let name =
            if *before == 0 { format!("brisk-mnt-{destination}") } else { format!("brisk-mnt-{destination}#{before}") };
        *before += 1;
        match mount.kind.as_deref() {
            _ if mount.is_bind() => {
                let path = bundle.join(mount.source.as_deref().unwrap_or_default());
                sources.push(Source { name, path, destination });
            }
            // In a user namespace without a network namespace of its own it is a bind mount.
            Some("sysfs") => {
                sources.push(Source { name, path: "/sys".into(), destination });
            }
            // On v1 hosts, without a cgroup namespace, one bind mount for each hierarchy.
            Some("cgroup") => {
                for (hierarchy, path) in cgroups.iter().enumerate() {
                    let name = format!("{name}-{hierarchy}");
                    sources.push(Source { name, path: path.clone(), destination: destination.clone() });
                }
            }
            _ => {}
        }
    }
    // Where nodes cannot be made the host's are bound.
    let own = spec.linux.iter().flat_map(|linux| linux.devices.iter().map(|device| device.path.as_str()));
    let default = crate::plan::rootfs::devices::DEFAULTS.iter().map(|(path, ..)| *path);
    for path in default.chain(own) {
        check(path)?;
        sources.push(Source { name: format!("brisk-dev-{path}"), path: path.into(), destination: path.to_owned() });
    }
    Ok(sources)
}

/// CRIU looks an object up by the prefix `mnt[POINT]:`, so a point with `]:` in it would be taken for another one
/// (CVE-2026-115520).
fn check(point: &str) -> Result<()> {
    if point.contains("]:") || point.contains('\n') {
        let what = format!("the mount point {point:?} cannot be told to criu unmistakably");
        return Err(Error::new(Stage::Criu, what).with_hint("no `]:` and no line break in mounts.destination"));
    }
    Ok(())
}

/// The objects of a checkpoint: `mnt[POINT]:NAME`, one for each mount of `container` that shows a source.
pub fn saved(sources: &[(Source, Identity)], container: &[Mounted]) -> Result<Vec<String>> {
    let mut taken = vec![None; container.len()];
    // Where config.json says, and then anywhere: a link in the image may have led it elsewhere.
    for anywhere in [false, true] {
        for (source, identity) in sources {
            for (mount, name) in container.iter().zip(&mut taken) {
                if name.is_none() && mount.what == *identity && (anywhere || mount.point == source.destination) {
                    *name = Some(source.name.as_str());
                }
            }
        }
    }
    let mut externals = Vec::new();
    for (mount, name) in container.iter().zip(&taken) {
        let Some(name) = name else { continue };
        check(&mount.point)?;
        let covered = container
            .iter()
            .zip(&taken)
            .any(|(other, named)| other.point == mount.point && named.is_some_and(|named| named != *name));
        if covered {
            let what = format!("two mounts of the host are on {}: they cannot be told apart", mount.point);
            return Err(Error::new(Stage::Criu, what));
        }
        externals.push(format!("mnt[{}]:{name}", mount.point));
    }
    externals.dedup();
    Ok(externals)
}

/// The objects of a restore: `mnt[NAME]:SOURCE`.
pub fn restored(sources: &[Source]) -> Vec<String> {
    sources.iter().map(|source| format!("mnt[{}]:{}", source.name, source.path.display())).collect()
}

/// What a path of the host leads to; `None` when it is gone.
pub fn identify(path: &Path, host: &[Mounted]) -> Result<Option<Identity>> {
    let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC;
    let fd = match nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty()) {
        Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR | nix::errno::Errno::ENXIO) => return Ok(None),
        result => result.at(Stage::Criu, || format!("open {}", path.display()))?,
    };
    let what = || format!("find the mount of {}", path.display());
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd())).at(Stage::Criu, what)?;
    let Some(mount) = host.iter().find(|mount| Some(mount.id) == mount_id(&info)) else { return Ok(None) };
    let mut buffer = [0; libc::PATH_MAX as usize];
    let real = fs::path_of(fd.as_fd(), &mut buffer).at(Stage::Criu, what)?;
    let real = String::from_utf8_lossy(real);
    let Ok(below) = Path::new(real.as_ref()).strip_prefix(&mount.point) else { return Ok(None) };
    let path = Path::new(&mount.what.path).join(below);
    drop(fd);
    // `join` with nothing leaves a slash at the end.
    let path = path.to_string_lossy();
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { &path };
    Ok(Some(Identity { device: mount.what.device.clone(), path: path.to_owned() }))
}

/// The key of an open file that is on no mount of the container, such as the host's /dev/null as standard input;
/// `None` for those CRIU knows otherwise: files inside, pipes, sockets, and terminals (`--shell-job`).
pub fn open_file(mount: u32, stat: &libc::statx, container: &[Mounted]) -> Option<String> {
    let kind = u32::from(stat.stx_mode) & libc::S_IFMT;
    // tty(4) and pts(4) in the kernel's list of device numbers.
    let terminal = kind == libc::S_IFCHR && matches!(stat.stx_rdev_major, 4 | 5 | 136..=143);
    let named = kind == libc::S_IFREG || kind == libc::S_IFCHR && !terminal;
    let outside = container.iter().all(|mounted| mounted.id != mount);
    (named && outside).then(|| format!("file[{mount:x}:{:x}]", stat.stx_ino))
}

/// The inode number in such a key.
pub fn inode_of(key: &str) -> Option<u64> {
    let (_, inode) = key.strip_prefix("file[")?.strip_suffix(']')?.split_once(':')?;
    u64::from_str_radix(inode, 16).ok()
}

/// The id of the mount that a descriptor's file is on, from the text of its fdinfo file.
pub fn mount_id(fdinfo: &str) -> Option<u32> {
    fdinfo.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
}

/// The types that CRIU can take as they are: its name and the key that runc and crun use as well.
const NAMESPACES: [(NamespaceKind, &str); 2] =
    [(NamespaceKind::Network, "extRootNetNS"), (NamespaceKind::Pid, "extRootPidNS")];

/// Namespaces that the container joined, as objects of a checkpoint: `net[INODE]:KEY`.
pub fn saved_namespaces(namespaces: &Namespaces, inode: impl Fn(&str) -> Result<u64>) -> Result<Vec<String>> {
    let mut externals = Vec::new();
    for (kind, key) in NAMESPACES {
        if let Some(path) = namespaces.joined(kind) {
            externals.push(format!("{}[{}]:{key}", kind.proc_name(), inode(path)?));
        }
    }
    Ok(externals)
}

/// How a joined namespace comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejoin {
    /// CRIU gets a descriptor of the namespace at `path` under this key.
    Descriptor {
        /// The key.
        key: &'static str,
        /// The namespace.
        path: String,
    },
    /// CRIU opens the path itself: its name of the type, and the path.
    Path(&'static str, String),
}

/// Namespaces that the restored container is to join.
pub fn restored_namespaces(namespaces: &Namespaces) -> Result<Vec<Rejoin>> {
    let rejoin = |JoinedNamespace { kind, path }: &JoinedNamespace| match kind {
        NamespaceKind::Cgroup | NamespaceKind::Time | NamespaceKind::Mount => {
            Err(Error::new(Stage::Criu, format!("criu cannot restore into an existing {} namespace", kind.name())))
        }
        kind => Ok(match NAMESPACES.iter().find(|(own, _)| own == kind) {
            Some((_, key)) => Rejoin::Descriptor { key, path: path.clone() },
            None => Rejoin::Path(kind.proc_name(), path.clone()),
        }),
    };
    namespaces.join.iter().map(rejoin).collect()
}

/// Reads the mounts of a process; its root is the reader's root of their points.
pub fn mounts_of(process: &str) -> Result<Vec<Mounted>> {
    Ok(parse(&mountinfo::read(process).at(Stage::Criu, || format!("read /proc/{process}/mountinfo"))?))
}
