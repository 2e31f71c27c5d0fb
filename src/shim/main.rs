//! The `containerd-shim-brisk-v2` program: containerd's runtime v2 task API in front of brisk, runc or crun.
//!
//! One thread: every request, stream and connection is a future of [`reactor`]. What may crash or hang, the runtime, is a
//! process of its own. See docs/DESIGN.md, "The shim".
//!
//! The modules, in the order of the work: `bootstrap` is what containerd runs, with the command line of `flags` and the configuration of `options`.
//! `ttrpc` is its connection, in the messages of `protobuf`; `service` has the requests, `task` does them to a container and `process` to one of its
//! processes, with its `bundle` and what is `shared` by all; `fault` is what is answered when that fails. `rootfs` is mounted, `runtime` called, which hands over a `console`; `stdio` copies what a process writes, to a
//! `logger` for one; `reaper` hears of its end. `cgroups` finds where it is, for `metrics` (`metrics2` on v2) and `oom`. `events` are what containerd is told, by `publisher`.
//! All of that waits in `reactor`; `os` has the system calls, and `sha256` is for the name of the socket.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "the tests have a main function of their own"))]

mod bootstrap;
mod bundle;
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
