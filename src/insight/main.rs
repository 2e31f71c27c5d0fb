//! The `brisk-insight` program: the commands of brisk that look at what is there. `brisk` executes it for them.
//!
//! A program of its own, because it may be larger than the runtime, of which every page costs a start. It has brisk's
//! command line and readers by the library. See docs/INSIGHT.md and docs/DESIGN.md, "Insight".
//!
//! The modules: `containers` finds each `subject`, with `foreign` for those of runc and crun; `figures` measures, `procdir` reads of one process. A
//! command each have `inspect`, `diff`, `stats`, `top`, and in folders `memory`, `plan`, `trace` and `record`. Printed is by `table`, `json`,
//! `openmetrics` and `svg`, with the numbers of `units`, on a `screen` as `looks` says what it can show. `sha256` is for files that may be the same.
#![cfg_attr(not(test), no_main)]
#![cfg_attr(test, allow(dead_code, reason = "the tests have a main function of their own"))]

mod containers;
mod diff;
mod figures;
mod foreign;
mod inspect;
mod json;
mod looks;
mod memory;
mod openmetrics;
mod plan;
mod procdir;
mod record;
mod screen;
#[path = "../shim/sha256.rs"]
mod sha256;
mod stats;
mod subject;
mod svg;
mod table;
mod top;
mod trace;
mod units;

use brisk::cli::verbs::Request;
use brisk::container::options::Global;
use brisk::error::{Error, Result, Stage};

#[cfg(not(test))]
brisk::program!(run);

/// Its exit status.
fn run() -> u8 {
    brisk::cli::main_of(dispatch)
}

/// Does a command; the exit status.
fn dispatch(global: &Global, request: &Request) -> Result<u8> {
    match request {
        Request::Stats(args) => stats::stats(global, args).map(|()| 0),
        Request::Memory(args) => memory::memory(global, args).map(|()| 0),
        Request::Trace(args) => trace::trace(global, args).map(|()| 0),
        Request::Plan(args) => plan::plan(global, args).map(|()| 0),
        Request::Top(args) => top::top(global, args),
        Request::Diff(args) => diff::diff(global, args).map(|()| 0),
        Request::Record(args) => record::record(global, args),
        Request::Inspect(id) => inspect::inspect(global, id).map(|()| 0),
        Request::Checkpoint(_)
        | Request::Create(_)
        | Request::Delete(_)
        | Request::Events(_)
        | Request::Exec(_)
        | Request::Features(())
        | Request::Kill(_)
        | Request::List(_)
        | Request::Mounts(_)
        | Request::Pause(_)
        | Request::Ps(_)
        | Request::Restart(_)
        | Request::Restore(_)
        | Request::Resume(_)
        | Request::Run(_)
        | Request::Spec(_)
        | Request::Start(_)
        | Request::State(_)
        | Request::Update(_)
        | Request::Wait(_)
        | Request::Pool(_)
        | Request::Check(_)
        | Request::Completion(_)
        | Request::Man(_) => {
            let what = "brisk-insight does what brisk calls it for, and nothing else";
            Err(Error::new(Stage::Args, what).with_hint("call brisk"))
        }
    }
}
