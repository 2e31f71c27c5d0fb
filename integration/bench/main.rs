//! `make bench`: how long, how much and how many, for brisk, its peers and the floor, side by side in one run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program whose output is its purpose")]
#![allow(clippy::unwrap_used, reason = "a test tool: a broken invariant ends the run")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../tool/mod.rs"]
mod tool;

mod density;
mod engines;
mod experiments;
mod lab;
mod latency;
mod load;
mod memory;
mod options;
mod progress;
mod report;
mod result;
mod shims;
mod startup;
mod stats;
mod storm;

use options::Options;
use std::process::ExitCode;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> tool::Res<()> {
    if options.help {
        println!("{}", options::USAGE);
        return Ok(());
    }
    let lab = lab::Lab::new(options)?;
    let outcome = experiments::run_all(&lab, options);
    let left = lab.close()?;
    let (results, failures) = outcome?;
    report::write_all(options, &results, &failures)?;
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join(", ")).into()) }
}
