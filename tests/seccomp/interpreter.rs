//! What a profile means, read off its JSON rules with no thought of how a program would find out.

use brisk::plan::seccomp::{Arch, SyscallId, Width, action};
use brisk::spec::seccomp::{Arg, Rule, Seccomp};

use super::bpf::Data;

pub const KILL_THREAD: u32 = 0;
pub const ENOSYS: u32 = 0x0005_0026;
const X32_BIT: u32 = 0x4000_0000;

/// The kernel's value of an action.
pub fn value(name: &str, errno: Option<u32>) -> u32 {
    match name {
        "SCMP_ACT_ERRNO" | "SCMP_ACT_TRACE" => action(name).unwrap() | errno.unwrap_or(1),
        _ => action(name).unwrap(),
    }
}

fn holds(arg: &Arg, width: Width, args: &[u64; 6]) -> bool {
    let cut = |value: u64| if width == Width::Half { value & 0xffff_ffff } else { value };
    let (actual, wanted) = (cut(args[arg.index as usize]), cut(arg.value));
    match arg.op.as_str() {
        "SCMP_CMP_NE" => actual != wanted,
        "SCMP_CMP_LT" => actual < wanted,
        "SCMP_CMP_LE" => actual <= wanted,
        "SCMP_CMP_EQ" => actual == wanted,
        "SCMP_CMP_GE" => actual >= wanted,
        "SCMP_CMP_GT" => actual > wanted,
        "SCMP_CMP_MASKED_EQ" => actual & wanted == cut(arg.value_two) & wanted,
        op => panic!("{op}"),
    }
}

/// Which of a profile's architectures a call belongs to.
pub fn arch_of(seccomp: &Seccomp, native: Arch, data: &Data) -> Option<Arch> {
    let names = seccomp.architectures.iter().map(|name| Arch::from_name(name).unwrap());
    let mut archs: Vec<Arch> = [native].into_iter().chain(names).filter(|arch| arch.token() == data.arch).collect();
    if archs.contains(&Arch::X32) || archs.contains(&Arch::X86_64) {
        archs.retain(|arch| (*arch == Arch::X32) == (data.nr & X32_BIT != 0));
    }
    archs.first().copied()
}

/// The newest call that the profile names, redundant rules included.
pub fn newest(seccomp: &Seccomp, arch: Arch) -> Option<u32> {
    let names = seccomp.syscalls.iter().flat_map(|rule| &rule.names);
    names.filter_map(|name| arch.number(SyscallId::from_name(name)?)).max()
}

/// One number of one architecture, and the rules that name it.
pub struct Call<'a> {
    /// What it gets when no rule holds.
    otherwise: u32,
    width: Width,
    rules: Vec<Match<'a>>,
}

struct Match<'a> {
    rule: &'a Rule,
    action: u32,
    /// For socketcall(2) and ipc(2), what the first argument must be.
    sub_call: Option<u32>,
}

impl<'a> Call<'a> {
    pub fn new(seccomp: &'a Seccomp, native: Arch, token: u32, nr: u32) -> Self {
        let default = value(&seccomp.default_action, seccomp.default_errno_ret);
        let data = Data { nr, arch: token, ..Data::default() };
        let Some(arch) = arch_of(seccomp, native, &data) else {
            let both = Data { nr: nr ^ X32_BIT, ..data };
            let x86 = arch_of(seccomp, native, &both);
            // What a tracer writes, and what libseccomp's x32 filter takes for a number of its own.
            let spared = x86 == Some(Arch::X86_64) && nr == u32::MAX || x86 == Some(Arch::X32) && nr >= 0x8000_0000;
            return Call { otherwise: if spared { default } else { KILL_THREAD }, width: Width::Full, rules: vec![] };
        };
        let passes = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"].contains(&seccomp.default_action.as_str());
        let setup = matches!(arch, Arch::S390 | Arch::S390x) && nr == 0;
        let otherwise = match newest(seccomp, arch) {
            Some(newest) if !passes && (nr > newest || setup) => ENOSYS,
            // libseccomp takes everything from the x32 bit up for foreign where there is no x32.
            _ if arch == Arch::X86_64 && nr >= X32_BIT && !seccomp.architectures.iter().any(|a| a.ends_with("X32")) => {
                KILL_THREAD
            }
            _ => default,
        };
        let mut rules = Vec::new();
        for rule in &seccomp.syscalls {
            let action = value(&rule.action, rule.errno_ret);
            for id in rule.names.iter().filter_map(|name| SyscallId::from_name(name)).filter(|_| action != default) {
                if arch.number(id) == Some(nr) {
                    rules.push(Match { rule, action, sub_call: None });
                }
                if let Some((_, call)) = arch.multiplexed(id).filter(|(number, _)| *number == nr) {
                    rules.push(Match { rule, action, sub_call: Some(call) });
                }
            }
        }
        Call { otherwise, width: arch.width(), rules }
    }

    /// The answer where rules do not contradict each other.
    pub fn answer(&self, args: &[u64; 6]) -> u32 {
        let answers = self.answers(args);
        assert!(answers.iter().all(|other| *other == answers[0]), "contradicting rules");
        answers[0]
    }

    /// What the rules that hold answer; rules without conditions leave no others.
    pub fn answers(&self, args: &[u64; 6]) -> Vec<u32> {
        if let Some(first) = self.rules.iter().find(|m| m.unconditional(self.width)) {
            return vec![first.action];
        }
        let holding: Vec<u32> = self.rules.iter().filter(|m| m.holds(self.width, args)).map(|m| m.action).collect();
        if holding.is_empty() { vec![self.otherwise] } else { holding }
    }
}

impl Match<'_> {
    /// Without conditions, or with none that asks for a single bit.
    fn unconditional(&self, width: Width) -> bool {
        let empty = |arg: &Arg| {
            let mask = if width == Width::Half { arg.value & 0xffff_ffff } else { arg.value };
            arg.op == "SCMP_CMP_MASKED_EQ" && mask == 0
        };
        let args = &self.rule.args;
        self.sub_call.is_none() && if self.repeated() { args.iter().any(empty) } else { args.iter().all(empty) }
    }

    /// Whether each condition is an alternative.
    fn repeated(&self) -> bool {
        (0..6).any(|i| self.rule.args.iter().filter(|arg| arg.index == i).count() > 1)
    }

    fn holds(&self, width: Width, args: &[u64; 6]) -> bool {
        let all = &self.rule.args;
        let checked = |arg: &&Arg| self.sub_call.is_none() || arg.index != 0;
        let conditions = if self.repeated() {
            // An alternative whose one condition cannot be checked always holds.
            all.iter().any(|arg| !checked(&arg) || holds(arg, width, args))
        } else {
            all.iter().filter(checked).all(|arg| holds(arg, width, args))
        };
        let first = if width == Width::Half { args[0] & 0xffff_ffff } else { args[0] };
        conditions && self.sub_call.is_none_or(|call| first == u64::from(call))
    }
}

/// Values at which a comparison may change its mind.
pub fn boundaries(seccomp: &Seccomp) -> Vec<u64> {
    let mut values = vec![0, 1, 0xffff_ffff, 1 << 32, u64::MAX];
    for arg in seccomp.syscalls.iter().flat_map(|rule| &rule.args) {
        for value in [arg.value, arg.value_two] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), !value]);
            values.extend([value ^ (1 << 32), value.rotate_left(32), value | 1 << 63]);
        }
    }
    values.sort_unstable();
    values.dedup();
    values
}
