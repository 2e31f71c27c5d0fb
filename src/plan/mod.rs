//! What will be done, as data: pure functions of the bundle, the host's facts and the options.
//!
//! Touches nothing: no system call, no file, no environment, no clock. Runs in the parent. The modules
//! below turn what the specification writes as text into the numbers the kernel takes.

pub mod caps;
pub mod devices;
pub mod environment;
pub mod idmap;
pub mod memory;
pub mod namespaces;
pub mod options;
pub mod rlimits;
pub mod schedule;
pub mod sysctl;
