//! What a runtime costs before it does anything: exec to its first own syscall, against an empty static program.

use crate::lab::Lab;
use crate::options::Options;
use crate::progress::Progress;
use crate::result::{Outcome, Table};
use crate::tool::{Res, process};
use std::process::Command;

/// Two tables: to the first own syscall (static programs only), and the whole of `--version` (all).
pub fn startup(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let note = "vfork to the first syscall that no start-up code makes; a dynamic program's first is the loader's";
    let mut first = Table::new("first", "exec to the first own syscall", note);
    let mut version = Table::new("version", "whole process: --version", "empty: a static C program that returns 0");
    let empty = lab.program("empty");
    let mut contestants = vec![("empty", empty.as_path())];
    contestants.extend(lab.runtimes.iter().map(|runtime| (runtime.name.as_str(), runtime.path.as_path())));
    let mut progress = Progress::new("startup", options.rounds);
    let mut samples = vec![(Vec::new(), Vec::new()); contestants.len()];
    for _ in 0..options.rounds {
        for ((_, path), (first, version)) in contestants.iter().zip(&mut samples) {
            let output = Command::new(lab.program("first")).arg("1").arg(path).args(["state", "none"]).output()?;
            let nanoseconds: f64 = String::from_utf8(output.stdout)?.trim().parse()?;
            first.push(nanoseconds / 1e6);
            version.push(process::timed(process::quiet(Command::new(path).arg("--version")))?.ms);
        }
        progress.step();
    }
    for ((name, path), (own, whole)) in contestants.iter().zip(samples) {
        if is_static(path)? {
            first.add(name, own);
        }
        version.add(name, whole);
    }
    Ok(vec![Outcome::Latency(first), Outcome::Latency(version)])
}

/// No PT_INTERP, seen by the loader's name in the first page (where linkers put it).
fn is_static(path: &std::path::Path) -> Res<bool> {
    let image = std::fs::read(path)?;
    let head = &image[..image.len().min(4096)];
    Ok(!head.windows(8).any(|window| window == b"ld-linux"))
}
