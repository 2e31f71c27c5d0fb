//! The list of experiments. One that fails is reported and does not stop the others.

use crate::lab::Lab;
use crate::options::Options;
use crate::result::Outcome;
use crate::tool::Res;
use crate::{density, engines, latency, load, memory, shims, startup, storm};

type Experiment = fn(&Lab, &Options) -> Res<Vec<Outcome>>;

const ALL: [(&str, Experiment); 13] = [
    ("run", latency::run),
    ("create", latency::create_start_delete),
    ("exec", latency::exec),
    ("seccomp", latency::seccomp),
    ("mounts", latency::mounts),
    ("startup", startup::startup),
    ("storm", storm::storm),
    ("parallel", load::parallel),
    ("memory", memory::memory),
    ("limit", memory::limit),
    ("density", density::density),
    ("engines", engines::engines),
    ("shims", shims::shims),
];

/// The outcomes, and `experiment: error` for those that could not be had.
pub fn run_all(lab: &Lab, options: &Options) -> Res<(Vec<Outcome>, Vec<String>)> {
    if let Some(unknown) = options.only.iter().find(|name| !ALL.iter().any(|(known, _)| known == name)) {
        return Err(format!("no experiment is called {unknown}").into());
    }
    let mut outcomes = Vec::new();
    let mut failures = Vec::new();
    for (name, experiment) in ALL.iter().filter(|(name, _)| options.wants(name)) {
        match experiment(lab, options) {
            Ok(more) => outcomes.extend(more),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    Ok((outcomes, failures))
}
