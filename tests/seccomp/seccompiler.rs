//! seccompiler, another compiler with no code in common: profiles of one architecture and one action.

use brisk::plan::seccomp::{Arch, CompileOptions, compile};
use brisk::spec::seccomp::{Arg, Seccomp};
use brisk::sys::seccomp::Instruction;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};

use super::bpf;
use super::random::{Actions, Random};

fn condition(arg: &Arg) -> SeccompCondition {
    let (op, value) = match arg.op.as_str() {
        "SCMP_CMP_NE" => (SeccompCmpOp::Ne, arg.value),
        "SCMP_CMP_LT" => (SeccompCmpOp::Lt, arg.value),
        "SCMP_CMP_LE" => (SeccompCmpOp::Le, arg.value),
        "SCMP_CMP_EQ" => (SeccompCmpOp::Eq, arg.value),
        "SCMP_CMP_GE" => (SeccompCmpOp::Ge, arg.value),
        "SCMP_CMP_GT" => (SeccompCmpOp::Gt, arg.value),
        _ => (SeccompCmpOp::MaskedEq(arg.value), arg.value_two & arg.value),
    };
    SeccompCondition::new(arg.index as u8, SeccompCmpArgLen::Qword, op, value).unwrap()
}

/// The same rules for seccompiler: an empty list of rules is a rule without conditions, and beats all others.
fn translate(seccomp: &Seccomp) -> BpfProgram {
    let mut rules: std::collections::BTreeMap<i64, Option<Vec<SeccompRule>>> = std::collections::BTreeMap::new();
    for rule in &seccomp.syscalls {
        for name in &rule.names {
            let id = brisk::plan::seccomp::SyscallId::from_name(name).unwrap();
            let Some(number) = Arch::X86_64.number(id) else { continue };
            let entry = rules.entry(number.into()).or_insert_with(|| Some(Vec::new()));
            match entry {
                Some(_) if rule.args.is_empty() => *entry = None,
                Some(known) => {
                    let conditions: Vec<SeccompCondition> = rule.args.iter().map(condition).collect();
                    known.push(SeccompRule::new(conditions).unwrap());
                }
                None => {}
            }
        }
    }
    let rules = rules.into_iter().map(|(number, rules)| (number, rules.unwrap_or_default())).collect();
    let (default, other) = (SeccompAction::Log, SeccompAction::Allow);
    SeccompFilter::new(rules, default, other, TargetArch::x86_64).unwrap().try_into().unwrap()
}

#[test]
fn simple_profiles_mean_what_seccompiler_makes_of_them() {
    let mut random = Random::new(0x5eed_0003);
    let mut calls = 0;
    for _ in 0..200 {
        let mut seccomp = random.profile(&[Arch::X86_64], Actions::Any);
        // LOG by default, so that runc's ENOSYS for newer calls stays out.
        seccomp.default_action = "SCMP_ACT_LOG".to_owned();
        for rule in &mut seccomp.syscalls {
            rule.action = "SCMP_ACT_ALLOW".to_owned();
            rule.args.sort_by_key(|arg| arg.index);
            rule.args.dedup_by_key(|arg| arg.index);
        }
        let ours = compile(&seccomp, &CompileOptions { native: Arch::X86_64, ..CompileOptions::default() }).unwrap();
        let theirs: Vec<Instruction> =
            translate(&seccomp).iter().map(|i| Instruction { code: i.code, jt: i.jt, jf: i.jf, k: i.k }).collect();
        for data in random.calls(&seccomp, &[Arch::X86_64]).iter().filter(|data| data.nr < 0x4000_0000) {
            let endian = Arch::X86_64.endian();
            let (a, b) = (bpf::run(&ours.filter, data, endian), bpf::run(&theirs, data, endian));
            assert_eq!(a, b, "{data:x?}\n{seccomp:#?}");
            calls += 1;
        }
        // seccompiler has no x32 to tell apart, which takes four.
        let (a, b) = (ours.filter.len(), theirs.len());
        assert!(a <= b + 4, "{a} instructions, seccompiler {b}\n{}\n{}", bpf::text(&ours.filter), bpf::text(&theirs));
    }
    assert!(calls > 10_000, "{calls}");
}
