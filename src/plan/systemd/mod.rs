//! The systemd cgroup driver's plan: which transient scope will hold the container, and with which
//! properties. Pure: linux.cgroupsPath, the annotations and the cgroup plan in, data out.
//!
//! The names are runc's (`slice:prefix:name`), for engines compute them too.
//!
//! The modules, in the order of the work: `driver` decides who makes the cgroup, `gvariant` reads a property of an annotation,
//! `properties` makes properties of limits, `property` is one of them.

pub mod driver;
pub mod gvariant;
pub mod properties;
mod property;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Stage};

use super::cgroup::idle::settled;
use super::cgroup::update::UpdatePlan;
use super::cgroup::{CgroupPlan, Version};
use crate::dbus::value::Value;
use crate::spec::annotations::SYSTEMD_PROPERTY;

pub use property::{OnUnknown, Property};

/// The longest name of a unit, see systemd.unit(5).
const NAME_MAX: usize = 255;

/// Whose systemd manager owns a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// Pid 1.
    System,
    /// The service manager of the user who runs brisk, be it as root of a user namespace.
    User,
}

/// A scope and the slice it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// `PREFIX-NAME.scope`
    pub name: String,
    /// The slice's own name, such as `machine.slice`.
    pub slice: String,
    /// Who runs it.
    pub owner: Owner,
}

impl Unit {
    /// The unit that linux.cgroupsPath names: `slice:prefix:name`, where an empty slice is the default one.
    /// Without a path it is `brisk-ID.scope`.
    pub fn parse(cgroups_path: Option<&str>, id: &str, owner: Owner) -> Result<Unit> {
        let default = match owner {
            Owner::System => "system.slice",
            Owner::User => "user.slice",
        };
        let Some(path) = cgroups_path.filter(|path| !path.is_empty()) else {
            return Unit { name: format!("brisk-{id}.scope"), slice: default.into(), owner }.checked();
        };
        let parts: Vec<&str> = path.split(':').collect();
        let &[slice, prefix, name] = parts.as_slice() else {
            return Err(Error::new(
                Stage::Cgroup,
                format!(
                    "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {path:?} instead"
                ),
            ));
        };
        if name.is_empty() {
            return Err(Error::new(Stage::Cgroup, format!("linux.cgroupsPath {path:?} has no name")));
        }
        if name.ends_with(".slice") {
            return Err(Error::new(
                Stage::Cgroup,
                format!("linux.cgroupsPath {path:?} names a slice, which cannot hold a container's processes"),
            ));
        }
        let slice = if slice.is_empty() { default } else { slice };
        Unit { name: format!("{prefix}-{name}.scope"), slice: slice.into(), owner }.checked()
    }

    fn checked(self) -> Result<Unit> {
        for name in [&self.name, &self.slice] {
            let fits =
                name.len() <= NAME_MAX && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b));
            if !fits {
                return Err(Error::new(Stage::Cgroup, format!("{name:?} cannot be the name of a systemd unit"))
                    .with_hint("a unit's name has up to 255 letters, digits and :-_.\\@ (systemd.unit(5))"));
            }
        }
        // Neither kind of unit has templates, so systemd refuses instances of one.
        if let Some(name) = [&self.name, &self.slice].into_iter().find(|name| name.contains('@')) {
            return Err(Error::new(Stage::Cgroup, format!("{name:?} cannot be the name of a scope or a slice"))
                .with_hint("an @ in a unit's name makes it the instance of a template (systemd.unit(5))"));
        }
        expand_slice(&self.slice)?;
        Ok(self)
    }

    /// The scope's cgroup below the cgroup of the manager that owns it.
    pub fn path(&self) -> Result<String> {
        let slice = expand_slice(&self.slice)?;
        Ok(if slice.is_empty() { self.name.clone() } else { format!("{slice}/{}", self.name) })
    }
}

/// The cgroup of a slice: `a-b.slice` is in `a.slice`, so its path is `a.slice/a-b.slice`; `-.slice` is the root.
pub fn expand_slice(slice: &str) -> Result<String> {
    let bad = || Error::new(Stage::Cgroup, format!("invalid slice name: {slice:?}"));
    let name = slice.strip_suffix(".slice").filter(|name| !name.is_empty()).ok_or_else(bad)?;
    if name == "-" {
        return Ok(String::new());
    }
    if name.contains('/') || name.split('-').any(str::is_empty) {
        return Err(bad());
    }
    let ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
    let path: Vec<String> = ends.filter_map(|end| name.get(..end)).map(|part| format!("{part}.slice")).collect();
    Ok(path.join("/"))
}

/// The cgroup of a user's service manager, judged by a cgroup of that user's session; where that says
/// nothing (a login's session scope is beside it), the place systemd gives every user. The uid in the cgroup's
/// name is the one outside of a user namespace.
pub fn user_manager_path(own: &str, uid: u32) -> String {
    let mut path = String::new();
    let mut user = uid.to_string();
    for part in own.split('/').filter(|part| !part.is_empty()) {
        path.push_str(part);
        if part.starts_with("user@") && part.ends_with(".service") {
            return path;
        }
        if let Some(name) = part.strip_prefix("user-").and_then(|rest| rest.strip_suffix(".slice")) {
            name.clone_into(&mut user);
        }
        path.push('/');
    }
    format!("user.slice/user-{user}.slice/user@{user}.service")
}

/// What systemd will be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopePlan {
    /// The scope.
    pub unit: Unit,
    /// Its properties, but for the process, which does not exist yet.
    pub properties: Vec<Property>,
}

/// The cgroup of a container with a scope, and the scope. The CPU quota is one that systemd can hold
/// ([`properties::with_rounded_quota`]): the files and the unit agree.
pub fn scope(
    unit: Unit,
    id: &str,
    annotations: &BTreeMap<String, String>,
    cgroup: CgroupPlan,
) -> Result<(CgroupPlan, ScopePlan)> {
    let writes = properties::with_rounded_quota(cgroup.writes);
    let cgroup = CgroupPlan { writes: settled(&writes), ..cgroup };
    let v1 = cgroup.dirs.iter().any(|dir| dir.version == Version::V1 && dir.controllers.iter().any(|c| c == "memory"));
    let io = if v1 { "BlockIOAccounting" } else { "IOAccounting" };
    let mut properties = vec![
        Property::fixed("Description", Value::str(format!("brisk container {id}"))),
        Property::fixed("Slice", Value::str(unit.slice.as_str())),
        Property::fixed("Delegate", Value::Bool(true)),
        // Neither ordered after the start of the system nor stopped with it before its engine.
        Property::fixed("DefaultDependencies", Value::Bool(false)),
        // A scope whose process was killed for want of memory has failed; it must go all the same (systemd 236).
        Property::limit("CollectMode", Value::str("inactive-or-failed")),
    ];
    // Controllers are enabled for the scope even when nothing is limited, so that there are statistics.
    for name in ["MemoryAccounting", "CPUAccounting", io, "TasksAccounting"] {
        properties.push(Property::limit(name, Value::Bool(true)));
    }
    override_with(&mut properties, from_annotations(annotations)?);
    override_with(&mut properties, properties::devices(&cgroup.devices));
    override_with(&mut properties, properties::limits(&cgroup.writes));
    Ok((cgroup, ScopePlan { unit, properties }))
}

/// The update of a container with a scope, and the properties that go with it.
pub fn update(plan: UpdatePlan) -> (UpdatePlan, Vec<Property>) {
    let plan = UpdatePlan { writes: properties::with_rounded_quota(plan.writes), ..plan };
    let mut list = properties::limits(&plan.writes);
    list.extend(plan.devices.iter().flat_map(|rules| properties::other_devices(&rules.after)));
    (plan, list)
}

/// A later property takes the place of an earlier one: systemd would add up the lists of some.
fn override_with(properties: &mut Vec<Property>, later: Vec<Property>) {
    properties.retain(|old| later.iter().all(|new| new.name != old.name));
    properties.extend(later);
}

/// Properties asked for by annotation, as runc and crun read them: GVariant text, and a name that ends in
/// `Sec` becomes one that ends in `USec`, with the value in microseconds.
pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Vec<Property>> {
    let ours = annotations.iter().filter_map(|(key, text)| Some((key.strip_prefix(SYSTEMD_PROPERTY)?, text)));
    ours.map(|(name, text)| {
        let bad = |why: String| Error::new(Stage::Cgroup, format!("annotation {SYSTEMD_PROPERTY}{name}={text}: {why}"));
        if name.len() < 3 || !name.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(bad("the name of a property has three or more letters, and nothing else".into()));
        }
        if RESERVED.contains(&name) {
            return Err(bad("the runtime itself sets this property".into()));
        }
        let value = gvariant::parse(text).map_err(bad)?;
        match name.strip_suffix("Sec").filter(|stem| stem.ends_with(|c: char| c.is_ascii_lowercase())) {
            Some(stem) => Ok(Property::fixed(&format!("{stem}USec"), microseconds(&value).map_err(bad)?)),
            None => Ok(Property::fixed(name, value)),
        }
    })
    .collect()
}

/// What decides which processes the scope holds and where it is.
const RESERVED: &[&str] = &["PIDs", "PIDFDs", "Slice", "Delegate", "Scope"];

fn microseconds(value: &Value) -> std::result::Result<Value, String> {
    const MICRO: u64 = 1_000_000;
    let negative = |_| "a time cannot be negative".to_owned();
    let seconds = match value {
        Value::Byte(v) => u64::from(*v),
        Value::U16(v) => u64::from(*v),
        Value::U32(v) => u64::from(*v),
        Value::U64(v) => *v,
        Value::I16(v) => u64::try_from(*v).map_err(negative)?,
        Value::I32(v) => u64::try_from(*v).map_err(negative)?,
        Value::I64(v) => u64::try_from(*v).map_err(negative)?,
        Value::Double(bits) => {
            let micro = f64::from_bits(*bits) * MICRO as f64;
            // 2^64: what is above does not fit.
            return if (0.0..18_446_744_073_709_551_616.0).contains(&micro) {
                Ok(Value::U64(micro as u64))
            } else {
                Err("the time is out of range".into())
            };
        }
        _ => return Err("a time is a number".into()),
    };
    seconds.checked_mul(MICRO).map(Value::U64).ok_or_else(|| "the time is out of range".into())
}

/// One line per property, as `brisk plan` prints it.
impl fmt::Display for ScopePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "systemd scope {} in {}", self.unit.name, self.unit.slice)?;
        self.properties.iter().try_for_each(|property| writeln!(f, "systemd property {property}"))
    }
}
