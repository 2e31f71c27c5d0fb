//! Several containers at a time: how many a second, and does any fail?

use crate::lab::Lab;
use crate::options::Options;
use crate::progress::Progress;
use crate::result::{Figure, Outcome, Table};
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, os};
use std::collections::HashMap;
use std::time::Instant;

const LEVELS: [usize; 4] = [1, 2, 8, 64];

/// `run /bin/true` with a fixed number always in flight.
pub fn parallel(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("parallel", &["/bin/true"])?;
    let mut table =
        Table::new("parallel", "parallel run /bin/true", "so many always in flight; failures counted apart");
    let mut figures: HashMap<&str, Vec<Figure>> = HashMap::new();
    for level in LEVELS {
        for runtime in &lab.runtimes {
            let dir = text(&bundle.dir)?;
            let run = |id: &str| ["run", "--bundle", dir, id].map(str::to_owned).to_vec();
            let (rate, failed) = flood(lab, runtime, level, options.parallel, &run)?;
            let rows = figures.entry(&runtime.name).or_default();
            rows.push(Figure::new(format!("{level} at a time"), "containers/s", rate));
            rows.push(Figure::new(format!("{level} at a time: failed"), "", failed as f64));
        }
    }
    for runtime in &lab.runtimes {
        table.add(&runtime.name, figures.remove(runtime.name.as_str()).unwrap_or_default());
    }
    Ok(vec![Outcome::Figures(table)])
}

/// So many runs, `level` at a time: how many a second, and how many failed.
pub fn flood(
    lab: &Lab,
    runtime: &Runtime,
    level: usize,
    total: usize,
    run: &dyn Fn(&str) -> Vec<String>,
) -> Res<(f64, usize)> {
    let mut progress = Progress::new(&format!("parallel {level} {}", runtime.name), total);
    let mut flying = HashMap::new();
    let (mut started, mut failed) = (0, 0);
    let begin = Instant::now();
    while started < total || !flying.is_empty() {
        if started < total && flying.len() < level {
            let id = lab.id(&format!("par{started}"));
            let args = run(&id);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let child = runtime.command(&args).spawn()?;
            flying.insert(child.id() as i32, id);
            started += 1;
            continue;
        }
        let Some(reaped) = os::wait4(-1, 0)? else { continue };
        // Orphans of a runtime come to this subreaper too and are not counted.
        if let Some(id) = flying.remove(&reaped.pid) {
            if reaped.status != 0 {
                failed += 1;
                runtime.force_delete(&id)?;
            }
            progress.step();
        }
    }
    Ok((total as f64 / begin.elapsed().as_secs_f64(), failed))
}
