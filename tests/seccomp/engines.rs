//! The default profiles of Docker, Podman and containerd, on every architecture: every call, every argument that a
//! rule looks at.

use brisk::plan::seccomp::{ALL_ARCHS, Arch, CompileOptions, Program, SyscallId, compile};
use brisk::spec::seccomp::Seccomp;

use super::bpf::{self, Data};
use super::interpreter::{self, Call};

pub const ENGINES: [(&str, &str); 3] = [
    ("docker", include_str!("../../fixtures/seccomp/docker.json")),
    ("podman", include_str!("../../fixtures/seccomp/podman.json")),
    ("containerd", include_str!("../../fixtures/seccomp/containerd.json")),
];

pub fn profile(json: &str) -> Seccomp {
    serde_json::from_str(json).unwrap()
}

pub fn program(seccomp: &Seccomp, native: Arch) -> Program {
    let program = compile(seccomp, &CompileOptions { native, ..CompileOptions::default() }).unwrap();
    bpf::check(&program.filter);
    program
}

/// The profile as the engine writes it on another architecture.
fn on(seccomp: &Seccomp, archs: &[Arch]) -> Seccomp {
    Seccomp { architectures: archs.iter().map(|arch| arch.name().to_owned()).collect(), ..seccomp.clone() }
}

/// Every number with a rule anywhere near, and those where something else begins.
fn numbers(arch: Arch) -> Vec<u32> {
    let base = SyscallId::all().filter_map(|id| arch.number(id)).min().unwrap();
    let mut numbers: Vec<u32> = (base.saturating_sub(20)..base + 700).collect();
    numbers.extend([0, 0x3fff_ffff, 0x4000_0000, 0x7fff_ffff, 0x8000_0000, 0xbfff_ffff, 0xc000_0000]);
    numbers.extend([0xf_0000, 0xf_0001, 0xf_0006, 0xf_0007, u32::MAX - 1, u32::MAX]);
    numbers
}

fn compare(what: &str, seccomp: &Seccomp, archs: &[Arch]) {
    let native = archs[0];
    let program = program(seccomp, native);
    let values = interpreter::boundaries(seccomp);
    let asked: Vec<u32> = seccomp.syscalls.iter().flat_map(|rule| &rule.args).map(|arg| arg.index).collect();
    for arch in archs.iter().copied().chain([Arch::Parisc, Arch::X86_64]) {
        for nr in numbers(arch) {
            let call = Call::new(seccomp, native, arch.token(), nr);
            let calls =
                (0..6).filter(|i| *i == 0 || asked.contains(i)).flat_map(|i| values.iter().map(move |v| (i, *v)));
            for (index, value) in calls {
                let mut data = Data { nr, arch: arch.token(), ip: 0x1234_5678_9abc_def0, args: [0; 6] };
                data.args[index as usize] = value;
                let expected = call.answer(&data.args);
                let actual = bpf::run(&program.filter, &data, native.endian());
                assert_eq!(actual, expected, "{what} on {arch:?}: {data:x?}\n{}", bpf::text(&program.filter));
            }
        }
    }
}

#[test]
fn every_row_of_the_default_profiles_on_x86_64() {
    for (engine, json) in ENGINES {
        let seccomp = profile(json);
        compare(engine, &seccomp, &[Arch::X86_64, Arch::X86, Arch::X32]);
        compare(engine, &on(&seccomp, &[Arch::X86]), &[Arch::X86_64, Arch::X86]);
        compare(engine, &on(&seccomp, &[]), &[Arch::X86_64]);
    }
}

#[test]
fn every_row_of_the_default_profiles_elsewhere() {
    let families: [&[Arch]; 9] = [
        &[Arch::Aarch64, Arch::Arm],
        &[Arch::S390x, Arch::S390],
        &[Arch::Ppc64le],
        &[Arch::Ppc64, Arch::Ppc],
        &[Arch::Mips64, Arch::Mips, Arch::Mips64n32],
        &[Arch::Mipsel64, Arch::Mipsel, Arch::Mipsel64n32],
        &[Arch::Riscv64],
        &[Arch::Loongarch64],
        &[Arch::X86, Arch::X32],
    ];
    for (engine, json) in ENGINES {
        let seccomp = profile(json);
        for archs in families {
            compare(engine, &on(&seccomp, archs), archs);
        }
    }
}

#[test]
fn every_architecture_alone() {
    let seccomp = profile(ENGINES[0].1);
    for arch in ALL_ARCHS {
        compare("docker", &on(&seccomp, &[]), &[arch]);
    }
}
