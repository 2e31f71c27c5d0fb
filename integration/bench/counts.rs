//! What each verb costs in exact counts, and whether it keeps to `integration/budget.json`. Times are noise where
//! tests run; counts are not: a change that adds a syscall to the start path must say so by updating the budget.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a measuring program whose output is its purpose")]
#![allow(clippy::unwrap_used, reason = "a test tool: a broken invariant ends the run")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../tool/mod.rs"]
mod tool;

#[path = "counts/budget.rs"]
mod budget;
#[path = "counts/measure.rs"]
mod measure;

use std::path::PathBuf;
use std::process::ExitCode;
use tool::Res;

const USAGE: &str = "counts [--update] [--list] [--lives N] [--runtime NAME=PATH]…
  --update   write the counts found into integration/budget.json     --list   print every syscall name with its count
  --runtime  default: brisk at $BRISK or target/TRIPLE/release/brisk; peers' budgets are kept too, for comparison
  --lives    the counts are the fewest of so many containers' lives at the most";

/// Where others use the processors, one life in two has calls that wait for longer.
const LIVES: usize = 60;

struct Options {
    update: bool,
    list: bool,
    lives: usize,
    runtimes: Vec<(String, PathBuf)>,
}

fn main() -> ExitCode {
    let outcome = parse().and_then(|options| run(&options));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("counts: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Arguments that `cargo test` passes to every test program are ignored.
fn parse() -> Res<Options> {
    let mut options = Options { update: false, list: false, lives: LIVES, runtimes: Vec::new() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--update" => options.update = true,
            "--list" => options.list = true,
            "--lives" => options.lives = args.next().ok_or(USAGE)?.parse()?,
            "--runtime" => {
                let value = args.next().ok_or(USAGE)?;
                let (name, path) = value.split_once('=').ok_or(USAGE)?;
                options.runtimes.push((name.into(), path.into()));
            }
            _ => {}
        }
    }
    if options.runtimes.is_empty() {
        options.runtimes.extend(tool::runtime::built().map(|path| ("brisk".into(), path)));
    }
    Ok(options)
}

fn run(options: &Options) -> Res<bool> {
    if let Some(reason) = tool::lab::cannot_run(&options.runtimes) {
        return tool::lab::skip("counts", &reason).map(|()| true);
    }
    let lab = tool::lab::Place::new("counts")?;
    let mut good = true;
    for (name, path) in &options.runtimes {
        let runtime = lab.runtime(name, path)?;
        let budget = budget::Key::of(name, path)?;
        // For a budget as few are wanted as ever there are.
        let enough = |counts: &measure::Verbs| !options.update && budget.is_kept(counts);
        let counts = measure::all(&lab, &runtime, options.lives, enough)?;
        measure::print(name, &counts);
        if options.list {
            measure::print_names(&counts);
        }
        if options.update {
            budget.update(&counts)?;
        } else {
            good &= budget.check(&counts)?;
        }
    }
    let left = lab.close()?;
    if left.is_empty() { Ok(good) } else { Err(format!("left behind: {}", left.join(", ")).into()) }
}
