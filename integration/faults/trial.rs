//! One trial: a container brought to where the verb begins, the verb with one fault in it, and the questions after it.

use crate::errnos;
use crate::options::{Mode, Variant};
use crate::sites::Point;
use crate::tool::bundle::Bundle;
use crate::tool::lab::Place;
use crate::tool::os::Reaped;
use crate::tool::runtime::Runtime;
use crate::tool::trace::{self, Observer, Site, Verdict};
use crate::tool::{Res, leftovers, os, process, syscalls};
use crate::verbs::Verb;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// What is done where.
#[derive(Clone, Debug)]
pub struct Fault {
    point: Point,
    verdict: Verdict,
}

impl Fault {
    /// All faults of a mode at one site.
    pub fn all(point: &Point, mode: Mode) -> Vec<Self> {
        let fault = |verdict| Self { point: point.clone(), verdict };
        match mode {
            Mode::Kill => vec![fault(Verdict::Kill)],
            Mode::Fail => {
                errnos::plausible(&syscalls::name(point.nr)).iter().map(|errno| fault(Verdict::Fail(*errno))).collect()
            }
        }
    }

    /// For grouping.
    pub fn short(&self) -> String {
        let name = syscalls::name(self.point.nr);
        match self.verdict {
            Verdict::Fail(errno) => format!("{name} fails {}", errnos::name(errno)),
            _ => format!("killed at {name}"),
        }
    }

    /// For finding it again.
    pub fn long(&self) -> String {
        format!("process {} call {}", self.point.process, self.point.ordinal)
    }
}

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: &'static str,
    pub detail: String,
}

/// What a trial found.
pub struct Verdicts {
    pub succeeded: bool,
    pub left: bool,
    pub findings: Vec<Finding>,
}

/// A verb of a runtime with its bundle; counts the containers made.
pub struct Bench<'a> {
    place: &'a Place,
    runtime: &'a Runtime,
    verb: Verb,
    bundle: Bundle,
    count: Cell<u32>,
}

/// What is there; compared before and after.
#[derive(Debug, PartialEq, Eq)]
struct Scene {
    files: BTreeSet<PathBuf>,
    mounts: BTreeSet<String>,
    cgroups: BTreeSet<PathBuf>,
    processes: BTreeSet<i32>,
}

impl<'a> Bench<'a> {
    pub fn new(place: &'a Place, runtime: &'a Runtime, verb: Verb, variant: Variant) -> Res<Self> {
        let bundle = place.bundle(verb.name(), verb.program())?.with(|config| vary(config, variant))?;
        let bench = Self { place, runtime, verb, bundle, count: Cell::new(0) };
        // What is made once for all containers (a pinned skeleton, a cache) is not a left-over of a trial.
        let id = bench.next_id();
        runtime.create(&bench.bundle.dir, &id)?;
        bench.clear(&id)?;
        Ok(bench)
    }

    fn next_id(&self) -> String {
        self.count.set(self.count.get() + 1);
        self.place.id(&format!("{}{}", self.verb.name(), self.count.get()))
    }

    /// The verb traced, without a fault.
    pub fn undisturbed(&self, observer: &mut dyn Observer) -> Res<()> {
        let id = self.next_id();
        self.verb.prepare(self.runtime, &self.bundle, &id)?;
        let main = self.traced(&id, observer)?;
        self.clear(&id)?;
        match main {
            Some(main) if main.status == 0 => Ok(()),
            other => Err(format!("{} does not work under trace: {other:?}", self.verb.name()).into()),
        }
    }

    fn traced(&self, id: &str, observer: &mut dyn Observer) -> Res<Option<Reaped>> {
        let args = self.verb.arguments(self.place, &self.bundle, id)?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Ok(trace::trace(&mut self.runtime.command(&args), PATIENCE, observer)?.main)
    }

    fn scene(&self) -> Res<Scene> {
        process::reap_all();
        let mut files: BTreeSet<PathBuf> = leftovers::files(&self.runtime.root).into_iter().collect();
        files.extend(leftovers::files(&self.bundle.dir));
        let mounts = leftovers::mounts(" ")?;
        Ok(Scene {
            files,
            // Mount ids change when a mount is made again; what is mounted where does not.
            mounts: mounts.iter().map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" ")).collect(),
            cgroups: leftovers::cgroups(&self.place.mark).into_iter().collect(),
            processes: leftovers::children()?.into_iter().collect(),
        })
    }

    /// Forces the container away by all means; for between trials.
    fn clear(&self, id: &str) -> Res<()> {
        self.runtime.force_delete(id)?;
        for pid in leftovers::children()? {
            if os::kill(pid, libc::SIGKILL).is_ok() {
                process::wait(pid)?;
            }
        }
        process::reap_all();
        leftovers::remove_cgroups(&self.place.mark);
        Ok(())
    }
}

/// The container's configuration in the variants of the matrix.
fn vary(config: &mut Value, variant: Variant) {
    match variant {
        Variant::Plain => {}
        Variant::UserNamespace => {
            if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
                namespaces.push(json!({"type": "user"}));
            }
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }
        Variant::Classic => {
            config["hooks"] = json!({"createContainer": [{"path": "/bin/true"}]});
        }
    }
}

/// Waits for the site and does it there.
struct Saboteur<'a> {
    fault: &'a Fault,
    done: bool,
}

impl Observer for Saboteur<'_> {
    fn entry(&mut self, site: &Site) -> Verdict {
        let Point { process, ordinal, nr, .. } = &self.fault.point;
        if self.done || site.process != *process || site.ordinal != *ordinal || site.nr != *nr {
            return Verdict::Go;
        }
        self.done = true;
        self.fault.verdict
    }
}

/// A bench and a fault.
pub struct Trial<'a> {
    pub bench: &'a Bench<'a>,
    pub fault: &'a Fault,
}

impl Trial<'_> {
    /// `None`: the site was not reached in three attempts (timing chose another path).
    pub fn run(&self) -> Res<Option<Verdicts>> {
        let bench = self.bench;
        for _ in 0..3 {
            let id = bench.next_id();
            let before = bench.scene()?;
            bench.verb.prepare(bench.runtime, &bench.bundle, &id)?;
            let mut saboteur = Saboteur { fault: self.fault, done: false };
            let main = bench.traced(&id, &mut saboteur)?;
            let verdicts = if saboteur.done { Some(self.judge(&id, &before, main)?) } else { None };
            bench.clear(&id)?;
            for path in bench.scene()?.files.difference(&before.files) {
                remove(path)?;
            }
            if verdicts.is_some() {
                return Ok(verdicts);
            }
        }
        Ok(None)
    }

    fn judge(&self, id: &str, before: &Scene, main: Option<Reaped>) -> Res<Verdicts> {
        let mut findings = Vec::new();
        let Some(main) = main else {
            findings.push(finding("hangs", format!("not over after {PATIENCE:?}")));
            return Ok(Verdicts { succeeded: false, left: true, findings });
        };
        let succeeded = main.status == 0;
        if !succeeded && self.fault.verdict != Verdict::Kill {
            findings.extend(self.bad_error(main)?);
            if self.bench.verb.makes() && !self.fault.point.startup {
                findings.extend(self.stayed(before, "leaves behind when it fails")?);
            }
        }
        findings.extend(self.truth(id, main)?);
        let end = self.command(&["delete", "--force", id])?;
        if end.is_none_or(|(code, _)| code != 0) {
            findings.push(finding("delete --force fails", self.stderr()?));
        }
        let stayed = self.stayed(before, "stays after delete --force")?;
        let left = !stayed.is_empty();
        findings.extend(stayed);
        if self
            .command(&["create", "--bundle", &self.bench.bundle.dir.to_string_lossy(), id])?
            .is_none_or(|end| end.0 != 0)
        {
            findings.push(finding("second create fails", self.stderr()?));
        }
        Ok(Verdicts { succeeded, left, findings })
    }

    /// One line that names the operation; hints may follow it.
    fn bad_error(&self, main: Reaped) -> Res<Option<Finding>> {
        if self.fault.point.startup {
            return Ok(None);
        }
        if libc::WIFSIGNALED(main.status) {
            return Ok(Some(finding("crashes", format!("signal {}: {}", libc::WTERMSIG(main.status), self.stderr()?))));
        }
        let text = self.stderr()?;
        let lines = text.lines().filter(|line| !line.starts_with("hint:") && !line.contains("level=warning")).count();
        if lines == 1 && !text.contains("panicked") {
            return Ok(None);
        }
        let kind = if lines == 0 { "fails without a word" } else { "error is not one line" };
        Ok(Some(finding(kind, text)))
    }

    fn stderr(&self) -> Res<String> {
        let text = std::fs::read(self.bench.runtime.stderr())?;
        Ok(String::from_utf8_lossy(&text).trim().chars().take(300).collect())
    }

    /// state and list agree with each other and with /proc.
    fn truth(&self, id: &str, main: Reaped) -> Res<Vec<Finding>> {
        let mut findings = Vec::new();
        let Some((code, text)) = self.command(&["state", id])? else {
            return Ok(vec![finding("state hangs", String::new())]);
        };
        let state: Value = serde_json::from_str(&text).unwrap_or_default();
        let status = state["status"].as_str().unwrap_or("").to_owned();
        let pid = state["pid"].as_i64().unwrap_or(0);
        if code == 0 && status.is_empty() {
            findings.push(finding("state is not JSON", text));
        }
        let lives = matches!(status.as_str(), "created" | "running" | "paused");
        if code == 0 && lives && !alive(pid) {
            findings.push(finding("state says it lives", format!("{status} with pid {pid}, which does not")));
        }
        if self.bench.verb.spares() && !lives {
            findings.push(finding("the container did not survive", format!("state: {code} {status}")));
        }
        if self.bench.verb == Verb::Create && main.status == 0 && status != "created" {
            findings.push(finding("create succeeded, state differs", format!("state: {code} {status}")));
        }
        match self.command(&["list"])? {
            Some((0, list)) if list.contains(id) == (code == 0) => {}
            Some((0, _)) => findings.push(finding("list and state disagree", format!("state: {code} {status}"))),
            _ => findings.push(finding("list fails", self.stderr()?)),
        }
        Ok(findings)
    }

    /// What there is now and was not before; processes that are on their way out get half a second.
    fn stayed(&self, before: &Scene, kind: &'static str) -> Res<Vec<Finding>> {
        let end = Instant::now() + Duration::from_millis(500);
        loop {
            let now = self.bench.scene()?;
            let left = difference(before, &now);
            let settling = now.processes != before.processes && Instant::now() < end;
            if left.is_empty() || !settling {
                let detail = left.join(", ");
                return Ok(if left.is_empty() { Vec::new() } else { vec![finding(kind, detail)] });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// A command of the runtime without fault: exit code and standard output; `None` when it hangs.
    fn command(&self, args: &[&str]) -> Res<Option<(i32, String)>> {
        let output = self.bench.place.dir.join("output");
        let file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).open(&output)?;
        let done = process::bounded(self.bench.runtime.command(args).stdout(Stdio::from(file)), PATIENCE)?;
        let text = String::from_utf8_lossy(&std::fs::read(&output)?).into_owned();
        Ok(done.map(|done| (if done.ok() { 0 } else { 1 }, text)))
    }
}

fn difference(before: &Scene, now: &Scene) -> Vec<String> {
    let mut left = Vec::new();
    left.extend(now.processes.difference(&before.processes).map(|pid| {
        let comm = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        format!("process {} ({pid})", comm.trim())
    }));
    left.extend(now.cgroups.difference(&before.cgroups).map(|path| format!("cgroup {}", path.display())));
    left.extend(now.mounts.difference(&before.mounts).map(|mount| format!("mount {mount}")));
    left.extend(now.files.difference(&before.files).map(|path| format!("file {}", path.display())));
    left
}

fn alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn finding(kind: &'static str, detail: String) -> Finding {
    Finding { kind, detail: detail.replace('\n', " ⏎ ").chars().take(400).collect() }
}

fn remove(path: &std::path::Path) -> Res<()> {
    let gone = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match gone {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
