//! Makes the directories of a container and prepares them to be used; undoes it all on failure.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::{CgroupPlan, Devices, Dir, Missing, Need, Version};
use crate::sys::{self, cgfs};

use super::member::{Member, lookup, read_all};
use super::{Cgroup, Depth, SavedDir};

/// Advice for a user who has no cgroup to write to.
const DELEGATE: &str = "delegate a cgroup to this user: with a systemd user session use --systemd-cgroup, or start brisk by \
                        `systemd-run --user --scope -p Delegate=yes`";

/// Whether the error says that this user may not.
pub(super) fn forbidden(errno: Errno) -> bool {
    matches!(errno, Errno::EACCES | Errno::EPERM | Errno::EROFS)
}

/// A directory that was made here, to be removed again when something fails.
struct Made {
    mount: Mount,
    path: String,
}

/// The mount point that directories are relative to, opened once per hierarchy.
type Mount = Rc<OwnedFd>;

impl Cgroup {
    /// Makes the cgroups of a new container, writes their limits and restricts their devices: everything is
    /// in force before the first process joins. On failure nothing that was made stays.
    pub fn create(plan: &CgroupPlan) -> Result<Cgroup> {
        let mut cgroup = Cgroup::default();
        cgroup.complete(plan).map(|()| cgroup)
    }

    /// Only that on cgroup2, without its limits: a process can be cloned into it, and nobody else is in it before
    /// [`Cgroup::complete`].
    pub fn create_unified(plan: &CgroupPlan) -> Result<Cgroup> {
        let mut made = Vec::new();
        match create(plan, &mut made, |dir| dir.version == Version::V2) {
            Ok(members) => Ok(Cgroup { members, scope: None }),
            Err(error) => Err(undo(made, error)),
        }
    }

    /// The cgroups that are missing, and all limits. On failure nothing that was made here stays.
    pub fn complete(&mut self, plan: &CgroupPlan) -> Result<()> {
        let mut made = Vec::new();
        let missing = self.members.is_empty();
        let done = create(plan, &mut made, |dir| missing || dir.version == Version::V1).and_then(|members| {
            // v1 first, as in the plan.
            self.members.splice(0..0, members);
            finish(self, plan)
        });
        done.map_err(|error| undo(made, error))
    }
}

/// Removes what was made before an error, which it hands on.
fn undo(made: Vec<Made>, error: Error) -> Error {
    for dir in made.iter().rev() {
        // Not empty means that someone else uses it by now; the error to tell is the first one.
        let _ = cgfs::remove_dir_at(dir.mount.as_fd(), &dir.path);
    }
    error
}

fn create(plan: &CgroupPlan, made: &mut Vec<Made>, wanted: impl Fn(&Dir) -> bool) -> Result<Vec<Member>> {
    let mut members = Vec::with_capacity(plan.dirs.len());
    for dir in plan.dirs.iter().filter(|dir| wanted(dir)) {
        let needed: Vec<&str> =
            plan.writes.iter().filter(|w| w.missing != Missing::Skip).map(|w| w.controller.as_str()).collect();
        match make(dir, &needed, made) {
            Ok(mut member) => {
                member.optional = plan.need == Need::BestEffort && !needed.iter().any(|c| member.has(c));
                members.push(member);
            }
            Err(error) if plan.need == Need::BestEffort && error.root_errno().is_some_and(forbidden) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(members)
}

/// Writes the limits and restricts the devices.
pub(super) fn finish(cgroup: &Cgroup, plan: &CgroupPlan) -> Result<()> {
    for write in &plan.writes {
        if cgroup.with(&write.controller).is_none() && write.missing != Missing::Skip {
            return Err(Error::new(
                Stage::Cgroup,
                format!("cannot set {} to {}: this user may not make a cgroup for it", write.file, write.value),
            )
            .with_hint(
                "delegate the controller to this user (systemd: Delegate=yes for user@.service), or drop the limit",
            ));
        }
    }
    cgroup.apply_new(&plan.writes)?;
    match &plan.devices {
        Devices::Unrestricted => Ok(()),
        devices => cgroup.set_devices(devices),
    }
}

fn make(dir: &Dir, needed: &[&str], made: &mut Vec<Made>) -> Result<Member> {
    let (mount, new) = make_dir(dir, made)?;
    let member = member(dir, mount.as_fd(), needed)?;
    if !new {
        refuse_used(&member)?;
    }
    refuse_frozen(&member)?;
    Ok(member)
}

/// The member for a cgroup that systemd made, or, on a v1 hierarchy it does not manage, left to be made. The container's
/// process is in it already.
pub(super) fn adopt(dir: &Dir, needed: &[&str]) -> Result<Member> {
    let mount = match dir.version {
        Version::V1 => make_dir(dir, &mut Vec::new())?.0,
        Version::V2 => open_mount(dir)?,
    };
    // systemd has enabled what it knows (Delegate=); only what is asked for and missing is worth the lock.
    let mut dir = dir.clone();
    if dir.version == Version::V2 {
        dir.controllers.retain(|c| needed.contains(&c.as_str()));
    }
    member(&dir, mount.as_fd(), needed)
}

fn open_mount(dir: &Dir) -> Result<Mount> {
    let mount = cgfs::open_dir(&dir.mount_point).at(Stage::Cgroup, || format!("open {}", dir.mount_point.display()))?;
    Ok(Mount::new(mount))
}

fn make_dir(dir: &Dir, made: &mut Vec<Made>) -> Result<(Mount, bool)> {
    let mount = open_mount(dir)?;
    let new = make_path(&mount, &dir.path, made).map_err(|errno| {
        let error = Error::errno(Stage::Cgroup, format!("mkdir {}", dir.full_path().display()), errno);
        if matches!(errno, Errno::EACCES | Errno::EPERM) { error.with_hint(DELEGATE) } else { error }
    })?;
    Ok((mount, new))
}

fn member(dir: &Dir, mount: BorrowedFd, needed: &[&str]) -> Result<Member> {
    let what = || format!("open {}", dir.full_path().display());
    let fd = cgfs::open_dir_at(mount, &dir.path).at(Stage::Cgroup, what)?;
    let saved = SavedDir {
        path: dir.full_path(),
        mount_point: dir.mount_point.clone(),
        controllers: dir.controllers.clone(),
        version: dir.version,
    };
    let mut member = Member::new(fd, saved);
    match dir.version {
        Version::V1 if member.has("cpuset") => fill_cpuset(mount, &dir.path)?,
        Version::V1 => {}
        Version::V2 => enable(mount, dir, needed, &mut member)?,
    }
    Ok(member)
}

/// Makes `path` and the parents it lacks; true when the last directory was not there before. Retries when a
/// parent vanishes between two steps: another container's removal may take it.
fn make_path(mount: &Mount, path: &str, made: &mut Vec<Made>) -> sys::Result<bool> {
    let mut record = |path: &str| made.push(Made { mount: mount.clone(), path: path.to_owned() });
    let mut tries = 0;
    loop {
        match cgfs::make_dir(mount.as_fd(), path) {
            Ok(()) => {
                record(path);
                return Ok(true);
            }
            Err(Errno::EEXIST) => return Ok(false),
            Err(Errno::ENOENT) if tries < 16 => tries += 1,
            Err(errno) => return Err(errno),
        }
        for (end, _) in path.match_indices('/') {
            let parent = path.get(..end).unwrap_or(path);
            match cgfs::make_dir(mount.as_fd(), parent) {
                Ok(()) => record(parent),
                Err(Errno::EEXIST) => {}
                Err(Errno::ENOENT) => break,
                Err(errno) => return Err(errno),
            }
        }
    }
}

fn read_below(mount: BorrowedFd, path: &str, file: &str) -> Result<String> {
    let name = join(path, file);
    cgfs::open_file(mount, &name, cgfs::Open::Read)
        .and_then(|fd| read_all(fd.as_fd()))
        .at(Stage::Cgroup, || format!("read {name}"))
}

fn write_below(mount: BorrowedFd, path: &str, file: &str, value: &str) -> sys::Result<()> {
    cgfs::write_text(cgfs::open_file(mount, &join(path, file), cgfs::Open::Write)?.as_fd(), value)
}

fn join(path: &str, file: &str) -> String {
    if path.is_empty() { file.to_owned() } else { format!("{path}/{file}") }
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A new v1 cpuset is empty and admits no process: gives it, and its parents where they are empty too, what its
/// parent has (Documentation/admin-guide/cgroup-v1/cpusets.rst).
pub(super) fn fill_cpuset(mount: BorrowedFd, path: &str) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        cpuset_value(mount, path, file)?;
    }
    Ok(())
}

fn cpuset_value(mount: BorrowedFd, path: &str, file: &str) -> Result<String> {
    let value = read_below(mount, path, file)?;
    if !value.trim().is_empty() || path.is_empty() {
        return Ok(value);
    }
    let inherited = cpuset_value(mount, parent(path), file)?;
    write_below(mount, path, file, inherited.trim())
        .at(Stage::Cgroup, || format!("write {} to {}", inherited.trim(), join(path, file)))?;
    Ok(inherited)
}

/// Enables the controllers down to the cgroup. Nothing is written where they are enabled already: every write to
/// cgroup.subtree_control takes a global lock. `member` is told which controllers it got.
fn enable(mount: BorrowedFd, dir: &Dir, needed: &[&str], member: &mut Member) -> Result<()> {
    let mut got = controllers(member)?;
    let lacks = |got: &[String]| dir.controllers.iter().any(|c| !got.contains(c));
    if lacks(&got) {
        let ancestors =
            std::iter::once("").chain(dir.path.match_indices('/').filter_map(|(end, _)| dir.path.get(..end)));
        for ancestor in ancestors {
            enable_at(mount, ancestor, &dir.controllers, needed)?;
        }
        got = controllers(member)?;
    }
    check_type(member, &got, needed)?;
    member.dir.controllers = got;
    Ok(())
}

fn controllers(member: &Member) -> Result<Vec<String>> {
    let text =
        member.read("cgroup.controllers").at(Stage::Cgroup, || format!("read {}/cgroup.controllers", member.path()))?;
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

fn enable_at(mount: BorrowedFd, path: &str, wanted: &[String], needed: &[&str]) -> Result<()> {
    const FILE: &str = "cgroup.subtree_control";
    let enabled = read_below(mount, path, FILE)?;
    let available = read_below(mount, path, "cgroup.controllers")?;
    let has = |list: &str, controller: &str| list.split_ascii_whitespace().any(|c| c == controller);
    let mut missing: Vec<String> =
        wanted.iter().filter(|c| has(&available, c) && !has(&enabled, c)).map(|c| format!("+{c}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Err(all) = write_below(mount, path, FILE, &missing.join(" ")) else { return Ok(()) };
    // The kernel takes all or none: one by one, those that were asked for nothing may stay off. Below processes each
    // costs the cgroup its place as a domain, so there they do; and a domain controller, which cannot be had, goes first.
    let is_needed = |controller: &str| needed.contains(&controller.trim_start_matches('+'));
    if matches!(all, Errno::EBUSY | Errno::EOPNOTSUPP) {
        missing.retain(|controller| is_needed(controller));
        missing.sort_by_key(|controller| THREADED.contains(&controller.trim_start_matches('+')));
    }
    for controller in &missing {
        match write_below(mount, path, FILE, controller) {
            Err(errno) if is_needed(controller) => {
                let what = format!("write {controller} to {}", join(path, FILE));
                let error = Error::errno(Stage::Cgroup, what, errno);
                let internal = matches!(errno, Errno::EBUSY | Errno::EOPNOTSUPP);
                return Err(if internal { error.with_hint(INTERNAL) } else { error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Advice where cgroups(7), "no internal processes", is in the way.
const INTERNAL: &str = "an ancestor has processes of its own; choose a cgroupsPath below a cgroup without any";

/// A cgroup below one that has processes of its own cannot have them: it is `domain invalid` until it becomes
/// threaded, and a threaded one has only the cpu, cpuset, perf_event and pids controllers (cgroups(7)).
fn check_type(member: &mut Member, got: &[String], needed: &[&str]) -> Result<()> {
    // Only a domain has one of the other controllers, so the type is not worth a look then.
    if got.iter().any(|controller| !THREADED.contains(&controller.as_str())) {
        return Ok(());
    }
    let Some(kind) = member.read_if_any("cgroup.type")? else { return Ok(()) };
    match kind.trim() {
        "domain invalid" | "threaded" | "domain threaded" if needed.iter().any(|c| !THREADED.contains(c)) => {
            Err(Error::new(
                Stage::Cgroup,
                format!("cannot limit {} in {}: the cgroup is {}", needed.join(", "), member.path(), kind.trim()),
            )
            .with_hint(INTERNAL))
        }
        "domain invalid" => member
            .write("cgroup.type", "threaded")
            .at(Stage::Cgroup, || format!("write threaded to {}/cgroup.type", member.path())),
        _ => Ok(()),
    }
}

const THREADED: &[&str] = &["cgroup", "cpu", "cpuset", "perf_event", "pids"];

/// Two containers in one cgroup share limits, freezer and kill: refused (runc does since 1.2).
fn refuse_used(member: &Member) -> Result<()> {
    let mut pids = Vec::new();
    member.collect_pids(Depth::Tree, &mut pids)?;
    match pids.len() {
        0 => Ok(()),
        n => Err(Error::new(
            Stage::Cgroup,
            format!("container's cgroup {} is not empty: {n} process(es) found", member.path()),
        )),
    }
}

/// In a frozen cgroup the container's first process would stop before it could say anything.
fn refuse_frozen(member: &Member) -> Result<()> {
    let frozen = match member.dir.version {
        Version::V1 if member.has("freezer") => {
            member.read_if_any("freezer.state")?.is_some_and(|state| state.trim() != "THAWED")
        }
        Version::V1 => false,
        Version::V2 => {
            member.read_if_any("cgroup.events")?.and_then(|text| lookup(&text, "frozen")).is_some_and(|f| f == 1)
        }
    };
    if frozen {
        return Err(Error::new(Stage::Cgroup, format!("container's cgroup {} unexpectedly frozen", member.path())));
    }
    Ok(())
}
