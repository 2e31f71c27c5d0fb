//! Memory: what waits between create and start, what the runtime needs at its peak, and the least it runs in.

use crate::common::Bundle;
use crate::lab::Lab;
use crate::options::Options;
use crate::progress::Progress;
use crate::result::{Figure, Outcome, Table};
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, os, process};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Resident memory of the waiting init, peaks of the verbs, size of the binary.
pub fn memory(lab: &Lab, _options: &Options) -> Res<Vec<Outcome>> {
    let note = "peak: the largest process of the command (wait4); waiting init: created, not started";
    let mut table = Table::new("memory", "memory and size", note);
    let bundle = lab.bundle("memory", &["/bin/sleep", "1000000"])?;
    let short = lab.bundle("memory-run", &["/bin/true"])?;
    let mut progress = Progress::new("memory", lab.runtimes.len());
    for runtime in &lab.runtimes {
        let id = lab.id("memory");
        let pid = runtime.create(&bundle.dir, &id)?;
        let figures = figures(lab, runtime, &short, &id, pid);
        os::kill(pid, libc::SIGKILL)?;
        process::wait(pid)?;
        runtime.force_delete(&id)?;
        table.add(&runtime.name, figures?);
        progress.step();
    }
    Ok(vec![Outcome::Figures(table)])
}

fn figures(lab: &Lab, runtime: &Runtime, short: &Bundle, id: &str, pid: i32) -> Res<Vec<Figure>> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mut figures = vec![
        Figure::new("waiting init, VmRSS", "kB", kilobytes(&status, "VmRSS:")),
        Figure::new("waiting init, page tables", "kB", kilobytes(&status, "VmPTE:")),
        Figure::new("waiting init, proportional", "kB", proportional(pid)?),
    ];
    runtime.must(&["start", id])?;
    let dir = text(&short.dir)?;
    let run_id = lab.id("peak");
    for (what, args) in [
        ("peak of run", vec!["run", "--bundle", dir, &run_id]),
        ("peak of exec", vec!["exec", id, "/bin/true"]),
        ("peak of state", vec!["state", id]),
    ] {
        figures.push(Figure::new(what, "kB", peak(lab, runtime, &args)?));
    }
    figures.push(Figure::new("binary", "kB", std::fs::metadata(&runtime.path)?.len() as f64 / 1024.0));
    Ok(figures)
}

/// A line of /proc/PID/status or smaps_rollup.
pub fn kilobytes(text: &str, key: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("nan");
    line.trim().trim_end_matches(" kB").parse().unwrap_or(f64::NAN)
}

/// What a process takes, with its share of what others have too.
pub fn proportional(pid: i32) -> Res<f64> {
    Ok(kilobytes(&std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?, "Pss:"))
}

fn peak(lab: &Lab, runtime: &Runtime, args: &[&str]) -> Res<f64> {
    let mut command = Command::new(lab.program("peak"));
    command.arg(&runtime.path).arg("--root").arg(&runtime.root).args(args).stdin(Stdio::null());
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    match text.split_whitespace().collect::<Vec<_>>()[..] {
        [peak, "0"] => Ok(peak.parse()?),
        _ => Err(format!("{} {}: {}", runtime.name, args.join(" "), String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The smallest memory limit with which `run /bin/true` succeeds three times of three, by bisection in steps of 16 kB.
pub fn limit(lab: &Lab, _options: &Options) -> Res<Vec<Outcome>> {
    const STEP: u64 = 16 * 1024;
    const TOP: u64 = 1024;
    let mut table = Table::new("limit", "smallest memory limit that runs /bin/true", "three successes of three");
    for runtime in &lab.runtimes {
        let mut progress = Progress::new(&format!("limit {}", runtime.name), 10);
        let (mut fails, mut works) = (0, TOP);
        while works - fails > 1 {
            let middle = fails.midpoint(works);
            if survives(lab, runtime, middle * STEP)? {
                works = middle;
            } else {
                fails = middle;
            }
            progress.step();
        }
        let kilobytes = if works == TOP { f64::NAN } else { (works * STEP / 1024) as f64 };
        table.add(&runtime.name, vec![Figure::new("smallest limit", "kB", kilobytes)]);
    }
    Ok(vec![Outcome::Figures(table)])
}

fn survives(lab: &Lab, runtime: &Runtime, limit: u64) -> Res<bool> {
    let bundle = lab.bundle("limit", &["/bin/true"])?;
    let bundle = bundle.resources("memory", serde_json::json!({ "limit": limit })).written();
    let id = lab.id("limit");
    let args = ["run", "--bundle", text(&bundle.dir)?, &id];
    for _ in 0..3 {
        let done = process::bounded(&mut runtime.command(&args), Duration::from_secs(5))?;
        if !done.is_some_and(|done| done.ok()) {
            runtime.force_delete(&id)?;
            process::reap_all();
            return Ok(false);
        }
    }
    Ok(true)
}
