//! One trial: a container brought to where the verb begins, the verb with one fault in it, and the questions after it.

use crate::bench::{Bench, Scene, patience};
use crate::errnos;
use crate::options::Mode;
use crate::questions::{Finding, finding};
use crate::sites::Point;
use crate::tool::Res;
use crate::tool::os::Reaped;
use crate::tool::trace::{Injection, Observer, Site};
use crate::verbs::{self, Verb};

/// What is done where.
#[derive(Clone, Debug)]
pub struct Fault {
    point: Point,
    injection: Injection,
}

impl Fault {
    /// All faults of a mode at one site.
    pub fn all(point: &Point, mode: Mode) -> Vec<Self> {
        let fault = |injection| Self { point: point.clone(), injection };
        match mode {
            Mode::Kill => vec![fault(Injection::Kill)],
            Mode::Fail => errnos::plausible(&point.call()).iter().map(|errno| fault(Injection::Fail(*errno))).collect(),
        }
    }

    /// For grouping.
    pub fn short(&self) -> String {
        let name = self.point.call();
        match self.injection {
            Injection::Fail(errno) => format!("{name} fails {}", errnos::name(errno)),
            _ => format!("killed at {name}"),
        }
    }

    /// For finding it again.
    pub fn long(&self) -> String {
        format!("process {} call {}", self.point.process, self.point.ordinal)
    }
}

/// What a trial found.
pub struct TrialResult {
    pub succeeded: bool,
    pub left: bool,
    /// What a command that failed said.
    pub said: String,
    pub findings: Vec<Finding>,
}

/// Waits for the site and does it there.
struct Saboteur<'a> {
    fault: &'a Fault,
    done: bool,
}

impl Observer for Saboteur<'_> {
    fn entry(&mut self, site: &Site) -> Injection {
        let Point { process, nth, nr, .. } = &self.fault.point;
        if self.done || site.process != *process || site.nr != *nr || site.nth != *nth {
            return Injection::Go;
        }
        self.done = true;
        self.fault.injection
    }
}

/// A bench and a fault.
pub struct Trial<'a> {
    pub bench: &'a Bench<'a>,
    pub fault: &'a Fault,
}

impl Trial<'_> {
    /// `None`: the site was not reached in three attempts (timing chose another path).
    pub fn run(&self) -> Res<Option<TrialResult>> {
        let bench = self.bench;
        for _ in 0..3 {
            let id = bench.next_id();
            let before = bench.scene()?;
            bench.verb.prepare(bench.runtime, &bench.bundle, &id)?;
            let mut saboteur = Saboteur { fault: self.fault, done: false };
            let main = bench.traced(&id, &mut saboteur)?;
            let result = if saboteur.done { Some(self.judge(&id, &before, main)?) } else { None };
            bench.clear(&id)?;
            remove(&verbs::pid_file(bench.place, &id))?;
            remove(&verbs::results(bench.place)?)?;
            for path in bench.scene()?.files.difference(&before.files) {
                remove(path)?;
            }
            if result.is_some() {
                return Ok(result);
            }
        }
        Ok(None)
    }

    fn judge(&self, id: &str, before: &Scene, main: Option<Reaped>) -> Res<TrialResult> {
        let mut findings = Vec::new();
        let Some(main) = main else {
            findings.push(finding("hangs", format!("not over after {:?}", patience())));
            return Ok(TrialResult { succeeded: false, left: true, said: String::new(), findings });
        };
        let (succeeded, verb) = (main.status == 0, self.bench.verb);
        let said = if succeeded { String::new() } else { self.bench.stderr()? };
        if !succeeded && self.fault.injection != Injection::Kill && !self.fault.point.startup {
            findings.extend(bad_error(main, &said));
            if verb.makes() {
                findings.extend(self.bench.stayed(before, "leaves behind when it fails")?);
                let pid_file = verbs::pid_file(self.bench.place, id);
                findings.extend(pid_file.exists().then(|| finding("leaves its pid file when it fails", String::new())));
            }
        }
        findings.extend(self.half_results()?);
        let aftermath = self.bench.aftermath(id, before)?;
        let status = aftermath.status;
        if verb.spares() && status != "running" {
            findings.push(finding("the container did not survive", format!("status {status}")));
        }
        // Frozen by a command that then failed, it would stay so.
        let thawed = matches!(verb, Verb::Pause | Verb::Kill | Verb::Delete | Verb::DeleteForce);
        if thawed && !succeeded && self.fault.injection != Injection::Kill && status == "paused" {
            findings.push(finding("left frozen by a command that failed", said.clone()));
        }
        // The container's process may be killed when it is made already, or its wait for `start` may fail when `create`
        // has ended: then it is stopped.
        let point = &self.fault.point;
        let over = self.fault.injection == Injection::Kill || point.last;
        let ended = over && point.process != "0" && status == "stopped";
        if verb == Verb::Create && succeeded && status != "created" && !ended {
            findings.push(finding("create succeeded, state differs", format!("status {status}")));
        }
        findings.extend(aftermath.findings);
        Ok(TrialResult { succeeded, left: aftermath.left, said, findings })
    }
}

impl Trial<'_> {
    /// A result is whole or not there, and nothing else is where it goes.
    fn half_results(&self) -> Res<Vec<Finding>> {
        let entries = std::fs::read_dir(verbs::results(self.bench.place)?)?;
        let mut findings = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let text = std::fs::read(&path)?;
            let whole = serde_json::from_slice::<serde_json::Value>(&text).is_ok_and(|result| result["version"] == 1);
            if !whole || path.extension().is_none_or(|extension| extension != "json") {
                findings.push(finding("a result that is none", format!("{}: {} bytes", path.display(), text.len())));
            }
        }
        Ok(findings)
    }
}

/// One line that names the operation; hints may follow it.
pub fn bad_error(main: Reaped, text: &str) -> Option<Finding> {
    if libc::WIFSIGNALED(main.status) {
        return Some(finding("crashes", format!("signal {}: {text}", libc::WTERMSIG(main.status))));
    }
    let advice = |line: &&str| line.starts_with("hint:") || line.contains("warning");
    let text: String = text.lines().filter(|line| !advice(line)).collect::<Vec<_>>().join("\n");
    let lines = text.lines().count();
    if lines == 1 && !text.contains("panicked") {
        return None;
    }
    let kind = if lines == 0 { "fails without a word" } else { "error is not one line" };
    Some(finding(kind, format!("exit code {}: {text}", libc::WEXITSTATUS(main.status))))
}

fn remove(path: &std::path::Path) -> Res<()> {
    let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match gone {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
