//! One property of a unit.

use std::fmt;

use crate::dbus::value::Value;

/// What happens when systemd does not know a property, or not this value of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnknown {
    /// The scope cannot be had as asked.
    Fail,
    /// The cgroup's files get the limit anyway: leave the property out.
    Drop,
}

/// One property of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Its name in D-Bus, such as `MemoryMax`.
    pub name: String,
    /// Its value.
    pub value: Value,
    /// What to do where systemd is too old for it.
    pub unknown: OnUnknown,
}

impl Property {
    /// A property every supported systemd has.
    pub fn fixed(name: &str, value: Value) -> Property {
        Property { name: name.into(), value, unknown: OnUnknown::Fail }
    }

    /// A limit that is written to the cgroup's files too.
    pub fn limit(name: &str, value: Value) -> Property {
        Property { name: name.into(), value, unknown: OnUnknown::Drop }
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}
