//! The `brisk` program.
#![no_main]

brisk::program!(brisk::cli::main);
