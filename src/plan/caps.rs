//! Capability sets as masks. Pure; runs in the parent.

use caps::Capability;

use crate::error::{Error, Result, Stage};
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

/// Reads `process.capabilities`. A name that does not exist is an error. A capability that exists but is
/// not in `host_bounding`, this runtime's own bounding set, cannot be granted: it is left out with a warning,
/// as the specification asks.
///
/// Also returns the warnings.
pub fn parse(list: &Capabilities, host_bounding: u64) -> Result<(CapSets, Vec<String>)> {
    let mut unavailable = 0;
    let mut read = |set: &str, names: &[String]| -> Result<u64> {
        let mask = mask_of(set, names)?;
        unavailable |= mask & !host_bounding;
        Ok(mask & host_bounding)
    };
    let mut sets = CapSets {
        bounding: read("bounding", &list.bounding)?,
        effective: read("effective", &list.effective)?,
        inheritable: read("inheritable", &list.inheritable)?,
        permitted: read("permitted", &list.permitted)?,
        ambient: read("ambient", &list.ambient)?,
    };
    let mut warnings: Vec<String> = names_of(unavailable)
        .into_iter()
        .map(|name| format!("capability {name} is not available here: left out"))
        .collect();
    sets.restrict(&mut warnings);
    Ok((sets, warnings))
}

/// The mask of `process.capabilities` names given one by one (`exec --cap`).
pub fn mask_of(set: &str, names: &[String]) -> Result<u64> {
    names.iter().try_fold(0, |mask, name| {
        let cap: Capability = name
            .parse()
            .map_err(|_| Error::new(Stage::Bundle, format!("capability {name:?} of the {set} set does not exist")))?;
        Ok(mask | cap.bitmask())
    })
}

impl CapSets {
    /// Drops what capset(2) or prctl(2) would refuse: effective beyond permitted (EPERM for the whole call),
    /// ambient beyond permitted and inheritable (EPERM for each).
    fn restrict(&mut self, warnings: &mut Vec<String>) {
        let impossible = self.ambient & !(self.permitted & self.inheritable);
        for name in names_of(impossible) {
            warnings.push(format!("ambient capability {name} is not both permitted and inheritable: left out"));
        }
        self.ambient &= !impossible;
        let impossible = self.effective & !self.permitted;
        for name in names_of(impossible) {
            warnings.push(format!("effective capability {name} is not permitted: left out"));
        }
        self.effective &= !impossible;
    }
}
