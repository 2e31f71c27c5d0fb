//! Resource control groups (resctrl): made, joined, read and removed. Touches the resctrl file system only, at
//! the mount point it is given; runs in the parent.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::rdt::{Presence, RdtPlan, has_all};
use crate::proc::mountinfo;

/// A container's place in resctrl, as it is kept in state.json.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Rdt {
    root: PathBuf,
    group: String,
    maker: Maker,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    monitoring: Option<String>,
}

/// Who made the control group; one that was there stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Maker {
    Us,
    Others,
}

/// Where resctrl is mounted.
pub fn mount_point() -> Result<PathBuf> {
    let table = mountinfo::read("self").at(Stage::Cgroup, || "read /proc/self/mountinfo")?;
    let found = mountinfo::parse(&table).find(|mount| mount.fs_type == b"resctrl");
    match found {
        Some(mount) => Ok(PathBuf::from(OsString::from_vec(mountinfo::unescape(mount.point).into_owned()))),
        None => Err(Error::new(Stage::Cgroup, "linux.intelRdt: the resctrl file system is not mounted")
            .with_hint("mount -t resctrl resctrl /sys/fs/resctrl (needs a CPU with RDT and CONFIG_X86_CPU_RESCTRL)")),
    }
}

impl Rdt {
    /// What [`Rdt::create`] is about to make, to be remembered before it is made.
    pub fn planned(root: &Path, plan: &RdtPlan) -> Rdt {
        let there = plan.presence == Presence::Existing || root.join(&plan.group).exists();
        Rdt {
            root: root.to_owned(),
            group: plan.group.clone(),
            maker: if there { Maker::Others } else { Maker::Us },
            monitoring: plan.monitoring.clone(),
        }
    }

    /// Makes the groups and writes the schemata; on failure nothing of it is left.
    pub fn create(root: &Path, plan: &RdtPlan) -> Result<Rdt> {
        let mut rdt = Rdt::planned(root, plan);
        match rdt.maker {
            Maker::Us => match std::fs::create_dir(rdt.control()) {
                // Made by another container of the same closID between the look and this.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => rdt.maker = Maker::Others,
                result => result.at(Stage::Cgroup, || format!("make the resctrl group {}", rdt.control().display()))?,
            },
            Maker::Others if rdt.control().is_dir() => {}
            Maker::Others => {
                let what = format!("linux.intelRdt.closID: there is no resctrl group {}", rdt.control().display());
                return Err(Error::new(Stage::Cgroup, what));
            }
        }
        match rdt.fill(plan) {
            Ok(()) => Ok(rdt),
            Err(error) => {
                // The first error is the one to tell; what stays is found by `delete`, which says why.
                let _ = rdt.remove();
                Err(error)
            }
        }
    }

    fn fill(&mut self, plan: &RdtPlan) -> Result<()> {
        let mut lines = plan.schemata.clone();
        if self.maker == Maker::Us {
            lines = [plan.schemas.clone(), lines].concat();
        } else if !plan.schemas.is_empty() && !has_all(&self.schemata()?, &plan.schemas) {
            let what = format!("resctrl group {} is there with other schemata than {:?}", self.group, plan.schemas);
            return Err(Error::new(Stage::Cgroup, what));
        }
        self.write_schemata(&lines)?;
        let Some(monitoring) = self.monitoring_dir() else { return Ok(()) };
        let made = std::fs::create_dir(&monitoring);
        if made.is_err() {
            // A monitoring group that we have not made is not ours to remove.
            self.monitoring = None;
        }
        made.at(Stage::Cgroup, || format!("make the resctrl group {}", monitoring.display()))
    }

    fn control(&self) -> PathBuf {
        self.root.join(&self.group)
    }

    fn monitoring_dir(&self) -> Option<PathBuf> {
        self.monitoring.as_ref().map(|name| self.control().join("mon_groups").join(name))
    }

    /// The files a process id is written to: a task joins the control group first, for joining one takes it out
    /// of the monitoring groups of another.
    pub fn task_files(&self) -> Vec<PathBuf> {
        let dirs = [Some(self.control()), self.monitoring_dir()];
        dirs.into_iter().flatten().map(|dir| dir.join("tasks")).collect()
    }

    /// Moves every thread of these processes into the groups; those that end meanwhile need not be moved.
    pub fn take_in(&self, pids: &[i32]) -> Result<()> {
        let files = self.task_files();
        for pid in pids {
            let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            let ids = threads.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
            for id in ids {
                match join(&files, id) {
                    Err(error) if error.root_errno() == Some(Errno::ESRCH) => {}
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// What the control group's schemata are now.
    pub fn schemata(&self) -> Result<String> {
        read(&self.control().join("schemata"))
    }

    /// Writes lines to the control group's schemata, in one write.
    pub fn write_schemata(&self, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let path = self.control().join("schemata");
        std::fs::write(&path, lines.join("\n") + "\n").at(Stage::Cgroup, || {
            // The kernel tells the reason there and not by errno.
            let status = std::fs::read_to_string(self.root.join("info/last_cmd_status")).unwrap_or_default();
            format!("write {lines:?} to {}: {}", path.display(), status.trim())
        })
    }

    /// Removes what was made for the container; its tasks, if any are left, go to the root group.
    pub fn remove(&self) -> Result<()> {
        if let Some(dir) = self.monitoring_dir() {
            rmdir(&dir)?;
        }
        match self.maker {
            Maker::Us => rmdir(&self.control()),
            Maker::Others => Ok(()),
        }
    }

    /// The `intel_rdt` of `events`, as runc writes it.
    pub fn stats(&self) -> Result<Map<String, Value>> {
        let mut stats = Map::new();
        self.resource("L3", ["l3_cache_info", "l3_cache_schema_root", "l3_cache_schema"], &mut stats)?;
        self.resource("MB", ["mem_bw_info", "mem_bw_schema_root", "mem_bw_schema"], &mut stats)?;
        let data = self.monitoring_dir().unwrap_or_else(|| self.control()).join("mon_data");
        let mut domains: Vec<PathBuf> = match std::fs::read_dir(&data) {
            Ok(entries) => entries.flatten().map(|entry| entry.path()).collect(),
            // A CPU without monitoring.
            Err(_) => Vec::new(),
        };
        domains.retain(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"mon_L3_")));
        domains.sort_unstable();
        let (mut bandwidth, mut occupancy) = (Vec::new(), Vec::new());
        for domain in &domains {
            let counter = |name| number(&domain.join(name));
            if let (Some(total), local) = (counter("mbm_total_bytes"), counter("mbm_local_bytes")) {
                bandwidth.push(json!({ "mbm_total_bytes": total, "mbm_local_bytes": local.unwrap_or(0) }));
            }
            if let Some(bytes) = counter("llc_occupancy") {
                occupancy.push(json!({ "llc_occupancy": bytes }));
            }
        }
        for (name, list) in [("mbm_stats", bandwidth), ("cmt_stats", occupancy)] {
            if !list.is_empty() {
                stats.insert(name.into(), list.into());
            }
        }
        Ok(stats)
    }

    /// What the CPU offers of a resource, and what the root group and this one have of it.
    fn resource(&self, resource: &str, names: [&str; 3], stats: &mut Map<String, Value>) -> Result<()> {
        let Ok(files) = std::fs::read_dir(self.root.join("info").join(resource)) else { return Ok(()) };
        let wanted = ["cbm_mask", "min_cbm_bits", "num_closids", "bandwidth_gran", "delay_linear", "min_bandwidth"];
        let mut info = Map::new();
        for path in files.flatten().map(|file| file.path()) {
            let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| wanted.contains(name))
            else {
                continue;
            };
            let value = match name {
                "cbm_mask" => Value::from(read(&path)?.trim()),
                _ => Value::from(number(&path)),
            };
            info.insert(name.into(), value);
        }
        stats.insert(names[0].into(), info.into());
        let root = read(&self.root.join("schemata"))?;
        for (name, schemata) in [(names[1], root), (names[2], self.schemata()?)] {
            let prefix = format!("{resource}:");
            if let Some(line) = schemata.lines().map(str::trim).find(|line| line.starts_with(&prefix)) {
                stats.insert(name.into(), line.into());
            }
        }
        Ok(())
    }
}

/// Moves a process into a group.
pub fn join(task_files: &[PathBuf], pid: i32) -> Result<()> {
    task_files.iter().try_for_each(|file| {
        std::fs::write(file, pid.to_string()).at(Stage::Cgroup, || format!("write {pid} to {}", file.display()))
    })
}

fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).at(Stage::Cgroup, || format!("read {}", path.display()))
}

/// `Unavailable` and `Error` stand where a counter cannot be read.
fn number(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn rmdir(path: &Path) -> Result<()> {
    match std::fs::remove_dir(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        result => result.at(Stage::Cgroup, || format!("remove the resctrl group {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that looks like resctrl. It lacks what kernfs does: files in new groups appear when written.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str) -> Fake {
            let root = std::env::temp_dir().join(format!("brisk-rdt-{name}-{}", std::process::id()));
            for dir in ["info/L3", "info/MB", "mon_groups", "gold/mon_groups"] {
                make(&root, dir);
            }
            let fake = Fake(root);
            fake.put("schemata", "    L3:0=fffff\n    MB:0=100\n");
            fake.put("gold/schemata", "    L3:0=000ff\n    MB:0=100\n");
            fake.put("info/L3/cbm_mask", "fffff\n");
            fake.put("info/L3/min_cbm_bits", "1\n");
            fake.put("info/L3/num_closids", "16\n");
            fake.put("info/MB/bandwidth_gran", "10\n");
            fake
        }

        fn put(&self, path: &str, text: &str) {
            std::fs::write(self.0.join(path), text).unwrap();
        }

        fn get(&self, path: &str) -> String {
            std::fs::read_to_string(self.0.join(path)).unwrap()
        }

        fn has(&self, path: &str) -> bool {
            self.0.join(path).exists()
        }

        /// The kernel removes a group with its files.
        fn empty(&self, group: &str) {
            let group = self.0.join(group);
            for file in std::fs::read_dir(&group).unwrap().map(|entry| entry.unwrap().path()) {
                let is_dir = file.is_dir();
                if is_dir { std::fs::remove_dir(file) } else { std::fs::remove_file(file) }.unwrap();
            }
        }
    }

    fn make(root: &Path, dir: &str) {
        std::fs::DirBuilder::new().recursive(true).create(root.join(dir)).unwrap();
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let removed = std::fs::remove_dir_all(&self.0);
            assert!(removed.is_ok() || std::thread::panicking(), "{removed:?}");
        }
    }

    fn plan(group: &str, schemas: &[&str]) -> RdtPlan {
        let schemas = schemas.iter().map(|line| (*line).to_owned()).collect();
        RdtPlan { group: group.into(), schemas, ..RdtPlan::default() }
    }

    #[test]
    fn a_group_of_its_own_is_made_joined_and_removed() {
        let fake = Fake::new("own");
        let rdt = Rdt::create(&fake.0, &plan("web1", &["L3:0=f", "MB:0=50"])).unwrap();
        assert_eq!(fake.get("web1/schemata"), "L3:0=f\nMB:0=50\n");
        join(&rdt.task_files(), 42).unwrap();
        assert_eq!(fake.get("web1/tasks"), "42");
        let text = serde_json::to_string(&rdt).unwrap();
        let again: Rdt = serde_json::from_str(&text).unwrap();
        fake.empty("web1");
        again.remove().unwrap();
        assert!(!fake.has("web1"));
        again.remove().unwrap();
    }

    #[test]
    fn a_container_without_a_group_gets_into_one() {
        let fake = Fake::new("late");
        let rdt = Rdt::create(&fake.0, &plan("web1", &["L3:0=f"])).unwrap();
        // A process of one thread that lives until its input ends. The other one is gone.
        let mut process = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let id = process.id();
        rdt.take_in(&[id as i32, i32::MAX]).unwrap();
        drop(process.stdin.take());
        process.wait().unwrap();
        assert_eq!(fake.get("web1/tasks"), id.to_string());
        fake.empty("web1");
    }

    #[test]
    fn a_group_that_is_there_must_agree_and_stays() {
        let fake = Fake::new("gold");
        let rdt = Rdt::create(&fake.0, &plan("gold", &["L3:0=ff"])).unwrap();
        rdt.remove().unwrap();
        assert!(fake.has("gold"));
        let error = Rdt::create(&fake.0, &plan("gold", &["L3:0=f"])).unwrap_err().to_string();
        assert!(error.contains("other schemata"), "{error}");
        assert!(fake.has("gold"));
        assert_eq!(fake.get("gold/schemata"), "    L3:0=000ff\n    MB:0=100\n");
        let missing = RdtPlan { presence: Presence::Existing, ..plan("silver", &[]) };
        assert!(Rdt::create(&fake.0, &missing).is_err());
        assert!(!fake.has("silver"));
    }

    #[test]
    fn the_root_group_can_be_monitored() {
        let fake = Fake::new("root");
        let wanted = RdtPlan { presence: Presence::Existing, monitoring: Some("web1".into()), ..plan("", &[]) };
        let rdt = Rdt::create(&fake.0, &wanted).unwrap();
        assert!(fake.has("mon_groups/web1"));
        let files = rdt.task_files();
        assert_eq!(files, [fake.0.join("tasks"), fake.0.join("mon_groups/web1/tasks")]);
        // Another container of this name would share its counters: refused, and the first one's stays.
        assert!(Rdt::create(&fake.0, &wanted).is_err());
        assert!(fake.has("mon_groups/web1"));
        rdt.remove().unwrap();
        assert!(!fake.has("mon_groups/web1"));
        assert!(fake.has("schemata"));
    }

    #[test]
    fn statistics() {
        let fake = Fake::new("stats");
        make(&fake.0, "gold/mon_data/mon_L3_00");
        fake.put("gold/mon_data/mon_L3_00/llc_occupancy", "4096\n");
        fake.put("gold/mon_data/mon_L3_00/mbm_total_bytes", "10\n");
        fake.put("gold/mon_data/mon_L3_00/mbm_local_bytes", "Unavailable\n");
        let stats = Rdt::create(&fake.0, &plan("gold", &[])).unwrap().stats().unwrap();
        let expected = json!({
            "l3_cache_info": { "cbm_mask": "fffff", "min_cbm_bits": 1, "num_closids": 16 },
            "l3_cache_schema_root": "L3:0=fffff", "l3_cache_schema": "L3:0=000ff",
            "mem_bw_info": { "bandwidth_gran": 10 },
            "mem_bw_schema_root": "MB:0=100", "mem_bw_schema": "MB:0=100",
            "mbm_stats": [{ "mbm_total_bytes": 10, "mbm_local_bytes": 0 }],
            "cmt_stats": [{ "llc_occupancy": 4096 }],
        });
        assert_eq!(Value::from(stats), expected);
    }
}
