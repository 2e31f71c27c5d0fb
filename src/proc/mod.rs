//! Readers of the small text files of proc, and of passwd. They know nothing of containers; their errors are those of the
//! system call, for the caller to word. Only [`passwd`] is also used by the child: it does not allocate.

pub mod cgroup;
pub mod file;
pub mod id_map;
pub mod mountinfo;
pub mod passwd;
pub mod stat;
pub mod status;
