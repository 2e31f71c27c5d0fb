//! The questions after every disturbance: do `state` and `list` tell the truth, does `delete --force` remove all of it,
//! and can the id be used again?

use crate::bench::{Bench, Scene, patience};
use crate::tool::{Res, process};
use serde_json::Value;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Something that must not be.
#[derive(Clone, Debug)]
pub struct Finding {
    pub kind: &'static str,
    pub detail: String,
}

/// The answers.
pub struct Aftermath {
    pub status: String,
    pub left: bool,
    pub findings: Vec<Finding>,
}

impl Bench<'_> {
    /// All the questions, in order; afterwards a second container with the id may exist.
    pub fn aftermath(&self, id: &str, before: &Scene) -> Res<Aftermath> {
        let (status, mut findings) = self.truth(id)?;
        if self.verb.has_pool() {
            findings.extend(self.pool_is_whole(id)?);
        }
        match self.command(&["delete", "--force", id])? {
            Some((0, _)) => {}
            Some(_) => findings.push(finding("delete --force fails", self.stderr()?)),
            None => findings.push(finding("delete --force hangs", self.whereabouts(before)?)),
        }
        if self.verb.has_pool() && !matches!(self.command(&["pool", "delete", id])?, Some((0, _))) {
            findings.push(finding("pool delete fails", self.stderr()?));
        }
        let stayed = self.stayed(before, "stays after delete --force")?;
        let left = !stayed.is_empty();
        findings.extend(stayed);
        let bundle = self.bundle.dir.to_string_lossy();
        match self.command(&["create", "--bundle", &bundle, id])? {
            Some((0, _)) => {}
            Some(_) => findings.push(finding("second create fails", self.stderr()?)),
            None => findings.push(finding("second create hangs", self.stderr()?)),
        }
        Ok(Aftermath { status, left, findings })
    }

    /// No member is lost: what was disturbed is replaced, what was claimed and never started is taken away.
    fn pool_is_whole(&self, id: &str) -> Res<Vec<Finding>> {
        if !matches!(self.command(&["pool", "fill", id])?, Some((0, _))) {
            return Ok(vec![finding("pool fill fails", self.stderr()?)]);
        }
        let Some((0, text)) = self.command(&["pool", "stats", id])? else {
            return Ok(vec![finding("pool stats fails", self.stderr()?)]);
        };
        let stats: Value = serde_json::from_str(&text)?;
        let whole = stats["waiting"] == 2 && stats["stale"] == 0;
        let after = self.command(&["state", id])?.map(|(_, text)| status_of(&text).0);
        let orphan = after.as_deref() == Some("created");
        let wrong =
            [(!whole, "the pool is not whole", text), (orphan, "a claim that was cut short stays", String::new())];
        Ok(wrong.into_iter().filter(|(is, ..)| *is).map(|(_, kind, detail)| finding(kind, detail)).collect())
    }

    /// Of every process that was not there before: its state, where it waits, who traces it.
    fn whereabouts(&self, before: &Scene) -> Res<String> {
        let mut told = Vec::new();
        for pid in self.scene()?.processes.difference(&before.processes) {
            let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            let wanted = ["State:", "PPid:", "TracerPid:", "SigPnd:", "ShdPnd:"];
            let status: Vec<String> = read("status")
                .lines()
                .filter(|line| wanted.iter().any(|key| line.starts_with(key)))
                .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                .collect();
            told.push(format!("{pid}: {} {} {}", status.join(" "), read("syscall").trim(), read("stack").trim()));
        }
        Ok(told.join("; "))
    }

    /// What the last command said.
    pub fn stderr(&self) -> Res<String> {
        let text = std::fs::read(self.runtime.stderr())?;
        Ok(String::from_utf8_lossy(&text).trim().chars().take(4000).collect())
    }

    /// state and list agree with each other and with /proc.
    fn truth(&self, id: &str) -> Res<(String, Vec<Finding>)> {
        let mut findings = Vec::new();
        let Some((mut code, mut text)) = self.command(&["state", id])? else {
            return Ok((String::new(), vec![finding("state hangs", String::new())]));
        };
        let (mut status, pid) = status_of(&text);
        if code == 0 && lives(&status) && !alive(pid) {
            // It may have ended after `state` looked; not once more.
            (code, text) = self.command(&["state", id])?.unwrap_or((1, String::new()));
            status = status_of(&text).0;
            if code == 0 && lives(&status) {
                findings.push(finding("state says it lives", format!("{status} with pid {pid}, which does not")));
            }
        }
        if code == 0 && status.is_empty() {
            findings.push(finding("state is not JSON", text));
        }
        match self.command(&["list"])? {
            Some((0, list)) if list.contains(id) == (code == 0) => {}
            Some((0, _)) => findings.push(finding("list and state disagree", format!("state: {code} {status}"))),
            _ => findings.push(finding("list fails", self.stderr()?)),
        }
        Ok((status, findings))
    }

    /// What there is now and was not before; processes that are on their way out get half a second.
    pub fn stayed(&self, before: &Scene, kind: &'static str) -> Res<Vec<Finding>> {
        let end = Instant::now() + Duration::from_millis(500);
        loop {
            let now = self.scene()?;
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
        let output = self.place.dir.join("output");
        let file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).open(&output)?;
        let done = process::bounded(self.runtime.command(args).stdout(Stdio::from(file)), patience())?;
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

/// The status and the pid that `state` prints.
fn status_of(text: &str) -> (String, i64) {
    let state: Value = serde_json::from_str(text).unwrap_or_default();
    (state["status"].as_str().unwrap_or("").to_owned(), state["pid"].as_i64().unwrap_or(0))
}

fn lives(status: &str) -> bool {
    matches!(status, "created" | "running" | "paused")
}

fn alive(pid: i64) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// A finding on one line.
pub fn finding(kind: &'static str, detail: String) -> Finding {
    Finding { kind, detail: detail.replace('\n', " ⏎ ").chars().take(400).collect() }
}
