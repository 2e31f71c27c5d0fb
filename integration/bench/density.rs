//! Memory shared between containers of one image (PolyPod's Table 1): ten of them with one root filesystem, and ten
//! with a copy each.

use crate::common::Bundle;
use crate::lab::Lab;
use crate::memory::kilobytes;
use crate::options::Options;
use crate::progress::Progress;
use crate::result::{Figure, Outcome, Table};
use crate::tool::runtime::Runtime;
use crate::tool::{Res, os, process};

const CONTAINERS: usize = 10;

/// Sums of resident, proportional and private memory over the containers' processes.
pub fn density(lab: &Lab, _options: &Options) -> Res<Vec<Outcome>> {
    let note = "sums over ten live containers (smaps_rollup); one image: all on one root filesystem; copies: one each";
    let mut table = Table::new("density", "memory of ten containers of one image", note);
    let mut progress = Progress::new("density", lab.runtimes.len() * 2);
    let shared = vec![lab.bundle("one", &["/bin/sleep", "1000000"])?];
    let copies = (0..CONTAINERS)
        .map(|index| lab.bundle(&format!("copy{index}"), &["/bin/sleep", "1000000"]))
        .collect::<Res<Vec<_>>>()?;
    for runtime in &lab.runtimes {
        let mut figures = Vec::new();
        for (what, bundles) in [("one image", &shared), ("copies", &copies)] {
            figures.extend(measure(lab, runtime, what, bundles)?);
            progress.step();
        }
        table.add(&runtime.name, figures);
    }
    Ok(vec![Outcome::Figures(table)])
}

fn measure(lab: &Lab, runtime: &Runtime, what: &str, bundles: &[Bundle]) -> Res<Vec<Figure>> {
    let mut alive = Vec::new();
    let outcome = live(lab, runtime, bundles, &mut alive).and_then(|()| sums(what, &alive));
    for (index, pid) in alive.iter().enumerate() {
        os::kill(*pid, libc::SIGKILL)?;
        process::wait(*pid)?;
        runtime.force_delete(&lab.id(&format!("dense{index}")))?;
    }
    outcome
}

fn live(lab: &Lab, runtime: &Runtime, bundles: &[Bundle], alive: &mut Vec<i32>) -> Res<()> {
    for (index, bundle) in bundles.iter().cycle().take(CONTAINERS).enumerate() {
        let id = lab.id(&format!("dense{index}"));
        alive.push(runtime.create(&bundle.dir, &id)?);
        runtime.must(&["start", &id])?;
    }
    Ok(())
}

fn sums(what: &str, alive: &[i32]) -> Res<Vec<Figure>> {
    let mut totals = [0.0; 3];
    for pid in alive {
        settled(*pid)?;
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        let private = kilobytes(&text, "Private_Clean:") + kilobytes(&text, "Private_Dirty:");
        let each = [kilobytes(&text, "Rss:"), kilobytes(&text, "Pss:"), private];
        totals.iter_mut().zip(each).for_each(|(total, value)| *total += value);
    }
    let names = ["resident", "proportional", "private"];
    Ok(names.iter().zip(totals).map(|(name, sum)| Figure::new(format!("{what}: {name}"), "kB", sum)).collect())
}

/// Waits until the program has replaced the runtime and sleeps: both are seen in /proc.
fn settled(pid: i32) -> Res<()> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while std::time::Instant::now() < end {
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        if name.trim() == "sleep" && stat.contains(") S ") {
            return Ok(());
        }
        std::thread::yield_now();
    }
    Err(format!("the container's process {pid} does not come to rest").into())
}
