//! `update`: which limits of a running container change, and what its resources are afterwards. Pure.

use serde_json::{Map, Value};

use crate::error::{Context, Error, Result, Stage};
use crate::host::cgroup::Layout;
use crate::spec::resources::{Cpu, Memory, Resources};

use crate::plan::cgroup::devices::{Devices, plan_devices};
use crate::plan::cgroup::files::{self, Zero};
use crate::plan::cgroup::idle;
use crate::plan::cgroup::limits::plan_limits;
use crate::plan::cgroup::options::Privilege;
use crate::plan::cgroup::write::{Phase, UsageCheck, Write};

/// What an update will do.
#[derive(Clone, Debug)]
pub struct UpdatePlan {
    /// What must hold before the first write.
    pub checks: Vec<UsageCheck>,
    /// The writes, in order.
    pub writes: Vec<Write>,
    /// The container's resources once they are made; to be stored in its state.
    pub resources: Resources,
    /// Settings without effect here.
    pub warnings: Vec<String>,
    /// New device rules.
    pub devices: Option<Replaced>,
}

/// What becomes of the container's device rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceRules {
    /// The rules stay: other programs (GPU toolkits) add to what the runtime set, and would lose it when an engine repeats the
    /// rules it knows.
    Keep,
    /// The rules of the change replace all others (`--device-rules`), as this caller may.
    Replace(Privilege),
}

/// Device rules in the place of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// What was in force.
    pub before: Devices,
    /// What is to be.
    pub after: Devices,
}

/// Plans an update. `change` has only what is to change; `current` is what the container has.
pub fn update(current: &Resources, change: &Resources, layout: &Layout, rules: DeviceRules) -> Result<UpdatePlan> {
    let mut resources = merge(current, change)?;
    let mut asked = written(&resources, change);
    if idle::ended(current, change) {
        asked.cpu.get_or_insert_default().idle = Some(0);
        resources.cpu.get_or_insert_default().idle = Some(0);
    }
    let mut limits = plan_limits(&asked, layout, Phase::Update)?;
    idle::apart(&mut limits, &asked, current);
    limits.warnings.extend(idle::both(change));
    // What `unified` said of a file that is written otherwise now; whoever makes the container again would write it last.
    let written = |file: &str| idle::is_replaced(file, change) || limits.writes.iter().any(|write| write.file == file);
    resources.unified.retain(|file, _| asked.unified.contains_key(file) || !written(file));
    let devices = match rules {
        DeviceRules::Replace(privilege) => {
            let replaced = replace_devices(current, change, layout, privilege)?;
            resources.devices.clone_from(&change.devices);
            Some(replaced)
        }
        DeviceRules::Keep if change.devices.is_empty() || change.devices == current.devices => None,
        DeviceRules::Keep => {
            limits.warnings.push("the device rules stay as they are: --device-rules replaces them".into());
            None
        }
    };
    Ok(UpdatePlan { checks: limits.checks, writes: limits.writes, resources, warnings: limits.warnings, devices })
}

/// The device rules of `change` instead of all the container has.
fn replace_devices(current: &Resources, change: &Resources, layout: &Layout, privilege: Privilege) -> Result<Replaced> {
    if change.devices.is_empty() {
        return Err(Error::new(Stage::Args, "--device-rules: there are no devices in --resources"));
    }
    if privilege == Privilege::Rootless {
        return Err(Error::new(Stage::Cgroup, "replace the device rules: that takes root on the host"));
    }
    let rules = |resources| plan_devices(resources, layout, privilege);
    Ok(Replaced { before: rules(current)?, after: rules(change)? })
}

/// The resources that are written: the change, completed by current values where two of them share a file
/// (quota and period in cpu.max), one is computed from both (swap from memory+swap), or the kernel forgets one for the
/// other (a weight for idle).
fn written(merged: &Resources, change: &Resources) -> Resources {
    let mut out = change.clone();
    out.devices.clear();
    idle::with_weight(&mut out, merged);
    if let (Some(cpu), Some(all)) = (&mut out.cpu, &merged.cpu)
        && (files::CFS_QUOTA.given(cpu.quota).is_some() || files::CFS_PERIOD.given(cpu.period).is_some())
    {
        *cpu = Cpu { quota: all.quota, period: all.period, ..cpu.clone() };
    }
    if let (Some(memory), Some(all)) = (&mut out.memory, &merged.memory)
        && (files::MEMORY_LIMIT.given(memory.limit).is_some() || files::MEMSW_LIMIT.given(memory.swap).is_some())
    {
        *memory = Memory { limit: all.limit, swap: all.swap, ..memory.clone() };
    }
    out
}

/// `current` with everything that `change` sets.
///
/// Works on the JSON form, so that a field added to the types is never forgotten here. Objects merge by
/// key and lists of devices by device number; zeros and empty strings of engines change nothing.
pub fn merge(current: &Resources, change: &Resources) -> Result<Resources> {
    let json = |r: &Resources| serde_json::to_value(r).at(Stage::Cgroup, || "encode linux.resources");
    let (mut base, mut top) = (json(current)?, json(change)?);
    if let Some(top) = top.as_object_mut() {
        top.remove("devices");
        // memory.limit -1 without a swap lifts both, as writing it does.
        if let Some(memory) = top.get_mut("memory").and_then(Value::as_object_mut)
            && memory.get("limit").and_then(Value::as_i64) == Some(-1)
            && files::MEMSW_LIMIT.given(memory.get("swap").and_then(Value::as_i64)).is_none()
        {
            memory.insert("swap".into(), Value::from(-1));
        }
    }
    put_over(&mut base, &top, "");
    serde_json::from_value(base).at(Stage::Cgroup, || "merge linux.resources")
}

/// Whether zero means "not set".
fn zero_is_unset(field: &str) -> bool {
    // Kernel memory is part of the memory limit, so it has no file.
    field == "memory/kernel" || files::ALL.iter().any(|file| file.field == Some(field) && file.zero == Zero::Unset)
}

/// Puts `top` over `base`; `field` is the name of the parent object or list and the key, as above.
fn put_over(base: &mut Value, top: &Value, field: &str) {
    match (base, top) {
        (_, Value::Number(n)) if n.as_i64() == Some(0) && zero_is_unset(field) => {}
        (_, Value::String(s)) if s.is_empty() => {}
        (Value::Object(base), Value::Object(top)) => {
            let parent = field.rsplit('/').next().unwrap_or(field);
            for (key, value) in top {
                put_over(base.entry(key.clone()).or_insert(Value::Null), value, &format!("{parent}/{key}"));
            }
            base.retain(|_, value| !value.is_null());
        }
        (Value::Array(base), Value::Array(top)) => {
            for item in top {
                match base.iter_mut().find(|known| identity(known) == identity(item)) {
                    Some(known) => put_over(known, item, field),
                    None => base.push(item.clone()),
                }
            }
        }
        (base @ Value::Null, Value::Object(_)) => {
            *base = Value::Object(Map::new());
            put_over(base, top, field);
        }
        (base, top) => *base = top.clone(),
    }
}

/// What names an item of a list: a device's numbers, a page size, an interface.
fn identity(item: &Value) -> [Option<&Value>; 4] {
    ["major", "minor", "pageSize", "name"].map(|key| item.get(key))
}
