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

/// Pairs that can meet: the first says what must be before. Not exec and pause: an exec whose program is frozen waits.
const PAIRS: [(Verb, Verb); 27] = [
    (Verb::Create, Verb::Create),
    (Verb::Create, Verb::State),
    (Verb::Create, Verb::List),
    (Verb::Create, Verb::DeleteForce),
    (Verb::Create, Verb::Start),
    (Verb::Start, Verb::Start),
    (Verb::Start, Verb::Delete),
    (Verb::Start, Verb::DeleteForce),
    (Verb::Start, Verb::Kill),
    (Verb::Start, Verb::State),
    (Verb::Start, Verb::Exec),
    (Verb::Exec, Verb::Exec),
    (Verb::Exec, Verb::DeleteForce),
    (Verb::Exec, Verb::Kill),
    (Verb::Pause, Verb::Pause),
    (Verb::Pause, Verb::Kill),
    (Verb::Pause, Verb::DeleteForce),
    (Verb::Pause, Verb::Update),
    (Verb::Resume, Verb::Kill),
    (Verb::Update, Verb::Update),
    (Verb::Update, Verb::Kill),
    (Verb::Update, Verb::DeleteForce),
    (Verb::Kill, Verb::DeleteForce),
    (Verb::Delete, Verb::Delete),
    (Verb::DeleteForce, Verb::State),
    (Verb::DeleteForce, Verb::List),
    (Verb::DeleteForce, Verb::DeleteForce),
];

/// All pairs of one runtime; prints a line for each, and true when nothing was wrong.
pub fn run(place: &Place, runtime: &Runtime, options: &Options) -> Res<bool> {
    println!("{}: races, {} rounds a pair", runtime.name, options.races);
    println!("  {:<30}{:>10}{:>10}{:>10}{:>6}", "pair", "both ok", "one ok", "none ok", "bad");
    let mut good = true;
    for (first, second) in PAIRS.into_iter().filter(|pair| options.wants(pair.0.name())) {
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
    for ((child, other), verb) in [early_call, late_call].into_iter().zip([early, late]) {
        match finish(&child, &pids)? {
            None => findings.push(finding("hangs", verb.name().to_owned())),
            Some(reaped) if reaped.status == 0 => winners += 1,
            // A delete by force kills a create that it meets.
            Some(reaped) if verb == Verb::Create && second == Verb::DeleteForce && killed(&reaped) => {}
            // The program of an exec was killed with the container.
            Some(reaped) if verb == Verb::Exec && libc::WEXITSTATUS(reaped.status) == 128 + libc::SIGKILL => {}
            Some(reaped) => findings.extend(bad_error(reaped, &said(&other)?)),
        }
    }
    if (bench.verb, second) == (Verb::Create, Verb::Create) && winners != 1 {
        findings.push(finding("not exactly one create succeeds", winners.to_string()));
    }
    findings.extend(bench.aftermath(&id, &before)?.findings);
    bench.clear(&id)?;
    Ok((winners, findings))
}

fn killed(reaped: &Reaped) -> bool {
    libc::WIFSIGNALED(reaped.status) && libc::WTERMSIG(reaped.status) == libc::SIGKILL
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
