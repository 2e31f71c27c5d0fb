//! The command line: what each flag does, and the verbs that only print.

mod check;
mod check_bundle;
mod completion;
mod composed_root;
mod documents;
mod each_flag;
mod flags;
mod outline;
mod papers;
mod plan;
mod words;
