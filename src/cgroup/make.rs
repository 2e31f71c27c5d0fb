//! Makes the directories of a container and prepares them to be used; undoes it all on failure.

use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::{CgroupDir, CgroupPlan, Devices, Need, Version, WhenMissing};
use crate::plan::reach::Reach;
use crate::sys::{self, fs};

use super::controllers::enable;
use super::cpuset::{self, WasThere};
use super::file::{forbidden, lookup, make_dir as make_dir_at, open_dir, remove_dir};
use super::handle::Cgroup;
use super::member::Member;
use super::saved::{Saved, SavedDir, SavedScope};

/// Advice for a user who has no cgroup to write to.
const DELEGATE: &str = "delegate a cgroup to this user: with a systemd user session use --systemd-cgroup, or start brisk by \
                        `systemd-run --user --scope -p Delegate=yes`";

/// Directories that were made here, to be removed again when something fails. By path: a descriptor of each, held until
/// all is done, may be more than the caller's limit allows.
type MadeDirs = Vec<PathBuf>;

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
        let mut made = MadeDirs::new();
        match create(plan, &mut made, |dir| dir.version == Version::V2) {
            Ok(members) => Ok(Cgroup { members, scope: None }),
            Err(error) => Err(undo(made, error)),
        }
    }

    /// The cgroups that are missing, and all limits. On failure nothing that was made here stays.
    pub fn complete(&mut self, plan: &CgroupPlan) -> Result<()> {
        let mut made = MadeDirs::new();
        let missing = self.members.is_empty();
        let done = create(plan, &mut made, |dir| missing || dir.version == Version::V1).and_then(|members| {
            // v1 first, as in the plan.
            self.members.splice(0..0, members);
            finish(self, plan)
        });
        done.map_err(|error| undo(made, error))
    }

    /// Refuses cgroups that are there already and frozen, or would be made in one that is, before systemd puts a process into them,
    /// which would stop there.
    pub fn refuse_frozen(plan: &CgroupPlan) -> Result<()> {
        Saved::planned(plan, None).dirs.into_iter().try_for_each(|mut dir| {
            while dir.path != dir.mount_point && !dir.path.exists() && dir.path.pop() {}
            refuse_frozen(&Member::unopened(dir))
        })
    }

    /// Takes over the cgroup of a scope that was started with process `pid` in it: writes the limits, restricts the
    /// devices, and moves the process into the v1 hierarchies systemd does not manage.
    pub fn adopt(plan: &CgroupPlan, scope: SavedScope, pid: i32) -> Result<Cgroup> {
        let needed = plan.needed();
        let mut members = Vec::with_capacity(plan.dirs.len());
        for dir in &plan.dirs {
            members.push(adopt(dir, &needed)?);
        }
        let mut cgroup = Cgroup { members, scope: None };
        finish(&cgroup, plan)?;
        cgroup.scope = Some(scope);
        if plan.dirs.iter().any(|dir| dir.version == Version::V1) {
            cgroup.attach_v1(pid)?;
        }
        Ok(cgroup)
    }
}

/// Removes what was made before an error, which it hands on.
fn undo(made: MadeDirs, error: Error) -> Error {
    for dir in made.iter().rev() {
        // Not empty means that someone else uses it by now; the error to tell is the first one.
        let _ = remove_dir(dir);
    }
    error
}

fn create(plan: &CgroupPlan, made: &mut MadeDirs, wanted: impl Fn(&CgroupDir) -> bool) -> Result<Vec<Member>> {
    let mut members = Vec::with_capacity(plan.dirs.len());
    let needed = plan.needed();
    for dir in plan.dirs.iter().filter(|dir| wanted(dir)) {
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
fn finish(cgroup: &Cgroup, plan: &CgroupPlan) -> Result<()> {
    for write in &plan.writes {
        if cgroup.with(&write.controller).is_none() && write.missing != WhenMissing::Skip {
            return Err(Error::new(
                Stage::Cgroup,
                // runc's words, which callers look for.
                format!(
                    "cannot set {} limit: container could not join or create cgroup for {} {}",
                    write.controller, write.file, write.value
                ),
            )
            .with_hint(
                "delegate the controller to this user (systemd: Delegate=yes for user@.service), or drop the limit",
            ));
        }
    }
    cgroup.apply_new(&plan.writes)?;
    match &plan.devices {
        Devices::Unrestricted => Ok(()),
        devices => match cgroup.set_devices(devices) {
            // `--rootless true` asks for no more than can be had.
            Err(error) if plan.need == Need::BestEffort && lacks_rights(cgroup, devices, &error) => Ok(()),
            result => result,
        },
    }
}

/// Whether there is no cgroup to restrict devices in, or this user may not do it there.
fn lacks_rights(cgroup: &Cgroup, devices: &Devices, error: &Error) -> bool {
    let there = match devices {
        Devices::Unrestricted => true,
        Devices::V1(_) => cgroup.with("devices").is_some(),
        Devices::Bpf(_) => cgroup.v2_dir().is_some(),
    };
    !there || error.root_errno().is_some_and(forbidden)
}

fn make(dir: &CgroupDir, needed: &[&str], made: &mut MadeDirs) -> Result<Member> {
    let found = make_dir(dir, made)?;
    let member = member(dir, found, needed)?;
    if found == WasThere::Yes {
        refuse_used(&member)?;
    }
    // A new one is frozen only if one above is. At the top that is the root, which cannot be, or of a cgroup namespace,
    // where we would be frozen as well.
    if found == WasThere::Yes || dir.path.contains('/') {
        refuse_frozen(&member)?;
    }
    Ok(member)
}

/// The member for a cgroup that systemd made, or, on a v1 hierarchy it does not manage, left to be made. The container's
/// process is in it already.
fn adopt(dir: &CgroupDir, needed: &[&str]) -> Result<Member> {
    let found = match dir.version {
        Version::V1 => make_dir(dir, &mut MadeDirs::new())?,
        Version::V2 => WasThere::Yes,
    };
    // systemd has enabled what it knows (Delegate=). The rest too, or an update could not limit what nothing was asked of
    // before; nothing is written where an earlier container has had it enabled.
    member(dir, found, needed)
}

fn make_dir(dir: &CgroupDir, made: &mut MadeDirs) -> Result<WasThere> {
    make_path(&dir.mount_point, &dir.path, made).map_err(|errno| {
        let what = format!("mkdir {}", dir.full_path().display());
        match errno {
            // runc's words, which callers look for.
            Errno::EACCES | Errno::EPERM => {
                let what = format!("unable to apply cgroup configuration: {what}");
                Error::errno(Stage::Cgroup, what, errno).with_hint(DELEGATE)
            }
            _ => Error::errno(Stage::Cgroup, what, errno),
        }
    })
}

fn member(dir: &CgroupDir, found: WasThere, needed: &[&str]) -> Result<Member> {
    let saved = SavedDir {
        path: dir.full_path(),
        mount_point: dir.mount_point.clone(),
        controllers: dir.controllers.clone(),
        version: dir.version,
    };
    if dir.version == Version::V1 && found == WasThere::No {
        let member = Member::unopened(saved);
        if member.has("cpuset") {
            cpuset::fill(&dir.mount_point, &dir.path, found)?;
        }
        return Ok(member);
    }
    let fd = open_dir(&saved.path).at(Stage::Cgroup, || format!("open {}", saved.path.display()))?;
    let mut member = Member::new(fd, saved);
    match dir.version {
        Version::V1 if member.has("cpuset") => cpuset::fill(&dir.mount_point, &dir.path, found)?,
        Version::V1 => {}
        Version::V2 => enable(dir, needed, &mut member)?,
    }
    Ok(member)
}

/// Makes `path` and the parents it lacks below `top`. Retries when a parent vanishes between two steps: another container's
/// removal may take it.
fn make_path(top: &Path, path: &str, made: &mut MadeDirs) -> sys::Result<WasThere> {
    let mut mkdir = |path: PathBuf| make_dir_at(fs::CWD, &path).map(|()| made.push(path));
    let mut tries = 0;
    loop {
        match mkdir(top.join(path)) {
            Ok(()) => return Ok(WasThere::No),
            Err(Errno::EEXIST) => return Ok(WasThere::Yes),
            Err(Errno::ENOENT) if tries < 16 => tries += 1,
            Err(errno) => return Err(errno),
        }
        for (end, _) in path.match_indices('/') {
            match mkdir(top.join(path.get(..end).unwrap_or(path))) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(Errno::ENOENT) => break,
                Err(errno) => return Err(errno),
            }
        }
    }
}

/// Two containers in one cgroup share limits, freezer and kill: refused (runc does since 1.2).
fn refuse_used(member: &Member) -> Result<()> {
    let mut pids = Vec::new();
    member.collect_pids(Reach::Tree, &mut pids)?;
    match pids.len() {
        0 => Ok(()),
        n => Err(Error::new(
            Stage::Cgroup,
            format!("container's cgroup is not empty: {n} process(es) found in {}", member.path()),
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
        return Err(Error::new(Stage::Cgroup, format!("container's cgroup unexpectedly frozen: {}", member.path())));
    }
    Ok(())
}
