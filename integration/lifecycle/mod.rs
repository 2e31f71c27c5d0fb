//! A container from create to delete.

mod checkpoint;
mod clock;
mod hard_cases;
mod notify;
mod restart;
mod verbs;
