//! Random profiles and calls, the same in every run.

use brisk::plan::seccomp::{Arch, OPERATORS, SyscallId};
use brisk::spec::seccomp::{Arg, Rule, Seccomp};

use super::bpf::Data;
use super::interpreter;

/// Whether the rules for one call may contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actions {
    OnePerCall,
    Any,
}

/// Calls that every libseccomp knows, multiplexed ones included.
const NAMES: [&str; 24] = [
    "read",
    "write",
    "open",
    "close",
    "ioctl",
    "socket",
    "accept",
    "accept4",
    "sendmsg",
    "recvmmsg",
    "shmget",
    "semop",
    "msgctl",
    "socketcall",
    "ipc",
    "clone",
    "personality",
    "mmap",
    "mmap2",
    "futex",
    "prctl",
    "openat2",
    "fcntl64",
    "clock_gettime64",
];

const ACTIONS: [&str; 6] =
    ["SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];

const VALUES: [u64; 14] = [
    0,
    1,
    2,
    7,
    8,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x1_0000_0001,
    0x8000_0000_0000_0000,
    0xdead_beef_cafe_f00d,
    0xffff_ffff_0000_0000,
    u64::MAX,
];

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// xorshift64*.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn arg(&mut self) -> Arg {
        let index = self.pick(&[0, 0, 0, 1, 1, 2, 5]);
        Arg { index, value: self.pick(&VALUES), value_two: self.pick(&VALUES), op: self.pick(&OPERATORS).to_owned() }
    }

    fn rule(&mut self, actions: Actions) -> Rule {
        let mut names: Vec<String> = (0..1 + self.below(4)).map(|_| self.pick(&NAMES).to_owned()).collect();
        names.sort_unstable();
        names.dedup();
        let mut action = self.pick(&ACTIONS);
        if actions == Actions::OnePerCall {
            // A family of calls may share a multiplexer, so all of them get the same action.
            names.truncate(1);
            let id = SyscallId::from_name(&names[0]).unwrap();
            let family = Arch::X86.multiplexed(id).map_or(names[0].len(), |(number, _)| number as usize);
            let family = ["socketcall", "ipc"].iter().position(|n| *n == names[0]).map_or(family, |i| [102, 117][i]);
            action = ACTIONS[family % ACTIONS.len()];
        }
        let args = if self.below(4) == 0 { Vec::new() } else { (0..1 + self.below(3)).map(|_| self.arg()).collect() };
        Rule { names, action: action.to_owned(), errno_ret: None, args }
    }

    pub fn profile(&mut self, archs: &[Arch], actions: Actions) -> Seccomp {
        Seccomp {
            default_action: self.pick(&ACTIONS).to_owned(),
            architectures: archs.iter().map(|arch| arch.name().to_owned()).collect(),
            syscalls: (0..1 + self.below(16)).map(|_| self.rule(actions)).collect(),
            ..Seccomp::default()
        }
    }

    /// Calls around the numbers and values of a profile.
    pub fn calls(&mut self, seccomp: &Seccomp, archs: &[Arch]) -> Vec<Data> {
        let values = interpreter::boundaries(seccomp);
        let mut calls = Vec::new();
        for &arch in archs {
            let mut numbers = vec![0, 1, 102, 117, 4102, 0x3fff_ffff, 0x4000_0000, 0x8000_0000, 0xc000_0000, u32::MAX];
            for id in seccomp.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| SyscallId::from_name(name))
            {
                numbers.extend(arch.number(id));
                numbers.extend(arch.multiplexed(id).map(|(number, _)| number));
            }
            numbers.sort_unstable();
            numbers.dedup();
            for nr in numbers {
                for _ in 0..24 {
                    let mut args = [0; 6].map(|_: u64| self.pick(&values));
                    if [102, 117, 4102, 4117].contains(&nr) && self.below(2) == 0 {
                        args[0] = 1 + self.below(24) as u64;
                    }
                    calls.push(Data { nr, arch: arch.token(), ip: self.next(), args });
                }
            }
        }
        calls
    }
}
