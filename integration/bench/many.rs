//! Thousands of containers that wait to be started: what it costs to make one more, to ask for one, to list and to delete
//! them. Of the first runtime alone: thousands of the peers' waiting processes, of 2 and 10 MB each, are more than the
//! machine's memory.

use crate::lab::Lab;
use crate::options::Options;
use crate::progress::Progress;
use crate::result::{Figure, Outcome, Table};
use crate::stats::median;
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, os};

/// How often a question is asked at each mark.
const ASKED: usize = 5;

/// create of N containers, state and list at 1, 10, 100, …, delete of all.
pub fn many(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let Some(runtime) = lab.runtimes.first() else { return Ok(Vec::new()) };
    let bundle = lab.bundle("many", &["/bin/true"])?;
    let mut made = 0;
    let grown = grow(lab, runtime, text(&bundle.dir)?, options.many, &mut made);
    let shrunk = shrink(lab, runtime, made);
    let (creates, mut figures) = grown?;
    let deletes = shrunk?;
    let around = |times: &[f64], n: usize| median(&times[n.saturating_sub(5)..(n + 5).min(times.len())]);
    for mark in marks(made) {
        figures.push(Figure::new(format!("create with {mark}"), "ms", around(&creates, mark - 1)));
        figures.push(Figure::new(format!("delete with {mark}"), "ms", around(&deletes, mark - 1)));
    }
    let title = format!("{made} containers of {} that wait to be started", runtime.name);
    let mut curve = Table::new("many", &title, "each create, and each delete, against how many there are");
    curve.add("create", creates);
    curve.add("delete", deletes);
    let mut table = Table::new("many-figures", &title, "medians, with so many containers there");
    table.add(&runtime.name, figures);
    Ok(vec![Outcome::Curve(curve), Outcome::Figures(table)])
}

/// 1, 10, 100, … as far as there are so many.
fn marks(count: usize) -> impl Iterator<Item = usize> {
    std::iter::successors(Some(1), |mark| Some(mark * 10)).take_while(move |mark| *mark <= count)
}

fn grow(lab: &Lab, runtime: &Runtime, bundle: &str, count: usize, made: &mut usize) -> Res<(Vec<f64>, Vec<Figure>)> {
    let mut progress = Progress::new(&format!("many: create {}", runtime.name), count);
    let (mut times, mut figures) = (Vec::with_capacity(count), Vec::new());
    for index in 0..count {
        let id = lab.id(&format!("many{index}"));
        times.push(runtime.must(&["create", "--bundle", bundle, &id])?.ms);
        *made = index + 1;
        progress.step();
        if marks(count).any(|mark| mark == *made) {
            for (verb, args) in [("state", vec!["state", &id]), ("list", vec!["list"])] {
                let asked = (0..ASKED).map(|_| Ok(runtime.must(&args)?.ms)).collect::<Res<Vec<f64>>>()?;
                figures.push(Figure::new(format!("{verb} with {made}"), "ms", median(&asked)));
            }
        }
        if os::interrupted() {
            break;
        }
    }
    Ok((times, figures))
}

/// The last first; the times in the order of how many there were.
fn shrink(lab: &Lab, runtime: &Runtime, made: usize) -> Res<Vec<f64>> {
    let mut progress = Progress::new(&format!("many: delete {}", runtime.name), made);
    let mut times = Vec::with_capacity(made);
    for index in (0..made).rev() {
        let id = lab.id(&format!("many{index}"));
        times.push(runtime.must(&["delete", "--force", &id])?.ms);
        // Its process is this program's child now.
        while matches!(os::wait4(-1, libc::WNOHANG), Ok(Some(_))) {}
        progress.step();
    }
    times.reverse();
    Ok(times)
}
