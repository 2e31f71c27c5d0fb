//! libseccomp as the reference: its tables of system calls, and its programs for random profiles.
//!
//! Every program is run on calls around every value that a rule names. brisk's -ENOSYS for newer calls is runc's
//! addition, so those answers are set aside.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use brisk::plan::seccomp::{ALL_ARCHS, Arch, CompileOptions, Endian, SyscallId, compile, docker};
use brisk::spec::seccomp::Seccomp;
use brisk::sys::seccomp::Instruction;
use serde_json::{Value, json};

use super::bpf::{self, Data};
use super::interpreter::{self, Call};
use super::random::{Actions, Random};

/// The answer of libseccomp.py, or `None` after saying why there is none.
fn ask(request: &Value) -> Option<Value> {
    let skip = |why: &str| -> Option<Value> {
        crate::skip(why);
        None
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seccomp/libseccomp.py");
    let python = Command::new("/usr/bin/python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut python) = python else {
        return skip("no /usr/bin/python3");
    };
    python.stdin.take().unwrap().write_all(request.to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    if let Some(why) = text.strip_prefix("SKIP ") {
        return skip(why);
    }
    assert!(output.status.success(), "libseccomp.py failed");
    Some(serde_json::from_str(&text).unwrap())
}

fn short(arch: Arch) -> &'static str {
    arch.name().strip_prefix("SCMP_ARCH_").unwrap()
}

#[test]
fn the_tables_know_all_that_libseccomp_knows() {
    let names: Vec<&str> = ALL_ARCHS.iter().map(|arch| short(*arch)).collect();
    let Some(answer) = ask(&json!({ "numbers": names })) else { return };
    let answer: BTreeMap<String, Option<BTreeMap<String, u32>>> = serde_json::from_value(answer).unwrap();
    let mut compared = 0;
    for arch in ALL_ARCHS {
        let Some(theirs) = &answer[short(arch)] else {
            // An older libseccomp than brisk knows fewer.
            continue;
        };
        for (name, number) in theirs {
            let ours = SyscallId::from_name(name).and_then(|id| arch.number(id));
            assert_eq!(ours, Some(*number), "{name} on {arch:?}");
            compared += 1;
        }
        // Numbers that libseccomp knows under no name may only be newer calls: those are never below 400.
        for id in SyscallId::all() {
            if let Some(number) = arch.number(id)
                && !theirs.values().any(|known| *known == number)
            {
                assert!(arch_local(arch, number) >= 335 || id.name() == "riscv_hwprobe", "{} on {arch:?}", id.name());
            }
        }
    }
    assert!(compared > 5000, "{compared} numbers");
}

fn arch_local(arch: Arch, number: u32) -> u32 {
    let base = match arch {
        Arch::X32 => 0x4000_0000,
        Arch::Mips | Arch::Mipsel => 4000,
        Arch::Mips64 | Arch::Mipsel64 => 5000,
        Arch::Mips64n32 | Arch::Mipsel64n32 => 6000,
        _ => 0,
    };
    number - base
}

/// The request for one profile.
fn profile(seccomp: &Seccomp, archs: &[Arch]) -> Value {
    let rules = seccomp.syscalls.iter().flat_map(|rule| {
        rule.names.iter().map(move |name| {
            let args: Vec<Value> = rule
                .args
                .iter()
                .map(|arg| json!({"index": arg.index, "op": arg.op, "value": arg.value, "valueTwo": arg.value_two}))
                .collect();
            json!({"name": name, "action": interpreter::value(&rule.action, rule.errno_ret), "args": args})
        })
    });
    json!({
        "archs": archs.iter().map(|arch| short(*arch)).collect::<Vec<_>>(),
        "default": interpreter::value(&seccomp.default_action, seccomp.default_errno_ret),
        "rules": rules.collect::<Vec<_>>(),
    })
}

/// libseccomp writes the byte order of the architecture.
fn decode(bytes: &Value, endian: Endian) -> Vec<Instruction> {
    let bytes: Vec<u8> = serde_json::from_value(bytes.clone()).unwrap();
    let decode = |b: &[u8]| {
        let (code, k) = ([b[0], b[1]], [b[4], b[5], b[6], b[7]]);
        match endian {
            Endian::Big => Instruction { code: u16::from_be_bytes(code), jt: b[2], jf: b[3], k: u32::from_be_bytes(k) },
            Endian::Little => {
                Instruction { code: u16::from_le_bytes(code), jt: b[2], jf: b[3], k: u32::from_le_bytes(k) }
            }
        }
    };
    bytes.chunks_exact(8).map(decode).collect()
}

// Not x32 without x86_64: there libseccomp 2.5 forgets to load the number and compares the architecture instead.
const FAMILIES: [&[Arch]; 9] = [
    &[Arch::X86_64, Arch::X86, Arch::X32],
    &[Arch::X86_64, Arch::X86],
    &[Arch::X86_64],
    &[Arch::Aarch64, Arch::Arm],
    &[Arch::S390x, Arch::S390],
    &[Arch::Ppc64, Arch::Ppc],
    &[Arch::Ppc64le, Arch::Riscv64],
    &[Arch::Mips64, Arch::Mips, Arch::Mips64n32],
    &[Arch::Mipsel64, Arch::Mipsel, Arch::Mipsel64n32],
];

/// How often brisk and libseccomp agreed.
#[derive(Debug, Default)]
struct Tally {
    programs: usize,
    /// libseccomp 2.5 hangs on some profiles ...
    hangs: usize,
    /// ... and for some compares the architecture with numbers of calls.
    broken: usize,
    refused_by_both: usize,
    refused_by_libseccomp: usize,
    calls: usize,
    /// Answers of libseccomp that no rule gives: its program looks at a word that it has not loaded.
    libseccomp_wrong: usize,
    /// Of several rules that hold, another one counts.
    ordered_differently: usize,
}

fn compare(seed: u64, count: usize, actions: Actions) -> Option<Tally> {
    let mut random = Random::new(seed);
    let profiles: Vec<(Seccomp, &[Arch])> = (0..count)
        .map(|_| {
            let archs = random.pick(&FAMILIES);
            (random.profile(archs, actions), archs)
        })
        .collect();
    let request: Vec<Value> = profiles.iter().map(|(seccomp, archs)| profile(seccomp, archs)).collect();
    let answers = ask(&json!({ "profiles": request }))?;
    let mut tally = Tally::default();
    for ((seccomp, archs), theirs) in profiles.iter().zip(answers.as_array().unwrap()) {
        let native = archs[0];
        let ours = compile(seccomp, &CompileOptions { native, ..CompileOptions::default() });
        let Some(theirs) = theirs.get("bpf") else {
            // EEXIST is the one refusal that a profile of known words can bring about.
            if theirs["error"] == "hangs" {
                tally.hangs += 1;
                continue;
            }
            assert_eq!(theirs["error"], "-17", "{seccomp:#?}");
            match ours {
                Ok(_) => tally.refused_by_libseccomp += 1,
                Err(_) => tally.refused_by_both += 1,
            }
            continue;
        };
        let theirs = decode(theirs, native.endian());
        let ours = ours.unwrap_or_else(|error| panic!("{error}: {seccomp:#?}")).filter;
        bpf::check(&ours);
        if forgets_the_number(&theirs, archs) {
            tally.broken += 1;
            continue;
        }
        tally.programs += 1;
        let newest = interpreter::newest(seccomp);
        for data in random.calls(seccomp, archs) {
            let allowed = Call::new(seccomp, &newest, native, &data).answers(&data.args);
            let (a, b) = (bpf::run(&ours, &data, native.endian()), bpf::run(&theirs, &data, native.endian()));
            assert!(allowed.contains(&a), "{a:#x} for {data:x?}: {seccomp:#?}\n{}", bpf::text(&ours));
            tally.calls += 1;
            if a == b || hidden(seccomp, &newest, native, (&data, a)) {
                continue;
            }
            if allowed.contains(&b) {
                tally.ordered_differently += 1;
                show(seccomp, &data, (&ours, &theirs));
            } else {
                // No rule that holds says so.
                tally.libseccomp_wrong += 1;
            }
        }
    }
    Some(tally)
}

/// With SECCOMP_SHOW in the environment, all there is to know about a difference.
fn show(seccomp: &Seccomp, data: &Data, (ours, theirs): (&[Instruction], &[Instruction])) {
    if std::env::var_os("SECCOMP_SHOW").is_some() {
        let json = serde_json::to_string_pretty(seccomp).unwrap();
        panic!("{data:x?}: brisk 0x, libseccomp\n{json}\n{}\n{}", bpf::text(ours), bpf::text(theirs));
    }
}

/// Whether libseccomp has left out the load of the number after the choice of the architecture.
fn forgets_the_number(program: &[Instruction], archs: &[Arch]) -> bool {
    let tokens: Vec<u32> = archs.iter().map(|arch| arch.token()).collect();
    program.iter().enumerate().any(|(pc, i)| {
        let Some(next) = program.get(pc + 1 + usize::from(i.jt)) else { return false };
        i.code == 0x15 && tokens.contains(&i.k) && ![0x20, 0x06, 0x05].contains(&next.code)
    })
}

/// Whether the answer is runc's ENOSYS for newer calls.
fn hidden(seccomp: &Seccomp, newest: &BTreeMap<Arch, u32>, native: Arch, (data, answer): (&Data, u32)) -> bool {
    let newest = interpreter::arch_of(seccomp, native, data).and_then(|arch| newest.get(&arch));
    let setup = [Arch::S390.token(), Arch::S390x.token()].contains(&data.arch) && data.nr == 0;
    answer == interpreter::ENOSYS && newest.is_some_and(|newest| data.nr > *newest || setup)
}

#[test]
fn random_profiles_mean_what_libseccomp_makes_of_them() {
    let Some(tally) = compare(0x5eed_0001, 300, Actions::OnePerCall) else { return };
    eprintln!("{tally:?}");
    assert!(tally.programs > 200 && tally.calls > 100_000, "{tally:?}");
    assert_eq!(tally.ordered_differently, 0);
    assert!(tally.libseccomp_wrong * 1000 < tally.calls, "{tally:?}");
}

#[test]
fn contradicting_rules_are_ordered_as_by_libseccomp() {
    let Some(tally) = compare(0x5eed_0002, 300, Actions::Any) else { return };
    eprintln!("{tally:?}");
    assert!(tally.programs > 150, "{tally:?}");
    assert!(tally.libseccomp_wrong * 1000 < tally.calls, "{tally:?}");
    // Where the conditions are of one class on one argument and the high halves of their values are equal, the tree
    // in libseccomp goes by the order of the profile; brisk's order is that of the whole values.
    assert!(tally.ordered_differently * 1000 < tally.calls, "{tally:?}");
}

/// Docker's profile, with socketcall(2) and ipc(2), whose sub-calls libseccomp adds for the names of rules.
#[test]
fn dockers_profile_is_what_libseccomp_makes_of_it() {
    // Of s390x libseccomp 2.5 writes some answers in the wrong byte order.
    let natives = [Arch::X86_64, Arch::Aarch64];
    let profiles: Vec<(Seccomp, Vec<Arch>)> = natives
        .iter()
        .map(|native| {
            let profile = docker::profile(*native);
            let others = profile.architectures.iter().map(|name| Arch::from_name(name).unwrap());
            let others: Vec<Arch> = others.filter(|arch| arch != native).collect();
            (profile, [&[*native], &others[..]].concat())
        })
        .collect();
    let request: Vec<Value> = profiles.iter().map(|(seccomp, archs)| profile(seccomp, archs)).collect();
    let Some(answers) = ask(&json!({ "profiles": request })) else { return };
    let names: Vec<&str> = profiles.iter().flat_map(|(_, archs)| archs).map(|arch| short(*arch)).collect();
    // An older libseccomp than brisk knows fewer.
    let known = ask(&json!({ "numbers": names })).unwrap();
    let mut compared = 0;
    for ((seccomp, archs), theirs) in profiles.iter().zip(answers.as_array().unwrap()) {
        let native = archs[0];
        let ours = compile(seccomp, &CompileOptions { native, ..CompileOptions::default() }).unwrap().filter;
        let theirs = decode(theirs.get("bpf").unwrap_or_else(|| panic!("{native:?}: {theirs}")), native.endian());
        let newest = interpreter::newest(seccomp);
        for arch in archs {
            let known = SyscallId::all().filter(|id| known[short(*arch)].get(id.name()).is_some());
            let numbers = known.filter_map(|id| arch.number(id));
            for (nr, arg) in numbers.flat_map(|nr| DOCKERS_ARGS.map(|arg| (nr, arg))) {
                let data = Data { nr, arch: arch.token(), args: [arg, arg, 0, arg, 0, arg], ..Data::default() };
                let (a, b) = (bpf::run(&ours, &data, native.endian()), bpf::run(&theirs, &data, native.endian()));
                if !hidden(seccomp, &newest, native, (&data, a)) {
                    assert_eq!(a, b, "{arch:?} call {nr} with {arg:#x}");
                }
                compared += 1;
            }
        }
    }
    assert!(compared > 50_000, "{compared}");
}

/// All sub-calls, families around those that are refused, personalities, flags of clone(2).
const DOCKERS_ARGS: [u64; 47] = [
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    19,
    20,
    21,
    22,
    23,
    24,
    37,
    38,
    39,
    40,
    41,
    0x1_0000,
    0x1_0001,
    0x2_0000,
    0x2_0008,
    0x0200_0000,
    0x0400_0000,
    0x0800_0000,
    0x1000_0000,
    0x2000_0000,
    0x4000_0000,
    0x7e02_0000,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0026,
    0x8000_0000_0000_0000,
    u64::MAX,
];
