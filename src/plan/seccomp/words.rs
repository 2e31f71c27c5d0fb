//! The words of a profile: actions, operators and flags, as the runtime spec writes them.
//!
//! The parser and the lists that `brisk features` prints are the same tables.

use crate::sys::seccomp as sys;

/// `SCMP_ACT_*`, in the order that runc prints them, and what the kernel calls each.
const ACTION_VALUES: [(&str, u32); 9] = [
    ("SCMP_ACT_ALLOW", sys::RET_ALLOW),
    ("SCMP_ACT_ERRNO", sys::RET_ERRNO),
    // As in libseccomp, KILL is the old name of KILL_THREAD.
    ("SCMP_ACT_KILL", sys::RET_KILL_THREAD),
    ("SCMP_ACT_KILL_PROCESS", sys::RET_KILL_PROCESS),
    ("SCMP_ACT_KILL_THREAD", sys::RET_KILL_THREAD),
    ("SCMP_ACT_LOG", sys::RET_LOG),
    ("SCMP_ACT_NOTIFY", sys::RET_USER_NOTIF),
    ("SCMP_ACT_TRACE", sys::RET_TRACE),
    ("SCMP_ACT_TRAP", sys::RET_TRAP),
];

/// How a condition compares an argument with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    GreaterOrEqual,
    Greater,
    LessOrEqual,
    Less,
    MaskedEqual,
    NotEqual,
}

const OPERATOR_VALUES: [(&str, Operator); 7] = [
    ("SCMP_CMP_EQ", Operator::Equal),
    ("SCMP_CMP_GE", Operator::GreaterOrEqual),
    ("SCMP_CMP_GT", Operator::Greater),
    ("SCMP_CMP_LE", Operator::LessOrEqual),
    ("SCMP_CMP_LT", Operator::Less),
    ("SCMP_CMP_MASKED_EQ", Operator::MaskedEqual),
    ("SCMP_CMP_NE", Operator::NotEqual),
];

const FLAG_VALUES: [(&str, u64); 4] = [
    ("SECCOMP_FILTER_FLAG_TSYNC", sys::FLAG_TSYNC),
    ("SECCOMP_FILTER_FLAG_SPEC_ALLOW", sys::FLAG_SPEC_ALLOW),
    ("SECCOMP_FILTER_FLAG_LOG", sys::FLAG_LOG),
    ("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", sys::FLAG_WAIT_KILLABLE_RECV),
];

const fn names<T: Copy, const N: usize>(table: &[(&'static str, T); N]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut i = 0;
    while i < N {
        names[i] = table[i].0;
        i += 1;
    }
    names
}

/// The actions that a profile may name.
pub const ACTIONS: [&str; 9] = names(&ACTION_VALUES);
/// The operators that a profile may name.
pub const OPERATORS: [&str; 7] = names(&OPERATOR_VALUES);
/// The filter flags that a profile may name.
pub const FLAGS: [&str; 4] = names(&FLAG_VALUES);

fn find<T: Copy>(table: &[(&str, T)], name: &str) -> Option<T> {
    table.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

/// The kernel's value of an action, without its data.
pub fn action(name: &str) -> Option<u32> {
    find(&ACTION_VALUES, name)
}

pub(super) fn operator(name: &str) -> Option<Operator> {
    find(&OPERATOR_VALUES, name)
}

/// The kernel's value of a flag.
pub fn flag(name: &str) -> Option<u64> {
    find(&FLAG_VALUES, name)
}
