//! What a container uses: the `data` of `events`.
//!
//! The modules, in the order of the work: `v1` and `v2` know which file tells what, `read` the formats of such files, and `types` are the
//! numbers as they are printed. Reads, and changes nothing; runs in the parent.

pub(super) mod read;
mod types;
pub(super) mod v1;
pub(super) mod v2;

use super::handle::Cgroup;
use crate::error::Result;

pub use types::*;

impl Cgroup {
    /// Reads what the container uses. What the kernel does not tell stays zero.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        for member in &self.members {
            if member.is_v2() {
                v2::read(member, &mut stats)?;
            } else {
                v1::read(member, &mut stats)?;
            }
        }
        Ok(stats)
    }
}
