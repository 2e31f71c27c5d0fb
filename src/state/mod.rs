//! What is kept of a container between two calls: one directory below the state root.
//!
//! `ROOT/ID` holds `state.json` (the [`Record`]), `config.json` (a copy; under another name until the container is
//! set up) and, until `start`, `exec.fifo`. The
//! directory itself is locked with flock(2) by whoever changes the container. Everything below it is
//! opened relative to the directory and never through a symbolic link. May touch files below the root and
//! read /proc; runs in the parent only. What a container *is* right now is never stored: [`status()`] computes
//! it from facts.
//!
//! The modules, in the order of the work: `root` is where all of it is, `id` what a container may be called, `dir` one container's directory with
//! its lock, `record` what is in it; `process` is one that a record names, `time` when something was, and `status` what it comes to.

mod dir;
mod id;
mod process;
mod record;
mod root;
mod status;
mod time;

pub use dir::{CRIU_ROOT, Dir, Lock, Wait, does_not_exist, near};
pub use id::{check_id, check_pool_name};
pub use process::{Life, ProcessId, boot_id};
pub use record::{
    Attendance, COMMIT, HostMounts, MadeOf, Outcome, PidNamespace, PoolMember, Record, build, of_another,
};
pub use root::{Caller, StateRoot, container_around, identity};
pub use status::{Facts, status};
pub use time::{parse_rfc3339, rfc3339};

/// How soon it is looked whether a process has ended of which nothing is heard, for whoever traces it has not listened.
pub const UNHEARD: std::time::Duration = std::time::Duration::from_secs(2);

/// How often what is waited for is looked at, where nothing tells of it.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(2);

/// The name of the record below the container's directory.
pub const RECORD: &std::ffi::CStr = c"state.json";
/// The name of the copy of the bundle's config.json.
pub const CONFIG: &std::ffi::CStr = c"config.json";
/// Its name while the container is being set up.
pub const UNREADY_CONFIG: &std::ffi::CStr = c"config.json.unready";
/// The name of the fifo that a created container waits on.
pub const FIFO: &std::ffi::CStr = c"exec.fifo";
/// The name of the fifo by which a pool's member tells how it has ended.
pub const END: &std::ffi::CStr = c"end.fifo";
/// The name of the directory with the socket that the container tells its readiness to (sd_notify(3)).
pub const NOTIFY: &std::ffi::CStr = c"notify";
