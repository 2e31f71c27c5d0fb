//! The three reports: text for people at a terminal, JSON for programs, one HTML file with plots for everybody else.

mod chart;
mod html;
mod summary;
mod svg;
mod text;

use crate::options::Options;
use crate::result::{Outcome, Run};
use crate::tool::Res;
use serde::Serialize;

/// What the figures were taken on; figures of different machines must not be compared.
#[derive(Serialize)]
pub struct Machine {
    kernel: String,
    processors: usize,
    model: String,
    load: String,
    date: String,
}

impl Machine {
    /// Before anything is measured: the bench itself is a load.
    pub fn read() -> Res<Self> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let date = std::process::Command::new("date").arg("-u").arg("+%F %R UTC").output()?;
        Ok(Self {
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            model: model.trim_start_matches([' ', '\t', ':']).to_owned(),
            load: std::fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned(),
            date: String::from_utf8(date.stdout)?.trim().to_owned(),
        })
    }

    fn line(&self) -> String {
        let Self { kernel, processors, model, load, date } = self;
        format!("{date}, kernel {kernel}, {processors} × {model}, load before {load}")
    }

    /// Where others use the processors, too.
    pub fn warning(&self) -> Option<String> {
        let load: f64 = self.load.parse().unwrap_or(f64::NAN);
        let busy = load.is_nan() || load > 0.3 * self.processors as f64;
        busy.then(|| {
            format!("WARNING: a load of {} before it began: times are too long and tails mean nothing", self.load)
        })
    }
}

#[derive(Serialize)]
struct Report<'a> {
    summary: Option<String>,
    machine: &'a Machine,
    runtimes: Vec<(&'a str, String)>,
    rounds: usize,
    run: &'a Run,
}

/// What a report begins with: what was found, on what, and what is wrong with it.
pub struct Head<'a> {
    pub summary: Option<String>,
    pub machine: &'a Machine,
    pub runtimes: &'a [(&'a str, String)],
}

/// Writes report.txt, report.json and report.html.
pub fn write(options: &Options, machine: &Machine, run: &Run) -> Res<()> {
    let runtimes: Vec<_> = options.runtimes.iter().map(|(name, path)| (name.as_str(), version(path))).collect();
    let head = Head { summary: summary::of(run), machine, runtimes: &runtimes };
    std::fs::write(options.out.join("report.txt"), text::render(&head, run))?;
    std::fs::write(options.out.join("report.html"), html::render(&head, run))?;
    let summary = head.summary;
    let report = Report { summary, machine, runtimes, rounds: options.rounds, run };
    std::fs::write(options.out.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
    Ok(())
}

/// Prints the text of the report that was written last.
pub fn print(options: &Options, machine: &Machine, run: &Run) -> Res<()> {
    write(options, machine, run)?;
    println!("{}", std::fs::read_to_string(options.out.join("report.txt"))?);
    eprintln!("written: {}", options.out.join("report.{txt,json,html}").display());
    match (&run.cut, run.failures.len()) {
        (Some(cut), _) => Err(cut.clone().into()),
        (None, 0) => Ok(()),
        (None, failures) => Err(format!("{failures} experiments failed").into()),
    }
}

/// The phases first: where the time goes is what people look for.
fn in_order(run: &Run) -> Vec<&Outcome> {
    let (phases, others): (Vec<_>, Vec<_>) =
        run.outcomes.iter().partition(|outcome| matches!(outcome, Outcome::Phases(_)));
    phases.into_iter().chain(others).collect()
}

fn version(path: &std::path::Path) -> String {
    let output = std::process::Command::new(path).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
