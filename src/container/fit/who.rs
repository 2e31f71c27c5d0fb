//! Whose rights to files a program will have.

use crate::plan::namespace::idmap::IdMap;
use crate::sys::cred::{CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH};

/// A user of the host.
#[derive(Clone, Debug, Default)]
pub(super) struct Who {
    uid: Option<u32>,
    gids: Vec<u32>,
    caps: u64,
    uids: IdMap,
    gid_map: IdMap,
}

impl Who {
    /// Whoever calls brisk, with all rights: for what only has to be there.
    pub fn anybody() -> Who {
        Who { caps: u64::MAX, ..Who::default() }
    }

    /// The user of a container, whose ids are the container's.
    pub fn inside(uid: u32, gids: &[u32], caps: u64, uids: &IdMap, gid_map: &IdMap) -> Who {
        let host = |map: &IdMap, id: u32| if map.is_empty() { Some(id) } else { map.to_host(id) };
        Who {
            uid: host(uids, uid),
            gids: gids.iter().filter_map(|gid| host(gid_map, *gid)).collect(),
            caps: if uid == 0 { u64::MAX } else { caps },
            uids: uids.clone(),
            gid_map: gid_map.clone(),
        }
    }

    /// Over a file whose owner or group is not mapped nobody in the user namespace has a capability (capable_wrt_inode_uidgid
    /// in the kernel).
    fn has(&self, cap: u64, stat: &libc::stat) -> bool {
        let mapped = |map: &IdMap, id: u32| map.is_empty() || map.has_host(id);
        self.caps & cap != 0 && mapped(&self.uids, stat.st_uid) && mapped(&self.gid_map, stat.st_gid)
    }

    /// The bit of "others" for whoever this user is to the file.
    fn execute(&self, stat: &libc::stat) -> bool {
        let shift = if self.uid == Some(stat.st_uid) {
            6
        } else if self.gids.contains(&stat.st_gid) {
            3
        } else {
            0
        };
        stat.st_mode & (1 << shift) != 0
    }

    /// May go through this directory.
    pub fn may_search(&self, stat: &libc::stat) -> bool {
        self.execute(stat) || self.has(CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH, stat)
    }

    /// May run this file, which has an x bit.
    pub fn may_execute(&self, stat: &libc::stat) -> bool {
        self.execute(stat) || self.has(CAP_DAC_OVERRIDE, stat)
    }
}
