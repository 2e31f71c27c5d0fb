//! Kills a runtime at every system call, and fails every system call with every errno it may plausibly return; then
//! asks whether `state`, `list` and `delete --force` tell the truth and whether anything stayed behind.
//!
//! The sites are found by tracing, so new code is covered without anyone remembering. `cargo test` runs a sample;
//! `make test-faults` runs all.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a test tool whose output is its purpose")]
#![allow(clippy::unwrap_used, reason = "a test tool: a broken invariant ends the run")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../tool/mod.rs"]
mod tool;

mod bench;
mod errnos;
mod matrix;
mod options;
mod questions;
mod races;
mod sites;
mod trial;
mod verbs;

use matrix::Row;
use options::{Mode, Options, Variant};
use std::process::ExitCode;
use std::time::Instant;
use tool::Res;
use tool::lab::Place;
use tool::runtime::Runtime;
use trial::{Fault, Trial};
use verbs::Verb;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("faults: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Res<bool> {
    if options.help {
        println!("{}", options::USAGE);
        return Ok(true);
    }
    if let Some(reason) = tool::lab::cannot_run(&options.runtimes) {
        return tool::lab::skip("faults", &reason).map(|()| true);
    }
    let place = Place::new("faults")?;
    if options.cgroup2 {
        tool::hierarchies::only_v2()?;
    }
    if matches!(options.variant, Variant::Crowded | Variant::First) {
        place.crowd()?;
    }
    let end = Instant::now() + options.limit;
    let mut good = true;
    for (name, path) in &options.runtimes {
        let runtime = place.runtime(name, path)?;
        if options.races > 0 {
            good &= races::run(&place, &runtime, options)?;
            continue;
        }
        let mut rows = Vec::new();
        matrix::head(name, options);
        // A pool's bundle has no hooks.
        let can_be = |verb: &Verb| options.variant != Variant::Hook || !verb.has_pool();
        for verb in Verb::ALL.into_iter().filter(|verb| options.wants(verb.name())).filter(can_be) {
            for mode in Mode::ALL.into_iter().filter(|mode| options.modes.contains(mode)) {
                match cell(&place, &runtime, options, verb, mode, end) {
                    Ok(row) => {
                        matrix::line(&row);
                        rows.push(row);
                    }
                    Err(error) => {
                        let cell = format!("faults/{}-{}", verb.name(), mode.name());
                        good &= tool::verdict(&cell, &[format!("{name}: cannot be tried: {error}")])?;
                    }
                }
            }
        }
        matrix::findings(options, &rows);
        for row in &rows {
            good &= tool::verdict(&row.name(), &row.wrong(options))?;
        }
    }
    good &= tool::verdict("faults/nothing-left", &place.close()?)?;
    Ok(good)
}

/// One cell of the matrix: all (or a sample of the) sites of a verb in one mode.
fn cell(place: &Place, runtime: &Runtime, options: &Options, verb: Verb, mode: Mode, end: Instant) -> Res<Row> {
    let bench = bench::Bench::new(place, runtime, verb, options.variant)?;
    let sites = sites::enumerate(&bench)?;
    let faults: Vec<Fault> =
        sites.iter().filter(|site| options.wants_call(&site.call())).flat_map(|site| Fault::all(site, mode)).collect();
    let chosen = sites::sample(&faults, options.sample, options.shard);
    let mut row = Row::new(verb, mode, sites.len(), faults.len(), chosen.len());
    for (index, fault) in chosen.iter().enumerate() {
        if Instant::now() > end {
            row.out_of_time = chosen.len() - index;
            break;
        }
        row.add(fault, Trial { bench: &bench, fault }.run()?);
        matrix::progress(runtime, &row);
    }
    Ok(row)
}
