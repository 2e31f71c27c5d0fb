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
mod jobs;
mod lab;
mod latency;
mod load;
mod many;
mod memory;
mod options;
mod prepared;
mod progress;
mod report;
mod result;
mod shapes;
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
    tool::os::note_interrupts();
    let machine = report::Machine::read()?;
    if let Some(warning) = machine.warning() {
        eprintln!("{warning}");
    }
    let lab = lab::Lab::new(options)?;
    let run = experiments::run_all(&lab, options, |so_far| report::write(options, &machine, so_far));
    let left = lab.close()?;
    report::print(options, &machine, &run?)?;
    if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join(", ")).into()) }
}
