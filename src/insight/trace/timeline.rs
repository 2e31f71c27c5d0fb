//! A timeline as `--trace` has written it, and what can be said of it.
//!
//! Not trusted: names of steps, which have paths and ids in them.

use std::path::Path;

use brisk::error::printable;
use brisk::error::{Context, Error, Result, Stage};
use brisk::spec;
use serde_json::{Value, json};

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceSide {
    Parent,
    Child,
}

impl TraceSide {
    pub fn name(self) -> &'static str {
        match self {
            TraceSide::Parent => "parent",
            TraceSide::Child => "child",
        }
    }
}

/// One thing that was done. Times are microseconds since the first.
#[derive(Clone, Debug, PartialEq)]
pub struct TracedStep {
    pub side: TraceSide,
    pub what: String,
    pub start: f64,
    pub took: f64,
    /// The other side, or somebody else, was waited for.
    pub waits: bool,
}

/// What is said of a step beside its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// No other took as long, or changed as much.
    Most,
    Waits,
    Plain,
}

impl TracedStep {
    /// Of the step at this position, where `most` is that of the slowest.
    pub fn emphasis(&self, at: usize, most: Option<usize>) -> Emphasis {
        match most {
            Some(most) if most == at => Emphasis::Most,
            _ if self.waits => Emphasis::Waits,
            _ => Emphasis::Plain,
        }
    }

    pub fn end(&self) -> f64 {
        self.start + self.took
    }
}

/// What has been reached at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TraceEnd {
    Program,
    SetUp,
    Command,
}

/// How the time was used: the four are all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimeSplit {
    pub parent: f64,
    pub child: f64,
    pub both: f64,
    pub neither: f64,
}

/// What is read of a file, in bytes: a step takes some 150, and as a value many times that.
const LONGEST_TRACE: usize = 8 << 20;

/// The steps of both sides, by their beginning.
#[derive(Debug)]
pub struct Timeline {
    pub steps: Vec<TracedStep>,
    /// The whole time.
    pub total: f64,
}

impl Timeline {
    /// Reads a file of `--trace`.
    pub fn read(file: &Path) -> Result<Timeline> {
        let text = spec::read_file(file, Stage::Args)?;
        if text.len() > LONGEST_TRACE {
            let what = format!("{} has {} bytes, more than any trace of a start", file.display(), text.len());
            return Err(Error::new(Stage::Args, what));
        }
        let document: Value = serde_json::from_slice(&text).at(Stage::Args, || format!("parse {}", file.display()))?;
        let wrong = |what: &str| Error::new(Stage::Args, format!("{} {what}", file.display()));
        let read = Timeline::of(&document).ok_or_else(|| wrong("is not a trace"))?;
        if read.steps.is_empty() {
            return Err(wrong("has no step of brisk's").with_hint("`brisk run --trace FILE` writes one that has"));
        }
        Ok(read)
    }

    /// Events that are no steps (names of processes, and whatever else such a file may have) are left out.
    pub fn of(document: &Value) -> Option<Timeline> {
        let step = |event: &Value| {
            let side = match event["cat"].as_str()? {
                "parent" => TraceSide::Parent,
                "child" => TraceSide::Child,
                _ => return None,
            };
            let number = |key: &str| event[key].as_f64().filter(|number| number.is_finite() && *number >= 0.0);
            let what = event["name"].as_str().unwrap_or("").to_owned();
            let waits = waits(&what);
            Some(TracedStep { side, what, start: number("ts")?, took: number("dur")?, waits })
        };
        let events = document["traceEvents"].as_array()?;
        let mut steps: Vec<TracedStep> = events.iter().filter(|event| event["ph"] == "X").filter_map(step).collect();
        steps.sort_by(|one, other| one.start.total_cmp(&other.start));
        let first = steps.first().map_or(0.0, |step| step.start);
        steps.iter_mut().for_each(|step| step.start -= first);
        let total = steps.iter().map(TracedStep::end).fold(0.0, f64::max);
        Some(Timeline { steps, total })
    }

    /// The part of the whole time.
    pub fn share(&self, took: f64) -> f64 {
        if self.total > 0.0 { took / self.total } else { 0.0 }
    }

    /// The position of the step that took longest, of those that do something.
    pub fn slowest(&self) -> Option<usize> {
        let work = self.steps.iter().enumerate().filter(|(_, step)| !step.waits && step.took > 0.0);
        work.rev().max_by(|(_, one), (_, other)| one.took.total_cmp(&other.took)).map(|(at, _)| at)
    }

    /// Who worked when.
    pub fn split(&self) -> TimeSplit {
        let mut edges: Vec<(f64, TraceSide, i32)> = Vec::with_capacity(2 * self.steps.len() + 1);
        for step in self.steps.iter().filter(|step| !step.waits) {
            edges.extend([(step.start, step.side, 1), (step.end(), step.side, -1)]);
        }
        edges.sort_by(|one, other| one.0.total_cmp(&other.0));
        edges.push((self.total, TraceSide::Parent, 0));
        let (mut split, mut before, mut parents, mut childs) = (TimeSplit::default(), 0.0, 0, 0);
        for (at, side, change) in edges {
            let part = match (parents > 0, childs > 0) {
                (true, true) => &mut split.both,
                (true, false) => &mut split.parent,
                (false, true) => &mut split.child,
                (false, false) => &mut split.neither,
            };
            *part += at - before;
            before = at;
            match side {
                TraceSide::Parent => parents += change,
                TraceSide::Child => childs += change,
            }
        }
        split
    }

    fn end(&self) -> TraceEnd {
        // `plan::step::Step::AwaitExec`.
        if self.steps.iter().any(|step| step.what == "wait until the program runs") {
            TraceEnd::Program
        } else if self.has(TraceSide::Child) {
            TraceEnd::SetUp
        } else {
            TraceEnd::Command
        }
    }

    /// Whether there is anything of this side.
    pub fn has(&self, side: TraceSide) -> bool {
        self.steps.iter().any(|step| step.side == side)
    }

    /// Where the time went, in one sentence.
    pub fn sentence(&self) -> String {
        let until = match self.end() {
            TraceEnd::Program => "from the request to the program's first instruction",
            TraceEnd::SetUp => "from the request until all is set up",
            TraceEnd::Command => "from the request to its end",
        };
        let TimeSplit { parent, child, both, neither } = self.split();
        let slowest = self.slowest().map(|at| &self.steps[at]).map_or_else(String::new, |step| {
            let share = self.share(step.took) * 100.0;
            format!("; slowest: {} ({}, {}, {share:.1}%)", printable(&step.what), step.side.name(), ms(step.took))
        });
        format!(
            "{} {until}: the parent alone worked for {}, the child alone for {}, both for {}, nobody for {}{slowest}",
            ms(self.total),
            ms(parent),
            ms(child),
            ms(both),
            ms(neither)
        )
    }

    /// As JSON, for programs.
    pub fn json(&self) -> Value {
        let TimeSplit { parent, child, both, neither } = self.split();
        let step = |step: &TracedStep| {
            json!({
                "side": step.side.name(),
                "what": step.what,
                "startUs": rounded(step.start),
                "tookUs": rounded(step.took),
                "share": self.share(step.took),
                "waits": step.waits,
            })
        };
        json!({
            "totalUs": rounded(self.total),
            "until": match self.end() {
                TraceEnd::Program => "program",
                TraceEnd::SetUp => "setUp",
                TraceEnd::Command => "end",
            },
            "parentUs": rounded(parent),
            "childUs": rounded(child),
            "bothUs": rounded(both),
            "neitherUs": rounded(neither),
            "slowest": self.slowest(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }
}

/// Nanoseconds are what the clock has.
pub fn rounded(us: f64) -> f64 {
    (us * 1000.0).round() / 1000.0
}

/// Milliseconds, for people.
pub fn ms(us: f64) -> String {
    format!("{:.2} ms", us / 1000.0)
}

/// Whether a step is one that waits, as `plan` names them (`plan::text`).
fn waits(what: &str) -> bool {
    what.starts_with("wait ") || what.starts_with("ask the parent and wait")
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// A start: the parent clones, waits, and says that the program runs.
    pub fn document() -> Value {
        let event = |cat: &str, name: &str, ts: f64, dur: f64| json!({ "ph": "X", "pid": 1, "tid": 1, "cat": cat, "name": name, "ts": ts + 5000.0, "dur": dur });
        json!({ "traceEvents": [
            { "ph": "M", "name": "process_name", "pid": 1, "tid": 1, "args": { "name": "brisk" } },
            event("parent", "plan", 0.0, 800.0),
            event("parent", "clone3 (pid, mount) into the cgroup", 800.0, 150.5),
            event("parent", "make the other cgroups and write the limits", 950.5, 400.0),
            event("parent", "wait for the child: ready", 1350.5, 649.5),
            event("parent", "wait until the program runs", 2000.0, 100.0),
            event("child", "unshare (network, ipc, uts)", 1050.5, 200.0),
            event("child", "bind mount /srv/<a>\u{1b}[2J on /data (ro,nosuid,nodev,noexec,relatime)", 1250.5, 50.25),
            event("child", "pivot_root", 1300.75, 599.25),
            event("child", "ask the parent and wait: ready; then outlive it", 1900.0, 60.0),
            event("child", "unmap the runtime and swap /proc/self/exe", 1960.0, 40.0),
        ] })
    }

    #[test]
    fn all_of_the_time_is_somebodys_or_nobodys() {
        let line = Timeline::of(&document()).unwrap();
        assert_eq!((line.total, line.steps.len()), (2100.0, 10));
        let TimeSplit { parent, child, both, neither } = line.split();
        // The child begins while the parent makes cgroups; nobody works while each waits for the other, nor at the end.
        assert_eq!([parent, both, child, neither], [1050.5, 300.0, 549.5 + 40.0, 60.0 + 100.0]);
        assert!((parent + child + both + neither - line.total).abs() < 1e-9);
        assert_eq!(line.steps[line.slowest().unwrap()].what, "plan");
        assert_eq!(
            line.sentence(),
            "2.10 ms from the request to the program's first instruction: the parent alone worked for 1.05 ms, the child alone \
             for 0.59 ms, both for 0.30 ms, nobody for 0.16 ms; slowest: plan (parent, 0.80 ms, 38.1%)"
        );
    }

    #[test]
    fn what_is_no_step_is_left_out() {
        for text in ["{}", "[]", "{\"traceEvents\":{}}"] {
            assert!(Timeline::of(&serde_json::from_str(text).unwrap()).is_none(), "{text}");
        }
        let odd = json!({ "traceEvents": [1, {}, { "ph": "X" }, { "ph": "X", "ts": -1 }, { "ph": "X", "ts": "1" }] });
        let line = Timeline::of(&odd).unwrap();
        assert_eq!((line.steps.len(), line.total, line.slowest()), (0, 0.0, None));
        assert!(line.sentence().starts_with("0.00 ms "));
    }

    /// The names by which waits are told are those that a plan has.
    #[test]
    fn waits_are_told_from_work() {
        for name in [
            "wait for the child: ready",
            "wait until the program runs",
            "wait for start",
            "ask the parent and wait: hooks",
        ] {
            assert!(waits(name), "{name}");
        }
        for name in ["let the child start on another CPU, if it waits for ours", "await", "plan"] {
            assert!(!waits(name), "{name}");
        }
    }
}
