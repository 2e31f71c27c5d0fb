//! What a container uses now, and how much it may.

use super::file::lookup;
use super::handle::Cgroup;
use super::stats::read::number;
use super::stats::{Pressure, v2};
use crate::error::Result;
use crate::plan::cgroup::files::{self, Capacity};

/// From here on a limit of v1 is none: the largest number of whole pages, whatever their size (`PAGE_COUNTER_MAX`).
const NO_LIMIT: u64 = i64::MAX as u64 - 0xffff;

/// An amount of something, and the most that it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    /// Now.
    pub now: u64,
    /// The limit of this cgroup; those above it may have lower ones.
    pub limit: Option<u64>,
}

/// What is in use now. `None`: this kernel, or this cgroup, does not tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Levels {
    /// Memory in bytes, page cache included.
    pub memory: Option<Amount>,
    /// Of it page cache and tmpfs.
    pub cache: Option<u64>,
    /// Of that tmpfs and shared memory.
    pub shmem: Option<u64>,
    /// Of it files that nobody has used lately: what is given up first.
    pub inactive_file: Option<u64>,
    /// Of it what the kernel keeps for the container: stacks, page tables, inodes.
    pub kernel: Option<u64>,
    /// Tasks.
    pub pids: Option<Amount>,
    /// Who has waited for what.
    pub pressure: Pressure,
}

impl Cgroup {
    /// What is in use now.
    pub fn levels(&self) -> Result<Levels> {
        let mut levels =
            Levels { memory: self.level(Capacity::Memory)?, pids: self.level(Capacity::Pids)?, ..Levels::default() };
        if let Some(member) = self.with("memory").filter(|_| levels.memory.is_some()) {
            // In v1 the names with `total_` count the descendants, too, as all names of v2 do.
            let (cache, shmem, inactive) = if member.is_v2() {
                ("file", "shmem", "inactive_file")
            } else {
                ("total_cache", "total_shmem", "total_inactive_file")
            };
            // Read once: the kernel sums it up over all CPUs and descendants each time.
            let stat = member.read_if_any("memory.stat")?.unwrap_or_default();
            levels.cache = lookup(&stat, cache);
            levels.shmem = lookup(&stat, shmem);
            levels.inactive_file = lookup(&stat, inactive);
            levels.kernel =
                if member.is_v2() { lookup(&stat, "kernel") } else { number(member, "memory.kmem.usage_in_bytes")? };
        }
        if let Some(member) = self.v2() {
            levels.pressure = v2::pressure(member)?;
        }
        Ok(levels)
    }

    fn level(&self, capacity: Capacity) -> Result<Option<Amount>> {
        for file in files::ALL.iter().filter(|file| file.capacity == Some(capacity)) {
            let Some(member) = self.with(file.controller()).filter(|member| file.is_of(member.dir.version)) else {
                continue;
            };
            let Some(now) = file.used.map_or(Ok(None), |used| number(member, used))? else { continue };
            let limit = number(member, file.name)?.filter(|limit| *limit < NO_LIMIT);
            return Ok(Some(Amount { now, limit }));
        }
        Ok(None)
    }
}
