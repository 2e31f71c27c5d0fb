//! Device policies: what the v1 writes say, and what the eBPF program decides when it is run.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use brisk::plan::cgroup::bpf::*;
use brisk::plan::cgroup::devices::{Access, DeviceKind, DevicePolicy, DeviceVerdict, Devices};
use brisk::spec::resources::DeviceRule;

/// `allow c 1:3 rwm`; a number may be `*`.
fn rule(text: &str) -> DeviceRule {
    let words: Vec<&str> = text.split([' ', ':']).collect();
    let number = |word: &str| (word != "*").then(|| word.parse().unwrap());
    DeviceRule {
        allow: words[0] == "allow",
        kind: Some(words[1].to_owned()),
        major: number(words[2]),
        minor: number(words[3]),
        access: Some(words[4].to_owned()),
    }
}

fn policy(rules: &[&str]) -> DevicePolicy {
    DevicePolicy::new(&rules.iter().map(|text| rule(text)).collect::<Vec<_>>()).unwrap()
}

/// Runs the program as the kernel does. Panics on what the verifier would refuse.
fn run(code: &[Insn], kind: DeviceKind, major: u32, minor: u32, access: u32) -> bool {
    let kind_bits = if kind == DeviceKind::Block { 1 } else { 2 };
    let context = [access << 16 | kind_bits, major, minor];
    let mut r = [None::<u64>; 11];
    let mut pc = 0;
    loop {
        let Insn { code, dst, src, off, imm } = code[pc];
        let (dst, src) = (usize::from(dst), usize::from(src));
        let wide = i64::from(imm) as u64;
        pc += 1;
        let jump = match code {
            LOAD => {
                assert_eq!(src, 1, "only the context is memory");
                r[dst] = Some(context[usize::try_from(off).unwrap() / 4].into());
                false
            }
            MOV => {
                r[dst] = Some(wide);
                false
            }
            MOV_REG => {
                r[dst] = r[src];
                false
            }
            AND => {
                r[dst] = Some(u64::from(r[dst].unwrap() as u32 & imm as u32));
                false
            }
            SHIFT_RIGHT => {
                r[dst] = Some(u64::from(r[dst].unwrap() as u32 >> imm));
                false
            }
            JUMP_EQUAL => r[dst].unwrap() == wide,
            JUMP_NOT_EQUAL => r[dst].unwrap() != wide,
            EXIT => return r[0].unwrap() == 1,
            other => panic!("unknown instruction {other:#x}"),
        };
        if jump {
            assert!(off >= 0, "a jump backwards");
            pc += usize::try_from(off).unwrap();
        }
    }
}

/// What the rules mean, said as simply as possible: every bit by the last rule that names it.
fn meaning(policy: &DevicePolicy, kind: DeviceKind, major: u32, minor: u32, access: u32) -> bool {
    (0..3).map(|bit| 1u8 << bit).filter(|bit| access & u32::from(*bit) != 0).all(|bit| {
        let last = policy.rules.iter().rev().find(|r| {
            r.kind == kind
                && r.major.is_none_or(|m| m == major)
                && r.minor.is_none_or(|m| m == minor)
                && r.access.0 & bit != 0
        });
        last.map_or(policy.default, |r| r.verdict) == DeviceVerdict::Allow
    })
}

const SETS: &[&[&str]] = &[
    &[],
    &["deny a *:* rwm"],
    &["allow a *:* rwm"],
    &["deny a *:* rwm", "allow c 10:229 rw", "allow b 8:* r"],
    &["allow c *:* rw", "deny c 10:* w", "allow c 10:229 w"],
    &["allow a *:* rwm", "deny b *:* rw", "deny c 1:3 w"],
    &["allow a 7:* r", "deny a *:1 r"],
    &["allow c 5:1 r", "allow c 5:* w", "allow c 3000000000:1 rwm"],
    &["allow a *:* r", "deny c *:* m"],
];

#[test]
fn the_program_means_what_the_rules_mean() {
    for set in SETS {
        let policy = policy(set);
        let code = program(&policy);
        assert!(code.len() < 4096, "the limit of kernels before 5.2");
        for kind in [DeviceKind::Block, DeviceKind::Char] {
            for major in [0, 1, 5, 7, 8, 10, 136, 4095] {
                for minor in [0, 1, 2, 3, 229, 200, 1_048_575] {
                    for access in 1..8 {
                        assert_eq!(
                            run(&code, kind, major, minor, access),
                            meaning(&policy, kind, major, minor, access),
                            "{set:?}: {kind:?} {major}:{minor} {access}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_is_allowed_by_default_but_the_default_devices() {
    let code = program(&policy(&["deny a *:* rwm"]));
    let rw = 6;
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, 9), (10, 200)] {
        assert!(run(&code, DeviceKind::Char, major, minor, rw), "{major}:{minor}");
    }
    for (kind, major, minor) in
        [(DeviceKind::Char, 10, 229), (DeviceKind::Char, 1, 1), (DeviceKind::Char, 5, 1), (DeviceKind::Block, 8, 0)]
    {
        assert!(!run(&code, kind, major, minor, 2));
        assert!(!run(&code, kind, major, minor, 4));
        assert!(run(&code, kind, major, minor, 1), "mknod of anything");
    }
}

fn v1(rules: &[&str]) -> Vec<String> {
    policy(rules).v1_writes().unwrap().iter().map(|w| format!("{} {}", w.file, w.value)).collect()
}

#[test]
fn v1_writes_are_minimal() {
    let default = v1(&["deny a *:* rwm"]);
    assert_eq!(default[0], "devices.deny a");
    assert_eq!(default.len(), 12);
    assert!(default.contains(&"devices.allow c 136:* rwm".to_owned()));
    assert_eq!(v1(&["deny a *:* rwm", "allow c 1:3 r", "allow c 1:3 w"]).len(), 12, "covered by the defaults");
    assert_eq!(v1(&["allow c 10:229 rw"])[1..3], ["devices.allow c 10:229 rw", "devices.allow c *:* m"]);
}

#[test]
fn v1_folds_what_it_can_and_refuses_what_it_cannot() {
    let writes = v1(&["allow c 10:229 rw", "allow b 8:0 rw", "deny b 8:* w"]);
    assert!(writes.contains(&"devices.allow b 8:0 r".to_owned()), "{writes:?}");
    let gone = v1(&["allow b 8:0 rw", "deny b *:* rw"]);
    assert!(!gone.iter().any(|w| w.contains("8:0")), "{gone:?}");
    let hole = policy(&["allow c 10:* rw", "deny c 10:229 w"]).v1_writes().unwrap_err();
    assert!(hole.to_string().contains("hole"), "{hole}");
    // The same is no problem for a program.
    let code = program(&policy(&["allow c 10:* rw", "deny c 10:229 w"]));
    assert!(run(&code, DeviceKind::Char, 10, 228, 4) && !run(&code, DeviceKind::Char, 10, 229, 4));
    assert_eq!(v1(&["allow a *:* rwm", "deny b 8:0 rw"]), ["devices.deny b 8:0 rw"]);
}

#[test]
fn a_wildcard_kind_with_numbers_is_not_everything() {
    let policy = policy(&["allow a 10:229 rwm"]);
    assert_eq!(policy.default, DeviceVerdict::Deny);
    assert!(!run(&program(&policy), DeviceKind::Block, 8, 0, 2));
    assert!(run(&program(&policy), DeviceKind::Block, 10, 229, 2));
}

#[test]
fn bad_rules_are_refused() {
    for (rule, text) in [
        (DeviceRule { allow: true, access: Some("x".into()), ..Default::default() }, "none of rwm"),
        (DeviceRule { allow: true, access: Some(String::new()), ..Default::default() }, "none of rwm"),
        (DeviceRule { allow: true, kind: Some("p".into()), ..Default::default() }, "not one of"),
        (DeviceRule { allow: true, major: Some(-2), ..Default::default() }, "out of range"),
        (DeviceRule { allow: true, minor: Some(1 << 32), ..Default::default() }, "out of range"),
    ] {
        let error = DevicePolicy::new(&[rule]).unwrap_err().to_string();
        assert!(error.contains(text) && error.contains("devices[0]"), "{error}");
    }
    let missing = DeviceRule { allow: true, ..Default::default() };
    assert!(DevicePolicy::new(&[missing]).unwrap().allows_all());
}

/// The default devices come after the rules of the configuration.
#[test]
fn a_denial_is_lifted_by_the_same_devices_alone() {
    let all = "allow a *:* rwm";
    for (denied, kind, major, minor, access) in [
        ("deny c 1:11 rwm", DeviceKind::Char, 1, 11, Access::MKNOD),
        ("deny b 8:0 m", DeviceKind::Block, 8, 0, Access::MKNOD),
        ("deny c 136:5 r", DeviceKind::Char, 136, 5, Access::READ),
    ] {
        let policy = policy(&[all, denied]);
        assert!(!meaning(&policy, kind, major, minor, u32::from(access.0)), "{denied}");
        assert!(!run(&program(&policy), kind, major, minor, u32::from(access.0)), "{denied}");
        assert_eq!(v1(&[all, denied]), [denied.replacen("deny ", "devices.deny ", 1)]);
    }
    for lifted in ["deny c 1:3 rwm", "deny c *:* m", "deny c 136:* rw"] {
        assert!(policy(&[all, lifted]).allows_all(), "{lifted}");
    }
    assert_eq!(v1(&[all, "deny c *:* rwm"]), ["devices.deny c *:* rw"]);
}

/// A list of an engine gone wrong, or of an attacker: every pass looks at each rule a few times.
#[test]
fn long_lists_of_rules_take_a_time_that_grows_with_them() {
    // Four times as many take four times as long, where quadratic work takes sixteen: whatever the machine, and however busy.
    let (few, many) = (time_for(5_000), time_for(20_000));
    assert!(many < few * 9, "{few:?} for 5,000, {many:?} for 20,000");
}

/// How much processor the best of three takes for so many rules.
fn time_for(count: i64) -> std::time::Duration {
    let rules: Vec<DeviceRule> = (0..count)
        .map(|n| DeviceRule {
            allow: n % 2 == 0,
            kind: Some("c".into()),
            major: Some(10 + n / 1000),
            minor: Some(n),
            access: Some("rw".into()),
        })
        .collect();
    let once = || {
        let start = crate::fuzz_corpus::cpu_time();
        let policy = DevicePolicy::new(&rules).unwrap();
        assert!(policy.v1_writes().unwrap().len() as i64 > count / 2);
        assert!(program(&policy).len() as i64 > count * 5);
        for devices in [Devices::V1(policy.clone()), Devices::Bpf(policy)] {
            assert_eq!(brisk::plan::systemd::properties::devices(&devices).len(), 2);
        }
        crate::fuzz_corpus::cpu_time() - start
    };
    (0..3).map(|_| once()).min().unwrap()
}
