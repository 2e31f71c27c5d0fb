//! Tests of the real binary on the real kernel.

mod cgroup;
