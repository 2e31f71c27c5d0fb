//! `integration/budget.json`: runtime → verb → counts. Exact, except page faults (the kernel may map around a fault or
//! not) and bytes written (pids and times have more or fewer digits), which may be a little above.

use super::measure::{Counts, Verbs};
use crate::tool::lab::skip;
use crate::tool::{Res, verdict};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

type Budget = BTreeMap<String, Verbs>;

/// `BRISK_BUDGET` names another file: in a guest the repository is not where it was built.
fn path() -> PathBuf {
    std::env::var_os("BRISK_BUDGET")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("integration/budget.json"), PathBuf::from)
}

/// The key names what the counts depend on besides the program: kernel, hierarchies, architecture.
fn key(name: &str) -> Res<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let hierarchies = |kind: &str| mounts.lines().filter(|line| line.contains(&format!(" - {kind} "))).count();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let kernel = release.split('.').take(2).collect::<Vec<_>>().join(".");
    let (v1, v2) = (hierarchies("cgroup"), hierarchies("cgroup2"));
    Ok(format!("{name}, {}, Linux {kernel}, {v1} v1 and {v2} v2 hierarchies", std::env::consts::ARCH))
}

fn load() -> Res<Budget> {
    match std::fs::read(path()) {
        Ok(text) => Ok(serde_json::from_slice(&text)?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Budget::new()),
        Err(error) => Err(error.into()),
    }
}

/// Writes what was found.
pub fn update(name: &str, verbs: &Verbs) -> Res<()> {
    let mut budget = load()?;
    budget.insert(key(name)?, verbs.clone());
    let mut text = serde_json::to_vec_pretty(&budget)?;
    text.push(b'\n');
    std::fs::write(path(), text)?;
    Ok(())
}

/// Prints every difference; true if there is none that matters. Fewer is a difference too: the budget must be lowered,
/// or the gain is lost unseen.
pub fn check(name: &str, verbs: &Verbs) -> Res<bool> {
    let budget = load()?;
    let Some(planned) = budget.get(&key(name)?) else {
        skip("counts", &format!("no budget for {}: run with --update to make one", key(name)?))?;
        return Ok(true);
    };
    let mut good = true;
    for (verb, counts) in verbs {
        let lines = planned.get(verb).map_or_else(|| vec!["no budget".to_owned()], |planned| differ(planned, counts));
        good &= verdict(&format!("counts/{verb}"), &lines)?;
    }
    if !good {
        println!("if that is intended: counts --update, and say why in the commit");
    }
    Ok(good)
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
