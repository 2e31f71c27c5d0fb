//! How long programs are and how soon they are made.

use std::time::{Duration, Instant};

use brisk::plan::seccomp::{Arch, CompileOptions, compile};
use brisk::spec::seccomp::{Arg, Rule, Seccomp};

use super::bpf::{self, Data};
use super::engines::{self, ENGINES};
use super::interpreter::Call;

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
    syscalls.extend((0..count).map(|i| rule("ioctl", vec![arg((i << 33) | (i * 2))])));
    Seccomp { default_action: "SCMP_ACT_ERRNO".to_owned(), syscalls, ..Seccomp::default() }
}

#[test]
fn jumps_reach_any_distance() {
    for count in (60..140).chain([250, 254, 255, 256, 257, 500, 1000]) {
        for archs in [&["SCMP_ARCH_X86"][..], &["SCMP_ARCH_X86", "SCMP_ARCH_X32"]] {
            let mut seccomp = many(count);
            seccomp.architectures = archs.iter().map(|name| (*name).to_owned()).collect();
            let program = engines::program(&seccomp, Arch::X86_64).filter;
            for arch in [Arch::X86_64, Arch::X86, Arch::X32, Arch::Arm] {
                let bit = if arch == Arch::X32 { 0x4000_0000 } else { 0 };
                for nr in [0, 1, 3, 16, 54, 514, 437, 438, 600] {
                    let call = Call::new(&seccomp, Arch::X86_64, arch.token(), nr | bit);
                    for value in
                        [0, 1, 2, (1 << 33) | 2, ((count - 1) << 33) | ((count - 1) * 2), (count << 33) | (count * 2)]
                    {
                        let data = Data { nr: nr | bit, arch: arch.token(), ip: 0, args: [0, value, 0, 0, 0, 0] };
                        let expected = call.answer(&data.args);
                        assert_eq!(bpf::run(&program, &data, Arch::X86_64.endian()), expected, "{count} {data:x?}");
                    }
                }
            }
        }
    }
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
