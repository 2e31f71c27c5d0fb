//! CRIU as a service: what it is asked, by which names it knows things of the host, and the talk with it.
//!
//! `criu swrk` is started for one request and speaks Protocol Buffers over a socket pair. Runs in the parent.

pub mod external;
pub(super) mod images;
pub(super) mod mounts;
pub mod opts;
pub mod protobuf;
pub(super) mod service;
pub mod streams;
