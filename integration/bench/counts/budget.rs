//! `integration/budget.json`: runtime → verb → counts. Exact, except page faults (the kernel may map around a fault or
//! not) and bytes written (pids and times have more or fewer digits), which may be a little above.

use super::measure::{Counts, Verbs};
use crate::tool::lab::skip;
use crate::tool::{Res, verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Budget = BTreeMap<String, Verbs>;

/// `BRISK_BUDGET` names another file: in a guest the repository is not where it was built.
fn path() -> PathBuf {
    std::env::var_os("BRISK_BUDGET")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("integration/budget.json"), PathBuf::from)
}

/// What the counts depend on besides the program's source: its C library, the kernel, hierarchies, the architecture.
pub struct Key(String);

impl Key {
    pub fn of(name: &str, program: &Path) -> Res<Key> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let hierarchies = |kind: &str| mounts.lines().filter(|line| line.contains(&format!(" - {kind} "))).count();
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let kernel = release.split('.').take(2).collect::<Vec<_>>().join(".");
        let (v1, v2) = (hierarchies("cgroup"), hierarchies("cgroup2"));
        // What glibc reads from the environment it names in every static program.
        let tunables: &[u8] = b"GLIBC_TUNABLES";
        let glibc = std::fs::read(program)?.windows(tunables.len()).any(|window| window == tunables);
        let libc = match (name, glibc) {
            ("brisk", true) => " with glibc",
            ("brisk", false) => " with musl",
            _ => "",
        };
        let arch = std::env::consts::ARCH;
        Ok(Key(format!("{name}{libc}, {arch}, Linux {kernel}, {v1} v1 and {v2} v2 hierarchies")))
    }

    /// Writes what was found.
    pub fn update(&self, verbs: &Verbs) -> Res<()> {
        let mut budget = load()?;
        budget.insert(self.0.clone(), verbs.clone());
        let mut text = serde_json::to_vec_pretty(&budget)?;
        text.push(b'\n');
        std::fs::write(path(), text)?;
        Ok(())
    }

    /// Whether there is a budget, and nothing differs from it.
    pub fn is_kept(&self, verbs: &Verbs) -> bool {
        let kept = |planned: &Verbs| {
            verbs
                .iter()
                .all(|(verb, counts)| planned.get(verb).is_some_and(|planned| differ(planned, counts).is_empty()))
        };
        load().is_ok_and(|budget| budget.get(&self.0).is_some_and(kept))
    }

    /// Prints every difference; true if there is none that matters. Fewer is a difference too: the budget must be lowered,
    /// or the gain is lost unseen.
    pub fn check(&self, verbs: &Verbs) -> Res<bool> {
        let budget = load()?;
        let Some(planned) = budget.get(&self.0) else {
            skip("counts", &format!("no budget for {}: run with --update to make one", self.0))?;
            return Ok(true);
        };
        let mut good = true;
        for (verb, counts) in verbs {
            let lines =
                planned.get(verb).map_or_else(|| vec!["no budget".to_owned()], |planned| differ(planned, counts));
            good &= verdict(&format!("counts/{verb}"), &lines)?;
        }
        if !good {
            println!("if that is intended: counts --update, and say why in the commit");
        }
        Ok(good)
    }
}

fn load() -> Res<Budget> {
    match std::fs::read(path()) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Budget::new()),
        Err(error) => Err(error.into()),
    }
}

fn differ(planned: &Counts, found: &Counts) -> Vec<String> {
    let mut lines = Vec::new();
    let names: BTreeSet<&String> = planned.by_name.keys().chain(found.by_name.keys()).collect();
    for name in names {
        let [planned, found] = [planned, found].map(|counts| counts.by_name.get(name).copied().unwrap_or(0));
        if planned != found {
            lines.push(format!("{name}: {found}, budget {planned}"));
        }
    }
    for (what, planned, found) in
        [("processes", planned.processes, found.processes), ("execs", planned.execs, found.execs)]
    {
        if planned != found {
            lines.push(format!("{what}: {found}, budget {planned}"));
        }
    }
    for (what, planned, found) in [
        ("page faults", planned.page_faults, found.page_faults),
        ("bytes written", planned.bytes_written, found.bytes_written),
    ] {
        if found > planned + planned / 10 + 16 {
            lines.push(format!("{what}: {found}, budget {planned} and a tenth"));
        }
    }
    lines
}
