//! Limits that this host cannot give, asked of the cgroups that the container's would be in.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use super::misfit::Misfit;
use crate::container::create::Preview;
use crate::plan::cgroup::{CgroupDir, CgroupPlan, Need, Version, WhenMissing, Write};
use crate::plan::systemd::driver::CgroupDriver;
use crate::proc::file;
use crate::spec::number_list;

pub(super) fn misfits(planned: &Preview) -> Vec<Misfit> {
    let Some(cgroup) = planned.plan.cgroup.as_ref().filter(|_| planned.cgroups == CgroupDriver::Files) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if cgroup.need == Need::Required {
        found.extend(cgroup.dirs.iter().filter_map(closed));
    }
    for write in &cgroup.writes {
        found.extend(dir_of(cgroup, write).and_then(|dir| limit(dir, write)));
    }
    found
}

fn dir_of<'p>(cgroup: &'p CgroupPlan, write: &Write) -> Option<&'p CgroupDir> {
    cgroup.dirs.iter().find(|dir| dir.controllers.contains(&write.controller))
}

/// The nearest cgroup above that is there. Names of cgroups are no links.
fn nearest(dir: &CgroupDir) -> PathBuf {
    let full = dir.full_path();
    let mut above = full.ancestors().skip(1);
    above.find(|path| path.is_dir()).map_or_else(|| dir.mount_point.clone(), Path::to_path_buf)
}

fn closed(dir: &CgroupDir) -> Option<Misfit> {
    let above = nearest(dir);
    let errno = eaccess(&above, AccessFlags::W_OK).err()?;
    let what = format!("no cgroup can be made in {}: {}", above.display(), crate::error::errno_text(errno));
    Some(
        Misfit::error("linux.cgroupsPath", what)
            .hint("the cgroup must be delegated to this user; `brisk check` tells more"),
    )
}

/// The field of config.json that a file of a controller stands for.
fn field(file: &str) -> &'static str {
    const FIELDS: [(&str, &str); 12] = [
        ("cpu.cfs_quota_us", "linux.resources.cpu.quota"),
        ("cpu.cfs_period_us", "linux.resources.cpu.period"),
        ("cpu.max", "linux.resources.cpu"),
        ("cpu.rt_", "linux.resources.cpu"),
        ("cpu.", "linux.resources.cpu"),
        ("cpuset.cpus", "linux.resources.cpu.cpus"),
        ("cpuset.mems", "linux.resources.cpu.mems"),
        ("memory.", "linux.resources.memory"),
        ("pids.", "linux.resources.pids.limit"),
        ("blkio.", "linux.resources.blockIO"),
        ("io.", "linux.resources.blockIO"),
        ("hugetlb.", "linux.resources.hugepageLimits"),
    ];
    FIELDS.iter().find(|(prefix, _)| file.starts_with(prefix)).map_or("linux.resources", |(_, field)| field)
}

fn limit(dir: &CgroupDir, write: &Write) -> Option<Misfit> {
    let above = nearest(dir);
    let Write { file, value, .. } = write;
    if write.missing == WhenMissing::Fail && is_missing(dir, &above, file) {
        let what = format!("{file} = {value}: this kernel has no such file");
        return Some(Misfit::error(field(file), what));
    }
    let bad = |why: String| Some(Misfit::error(field(file), format!("{file} = {value}: {why}")));
    match file.as_str() {
        "cpuset.cpus" | "cpuset.mems" => {
            let there = [format!("{file}.effective"), format!("cpuset.effective_{}", &file[7..]), file.clone()];
            let there = there.iter().find_map(|name| file::read_text(above.join(name)).ok()).unwrap_or_default();
            let there = there.trim();
            let [wanted, all] = [value, there].map(number_list::mask);
            let inside = wanted.is_ok_and(|wanted| all.is_ok_and(|all| number_list::is_within(&wanted, &all)));
            if inside || there.is_empty() { None } else { bad(format!("those that may be used here are {there}")) }
        }
        "cpu.cfs_quota_us" if value.parse::<i64>().is_ok_and(|quota| (0..1000).contains(&quota)) => {
            bad("the least that the kernel gives is 1000 microseconds".to_owned())
        }
        "cpu.cfs_period_us" if value.parse::<u64>().is_ok_and(|period| !(1000..=1_000_000).contains(&period)) => {
            bad("a period is 1000 to 1000000 microseconds".to_owned())
        }
        "cpu.max" => {
            let mut words = value.split_ascii_whitespace().map(str::parse::<u64>);
            match (words.next(), words.next()) {
                (Some(Ok(..1000)), _) => bad("the least that the kernel gives is 1000 microseconds".to_owned()),
                (_, Some(Ok(period))) if !(1000..=1_000_000).contains(&period) => {
                    bad("a period is 1000 to 1000000 microseconds".to_owned())
                }
                _ => None,
            }
        }
        name if name.starts_with("blkio.throttle.") || matches!(name, "io.max" | "io.latency") => {
            let device = value.split_ascii_whitespace().next().filter(|word| word.contains(':'))?;
            let there = Path::new("/sys/dev/block").join(device).exists();
            if there { None } else { bad(format!("there is no block device {device}")) }
        }
        _ => None,
    }
}

/// Whether a file is in no cgroup of the hierarchy. The root of a hierarchy has fewer than the others, so that one of its
/// children is asked; where it has none nobody knows. Those of v2 are there only where the controller is enabled.
fn is_missing(dir: &CgroupDir, above: &Path, file: &str) -> bool {
    if dir.version == Version::V2 || above.join(file).exists() {
        return false;
    }
    if above != dir.mount_point {
        return true;
    }
    let Ok(entries) = std::fs::read_dir(above) else { return false };
    let child = entries.flatten().find(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    child.is_some_and(|child| !child.path().join(file).exists())
}
