//! How long programs are and how soon they are made.

use std::time::{Duration, Instant};

use brisk::plan::seccomp::{Arch, CompileOptions, compile};
use brisk::spec::seccomp::{Arg, Rule, Seccomp};

use super::bpf::{self, Data};
use super::engines::{self, ENGINES};
use super::interpreter::{self, Call};
use super::random::Random;

#[test]
fn the_default_profiles_stay_within_their_budget() {
    for (engine, budget, steps) in [("docker", 240, 20), ("podman", 240, 20), ("containerd", 240, 20)] {
        let (_, json) = ENGINES.into_iter().find(|(name, _)| *name == engine).unwrap();
        let program = engines::program(&engines::profile(json), Arch::X86_64).filter;
        let depth = bpf::depth(&program);
        eprintln!("{engine}: {} instructions, at most {depth} on the way", program.len());
        assert!(program.len() <= budget, "{engine}: {} instructions\n{}", program.len(), bpf::text(&program));
        assert!(depth <= steps, "{engine}: {depth} instructions on the way");
    }
}

#[test]
fn compiling_takes_well_under_a_millisecond() {
    // An emulated processor is slower by a factor that nobody knows.
    if super::kernel::no_filters() {
        return;
    }
    for (engine, json) in ENGINES {
        let seccomp = engines::profile(json);
        let best = (0..50)
            .map(|_| {
                let start = Instant::now();
                std::hint::black_box(compile(&seccomp, &CompileOptions::default()).unwrap());
                start.elapsed()
            })
            .min()
            .unwrap();
        eprintln!("{engine}: {best:?}");
        // An unoptimised build is some ten times slower.
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 5 } else { 1 });
        assert!(best < limit, "{engine}: {best:?}");
    }
}

/// Values that differ in both halves.
fn value_of(i: u64) -> u64 {
    (i << 33) | (2 * i)
}

/// One call with many values, every second one allowed: a chain of about two instructions each.
fn many(count: u64) -> Seccomp {
    let arg = |value| Arg { index: 1, value, value_two: 0, op: "SCMP_CMP_EQ".to_owned() };
    let rule = |name: &str, args| Rule {
        names: vec![name.to_owned()],
        action: "SCMP_ACT_ALLOW".to_owned(),
        errno_ret: None,
        args,
    };
    let mut syscalls = vec![rule("read", vec![]), rule("openat2", vec![])];
    syscalls.extend((0..count).map(|i| rule("ioctl", vec![arg(value_of(i))])));
    Seccomp { default_action: "SCMP_ACT_ERRNO".to_owned(), syscalls, ..Seccomp::default() }
}

#[test]
fn jumps_reach_any_distance() {
    for count in (60..140).chain([250, 254, 255, 256, 257, 500, 1000]) {
        for archs in [&["SCMP_ARCH_X86"][..], &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]] {
            let mut seccomp = many(count);
            seccomp.architectures = archs.iter().map(|name| (*name).to_owned()).collect();
            let program = engines::program(&seccomp, Arch::X86_64).filter;
            let newest = interpreter::newest(&seccomp);
            for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Arm] {
                let bit = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
                for nr in [0, 1, 3, 16, 54, 514, 437, 438, 600] {
                    let data = Data { nr: nr | bit, arch: arch.token(), ..Data::default() };
                    let call = Call::new(&seccomp, &newest, Arch::X86_64, &data);
                    for value in [0, 1, 2, value_of(1), value_of(count - 1), value_of(count)] {
                        let data = Data { args: [0, value, 0, 0, 0, 0], ..data };
                        let expected = call.answer(&data.args);
                        assert_eq!(bpf::run(&program, &data, Arch::X86_64.endian()), expected, "{count} {data:x?}");
                    }
                }
            }
        }
    }
}

#[test]
fn big_profiles_mean_what_they_say() {
    let mut random = Random::new(0x5eed_0004);
    let (mut programs, mut longest) = (0, 0);
    for round in 0..24 {
        let archs =
            [&[Arch::X86_64, Arch::X86, Arch::X32][..], &[Arch::S390x, Arch::S390], &[Arch::Mips64, Arch::Mips]];
        let archs = archs[round % 3];
        let seccomp = random.big_profile(archs, 10 + 20 * round);
        let Ok(program) = compile(&seccomp, &CompileOptions { native: archs[0], ..CompileOptions::default() }) else {
            continue;
        };
        bpf::check(&program.filter);
        programs += 1;
        longest = longest.max(program.filter.len());
        let newest = interpreter::newest(&seccomp);
        for data in random.calls(&seccomp, archs) {
            let expected = Call::new(&seccomp, &newest, archs[0], &data).answer(&data.args);
            let actual = bpf::run(&program.filter, &data, archs[0].endian());
            assert_eq!(actual, expected, "{data:x?}\n{seccomp:#?}");
        }
    }
    // Some must be too long for one conditional jump many times over, and none for the kernel.
    assert!(programs > 20 && longest > 500, "{programs} programs, the longest of {longest} instructions");
}

#[test]
fn a_program_too_long_for_the_kernel_is_refused() {
    let error =
        compile(&many(3000), &CompileOptions { native: Arch::X86_64, ..CompileOptions::default() }).unwrap_err();
    assert!(error.to_string().contains("the kernel has room for 4096"), "{error}");
}

#[test]
fn equal_verdicts_are_one_range() {
    let seccomp = Seccomp { default_action: "SCMP_ACT_ALLOW".to_owned(), ..Seccomp::default() };
    let program = engines::program(&seccomp, Arch::Aarch64).filter;
    // Load the architecture, compare it, allow, kill.
    assert_eq!(program.len(), 4, "{}", bpf::text(&program));
}
