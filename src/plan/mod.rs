//! What brisk will do, worked out as data from the bundle, the host and the options.
//!
//! Pure: nothing here makes a system call, reads a file or looks at the environment or the clock.

pub mod seccomp;
