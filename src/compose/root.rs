//! The root as it will be: links as on the host, and what is bound.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Context, Error, Result, Stage};

/// As the kernel: more in one path are a circle (path_resolution(7)).
const LINKS_MAX: usize = 40;
/// The container has its own of these.
const OWN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory, with all that is in it.
    Dir,
}

/// What is bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How.
    pub kind: FileKind,
    /// Why.
    pub why: String,
}

/// The root; every path is the host's and the container's alike.
#[derive(Clone, Debug, Default)]
pub struct ComposedRoot {
    links: BTreeMap<PathBuf, PathBuf>,
    binds: BTreeMap<PathBuf, Bound>,
}

impl ComposedRoot {
    /// Takes what an absolute path leads to, with the links on the way; where it is without them.
    pub fn take(&mut self, path: &Path, why: &str) -> Result<(PathBuf, FileKind)> {
        self.take_followed(path, follow(path)?, why)
    }

    /// [`ComposedRoot::take`] of a path that was followed.
    pub fn take_followed(&mut self, path: &Path, (real, links): Followed, why: &str) -> Result<(PathBuf, FileKind)> {
        // A link there, like /proc/self, leads to something else in the container.
        let passed = links.iter().map(|(link, _)| link).chain([&real]);
        let own = |path: &Path| path == Path::new("/") || OWN.iter().any(|own| path.starts_with(own));
        if let Some(own) = passed.map(PathBuf::as_path).find(|path| own(path)) {
            let what = format!("{}: a container has its own {}", path.display(), own.display());
            return Err(Error::new(Stage::Bundle, what));
        }
        self.links.extend(links);
        let found = fs::metadata(&real).at(Stage::Bundle, || format!("find {}", path.display()))?;
        let kind = match (found.is_file(), found.is_dir()) {
            (true, _) => FileKind::File,
            (_, true) => FileKind::Dir,
            _ => {
                let what = format!("{} is neither a file nor a directory", path.display());
                return Err(Error::new(Stage::Bundle, what).with_hint("--mount binds anything"));
            }
        };
        self.binds.entry(real.clone()).or_insert_with(|| Bound { kind, why: why.to_owned() });
        Ok((real, kind))
    }

    /// A link that the host has not.
    pub fn link(&mut self, at: PathBuf, to: PathBuf) {
        self.links.entry(at).or_insert(to);
    }

    /// Whether a bound directory shows it already.
    pub fn shows(&self, path: &Path) -> bool {
        let above = path.ancestors().skip(1);
        above.filter_map(|dir| self.binds.get(dir)).any(|bound| bound.kind == FileKind::Dir)
    }

    /// Whether the path is in the root: bound, a link, or below what is bound.
    pub fn has(&self, path: &Path) -> bool {
        self.binds.contains_key(path) || self.links.contains_key(path) || self.shows(path)
    }

    /// What is to be bound.
    pub fn binds(&self) -> impl Iterator<Item = (&Path, &Bound)> {
        self.binds.iter().filter(|(path, _)| !self.shows(path)).map(|(path, bound)| (path.as_path(), bound))
    }

    /// The links beside it.
    pub fn links(&self) -> impl Iterator<Item = (&Path, &Path)> {
        self.links.iter().filter(|(path, _)| !self.shows(path)).map(|(path, target)| (path.as_path(), target.as_path()))
    }

    /// Makes the links and the places for the binds in a new directory, or in an empty one.
    pub fn lay_out(&self, root: &Path) -> Result<()> {
        let what = |path: &Path| format!("make {}", path.display());
        make_dir(root)?;
        let mut there = fs::read_dir(root).at(Stage::Bundle, || format!("read {}", root.display()))?;
        if there.next().is_some() {
            return Err(Error::new(Stage::Bundle, format!("{} is not empty: remove it first", root.display())));
        }
        let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
        for own in OWN {
            make_dir(&below(Path::new(own)))?;
        }
        // Links first: no directory is made where one belongs, since what is bound has no links in its path.
        for (path, target) in self.links() {
            let path = below(path);
            make_above(&path)?;
            std::os::unix::fs::symlink(target, &path).at(Stage::Bundle, || what(&path))?;
        }
        for (path, bound) in self.binds() {
            let path = below(path);
            make_above(&path)?;
            match bound.kind {
                FileKind::Dir => make_dir(&path)?,
                FileKind::File => drop(fs::File::create_new(&path).at(Stage::Bundle, || what(&path))?),
            }
        }
        Ok(())
    }
}

/// A path without links, and the links on the way to it with what is in them.
pub type Followed = (PathBuf, Vec<(PathBuf, PathBuf)>);

/// Where an absolute path leads to, and the links on the way. Of the host as it is now: what is bound is looked up again when
/// the container starts, by a path without links.
pub fn follow(path: &Path) -> Result<Followed> {
    let what = || format!("find {}", path.display());
    let mut left: VecDeque<OsString> = parts(path).collect();
    let (mut at, mut links) = (PathBuf::from("/"), Vec::new());
    while let Some(part) = left.pop_front() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        if !fs::symlink_metadata(&next).at(Stage::Bundle, what)?.is_symlink() {
            at = next;
            continue;
        }
        if links.len() == LINKS_MAX {
            return Err(nix::errno::Errno::ELOOP).at(Stage::Bundle, what);
        }
        let target = fs::read_link(&next).at(Stage::Bundle, what)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
            left.push_front(part);
        }
        links.push((next, target));
    }
    Ok((at, links))
}

fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn make_above(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), make_dir)
}

fn make_dir(path: &Path) -> Result<()> {
    // One that is there is no error.
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.at(Stage::Bundle, || format!("make {}", path.display()))
}
