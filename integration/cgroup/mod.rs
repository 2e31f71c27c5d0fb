//! Cgroups: the driver by itself, limits and their changes by the command line, v1, v2 and systemd.

mod devices;
mod driver;
mod events;
mod hybrid;
pub mod limits;
mod pause;
pub mod systemd;
mod systemd_attacks;
mod systemd_driver;
mod transfer;
mod update;
mod v2;
