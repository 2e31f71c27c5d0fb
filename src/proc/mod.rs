//! Readers of the small text files of proc, and of passwd. They know nothing of containers; their errors are those of the
//! system call, for the caller to word. The child uses [`passwd`] and the
//! lines of [`mountinfo`], which do not allocate; what reads a file does.

pub mod binfmt;
pub mod cgroup;
pub mod file;
pub mod idmap;
pub mod mountinfo;
pub mod passwd;
pub mod stat;
pub mod status;
