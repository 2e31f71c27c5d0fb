//! Templates: the start of a program in a container that waits for it, beside the whole `run` of each runtime.

use std::time::Instant;

use crate::common::Bundle;
use crate::lab::Lab;
use crate::latency::{Contestant, in_turn, runs, table};
use crate::options::Options;
use crate::result::Outcome;
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

/// What is left of a `run` when the container was made before.
pub fn prepared(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("prepared", &["/bin/true"])?;
    let own = lab.runtimes.iter().filter(|runtime| runtime.name == "brisk");
    let mut contestants: Vec<_> = own.map(|runtime| started(runtime, &bundle, lab.id("template"))).collect();
    contestants.extend(lab.runtimes.iter().map(|runtime| runs(runtime, &bundle, lab.id("prepared"))));
    let title = "start of a template to the end of /bin/true, beside run";
    let samples = in_turn(title, options.rounds, contestants)?;
    Ok(vec![table("prepared", title, "prepared: create and delete are not counted", samples)])
}
