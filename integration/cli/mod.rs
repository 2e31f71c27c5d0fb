//! The command line: what each flag does, and the verbs that only print.

mod check;
mod check_bundle;
mod each_flag;
mod flags;
mod plan;
