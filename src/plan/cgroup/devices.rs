//! Device access rules: from linux.resources.devices to an ordered policy, to the writes of the v1 devices
//! controller, and to an eBPF program. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, Stage};
use crate::host::cgroup::Layout;
use crate::plan::cgroup::options::Privilege;
use crate::spec::resources::{DeviceRule, Resources};

/// Block or character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, PartialOrd, Ord)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// A block device.
    Block,
    /// A character device.
    Char,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceVerdict {
    /// Access is given.
    Allow,
    /// Access is taken away.
    Deny,
}

/// A set of `r`, `w` and `m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Access(pub u8);

impl Access {
    /// `mknod`, the value of BPF_DEVCG_ACC_MKNOD.
    pub const MKNOD: Access = Access(1);
    /// Open for reading, the value of BPF_DEVCG_ACC_READ.
    pub const READ: Access = Access(2);
    /// Open for writing, the value of BPF_DEVCG_ACC_WRITE.
    pub const WRITE: Access = Access(4);
    /// All three.
    pub const ALL: Access = Access(7);

    /// The letters that mean something, as with runc.
    fn parse(text: &str) -> Access {
        text.chars().fold(Access(0), |set, letter| match letter {
            'r' => Access(set.0 | Access::READ.0),
            'w' => Access(set.0 | Access::WRITE.0),
            'm' => Access(set.0 | Access::MKNOD.0),
            _ => set,
        })
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in [(Access::READ, "r"), (Access::WRITE, "w"), (Access::MKNOD, "m")] {
            if self.0 & bit.0 != 0 {
                f.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// One rule for one kind of device; `None` stands for every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[expect(missing_docs, reason = "the fields are those of linux.resources.devices")]
pub struct DeviceEntry {
    pub verdict: DeviceVerdict,
    pub kind: DeviceKind,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    pub access: Access,
}

/// The text the v1 controller takes and `brisk plan` prints: `c 136:* rwm`.
impl fmt::Display for DeviceEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            DeviceKind::Block => 'b',
            DeviceKind::Char => 'c',
        };
        write!(f, "{kind} ")?;
        number(f, self.major)?;
        f.write_str(":")?;
        number(f, self.minor)?;
        write!(f, " {}", self.access)
    }
}

fn number(f: &mut fmt::Formatter<'_>, value: Option<u32>) -> fmt::Result {
    match value {
        Some(value) => write!(f, "{value}"),
        None => f.write_str("*"),
    }
}

/// What happens to every device, by the last rule that speaks of it.
///
/// Every access bit is judged alone: opening for reading and writing needs both to be allowed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct DevicePolicy {
    /// What is decided for a device that no rule matches.
    pub default: DeviceVerdict,
    /// The rules in the order of the configuration; none is a wildcard over kinds.
    pub rules: Vec<DeviceEntry>,
}

/// What every container may use, whatever its rules say: the devices and terminals of runtime-spec
/// (config-linux, default devices), `mknod` of any node (a node alone gives no access) and, as runc and
/// crun do since ever, `/dev/net/tun`. A container's `/dev/console` is a terminal (136): 5:1 is the host's console.
const DEFAULT: &[(DeviceKind, Option<u32>, Option<u32>, Access)] = &[
    (DeviceKind::Char, None, None, Access::MKNOD),
    (DeviceKind::Block, None, None, Access::MKNOD),
    (DeviceKind::Char, Some(1), Some(3), Access::ALL),
    (DeviceKind::Char, Some(1), Some(8), Access::ALL),
    (DeviceKind::Char, Some(1), Some(7), Access::ALL),
    (DeviceKind::Char, Some(5), Some(0), Access::ALL),
    (DeviceKind::Char, Some(1), Some(5), Access::ALL),
    (DeviceKind::Char, Some(1), Some(9), Access::ALL),
    (DeviceKind::Char, Some(136), None, Access::ALL),
    (DeviceKind::Char, Some(5), Some(2), Access::ALL),
    (DeviceKind::Char, Some(10), Some(200), Access::ALL),
];

impl DevicePolicy {
    /// The policy of a container: deny everything, then the configuration's rules, then the devices that no
    /// container can do without (last, so that a configuration's `deny a` does not take them away; runc
    /// and crun have the same order).
    ///
    /// Where everything is allowed and the configuration names what is not, the last only lift what denies exactly their
    /// devices: `mknod` of any node does not undo the denial of one, as in runc.
    pub fn new(rules: &[DeviceRule]) -> Result<DevicePolicy> {
        let mut policy = DevicePolicy { default: DeviceVerdict::Deny, rules: Vec::new() };
        for (index, rule) in rules.iter().enumerate() {
            policy.push(index, rule)?;
        }
        let always = DEFAULT.iter().map(|&(kind, major, minor, access)| {
            let verdict = DeviceVerdict::Allow;
            DeviceEntry { verdict, kind, major, minor, access }
        });
        match policy.default {
            DeviceVerdict::Deny => policy.rules.extend(always),
            DeviceVerdict::Allow => {
                let mut access: BTreeMap<DeviceSet, u8> = BTreeMap::new();
                access.extend(always.map(|rule| (rule.devices(), rule.access.0)));
                for rule in policy.rules.iter_mut().filter(|rule| rule.verdict == DeviceVerdict::Deny) {
                    rule.access.0 &= !access.get(&rule.devices()).copied().unwrap_or(0);
                }
                policy.rules.retain(|rule| rule.access.0 != 0);
            }
        }
        Ok(policy)
    }

    /// A warning for each rule with letters that mean nothing.
    pub fn odd(rules: &[DeviceRule]) -> impl Iterator<Item = String> {
        rules.iter().enumerate().filter_map(|(index, rule)| {
            let text = rule.access.as_deref().filter(|text| text.chars().any(|letter| !"rwm".contains(letter)))?;
            Some(format!("linux.resources.devices[{index}]: access {text:?}: letters other than rwm have no effect"))
        })
    }

    /// Whether nothing is denied.
    pub fn allows_all(&self) -> bool {
        self.default == DeviceVerdict::Allow && self.rules.iter().all(|r| r.verdict == DeviceVerdict::Allow)
    }

    fn push(&mut self, index: usize, rule: &DeviceRule) -> Result<()> {
        let bad = |what: String| {
            Error::of_field(
                Stage::Cgroup,
                format!("linux.resources.devices[{index}]"),
                format!("linux.resources.devices[{index}]: {what}"),
            )
        };
        let DeviceRule { allow, kind, major, minor, access } = rule;
        let verdict = if *allow { DeviceVerdict::Allow } else { DeviceVerdict::Deny };
        let access = match access.as_deref() {
            None => Access::ALL,
            Some(text) => Some(Access::parse(text))
                .filter(|access| access.0 != 0)
                .ok_or_else(|| bad(format!("access is {text:?}: none of rwm")))?,
        };
        let parse = |name: &str, value: Option<i64>| match value {
            None | Some(-1) => Ok(None),
            Some(value) => {
                u32::try_from(value).map(Some).map_err(|_| bad(format!("{name} number {value} is out of range")))
            }
        };
        let (major, minor) = (parse("major", *major)?, parse("minor", *minor)?);
        let kinds: &[DeviceKind] = match kind.as_deref() {
            None | Some("a" | "") => &[DeviceKind::Char, DeviceKind::Block],
            Some("c" | "u") => &[DeviceKind::Char],
            Some("b") => &[DeviceKind::Block],
            Some(other) => return Err(bad(format!("type is {other:?}, not one of a, b, c, u"))),
        };
        if kinds.len() == 2 && major.is_none() && minor.is_none() && access == Access::ALL {
            self.default = verdict;
            self.rules.clear();
            return Ok(());
        }
        self.rules.extend(kinds.iter().map(|&kind| DeviceEntry { verdict, kind, major, minor, access }));
        Ok(())
    }
}

impl fmt::Display for DevicePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |v| if v == DeviceVerdict::Allow { "allow" } else { "deny" };
        write!(f, "{} a", word(self.default))?;
        self.rules.iter().try_for_each(|rule| write!(f, ", {} {rule}", word(rule.verdict)))
    }
}

/// One write to the v1 devices controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct V1Write {
    /// `devices.allow` or `devices.deny`.
    pub file: &'static str,
    /// The rule.
    pub value: String,
}

impl DevicePolicy {
    /// The writes that bring a v1 cgroup to this policy.
    ///
    /// The v1 controller keeps one default and a list of exceptions to it, and one exception alone must cover
    /// all that an access asks for. So rules are folded into exceptions first: an exception takes over
    /// what every wider one lets read and write, and a rule that would cut a hole into a wider exception is an error,
    /// because the kernel ignores it without a word (kernel/device_cgroup.c).
    pub fn v1_writes(&self) -> Result<Vec<V1Write>> {
        let exceptions = self.exceptions()?;
        let (reset, file) = match self.default {
            DeviceVerdict::Deny => (Some(V1Write { file: "devices.deny", value: "a".into() }), "devices.allow"),
            // A new cgroup has its parent's default; below a parent that denies, allowing all is refused anyway.
            DeviceVerdict::Allow => (None, "devices.deny"),
        };
        let rules = exceptions.iter().map(|rule| V1Write { file, value: rule.to_string() });
        Ok(reset.into_iter().chain(rules).collect())
    }

    fn exceptions(&self) -> Result<Vec<DeviceEntry>> {
        let mut list = Exceptions::default();
        for rule in &self.rules {
            if rule.verdict == self.default { list.subtract(rule)? } else { list.add(*rule) }
        }
        let mut alone: BTreeMap<DeviceSet, u8> = BTreeMap::new();
        alone.extend(list.index.iter().map(|(devices, at)| (*devices, list.rules[*at].access.0)));
        let union = |devices: DeviceSet, all: &BTreeMap<DeviceSet, u8>| {
            wider(devices).filter_map(|devices| all.get(&devices)).fold(0, |union, access| union | access)
        };
        // mknod(2) asks for nothing else, so only reading and writing can be asked for together.
        let together = Access::READ.0 | Access::WRITE.0;
        let mut full: BTreeMap<DeviceSet, u8> = BTreeMap::new();
        full.extend(alone.keys().map(|devices| (*devices, alone[devices] | union(*devices, &alone) & together)));
        let all = list.rules.into_iter().filter(|rule| rule.access.0 != 0);
        let all = all.map(|rule| DeviceEntry { access: Access(full[&rule.devices()]), ..rule });
        // One that a wider one has all of says nothing.
        let needless = |rule: &DeviceEntry| {
            wider(rule.devices())
                .any(|devices| full.get(&devices).is_some_and(|wide| wide & rule.access.0 == rule.access.0))
        };
        Ok(all.filter(|rule| !needless(rule)).collect())
    }
}

/// Exceptions to the default as they are folded; found by their devices, for there may be many.
#[derive(Default)]
struct Exceptions {
    /// In order; those without access are no more.
    rules: Vec<DeviceEntry>,
    index: BTreeMap<DeviceSet, usize>,
}

impl Exceptions {
    fn add(&mut self, rule: DeviceEntry) {
        match self.index.get(&rule.devices()) {
            Some(&at) => self.rules[at].access.0 |= rule.access.0,
            None => {
                self.index.insert(rule.devices(), self.rules.len());
                self.rules.push(rule);
            }
        }
    }

    fn subtract(&mut self, rule: &DeviceEntry) -> Result<()> {
        if rule.major.is_some() && rule.minor.is_some() {
            // A rule for a single device covers that alone, and meets those that are wider.
            let wider = wider(rule.devices()).filter_map(|devices| self.index.get(&devices));
            if let Some(known) = wider.map(|at| &self.rules[*at]).find(|known| known.access.0 & rule.access.0 != 0) {
                return Err(hole(rule, known));
            }
            if let Some(&at) = self.index.get(&rule.devices()) {
                self.take(at, rule.access);
            }
            return Ok(());
        }
        for at in 0..self.rules.len() {
            let known = &self.rules[at];
            if known.access.0 & rule.access.0 == 0 {
                continue;
            }
            if rule.covers(known) {
                self.take(at, rule.access);
            } else if rule.meets(known) {
                return Err(hole(rule, known));
            }
        }
        Ok(())
    }

    fn take(&mut self, at: usize, access: Access) {
        let rule = &mut self.rules[at];
        rule.access.0 &= !access.0;
        if rule.access.0 == 0 {
            self.index.remove(&rule.devices());
        }
    }
}

fn hole(rule: &DeviceEntry, known: &DeviceEntry) -> Error {
    let what = format!("device rule {rule} cuts a hole into the wider rule {known}, which cgroup v1 cannot do");
    Error::new(Stage::Cgroup, what)
}

/// The devices of a rule.
pub(in crate::plan) type DeviceSet = (DeviceKind, Option<u32>, Option<u32>);

/// The sets that are wider than one: with a wildcard where it has a number.
pub(in crate::plan) fn wider(own: DeviceSet) -> impl Iterator<Item = DeviceSet> {
    let (kind, major, minor) = own;
    // Where it has a wildcard already, two of the three are itself or the same.
    let all = match (major, minor) {
        (Some(_), Some(_)) => [Some((kind, None, minor)), Some((kind, major, None)), Some((kind, None, None))],
        (Some(_), None) | (None, Some(_)) => [Some((kind, None, None)), None, None],
        (None, None) => [None; 3],
    };
    all.into_iter().flatten()
}

impl DeviceEntry {
    /// Its devices.
    pub(in crate::plan) fn devices(&self) -> DeviceSet {
        (self.kind, self.major, self.minor)
    }

    /// Whether every device of `other` is one of these.
    pub(in crate::plan) fn covers(&self, other: &DeviceEntry) -> bool {
        let wider = |mine: Option<u32>, theirs: Option<u32>| mine.is_none() || mine == theirs;
        self.kind == other.kind && wider(self.major, other.major) && wider(self.minor, other.minor)
    }

    /// Whether some device belongs to both.
    fn meets(&self, other: &DeviceEntry) -> bool {
        let common = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        self.kind == other.kind && common(self.major, other.major) && common(self.minor, other.minor)
    }
}

/// Device access rules and the mechanism that enforces them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Devices {
    /// Access is not restricted: nothing is written or loaded.
    Unrestricted,
    /// The v1 devices controller.
    V1(DevicePolicy),
    /// An eBPF program on the v2 cgroup.
    Bpf(DevicePolicy),
}

/// Which devices may be used, and by what mechanism that is enforced.
///
/// An ordinary user may neither write the v1 devices controller nor load a device program, and needs neither:
/// without CAP_MKNOD on the host there are only the devices that were bound in.
pub fn plan_devices(resources: &Resources, layout: &Layout, privilege: Privilege) -> Result<Devices> {
    let policy = DevicePolicy::new(&resources.devices)?;
    if privilege == Privilege::Rootless || policy.allows_all() {
        return Ok(Devices::Unrestricted);
    }
    if layout.v1_with("devices").is_some() {
        // Rules the v1 controller cannot express are refused here, before anything is made.
        policy.v1_writes()?;
        return Ok(Devices::V1(policy));
    }
    if layout.unified.is_some() {
        return Ok(Devices::Bpf(policy));
    }
    Err(Error::new(
        Stage::Cgroup,
        "restrict devices: neither the v1 devices controller nor cgroup v2 is mounted on this host",
    ))
}

impl fmt::Display for Devices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Devices::Unrestricted => f.write_str("cgroup devices unrestricted"),
            Devices::V1(policy) => write!(f, "cgroup devices (v1 controller) {policy}"),
            Devices::Bpf(policy) => write!(f, "cgroup devices (eBPF) {policy}"),
        }
    }
}
