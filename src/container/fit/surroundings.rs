//! What the host gives a process: namespaces, ids, labels, parameters, limits of its own, network devices.

use std::os::fd::AsFd;
use std::path::Path;

use super::misfit::{Misfit, Severity};
use super::rootfs::{self, maps};
use crate::cgroup::rdt;
use crate::container::make::planned::PlannedContainer;
use crate::error::{errno_text, io_text};
use crate::host;
use crate::host::sub_ids::SubRange;
use crate::plan::namespace::idmap::{IdKind, IdMap};
use crate::plan::namespace::sysctl::{OwnNamespaces, parse};
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::LastOp;
use crate::plan::process::caps;
use crate::plan::process::rlimits::number;
use crate::proc::file;
use crate::spec::linux::Linux;
use crate::spec::number_list;
use crate::spec::process::Process;
use crate::sys::cred::{self, CAP_SYS_NICE, CAP_SYS_RESOURCE};
use crate::sys::{fs, namespace, process};

pub(super) fn misfits(planned: &PlannedContainer) -> Vec<Misfit> {
    let mut found = Vec::new();
    if let Some(linux) = &planned.spec().linux {
        found.extend(namespaces(linux));
        found.extend(ids(planned));
        found.extend(sysctls(linux));
        found.extend(net_devices(linux));
        found.extend(listener(linux));
        found.extend(memory_nodes(linux));
        found.extend(clocks(linux));
        if let Some(wanted) = &linux.intel_rdt
            && rdt::mount_point().is_err()
        {
            let name = wanted.clos_id.as_deref().unwrap_or("the container");
            let what = format!("no resctrl file system is mounted, in which {name} would get a group");
            found.push(
                Misfit::error("linux.intelRdt", what)
                    .hint("`mount -t resctrl resctrl /sys/fs/resctrl`, where the CPU has RDT"),
            );
        }
    }
    if rootfs::binds_devices(planned) {
        found.extend(rootfs::devices(planned));
    }
    if let Some(process) = &planned.spec().process {
        found.extend(labels(process));
        found.extend(rlimits(process));
        found.extend(oom_score(process));
        found.extend(deadline(process).or_else(|| priority(planned, process)));
    }
    found.extend(inheritable(planned));
    found
}

fn namespaces(linux: &Linux) -> Vec<Misfit> {
    let mut found = Vec::new();
    for (index, entry) in linux.namespaces.iter().enumerate() {
        let Some(kind) = NamespaceKind::from_name(&entry.kind) else { continue };
        let field = format!("linux.namespaces[{index}]");
        let name = kind.name();
        if let Some(path) = entry.joined() {
            let opened = fs::open_namespace(path);
            let what = match opened.as_ref().map(|file| namespace::kind(file.as_fd())) {
                Ok(Ok(flag)) if flag == kind.flag() => continue,
                Ok(Ok(flag)) => {
                    let is = NamespaceKind::from_flag(flag).map_or("other", NamespaceKind::name);
                    format!("the namespace {path} is of type {is}, not {name}")
                }
                Ok(Err(_)) => format!("{path} is no namespace"),
                Err(errno) => format!("{path}: {}", errno_text(*errno)),
            };
            found.push(Misfit::error(field + ".path", what));
            continue;
        }
        if !Path::new("/proc/self/ns").join(kind.proc_name()).exists() {
            found.push(Misfit::error(field, format!("this kernel has no {name} namespaces")));
            continue;
        }
        let limit = format!("/proc/sys/user/max_{}_namespaces", kind.proc_name());
        if file::read_text(&limit).is_ok_and(|text| text.trim() == "0") {
            let switch = format!("user.max_{}_namespaces", kind.proc_name());
            let misfit = Misfit::error(field, format!("no {name} namespace may be made here: {switch} is 0"));
            found.push(misfit.hint(format!("`sysctl -w {switch}=15000`")));
        }
    }
    found
}

/// Maps that may not be written, and what they leave out.
fn ids(planned: &PlannedContainer) -> Vec<Misfit> {
    let (uids, gids) = maps(planned);
    let host = &planned.host;
    let mut found = Vec::new();
    for (kind, maps, own, given) in
        [(IdKind::Uid, &uids, host.uid, &host.sub_ids.uids), (IdKind::Gid, &gids, host.gid, &host.sub_ids.gids)]
    {
        let field = format!("linux.{}Mappings", kind.name());
        if !maps.is_empty() && maps.to_host(0).is_none() {
            let what = format!(
                "{} 0 is not mapped: what belongs to root in the image has no owner in the container",
                kind.name()
            );
            found.push(Misfit::warning(field.clone(), what));
        }
        if host.uid == 0 {
            continue;
        }
        let given = Some(given.as_slice()).filter(|_| host.sub_ids.helpers);
        found.extend(not_given(maps, own, given).into_iter().map(|refused| {
            let last = u64::from(refused.first) + u64::from(refused.size) - 1;
            let what = format!("this user may not map the ids {} to {last} of the host", refused.first);
            Misfit::error(format!("{field}[{}]", refused.index), what)
                .hint("`brisk check` tells which ids this user may map, and how to get some")
        }));
    }
    found
}

/// Ids of the host that may not be mapped: those of which entry of the map.
struct RefusedRange {
    index: usize,
    first: u32,
    size: u32,
}

/// What newuidmap(1) or the kernel would refuse an ordinary user, who is given these ranges; none without the helpers.
fn not_given(map: &IdMap, own: u32, given: Option<&[SubRange]>) -> Vec<RefusedRange> {
    let alone = map.is_only(own);
    let allowed = |first: u32, size: u32| {
        let end = u64::from(first) + u64::from(size);
        let inside = |range: &SubRange| first >= range.start && end <= u64::from(range.start) + u64::from(range.count);
        alone || given.is_some_and(|given| (first == own && size == 1) || given.iter().any(inside))
    };
    let refused = map.ranges().iter().enumerate().filter(|(_, range)| !allowed(range.host, range.size));
    refused.map(|(index, range)| RefusedRange { index, first: range.host, size: range.size }).collect()
}

/// Parameters that this kernel does not have. Those of networks may come with a device.
fn sysctls(linux: &Linux) -> Vec<Misfit> {
    let Ok(namespaces) = Namespaces::parse(&linux.namespaces) else { return Vec::new() };
    let Ok(writes) = parse(&linux.sysctl, OwnNamespaces::new(&namespaces, 0)) else { return Vec::new() };
    let mut found = Vec::new();
    for (write, name) in writes.iter().zip(linux.sysctl.keys()) {
        if Path::new("/proc/sys").join(&write.path).exists() {
            continue;
        }
        let severity = if write.path.starts_with("net/") { Severity::Warning } else { Severity::Error };
        let what = format!("this host has no /proc/sys/{}", write.path);
        let misfit = Misfit::new(severity, format!("linux.sysctl.{name}"), what);
        found.push(misfit.hint("a kernel without it, or a module or device that brings it is not there"));
    }
    found
}

fn net_devices(linux: &Linux) -> Vec<Misfit> {
    let missing = linux.net_devices.keys().filter(|name| !Path::new("/sys/class/net").join(name).exists());
    missing
        .map(|name| Misfit::error(format!("linux.netDevices.{name}"), format!("there is no network device {name}")))
        .collect()
}

/// Whom the listener of the filter goes to.
fn listener(linux: &Linux) -> Option<Misfit> {
    let seccomp = linux.seccomp.as_ref()?;
    let path = seccomp.listener_path.as_deref().filter(|path| !path.is_empty())?;
    let notifies = seccomp.syscalls.iter().any(|rule| rule.action == "SCMP_ACT_NOTIFY" && !rule.names.is_empty());
    let missing = std::fs::metadata(path).err().filter(|_| notifies)?;
    let misfit = Misfit::error("linux.seccomp.listenerPath", format!("{path}: {}", io_text(&missing)));
    Some(misfit.hint("the agent that takes the filter's listener has to wait there"))
}

/// The kernel forgets nodes that there are not, and wants one to be left.
fn memory_nodes(linux: &Linux) -> Option<Misfit> {
    let wanted = number_list::mask(&linux.memory_policy.as_ref()?.nodes).ok().filter(|mask| !mask.is_empty())?;
    let online = file::read_text("/sys/devices/system/node/online").ok()?;
    let there = number_list::mask(online.trim()).ok()?;
    let none = wanted.iter().zip(&there).all(|(wanted, there)| wanted & there == 0);
    none.then(|| {
        Misfit::error(
            "linux.memoryPolicy.nodes",
            format!("none of them is there: those of this host are {}", online.trim()),
        )
    })
}

/// Clocks run from 0 to half of what 64 bits of nanoseconds hold (proc_timens_set_offset() in kernel/time/namespace.c).
fn clocks(linux: &Linux) -> Vec<Misfit> {
    const LAST: i64 = i64::MAX / 1_000_000_000 / 2;
    let text = file::read_text("/proc/uptime").unwrap_or_default();
    let up: i64 = text.split('.').next().and_then(|seconds| seconds.parse().ok()).unwrap_or_default();
    let impossible = linux.time_offsets.iter().filter(|(_, offset)| !(-up..=LAST - up).contains(&offset.secs));
    let what =
        |secs| format!("an offset of {secs} seconds: clocks run from 0 to {LAST}, and this host's has come to {up}");
    impossible
        .map(|(clock, offset)| Misfit::error(format!("linux.timeOffsets.{clock}.secs"), what(offset.secs)))
        .collect()
}

fn labels(process: &Process) -> Vec<Misfit> {
    let mut found = Vec::new();
    if let Some(profile) = process.apparmor_profile.as_deref().filter(|profile| !profile.is_empty()) {
        let on = file::read_text("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.trim() == "Y");
        let loaded = file::read_text("/sys/kernel/security/apparmor/profiles");
        // One of another namespace of AppArmor's, `:namespace:name`, is not in our list.
        let known = |text: &String, name: &str| {
            let listed = || text.lines().any(|line| line.rsplit_once(" (").map_or(line, |(name, _)| name) == name);
            name == "unconfined" || name.starts_with(':') || listed()
        };
        if !on {
            let what = format!("the profile {profile:?} is asked for, and AppArmor is not in force here");
            found.push(
                Misfit::error("process.apparmorProfile", what)
                    .hint("/sys/kernel/security/lsm has the modules that are"),
            );
        } else if let Some(missing) =
            profile.split("//&").find(|part| loaded.as_ref().is_ok_and(|text| !known(text, part)))
        {
            let what = format!("the AppArmor profile {missing:?} is not loaded");
            found.push(Misfit::error("process.apparmorProfile", what).hint("apparmor_parser(8) loads profiles"));
        }
    }
    if process.selinux_label.as_ref().is_some_and(|label| !label.is_empty()) && !host::has_selinux() {
        let what = "a label is asked for, and SELinux is not in force here";
        found.push(
            Misfit::error("process.selinuxLabel", what).hint("/sys/kernel/security/lsm has the modules that are"),
        );
    }
    found
}

/// Limits above those of whoever runs brisk.
fn rlimits(process: &Process) -> Vec<Misfit> {
    let may_raise = cred::caps().is_ok_and(|caps| caps.effective & CAP_SYS_RESOURCE != 0);
    let most_files = file::read_text("/proc/sys/fs/nr_open").ok().and_then(|text| text.trim().parse::<u64>().ok());
    let mut found = Vec::new();
    for (index, limit) in process.rlimits.iter().enumerate() {
        let field = format!("process.rlimits[{index}].hard");
        if limit.kind == "RLIMIT_NOFILE" && most_files.is_some_and(|most| limit.hard > most) {
            let most = most_files.unwrap_or_default();
            let what = format!("{} of {} is more than the kernel gives anybody ({most})", limit.kind, limit.hard);
            found.push(Misfit::error(field, what).hint("`sysctl fs.nr_open` is that number"));
            continue;
        }
        let Some(Ok((_, own))) = number(&limit.kind).map(process::rlimit) else { continue };
        if !may_raise && limit.hard > own {
            let what = format!("{} of {} is above the hard limit of whoever runs this ({own})", limit.kind, limit.hard);
            found.push(Misfit::error(field, what).hint("raising a hard limit needs CAP_SYS_RESOURCE"));
        }
    }
    found
}

/// The kernel keeps the lowest value that was ever set with privilege, and tells nobody (oom_score_adj_min).
fn oom_score(process: &Process) -> Option<Misfit> {
    let wanted = process.oom_score_adj?;
    let own: i64 = file::read_text("/proc/self/oom_score_adj").ok()?.trim().parse().ok()?;
    let may = cred::caps().is_ok_and(|caps| caps.effective & CAP_SYS_RESOURCE != 0);
    let misfit =
        || Misfit::warning("process.oomScoreAdj", format!("{wanted} is below that of whoever runs this ({own})"));
    (wanted < own && !may).then(|| misfit().hint("lowering it needs CAP_SYS_RESOURCE"))
}

/// The kernel lets nobody inherit what is beyond the bounding set (cap_capset() in security/commoncap.c).
fn inheritable(planned: &PlannedContainer) -> Option<Misfit> {
    let masks = |of: fn(&LastOp) -> Option<u64>| planned.plan.last.iter().find_map(of);
    let dropped = masks(|op| if let LastOp::DropBounding(mask) = op { Some(*mask) } else { None })?;
    let wanted = masks(|op| if let LastOp::Caps(masks) = op { Some(masks.inheritable) } else { None })?;
    let refused = wanted & dropped & !cred::caps().ok()?.inheritable;
    let misfit = |names: Vec<String>| {
        let what = format!("{} cannot be inherited: not in the bounding set", names.join(" "));
        Misfit::error("process.capabilities.inheritable", what)
    };
    (refused != 0).then(|| misfit(caps::names_of(refused)).hint("process.capabilities.bounding limits the other sets"))
}

/// What the administrator lets be reserved (sched_deadline_period_min_us and its kin, in microseconds).
fn deadline(process: &Process) -> Option<Misfit> {
    let scheduler = process.scheduler.as_ref().filter(|scheduler| scheduler.policy == "SCHED_DEADLINE")?;
    let limit = |path: &str| -> Option<u64> { file::read_text(path).ok()?.trim().parse().ok() };
    let least = limit("/proc/sys/kernel/sched_deadline_period_min_us")?;
    let most = limit("/proc/sys/kernel/sched_deadline_period_max_us")?;
    let period = if scheduler.period == 0 { scheduler.deadline } else { scheduler.period };
    (!(least..=most).contains(&(period / 1000))).then(|| {
        let what = format!("a period of {period} nanoseconds: this host takes {least} to {most} microseconds");
        Misfit::error("process.scheduler", what)
            .hint("sysctl kernel.sched_deadline_period_min_us and _max_us are those")
    })
}

/// What the kernel lets only somebody with CAP_SYS_NICE of the host ask for (user_check_sched_setscheduler() in
/// kernel/sched/syscalls.c, ioprio_check_cap() in block/ioprio.c).
fn priority(planned: &PlannedContainer, process: &Process) -> Option<Misfit> {
    let of_host = planned.host.is_real_root() && planned.spec().namespace("user").is_none();
    if of_host && cred::caps().is_ok_and(|caps| caps.effective & CAP_SYS_NICE != 0) {
        return None;
    }
    let misfit = |field: &str, what: &str| {
        let misfit = Misfit::error(field, format!("{what} needs CAP_SYS_NICE of the host"));
        misfit.hint("an ordinary user has not that, nor has anybody in a user namespace")
    };
    if process.io_priority.as_ref().is_some_and(|wanted| wanted.class == "IOPRIO_CLASS_RT") {
        return Some(misfit("process.ioPriority.class", "IOPRIO_CLASS_RT"));
    }
    // What process.rlimits raise is raised before.
    let limit = |name: &str| {
        let own = number(name).and_then(|number| process::rlimit(number).ok()).map_or(0, |(soft, _)| soft);
        process.rlimits.iter().filter(|limit| limit.kind == name).map(|limit| limit.soft).fold(own, u64::max)
    };
    let scheduler = process.scheduler.as_ref()?;
    let real_time = ["SCHED_FIFO", "SCHED_RR"].contains(&&*scheduler.policy);
    let beyond = scheduler.policy == "SCHED_DEADLINE"
        || real_time && u64::try_from(scheduler.priority).is_ok_and(|priority| priority > limit("RLIMIT_RTPRIO"));
    beyond.then(|| misfit("process.scheduler.policy", &scheduler.policy))
}
