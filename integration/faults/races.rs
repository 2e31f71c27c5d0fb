//! Two callers at once: every pair of commands on one container, started a little apart in both directions. Any
//! outcome is right but these: a hang, a crash, an error without a line, two winners of create, a state that lies,
//! something left after delete --force.

use crate::bench::{Bench, patience};
use crate::options::Options;
use crate::questions::{Finding, finding};
use crate::tool::lab::Place;
use crate::tool::os::{self, Reaped};
use crate::tool::runtime::Runtime;
use crate::tool::{Res, process};
use crate::trial::bad_error;
use crate::verbs::Verb;
use std::process::Child;
use std::time::{Duration, Instant};

/// Every pair that can meet. The first says what must be before, so those with the same before need no second order.
/// `run` is never the second: with the first one's program it would not end.
fn pairs(options: &Options) -> Vec<(Verb, Verb)> {
    let all = || Verb::ALL.into_iter().enumerate();
    let every = all().flat_map(|first| all().map(move |second| (first, second)));
    let wanted = every.filter(|((a, first), (b, second))| {
        let twice = a > b && first.begins_like(*second) && !first.is_foreground();
        !twice && !second.is_foreground() && options.wants(first.name())
    });
    wanted.map(|((_, first), (_, second))| (first, second)).collect()
}

/// All pairs of one runtime; prints a line for each, and true when nothing was wrong.
pub fn run(place: &Place, runtime: &Runtime, options: &Options) -> Res<bool> {
    println!("{}: races, {} rounds a pair", runtime.name, options.races);
    println!("  {:<30}{:>10}{:>10}{:>10}{:>6}", "pair", "both ok", "one ok", "none ok", "bad");
    let mut good = true;
    for (first, second) in pairs(options) {
        let bench = Bench::new(place, runtime, first, options.variant)?;
        let mut outcomes = [0usize; 3];
        let (mut bad, mut example) = (0, None);
        for round in 0..options.races {
            let (winners, findings) = meet(&bench, second, round)?;
            outcomes[winners] += 1;
            bad += usize::from(!findings.is_empty());
            example = example.or_else(|| findings.into_iter().next());
        }
        let [none, one, both] = outcomes;
        println!("  {:<30}{both:>10}{one:>10}{none:>10}{bad:>6}", format!("{} / {}", first.name(), second.name()));
        if let Some(Finding { kind, detail }) = example {
            println!("      e.g. {kind}: {detail}");
        }
        good &= bad == 0;
    }
    Ok(good)
}

/// One meeting: how many of the two succeeded, and what was wrong.
fn meet(bench: &Bench<'_>, second: Verb, round: usize) -> Res<(usize, Vec<Finding>)> {
    let id = bench.next_id();
    let before = bench.scene()?;
    bench.verb.prepare(bench.runtime, &bench.bundle, &id)?;
    // Even rounds: the second comes later by up to a few milliseconds; odd rounds: the first does.
    let apart = Duration::from_micros(150 * (round as u64 / 2));
    let (late, early) = if round.is_multiple_of(2) { (second, bench.verb) } else { (bench.verb, second) };
    let early_call = spawn(bench, early, &id, "a")?;
    spin(apart);
    let late_call = spawn(bench, late, &id, "b")?;
    let mut findings = Vec::new();
    let mut winners = 0;
    let pids = [&early_call, &late_call].map(|call| call.0.id() as i32);
    let mut calls = [(early_call, early, late), (late_call, late, early)];
    // What was frozen waits for the end of the pause, so that is awaited first and taken back.
    calls.sort_by_key(|(_, verb, _)| *verb != Verb::Pause);
    for ((child, log), verb, other) in calls {
        let Some(reaped) = finish(&child, &pids)? else {
            findings.push(finding("hangs", verb.name().to_owned()));
            continue;
        };
        winners += usize::from(reaped.status == 0);
        if reaped.status != 0 && !was_killed(verb, other, &reaped) {
            findings.extend(bad_error(reaped, &said(&log)?));
        }
        if verb == Verb::Pause && other != Verb::Pause {
            // It fails where there is nothing to resume.
            bench.runtime.command(&["resume", &id]).status()?;
        }
    }
    if (bench.verb, second) == (Verb::Create, Verb::Create) && winners != 1 {
        findings.push(finding("not exactly one create succeeds", winners.to_string()));
    }
    findings.extend(bench.aftermath(&id, &before)?.findings);
    bench.clear(&id)?;
    Ok((winners, findings))
}

/// The ends of a command whose container the other one killed: a `create` or `run` that is at work ends by SIGKILL, the
/// foreground returns the status of the killed program.
fn was_killed(verb: Verb, other: Verb, reaped: &Reaped) -> bool {
    let killer = matches!(other, Verb::Kill | Verb::Delete | Verb::DeleteForce);
    let foreground = verb.is_foreground() || verb == Verb::Exec;
    let signalled = libc::WIFSIGNALED(reaped.status) && libc::WTERMSIG(reaped.status) == libc::SIGKILL;
    let code = libc::WIFEXITED(reaped.status) && libc::WEXITSTATUS(reaped.status) == 128 + libc::SIGKILL;
    killer && ((verb.makes() && other != Verb::Kill && signalled) || (foreground && code))
}

/// The two write their errors to different files, so that neither truncates the other's.
fn spawn(bench: &Bench<'_>, verb: Verb, id: &str, twin: &str) -> Res<(Child, std::path::PathBuf)> {
    let log = bench.place.dir.join(format!("{twin}.stderr"));
    let args = verb.arguments(bench.place, &bench.bundle, id)?;
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).open(&log)?;
    Ok((bench.runtime.command(&args).stderr(file).spawn()?, log))
}

fn finish(child: &Child, both: &[i32]) -> Res<Option<Reaped>> {
    let pid = child.id() as i32;
    if let Some(reaped) = process::wait_within(pid, both, patience())? {
        return Ok(Some(reaped));
    }
    os::kill(pid, libc::SIGKILL)?;
    process::wait(pid)?;
    Ok(None)
}

fn said(log: &std::path::Path) -> Res<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(log)?).trim().to_owned())
}

/// A distance in time too short to sleep.
fn spin(apart: Duration) {
    let end = Instant::now() + apart;
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}
