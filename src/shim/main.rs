//! The `containerd-shim-brisk-v2` program: containerd's runtime v2 task API in front of brisk, runc or crun.
//!
//! One thread: every request, stream and connection is a future of [`reactor`]. What may crash or hang, the runtime, is a
//! process of its own. See docs/DESIGN.md, "The shim".
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "the tests have a main function of their own"))]

mod bootstrap;
mod cgroups;
mod console;
mod events;
mod fault;
mod flags;
mod logger;
mod metrics;
mod metrics2;
mod oom;
mod options;
mod os;
mod process;
mod protobuf;
mod publisher;
mod reactor;
mod reaper;
mod rootfs;
mod runtime;
mod service;
mod sha256;
mod shared;
mod stdio;
mod task;
mod ttrpc;

#[cfg(not(test))]
brisk::program!(bootstrap::main);
