//! A container from create to delete.

pub mod asked_to_end;
pub mod checkpoint;
mod clock;
mod descriptors;
mod hard_cases;
mod logs;
mod notify;
mod pid_file;
mod restart;
mod signals;
mod verbs;
