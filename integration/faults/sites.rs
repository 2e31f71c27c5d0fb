//! Finding the sites, and choosing among them.

use crate::bench::Bench;
use crate::tool::trace::{Injection, Observer, Site};
use crate::tool::{Res, syscalls};
use std::collections::HashSet;

/// A site by name, and whether the program is still in its C library's start-up there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub process: String,
    pub ordinal: u32,
    pub nth: u32,
    pub nr: u64,
    pub startup: bool,
    /// Its process's last: where a parked one waits.
    pub last: bool,
}

impl Point {
    /// The name of the system call.
    pub fn call(&self) -> String {
        syscalls::name(self.nr)
    }
}

struct Recorder {
    points: Vec<Point>,
    own: bool,
    stacks: u32,
}

impl Observer for Recorder {
    fn entry(&mut self, site: &Site) -> Injection {
        let name = syscalls::name(site.nr);
        // The first call that neither a loader nor a C library nor std makes before main; the last that Rust's std
        // makes there are the signal stack and the handlers that run on it.
        const OWN: [&str; 8] = ["mkdir", "mkdirat", "socket", "socketpair", "statx", "clone3", "openat2", "flock"];
        let after_std = self.stacks == 2 && name != "rt_sigaction" && name != "gettid";
        self.own |= site.process != "0" || OWN.contains(&name.as_str()) || after_std || site.ordinal > 200;
        self.stacks += u32::from(name == "sigaltstack");
        self.points.push(Point {
            process: site.process.clone(),
            ordinal: site.ordinal,
            nth: site.nth,
            nr: site.nr,
            startup: !self.own,
            last: false,
        });
        Injection::Go
    }
}

/// Every system call that the verb makes when nothing goes wrong.
pub fn enumerate(bench: &Bench<'_>) -> Res<Vec<Point>> {
    let mut recorder = Recorder { points: Vec::new(), own: false, stacks: 0 };
    bench.undisturbed(&mut recorder)?;
    let mut points = recorder.points;
    let mut seen = HashSet::new();
    for point in points.iter_mut().rev() {
        point.last = seen.insert(point.process.clone());
    }
    Ok(points)
}

/// At most `count` of them, evenly spread, and of those only this shard's.
pub fn sample<T: Clone>(all: &[T], count: Option<usize>, (shard, shards): (usize, usize)) -> Vec<T> {
    let count = count.unwrap_or(all.len()).min(all.len());
    (0..count).filter(|index| index % shards == shard).map(|index| all[index * all.len() / count].clone()).collect()
}
