//! The container's root and everything that is mounted below it.

mod devices;
mod links;
mod options;
mod rootfs;
mod types;
