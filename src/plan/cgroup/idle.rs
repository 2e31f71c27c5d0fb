//! A cgroup that is idle and its weight: the kernel refuses a weight while it is, and forgets it when it is no longer. Pure.

use crate::plan::cgroup::collect::Limits;
use crate::plan::cgroup::files;
use crate::plan::cgroup::write::Write;
use crate::spec::resources::Resources;

/// Said where both are asked for; the words are runc's.
const BOTH: &str = "unable to apply both a CPU weight and cpu.idle: the weight is left out";

/// The files that hold a weight, in either version.
const WEIGHTS: [&str; 3] = [files::CPU_SHARES.name, files::CPU_WEIGHT.name, "cpu.weight.nice"];

/// Whether these resources make a cgroup idle. What `unified` says is written last.
pub(super) fn is_idle(resources: &Resources) -> bool {
    let field = resources.cpu.as_ref().and_then(|cpu| cpu.idle);
    resources.unified.get(files::CPU_IDLE.name).map_or(field == Some(1), |text| text.trim() == "1")
}

fn has_weight(resources: &Resources) -> bool {
    let shares = resources.cpu.as_ref().and_then(|cpu| cpu.shares);
    let unified = WEIGHTS.iter().any(|file| resources.unified.contains_key(*file));
    files::CPU_SHARES.given(shares).is_some() || unified
}

fn says_idle(resources: &Resources) -> bool {
    resources.cpu.as_ref().is_some_and(|cpu| cpu.idle.is_some()) || resources.unified.contains_key(files::CPU_IDLE.name)
}

/// The change of a container: a weight alone ends that it is idle, as with systemd, where the two are one property.
pub(super) fn ended(current: &Resources, change: &Resources) -> bool {
    is_idle(current) && has_weight(change) && !says_idle(change)
}

/// Whether a change says otherwise what this file holds: a weight, by whichever of its names.
pub(super) fn is_replaced(file: &str, change: &Resources) -> bool {
    WEIGHTS.contains(&file) && has_weight(change)
}

/// Has a change between idle and not say the weight, too, which the kernel forgets, where it does not.
pub(super) fn with_weight(asked: &mut Resources, merged: &Resources) {
    if !says_idle(asked) || has_weight(asked) {
        return;
    }
    if let Some(shares) = merged.cpu.as_ref().and_then(|cpu| cpu.shares) {
        asked.cpu.get_or_insert_default().shares = Some(shares);
    }
    let weights = merged.unified.iter().filter(|(file, _)| WEIGHTS.contains(&file.as_str()));
    asked.unified.extend(weights.map(|(file, value)| (file.clone(), value.clone())));
}

/// The writes of what was asked for where that is both: the weight first, which an idle cgroup refuses. One that becomes idle gets it
/// for the sake of whoever takes it back.
pub(super) fn apart(limits: &mut Limits, asked: &Resources, current: &Resources) {
    if is_idle(asked) && has_weight(asked) {
        let (weights, others): (Vec<_>, Vec<_>) = std::mem::take(&mut limits.writes).into_iter().partition(is_weight);
        let first = if is_idle(current) { Vec::new() } else { weights };
        limits.writes = first.into_iter().chain(others).collect();
    }
}

/// The warning where somebody asks for both.
pub(super) fn both(wanted: &Resources) -> Option<String> {
    (is_idle(wanted) && has_weight(wanted)).then(|| BOTH.to_owned())
}

fn is_weight(write: &Write) -> bool {
    WEIGHTS.contains(&write.file.as_str())
}

/// The writes for a cgroup that systemd has made idle already where they do so: without the weight that they begin with.
pub fn settled(writes: &[Write]) -> Vec<Write> {
    let last = writes.iter().rev().find(|write| write.file == files::CPU_IDLE.name);
    let idle = last.is_some_and(|write| write.value.trim() == "1");
    writes.iter().filter(|write| !(idle && is_weight(write))).cloned().collect()
}
