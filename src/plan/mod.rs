//! What will be done, as data: pure functions of the bundle, the host's facts and the options.
//!
//! Touches nothing: no system call, no file, no environment, no clock. Runs in the parent. The tables turn
//! what the specification writes as text into the numbers the kernel takes; `create` and `exec` put the
//! operations in order.

pub mod caps;
pub mod cgroup;
pub mod cgroup_bpf;
pub mod cgroup_cpu;
pub mod cgroup_devices;
pub mod cgroup_io;
pub mod cgroup_limits;
pub mod cgroup_memory;
pub mod cgroup_paths;
pub mod cgroup_update;
pub mod dbus_value;
pub mod devices;
pub mod environment;
pub mod gvariant;
pub mod idmap;
pub mod memory;
pub mod namespaces;
pub mod op;
pub mod options;
pub mod rlimits;
pub mod schedule;
pub mod sysctl;
pub mod systemd;
pub mod systemd_properties;
