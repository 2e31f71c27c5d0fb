//! What `memory` sees: the processes of containers, the files that they have mapped, and whose files are the same.
//!
//! Not trusted: what the processes of a container have mapped, and what they are called. Each is looked at in a process of its own,
//! for a limited time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brisk::error::{Context, Result, Stage};
use brisk::plan::reach::Reach;
use brisk::state::{Life, ProcessId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::aside::{Aside, aside};
use super::caches::{Caches, CopySet};
use super::smaps::{self, Mapped, MappedFile};
use crate::containers::{Discovery, Problems};
use crate::figures::{Look, Reading};
use crate::procdir::ProcDir;
use crate::subject::Subject;

/// The version of the format.
const VERSION: u32 = 1;
/// How long one process may keep us, all of a container, and all containers.
const TIME_OF_ONE: Duration = Duration::from_secs(5);
const TIME_OF_CONTAINER: Duration = Duration::from_secs(20);
const TIME_OF_ALL: Duration = Duration::from_secs(60);
/// What is taken of one process.
const MOST: usize = 64 << 20;

/// What was seen of all.
#[derive(Debug, Default)]
pub struct MemoryLook {
    pub at_ns: u64,
    pub containers: Vec<ContainerMemory>,
    pub caches: Caches,
    /// Files that are in memory more than once; `None` where we may not know.
    pub copies: Option<Vec<CopySet>>,
    pub problems: Problems,
}

/// One container.
#[derive(Debug)]
pub struct ContainerMemory {
    pub reading: Reading,
    pub processes: Vec<ProcessMemory>,
    /// By the share in memory, the largest first.
    pub files: Vec<FileMemory>,
    /// Processes that may not be looked at, or that kept us too long.
    pub unread: usize,
}

#[derive(Debug)]
pub struct ProcessMemory {
    pub pid: i32,
    pub name: String,
    pub mapped: Mapped,
}

/// A file or an area of all processes of a container.
#[derive(Clone, Debug, PartialEq)]
pub struct FileMemory {
    pub path: String,
    pub processes: usize,
    pub mapped: Mapped,
    /// Of a file: its position among all.
    pub cache: Option<usize>,
}

/// What a process of ours tells of one of a container.
#[derive(Serialize, Deserialize)]
struct TakenFromProc {
    name: String,
    files: Vec<MappedFile>,
}

impl MemoryLook {
    /// What was found, read.
    pub fn at(found: Discovery) -> Result<MemoryLook> {
        // What the cgroups have is read first: to read files may bring them into memory.
        let first = Look::at(found, None);
        let mut look = MemoryLook { at_ns: first.at_ns, problems: first.problems, ..MemoryLook::default() };
        let end = Instant::now() + TIME_OF_ALL;
        for reading in first.rows {
            let id = reading.subject.id.clone();
            // Of one alone, as when its cgroup is read.
            if let Err(error) = look.take(reading, end) {
                look.problems.add(&id, &error);
            }
        }
        look.settle()?;
        Ok(look)
    }

    /// `end` is that of all.
    fn take(&mut self, reading: Reading, end: Instant) -> Result<()> {
        let user = self.containers.len();
        let end = end.min(Instant::now() + TIME_OF_CONTAINER);
        let before = pids(&reading.subject)?;
        let mut taken = Vec::new();
        // A cgroup names no process of a pid namespace above ours, and one that runs has its first.
        let lives = reading.subject.init.map_or(Ok(Life::Gone), ProcessId::life)? == Life::Alive;
        let mut unread = usize::from(before.is_empty() && (lives || reading.seems_hidden()));
        // What all of them tell, who are the container's.
        let mut room = MOST;
        for pid in before {
            // One that has ended meanwhile has no memory.
            let Ok(process) = ProcessId::of(pid) else { continue };
            let now = Instant::now();
            if now >= end {
                unread += 1;
                continue;
            }
            let work = || from_proc(process).and_then(|taken| serde_json::to_vec(&taken).ok()).unwrap_or_default();
            let done = aside(end.min(now + TIME_OF_ONE), room, work)?;
            let Aside::Done(text) = done else {
                unread += 1;
                continue;
            };
            if !text.is_empty() {
                room -= text.len();
                let told: TakenFromProc = serde_json::from_slice(&text).at(Stage::State, || "take what was read")?;
                taken.push((process, told));
            } else if process.life()? == Life::Alive {
                unread += 1;
            }
        }
        // A number that was free may have become another container's, or the host's, before we looked.
        let still = pids(&reading.subject)?;
        taken.retain(|(process, _)| still.contains(&process.pid));
        let mut container = ContainerMemory { reading, processes: Vec::new(), files: Vec::new(), unread };
        let mut files: BTreeMap<(Option<usize>, String), FileMemory> = BTreeMap::new();
        for (process, told) in taken {
            let mut sum = Mapped::default();
            for file in told.files {
                sum += file.mapped;
                let cache = self.caches.note(&file, user, process);
                // A file is one, by whatever name.
                let key = (cache, if cache.is_some() { String::new() } else { file.path.clone() });
                let new = || FileMemory { path: file.path.clone(), processes: 0, mapped: Mapped::default(), cache };
                let entry = files.entry(key).or_insert_with(new);
                entry.processes += 1;
                entry.mapped += file.mapped;
            }
            container.processes.push(ProcessMemory { pid: process.pid, name: told.name, mapped: sum });
        }
        if unread > 0 {
            let id = &container.reading.subject.id;
            self.problems.told.push(format!("{id}: the memory of {unread} processes cannot be read"));
        }
        container.files = files.into_values().collect();
        self.containers.push(container);
        Ok(())
    }

    /// When all were taken.
    fn settle(&mut self) -> Result<()> {
        let finals = self.caches.settle();
        for container in &mut self.containers {
            container.files.iter_mut().for_each(|file| file.cache = file.cache.map(|at| finals[at]));
            container.sort();
        }
        let (copies, unseen) = self.caches.copies()?;
        if unseen > 0 {
            self.problems.told.push(format!("files of one size that were not compared: {unseen}"));
        }
        self.copies = copies;
        Ok(())
    }

    /// The files that more than one of the containers has mapped, those with most memory first.
    pub fn shared(&self) -> Vec<usize> {
        let mut shared: Vec<usize> =
            (0..self.caches.all.len()).filter(|at| self.caches.all[*at].users.len() > 1).collect();
        shared.sort_by_key(|at| std::cmp::Reverse(self.caches.all[*at].pss));
        shared
    }

    fn ids(&self, users: &[usize]) -> Vec<&str> {
        users.iter().map(|user| self.containers[*user].reading.subject.id.as_str()).collect()
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let shared: Vec<Value> = self.shared().into_iter().map(|at| self.cache(at)).collect();
        let set = |set: &CopySet| {
            let files: Vec<Value> = set.caches.iter().map(|at| self.cache(*at)).collect();
            json!({ "bytes": set.bytes, "sha256": set.sha256, "wouldSaveBytes": set.saves, "files": files })
        };
        json!({
            "version": VERSION,
            "monotonicNs": self.at_ns,
            "containers": self.containers.iter().map(|container| container.json(&self.caches)).collect::<Vec<_>>(),
            "shared": shared,
            "copies": self.copies.as_ref().map(|sets| sets.iter().map(set).collect::<Vec<_>>()),
            "problems": self.problems.told,
        })
    }

    fn cache(&self, at: usize) -> Value {
        let cache = &self.caches.all[at];
        json!({
            "path": cache.path,
            "inodes": inodes(&cache.inodes),
            "bytes": cache.bytes,
            "containers": self.ids(&cache.users),
            "pssBytes": cache.pss,
        })
    }
}

fn inodes(inodes: &[(u64, u64)]) -> Vec<Value> {
    let one = |(device, inode): &(u64, u64)| json!({ "device": format!("{}:{}", device >> 32, device & 0xffff_ffff), "inode": inode });
    inodes.iter().map(one).collect()
}

impl ContainerMemory {
    /// What has most comes first.
    pub fn sort(&mut self) {
        self.files.sort_by(|one, other| {
            (other.mapped.pss, other.mapped.swap, &one.path).cmp(&(one.mapped.pss, one.mapped.swap, &other.path))
        });
        self.processes.sort_by_key(|process| (std::cmp::Reverse(process.mapped.pss), process.pid));
    }

    /// All of its processes; `None` where none of those that are there may be looked at.
    pub fn mapped(&self) -> Option<Mapped> {
        let mut sum = Mapped::default();
        self.processes.iter().for_each(|process| sum += process.mapped);
        (self.unread == 0 || !self.processes.is_empty()).then_some(sum)
    }

    fn json(&self, caches: &Caches) -> Value {
        let subject = &self.reading.subject;
        let process = |process: &ProcessMemory| {
            let mut value = mapped(process.mapped);
            value["pid"] = json!(process.pid);
            value["name"] = json!(process.name);
            value
        };
        let file = |file: &FileMemory| {
            let mut value = mapped(file.mapped);
            value["path"] = json!(file.path);
            value["processes"] = json!(file.processes);
            let cache = file.cache.map(|at| &caches.all[at]);
            value["inodes"] = json!(cache.map(|cache| inodes(&cache.inodes)));
            value["bytes"] = json!(cache.and_then(|cache| cache.bytes));
            value["inContainers"] = json!(cache.map(|cache| cache.users.len()));
            value
        };
        json!({
            "id": subject.id,
            "runtime": subject.maker.name(),
            "root": subject.root.to_string_lossy(),
            "status": subject.status.name(),
            "pid": subject.init.map(|init| init.pid),
            "memory": crate::json::memory(&self.reading),
            "mapped": self.mapped().map(mapped),
            "unreadProcesses": self.unread,
            "processes": self.processes.iter().map(process).collect::<Vec<_>>(),
            "files": self.files.iter().map(file).collect::<Vec<_>>(),
        })
    }
}

fn mapped(mapped: Mapped) -> Value {
    let Mapped { rss, pss, shared, private, anonymous, swap, hugetlb } = mapped;
    json!({
        "rssBytes": rss,
        "sharedBytes": shared,
        "privateBytes": private,
        "pssBytes": pss,
        "anonymousBytes": anonymous,
        "swapBytes": swap,
        "hugetlbBytes": hugetlb,
    })
}

fn from_proc(process: ProcessId) -> Option<TakenFromProc> {
    let proc = ProcDir::open(process).ok()??;
    let files = smaps::read(&proc)?;
    let name = proc.text("comm").ok().flatten().unwrap_or_default();
    Some(TakenFromProc { name: name.strip_suffix('\n').unwrap_or(&name).to_owned(), files })
}

/// Its processes: those of its cgroup, and of one without those in its pid namespace.
fn pids(subject: &Subject) -> Result<Vec<i32>> {
    let Some(init) = subject.init else { return Ok(Vec::new()) };
    if let Some(cgroup) = subject.open_cgroup()? {
        let mut pids = cgroup.pids(Reach::Tree)?;
        pids.sort_unstable();
        pids.dedup();
        return Ok(pids);
    }
    let namespace = |process: ProcessId| -> Result<Option<String>> {
        ProcDir::open(process)?.map(|proc| proc.link("ns/pid")).transpose().map(Option::flatten)
    };
    let its = namespace(init)?;
    if its.is_none() || its == namespace(ProcessId::of(brisk::sys::process::getpid())?)? {
        return Ok(vec![init.pid]);
    }
    let entries = std::fs::read_dir("/proc").at(Stage::State, || "list /proc")?.flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_its = |pid: &i32| ProcessId::of(*pid).and_then(namespace).is_ok_and(|found| found == its);
    let mut pids: Vec<i32> = numbers.filter(is_its).collect();
    pids.sort_unstable();
    Ok(pids)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use brisk::cgroup::{Levels, Totals};
    use brisk::spec::status::Status;

    use super::*;
    use crate::figures::Rates;
    use crate::subject::RuntimeKind;

    /// A container of this process.
    fn reading() -> Reading {
        let subject = Subject {
            id: "own".to_owned(),
            maker: RuntimeKind::Brisk,
            root: "/".into(),
            status: Status::Running,
            init: Some(ProcessId::of(brisk::sys::process::getpid()).unwrap()),
            created: String::new(),
            bundle: String::new(),
            rootfs: "/".into(),
            owner: String::new(),
            annotations: BTreeMap::new(),
            cgroup: None,
        };
        Reading { subject, totals: Totals::default(), levels: Levels::default(), rates: Rates::default() }
    }

    /// However many containers there are whose processes do not answer: the whole has an end.
    #[test]
    fn nobody_is_waited_for_when_the_time_of_all_is_over() {
        let mut look = MemoryLook::default();
        look.take(reading(), Instant::now() + Duration::from_secs(60)).unwrap();
        look.take(reading(), Instant::now()).unwrap();
        let read: Vec<(usize, usize)> =
            look.containers.iter().map(|container| (container.processes.len(), container.unread)).collect();
        assert_eq!(read, [(1, 0), (0, 1)]);
        assert_eq!(look.problems.told, ["own: the memory of 1 processes cannot be read"]);
    }
}
