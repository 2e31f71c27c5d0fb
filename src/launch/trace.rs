//! A timeline of both sides of the clone.

use serde_json::{Value, json};

use crate::plan::Plan;
use crate::plan::step::Step;
use crate::sys::process::monotonic_ns;
use crate::sys::shared::Times;

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEvent {
    /// `parent` or `child`.
    pub who: &'static str,
    /// Its line in the plan.
    pub name: String,
    /// When it began, in nanoseconds of CLOCK_MONOTONIC.
    pub start: u64,
    /// How long it took; until the next one began.
    pub duration: u64,
}

/// The events so far, in the order they began on each side.
#[derive(Debug, Default)]
pub struct Trace {
    events: Vec<TraceEvent>,
}

impl Trace {
    /// Notes that the parent begins something; whatever it did before ends now.
    pub fn mark(&mut self, name: &str) {
        let now = monotonic_ns();
        self.close(now);
        self.events.push(TraceEvent { who: "parent", name: name.into(), start: now, duration: 0 });
    }

    pub(super) fn step(&mut self, step: &Step) {
        self.mark(&step.to_string());
    }

    fn close(&mut self, now: u64) {
        if let Some(last) = self.events.iter_mut().rev().find(|event| event.who == "parent") {
            last.duration = now.saturating_sub(last.start);
        }
    }

    /// Adds what the child noted in shared memory.
    pub(super) fn child(&mut self, plan: &Plan, times: &Times) {
        let now = monotonic_ns();
        self.close(now);
        let names: Vec<String> = plan.child_ops().map(|op| op.describe().line).collect();
        let started: Vec<(usize, u64)> =
            (0..names.len()).map(|index| (index, times.get(index))).filter(|(_, start)| *start != 0).collect();
        for (position, (index, start)) in started.iter().enumerate() {
            let end = started.get(position + 1).map_or(now, |(_, next)| *next);
            let name = names[*index].clone();
            self.events.push(TraceEvent { who: "child", name, start: *start, duration: end.saturating_sub(*start) });
        }
    }

    /// Everything noted.
    pub fn events(&self) -> &[TraceEvent] {
        &self.events
    }

    /// The trace event format that Chrome's and Perfetto's viewers read: the names of the two processes, and complete events, times in
    /// µs. No real process ids: those of a run would make two files differ.
    pub fn to_json(&mut self) -> Value {
        self.close(monotonic_ns());
        let micros = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let names = [
            (1, "process_name", "brisk"),
            (1, "thread_name", "parent"),
            (2, "process_name", "container"),
            (2, "thread_name", "child"),
        ];
        let names = names
            .into_iter()
            .map(|(id, kind, name)| json!({ "ph": "M", "pid": id, "tid": id, "name": kind, "args": { "name": name } }));
        let steps = self.events.iter().map(|event| {
            let id = if event.who == "parent" { 1 } else { 2 };
            json!({
                "ph": "X", "pid": id, "tid": id, "cat": event.who,
                "name": event.name, "ts": micros(event.start), "dur": micros(event.duration),
            })
        });
        let events: Vec<Value> = names.chain(steps).collect();
        json!({ "traceEvents": events, "displayTimeUnit": "ms" })
    }
}
