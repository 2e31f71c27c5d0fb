//! Latency experiments: every round measures the floor and each runtime once, in turn, so that what the machine does
//! meanwhile falls on all of them alike.

use crate::common::Bundle;
use crate::common::leftovers;
use crate::lab::Lab;
use crate::options::Options;
use crate::progress::Progress;
use crate::result::{Outcome, Table};
use crate::stats::median;
use crate::tool::os::interrupted;
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, process};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::process::Command;
use std::time::Duration;

const WARM_UP: usize = 3;

/// One thing to be measured in turn with others.
pub struct Contestant<'a> {
    pub name: String,
    pub once: Box<dyn FnMut() -> Res<f64> + 'a>,
}

/// How starts follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Without a pause. The kernel still has what the one before made it do: a grace period waited for, caches.
    BackToBack,
    /// 50 ms after the last, as on a machine that is not busy starting containers.
    Apart,
}

impl Pace {
    const PAUSE: Duration = Duration::from_millis(50);

    /// Both, with the suffix of the table's name, what it says of the title, and the share of the rounds.
    const BOTH: [(Pace, &str, &str, usize); 2] =
        [(Pace::BackToBack, "", "", 1), (Pace::Apart, "-apart", ", 50 ms after the last", 3)];

    fn wait(self) {
        if self == Pace::Apart {
            std::thread::sleep(Self::PAUSE);
        }
    }
}

/// Rounds of all contestants without a pause.
pub fn in_turn(title: &str, rounds: usize, contestants: Vec<Contestant<'_>>) -> Res<Vec<(String, Vec<f64>)>> {
    at_pace(Pace::BackToBack, title, rounds, contestants)
}

/// Rounds of all contestants; the warm-up rounds are not kept.
fn at_pace(
    pace: Pace,
    title: &str,
    rounds: usize,
    mut contestants: Vec<Contestant<'_>>,
) -> Res<Vec<(String, Vec<f64>)>> {
    let mut progress = Progress::new(title, rounds + WARM_UP);
    let mut samples: Vec<Vec<f64>> = vec![Vec::with_capacity(rounds); contestants.len()];
    for round in 0..rounds + WARM_UP {
        for (contestant, sample) in contestants.iter_mut().zip(&mut samples) {
            pace.wait();
            let ms = (contestant.once)()?;
            if round >= WARM_UP {
                sample.push(ms);
            }
        }
        progress.step();
        if interrupted() && round >= WARM_UP {
            break;
        }
    }
    Ok(contestants.into_iter().map(|contestant| contestant.name).zip(samples).collect())
}

fn floor<'a>(lab: &'a Lab, bundle: &'a Bundle) -> Contestant<'a> {
    let once = Box::new(move || success("floor", process::timed(&mut lab.floor(bundle))?));
    Contestant { name: "floor".into(), once }
}

pub fn success(what: &str, done: process::Done) -> Res<f64> {
    if done.ok() { Ok(done.ms) } else { Err(format!("{what}: wait status {:#x}", done.reaped.status).into()) }
}

/// `run ID` of a bundle, process start to exit.
pub fn runs<'a>(runtime: &'a Runtime, bundle: &'a Bundle, id: String) -> Contestant<'a> {
    let once = Box::new(move || Ok(runtime.must(&["run", "--bundle", text(&bundle.dir)?, &id])?.ms));
    Contestant { name: runtime.name.clone(), once }
}

/// The outcome of rounds.
pub fn table(id: &str, title: &str, note: &str, samples: Vec<(String, Vec<f64>)>) -> Outcome {
    let mut table = Table::new(id, title, note);
    for (name, sample) in samples {
        table.add(&name, sample);
    }
    Outcome::Latency(table)
}

/// `run /bin/true` with the default specification.
pub fn run(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("run", &["/bin/true"])?;
    let note = "process start to exit; floor: the kernel's work alone, serially, in one C program";
    let mut tables = Vec::new();
    for (pace, suffix, how, share) in Pace::BOTH {
        let mut contestants = vec![floor(lab, &bundle)];
        contestants.extend(lab.runtimes.iter().map(|runtime| runs(runtime, &bundle, lab.id("run"))));
        let title = format!("run /bin/true{how}");
        let samples = at_pace(pace, &title, options.rounds / share, contestants)?;
        tables.push(table(&format!("run{suffix}"), &format!("{title}, default specification"), note, samples));
    }
    Ok(tables)
}

/// create, start and delete as an engine calls them; between start and delete the engine waits for the exit.
pub fn create_start_delete(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("create", &["/bin/true"])?;
    let mut outcomes = Vec::new();
    for pace in Pace::BOTH {
        outcomes.extend(cycles(lab, options, &bundle, pace)?);
    }
    Ok(outcomes)
}

fn cycles(
    lab: &Lab,
    options: &Options,
    bundle: &Bundle,
    (pace, suffix, how, share): (Pace, &str, &str, usize),
) -> Res<[Outcome; 2]> {
    const PARTS: [&str; 4] = ["t_create", "t_start", "t_exit", "t_delete"];
    let id = lab.id("csd");
    let rounds = options.rounds / share;
    let mut totals = vec![Vec::new(); lab.runtimes.len()];
    let mut parts = vec![vec![Vec::new(); PARTS.len()]; lab.runtimes.len()];
    let title = format!("create + start + delete{how}");
    let mut progress = Progress::new(&title, rounds + WARM_UP);
    for round in 0..rounds + WARM_UP {
        for (index, runtime) in lab.runtimes.iter().enumerate() {
            pace.wait();
            let (total, split) = engine_cycle(runtime, bundle, &id)?;
            if round >= WARM_UP {
                totals[index].push(total);
                split.iter().zip(&mut parts[index]).for_each(|(ms, sample)| sample.push(*ms));
            }
        }
        progress.step();
        if interrupted() && round >= WARM_UP {
            break;
        }
    }
    let names: Vec<String> = lab.runtimes.iter().map(|runtime| runtime.name.clone()).collect();
    let id = format!("phases{suffix}");
    let mut phases = Table::new(&id, &format!("{title}, by phase (medians)"), "t_exit: start's end to init's exit");
    for (name, parts) in names.iter().zip(&parts) {
        phases.add(name, PARTS.iter().zip(parts).map(|(part, sample)| ((*part).to_owned(), median(sample))).collect());
    }
    let note = "three processes and the wait for init's exit between start and delete";
    let samples = names.into_iter().zip(totals).collect();
    let whole = table(&format!("create{suffix}"), &format!("{title}, of /bin/true"), note, samples);
    Ok([whole, Outcome::Phases(phases)])
}

/// One container's life; the whole in milliseconds and its four parts.
fn engine_cycle(runtime: &Runtime, bundle: &Bundle, id: &str) -> Res<(f64, [f64; 4])> {
    let pid_file = runtime.pid_file(id);
    let begin = std::time::Instant::now();
    let create = runtime.must(&["create", "--bundle", text(&bundle.dir)?, "--pid-file", text(&pid_file)?, id])?.ms;
    let pid = runtime.pid(id)?;
    let start = runtime.must(&["start", id])?.ms;
    let waiting = std::time::Instant::now();
    process::wait(pid)?;
    let exit = waiting.elapsed().as_secs_f64() * 1e3;
    let delete = runtime.must(&["delete", id])?.ms;
    Ok((begin.elapsed().as_secs_f64() * 1e3, [create, start, exit, delete]))
}

/// `exec /bin/true` into a container that sleeps.
pub fn exec(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let id = lab.id("exec");
    let mut bundles = Vec::new();
    for runtime in &lab.runtimes {
        let name = format!("{id}-{}", runtime.name);
        let path = format!("/{name}");
        let bundle = lab.bundle(&name, &["/bin/sleep", "1000000"])?;
        bundles.push(bundle.set("/linux/cgroupsPath", path.into()).written());
    }
    let mut alive = Vec::new();
    let outcome =
        start_all(lab, &bundles, &id, &mut alive).and_then(|()| exec_rounds(lab, &id, &alive, options.rounds));
    for (runtime, pid) in lab.runtimes.iter().zip(&alive) {
        crate::tool::os::kill(*pid, libc::SIGKILL)?;
        process::wait(*pid)?;
        runtime.force_delete(&id)?;
    }
    outcome
}

fn start_all(lab: &Lab, bundles: &[Bundle], id: &str, alive: &mut Vec<i32>) -> Res<()> {
    for (runtime, bundle) in lab.runtimes.iter().zip(bundles) {
        alive.push(runtime.create(&bundle.dir, id)?);
        runtime.must(&["start", id])?;
    }
    Ok(())
}

fn exec_rounds(lab: &Lab, id: &str, alive: &[i32], rounds: usize) -> Res<Vec<Outcome>> {
    let note = "floor: attach to 9 cgroups, one setns, vfork, execve";
    let mut tables = Vec::new();
    for (pace, suffix, how, share) in Pace::BOTH {
        let title = format!("exec /bin/true{how}");
        let samples = at_pace(pace, &title, rounds / share, executors(lab, id, alive))?;
        tables.push(table(&format!("exec{suffix}"), &format!("{title}, into a running container"), note, samples));
    }
    Ok(tables)
}

fn executors<'a>(lab: &'a Lab, id: &'a str, alive: &[i32]) -> Vec<Contestant<'a>> {
    let target = lab.runtimes.first().map(|runtime| format!("/{id}-{}", runtime.name)).unwrap_or_default();
    let pid = alive.first().copied().unwrap_or_default().to_string();
    let floor = Box::new(move || {
        let mut command = Command::new(lab.program("execfloor"));
        success("execfloor", process::timed(process::quiet(command.arg(&pid).arg(&target)))?)
    });
    let mut contestants = vec![Contestant { name: "floor".into(), once: floor }];
    contestants.extend(lab.runtimes.iter().map(|runtime| Contestant {
        name: runtime.name.clone(),
        once: Box::new(move || Ok(runtime.must(&["exec", id, "/bin/true"])?.ms)),
    }));
    contestants
}

/// `run` with and without Docker's default seccomp profile, the two interleaved.
pub fn seccomp(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let plain = lab.bundle("plain", &["/bin/true"])?;
    let filtered = lab.bundle("seccomp", &["/bin/true"])?.with_docker_seccomp().written();
    let mut contestants = Vec::new();
    for runtime in &lab.runtimes {
        for (suffix, bundle) in [("", &plain), ("+seccomp", &filtered)] {
            let mut contestant = runs(runtime, bundle, lab.id("seccomp"));
            contestant.name.push_str(suffix);
            contestants.push(contestant);
        }
    }
    let samples = in_turn("seccomp", options.rounds, contestants)?;
    let note = "the same bundle without and with Docker's default profile";
    Ok(vec![table("seccomp", "run /bin/true with Docker's default seccomp profile", note, samples)])
}

/// `run` on a host with few and with thousands of mounts, the two in turn, one runtime after the other: the copy of
/// thousands of mounts that one makes is still being thrown away while the next one runs.
pub fn mounts(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("mounts", &["/bin/true"])?;
    let home = File::open("/proc/self/ns/mnt")?;
    let few_mounts = (leftovers::mount_count()?, home.try_clone()?);
    // It ends with the experiment.
    unshare(CloneFlags::CLONE_NEWNS)?;
    let samples = crowd(lab, options.mounts).and_then(|count| {
        let hosts = [few_mounts, (count, File::open("/proc/self/ns/mnt")?)];
        let mut samples = Vec::new();
        for index in 0..=lab.runtimes.len() {
            let contestants = hosts.iter().map(|host| on_host(host, nth(lab, &bundle, index))).collect();
            samples.extend(in_turn("mounts", options.rounds / 2, contestants)?);
        }
        Ok(samples)
    });
    setns(&home, CloneFlags::CLONE_NEWNS)?;
    let note = "@N: with N mounts in the host's mount namespace";
    Ok(vec![table("mounts", "run /bin/true against the number of host mounts", note, samples?)])
}

/// The floor is the first of all.
fn nth<'a>(lab: &'a Lab, bundle: &'a Bundle, index: usize) -> Contestant<'a> {
    match index.checked_sub(1) {
        None => floor(lab, bundle),
        Some(index) => runs(&lab.runtimes[index], bundle, lab.id("mounts")),
    }
}

/// In a mount namespace with so many mounts.
fn on_host<'a>((count, namespace): &'a (usize, File), contestant: Contestant<'a>) -> Contestant<'a> {
    let mut once = contestant.once;
    Contestant {
        name: format!("{}@{count}", contestant.name),
        once: Box::new(move || {
            setns(namespace, CloneFlags::CLONE_NEWNS)?;
            once()
        }),
    }
}

/// Binds a directory on `count` directories; the number of mounts there are then.
fn crowd(lab: &Lab, count: usize) -> Res<usize> {
    let none: Option<&str> = None;
    let base = lab.dir.join("crowd");
    std::fs::create_dir(&base)?;
    mount(Some("tmpfs"), &base, Some("tmpfs"), MsFlags::empty(), none)?;
    for index in 0..count {
        let dir = base.join(index.to_string());
        std::fs::create_dir(&dir)?;
        mount(Some(&dir), &dir, none, MsFlags::MS_BIND, none)?;
    }
    Ok(leftovers::mount_count()?)
}
