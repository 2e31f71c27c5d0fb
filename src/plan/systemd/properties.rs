//! Properties of a scope that stand for the writes and device rules of a cgroup plan. Pure.
//!
//! Everything here is written to the cgroup's files as well. The property is what makes it last: on
//! `systemctl daemon-reload`, or when a sibling changes, systemd writes the files again from what it knows.

use std::collections::BTreeMap;

use crate::dbus::value::Value;
use crate::plan::cgroup::cpu::{percents, percents_per_second, rounded_quota};
use crate::plan::cgroup::devices::{Access, DeviceEntry, DeviceKind, DevicePolicy, DeviceVerdict, wider};
use crate::plan::cgroup::files::{self, UnitProperty, Zero};
use crate::plan::cgroup::{Devices, Write};
use crate::plan::systemd::property::Property;
use crate::spec::number_list;

/// What systemd calls "infinity".
const INFINITY: u64 = u64::MAX;

/// The properties for a list of writes, in the order of the writes. A value systemd would not understand
/// has no property: the kernel judges it when the file is written.
pub fn limits(writes: &[Write]) -> Vec<Property> {
    let mut found = Collected { properties: Vec::new() };
    for write in writes {
        found.add(&write.file, write.value.trim());
    }
    if let Some((quota, period)) = bandwidth(writes) {
        found.put("CPUQuotaPeriodUSec", Value::U64(period));
        found.put(
            "CPUQuotaPerSecUSec",
            Value::U64(quota.map_or(INFINITY, |q| percents_per_second(percents(q, period)))),
        );
    }
    // A weight of 0 is systemd's word for cpu.idle (252): it replaces the weight, and some weight replaces it.
    match writes.iter().rev().find(|w| w.file == files::CPU_IDLE.name).map(|w| w.value.trim()) {
        Some("1") => found.put("CPUWeight", Value::U64(0)),
        Some("0") if found.properties.iter().all(|p| p.name != "CPUWeight") => {
            found.put("CPUWeight", Value::U64(INFINITY));
        }
        _ => {}
    }
    found.properties
}

struct Collected {
    properties: Vec<Property>,
}

impl Collected {
    /// Adds a property, or replaces it: of two writes to one file the last one counts.
    fn put(&mut self, name: &str, value: Value) {
        self.properties.retain(|p| p.name != name);
        self.properties.push(Property::limit(name, value));
    }

    /// Adds an item to a list.
    fn push(&mut self, name: &str, item: Value) {
        match self.properties.iter_mut().find(|p| p.name == name) {
            Some(Property { value: Value::Array { items, .. }, .. }) => items.push(item),
            _ => {
                let list = Value::Array { element: item.signature(), items: vec![item] };
                self.properties.push(Property::limit(name, list));
            }
        }
    }

    fn add(&mut self, file: &str, value: &str) {
        let Some((file, property)) = files::find(file).and_then(|file| Some((file, file.property?))) else { return };
        match property {
            UnitProperty::Number(name) => {
                if let Some(number) = number(value) {
                    // systemd has no TasksMax=0.
                    let floor = if file.zero == Zero::One { 1 } else { 0 };
                    self.put(name, Value::U64(number.max(floor)));
                }
            }
            UnitProperty::Mask(name) => self.set(name, value),
            UnitProperty::OomPolicy => match value {
                "1" => self.put("OOMPolicy", Value::str("kill")),
                "0" => self.put("OOMPolicy", Value::str("continue")),
                _ => {}
            },
            UnitProperty::IoWeight => self.io_weight(value),
            UnitProperty::IoMax => self.io_max(value),
            // Of several files together.
            UnitProperty::Bandwidth | UnitProperty::Idle => {}
        }
    }

    fn set(&mut self, name: &str, list: &str) {
        if list.is_empty() {
            // What a cgroup without a list of its own says: systemd's unset.
            self.put(name, Value::bytes(&[]));
        } else if let Some(bits) = bit_mask(list) {
            self.put(name, Value::bytes(&bits));
        }
    }

    /// `WEIGHT`, `default WEIGHT` or `MAJOR:MINOR WEIGHT`.
    fn io_weight(&mut self, line: &str) {
        let (device, weight) = line.rsplit_once(' ').unwrap_or(("default", line));
        let Ok(weight) = weight.parse() else { return };
        match device.trim() {
            "default" => self.put("IOWeight", Value::U64(weight)),
            device => {
                if let Some(path) = block_device(device) {
                    self.push("IODeviceWeight", Value::Struct(vec![path, Value::U64(weight)]));
                }
            }
        }
    }

    /// A line of [`files::IO_MAX`].
    fn io_max(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let Some(device) = words.next().and_then(block_device) else { return };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let throttle = files::THROTTLES.iter().find(|throttle| throttle.key == key);
            if let Some((throttle, rate)) = throttle.zip(number(value)) {
                self.push(throttle.property, Value::Struct(vec![device.clone(), Value::U64(rate)]));
            }
        }
    }
}

fn block_device(numbers: &str) -> Option<Value> {
    let (major, minor) = numbers.split_once(':')?;
    let (major, minor): (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
    Some(Value::str(format!("/dev/block/{major}:{minor}")))
}

/// A number as cgroup files take it: `max`, or digits and a binary suffix.
fn number(text: &str) -> Option<u64> {
    // -1 is v1's word for it.
    if matches!(text, files::MAX | "-1") {
        return Some(INFINITY);
    }
    let (digits, shift) = match text.char_indices().last()? {
        (at, 'k' | 'K') => (text.get(..at)?, 10),
        (at, 'm' | 'M') => (text.get(..at)?, 20),
        (at, 'g' | 'G') => (text.get(..at)?, 30),
        (at, 't' | 'T') => (text.get(..at)?, 40),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// A list such as `0-2,16` as systemd takes it: one bit per number, the lowest first.
fn bit_mask(list: &str) -> Option<Vec<u8>> {
    /// No kernel has more CPUs or memory nodes; a longer mask is a mistake.
    const MOST: usize = 8192;
    let mut bits: Vec<u8> = number_list::mask(list).ok()?.into_iter().flat_map(u64::to_le_bytes).collect();
    bits.truncate(bits.iter().rposition(|byte| *byte != 0)? + 1);
    (bits.len() <= MOST / 8).then_some(bits)
}

/// Quota (`None`: none) and period that the writes set, where they set either.
fn bandwidth(writes: &[Write]) -> Option<(Option<u64>, u64)> {
    let last = |file: &str| writes.iter().rev().find(|w| w.file == file).map(|w| w.value.trim());
    if let Some(line) = last(files::CPU_MAX.name) {
        let mut words = line.split_ascii_whitespace();
        let quota = words.next()?.parse().ok();
        return Some((quota, words.next().map_or(Some(files::DEFAULT_PERIOD), |p| p.parse().ok()).filter(|p| *p > 0)?));
    }
    let quota = last(files::CFS_QUOTA.name).map(|q| q.parse::<u64>().ok());
    let period = last(files::CFS_PERIOD.name).and_then(|p| p.parse().ok()).filter(|p| *p > 0);
    match (quota, period) {
        (None, None) => None,
        (quota, period) => Some((quota.flatten(), period.unwrap_or(files::DEFAULT_PERIOD))),
    }
}

/// These writes, with the CPU quota rounded up to a whole percent. systemd stores percents in the unit's file: after a
/// daemon-reload any other quota would be a different one, and lower than asked.
pub fn with_rounded_quota(writes: Vec<Write>) -> Vec<Write> {
    let Some((Some(quota), period)) = bandwidth(&writes) else { return writes };
    let rounded = rounded_quota(quota, period);
    if rounded == quota {
        return writes;
    }
    let round = |write: Write| match write.file.as_str() {
        file if file == files::CPU_MAX.name => Write { value: format!("{rounded} {period}"), ..write },
        file if file == files::CFS_QUOTA.name => Write { value: rounded.to_string(), ..write },
        _ => write,
    };
    writes.into_iter().map(round).collect()
}

/// Which way to err where systemd has no word for a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Bias {
    Looser,
    Tighter,
}

/// The device rules, as far as systemd has words for them.
///
/// On v2 the runtime attaches a program of its own to the same cgroup, and an access needs the consent of
/// both: systemd's may be looser (a deny rule, or a minor number of every major, has no word there), never
/// tighter. On v1 there is one list, and the last writer wins: there it may be tighter, never looser.
pub fn devices(devices: &Devices) -> Vec<Property> {
    let (policy, bias) = match devices {
        Devices::Unrestricted => return Vec::new(),
        Devices::V1(policy) => (policy, Bias::Tighter),
        Devices::Bpf(policy) => (policy, Bias::Looser),
    };
    if policy.default == DeviceVerdict::Allow {
        // DevicePolicy=auto without a list: systemd restricts nothing.
        return Vec::new();
    }
    let mut entries: Vec<(String, u8)> = Vec::new();
    let mut index: BTreeMap<String, usize> = BTreeMap::new();
    let denied = match bias {
        Bias::Looser => vec![0; policy.rules.len()],
        Bias::Tighter => denied_later(policy),
    };
    for (rule, denied) in policy.rules.iter().zip(denied).filter(|(rule, _)| rule.verdict == DeviceVerdict::Allow) {
        let access = rule.access.0 & !denied;
        let Some(name) = device_name(rule, bias).filter(|_| access != 0) else { continue };
        match index.get(&name) {
            Some(&at) => entries[at].1 |= access,
            None => {
                index.insert(name.clone(), entries.len());
                entries.push((name, access));
            }
        }
    }
    let items = entries
        .into_iter()
        .map(|(name, access)| Value::Struct(vec![Value::Str(name), Value::Str(Access(access).to_string())]));
    let list = Value::Array { element: "(ss)".into(), items: items.collect() };
    vec![Property::fixed("DevicePolicy", Value::str("strict")), Property::fixed("DeviceAllow", list)]
}

/// The devices of a unit that has rules already: an empty list is systemd's word for forgetting them.
pub fn other_devices(rules: &Devices) -> Vec<Property> {
    let nothing = Value::Array { element: "(ss)".into(), items: Vec::new() };
    let mut properties = vec![Property::fixed("DeviceAllow", nothing)];
    match devices(rules) {
        none if none.is_empty() => properties.push(Property::fixed("DevicePolicy", Value::str("auto"))),
        some => properties.extend(some),
    }
    properties
}

/// For each rule the access bits that later rules take away from some device of it.
fn denied_later(policy: &DevicePolicy) -> Vec<u8> {
    // Of the denials so far: by their numbers, and what those of one major, or of one minor, come to.
    let (mut exact, mut by_kind) = (BTreeMap::new(), BTreeMap::new());
    let (mut by_major, mut by_minor) = (BTreeMap::new(), BTreeMap::new());
    let mut denied = vec![0; policy.rules.len()];
    for (at, rule) in policy.rules.iter().enumerate().rev() {
        let (kind, major, minor) = rule.devices();
        if rule.verdict == DeviceVerdict::Deny {
            for bits in [
                exact.entry((kind, major, minor)).or_insert(0),
                by_kind.entry(kind).or_insert(0),
                by_major.entry((kind, major)).or_insert(0),
                by_minor.entry((kind, minor)).or_insert(0),
            ] {
                *bits |= rule.access.0;
            }
            continue;
        }
        let with_major = |major| by_major.get(&(kind, major)).copied().unwrap_or(0);
        let with_minor = |minor| by_minor.get(&(kind, minor)).copied().unwrap_or(0);
        denied[at] = match (major, minor) {
            (Some(_), Some(_)) => {
                let sets = wider(rule.devices()).chain([rule.devices()]);
                sets.filter_map(|set| exact.get(&set)).fold(0, |bits, access| bits | access)
            }
            (Some(_), None) => with_major(major) | with_major(None),
            (None, Some(_)) => with_minor(minor) | with_minor(None),
            (None, None) => by_kind.get(&kind).copied().unwrap_or(0),
        };
    }
    denied
}

/// systemd's word for the devices of a rule (systemd.resource-control(5), DeviceAllow=); `char-MAJOR` since 240.
fn device_name(rule: &DeviceEntry, bias: Bias) -> Option<String> {
    let kind = match rule.kind {
        DeviceKind::Block => "block",
        DeviceKind::Char => "char",
    };
    match (rule.major, rule.minor) {
        (Some(major), Some(minor)) => Some(format!("/dev/{kind}/{major}:{minor}")),
        (Some(major), None) => Some(format!("{kind}-{major}")),
        (None, Some(_)) if bias == Bias::Tighter => None,
        (None, _) => Some(format!("{kind}-*")),
    }
}
