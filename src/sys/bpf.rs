//! bpf(2), for device programs on cgroups.
