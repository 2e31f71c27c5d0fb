//! Pure functions from the bundle, the host and the options to what will be done. No system call, no file,
//! no environment, no clock.

pub mod cgroup;
pub mod cgroup_devices;
