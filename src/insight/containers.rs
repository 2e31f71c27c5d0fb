//! The containers of this host, whoever has made them.
//!
//! Not trusted: what is in a state root that others may write ([`StateRoot`] refuses it), and the words of images in
//! annotations.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use brisk::cli::filter::ListFilter;
use brisk::container::Container;
use brisk::container::options::Global;
use brisk::error::{Error, Result, Stage};
use brisk::proc::passwd::Users;
use brisk::state::{Caller, Dir, RECORD, Record, StateRoot, does_not_exist, near};
use nix::errno::Errno;

use crate::foreign;
use crate::subject::{RuntimeKind, Subject};

/// Where containers are looked for, and which are meant.
pub struct Finder<'a> {
    roots: Vec<StateRoot>,
    users: Users,
    /// Only containers of these names; all where there are none.
    ids: &'a [String],
    own: &'a StateRoot,
}

/// Where containers are kept: below `--root`, in the usual root, and wherever runtimes and engines keep those of this user.
pub fn roots(global: &Global<'_>) -> Result<Vec<StateRoot>> {
    let caller = Caller::probe()?;
    let mut roots = vec![global.root.clone(), StateRoot::choose(None, Path::new("/"), &caller)?];
    for path in usual_roots(&caller) {
        roots.push(StateRoot::choose(Some(&path), Path::new("/"), &Caller::default())?);
    }
    let mut known = BTreeSet::new();
    roots.retain(|root| known.insert(root.path().to_owned()));
    Ok(roots)
}

/// What was found.
#[derive(Debug, Default)]
pub struct Discovery {
    /// Sorted by name.
    pub subjects: Vec<Subject>,
    /// What could not be read.
    pub problems: Problems,
    /// The names of all that are there, wanted or not, read or not.
    pub met: BTreeSet<String>,
}

/// What could not be read, or not be known.
#[derive(Debug, Default)]
pub struct Problems {
    pub told: Vec<String>,
    /// What the system kept from us, as it does where too much is open or rights are missing: whoever asked for all has not got it.
    kept: Vec<String>,
}

impl Problems {
    /// Notes it. What has gone meanwhile is not kept from anybody, nor is a state that is damaged.
    pub fn add(&mut self, name: &str, error: &Error) {
        let is_gone = |errno| matches!(errno, Errno::ENOENT | Errno::ENODEV | Errno::ESRCH);
        if error.root_errno().is_some_and(|errno| !is_gone(errno)) {
            self.kept.push(name.to_owned());
        }
        self.told.push(format!("{name}: {error}"));
    }
}

impl<'a> Finder<'a> {
    /// In `--root`, or wherever runtimes and engines keep containers of this user.
    pub fn new(global: &'a Global<'_>, ids: &'a [String]) -> Result<Finder<'a>> {
        let roots = if global.root.is_given() { vec![global.root.clone()] } else { roots(global)? };
        // Without names users have numbers.
        Ok(Finder { roots, users: Users::of_host().unwrap_or_default(), ids, own: &global.root })
    }

    /// Looks. A container that went away meanwhile is none; one that cannot be read is told of.
    pub fn look(&self, filters: &[ListFilter]) -> Result<Discovery> {
        let mut found = Discovery::default();
        for root in &self.roots {
            let ids = match root.ids() {
                // Of other users, and of runtimes that were never used here.
                Err(error) if !std::ptr::eq(root, &raw const self.roots[0]) && is_not_ours(error.root_errno()) => {
                    continue;
                }
                ids => ids,
            };
            match ids {
                Ok(ids) => self.look_in(root, &ids, filters, &mut found),
                Err(error) if self.roots.len() > 1 => found.problems.add(&root.path().to_string_lossy(), &error),
                Err(error) => return Err(error),
            }
        }
        found.subjects.sort_by(|one, other| (&one.id, &one.root).cmp(&(&other.id, &other.root)));
        Ok(found)
    }

    /// [`Self::look`] where each name has to be that of a container.
    pub fn look_for_all(&self, filters: &[ListFilter]) -> Result<Discovery> {
        let found = self.look(filters)?;
        match self.ids.iter().find(|id| !found.met.contains(*id)) {
            Some(id) => {
                let of_near = self.roots.iter().find(|root| near(root, id).is_some());
                Err(does_not_exist(of_near.unwrap_or(self.own), id))
            }
            None => Ok(found),
        }
    }

    /// An error where one that was named is not among the `shown` because of a problem with it, which has been told, or where something was
    /// kept from us, as `list` has it. The others are worth to be shown before.
    pub fn all_are_shown(&self, shown: &[&Subject], problems: &Problems) -> Result<()> {
        let unread = |id: &&String| {
            let problem = format!("{id}: ");
            let has = |told: &String| told.starts_with(&problem);
            !shown.iter().any(|subject| subject.id == **id) && problems.told.iter().any(has)
        };
        let unread: BTreeSet<&str> = self.ids.iter().filter(unread).chain(&problems.kept).map(String::as_str).collect();
        let unread: Vec<&str> = unread.into_iter().collect();
        match unread.as_slice() {
            [] => Ok(()),
            unread => Err(Error::new(Stage::State, format!("{} cannot be read", unread.join(", ")))),
        }
    }

    /// The one container of this name.
    pub fn one(&self, global: &Global<'_>, id: &str) -> Result<Subject> {
        let mut found = self.look_for_all(&[])?;
        found.problems.told.iter().for_each(|problem| (global.warn)(problem));
        match (found.subjects.pop(), found.subjects.is_empty()) {
            (Some(subject), true) => Ok(subject),
            (Some(_), false) => Err(Error::new(Stage::Args, format!("{id} is the name of several containers"))
                .with_hint("--root says which; `brisk stats --json` shows the roots of all")),
            (None, _) => Err(Error::new(Stage::State, format!("{id} cannot be read"))),
        }
    }

    fn look_in(&self, root: &StateRoot, ids: &[String], filters: &[ListFilter], found: &mut Discovery) {
        for id in ids.iter().filter(|id| self.ids.is_empty() || self.ids.contains(id)) {
            match self.read(root, id) {
                Ok(None) => continue,
                Ok(Some(subject)) if subject.is_wanted(filters) => found.subjects.push(subject),
                Ok(Some(_)) => {}
                Err(error) => found.problems.add(id, &error),
            }
            found.met.insert(id.clone());
        }
    }

    fn read(&self, root: &StateRoot, id: &str) -> Result<Option<Subject>> {
        let Some(dir) = Dir::find(root, id)? else { return Ok(None) };
        let uid = dir.owner()?;
        let owner = self.users.name(uid).map_or_else(|| format!("#{uid}"), str::to_owned);
        let subject = match dir.read(RECORD)? {
            Some(text) => match foreign::runc(&dir, &text)? {
                Some(subject) => Some(subject),
                None => Some(own(Container { record: Record::parse(&text)?, dir })?),
            },
            None => foreign::crun(&dir)?,
        };
        // The name is that of the directory, whatever is written in it.
        Ok(subject.map(|subject| Subject { id: id.to_owned(), root: root.path().to_owned(), owner, ..subject }))
    }
}

fn own(container: Container) -> Result<Subject> {
    let (status, cgroup) = (container.status()?, container.saved_cgroup()?);
    let record = container.record;
    Ok(Subject {
        id: record.id.clone(),
        maker: RuntimeKind::Brisk,
        root: PathBuf::new(),
        status,
        init: record.live_init()?,
        created: record.created,
        bundle: record.bundle,
        rootfs: record.rootfs.into(),
        owner: String::new(),
        annotations: record.annotations,
        cgroup,
    })
}

fn is_not_ours(errno: Option<Errno>) -> bool {
    matches!(errno, Some(Errno::ENOENT | Errno::EACCES | Errno::ENOTDIR))
}

/// Where runtimes keep their state by themselves, and where Docker and containerd have them keep it: with a directory for
/// each runtime and namespace.
fn usual_roots(caller: &Caller) -> Vec<PathBuf> {
    if !caller.real_root {
        let dir = caller.runtime_dir.as_deref().map(Path::new).filter(|dir| dir.is_absolute());
        return dir.into_iter().flat_map(|dir| ["runc", "crun"].map(|name| dir.join(name))).collect();
    }
    let mut roots = ["/run/runc", "/run/crun"].map(PathBuf::from).to_vec();
    roots.extend(below("/run/containerd/runc", ""));
    roots.extend(below("/run/docker", "runtime-").into_iter().map(|runtime| runtime.join("moby")));
    roots.sort();
    roots
}

/// The directories in `dir` whose names begin so. Where there is none, that engine is not here.
fn below(dir: &str, prefix: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let named = entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)));
    named.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}
