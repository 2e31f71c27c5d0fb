//! A cgroup that is idle and its weight: the kernel refuses a weight while it is, and forgets it when it is no longer. Pure.

use crate::plan::cgroup::files;
use crate::plan::cgroup::write::Write;
use crate::spec::resources::Resources;

/// Said where both are asked for; the words are runc's.
const BOTH: &str = "unable to apply both a CPU weight and cpu.idle: the weight is left out";

/// Whether these resources make a cgroup idle.
pub(super) fn is_idle(resources: &Resources) -> bool {
    let field = resources.cpu.as_ref().and_then(|cpu| cpu.idle);
    field == Some(1) || resources.unified.get(files::CPU_IDLE.name).is_some_and(|text| text.trim() == "1")
}

fn has_weight(resources: &Resources) -> bool {
    let shares = resources.cpu.as_ref().and_then(|cpu| cpu.shares);
    files::CPU_SHARES.given(shares).is_some() || resources.unified.contains_key(files::CPU_WEIGHT.name)
}

fn says_idle(resources: &Resources) -> bool {
    resources.cpu.as_ref().is_some_and(|cpu| cpu.idle.is_some()) || resources.unified.contains_key(files::CPU_IDLE.name)
}

/// The change of a container: a weight alone ends that it is idle, as with systemd, where the two are one property.
pub(super) fn ended(current: &Resources, change: &Resources) -> bool {
    is_idle(current) && has_weight(change) && !says_idle(change)
}

/// The warning for a change that asks for both.
pub(super) fn both(change: &Resources) -> Option<String> {
    (is_idle(change) && has_weight(change)).then(|| BOTH.to_owned())
}

fn is_weight(write: &Write) -> bool {
    [files::CPU_SHARES.name, files::CPU_WEIGHT.name].contains(&write.file.as_str())
}

/// The weights of `writes`, and the others.
pub(super) fn split(writes: Vec<Write>) -> (Vec<Write>, Vec<Write>) {
    writes.into_iter().partition(is_weight)
}

/// The writes for a cgroup that systemd has made idle already where they do so: without the weight that they begin with.
pub fn settled(writes: &[Write]) -> Vec<Write> {
    let last = writes.iter().rev().find(|write| write.file == files::CPU_IDLE.name);
    let idle = last.is_some_and(|write| write.value.trim() == "1");
    writes.iter().filter(|write| !(idle && is_weight(write))).cloned().collect()
}
