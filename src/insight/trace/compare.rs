//! Two timelines: which step of one is which of the other, and where the difference is.

use std::collections::{BTreeMap, VecDeque};

use brisk::error::printable;
use serde_json::{Value, json};

use super::timeline::{Emphasis, Timeline, TraceSide, TracedStep, ms, rounded};

/// A step of either, or of both.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedStep {
    pub side: TraceSide,
    pub what: String,
    pub waits: bool,
    /// How long it took, in microseconds; `None` where it is only in the other.
    pub first: Option<f64>,
    pub second: Option<f64>,
}

impl ComparedStep {
    /// Of the step at this position, where `most` is that of the one that changed most.
    pub fn emphasis(&self, at: usize, most: Option<usize>) -> Emphasis {
        match most {
            Some(most) if most == at => Emphasis::Most,
            _ if self.waits => Emphasis::Waits,
            _ => Emphasis::Plain,
        }
    }

    /// By how much the second takes longer.
    pub fn change(&self) -> f64 {
        self.second.unwrap_or(0.0) - self.first.unwrap_or(0.0)
    }
}

/// The steps of both, in the order of the first, then those that only the second has.
pub fn compare(first: &Timeline, second: &Timeline) -> Vec<ComparedStep> {
    let mut partners: Vec<Option<usize>> = vec![None; first.steps.len()];
    let mut taken = vec![false; second.steps.len()];
    // By the whole name, then by what is left of it without ids, paths and numbers; the first of a name is the first of it there.
    for name in [str::to_owned, without_names] {
        let mut free: BTreeMap<(bool, String), VecDeque<usize>> = BTreeMap::new();
        let key = |step: &TracedStep| (step.side == TraceSide::Child, name(&step.what));
        for (at, step) in second.steps.iter().enumerate().filter(|(at, _)| !taken[*at]) {
            free.entry(key(step)).or_default().push_back(at);
        }
        for (step, partner) in first.steps.iter().zip(&mut partners).filter(|(_, partner)| partner.is_none()) {
            *partner = free.get_mut(&key(step)).and_then(VecDeque::pop_front);
            partner.iter().for_each(|at| taken[*at] = true);
        }
    }
    let of = |step: &TracedStep, first, second| ComparedStep {
        side: step.side,
        what: step.what.clone(),
        waits: step.waits,
        first,
        second,
    };
    let both = first.steps.iter().zip(partners);
    let mut steps: Vec<ComparedStep> =
        both.map(|(step, partner)| of(step, Some(step.took), partner.map(|at| second.steps[at].took))).collect();
    let only = second.steps.iter().zip(taken).filter(|(_, taken)| !taken);
    steps.extend(only.map(|(step, _)| of(step, None, Some(step.took))));
    steps
}

/// What two containers do alike has one name then.
fn without_names(what: &str) -> String {
    let word =
        |word: &str| if word.contains('/') { "/".to_owned() } else { word.replace(|c: char| c.is_ascii_digit(), "0") };
    what.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// The position of the step that changed most, of those that do something.
pub fn largest(steps: &[ComparedStep]) -> Option<usize> {
    let work = steps.iter().enumerate().filter(|(_, step)| !step.waits && step.change() != 0.0);
    work.rev().max_by(|(_, one), (_, other)| one.change().abs().total_cmp(&other.change().abs())).map(|(at, _)| at)
}

/// The difference in one sentence.
pub fn sentence(first: &Timeline, second: &Timeline, steps: &[ComparedStep]) -> String {
    let change = second.total - first.total;
    let share = first.share(change) * 100.0;
    let most = largest(steps).map(|at| &steps[at]).map_or_else(String::new, |step| {
        format!("; most of one step: {} ({}, {})", printable(&step.what), step.side.name(), signed_ms(step.change()))
    });
    format!("{} and {}: {} ({share:+.1}%){most}", ms(first.total), ms(second.total), signed_ms(change))
}

fn signed_ms(us: f64) -> String {
    format!("{:+.2} ms", us / 1000.0)
}

/// As JSON, for programs.
pub fn json(first: &Timeline, second: &Timeline, steps: &[ComparedStep]) -> Value {
    let step = |step: &ComparedStep| {
        json!({
            "side": step.side.name(),
            "what": step.what,
            "waits": step.waits,
            "firstUs": step.first.map(rounded),
            "secondUs": step.second.map(rounded),
            "changeUs": rounded(step.change()),
        })
    };
    json!({
        "first": first.json(),
        "second": second.json(),
        "changeUs": rounded(second.total - first.total),
        "largest": largest(steps),
        "steps": steps.iter().map(step).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
pub mod tests {
    use super::super::timeline::tests::document;
    use super::*;

    /// The one of the tests, and another container's, with one step less and one more.
    pub fn two() -> (Timeline, Timeline) {
        let mut other = document();
        let events = other["traceEvents"].as_array_mut().unwrap();
        events[7]["name"] = json!("bind mount /srv/b on /data (ro,nosuid,nodev,noexec,relatime)");
        events[8]["dur"] = json!(99.25);
        events[6]["name"] = json!("unshare (ipc, uts)");
        (Timeline::of(&document()).unwrap(), Timeline::of(&other).unwrap())
    }

    #[test]
    fn steps_are_paired_whatever_the_containers_are_called() {
        let (first, second) = two();
        let steps = compare(&first, &second);
        let of = |what: &str| steps.iter().find(|step| step.what.starts_with(what)).unwrap();
        assert_eq!((of("bind mount").first, of("bind mount").second), (Some(50.25), Some(50.25)));
        assert_eq!((of("unshare (network").second, of("unshare (ipc").first), (None, None));
        assert_eq!(steps[largest(&steps).unwrap()].what, "pivot_root");
        assert_eq!(steps.len(), first.steps.len() + 1);
        let said = sentence(&first, &second, &steps);
        assert_eq!(said, "2.10 ms and 2.10 ms: +0.00 ms (+0.0%); most of one step: pivot_root (child, -0.50 ms)");
    }
}
