//! Counting: one traced run of each verb, and untraced runs for the page faults.

use crate::common::Bundle;
use crate::tool::lab::Place;
use crate::tool::runtime::{Runtime, text};
use crate::tool::syscalls;
use crate::tool::trace::{self, Injection, Observer, Site};
use crate::tool::{Res, os, process};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

/// What one verb cost.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct Counts {
    pub syscalls: u64,
    pub processes: u64,
    pub execs: u64,
    pub bytes_written: u64,
    pub page_faults: u64,
    pub by_name: BTreeMap<String, u64>,
    /// Calls that timing alone decides on, in none of the other counts.
    #[serde(skip)]
    pub by_chance: u64,
}

/// Counts by verb.
pub type Verbs = BTreeMap<String, Counts>;

/// The step "let the child start on another CPU, if it waits for ours" is these calls, or none of them if the child runs
/// already. It begins with the first, which nothing else makes; the others are also made elsewhere.
const BY_CHANCE: [&str; 3] = ["getcpu", "sched_getaffinity", "sched_setaffinity"];

#[derive(Default)]
struct Counter {
    counts: Counts,
    /// By process: how many calls of that step were its last.
    step: BTreeMap<String, usize>,
    /// By process: its signalfd(2).
    signals: BTreeMap<String, u64>,
    /// Those whose last call was a receive that nothing came to in its time, or has taken in such a signal: they wait once more.
    waiting: BTreeSet<String>,
}

impl Counter {
    /// Whether this call is one of that step, or of a signal that may not have come yet when a pidfd has told the same: the
    /// kernel wakes who waits for the pidfd before it sends SIGCHLD.
    fn by_chance(&mut self, site: &Site, name: &str) -> bool {
        let of_signal = match name {
            "read" => self.signals.get(&site.process) == Some(&site.args[0]),
            "waitid" => site.args[0] == u64::from(libc::P_ALL),
            // The child takes longer than that where the machine has other work.
            "poll" => return self.waiting.remove(&site.process),
            _ => false,
        };
        if of_signal {
            self.waiting.insert(site.process.clone());
        }
        of_signal || self.of_step(&site.process, name)
    }

    fn of_step(&mut self, process: &str, name: &str) -> bool {
        let step = self.step.entry(process.to_owned()).or_default();
        let next = if name == BY_CHANCE[0] { 1 } else { *step + 1 };
        *step = if name == BY_CHANCE[0] || (*step > 0 && BY_CHANCE.get(*step) == Some(&name)) { next } else { 0 };
        *step > 0
    }
}

impl Observer for Counter {
    fn entry(&mut self, site: &Site) -> Injection {
        let name = syscalls::name(site.nr);
        if self.by_chance(site, &name) {
            self.counts.by_chance += 1;
            return Injection::Go;
        }
        self.counts.syscalls += 1;
        self.counts.execs += u64::from(name.starts_with("execve"));
        *self.counts.by_name.entry(name).or_default() += 1;
        Injection::Go
    }

    fn result(&mut self, site: &Site, result: i64) {
        if let ("signalfd4", Ok(fd)) = (&*syscalls::name(site.nr), u64::try_from(result)) {
            self.signals.insert(site.process.clone(), fd);
        }
        if ("recvmsg", -i64::from(libc::EAGAIN)) == (&*syscalls::name(site.nr), result) {
            self.waiting.insert(site.process.clone());
            self.counts.by_chance += 1;
            self.counts.syscalls -= 1;
            *self.counts.by_name.entry("recvmsg".into()).or_default() -= 1;
        }
        let writes = ["write", "writev", "pwrite64", "sendmsg", "sendto", "sendfile", "copy_file_range"];
        if writes.contains(&syscalls::name(site.nr).as_str()) {
            self.counts.bytes_written += u64::try_from(result).unwrap_or(0);
        }
    }
}

/// The verbs in the order in which a container's life needs them; the fewest of some lives, since what takes longer on a busy
/// machine is waited for with more calls, which say nothing of the program. There are no more lives than it takes until they are
/// as few as they should be.
pub fn all(lab: &Place, runtime: &Runtime, lives: usize, as_few_as_should_be: impl Fn(&Verbs) -> bool) -> Res<Verbs> {
    let short = lab.bundle("counts", &["/bin/true"])?;
    let long = lab.bundle("counts-long", &["/bin/sleep", "1000000"])?;
    runtime.must(&["run", "--bundle", text(&short.dir)?, &lab.id("warm")])?;
    let mut best = Verbs::new();
    for _ in 0..lives {
        for (verb, counts) in one_life(lab, runtime, &short, &long)? {
            match best.get_mut(&verb) {
                Some(least) if least.syscalls <= counts.syscalls => {
                    least.page_faults = least.page_faults.min(counts.page_faults);
                }
                _ => {
                    best.insert(verb, counts);
                }
            }
        }
        if as_few_as_should_be(&best) {
            break;
        }
    }
    Ok(best)
}

fn one_life(lab: &Place, runtime: &Runtime, short: &Bundle, long: &Bundle) -> Res<Verbs> {
    let mut verbs = Verbs::new();
    let (traced, plain) = (lab.id("traced"), lab.id("plain"));
    let (short, long) = (text(&short.dir)?, text(&long.dir)?);
    let steps: [(&str, Vec<&str>); 7] = [
        ("run", vec!["run", "--bundle", short]),
        ("run --overlay", vec!["run", "--overlay", "tmpfs", "--bundle", short]),
        ("create", vec!["create", "--bundle", long]),
        ("start", vec!["start"]),
        ("exec", vec!["exec"]),
        ("state", vec!["state"]),
        ("delete", vec!["delete"]),
    ];
    // Other runtimes have none.
    let taken = |(verb, _): &(&str, Vec<&str>)| runtime.name == "brisk" || !verb.contains("overlay");
    for (verb, args) in steps.into_iter().filter(taken) {
        let mut counts = Counts::default();
        for id in [&traced, &plain] {
            let pid_file = runtime.pid_file(id);
            let mut args = args.clone();
            match verb {
                "create" => {
                    // As engines give it: one that is not there yet.
                    match std::fs::remove_file(&pid_file) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                        _ => args.extend(["--pid-file", text(&pid_file)?, id]),
                    }
                }
                "exec" => args.extend([id.as_str(), "/bin/true"]),
                "delete" => {
                    end(runtime.pid(id)?)?;
                    args.push(id);
                }
                _ => args.push(id),
            }
            if id == &traced {
                counts = count(runtime, &args)?;
            } else {
                counts.page_faults = u64::try_from(runtime.must(&args)?.reaped.minor_faults)?;
            }
        }
        verbs.insert(verb.into(), counts);
    }
    Ok(verbs)
}

fn end(pid: i32) -> Res<()> {
    os::kill(pid, libc::SIGKILL)?;
    process::wait(pid).map(drop)
}

fn count(runtime: &Runtime, args: &[&str]) -> Res<Counts> {
    let mut counter = Counter::default();
    // Long, for a guest whose processor is emulated on a machine with other work.
    // As engines give it, no file of the caller's: that would be relayed, and counted.
    let mut command = runtime.command(args);
    command.stderr(Stdio::null());
    let traced = trace::trace(&mut command, Duration::from_secs(200), &mut counter)?;
    match traced.main {
        Some(main) if main.status == 0 => {}
        other => return Err(format!("{} {}: {other:?} under trace", runtime.name, args.join(" ")).into()),
    }
    counter.counts.processes = u64::from(traced.processes);
    Ok(counter.counts)
}

/// The table.
pub fn print(name: &str, verbs: &Verbs) {
    println!(
        "{name:<10}{:>10}{:>11}{:>8}{:>15}{:>13}",
        "syscalls", "processes", "execs", "bytes written", "page faults"
    );
    for (verb, counts) in verbs {
        let Counts { syscalls, processes, execs, bytes_written, page_faults, .. } = counts;
        println!("  {verb:<8}{syscalls:>10}{processes:>11}{execs:>8}{bytes_written:>15}{page_faults:>13}");
    }
    let apart: Vec<String> =
        verbs.iter().filter(|(_, c)| c.by_chance > 0).map(|(verb, c)| format!("{verb} {}", c.by_chance)).collect();
    if !apart.is_empty() {
        println!(
            "  besides, by chance (a child that waits for a CPU; a signal of what a pidfd has told): {}",
            apart.join(", ")
        );
    }
}

/// Every name with its count, most frequent first.
pub fn print_names(verbs: &Verbs) {
    for (verb, counts) in verbs {
        let mut names: Vec<(&String, &u64)> = counts.by_name.iter().collect();
        names.sort_by(|a, b| b.1.cmp(a.1));
        let names: Vec<String> = names.into_iter().map(|(name, count)| format!("{name} {count}")).collect();
        println!("  {verb}: {}", names.join(", "));
    }
}
