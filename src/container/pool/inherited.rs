//! What a process has from whoever made it. A member has that of its maker, so all makers of a pool have the same, and who claims
//! a member has it, too: what one caller brings along is never another's job's, and what a caller imposes on its children holds.
//!
//! Names are those of proc(5), namespaces(7), prctl(2) and of brisk's options. docs/DESIGN.md, "Pools", has the table of all that fork(2) and execve(2)
//! hand on, with what is not looked at here, and why.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;

use crate::container::options::Global;
use crate::error::{Context, Error, Result, Stage};
use crate::plan::systemd::driver::CgroupDriver;
use crate::proc;
use crate::spec::Spec;
use crate::sys::{self, inheritance, process};

/// By its name, what was inherited.
pub(super) type Inheritance = BTreeMap<String, String>;

/// The fields of /proc/self/status.
const STATUS: &[&str] = &[
    "Umask",
    "Uid",
    "Gid",
    "Groups",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    SECCOMP,
    "Speculation_Store_Bypass",
    "SpeculationIndirectBranch",
];
const SECCOMP: &str = "Seccomp";
/// Files of /proc/self; one that is missing is a part that the kernel has not, and one that cannot be read, one that is switched off.
const FILES: &[&str] = &[
    CGROUP,
    "oom_score_adj",
    "coredump_filter",
    "loginuid",
    "sessionid",
    "cpu_resctrl_groups",
    "attr/current",
    "attr/apparmor/current",
    "attr/smack/current",
];
const CGROUP: &str = "cgroup";
/// Links of /proc/self. A waiting member's keeper is in all of them, so none of these numbers is given away meanwhile.
const NAMESPACES: &[&str] = &[
    "ns/user",
    "ns/mnt",
    "ns/pid",
    "ns/pid_for_children",
    "ns/net",
    "ns/ipc",
    "ns/uts",
    "ns/cgroup",
    "ns/time",
    "ns/time_for_children",
];
/// prctl(2); of another architecture's, the errno.
const ATTRIBUTES: &[(&str, i32)] = &[
    ("PR_GET_SECUREBITS", libc::PR_GET_SECUREBITS),
    ("PR_GET_TIMERSLACK", libc::PR_GET_TIMERSLACK),
    // Says, too, whether who asks by madvise(2) has them nevertheless (Linux 6.18), which /proc/self/status does not.
    ("PR_GET_THP_DISABLE", libc::PR_GET_THP_DISABLE),
    ("PR_MCE_KILL_GET", libc::PR_MCE_KILL_GET),
    ("PR_GET_MDWE", libc::PR_GET_MDWE),
    // The crate lacks these: linux/prctl.h.
    ("PR_GET_IO_FLUSHER", 58),
    ("PR_GET_TAGGED_ADDR_CTRL", 56),
    ("PR_GET_MEMORY_MERGE", 68),
    ("PR_SVE_GET_VL", 51),
    ("PR_SME_GET_VL", 64),
];

/// Everything that this process has, its child would, and `run` takes for the container.
pub(super) fn all(global: &Global) -> Result<Inheritance> {
    let mut all: Vec<(&str, String)> = proc::status::fields(STATUS).at(Stage::Process, || "read /proc/self/status")?;
    for name in FILES {
        let path = format!("/proc/self/{name}");
        all.push((name, optional(proc::file::read_record_text(&path)).at(Stage::Process, || format!("read {path}"))?));
    }
    for name in NAMESPACES {
        let path = format!("/proc/self/{name}");
        let link = std::fs::read_link(&path).map(|link| link.to_string_lossy().into_owned());
        all.push((name, optional(link).at(Stage::Namespace, || format!("read {path}"))?));
    }
    all.extend(ATTRIBUTES.iter().map(|(name, option)| (*name, answer(inheritance::attribute(*option)))));
    let root = std::fs::metadata("/").at(Stage::Process, || "examine /")?;
    all.extend([
        ("PR_GET_TSC", answer(inheritance::time_stamp_counter())),
        ("PR_SPEC_L1D_FLUSH", answer(inheritance::flushes_cache())),
        ("KEYCTL_SET_REQKEY_KEYRING", answer(inheritance::keyring_of_requests())),
        ("PR_SCHED_CORE_GET", answer(inheritance::core_cookie())),
        ("sched_getattr", answer(inheritance::scheduling())),
        ("ioprio_get", answer(inheritance::io_priority())),
        ("get_mempolicy", answer(inheritance::memory_policy())),
        ("personality", answer(process::personality())),
        ("root", format!("{}:{}", root.dev(), root.ino())),
        ("--cgroup-manager", format!("{:?}", global.cgroups)),
        ("--rootless", format!("{:?}", global.tolerance)),
        ("--trust-annotations", global.trusted_annotations().join(",")),
    ]);
    let limits = proc::file::read_record_text("/proc/self/limits").at(Stage::Process, || "read /proc/self/limits")?;
    // Names and values are in columns.
    let limits = limits.lines().skip(1).filter_map(|line| line.split_at_checked(26));
    let all = all.into_iter().chain(limits.map(|(name, value)| (name.trim_end(), value.trim_end().to_owned())));
    let mut inherited = Inheritance::new();
    inherited.extend(all.map(|(name, value)| (name.to_owned(), value)));
    Ok(inherited)
}

/// What of that a pool of this bundle has to keep.
pub(super) fn kept(mut all: Inheritance, spec: &Spec, driver: CgroupDriver) -> Inheritance {
    if has_own_place(spec, driver) {
        all.remove(CGROUP);
    }
    all
}

/// Whether the cgroups are below one that is named, and not below that of whoever makes them.
fn has_own_place(spec: &Spec, driver: CgroupDriver) -> bool {
    let named = spec.linux.as_ref().and_then(|linux| linux.cgroups_path.as_deref());
    driver == CgroupDriver::Systemd || named.is_some_and(|path| path.starts_with('/'))
}

/// The name of the first that this process has otherwise than those who make members of the pool.
pub(super) fn first_other(kept: &Inheritance, global: &Global) -> Result<Option<String>> {
    let own = all(global)?;
    Ok(kept.iter().find(|(name, value)| own.get(*name) != Some(value)).map(|(name, _)| name.clone()))
}

/// Refuses who would make members that are other than those of `pool create`.
pub(super) fn refuse_others(kept: &Inheritance, spec: &Spec, global: &Global) -> Result<()> {
    let other = match first_other(kept, global)? {
        None if kept.contains_key(CGROUP) == has_own_place(spec, global.cgroups) => {
            Some("linux.cgroupsPath".to_owned())
        }
        other => other,
    };
    let Some(other) = other else { return Ok(()) };
    let what = format!("the pool was created with another {other} than its members would have now");
    Err(Error::new(Stage::Process, what).with_hint("fill it as it was created, or create it anew from here"))
}

/// What is in a filter cannot be compared, so nobody has the same.
pub(super) fn refuse_what_cannot_be_compared(all: &Inheritance) -> Result<()> {
    match all.get(SECCOMP).map(String::as_str) {
        None | Some("" | "0") => Ok(()),
        Some(_) => Err(Error::new(Stage::Seccomp, "brisk itself runs under a filter of system calls").with_hint(
            "the members would have it, and nobody can tell whether a later caller's is the same: create the pool without",
        )),
    }
}

fn optional(text: io::Result<String>) -> io::Result<String> {
    match text {
        // EINVAL: a security module that is compiled in and not used; EACCES and ENOENT: none.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::InvalidInput) => Ok(String::new()),
        text => text,
    }
}

/// An errno is an answer, too: the kernel has not got it, for anybody.
fn answer<T: std::fmt::Debug>(result: sys::Result<T>) -> String {
    format!("{result:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cgroup::tolerance::Tolerance;
    use crate::state::{Caller, StateRoot};
    use std::path::Path;

    fn global() -> Global<'static> {
        Global {
            environment: crate::container::environment::Environment::default(),
            root: StateRoot::choose(
                Some(Path::new("/nowhere")),
                Path::new("/"),
                &Caller { real_root: true, runtime_dir: None },
            )
            .unwrap(),
            cgroups: CgroupDriver::Files,
            tolerance: Tolerance::default(),
            trust_annotations: None,
            warn: &|_| (),
            debug: None,
        }
    }

    fn spec(path: &str) -> Spec {
        serde_json::from_value(serde_json::json!({ "ociVersion": "1.3.0", "linux": { "cgroupsPath": path } })).unwrap()
    }

    #[test]
    fn all_is_known_and_stays() {
        let global = global();
        let all = all(&global).unwrap();
        let named = STATUS.len() + FILES.len() + NAMESPACES.len() + ATTRIBUTES.len();
        assert_eq!(all.len(), named + 12 + 16, "twelve by themselves, and the limits: {all:?}");
        for name in
            ["Umask", "CapBnd", "ns/mnt", "ns/time_for_children", "cgroup", "Max open files", "PR_GET_TIMERSLACK"]
        {
            assert!(!all[name].is_empty(), "{name}");
        }
        assert_eq!(first_other(&all, &global).unwrap(), None);
        let other = Global { cgroups: CgroupDriver::Systemd, ..global };
        assert_eq!(first_other(&all, &other).unwrap().as_deref(), Some("--cgroup-manager"));
    }

    #[test]
    fn each_is_compared() {
        let (global, all) = (global(), all(&global()).unwrap());
        for name in all.keys() {
            let other =
                all.iter().map(|(key, value)| (key.clone(), format!("{value}{}", if key == name { "x" } else { "" })));
            assert_eq!(first_other(&other.collect(), &global).unwrap().as_ref(), Some(name));
        }
    }

    #[test]
    fn the_cgroup_counts_where_those_of_members_are_below_it() {
        let global = global();
        let all = all(&global).unwrap();
        assert!(kept(all.clone(), &spec("relative"), CgroupDriver::Files).contains_key(CGROUP));
        assert!(!kept(all.clone(), &spec("a.slice:b:c"), CgroupDriver::Systemd).contains_key(CGROUP));
        let kept = kept(all, &spec("/absolute"), CgroupDriver::Files);
        assert!(!kept.contains_key(CGROUP));
        refuse_others(&kept, &spec("/absolute"), &global).unwrap();
        let error = refuse_others(&kept, &spec("relative"), &global).unwrap_err();
        assert!(error.to_string().contains("another linux.cgroupsPath"), "{error}");
    }

    #[test]
    fn nobody_has_the_same_filter() {
        let with = |mode: &str| Inheritance::from([(SECCOMP.to_owned(), mode.to_owned())]);
        refuse_what_cannot_be_compared(&with("0")).unwrap();
        assert!(refuse_what_cannot_be_compared(&with("2")).is_err());
    }
}
