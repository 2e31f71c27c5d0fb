//! `linux.seccomp`.

use serde::{Deserialize, Serialize};

/// `linux.seccomp`. Names are kept as text: `plan::seccomp` knows which exist.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Seccomp {
    /// `SCMP_ACT_*` for system calls that no rule names.
    pub default_action: String,
    /// errno for a default action of `SCMP_ACT_ERRNO` or `SCMP_ACT_TRACE`; EPERM when missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// `SCMP_ARCH_*`, in addition to the native architecture.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub architectures: Vec<String>,
    /// `SECCOMP_FILTER_FLAG_*`. `None` and an empty list differ: runc adds SPEC_ALLOW to the former.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    /// Socket that receives the listener of `SCMP_ACT_NOTIFY`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    /// Opaque text handed to the listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener_metadata: Option<String>,
    /// The rules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub syscalls: Vec<Rule>,
}

/// One rule: these system calls, with these arguments, get this action.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// System call names; at least one.
    #[serde(default)]
    pub names: Vec<String>,
    /// `SCMP_ACT_*`.
    pub action: String,
    /// errno (or trace message) of the action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    /// Conditions that must all hold, except that several on one argument are alternatives, as in runc.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<Arg>,
}

/// A condition on one argument.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Arg {
    /// 0 to 5.
    pub index: u32,
    /// Compared with; the mask of `SCMP_CMP_MASKED_EQ`.
    pub value: u64,
    /// The value under the mask of `SCMP_CMP_MASKED_EQ`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub value_two: u64,
    /// `SCMP_CMP_*`.
    pub op: String,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}
