//! The `brisk` program.

fn main() {}
