//! What this host gives a container runtime, found out by trying: the facts behind `brisk check`. Changes nothing; runs
//! in the parent. What they mean for a user is said in [`super::findings`].

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::Host;
use super::cgroup::Layout;
use super::programs::find_program;
use super::sub_ids::SubIds;
use crate::error::{Context, Result, Stage};
use crate::proc::file;
use crate::proc::passwd::Users;
use crate::sys::clone::{self, CloneArgs, Cloned};
use crate::sys::mount_attr::MountAttr;
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::process::{self, Exit};
use crate::sys::seccomp::{self, Support};
use crate::sys::{self, descriptor, fs, mount};

/// A feature of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// Its name: a system call or a word of the documentation.
    pub name: &'static str,
    /// The first kernel that has it.
    pub since: &'static str,
    /// What it is good for here.
    pub gives: &'static str,
    /// Whether a container can be had without it.
    pub need: CheckNeed,
    /// Whether this kernel has it.
    pub there: bool,
}

/// What is lost without something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckNeed {
    /// No container can be made.
    Everything,
    /// Part of what can be asked for.
    Something,
    /// Nothing: there is another way that takes longer.
    Speed,
}

/// Everything that is known.
#[derive(Clone, Debug)]
pub struct CheckFacts {
    /// The user.
    pub uid: u32,
    /// Its login name; the number where it has none.
    pub name: String,
    /// Root with authority over the machine.
    pub real_root: bool,
    /// The system's own systemd is this user's to ask.
    pub owns_systemd: bool,
    /// The kernel's release, as uname(1) -r.
    pub release: String,
    /// Its features.
    pub features: Vec<Feature>,
    /// Its seccomp.
    pub seccomp: Support,
    /// Whether this user may make a user namespace, or why not.
    pub userns: std::result::Result<(), Errno>,
    /// Switches that forbid user namespaces to ordinary users: the sysctl as sysctl(8) sets it.
    pub userns_switch: Option<&'static str>,
    /// Security modules in force.
    pub lsms: Vec<String>,
    /// The cgroups.
    pub layout: Layout,
    /// Controllers that this user's own containers can get by the file driver; `None` where no cgroup can be made.
    pub own_controllers: Option<Vec<String>>,
    /// Controllers that the user's service manager was given; `None` where there is no such manager.
    pub user_manager: Option<Vec<String>>,
    /// systemd runs the machine.
    pub systemd: bool,
    /// Subordinate ids.
    pub sub_ids: SubIds,
    /// Programs and where they are.
    pub programs: Vec<(&'static str, Option<PathBuf>)>,
    /// `XDG_RUNTIME_DIR`, where it is a directory of this user.
    pub runtime_dir: Option<PathBuf>,
}

/// Programs that are called where they are needed.
const PROGRAMS: &[&str] = &["newuidmap", "newgidmap", "criu"];

/// Switches of distributions: the file, the value that forbids, and what allows again.
const SWITCHES: &[(&str, &str, &str)] = &[
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
];

impl CheckFacts {
    /// Asks the kernel and looks around.
    pub fn probe() -> Result<CheckFacts> {
        let host = Host::probe()?;
        // Without them a user is its number.
        let users = Users::of_host().unwrap_or_default();
        let switch = SWITCHES.iter().find(|(path, forbids, _)| read(path).trim() == *forbids);
        let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Ok(CheckFacts {
            uid: host.uid,
            name: users.name(host.uid).map_or_else(|| host.uid.to_string(), str::to_owned),
            real_root: host.is_real_root(),
            owns_systemd: host.owns_systemd(),
            release: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            features: features()?,
            seccomp: seccomp::probe(),
            userns: user_namespace(),
            userns_switch: switch.map(|(.., allow)| *allow),
            lsms: lsms(),
            own_controllers: own_controllers(&host.cgroup),
            user_manager: user_manager(&host.cgroup, host.uid),
            layout: host.cgroup,
            systemd: Path::new("/run/systemd/system").is_dir(),
            sub_ids: host.sub_ids,
            programs: PROGRAMS.iter().map(|name| (*name, find_program(name))).collect(),
            runtime_dir: runtime_dir.filter(|dir| std::fs::metadata(dir).is_ok_and(|d| d.uid() == host.uid)),
        })
    }

    /// Where a program is.
    pub fn program(&self, name: &str) -> Option<&Path> {
        self.programs.iter().find(|(known, _)| *known == name)?.1.as_deref()
    }
}

/// A file that may be missing or closed to this user.
fn read(path: impl AsRef<Path>) -> String {
    file::read_text(path).unwrap_or_default()
}

fn known<T>(result: sys::Result<T>) -> bool {
    !matches!(result, Err(Errno::ENOSYS))
}

/// Each is tried in a way that cannot succeed in changing anything: on objects that do not fit, or for nothing.
fn features() -> Result<Vec<Feature>> {
    let root = File::open("/").at(Stage::Host, || "open /")?;
    let root = root.as_fd();
    let row = |name, since, need, gives, there| Feature { name, since, gives, need, there };
    let namespace = |name: &str| Path::new("/proc/self/ns").join(name).exists();
    Ok(vec![
        row("openat2", "5.6", CheckNeed::Everything, "paths that stay inside the root", open_in_root(root)),
        row(
            "fsopen",
            "5.2",
            CheckNeed::Everything,
            "mounts made before they can be seen",
            known(mount::fs_open(c"tmpfs")),
        ),
        row("mount_setattr", "5.12", CheckNeed::Something, "id-mapped and recursive mount options", set_nothing(root)),
        row("clone3", "5.5", CheckNeed::Everything, "processes in new namespaces", into_cgroup(root) != Errno::ENOSYS),
        row("CLONE_INTO_CGROUP", "5.7", CheckNeed::Speed, "born in the cgroup (v2)", into_cgroup(root) == Errno::EBADF),
        row("pidfd_open", "5.3", CheckNeed::Everything, "signals that cannot hit another process", pidfd()),
        row("pidfd_getfd", "5.6", CheckNeed::Something, "seccomp listeners", known(pidfd::getfd(root, 0))),
        row("close_range", "5.11", CheckNeed::Speed, "no stray descriptor", descriptor::cloexec_from(u32::MAX).is_ok()),
        row("listmount", "6.8", CheckNeed::Speed, "hosts with many mounts noticed", mount::holds_mounts(1).is_some()),
        row(
            "PR_SET_MM_MAP",
            "3.18",
            CheckNeed::Speed,
            "no runtime left in the container",
            sys::last_calls::can_leave_runtime(),
        ),
        row("user namespace", "3.8", CheckNeed::Something, "rootless containers", namespace("user")),
        row("cgroup namespace", "4.6", CheckNeed::Something, "the container's view of its cgroup", namespace("cgroup")),
        row("time namespace", "5.6", CheckNeed::Something, "linux.timeOffsets", namespace("time")),
        row("cgroup.kill", "5.14", CheckNeed::Speed, "a whole container killed at once", cgroup_kill()),
    ])
}

fn open_in_root(root: BorrowedFd<'_>) -> bool {
    fs::open2(root, c".", libc::O_PATH, 0, fs::IN_ROOT).is_ok()
}

/// No attribute is named, so none is changed.
fn set_nothing(root: BorrowedFd<'_>) -> bool {
    known(mount::set_attr(root, 0, &MountAttr::default()))
}

/// `/` is no cgroup: EBADF from a kernel that looks. Older ones know no such field.
fn into_cgroup(root: BorrowedFd<'_>) -> Errno {
    match clone::clone3(&CloneArgs { cgroup: Some(root), ..CloneArgs::default() }) {
        Ok(Cloned::Child) => process::exit(0),
        Ok(Cloned::Parent(ProcessHandle { pid, .. })) => {
            // Not in this kernel's rules; the child has ended by itself.
            process::wait(pid, 0).err().unwrap_or(Errno::EINVAL)
        }
        Err(errno) => errno,
    }
}

fn pidfd() -> bool {
    pidfd::open(process::getpid()).is_ok()
}

/// The file is in every cgroup but the root.
fn cgroup_kill() -> bool {
    let own = Layout::read().ok().and_then(|layout| layout.unified);
    own.is_some_and(|h| !h.own.is_empty() && h.mount_point.join(&h.own).join("cgroup.kill").exists())
}

/// A child that does nothing tells whether the kernel, a sysctl or a security module forbids it.
fn user_namespace() -> std::result::Result<(), Errno> {
    match clone::clone3(&CloneArgs { flags: libc::CLONE_NEWUSER as u64, ..CloneArgs::default() })? {
        Cloned::Child => process::exit(0),
        Cloned::Parent(ProcessHandle { pid, .. }) => match process::wait(pid, 0)? {
            Some((_, Exit::Code(0))) => Ok(()),
            _ => Err(Errno::EPERM),
        },
    }
}

/// What /sys/kernel/security/lsm lists; where securityfs is not mounted, what the modules themselves say.
fn lsms() -> Vec<String> {
    let list = read("/sys/kernel/security/lsm");
    if !list.is_empty() {
        return list.trim().split(',').map(str::to_owned).collect();
    }
    let mut found = Vec::new();
    if read("/sys/module/apparmor/parameters/enabled").trim() == "Y" {
        found.push("apparmor".to_owned());
    }
    if super::has_selinux() {
        found.push("selinux".to_owned());
    }
    found
}

fn may_write(path: &Path) -> bool {
    nix::unistd::eaccess(path, nix::unistd::AccessFlags::W_OK).is_ok()
}

/// Where the file driver puts a container without cgroupsPath: beside our own cgroup on v2, below it on v1.
fn own_controllers(layout: &Layout) -> Option<Vec<String>> {
    let writable = |dir: &Path| may_write(&dir.join("cgroup.procs")) && may_write(dir);
    let mut found = None;
    for hierarchy in layout.v1.iter().filter(|h| writable(&h.mount_point.join(&h.own))) {
        found.get_or_insert_with(Vec::new).extend(hierarchy.controllers.iter().cloned());
    }
    if let Some(unified) = &layout.unified {
        let parent = unified.own.rsplit_once('/').map_or("", |(parent, _)| parent);
        let dir = unified.mount_point.join(parent);
        if writable(&dir) {
            found.get_or_insert_with(Vec::new).extend(file::words(&read(dir.join("cgroup.controllers"))));
        }
    }
    found
}

/// `user@UID.service` is where systemd delegates to (systemd's CGROUP_DELEGATION.md).
fn user_manager(layout: &Layout, uid: u32) -> Option<Vec<String>> {
    let unified = layout.unified.as_ref()?;
    let dir = unified.mount_point.join(format!("user.slice/user-{uid}.slice/user@{uid}.service"));
    dir.is_dir().then(|| file::words(&read(dir.join("cgroup.controllers"))))
}
