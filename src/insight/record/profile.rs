//! The profile that is written: nothing is allowed but what was called, and what the runtime calls itself.

use std::collections::BTreeSet;
use std::path::Path;

use brisk::cli::args::RecordFor;
use brisk::error::printable;
use brisk::error::{Error, LONGEST_NAME, Result, Stage, bounded};
use brisk::plan::seccomp::{Arch, Width};
use brisk::spec;
use brisk::spec::seccomp::Seccomp;
use serde_json::{Value, json};

use crate::svg::NamedFile;

use super::calls::{self, FilterLoad};
use super::watch::SeenCalls;

const ALLOW: &str = "SCMP_ACT_ALLOW";
const ERRNO: &str = "SCMP_ACT_ERRNO";

/// Names alone: what a call was given is not part of it.
#[derive(Debug, Default)]
pub struct RecordedProfile {
    /// `SCMP_ARCH_*`.
    architectures: BTreeSet<String>,
    /// What programs called: the first rule.
    pub names: BTreeSet<String>,
    /// What the runtime calls itself, where no program did: the second.
    pub runtime: BTreeSet<String>,
}

impl RecordedProfile {
    /// One that `record` has written; where there is none, one that allows nothing.
    pub fn read(file: &NamedFile, path: &Path, warn: &dyn Fn(&str)) -> Result<RecordedProfile> {
        let Some(text) = file.read(spec::LONGEST + 1)? else { return Ok(RecordedProfile::default()) };
        let value: Value = spec::read_json(text.as_slice(), &path.to_string_lossy(), warn)?;
        if let Some(field) = strange(&value) {
            let what = format!("{} is no profile that record has written: {field}", path.display());
            return Err(Error::new(Stage::Seccomp, what)
                .with_hint("one that refuses by default and allows names without conditions can be added to"));
        }
        // Once more from the text: of a field that is there twice the value above has the last alone, and this is an error then.
        let profile: Seccomp = spec::read_json(text.as_slice(), &path.to_string_lossy(), warn)?;
        let Seccomp { architectures, syscalls, .. } = profile;
        let mut rules = syscalls.into_iter().map(|rule| rule.names.into_iter().collect());
        Ok(RecordedProfile {
            architectures: architectures.into_iter().collect(),
            names: rules.next().unwrap_or_default(),
            runtime: rules.next().unwrap_or_default(),
        })
    }

    /// Allows what was seen; the names that programs called and that were not in it.
    pub fn add(&mut self, seen: &SeenCalls, runtime: RecordFor, load: FilterLoad) -> Vec<&'static str> {
        let used: Vec<(Arch, &'static str)> = seen.calls.keys().filter_map(|call| seen.names.get(*call)).collect();
        let mut archs: BTreeSet<Arch> = used.iter().map(|(arch, _)| *arch).collect();
        archs.insert(Arch::NATIVE);
        let has_32_bit = archs.iter().any(|arch| arch.width() == Width::Half);
        self.architectures.extend(archs.iter().map(|arch| arch.name().to_owned()));
        let mut added: Vec<&'static str> = used.iter().map(|(_, name)| *name).collect();
        added.retain(|name| self.names.insert((*name).to_owned()));
        added.sort_unstable();
        let of_brisk = load == FilterLoad::Early && matches!(runtime, RecordFor::Brisk | RecordFor::Any);
        let before = seen.before.keys().filter(|_| of_brisk).filter_map(|call| seen.names.get(*call));
        let own = calls::of_runtimes(runtime, load)
            .chain(has_32_bit.then_some(calls::ALWAYS_32))
            .chain(before.map(|(_, name)| name));
        self.runtime.extend(own.map(str::to_owned));
        self.runtime.retain(|name| !self.names.contains(name));
        added
    }

    /// Whether it allows a call.
    pub fn allows(&self) -> usize {
        self.names.len() + self.runtime.len()
    }

    /// As `linux.seccomp` has it.
    pub fn json(&self) -> Value {
        let rules = [&self.names, &self.runtime].into_iter().filter(|names| !names.is_empty());
        let rules: Vec<Value> = rules.map(|names| json!({ "names": names, "action": ALLOW })).collect();
        json!({
            "defaultAction": ERRNO,
            "defaultErrnoRet": libc::EPERM,
            "architectures": self.architectures,
            "syscalls": rules,
        })
    }
}

/// A field that has another value than `record` writes, or that it does not write: it would be lost, or change its meaning.
fn strange(profile: &Value) -> Option<String> {
    let Some(fields) = profile.as_object() else { return Some("no object".to_owned()) };
    // Those of one byte order have one filter (`plan::seccomp`).
    let of_a_filter = |arch: &Arch| arch.endian() == Arch::NATIVE.endian();
    let known_arch = |name: &Value| name.as_str().and_then(Arch::from_name).is_some_and(|arch| of_a_filter(&arch));
    for (field, value) in fields {
        match field.as_str() {
            "defaultAction" if value == ERRNO => {}
            "defaultErrnoRet" if *value == libc::EPERM => {}
            "architectures" => {
                if let Some(item) = stranger(value, known_arch) {
                    return Some(format!("architectures{item}"));
                }
            }
            "syscalls" if value.as_array().is_some_and(|rules| rules.len() <= 2) => {
                for (index, rule) in value.as_array().into_iter().flatten().enumerate() {
                    let odd = |(field, value): (&String, &Value)| match field.as_str() {
                        "names" => stranger(value, is_name).map(|item| format!("names{item}")),
                        "action" if *value == ALLOW => None,
                        _ => Some(shown(field)),
                    };
                    let Some(rule) = rule.as_object() else { return Some(format!("syscalls[{index}]")) };
                    if let Some(field) = rule.iter().find_map(odd) {
                        return Some(format!("syscalls[{index}].{field}"));
                    }
                    if let Some(field) = ["action", "names"].into_iter().find(|field| !rule.contains_key(*field)) {
                        return Some(format!("syscalls[{index}].{field} is missing"));
                    }
                }
            }
            _ => return Some(shown(field)),
        }
    }
    (!fields.contains_key("defaultAction")).then(|| "defaultAction is missing".to_owned())
}

/// The name of a field that is somebody else's.
fn shown(field: &str) -> String {
    printable(&bounded(field, LONGEST_NAME))
}

/// The position in a list, in brackets, of what is not as `known` has it; nothing where there is no list.
fn stranger(list: &Value, known: impl Fn(&Value) -> bool) -> Option<String> {
    let Some(list) = list.as_array() else { return Some(String::new()) };
    list.iter().position(|item| !known(item)).map(|index| format!("[{index}]"))
}

/// Whether a system call may be called so: one of a later kernel, too.
fn is_name(name: &Value) -> bool {
    let of_names = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.as_str().is_some_and(|name| !name.is_empty() && name.bytes().all(of_names))
}

/// What a profile lets pass of its own accord: names of its rules; none where that is everything.
pub fn allowed(profile: &Seccomp) -> Option<BTreeSet<&str>> {
    let passes = |action: &str| matches!(action, ALLOW | "SCMP_ACT_LOG" | "SCMP_ACT_NOTIFY" | "SCMP_ACT_TRACE");
    if passes(&profile.default_action) {
        return None;
    }
    let rules = profile.syscalls.iter().filter(|rule| passes(&rule.action));
    Some(rules.flat_map(|rule| &rule.names).map(String::as_str).collect())
}
