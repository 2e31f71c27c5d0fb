//! Puts a device policy in force: writes to the v1 devices controller, or an eBPF program on cgroup v2.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::bpf::{Insn, program};
use crate::plan::cgroup::{DevicePolicy, Devices};
use crate::sys::bpf;

use super::file::{self, FileAccess};
use super::handle::Cgroup;

/// The kernel takes at most this many programs on one cgroup (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// devcgroup_update_access, Linux 3.8 and later.
const CHILDREN: &str = "a v1 rule for all devices is refused where cgroups are below, such as an earlier container has left: \
    remove them";

impl Cgroup {
    /// Replaces the device policy of the cgroup.
    pub fn set_devices(&self, devices: &Devices) -> Result<()> {
        match devices {
            Devices::Unrestricted => self.lift(),
            Devices::V1(policy) => self.write_devices(policy),
            Devices::Bpf(policy) => {
                let cgroup = self
                    .v2_dir()
                    .ok_or_else(|| Error::new(Stage::Cgroup, "restrict devices: the container has no v2 cgroup"))?;
                attach(cgroup, policy)
            }
        }
    }

    fn write_devices(&self, policy: &DevicePolicy) -> Result<()> {
        let member = self.with("devices").ok_or_else(|| {
            Error::new(Stage::Cgroup, "restrict devices: the container has no cgroup with the devices controller")
        })?;
        let mut last: Option<(&str, OwnedFd)> = None;
        for write in policy.v1_writes()? {
            let what = || format!("write {:?} to {}/{}", write.value, member.path(), write.file);
            let fd = match last.take() {
                Some((file, fd)) if file == write.file => fd,
                _ => member.open(write.file, FileAccess::Write).at(Stage::Cgroup, what)?,
            };
            let result = file::write(fd.as_fd(), &write.value);
            let children = result == Err(Errno::EINVAL) && write.value.starts_with('a');
            let result = result.at(Stage::Cgroup, what);
            if children { result.map_err(|error| error.with_hint(CHILDREN)) } else { result }?;
            last = Some((write.file, fd));
        }
        Ok(())
    }

    fn lift(&self) -> Result<()> {
        if let Some(member) = self.members.iter().find(|m| m.has("devices")) {
            return member
                .write("devices.allow", "a")
                .at(Stage::Cgroup, || format!("write a to {}/devices.allow", member.path()));
        }
        match self.v2_dir() {
            Some(cgroup) => detach_all(cgroup, &attached(cgroup)?),
            None => Ok(()),
        }
    }
}

/// Attaches the program of `policy`. A single program that is there already is swapped for it in one step;
/// of several, each of which can only forbid more, the new one is added before the old ones go. There is no moment without any.
fn attach(cgroup: BorrowedFd, policy: &DevicePolicy) -> Result<()> {
    let code: Vec<[u8; 8]> = program(policy).into_iter().map(Insn::encode).collect();
    let new = bpf::load_device_program(&code)
        .at(Stage::Cgroup, || format!("load a device program of {} instructions", code.len()))?;
    let old = attached(cgroup)?;
    let replace = match old.as_slice() {
        [only] => Some(only.as_fd()),
        _ => None,
    };
    match bpf::attach_device_program(cgroup, new.as_fd(), replace) {
        Ok(()) if replace.is_some() => return Ok(()),
        Ok(()) => {}
        // FALLBACK(linux < 5.6): BPF_F_REPLACE is unknown, and with it the attach fails.
        Err(Errno::EINVAL) if replace.is_some() => {
            bpf::attach_device_program(cgroup, new.as_fd(), None).at(Stage::Cgroup, || "attach a device program")?
        }
        Err(errno) => return Err(errno).at(Stage::Cgroup, || "attach a device program"),
    }
    detach_all(cgroup, &old)
}

fn attached(cgroup: BorrowedFd) -> Result<Vec<OwnedFd>> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let count = bpf::query_device_programs(cgroup, &mut ids).at(Stage::Cgroup, || "list device programs")?;
    let mut programs = Vec::new();
    for id in ids.iter().take(count) {
        match bpf::open_program(*id) {
            Ok(fd) => programs.push(fd),
            // Detached by someone else meanwhile.
            Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).at(Stage::Cgroup, || format!("open device program {id}")),
        }
    }
    Ok(programs)
}

fn detach_all(cgroup: BorrowedFd, programs: &[OwnedFd]) -> Result<()> {
    for program in programs {
        match bpf::detach_device_program(cgroup, program.as_fd()) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).at(Stage::Cgroup, || "detach a device program"),
        }
    }
    Ok(())
}
