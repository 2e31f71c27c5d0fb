//! The `brisk-insight` program: the commands of brisk that look at what is there. `brisk` executes it for them.
//!
//! A program of its own, because it may be larger than the runtime, of which every page costs a start. It has brisk's
//! command line and readers by the library. See docs/INSIGHT.md and docs/DESIGN.md, "Insight".
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "the tests have a main function of their own"))]

mod containers;
mod diff;
mod figures;
mod foreign;
mod inspect;
mod json;
mod looks;
mod openmetrics;
mod procdir;
mod screen;
mod stats;
mod table;
mod top;
mod units;

use brisk::cli::verbs::Request;
use brisk::container::options::Global;
use brisk::error::{Error, Result, Stage};

/// Its exit status. Called by the C library directly, as in `brisk`.
#[cfg(not(test))]
#[expect(unsafe_code, reason = "the name by which the C library finds the program")]
#[unsafe(no_mangle)]
pub extern "C" fn main() -> i32 {
    brisk::cli::main_of(dispatch).into()
}

/// Does a command; the exit status.
fn dispatch(global: &Global, request: &Request) -> Result<u8> {
    if let Request::Stats(args) = request {
        return stats::stats(global, args).map(|()| 0);
    }
    if let Request::Top(args) = request {
        return top::top(global, args);
    }
    if let Request::Diff(args) = request {
        return diff::diff(global, args).map(|()| 0);
    }
    if let Request::Inspect(id) = request {
        return inspect::inspect(global, id).map(|()| 0);
    }
    Err(Error::new(Stage::Args, "brisk-insight does what brisk calls it for, and nothing else").with_hint("call brisk"))
}
