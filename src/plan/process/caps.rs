//! Capability sets as masks. Pure; runs in the parent.

use std::collections::BTreeSet;

use caps::Capability;

use crate::error::nearest;
use crate::spec::process::Capabilities;

/// The five sets, bit n for capability n.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "names and meaning are capabilities(7)'s")]
pub struct CapSets {
    pub bounding: u64,
    pub effective: u64,
    pub inheritable: u64,
    pub permitted: u64,
    pub ambient: u64,
}

/// Every capability brisk knows, by number: `linux.capabilities` of `features`.
pub fn names() -> Vec<String> {
    let mut known: Vec<Capability> = caps::all().into_iter().collect();
    known.sort_unstable_by_key(Capability::index);
    known.iter().map(ToString::to_string).collect()
}

/// Whether it is the name of a capability.
pub fn is_known(name: &str) -> bool {
    name.parse::<Capability>().is_ok()
}

/// Whether both are names of one capability.
pub fn is_same(one: &str, other: &str) -> bool {
    one == other || matches!((one.parse::<Capability>(), other.parse::<Capability>()), (Ok(a), Ok(b)) if a == b)
}

/// The names in a mask; an unnamed bit is `CAP_n`.
pub fn names_of(mask: u64) -> Vec<String> {
    if mask == 0 {
        // The usual case, which must not pay for the set below.
        return Vec::new();
    }
    let known = caps::all();
    (0..64)
        .filter(|bit| mask & (1 << bit) != 0)
        .map(|bit| match known.iter().find(|cap| u32::from(cap.index()) == bit) {
            Some(cap) => cap.to_string(),
            None => format!("CAP_{bit}"),
        })
        .collect()
}

/// Reads `process.capabilities`. What cannot be granted is left out with a warning, as the specification asks: a
/// name that is unknown (a newer kernel's, or no capability at all), and a capability that is not in
/// `host_bounding`, this runtime's own bounding set.
///
/// Also returns the warnings.
pub fn parse(list: &Capabilities, host_bounding: u64) -> (CapSets, Vec<String>) {
    let mut unavailable = 0;
    let mut unknown = BTreeSet::new();
    let mut read = |names: &[String]| -> u64 {
        let mask = mask_of(names, &mut unknown);
        unavailable |= mask & !host_bounding;
        mask & host_bounding
    };
    let mut sets = CapSets {
        bounding: read(&list.bounding),
        effective: read(&list.effective),
        inheritable: read(&list.inheritable),
        permitted: read(&list.permitted),
        ambient: read(&list.ambient),
    };
    let left_out: Vec<String> = unknown.iter().cloned().chain(names_of(unavailable)).collect();
    let mut warnings = Vec::new();
    if !left_out.is_empty() {
        // runc's words, which tests look for.
        let near = unknown.iter().filter_map(|name| meant(name)).collect::<Vec<_>>();
        let advice = if near.is_empty() { String::new() } else { format!(": did you mean {}?", near.join(", ")) };
        warnings.push(format!("ignoring unknown or unavailable capabilities: [{}]{advice}", left_out.join(" ")));
    }
    sets.restrict(&mut warnings);
    (sets, warnings)
}

/// The capability that may have been meant: `CAP_` is often left out.
fn meant(name: &str) -> Option<String> {
    let known = names();
    let near = |name: &str| nearest(name, known.iter().map(String::as_str)).map(str::to_owned);
    near(name).or_else(|| near(&format!("CAP_{name}")))
}

/// The mask of some names; those that are no capability's go to `unknown`.
fn mask_of(names: &[String], unknown: &mut BTreeSet<String>) -> u64 {
    let mut mask = 0;
    for name in names {
        match name.parse::<Capability>() {
            Ok(cap) => mask |= cap.bitmask(),
            Err(_) => drop(unknown.insert(name.clone())),
        }
    }
    mask
}

impl CapSets {
    /// Drops what capset(2) or prctl(2) would refuse: effective beyond permitted (EPERM for the whole call),
    /// ambient beyond permitted and inheritable (EPERM for each).
    fn restrict(&mut self, warnings: &mut Vec<String>) {
        for name in names_of(self.ambient & !(self.permitted & self.inheritable)) {
            warnings.push(format!("can't raise ambient capability {name}: it is not both permitted and inheritable"));
        }
        self.ambient &= self.permitted & self.inheritable;
        let impossible = self.effective & !self.permitted;
        for name in names_of(impossible) {
            warnings.push(format!("effective capability {name} is not permitted: left out"));
        }
        self.effective &= !impossible;
    }
}
