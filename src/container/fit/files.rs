//! The container's files as they will be, without making them: the root, and what the mounts will cover.
//!
//! Not trusted: the image. A path is walked name by name from the root's descriptor; a link is read and followed here, so it
//! leads nowhere but into the same tree, and a mount is crossed into its source. Nothing is opened but by `O_PATH`.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use nix::errno::Errno;

use super::who::Who;
use crate::plan::rootfs::options::{self, MountOptions};
use crate::spec::mounts::Mount;
use crate::sys::{fs, mount_attr};

/// The kernel's own limit (MAXSYMLINKS).
const MAX_LINKS: usize = 40;

/// No file system has longer names.
const NAME_MAX: usize = 255;

/// What is at a path.
#[derive(Clone)]
enum Content {
    /// A file or directory of the host. The mount that it will be on says whether programs may be run; where that says
    /// nothing, the one that it is on. `mapped`: its owners will be others.
    Held { fd: Rc<OwnedFd>, noexec: Option<bool>, mapped: bool },
    /// A new file system without files.
    Empty,
    /// A file system that is not there before the container is.
    Unknown,
}

/// A file that was found.
pub(super) struct Found {
    pub fd: Rc<OwnedFd>,
    pub stat: libc::stat,
    /// Programs may not be run from there.
    pub noexec: bool,
    /// Its owners are not what they will be.
    pub mapped: bool,
}

impl Found {
    pub fn kind(&self) -> u32 {
        fs::kind(&self.stat)
    }
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// This is not there.
    Missing(String),
    /// This is in the way.
    NotDirectory(String),
    /// The user may not go through this directory.
    Closed(String),
    /// Links that lead to links.
    Loop,
    /// Something on a file system that nobody can look into yet.
    Unknown,
    /// What the host says.
    Errno(Errno),
}

type Names = Vec<Vec<u8>>;

pub(super) struct ContainerFiles {
    root: Content,
    /// What lies at these paths; of several the last.
    mounts: HashMap<Names, Content>,
    pub who: Who,
}

fn c_string(text: &[u8]) -> Result<CString, Lost> {
    CString::new(text).map_err(|_| Lost::Errno(Errno::EINVAL))
}

fn hold(path: &Path) -> Result<OwnedFd, Lost> {
    fs::open(fs::CWD, &c_string(path.as_os_str().as_bytes())?, libc::O_PATH, 0).map_err(Lost::Errno)
}

fn shown(names: &[Vec<u8>]) -> String {
    names.iter().fold(String::new(), |text, name| text + "/" + &String::from_utf8_lossy(name))
}

fn shown_dir(path: String) -> String {
    if path.is_empty() { "/".to_owned() } else { path }
}

fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

impl ContainerFiles {
    /// The files below a directory, as this user is to see them.
    pub fn new(root: &Path, who: Who) -> Result<ContainerFiles, Lost> {
        let root = Content::Held { fd: Rc::new(hold(root)?), noexec: None, mapped: false };
        Ok(ContainerFiles { root, mounts: HashMap::new(), who })
    }

    /// A file of the host, as anybody finds it who opens it.
    pub fn on_host(path: &str) -> Result<Found, Lost> {
        let fd = hold(Path::new(path)).map_err(|lost| match lost {
            Lost::Errno(Errno::ENOENT | Errno::ENOTDIR) => Lost::Missing(path.to_owned()),
            lost => lost,
        })?;
        found(Content::Held { fd: Rc::new(fd), noexec: None, mapped: false })
    }

    /// Lays a mount over what is there; where its source is missing nobody knows what will be there.
    pub fn mount(&mut self, mount: &Mount, bundle: &Path) {
        let Ok(options) = options::parse(&mount.options) else { return };
        if options.remount {
            return;
        }
        let content = match mount.kind.as_deref() {
            _ if mount.is_bind() => {
                let source = bundle.join(mount.source.as_deref().unwrap_or_default());
                let mapped = options.idmap.is_some() || !mount.uid_mappings.is_empty();
                match hold(&source) {
                    Ok(fd) => Content::Held { fd: Rc::new(fd), noexec: noexec(&options), mapped },
                    Err(_) => Content::Unknown,
                }
            }
            Some("tmpfs" | "ramfs" | "mqueue" | "devpts") if !options.tmpcopyup => Content::Empty,
            _ => Content::Unknown,
        };
        let at = self.names_of(mount.destination.as_bytes());
        self.mounts.insert(at, content);
    }

    /// Something lies at this path, and nobody knows what.
    pub fn cover(&mut self, destination: &str) {
        let at = self.names_of(destination.as_bytes());
        self.mounts.insert(at, Content::Unknown);
    }

    /// Where a path leads as far as there is something; the rest is made as it is written.
    fn names_of(&self, path: &[u8]) -> Names {
        let (mut at, left, _) = self.walk(path);
        at.extend(left.into_iter().filter(|name| name != b"." && name != b".."));
        at
    }

    /// The file of this path.
    pub fn find(&self, path: &str) -> Result<Found, Lost> {
        match self.walk(path.as_bytes()) {
            (_, _, Ok(content)) => found(content),
            (_, _, Err(lost)) => Err(lost),
        }
    }

    /// How far a path leads: the names up to there, those that are left, and what is there.
    fn walk(&self, path: &[u8]) -> (Names, Names, Result<Content, Lost>) {
        // What was mounted on the root itself hides it.
        let root = self.mounts.get(&Names::new()).unwrap_or(&self.root);
        // From there to where we are.
        let mut at: Vec<(Vec<u8>, Content)> = Vec::new();
        let mut ahead: Names = names(path).rev().collect();
        let mut links = 0;
        let lost = loop {
            let Some(name) = ahead.pop() else {
                let content = at.last().map_or(root, |(_, content)| content).clone();
                return (at.into_iter().map(|(name, _)| name).collect(), Names::new(), Ok(content));
            };
            if name == b"." {
                continue;
            }
            if name == b".." {
                at.pop();
                continue;
            }
            let dir = at.last().map_or(root, |(_, content)| content).clone();
            let mut whole: Names = at.iter().map(|(name, _)| name.clone()).collect();
            whole.push(name.clone());
            if let Some(content) = self.mounts.get(&whole) {
                at.push((name, content.clone()));
                continue;
            }
            match self.step(&dir, &name, &whole) {
                Ok(PathStep::To(content)) => at.push((name, content)),
                Ok(PathStep::Link(target)) => {
                    links += 1;
                    if links > MAX_LINKS {
                        ahead.push(name);
                        break Lost::Loop;
                    }
                    if target.starts_with(b"/") {
                        at.clear();
                    }
                    ahead.extend(names(&target).rev());
                }
                Err(lost) => {
                    ahead.push(name);
                    break lost;
                }
            }
        };
        (at.into_iter().map(|(name, _)| name).collect(), ahead.into_iter().rev().collect(), Err(lost))
    }

    fn step(&self, dir: &Content, name: &[u8], whole: &[Vec<u8>]) -> Result<PathStep, Lost> {
        if name.len() > NAME_MAX {
            return Err(Lost::Errno(Errno::ENAMETOOLONG));
        }
        let (fd, noexec, mapped) = match dir {
            Content::Held { fd, noexec, mapped } => (fd, *noexec, *mapped),
            Content::Empty => return Err(Lost::Missing(shown(whole))),
            Content::Unknown => return Err(Lost::Unknown),
        };
        let above = || shown(&whole[..whole.len() - 1]);
        let stat = fs::stat(fd.as_fd()).map_err(Lost::Errno)?;
        if fs::kind(&stat) != libc::S_IFDIR {
            return Err(Lost::NotDirectory(above()));
        }
        if !mapped && !self.who.may_search(&stat) {
            return Err(Lost::Closed(shown_dir(above())));
        }
        let child =
            fs::open(fd.as_fd(), &c_string(name)?, libc::O_PATH | libc::O_NOFOLLOW, 0).map_err(
                |errno| match errno {
                    Errno::ENOENT => Lost::Missing(shown(whole)),
                    Errno::EACCES => Lost::Closed(shown_dir(above())),
                    errno => Lost::Errno(errno),
                },
            )?;
        if fs::kind(&fs::stat(child.as_fd()).map_err(Lost::Errno)?) == libc::S_IFLNK {
            let mut buffer = [0; libc::PATH_MAX as usize];
            return Ok(PathStep::Link(fs::readlink(child.as_fd(), c"", &mut buffer).map_err(Lost::Errno)?.to_vec()));
        }
        Ok(PathStep::To(Content::Held { fd: Rc::new(child), noexec, mapped }))
    }
}

enum PathStep {
    To(Content),
    Link(Vec<u8>),
}

fn found(content: Content) -> Result<Found, Lost> {
    match content {
        Content::Held { fd, noexec, mapped } => {
            let stat = fs::stat(fd.as_fd()).map_err(Lost::Errno)?;
            Ok(Found { stat, noexec: noexec.unwrap_or_else(|| fs::is_noexec(fd.as_fd())), mapped, fd })
        }
        Content::Empty => Err(Lost::Unknown),
        Content::Unknown => Err(Lost::Unknown),
    }
}

/// What the options of a mount say of programs, if anything.
fn noexec(options: &MountOptions) -> Option<bool> {
    let set = (options.attr_set | options.rec_set) & mount_attr::NOEXEC != 0;
    let clear = (options.attr_clr | options.rec_clr) & mount_attr::NOEXEC != 0;
    if set { Some(true) } else { clear.then_some(false) }
}
