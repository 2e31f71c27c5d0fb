//! Limits that this host cannot give, asked of the cgroups that the container's would be in.

use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use super::misfit::Misfit;
use crate::container::make::planned::PlannedContainer;
use crate::plan::cgroup::files::{self, Takes};
use crate::plan::cgroup::{CgroupDir, CgroupPlan, Need, Version, WhenMissing, Write};
use crate::plan::systemd::driver::CgroupDriver;
use crate::proc::file;
use crate::spec::number_list;

pub(super) fn misfits(planned: &PlannedContainer) -> Vec<Misfit> {
    let Some(cgroup) = planned.plan.cgroup.as_ref().filter(|_| planned.cgroups == CgroupDriver::Files) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if cgroup.need == Need::Required {
        found.extend(cgroup.dirs.iter().filter_map(closed));
    }
    for write in &cgroup.writes {
        // What was asked for is refused, where a cgroup as such would be done without.
        if let Some(dir) = dir_of(cgroup, write)
            && cgroup.need == Need::BestEffort
            && write.missing != WhenMissing::Skip
            && let Some(closed) = closed(dir)
        {
            found.push(Misfit { field: files::field_of(&write.file), ..closed });
            continue;
        }
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

fn limit(dir: &CgroupDir, write: &Write) -> Option<Misfit> {
    let above = nearest(dir);
    let (mut file, mut value) = (&write.file, &write.value);
    if let WhenMissing::Instead { file: other, value: its } = &write.missing
        && is_missing(dir, &above, file)
    {
        (file, value) = (other, its);
    }
    let what = if write.missing == WhenMissing::Fail && is_missing(dir, &above, file) {
        "this kernel has no such file".to_owned()
    } else if let Some(what) = no_pages(write).or_else(|| no_scheduler(file, value)) {
        what
    } else {
        let takes = files::find(file)?.takes;
        refused(takes, value).or_else(|| not_here(takes, &above, file, value))?
    };
    Some(Misfit::error(files::field_of(file), format!("{file} = {value}: {what}")))
}

/// Why the kernel refuses a value everywhere, or lets nothing run with it.
fn refused(takes: Takes, value: &str) -> Option<String> {
    let mut words = value.split_ascii_whitespace().map(str::parse::<u64>);
    let (quota, period) = match takes {
        Takes::Tasks => {
            let many = words.next().is_some_and(|tasks| tasks.is_ok_and(|tasks| tasks > files::MAX_TASKS));
            return many.then(|| format!("there are never more than {} tasks", files::MAX_TASKS));
        }
        Takes::Memory => {
            let little = words.next().is_some_and(|bytes| bytes.is_ok_and(|bytes| bytes < files::MIN_MEMORY));
            return little.then(|| format!("no program runs in less than {} bytes", files::MIN_MEMORY));
        }
        Takes::Quota => (words.next(), None),
        Takes::Period => (None, words.next()),
        Takes::QuotaAndPeriod => (words.next(), words.next()),
        Takes::Anything | Takes::PartOfAbove | Takes::Device => return None,
    };
    if quota.is_some_and(|quota| quota.is_ok_and(|quota| quota < files::MIN_QUOTA)) {
        return Some(format!("the least that the kernel gives is {} microseconds", files::MIN_QUOTA));
    }
    let wrong = period.is_some_and(|period| period.is_ok_and(|period| !files::PERIODS.contains(&period)));
    wrong.then(|| format!("a period is {} to {} microseconds", files::PERIODS.start(), files::PERIODS.end()))
}

/// Huge pages of a size that this kernel does not have.
fn no_pages(write: &Write) -> Option<String> {
    let size = files::page_size(&write.file).filter(|_| write.missing == WhenMissing::Fail)?;
    let (number, unit) = size.strip_suffix('B')?.split_at_checked(size.len() - 2)?;
    let kilo = match unit {
        "K" => 1,
        "M" => 1 << 10,
        _ => 1 << 20,
    };
    let dir = format!("/sys/kernel/mm/hugepages/hugepages-{}kB", number.parse::<u64>().ok()?.checked_mul(kilo)?);
    (!Path::new(&dir).exists()).then(|| format!("this kernel has no huge pages of {size}"))
}

/// A weight of a device whose scheduler is another.
fn no_scheduler(file: &str, value: &str) -> Option<String> {
    let wanted = files::find(file)?.scheduler?;
    let device = value.split_ascii_whitespace().next().filter(|word| word.contains(':'))?;
    let there = file::read_text(Path::new("/sys/dev/block").join(device).join("queue/scheduler")).ok()?;
    let is_it = there.contains(&format!("[{wanted}]"));
    (!is_it).then(|| format!("the I/O scheduler of {device} is not {wanted}: {}", there.trim()))
}

/// Why a value cannot be had on this host.
fn not_here(takes: Takes, above: &Path, file: &str, value: &str) -> Option<String> {
    match takes {
        Takes::PartOfAbove => {
            let (controller, list) = file.split_once('.')?;
            let there = [format!("{file}.effective"), format!("{controller}.effective_{list}"), file.to_owned()];
            let there = there.iter().find_map(|name| file::read_text(above.join(name)).ok()).unwrap_or_default();
            let there = there.trim();
            let [wanted, all] = [value, there].map(number_list::mask);
            let inside = wanted.is_ok_and(|wanted| all.is_ok_and(|all| number_list::is_within(&wanted, &all)));
            (!inside && !there.is_empty()).then(|| format!("those that may be used here are {there}"))
        }
        Takes::Device => {
            let device = value.split_ascii_whitespace().next().filter(|word| word.contains(':'))?;
            (!Path::new("/sys/dev/block").join(device).exists()).then(|| format!("there is no block device {device}"))
        }
        Takes::Anything | Takes::Quota | Takes::Period | Takes::QuotaAndPeriod | Takes::Tasks | Takes::Memory => None,
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
