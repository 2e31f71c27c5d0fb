//! The container's root and everything that is mounted below it.

mod bind_flags;
mod devices;
mod in_use;
mod links;
mod options;
mod overlay;
mod rootfs;
mod types;
mod whole_root;
