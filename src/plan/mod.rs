//! Pure functions from the bundle, the host and the options to what will be done. No system call, no file,
//! no environment, no clock.

pub mod cgroup;
pub mod cgroup_admission;
pub mod cgroup_bpf;
pub mod cgroup_cpu;
pub mod cgroup_devices;
pub mod cgroup_io;
pub mod cgroup_limits;
pub mod cgroup_memory;
pub mod cgroup_paths;
pub mod cgroup_update;
