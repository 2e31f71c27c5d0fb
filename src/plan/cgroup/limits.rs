//! Limits: linux.resources in, writes out, for whichever version has each controller. Pure.
//!
//! Zeros of most numbers mean "not set", in a config as in an update: engines send Go's zero values (Docker's
//! `update` sends `"memory":{"limit":0,…}` for a change of the CPUs alone), and runc reads them so. `files` says of which.

use std::collections::BTreeMap;

use crate::error::{Error, Result, Stage};
use crate::host::cgroup::{Layout, LayoutKind};
use crate::spec::resources::{HugepageLimit, InterfacePriority, Network, Pids, Rdma, Resources};

use crate::plan::cgroup::collect::{Collector, Limits, refuse};
use crate::plan::cgroup::files;
use crate::plan::cgroup::write::{Phase, Version, WhenMissing};
use crate::plan::cgroup::{cpu, io, memory};

/// All limits of `resources`; devices are not among them.
pub fn plan_limits(resources: &Resources, layout: &Layout, phase: Phase) -> Result<Limits> {
    // `devices::plan_devices`.
    let Resources { devices: _, memory, cpu, pids, block_io, hugepage_limits, network, rdma, unified } = resources;
    let mut all = Limits::default();
    let mut gathering = Gathering { layout, all: &mut all };
    if let Some(pids) = pids {
        gathering.group("pids", "pids", |_, out| {
            pids_limit(pids, out);
            Ok(())
        })?;
    }
    if let Some(memory) = memory {
        gathering.group("memory", "memory", |version, out| memory::limits(memory, version, phase, out))?;
    }
    if let Some(block_io) = block_io {
        gathering.group("blkio", "io", |version, out| io::limits(block_io, version, out))?;
    }
    if let Some(cpu) = cpu {
        gathering.group("cpu", "cpu", |version, out| cpu::bandwidth(cpu, version, out))?;
        gathering.group("cpuset", "cpuset", |_, out| {
            cpu::placement(cpu, out);
            Ok(())
        })?;
    }
    gathering.group("hugetlb", "hugetlb", |version, out| hugetlb(hugepage_limits, version, out))?;
    gathering.group("rdma", "rdma", |_, out| rdma_limits(rdma, out))?;
    if let Some(network) = network {
        gathering.group("net_cls", "net_cls", |_, out| {
            net_cls(network, out);
            Ok(())
        })?;
        gathering.group("net_prio", "net_prio", |_, out| net_prio(network, out))?;
    }
    let mut out = Collector::new(Version::V2);
    unified_files(unified, layout, &mut out)?;
    all.writes.append(&mut out.done()?.writes);
    Ok(all)
}

struct Gathering<'a> {
    layout: &'a Layout,
    all: &'a mut Limits,
}

impl Gathering<'_> {
    /// Adds the writes that `make` produces for the version that has the controller. A controller that is
    /// nowhere is an error only when something was asked of it.
    fn group(&mut self, v1: &str, v2: &str, make: impl FnOnce(Version, &mut Collector) -> Result<()>) -> Result<()> {
        let found = if self.layout.v1_with(v1).is_some() {
            Some(Version::V1)
        } else if self.layout.unified.as_ref().is_some_and(|h| h.has(v2)) {
            Some(Version::V2)
        } else {
            None
        };
        let assumed = if self.layout.kind() == LayoutKind::V2 { Version::V2 } else { Version::V1 };
        let version = found.unwrap_or(assumed);
        let mut out = Collector::new(version);
        make(version, &mut out)?;
        let mut made = out.done()?;
        if found.is_none() {
            let controller = if assumed == Version::V2 { v2 } else { v1 };
            if let Some(write) = made.writes.iter().find(|w| w.missing != WhenMissing::Skip) {
                let what =
                    format!("cannot set {} to {}: this host has no {controller} controller", write.file, write.value);
                return Err(Error::of_field(Stage::Cgroup, files::field_of(&write.file), what));
            }
            made.writes.clear();
        }
        self.all.writes.append(&mut made.writes);
        self.all.checks.append(&mut made.checks);
        self.all.warnings.append(&mut made.warnings);
        Ok(())
    }
}

/// What is negative is no limit, as with runc and crun.
fn pids_limit(Pids { limit }: &Pids, out: &mut Collector) {
    out.put_number(&files::PIDS_MAX, *limit);
}

/// Both the limit on pages in use and, where the kernel has it (5.7), the one on reservations: without the
/// second a process is killed by SIGBUS when it touches its pages, with it mmap(2) fails.
fn hugetlb(limits: &[HugepageLimit], version: Version, out: &mut Collector) -> Result<()> {
    for HugepageLimit { page_size, limit } in limits {
        let digits = page_size.trim_end_matches("B").trim_end_matches(['K', 'M', 'G']);
        let well_formed = page_size.len() == digits.len() + 2
            && !digits.is_empty()
            && !digits.starts_with('0')
            && digits.bytes().all(|b| b.is_ascii_digit());
        if !well_formed {
            return Err(refuse(
                "hugepageLimits",
                format!("linux.resources.hugepageLimits: page size {page_size:?} is not like 2MB"),
            ));
        }
        let (used, reserved) = match version {
            Version::V1 => (files::HUGETLB_LIMIT, files::HUGETLB_RSVD_LIMIT),
            Version::V2 => (files::HUGETLB_MAX, files::HUGETLB_RSVD_MAX),
        };
        for (file, missing) in [(used, WhenMissing::Fail), (reserved, WhenMissing::Skip)] {
            out.put_sized(&file, page_size, limit, missing);
        }
    }
    Ok(())
}

fn rdma_limits(devices: &BTreeMap<String, Rdma>, out: &mut Collector) -> Result<()> {
    for (device, Rdma { hca_handles, hca_objects }) in devices {
        if device.is_empty() || device.contains(char::is_whitespace) {
            return Err(refuse("rdma", format!("linux.resources.rdma: {device:?} is not the name of a device")));
        }
        let mut line = device.clone();
        for (name, value) in [("hca_handle", hca_handles), ("hca_object", hca_objects)] {
            if let Some(value) = value {
                line.push_str(&format!(" {name}={value}"));
            }
        }
        if line.len() > device.len() {
            out.put_text(&files::RDMA_MAX, line);
        } else {
            out.warn(format!("linux.resources.rdma: {device} is given no limit"));
        }
    }
    Ok(())
}

fn net_cls(network: &Network, out: &mut Collector) {
    // `net_prio`.
    let Network { class_id, priorities: _ } = network;
    out.put_number(&files::NET_CLASS, *class_id);
}

fn net_prio(network: &Network, out: &mut Collector) -> Result<()> {
    for InterfacePriority { name, priority } in &network.priorities {
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(refuse(
                "network.priorities",
                format!("linux.resources.network.priorities: {name:?} is not the name of an interface"),
            ));
        }
        out.put_text(&files::NET_PRIORITIES, format!("{name} {priority}"));
    }
    Ok(())
}

/// Files that act on processes or on the tree rather than limit anything.
const NOT_LIMITS: &[&str] =
    &["cgroup.procs", "cgroup.threads", "cgroup.kill", "cgroup.freeze", "cgroup.subtree_control", "cgroup.type"];

/// Files of cgroup2 by name. Each line is a write of its own: the kernel takes one device per write.
fn unified_files(files: &BTreeMap<String, String>, layout: &Layout, out: &mut Collector) -> Result<()> {
    for (file, value) in files {
        let what = || format!("linux.resources.unified {file:?}");
        let field = || format!("unified.{file}");
        let Some(hierarchy) = &layout.unified else {
            return Err(refuse(
                &field(),
                format!("invalid configuration: {} needs cgroup v2, which this host has not mounted", what()),
            ));
        };
        if file.contains('/') || file.contains("..") {
            return Err(refuse(&field(), format!("{} is not the name of a file", what())));
        }
        let Some((controller, _)) = file.split_once('.').filter(|(c, p)| !c.is_empty() && !p.is_empty()) else {
            return Err(refuse(&field(), format!("{} is not of the form CONTROLLER.PARAMETER", what())));
        };
        if NOT_LIMITS.contains(&file.as_str()) {
            return Err(refuse(&field(), format!("{} is not a limit: the runtime itself writes that file", what())));
        }
        if controller != "cgroup" && !hierarchy.has(controller) {
            return Err(refuse(
                &field(),
                format!("invalid configuration: {}: cgroup v2 has no controller {controller} here", what()),
            ));
        }
        for line in value.split('\n').filter(|line| !line.is_empty()) {
            out.put_unified(controller, file, line);
        }
    }
    Ok(())
}
