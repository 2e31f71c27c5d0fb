//! Many containers alive at once: does the thousandth start as fast as the first?

use crate::common::Bundle;
use crate::lab::Lab;
use crate::options::Options;
use crate::progress::Progress;
use crate::result::{Figure, Outcome, Table};
use crate::stats::median;
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, os, process};
use std::time::Instant;

/// create + start of N containers that stay, runtime after runtime.
pub fn storm(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("storm", &["/bin/sleep", "1000000"])?;
    let note = "create + start of each, all left running; network namespaces included";
    let mut curve = Table::new("storm", &format!("start storm of {}", options.storm), note);
    let mut figures =
        Table::new("storm-figures", "start storm: first against last", "medians of the first and last tenth");
    for runtime in &lab.runtimes {
        let mut alive = Vec::new();
        let times = grow(lab, runtime, &bundle, options.storm, &mut alive);
        let cleared = clear(lab, runtime, &alive);
        let times = times?;
        let rate = cleared?;
        let tenth = (times.len() / 10).max(1);
        let (first, last) = (median(&times[..tenth]), median(&times[times.len() - tenth..]));
        figures.add(
            &runtime.name,
            vec![
                Figure::new("first tenth", "ms", first),
                Figure::new("last tenth", "ms", last),
                Figure::new("last / first", "×", last / first),
                Figure::new("all of them", "s", times.iter().sum::<f64>() / 1e3),
                Figure::new("kill + delete of all", "per s", rate),
            ],
        );
        curve.add(&runtime.name, times);
    }
    Ok(vec![Outcome::Curve(curve), Outcome::Figures(figures)])
}

fn grow(lab: &Lab, runtime: &Runtime, bundle: &Bundle, count: usize, alive: &mut Vec<i32>) -> Res<Vec<f64>> {
    let mut progress = Progress::new(&format!("storm {}", runtime.name), count);
    let mut times = Vec::with_capacity(count);
    for index in 0..count {
        let id = lab.id(&format!("storm{index}"));
        let begin = Instant::now();
        let pid_file = runtime.pid_file(&id);
        runtime.must(&["create", "--bundle", text(&bundle.dir)?, "--pid-file", text(&pid_file)?, &id])?;
        alive.push(runtime.pid(&id)?);
        runtime.must(&["start", &id])?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        progress.step();
        if os::interrupted() {
            break;
        }
    }
    Ok(times)
}

/// Ends them; containers per second.
fn clear(lab: &Lab, runtime: &Runtime, alive: &[i32]) -> Res<f64> {
    let mut progress = Progress::new(&format!("storm {}: delete", runtime.name), alive.len());
    let begin = Instant::now();
    for (index, pid) in alive.iter().enumerate() {
        os::kill(*pid, libc::SIGKILL)?;
        process::wait(*pid)?;
        runtime.force_delete(&lab.id(&format!("storm{index}")))?;
        progress.step();
    }
    Ok(alive.len() as f64 / begin.elapsed().as_secs_f64())
}
