//! Templates: the start of a program in a container that waits for it, beside the whole `run` of each runtime.

use std::time::Instant;

use crate::common::Bundle;
use crate::lab::Lab;
use crate::latency::{Contestant, in_turn, runs, table};
use crate::load::flood;
use crate::options::Options;
use crate::result::{Figure, Outcome, Table};
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, process};

/// `start` of a template to the end of its program; making it and deleting it are not counted.
fn started<'a>(runtime: &'a Runtime, bundle: &'a Bundle, id: String) -> Contestant<'a> {
    let once = Box::new(move || {
        let pid_file = runtime.pid_file(&id);
        let create = ["create", "--template", "--bundle", text(&bundle.dir)?, "--pid-file", text(&pid_file)?, &id];
        runtime.must(&create)?;
        let pid = runtime.pid(&id)?;
        let begin = Instant::now();
        runtime.must(&["start", &id, "--", "/bin/true"])?;
        process::wait(pid)?;
        let ms = begin.elapsed().as_secs_f64() * 1e3;
        runtime.must(&["delete", &id])?;
        Ok(ms)
    });
    Contestant { name: format!("{}, prepared", runtime.name), once }
}

/// `run --pool`, process start to exit; the pool is filled before, and nobody fills it meanwhile.
fn pooled<'a>(runtime: &'a Runtime, pool: String) -> Contestant<'a> {
    let once = Box::new(move || {
        runtime.must(&["pool", "fill", &pool])?;
        Ok(runtime.must(&["run", "--pool", &pool, "--", "/bin/true"])?.ms)
    });
    Contestant { name: format!("{}, of a pool", runtime.name), once }
}

fn make_pool(runtime: &Runtime, bundle: &Bundle, pool: &str, members: usize) -> Res<()> {
    let members = members.to_string();
    let create = ["pool", "create", pool, "--bundle", text(&bundle.dir)?, "--size", &members];
    runtime.must(&create).map(drop)
}

/// What is left of a `run` when the container was made before.
pub fn prepared(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("prepared", &["/bin/true"])?;
    let own = || lab.runtimes.iter().filter(|runtime| runtime.name == "brisk");
    let pool = lab.id("pool");
    for runtime in own() {
        make_pool(runtime, &bundle, &pool, 1)?;
    }
    let mut contestants: Vec<_> = own().map(|runtime| started(runtime, &bundle, lab.id("template"))).collect();
    contestants.extend(own().map(|runtime| pooled(runtime, pool.clone())));
    contestants.extend(lab.runtimes.iter().map(|runtime| runs(runtime, &bundle, lab.id("prepared"))));
    let title = "start of a template to the end of /bin/true, and run --pool, beside run";
    let note = "prepared: create and delete are not counted; of a pool: process start to exit, filling is not counted";
    let samples = in_turn(title, options.rounds, contestants)?;
    let mut outcomes = vec![table("prepared", title, note, samples)];
    for runtime in own() {
        runtime.must(&["pool", "delete", &pool])?;
        outcomes
            .extend([many_claims(lab, options, runtime, &bundle)?, claims_in_a_row(lab, options, runtime, &bundle)?]);
    }
    Ok(outcomes)
}

/// Eight at a time from a full pool, beside as many ordinary runs.
fn many_claims(lab: &Lab, options: &Options, runtime: &Runtime, bundle: &Bundle) -> Res<Outcome> {
    let (pool, dir, total) = (lab.id("flood"), text(&bundle.dir)?, options.parallel);
    make_pool(runtime, bundle, &pool, total)?;
    let claim = |id: &str| ["run", "--pool", &pool, id, "--", "/bin/true"].map(str::to_owned).to_vec();
    let run = |id: &str| ["run", "--bundle", dir, id].map(str::to_owned).to_vec();
    let note = "containers a second, 8 always in flight; the pool has as many members";
    let mut figures = Table::new("prepared-parallel", "8 at a time from a full pool, beside run", note);
    for (name, run) in [("of a pool", &claim as &dyn Fn(&str) -> Vec<String>), ("run", &run)] {
        let (rate, failed) = flood(lab, runtime, 8, total, run)?;
        let rows = vec![Figure::new("8 at a time", "containers/s", rate), Figure::new("failed", "", failed as f64)];
        figures.add(&format!("{}, {name}", runtime.name), rows);
    }
    runtime.must(&["pool", "delete", &pool])?;
    Ok(Outcome::Figures(figures))
}

/// Is the last claim of a large pool as quick as the first?
fn claims_in_a_row(lab: &Lab, options: &Options, runtime: &Runtime, bundle: &Bundle) -> Res<Outcome> {
    let pool = lab.id("row");
    make_pool(runtime, bundle, &pool, options.storm)?;
    let claim = |_| Ok(runtime.must(&["run", "--pool", &pool, "--", "/bin/true"])?.ms);
    let times = (0..options.storm).map(claim).collect::<Res<Vec<f64>>>()?;
    runtime.must(&["pool", "delete", &pool])?;
    let mut curve = Table::new("prepared-storm", "claims of a full pool, one after the other", "process start to exit");
    curve.add(&format!("{}, of a pool", runtime.name), times);
    Ok(Outcome::Curve(curve))
}
