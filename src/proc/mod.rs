//! Readers of the small text files of proc, and of passwd. They know nothing of containers; their errors are those of the
//! system call, for the caller to word. The child uses [`passwd`] and the
//! lines of [`mountinfo`], which do not allocate; what reads a file does.
//!
//! The modules: of a process `stat`, `status`, `cgroup`, `idmap` and `pid_namespace`, of the host `binfmt`; `file` reads one of them as a whole.

pub mod binfmt;
pub mod cgroup;
pub mod file;
pub mod idmap;
pub mod mountinfo;
pub mod passwd;
pub mod pid_namespace;
pub mod stat;
pub mod status;
