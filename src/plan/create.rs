//! The plan of a new container: every step of the parent and every operation of the child, in order.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cgroup::{self, CgroupPlan};
use super::op::{
    EndLink, Enter, Entry, HookKind, IntoCgroup, MapWriter, Mounts, Op, Part, Plan, Reach, Rest, Source, Step,
};
use super::systemd::{self, ScopePlan, Unit};
use super::{annotations, process, rootfs};
use crate::error::{Error, Result, Stage};
use crate::host::{Host, Userns};
use crate::plan::cgroup::rdt;
use crate::plan::cgroup::rootless;
use crate::plan::cgroup::rootless::Tolerance;
use crate::plan::namespace::idmap;
use crate::plan::namespace::idmap::{IdKind, IdMaps};
use crate::plan::namespace::{Kind, Namespaces};
use crate::plan::namespace::{net_devices, sysctl};
use crate::spec::Spec;
use crate::wire::SyncPoint;

/// What the caller chose on the command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// The container's id.
    pub id: String,
    /// The bundle's directory, absolute.
    pub bundle: PathBuf,
    /// How the root is entered.
    pub enter: Enter,
    /// A new session keyring, or the caller's.
    pub keyring: Keyring,
    /// When the program starts.
    pub start: Start,
    /// Descriptors 3 to 3 + n - 1 stay open in the container.
    pub preserve_fds: u32,
    /// Which cgroup driver.
    pub cgroups: Cgroups,
    /// What is done about cgroups that cannot be written.
    pub tolerance: Tolerance,
    /// The program's terminal.
    pub terminal: Terminal,
    /// Namespaces (`CLONE_NEW*`) whose path in config.json is that of the runtime's own: joining them gives the
    /// container nothing of its own.
    pub joined_own: u64,
}

/// The session keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Keyring {
    New,
    Inherit,
}

/// The program's terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Terminal {
    /// It gets none.
    #[default]
    None,
    /// Its master goes to a console socket.
    Socket,
    /// Its master is relayed by our own foreground, whose terminal or pipe gets lines as the program ends them.
    Foreground,
}

impl Terminal {
    /// That of a process which wants one, or does not.
    pub fn of(process: Option<&crate::spec::process::Process>, master: Terminal) -> Terminal {
        if process.is_some_and(|process| process.terminal) { master } else { Terminal::None }
    }
}

/// When the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At `start`.
    OnSignal,
    /// At once (`run`, `exec`).
    Now,
}

/// The cgroup driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cgroups {
    /// Directories are made by brisk.
    #[default]
    File,
    /// A transient scope is asked of systemd.
    Systemd,
    /// None is made.
    Disabled,
}

/// The values every part of the plan looks at.
pub(super) struct Input<'a> {
    pub spec: &'a Spec,
    pub host: &'a Host,
    pub options: &'a Options,
    pub namespaces: &'a Namespaces,
    pub cgroup: Option<&'a CgroupPlan>,
    pub uids: &'a IdMaps,
    pub gids: &'a IdMaps,
    pub mounts: Mounts,
}

impl Input<'_> {
    pub(super) fn new_userns(&self) -> bool {
        self.namespaces.is_new(Kind::User)
    }

    /// Whether the container's root has authority only over a user namespace.
    pub(super) fn in_userns(&self) -> bool {
        self.namespaces.contains(Kind::User) || self.host.userns == Userns::Nested
    }
}

/// Parent steps and child operations under construction.
#[derive(Default)]
pub(super) struct Draft {
    pub before_clone: Vec<Step>,
    /// [`Step::CloneTree`]s of what is made after the clone.
    pub late_trees: Vec<Step>,
    pub ops: Vec<Op>,
    pub warnings: Vec<String>,
    pub id_maps: usize,
    /// The first operation that needs the cgroup.
    pub cgroup_from: Option<usize>,
}

impl Draft {
    /// What comes next needs the cgroup.
    pub(super) fn needs_cgroup(&mut self) {
        self.cgroup_from.get_or_insert(self.ops.len());
    }

    /// A source on the host: opened by the child, or cloned by the parent for a child that will not see it. What is in
    /// the container's cgroup is cloned when that is made.
    pub(super) fn source(&mut self, input: &Input<'_>, path: CString, reach: Reach, end: EndLink) -> Source {
        if input.mounts == Mounts::Copy {
            return Source::Path(path);
        }
        let late = joins(input) && is_in_cgroup(input, &path);
        let step = Step::CloneTree { path, reach, propagation: libc::MS_SLAVE, end };
        if late {
            self.needs_cgroup();
            self.late_trees.push(step);
            return Source::Late(self.late_trees.len() - 1);
        }
        let index = self.before_clone.iter().filter(|step| matches!(step, Step::CloneTree { .. })).count();
        self.before_clone.push(step);
        Source::Tree(index)
    }
}

fn is_in_cgroup(input: &Input<'_>, path: &CStr) -> bool {
    let path = Path::new(OsStr::from_bytes(path.to_bytes()));
    input.cgroup.is_some_and(|cgroup| cgroup.dirs.iter().any(|dir| path.starts_with(dir.full_path())))
}

/// Text as a C string; a NUL byte is refused with the name of the field.
pub(super) fn c_string(text: impl Into<Vec<u8>>, field: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(Stage::Bundle, format!("{field} contains a NUL byte")))
}

/// Plans the container of `spec`.
pub fn create(spec: &Spec, host: &Host, options: &Options) -> Result<Plan> {
    let empty = crate::spec::linux::Linux::default();
    let linux = spec.linux.as_ref().unwrap_or(&empty);
    let namespaces = Namespaces::parse(&linux.namespaces)?;
    let uids = IdMaps::parse(IdKind::Uid, &linux.uid_mappings)?;
    let gids = IdMaps::parse(IdKind::Gid, &linux.gid_mappings)?;
    check_namespaces(spec, host, &namespaces, &uids, &gids)?;
    let (mut cgroup, scope) = plan_cgroup(spec, host, &options.id, options.cgroups)?;
    if let Some(cgroup) = &mut cgroup {
        let wanted = annotations::is_on(&spec.annotations, annotations::CGROUP_BEST_EFFORT);
        rootless::tolerate(cgroup, if wanted { Tolerance::Everything } else { options.tolerance });
    }
    let mounts = rootfs::mounts(spec, host, &namespaces, options);
    let (uids, gids, namespaces) = (&uids, &gids, &namespaces);
    let input = Input { spec, host, options, namespaces, cgroup: cgroup.as_ref(), uids, gids, mounts };

    let mut draft = Draft::default();
    if let Some(cgroup) = &cgroup {
        draft.warnings.extend(cgroup.warnings.iter().cloned());
    }
    enter_namespaces(&input, &mut draft)?;
    uts_and_network(&input, &mut draft)?;
    if needs_hooks_stop(&input) {
        if entry(&input).rest == Rest::Join {
            // Hooks look at the cgroup of the pid they are told.
            draft.needs_cgroup();
        }
        draft.ops.push(Op::Sync(SyncPoint::Hooks));
    }
    let sysctls = sysctl::parse(&linux.sysctl, sysctl::Scope::new(namespaces, options.joined_own))?;
    // Without a pid namespace of its own a user namespace gets no new proc. The mounted one has to be taken
    // before parts of it are hidden or read-only.
    let mounted_proc = input.in_userns() && !namespaces.is_new(Kind::Pid);
    if mounted_proc && !sysctls.is_empty() {
        draft.ops.push(Op::Procfs);
    }
    rootfs::plan(&input, &mut draft)?;
    in_cgroup(&input, &mut draft);
    if !mounted_proc && !sysctls.is_empty() {
        draft.ops.push(Op::Procfs);
    }
    for write in sysctls {
        draft.ops.push(Op::Sysctl(
            c_string(format!("sys/{}", write.path), "linux.sysctl")?,
            c_string(write.value, "linux.sysctl")?,
        ));
    }
    let program = process::create(&input, &mut draft)?;
    let tail = draft.ops.iter().position(|op| matches!(op, Op::LeaveRuntime)).unwrap_or(draft.ops.len());
    let steps = steps(&input, &mut draft)?;
    Ok(Plan {
        steps,
        ops: draft.ops,
        tail,
        args: program.args,
        env: program.env,
        cgroup,
        scope,
        warnings: draft.warnings,
    })
}

/// The cgroup of a container of this name, and the systemd scope it belongs to.
pub fn plan_cgroup(
    spec: &Spec,
    host: &Host,
    id: &str,
    cgroups: Cgroups,
) -> Result<(Option<CgroupPlan>, Option<ScopePlan>)> {
    let linux = spec.linux.as_ref();
    let resources = linux.and_then(|l| l.resources.clone()).unwrap_or_default();
    let cgroups_path = linux.and_then(|l| l.cgroups_path.as_deref());
    let privilege = if host.is_real_root() { cgroup::Privilege::Root } else { cgroup::Privilege::Rootless };
    match cgroups {
        Cgroups::Disabled => Ok((None, None)),
        Cgroups::File => {
            let plan = cgroup::plan(&resources, &host.cgroup, &cgroup::Options { cgroups_path, id, privilege })?;
            Ok(((!plan.dirs.is_empty()).then_some(plan), None))
        }
        Cgroups::Systemd => {
            let unit = Unit::parse(cgroups_path, id, privilege)?;
            let manager = match privilege {
                cgroup::Privilege::Root => String::new(),
                cgroup::Privilege::Rootless => {
                    let own = host.cgroup.unified.as_ref().map_or("", |unified| unified.own.as_str());
                    format!("/{}", systemd::user_manager_path(own, host.uid))
                }
            };
            let path = format!("{manager}/{}", unit.path()?);
            let cgroup_options = cgroup::Options { cgroups_path: Some(&path), id, privilege };
            let mut plan = cgroup::plan(&resources, &host.cgroup, &cgroup_options)?;
            let scope = systemd::scope(unit, id, &spec.annotations, &mut plan)?;
            Ok((Some(plan), Some(scope)))
        }
    }
}

fn check_namespaces(spec: &Spec, host: &Host, ns: &Namespaces, uids: &IdMaps, gids: &IdMaps) -> Result<()> {
    let bad = |what: &str| Err(Error::new(Stage::Bundle, what));
    if ns.is_new(Kind::User) {
        if uids.is_empty() || gids.is_empty() {
            return bad("a new user namespace needs linux.uidMappings and linux.gidMappings");
        }
    } else if ns.joined(Kind::User).is_none() && !(uids.is_empty() && gids.is_empty()) {
        return bad("linux.uidMappings and linux.gidMappings need a user namespace");
    }
    if host.uid != 0 && !ns.contains(Kind::User) {
        let error = Error::new(Stage::Namespace, "an ordinary user needs a user namespace in linux.namespaces");
        return Err(error.with_hint("`brisk spec --rootless` writes a bundle for an ordinary user"));
    }
    mapped(spec, uids, gids).map_err(|error| match host.uid {
        0 => error,
        _ => error.with_hint("`brisk check` tells which ids this user may map, and how to get some"),
    })?;
    let offsets = spec.linux.as_ref().is_some_and(|l| !l.time_offsets.is_empty());
    if offsets && !ns.is_new(Kind::Time) {
        return bad("linux.timeOffsets need a new time namespace");
    }
    Ok(())
}

/// The user's ids must exist in the container.
fn mapped(spec: &Spec, uids: &IdMaps, gids: &IdMaps) -> Result<()> {
    let Some(user) = spec.process.as_ref().map(|process| &process.user) else { return Ok(()) };
    let missing = |name: &str, id: u32| {
        Err(Error::new(Stage::Bundle, format!("process.user.{name} {id} is not mapped in the user namespace")))
    };
    if !uids.is_empty() && uids.to_host(user.uid).is_none() {
        return missing("uid", user.uid);
    }
    if gids.is_empty() {
        return Ok(());
    }
    match std::iter::once(&user.gid).chain(&user.additional_gids).find(|gid| gids.to_host(**gid).is_none()) {
        Some(gid) if *gid == user.gid => missing("gid", *gid),
        Some(gid) => missing("additionalGids", *gid),
        None => Ok(()),
    }
}

/// Whether the child has to wait for the parent before the root is set up.
fn needs_hooks_stop(input: &Input<'_>) -> bool {
    let hooks = input.spec.hooks.as_ref();
    let devices = input.spec.linux.as_ref().is_some_and(|linux| !linux.net_devices.is_empty());
    devices || hooks.is_some_and(|hooks| !hooks.prestart.is_empty() || !hooks.create_runtime.is_empty())
}

/// The namespaces made by clone3 itself.
fn clone_flags(input: &Input<'_>) -> u64 {
    let new = input.namespaces.new;
    if input.namespaces.joined(Kind::User).is_some() {
        // Everything is made inside the joined user namespace.
        return 0;
    }
    if input.new_userns() {
        // The rest is unshared after the maps are written: objects such as those of sysfs and mqueue would
        // belong to the overflow uid otherwise.
        return new & (Kind::User.flag() | Kind::Pid.flag());
    }
    // What takes long is left to the child: meanwhile the parent makes the cgroup.
    let mut flags = new & !(Kind::Time.flag() | Kind::Network.flag() | Kind::Ipc.flag() | Kind::Uts.flag());
    if enters_late(input) {
        // It would show the runtime's own cgroup as the container's root.
        flags &= !Kind::Cgroup.flag();
    }
    flags
}

/// How the child gets into its cgroup. With the systemd driver that is systemd's business.
fn entry(input: &Input<'_>) -> Entry {
    let Some(cgroup) = input.cgroup.filter(|_| input.options.cgroups == Cgroups::File) else {
        return Entry { clone: IntoCgroup::No, rest: Rest::Done };
    };
    let versions = || cgroup.dirs.iter().map(|dir| dir.version);
    // Where a hierarchy may be left out, only the attempt tells.
    let all = cgroup.need == cgroup::Need::Required;
    let only_v2 = versions().all(|version| version == cgroup::Version::V2);
    let clone = if only_v2 || all { IntoCgroup::Yes } else { IntoCgroup::No };
    Entry::choose(versions(), clone, if all { Rest::Join } else { Rest::Attach })
}

/// Whether the child is cloned outside of (a part of) its cgroup.
fn enters_late(input: &Input<'_>) -> bool {
    let systemd = input.options.cgroups == Cgroups::Systemd;
    input.cgroup.is_some() && (systemd || entry(input).rest != Rest::Done)
}

fn enter_namespaces(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    // Before a user namespace: keys are charged to who makes them, and an id of the host that many containers map has
    // room for 200.
    if input.options.keyring == Keyring::New {
        draft.ops.push(Op::Keyring(c_string(format!("_ses.{}", input.options.id), "id")?));
    }
    for (index, (kind, path)) in input.namespaces.join.iter().enumerate() {
        draft.before_clone.push(Step::OpenNamespace(*kind, path.clone()));
        if *kind != Kind::Pid {
            draft.ops.push(Op::Join(index, *kind));
            if *kind == Kind::User {
                draft.ops.push(Op::BecomeRoot);
            }
        }
    }
    if input.new_userns() {
        draft.ops.push(Op::Wait(SyncPoint::IdMaps));
        draft.ops.push(Op::BecomeRoot);
    }
    draft.ops.push(Op::NewSession);
    let rest = input.namespaces.new & !clone_flags(input);
    let cgroup = rest & Kind::Cgroup.flag();
    let joined_user = input.namespaces.joined(Kind::User).is_some();
    let pid = if joined_user { rest & Kind::Pid.flag() } else { 0 };
    let unshare = rest & !(cgroup | pid | Kind::Time.flag());
    if unshare != 0 {
        draft.ops.push(Op::Unshare(unshare));
    }
    if rest & Kind::Time.flag() != 0 && !time_in_parent(input) {
        draft.ops.push(Op::Unshare(Kind::Time.flag()));
        if let Some(text) = time_offsets(input)? {
            draft.ops.push(Op::TimeOffsets(text));
        }
    }
    if pid != 0 {
        draft.ops.push(Op::Fork(pid));
    }
    Ok(())
}

/// Whether the child is cloned before the cgroup is made, and joins it.
fn joins(input: &Input<'_>) -> bool {
    entry(input).rest == Rest::Join
}

/// The operations for which the child has to be in its cgroup. They go as late as possible, to where the first
/// mount depends on them: meanwhile the parent makes the cgroup.
fn in_cgroup(input: &Input<'_>, draft: &mut Draft) {
    let mut ops = Vec::new();
    if joins(input) {
        ops.push(Op::JoinCgroup);
        if !draft.late_trees.is_empty() {
            ops.push(Op::TakeTrees(draft.late_trees.len()));
        }
    } else if enters_late(input) && cgroup_matters(input) {
        ops.push(Op::Wait(SyncPoint::Cgroup));
    }
    let flag = input.namespaces.new & !clone_flags(input) & Kind::Cgroup.flag();
    if flag != 0 {
        ops.push(Op::Unshare(flag));
    }
    let at = draft.cgroup_from.unwrap_or(draft.ops.len());
    draft.ops.splice(at..at, ops);
}

/// Whether what follows depends on the cgroup: its namespace, mounts of it, or memory that is charged.
fn cgroup_matters(input: &Input<'_>) -> bool {
    let mounts = |mount: &crate::spec::mounts::Mount| {
        mount.kind.as_deref().is_some_and(|kind| kind.starts_with("cgroup"))
            || mount.options.iter().any(|o| o == "tmpcopyup")
    };
    input.namespaces.is_new(Kind::Cgroup) || input.spec.mounts.iter().any(mounts)
}

/// A time namespace whose offsets the parent writes, so that the child is born in it: on every kernel the
/// child would otherwise enter it at execve only (Linux 6.3) or never. Needs rights an ordinary user lacks.
fn time_in_parent(input: &Input<'_>) -> bool {
    input.namespaces.is_new(Kind::Time) && input.host.uid == 0
}

fn time_offsets(input: &Input<'_>) -> Result<Option<CString>> {
    let mut text = String::new();
    let offsets = input.spec.linux.as_ref().map(|linux| &linux.time_offsets);
    for (clock, offset) in offsets.into_iter().flatten() {
        if !matches!(clock.as_str(), "monotonic" | "boottime") {
            return Err(Error::new(Stage::Bundle, format!("linux.timeOffsets: clock {clock:?} has no offset")));
        }
        text.push_str(&format!("{clock} {} {}\n", offset.secs, offset.nanosecs));
    }
    if text.is_empty() { Ok(None) } else { c_string(text, "linux.timeOffsets").map(Some) }
}

fn uts_and_network(input: &Input<'_>, draft: &mut Draft) -> Result<()> {
    let spec = input.spec;
    if let Some(name) = spec.hostname.as_ref().filter(|name| !name.is_empty()) {
        draft.ops.push(Op::Hostname(c_string(name.as_str(), "hostname")?));
    }
    if let Some(name) = spec.domainname.as_ref().filter(|name| !name.is_empty()) {
        draft.ops.push(Op::Domainname(c_string(name.as_str(), "domainname")?));
    }
    if input.namespaces.is_new(Kind::Network) {
        draft.ops.push(Op::Loopback);
    }
    Ok(())
}

/// What of the cgroup is made before the child, which is cloned into it, and what while the child mounts. One that is
/// moved into it does not wait for trees of it.
fn cgroup_parts(input: &Input<'_>) -> (Option<Part>, Option<Part>) {
    if input.cgroup.is_none() || input.options.cgroups == Cgroups::Systemd {
        return (None, None);
    }
    match entry(input) {
        Entry { rest: Rest::Attach, .. } if input.mounts == Mounts::Skeleton => (Some(Part::All), None),
        Entry { rest: Rest::Done, .. } => (Some(Part::All), None),
        Entry { clone: IntoCgroup::Yes, .. } => (Some(Part::Unified), Some(Part::Rest)),
        _ => (None, Some(Part::All)),
    }
}

/// What the child gets of a cgroup that is made after it.
fn offers(trees: &mut Vec<Step>) -> Vec<Step> {
    let mut steps = vec![Step::OfferCgroup];
    if !trees.is_empty() {
        steps.append(trees);
        steps.push(Step::OfferTrees);
    }
    steps
}

/// The parent's list: it serves the points at which the child asks, in the same order.
fn steps(input: &Input<'_>, draft: &mut Draft) -> Result<Vec<Step>> {
    let mut steps = Vec::with_capacity(24);
    let systemd = input.cgroup.is_some() && input.options.cgroups == Cgroups::Systemd;
    let (early, late) = cgroup_parts(input);
    if let Some(part) = early {
        steps.push(Step::SavePlanned);
        steps.push(Step::CreateCgroup(part));
    }
    steps.append(&mut draft.before_clone);
    steps.push(Step::Clone {
        flags: clone_flags(input),
        into_cgroup: entry(input).clone,
        join_pid: input.namespaces.join.iter().position(|(kind, _)| *kind == Kind::Pid),
        mounts: input.mounts,
        time_offsets: if time_in_parent(input) { Some(time_offsets(input)?.unwrap_or_default()) } else { None },
    });
    if early.is_none() {
        // The child dies with us.
        steps.push(Step::SavePlanned);
    }
    if input.new_userns() {
        steps.push(id_maps(input)?);
        steps.push(Step::Answer(SyncPoint::IdMaps));
    }
    if draft.ops.iter().any(|op| matches!(op, Op::Fork(_))) {
        steps.push(Step::Await(SyncPoint::Launched));
    }
    if systemd {
        steps.push(Step::StartScope);
    } else if let Some(part) = late {
        steps.extend([Step::Spread, Step::CreateCgroup(part)]);
    }
    match entry(input).rest {
        Rest::Done => {}
        Rest::Join => steps.extend(offers(&mut draft.late_trees)),
        Rest::Attach => steps.push(Step::AttachCgroup),
    }
    steps.push(process::any_cpu());
    if let Some(rdt) = input.spec.linux.as_ref().and_then(|linux| linux.intel_rdt.as_ref()) {
        steps.push(Step::Rdt(Box::new(rdt::plan(rdt, &input.options.id)?)));
    }
    let waits = draft.ops.contains(&Op::Wait(SyncPoint::Cgroup));
    // As late as possible: systemd and the child work at the same time.
    if systemd && (waits || needs_hooks_stop(input)) {
        steps.push(Step::JoinScope);
    }
    if needs_hooks_stop(input) {
        steps.push(Step::Await(SyncPoint::Hooks));
        steps.extend(net_devices::plan(input)?);
        let hooks = input.spec.hooks.as_ref();
        if hooks.is_some_and(|hooks| !hooks.prestart.is_empty()) {
            steps.push(Step::Hooks(HookKind::Prestart));
        }
        if hooks.is_some_and(|hooks| !hooks.create_runtime.is_empty()) {
            steps.push(Step::Hooks(HookKind::CreateRuntime));
        }
        steps.push(Step::Answer(SyncPoint::Hooks));
    }
    if waits {
        steps.push(Step::Answer(SyncPoint::Cgroup));
    }
    if systemd && !(waits || needs_hooks_stop(input)) {
        steps.push(Step::JoinScope);
    }
    steps.extend(process::oom_score_adj(input.spec.process.as_ref())?);
    steps.push(Step::SaveState);
    let mut left: Vec<Step> = ownership(input).into_iter().chain(delegation(input)?).collect();
    if let Some(process) = input.spec.process.as_ref().filter(|_| input.in_userns()) {
        left.extend(process::rlimits(process)?);
    }
    steps.extend(process::ready(left));
    steps.push(Step::Publish);
    steps.extend(process::listener(&draft.ops));
    steps.push(match input.options.start {
        Start::OnSignal => Step::Await(SyncPoint::Parked),
        Start::Now => Step::AwaitExec,
    });
    Ok(steps)
}

/// The cgroup belongs to the container's user where it can be written from inside ("Cgroup ownership" of the
/// specification): cgroup v2 only, a new cgroup namespace, and a writable mount of it. Only root can give away files.
fn ownership(input: &Input<'_>) -> Option<Step> {
    let only_v2 = input.cgroup.is_some_and(|c| c.dirs.iter().all(|dir| dir.version == cgroup::Version::V2));
    let writable = |mount: &crate::spec::mounts::Mount| {
        let cgroup = mount.kind.as_deref().is_some_and(|kind| kind == "cgroup" || kind == "cgroup2");
        let last = mount.options.iter().rev().find(|option| matches!(option.as_str(), "ro" | "rro" | "rw" | "rrw"));
        let there = mount.destination.trim_end_matches('/') == "/sys/fs/cgroup";
        cgroup && there && last.is_none_or(|option| option.ends_with('w'))
    };
    let wanted = only_v2
        && input.host.uid == 0
        && input.namespaces.is_new(Kind::Cgroup)
        && input.spec.mounts.iter().any(writable);
    let uid = input.spec.process.as_ref().map_or(0, |process| process.user.uid);
    let owner = match (input.uids.is_empty(), input.namespaces.contains(Kind::User)) {
        (false, _) => input.uids.to_host(uid),
        // Whose ids are not known.
        (true, true) => None,
        (true, false) => Some(uid),
    };
    owner.filter(|owner| wanted && *owner != input.host.uid).map(Step::ChownCgroup)
}

/// The sub-cgroup of `run.oci.delegate-cgroup`. After the cgroup namespace is made, whose root stays the cgroup
/// above it, as with crun.
fn delegation(input: &Input<'_>) -> Result<Option<Step>> {
    let Some(path) = annotations::delegate_cgroup(input.spec)? else { return Ok(None) };
    let only_v2 = input.cgroup.is_some_and(|c| c.dirs.iter().all(|dir| dir.version == cgroup::Version::V2));
    if !only_v2 {
        let what = format!("{} needs a cgroup of the container's own on cgroup v2", annotations::DELEGATE_CGROUP);
        return Err(Error::new(Stage::Cgroup, what).with_hint("a v1 hierarchy cannot be delegated safely"));
    }
    let root = |maps: &IdMaps| if maps.is_empty() { Some(0) } else { maps.to_host(0) };
    let (Some(uid), Some(gid)) = (root(input.uids), root(input.gids)) else {
        let what = format!("{}: the container has no root to delegate to", annotations::DELEGATE_CGROUP);
        return Err(Error::new(Stage::Cgroup, what));
    };
    Ok(Some(Step::DelegateCgroup { path: path.to_owned(), uid, gid }))
}

fn id_maps(input: &Input<'_>) -> Result<Step> {
    let host = input.host;
    let writer = if host.uid == 0 {
        MapWriter::Direct
    } else {
        let own = |maps: &IdMaps, id: u32| {
            let caller = idmap::Caller { id, privilege: idmap::Privilege::Ordinary, sub_ids: &[] };
            idmap::writer(IdKind::Uid, maps, caller).is_ok_and(|writer| writer == idmap::Writer::OwnId)
        };
        if own(input.uids, host.uid) && own(input.gids, host.gid) { MapWriter::OwnId } else { MapWriter::Helpers }
    };
    Ok(Step::WriteIdMaps { uids: input.uids.text(), gids: input.gids.text(), writer })
}

/// A path of the host: absolute, or counted from the bundle.
pub(super) fn host_path(bundle: &Path, path: &str) -> PathBuf {
    bundle.join(path)
}
