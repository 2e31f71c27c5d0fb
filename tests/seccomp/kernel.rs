//! Programs in the running kernel. A filter is loaded for one thread and goes away with it.

use std::time::Instant;

use brisk::plan::seccomp::{Arch, CompileOptions, Program, compile};
use brisk::spec::seccomp::Seccomp;
use brisk::sys::seccomp as sys;
use nix::errno::Errno;
use serde_json::json;

use super::engines::{self, ENGINES};

/// Whether the test has to be skipped: qemu-user passes no seccomp(2) on.
pub fn no_filters() -> bool {
    let none = sys::probe() == sys::Support::NONE;
    if none {
        crate::skip("this kernel, or what emulates it, has no seccomp filters");
    }
    none
}

fn load(filter: &[sys::Instruction], flags: u64) -> Result<(), Errno> {
    let mut bytes = Vec::new();
    for sys::Instruction { code, jt, jf, k } in filter {
        bytes.extend(code.to_ne_bytes());
        bytes.extend([*jt, *jf]);
        bytes.extend(k.to_ne_bytes());
    }
    sys::load(&bytes, filter.len().try_into().unwrap(), flags)
}

/// Loads a program in a thread of its own, and then does something there.
fn under<T: Send>(program: &Program, then: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sys::prctl::set_no_new_privs().unwrap();
            let start = Instant::now();
            load(&program.filter, program.flags).unwrap();
            eprintln!("{} instructions loaded in {:?}", program.filter.len(), start.elapsed());
            then()
        });
        thread.join().unwrap()
    })
}

fn program(value: serde_json::Value) -> Program {
    let seccomp: Seccomp = serde_json::from_value(value).unwrap();
    compile(&seccomp, &CompileOptions { kernel: sys::probe(), ..CompileOptions::default() }).unwrap()
}

#[test]
fn the_kernel_takes_the_default_profiles() {
    if no_filters() {
        return;
    }
    for (_, json) in ENGINES {
        let program = engines::program(&engines::profile(json), Arch::NATIVE);
        let name = under(&program, || std::fs::read("/proc/self/comm"));
        assert!(!name.unwrap().is_empty());
    }
}

#[test]
fn a_rule_holds_in_the_kernel() {
    if no_filters() {
        return;
    }
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["uname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99}],
    }));
    assert_eq!(under(&program, nix::unistd::gethostname), Err(Errno::EADDRNOTAVAIL));
    assert!(nix::unistd::gethostname().is_ok());
}

#[test]
fn a_condition_holds_in_the_kernel() {
    if no_filters() {
        return;
    }
    const PR_GET_DUMPABLE: u64 = 3;
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["prctl"], "action": "SCMP_ACT_ERRNO", "errnoRet": 99,
            "args": [{"index": 0, "value": PR_GET_DUMPABLE, "op": "SCMP_CMP_EQ"}]}],
    }));
    let answers = under(&program, || (nix::sys::prctl::get_dumpable(), nix::sys::prctl::get_keepcaps()));
    assert_eq!(answers, (Err(Errno::EADDRNOTAVAIL), Ok(false)));
}

#[test]
fn a_listener_comes_back() {
    if no_filters() {
        return;
    }
    let program = program(json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
        "syscalls": [{"names": ["uname"], "action": "SCMP_ACT_NOTIFY"}],
    }));
    assert_eq!(program.flags & sys::FLAG_NEW_LISTENER, sys::FLAG_NEW_LISTENER);
    let listener = |entry: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_link(entry.unwrap().path()).is_ok_and(|link| link.ends_with("anon_inode:seccomp notify"))
    };
    // Nothing else in this process loads a filter with one.
    assert!(under(&program, || std::fs::read_dir("/proc/self/fd").unwrap().any(listener)));
}

#[test]
fn a_broken_program_is_einval() {
    if no_filters() {
        return;
    }
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            nix::sys::prctl::set_no_new_privs().unwrap();
            load(&[sys::Instruction { code: 0x05, jt: 0, jf: 0, k: 7 }], 0).unwrap_err()
        });
        assert_eq!(thread.join().unwrap(), Errno::EINVAL);
    });
}
