//! CRIU as a service: what it is asked, by which names it knows things of the host, and the talk with it.
//!
//! `criu swrk` is started for one request and speaks Protocol Buffers over a socket pair. Runs in the parent.
//!
//! The modules, in the order of the work: `opts` is what CRIU is asked, `external` by which names it knows what is the host's, `mounts` the mount
//! namespace that it works in, `images` what lies in the directories that it is sent to, and `streams` what the standard streams were and
//! will be; `service` is the talk with it, in the messages of `protobuf`. `labels` are those that what it restores must have.

pub mod external;
pub(super) mod images;
pub mod labels;
pub(super) mod mounts;
pub mod opts;
pub mod protobuf;
pub(super) mod service;
pub mod streams;
