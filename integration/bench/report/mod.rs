//! The three reports: text for people at a terminal, JSON for programs, one HTML file with plots for everybody else.

mod chart;
mod html;
mod svg;
mod text;

use crate::options::Options;
use crate::result::Outcome;
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
    fn read() -> Res<Self> {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
        let date = std::process::Command::new("date").arg("-u").arg("+%F %R UTC").output()?;
        Ok(Self {
            kernel: std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            processors: std::thread::available_parallelism()?.get(),
            model: model.trim_start_matches([' ', '\t', ':']).to_owned(),
            load: std::fs::read_to_string("/proc/loadavg")?.trim().to_owned(),
            date: String::from_utf8(date.stdout)?.trim().to_owned(),
        })
    }

    fn line(&self) -> String {
        let Self { kernel, processors, model, load, date } = self;
        format!("{date}, kernel {kernel}, {processors} × {model}, load at the end {load}")
    }
}

#[derive(Serialize)]
struct Report<'a> {
    machine: &'a Machine,
    runtimes: Vec<(&'a str, String)>,
    rounds: usize,
    results: &'a [Outcome],
    failures: &'a [String],
}

/// Writes report.txt, report.json and report.html, and prints the text.
pub fn write_all(options: &Options, results: &[Outcome], failures: &[String]) -> Res<()> {
    let machine = Machine::read()?;
    let mut page = text::render(&machine, results);
    for failure in failures {
        page.push_str(&format!("\nFAILED {failure}\n"));
    }
    println!("{page}");
    let runtimes = options.runtimes.iter().map(|(name, path)| (name.as_str(), version(path))).collect();
    let report = Report { machine: &machine, runtimes, rounds: options.rounds, results, failures };
    std::fs::write(options.out.join("report.txt"), &page)?;
    std::fs::write(options.out.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
    std::fs::write(options.out.join("report.html"), html::render(&machine, &report.runtimes, results, failures))?;
    eprintln!("written: {}", options.out.join("report.{txt,json,html}").display());
    if failures.is_empty() { Ok(()) } else { Err(format!("{} experiments failed", failures.len()).into()) }
}

fn version(path: &std::path::Path) -> String {
    let output = std::process::Command::new(path).arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
