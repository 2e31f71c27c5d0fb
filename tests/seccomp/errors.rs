//! What is refused, what is warned of, which flags are loaded.

use brisk::plan::seccomp::{
    ACTIONS, ARCHS, Arch, CompileOptions, FLAGS, OPERATORS, Program, UnknownSyscalls, compile, is_enabled,
};
use brisk::spec::seccomp::Seccomp;
use brisk::sys::seccomp as sys;
use serde_json::{Value, json};

use super::bpf::{self, Data};

fn options() -> CompileOptions {
    CompileOptions { native: Arch::X86_64, ..CompileOptions::default() }
}

fn parse(value: Value) -> Seccomp {
    serde_json::from_value(value).unwrap()
}

fn compiled(value: Value) -> Program {
    compile(&parse(value), &options()).unwrap()
}

fn refused(value: Value, options: &CompileOptions) -> String {
    compile(&parse(value), options).unwrap_err().to_string()
}

/// A profile of one rule.
fn rule(rule: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ERRNO", "listenerPath": "/run/agent", "syscalls": [rule]})
}

fn answer(program: &Program, nr: u32) -> u32 {
    let data = Data { nr, arch: Arch::X86_64.token(), ip: 0, args: [0; 6] };
    bpf::run(&program.filter, &data, Arch::X86_64.endian())
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let cases = [
        (json!({"defaultAction": "SCMP_ACT_NOTIFY"}), "cannot be the default action"),
        (json!({"defaultAction": "SCMP_ACT_MAYBE"}), "unknown action \"SCMP_ACT_MAYBE\""),
        (json!({"defaultAction": "SCMP_ACT_KILL", "defaultErrnoRet": 1}), "SCMP_ACT_KILL has no errno"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_VAX"]}), "SCMP_ARCH_VAX"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_S390X"]}), "differ in byte order"),
        (json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]}), "unknown flag"),
        (rule(json!({"names": ["write"], "action": "SCMP_ACT_NOTIFY"})), "cannot be used for the write syscall"),
        (rule(json!({"names": [""], "action": "SCMP_ACT_ALLOW"})), "empty system call name"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1})), "has no errno"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4096})), "above 4095"),
        (rule(json!({"names": ["read"], "action": "SCMP_ACT_TRACE", "errnoRet": 65536})), "above 65535"),
        (
            rule(
                json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 6, "value": 0, "op": "SCMP_CMP_EQ"}]}),
            ),
            "not one of 0 to 5",
        ),
        (
            rule(
                json!({"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": 0, "op": "EQ"}]}),
            ),
            "unknown operator \"EQ\"",
        ),
        (
            json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}]}),
            "needs a listenerPath",
        ),
    ];
    for (profile, expected) in cases {
        let error = refused(profile, &options());
        assert!(error.starts_with("seccomp: ") && error.contains(expected), "{error:?} without {expected:?}");
    }
}

#[test]
fn the_same_arguments_with_two_actions_are_refused() {
    let args = json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    let error = refused(
        json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": args},
            {"names": ["read"], "action": "SCMP_ACT_TRAP", "args": args},
        ]}),
        &options(),
    );
    assert!(error.contains("two actions for the same arguments"), "{error}");
}

#[test]
fn an_old_kernel_is_told_apart() {
    let old = CompileOptions {
        kernel: [sys::RET_KILL_PROCESS, sys::RET_ERRNO, sys::RET_ALLOW]
            .into_iter()
            .fold(sys::Support::NONE.with_flags(sys::FLAG_LOG), sys::Support::with_action),
        ..options()
    };
    let error = refused(rule(json!({"names": ["read"], "action": "SCMP_ACT_NOTIFY"})), &old);
    assert!(error.contains("the kernel does not know SCMP_ACT_NOTIFY"), "{error}");
    let asked = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"]});
    let error = refused(asked, &old);
    assert!(error.contains("the kernel does not know SECCOMP_FILTER_FLAG_SPEC_ALLOW"), "{error}");
    assert_eq!(compile(&parse(json!({"defaultAction": "SCMP_ACT_ALLOW"})), &old).unwrap().flags, 0);
}

#[test]
fn flags_are_those_of_runc() {
    let flags = |value: Value| compiled(value).flags;
    assert_eq!(flags(json!({"defaultAction": "SCMP_ACT_ALLOW"})), sys::FLAG_SPEC_ALLOW);
    assert_eq!(flags(json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": []})), 0);
    let all = json!({"defaultAction": "SCMP_ACT_ALLOW", "flags": FLAGS});
    assert_eq!(flags(all.clone()), sys::FLAG_LOG | sys::FLAG_SPEC_ALLOW);
    assert!(compiled(all).warnings[0].contains("WAIT_KILLABLE_RECV has no effect"));
    let mut notify = rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}));
    assert_eq!(flags(notify.clone()), sys::FLAG_SPEC_ALLOW | sys::FLAG_NEW_LISTENER);
    notify["flags"] = json!(FLAGS);
    assert_eq!(
        flags(notify),
        sys::FLAG_LOG | sys::FLAG_SPEC_ALLOW | sys::FLAG_NEW_LISTENER | sys::FLAG_WAIT_KILLABLE_RECV
    );
}

#[test]
fn the_listener_goes_where_the_profile_says() {
    let notify = json!({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"});
    let mut profile = rule(notify);
    profile["listenerMetadata"] = json!("who");
    let program = compiled(profile.clone());
    let listener = program.receiver.as_ref().unwrap();
    assert_eq!((listener.path.as_str(), listener.metadata.as_deref()), ("/run/agent", Some("who")));
    assert_eq!(answer(&program, 83), sys::RET_USER_NOTIF);
    profile["listenerPath"] = json!("");
    let options = CompileOptions { receiver: Some("/run/other".to_owned()), ..options() };
    assert_eq!(compile(&parse(profile), &options).unwrap().receiver.unwrap().path, "/run/other");
    assert_eq!(compiled(rule(json!({"names": ["mkdir"], "action": "SCMP_ACT_ALLOW"}))).receiver, None);
}

#[test]
fn unknown_calls_are_ignored_or_refused() {
    let profile = rule(json!({"names": ["read", "time_travel"], "action": "SCMP_ACT_ALLOW"}));
    let program = compiled(profile.clone());
    assert_eq!(program.warnings, ["unknown system call \"time_travel\" ignored"]);
    let lost = compiled(json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "x" }));
    assert_eq!(lost.warnings, ["listenerMetadata is left out: there is no listenerPath"]);
    assert_eq!(answer(&program, 0), sys::RET_ALLOW);
    let strict = CompileOptions { unknown_syscalls: UnknownSyscalls::Refuse, ..options() };
    assert!(refused(profile, &strict).contains("unknown system call \"time_travel\""));
}

#[test]
fn errno_is_eperm_unless_given() {
    let profile = |default: Value, rule: Value| {
        compiled(json!({
            "defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": default,
            "syscalls": [{"names": ["read"], "action": "SCMP_ACT_ERRNO", "errnoRet": rule}],
        }))
    };
    let program = profile(Value::Null, Value::Null);
    assert_eq!((answer(&program, 0), answer(&program, 1)), (0x0005_0001, 0x7ff0_0001));
    let program = profile(json!(7), json!(38));
    assert_eq!((answer(&program, 0), answer(&program, 1)), (0x0005_0026, 0x7ff0_0007));
}

#[test]
fn every_action_is_the_kernels() {
    let values = [0x7fff_0000, 0x0005_0001, 0, 0x8000_0000, 0, 0x7ffc_0000, 0x7fc0_0000, 0x7ff0_0001, 0x0003_0000];
    for (name, value) in ACTIONS.iter().zip(values) {
        let program = compiled(json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 99, "listenerPath": "/run/agent",
            "syscalls": [{"names": ["read"], "action": name}],
        }));
        assert_eq!(answer(&program, 0), value, "{name}");
    }
}

#[test]
fn no_profile_is_not_an_empty_one() {
    assert!(!is_enabled(&parse(json!({"defaultAction": ""}))));
    assert!(is_enabled(&parse(json!({"defaultAction": "SCMP_ACT_ALLOW"}))));
}

#[test]
fn features_lists_all_words_of_the_spec() {
    assert_eq!((ACTIONS.len(), OPERATORS.len(), ARCHS.len(), FLAGS.len()), (9, 7, 23, 4));
    assert!(ACTIONS.is_sorted() && OPERATORS.is_sorted());
    for (index, name) in ARCHS.iter().enumerate() {
        assert_eq!(Arch::from_name(name).unwrap() as usize, index, "{name}");
    }
}

#[test]
fn this_kernel_takes_the_probe() {
    if super::kernel::no_filters() {
        return;
    }
    // Linux 5.0 and later know all actions; the machine that builds brisk is not older.
    let support = sys::probe();
    assert!(support.has_action(sys::RET_ALLOW) && support.has_action(sys::RET_USER_NOTIF), "{support:?}");
    assert!(support.has_flags(sys::FLAG_TSYNC | sys::FLAG_LOG | sys::FLAG_SPEC_ALLOW | sys::FLAG_NEW_LISTENER));
}
