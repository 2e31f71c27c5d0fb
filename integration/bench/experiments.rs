//! The list of experiments. One that fails is reported and does not stop the others; when the bench is interrupted, what
//! was measured until then is reported.

use crate::lab::Lab;
use crate::options::Options;
use crate::result::{Outcome, Run};
use crate::tool::{Res, os};
use crate::{density, engines, jobs, latency, load, many, memory, prepared, shapes, shims, startup, storm};
use std::time::Instant;

type Experiment = fn(&Lab, &Options) -> Res<Vec<Outcome>>;

const ALL: [(&str, Experiment); 21] = [
    ("run", latency::run),
    ("create", latency::create_start_delete),
    ("exec", latency::exec),
    ("prepared", prepared::prepared),
    ("seccomp", latency::seccomp),
    ("mounts", latency::mounts),
    ("binds", shapes::binds),
    ("overlay", shapes::overlay),
    ("throwaway", jobs::throwaway),
    ("rootless", shapes::rootless),
    ("systemd", shapes::systemd),
    ("startup", startup::startup),
    ("storm", storm::storm),
    ("many", many::many),
    ("parallel", load::parallel),
    ("memory", memory::memory),
    ("limit", memory::limit),
    ("density", density::density),
    ("judge", jobs::judge),
    ("engines", engines::engines),
    ("shims", shims::shims),
];

/// What came of those that were asked for. `tell` gets the whole after each of them: a bench that is cut has a report.
pub fn run_all(lab: &Lab, options: &Options, mut tell: impl FnMut(&Run) -> Res<()>) -> Res<Run> {
    if let Some(unknown) = options.only.iter().find(|name| !ALL.iter().any(|(known, _)| known == name)) {
        return Err(format!("no experiment is called {unknown}").into());
    }
    let mut run = Run::default();
    let wanted: Vec<_> = ALL.iter().filter(|(name, _)| options.wants(name)).collect();
    for (index, (name, experiment)) in wanted.iter().enumerate() {
        eprintln!("{} of {}: {name}", index + 1, wanted.len());
        let begin = Instant::now();
        match experiment(lab, options) {
            Ok(more) => run.outcomes.extend(more),
            Err(error) if os::interrupted() => run.failures.push(format!("{name}: interrupted ({error})")),
            Err(error) => run.failures.push(format!("{name}: {error}")),
        }
        run.seconds.push(((*name).to_owned(), begin.elapsed().as_secs_f64()));
        if os::interrupted() {
            let left: Vec<&str> = wanted[index + 1..].iter().map(|(name, _)| *name).collect();
            run.cut = Some(format!("interrupted during {name}; not measured: {}", left.join(" ")));
        }
        tell(&run)?;
        if run.cut.is_some() {
            break;
        }
    }
    Ok(run)
}
