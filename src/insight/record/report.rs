//! What was seen, as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use brisk::cli::args::RecordFor;
use brisk::cli::put::Word;
use brisk::error::printable;
use brisk::error::width;
use brisk::plan::process::caps;
use brisk::spec::seccomp::Seccomp;
use nix::errno::Errno;
use serde_json::{Value, json};

use super::calls::{self, MadeCall};
use super::filter::FilterVerdict;
use super::profile::{RecordedProfile, allowed};
use super::watch::SeenCalls;
use crate::looks::{Looks, Tone};

/// The version of the format.
const VERSION: u32 = 1;

/// Everything that there is to say.
pub struct RecordReport<'a> {
    pub id: &'a str,
    pub output: &'a Path,
    pub seen: &'a SeenCalls,
    pub added: &'a [&'static str],
    pub profile: &'a RecordedProfile,
    /// A profile and what it is called, of which is said what was not used.
    pub compared: Option<(String, Seccomp)>,
    pub runtime: RecordFor,
    /// The capabilities that the program was given, as a mask. The kernel looks for others, and finds them, where it does something
    /// with the credentials of somebody else: overlayfs with those of who mounted it. And in user namespaces that are the program's own.
    pub given: u64,
}

/// Calls of one name.
#[derive(Default)]
struct Named {
    architectures: BTreeSet<&'static str>,
    calls: u64,
}

impl RecordReport<'_> {
    fn named(&self) -> BTreeMap<&'static str, Named> {
        let mut named: BTreeMap<&'static str, Named> = BTreeMap::new();
        for (call, count) in &self.seen.calls {
            if let Some((arch, name)) = self.seen.names.get(*call) {
                let entry = named.entry(name).or_default();
                entry.architectures.insert(arch.name());
                entry.calls += count;
            }
        }
        named
    }

    /// What of the profile was not used, but for what the runtime may call by chance; none where there is no profile, or one that
    /// lets everything pass.
    fn never_used(&self) -> Option<(&str, Vec<&str>)> {
        let (name, profile) = self.compared.as_ref()?;
        let seen = self.seen.calls.keys().chain(self.seen.before.keys()).filter_map(|call| self.seen.names.get(*call));
        let used: BTreeSet<&str> = seen.map(|(_, name)| name).collect();
        let needed = |name: &&str| used.contains(name) || self.profile.runtime.contains(*name);
        Some((name, allowed(profile)?.into_iter().filter(|name| !needed(name)).collect()))
    }

    /// What is missing.
    fn incomplete(&self) -> Vec<String> {
        let lost = self.seen.capabilities.as_ref().map_or(0, |exercised| exercised.lost);
        let mut missing = Vec::new();
        if self.seen.more_nameless {
            missing.push("there were more calls without a name than are kept".to_owned());
        }
        let listeners = self.seen.lost_listeners;
        if listeners > 0 {
            missing.push(format!("{listeners} of those who handed over the listener of a filter were not heard"));
        }
        let interrupted = self.seen.interrupted;
        if interrupted > 0 {
            missing.push(format!(
                "a signal came {interrupted} times before a call was noted, which may be missing: run it again with --merge"
            ));
        }
        if lost > 0 {
            missing.push(format!("{lost} times it is not known which capability was looked for"));
        }
        missing
    }

    fn nameless(&self) -> impl Iterator<Item = (&MadeCall, &u64)> {
        self.seen.calls.iter().filter(|(call, _)| self.seen.names.get(**call).is_none())
    }

    fn name(&self, call: MadeCall) -> (&'static str, String) {
        match self.seen.names.get(call) {
            Some((arch, name)) => (arch.name(), name.to_owned()),
            None => (calls::arch_of(call), format!("#{}", call.number)),
        }
    }

    pub fn json(&self, status: u8) -> Value {
        let calls = |(name, named): (&&str, &Named)| json!({ "name": name, "architectures": named.architectures, "calls": named.calls });
        let refused = |((call, verdict), count): (&(MadeCall, FilterVerdict), &u64)| {
            let (arch, name) = self.name(*call);
            let errno = match verdict {
                FilterVerdict::Fails(errno) => Some(errno_name(*errno)),
                FilterVerdict::Kills | FilterVerdict::Passes => None,
            };
            json!({ "name": name, "architecture": arch, "errno": errno, "calls": count })
        };
        let nameless = |(call, count): (&MadeCall, &u64)| json!({ "architecture": calls::arch_of(*call), "number": call.number, "calls": count });
        let capabilities = self.seen.capabilities.as_ref().ok().map(|exercised| {
            json!({
                "used": caps::names_of(exercised.used & self.given),
                "denied": caps::names_of(exercised.denied),
                "neverUsed": caps::names_of(self.given & !exercised.used),
            })
        });
        let mut problems: Vec<String> =
            self.seen.capabilities.as_ref().err().map(|why| format!("capabilities: {why}")).into_iter().collect();
        problems.extend(self.incomplete());
        json!({
            "version": VERSION,
            "id": self.id,
            "status": status,
            "profile": self.output,
            "for": RecordFor::WORDS[self.runtime as usize],
            "syscalls": self.named().iter().map(calls).collect::<Vec<_>>(),
            "added": self.added,
            "runtime": self.profile.runtime,
            "unknown": self.nameless().map(nameless).collect::<Vec<_>>(),
            "refused": self.seen.refused.iter().map(refused).collect::<Vec<_>>(),
            "neverUsed": self.never_used().map(|(name, names)| json!({ "profile": name, "names": names })),
            "capabilities": capabilities,
            "problems": problems,
        })
    }

    pub fn lines(&self, looks: Looks) -> Vec<String> {
        let named = self.named();
        let times: u64 = named.values().map(|named| named.calls).sum();
        let summary = format!(
            "{}: {} system calls, made {times} times; {} allows {} by name",
            self.id,
            named.len(),
            printable(&self.output.display().to_string()),
            self.profile.allows()
        );
        let mut lines = words_in_lines(&summary.split(' ').map(str::to_owned).collect::<Vec<_>>(), 0, looks);
        let mut part = |title: &str, tone: Tone, words: Vec<String>| lines.extend(wrapped(title, tone, &words, looks));
        part("used", Tone::Plain, named.keys().map(|name| (*name).to_owned()).collect());
        if self.added.len() != named.len() {
            part("new", Tone::Plain, self.added.iter().map(|name| (*name).to_owned()).collect());
        }
        part("for the runtime", Tone::Faint, self.profile.runtime.iter().cloned().collect());
        part("other numbers", Tone::Warning, self.nameless().map(|(call, _)| call.number.to_string()).collect());
        let refused = |((call, verdict), count): (&(MadeCall, FilterVerdict), &u64)| {
            let how = match verdict {
                FilterVerdict::Fails(errno) => errno_name(*errno),
                FilterVerdict::Kills | FilterVerdict::Passes => "killed".to_owned(),
            };
            format!("{} ({how}, {count})", self.name(*call).1)
        };
        part("refused", Tone::Alarm, self.seen.refused.iter().map(refused).collect());
        if let Some((name, names)) = self.never_used() {
            let names =
                if names.is_empty() { vec!["nothing".to_owned()] } else { names.into_iter().map(printable).collect() };
            part(&format!("never used of {}", printable(name)), Tone::Plain, names);
        }
        match &self.seen.capabilities {
            Ok(exercised) => {
                let short =
                    |mask| caps::names_of(mask).iter().map(|name| name.trim_start_matches("CAP_").to_owned()).collect();
                part("capabilities used", Tone::Plain, short(exercised.used & self.given));
                part("denied", Tone::Warning, short(exercised.denied));
                part("never used", Tone::Plain, short(self.given & !exercised.used));
            }
            Err(why) => part("capabilities", Tone::Faint, vec![format!("not known: {}", printable(why))]),
        }
        for what in self.incomplete() {
            part("but", Tone::Warning, what.split(' ').map(str::to_owned).collect());
        }
        lines
    }
}

/// As in C, or the number where it is none.
fn errno_name(errno: i32) -> String {
    match Errno::from_raw(errno) {
        Errno::UnknownErrno => errno.to_string(),
        errno => format!("{errno:?}"),
    }
}

/// A title, and below it words; nothing where there are none.
fn wrapped(title: &str, tone: Tone, words: &[String], looks: Looks) -> Vec<String> {
    const INDENT: usize = 4;
    if words.is_empty() {
        return Vec::new();
    }
    let title = crate::table::cut(&format!("  {title}"), looks.width.unwrap_or(usize::MAX), looks);
    let lines = words_in_lines(words, INDENT, looks);
    let painted = lines.iter().map(|line| format!("{:INDENT$}{}", "", looks.paint(tone, line.trim_start())));
    std::iter::once(looks.paint(Tone::Title, &title)).chain(painted).collect()
}

/// Words beside and below each other.
fn words_in_lines(words: &[String], indent: usize, looks: Looks) -> Vec<String> {
    let room = looks.width.unwrap_or(usize::MAX);
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        let word = crate::table::cut(word, room.saturating_sub(indent), looks);
        match lines.last_mut() {
            Some(line) if width(line) + 1 + width(&word) <= room => *line = format!("{line} {word}"),
            _ => lines.push(format!("{:indent$}{word}", "")),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use brisk::plan::seccomp::Arch;
    use brisk::sys::notify::CallData;

    use super::super::calls::{CallNames, FilterLoad};
    use super::super::capabilities::Exercised;
    use super::*;
    use crate::stats::tests::view;

    fn made(arch: Arch, name: &str) -> MadeCall {
        let id = brisk::plan::seccomp::SyscallId::from_name(name).unwrap();
        number(arch, arch.number(id).unwrap())
    }

    fn number(arch: Arch, nr: u32) -> MadeCall {
        MadeCall::of(&CallData { nr: nr.cast_signed(), arch: arch.token(), ..CallData::default() })
    }

    fn seen() -> SeenCalls {
        let native =
            ["brk", "close", "execve", "exit_group", "mmap", "openat", "prlimit64", "read", "rt_sigaction", "write"];
        let mut calls: BTreeMap<MadeCall, u64> = native.iter().map(|name| (made(Arch::X86_64, name), 3)).collect();
        calls.insert(made(Arch::X86, "socketcall"), 1);
        calls.insert(made(Arch::X86, "read"), 1);
        calls.insert(number(Arch::X86_64, 5000), 2);
        SeenCalls {
            names: CallNames::new(),
            calls,
            before: [(made(Arch::X86_64, "setuid"), 1)].into(),
            refused: [
                ((made(Arch::X86_64, "mount"), FilterVerdict::Fails(libc::EPERM)), 4),
                ((number(Arch::X86, 4000), FilterVerdict::Kills), 1),
            ]
            .into(),
            more_nameless: true,
            lost_listeners: 0,
            interrupted: 0,
            capabilities: Ok(Exercised { used: 1 << 0, denied: 1 << 21, lost: 3 }),
        }
    }

    #[test]
    fn it_fits_each_width() {
        let seen = seen();
        let mut profile = RecordedProfile::default();
        profile.names.insert("read".to_owned());
        let added = profile.add(&seen, RecordFor::Brisk, FilterLoad::Early);
        let allow = serde_json::json!({ "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [{ "names": ["read", "acct", "\u{1b}[2J", "setuid"], "action": "SCMP_ACT_ALLOW" }] });
        let compared = Some(("config.json".to_owned(), serde_json::from_value(allow).unwrap()));
        let output = Path::new("web\u{202e}.json");
        let report = RecordReport {
            id: "web1",
            output,
            seen: &seen,
            added: &added,
            profile: &profile,
            compared,
            runtime: RecordFor::Brisk,
            given: 0b101,
        };
        for width in [40, 80, 160] {
            let lines = report.lines(Looks { width: Some(width), ..Looks::PLAIN });
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
            view(&format!("record-{width}.txt"), &(lines.join("\n") + "\n"));
        }
        let colours = Looks { colours: true, ..Looks::PLAIN };
        assert!(report.lines(colours).join("\n").contains("\x1b["));
        view("record.json", &(crate::json::text(&report.json(7)).unwrap()));
        view("record-profile.json", &(crate::json::text(&profile.json()).unwrap()));
    }
}
