//! Facts about this machine and this user, as plain data. Reads, never changes anything; runs in the parent.

pub mod cgroup;
