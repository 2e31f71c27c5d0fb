//! Reads `linux.seccomp`: every name resolved, every value checked, nothing decided about numbers yet.

use crate::error::{Below, Error, Result, Stage};
use crate::spec::seccomp::{Arg, Rule, Seccomp};
use crate::sys::seccomp as sys;

use super::arch::{Arch, SyscallId};
use super::graph::Condition;
use super::options::{CompileOptions, Receiver, UnknownSyscalls};
use super::words::{self, Operator};

/// A profile without its text.
pub(super) struct Profile {
    /// The kernel's value for calls without a rule.
    pub(super) default: u32,
    /// The native architecture first, each once.
    pub(super) archs: Vec<Arch>,
    pub(super) rules: Vec<ParsedRule>,
    pub(super) flags: u64,
    pub(super) receiver: Option<Receiver>,
    pub(super) warnings: Vec<String>,
}

/// A rule without its text.
pub(super) struct ParsedRule {
    pub(super) ids: Vec<SyscallId>,
    pub(super) action: u32,
    /// Any of these suffices, each being conditions that must all hold; none at all means without condition.
    pub(super) alternatives: Vec<Vec<Condition>>,
}

const EPERM: u32 = 1;

pub(super) fn parse(seccomp: &Seccomp, options: &CompileOptions) -> Result<Profile> {
    let default = action("default", &seccomp.default_action, seccomp.default_errno_ret, options)?;
    if default == sys::RET_USER_NOTIF {
        // The runtime itself would be stopped before it could hand the listener over.
        return Err(invalid("defaultAction", "SCMP_ACT_NOTIFY cannot be the default action"));
    }
    let mut profile = Profile {
        default,
        archs: archs(seccomp, options.native)?,
        rules: Vec::with_capacity(seccomp.syscalls.len()),
        flags: flags(seccomp, options)?,
        receiver: None,
        warnings: Vec::new(),
    };
    for (index, rule) in seccomp.syscalls.iter().enumerate() {
        let parsed = parse_rule(rule, options, &mut profile.warnings).below(|| format!("syscalls[{index}]"))?;
        profile.rules.push(parsed);
    }
    if seccomp.syscalls.iter().any(|rule| rule.action == "SCMP_ACT_NOTIFY" && !rule.names.is_empty()) {
        profile.receiver = Some(receiver(seccomp, options)?);
    }
    let nobody = seccomp.listener_path.as_deref().unwrap_or_default().is_empty() && options.receiver.is_none();
    if nobody && seccomp.listener_metadata.as_ref().is_some_and(|metadata| !metadata.is_empty()) {
        profile.warnings.push("listenerMetadata is left out: there is no listenerPath".to_owned());
    }
    load_flags(&mut profile, options)?;
    Ok(profile)
}

fn invalid(field: impl Into<String>, what: impl Into<String>) -> Error {
    Error::of_field(Stage::Seccomp, field, what)
}

/// The kernel's value of an action with its data. `which` is `default`, or nothing for the action of a rule.
fn action(which: &str, name: &str, data: Option<u32>, options: &CompileOptions) -> Result<u32> {
    let [field, errno] = if which.is_empty() { ["action", "errnoRet"] } else { ["defaultAction", "defaultErrnoRet"] };
    let value = words::action(name)
        .ok_or_else(|| invalid(field, format!("unknown action {name:?}")).meant(name, words::ACTIONS))?;
    if !options.kernel.has_action(value) {
        return Err(invalid(field, format!("the kernel does not know {name}")));
    }
    if !matches!(value, sys::RET_ERRNO | sys::RET_TRACE) {
        // runtime-spec: an errno for an action that has none must be an error.
        return match data {
            None => Ok(value),
            Some(given) => Err(invalid(errno, format!("{name} has no errno, but {given} is given"))),
        };
    }
    let data = data.unwrap_or(EPERM);
    // The kernel makes 4095 of a greater errno (MAX_ERRNO; kernel/seccomp.c); what a tracer gets is any 16 bits.
    let most = if value == sys::RET_ERRNO { 4095 } else { 0xffff };
    if data > most {
        return Err(invalid(errno, format!("errno {data} of {name} is above {most}")));
    }
    Ok(value | data)
}

fn archs(seccomp: &Seccomp, native: Arch) -> Result<Vec<Arch>> {
    let mut archs = vec![native];
    for (index, name) in seccomp.architectures.iter().enumerate() {
        let field = || format!("architectures[{index}]");
        let arch = Arch::from_name(name)
            .ok_or_else(|| invalid(field(), format!("unknown architecture {name:?}")).meant(name, Arch::names()))?;
        if arch.endian() != native.endian() {
            return Err(invalid(field(), format!("{name} and {} differ in byte order", native.name())));
        }
        if !archs.contains(&arch) {
            archs.push(arch);
        }
    }
    Ok(archs)
}

/// The flags asked for. Without a list runc asks for SPEC_ALLOW where the kernel has it, and so does brisk.
fn flags(seccomp: &Seccomp, options: &CompileOptions) -> Result<u64> {
    let Some(names) = &seccomp.flags else {
        let default = sys::FLAG_SPEC_ALLOW;
        return Ok(if options.kernel.has_flags(default) { default } else { 0 });
    };
    let mut flags = 0;
    for (index, name) in names.iter().enumerate() {
        let field = || format!("flags[{index}]");
        let flag = words::flag(name)
            .ok_or_else(|| invalid(field(), format!("unknown flag {name:?}")).meant(name, words::FLAGS))?;
        if !options.kernel.has_flags(flag) {
            return Err(invalid(field(), format!("the kernel does not know {name}")));
        }
        flags |= flag;
    }
    // The process that loads the filter has one thread. (And seccomp(2) takes it with a listener since Linux 5.7 only.)
    Ok(flags & !sys::FLAG_TSYNC)
}

/// The flags as seccomp(2) takes them: the kernel refuses some combinations.
fn load_flags(profile: &mut Profile, options: &CompileOptions) -> Result<()> {
    let flags = &mut profile.flags;
    if profile.receiver.is_none() {
        if *flags & sys::FLAG_WAIT_KILLABLE_RECV != 0 {
            *flags &= !sys::FLAG_WAIT_KILLABLE_RECV;
            let what = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no effect without SCMP_ACT_NOTIFY";
            profile.warnings.push(what.to_owned());
        }
        return Ok(());
    }
    if !options.kernel.has_flags(sys::FLAG_NEW_LISTENER) {
        return Err(invalid("", "SCMP_ACT_NOTIFY needs linux 5.0"));
    }
    *flags |= sys::FLAG_NEW_LISTENER;
    Ok(())
}

fn receiver(seccomp: &Seccomp, options: &CompileOptions) -> Result<Receiver> {
    let path = seccomp.listener_path.as_ref().filter(|path| !path.is_empty()).or(options.receiver.as_ref());
    match path {
        Some(path) => Ok(Receiver { path: path.clone(), metadata: seccomp.listener_metadata.clone() }),
        None => Err(invalid("listenerPath", "SCMP_ACT_NOTIFY needs a listenerPath")),
    }
}

fn parse_rule(rule: &Rule, options: &CompileOptions, warnings: &mut Vec<String>) -> Result<ParsedRule> {
    let action = action("", &rule.action, rule.errno_ret, options)?;
    let mut ids = Vec::with_capacity(rule.names.len());
    for (index, name) in rule.names.iter().enumerate() {
        let field = || format!("names[{index}]");
        if name.is_empty() {
            return Err(invalid(field(), "a rule has an empty system call name"));
        }
        if action == sys::RET_USER_NOTIF && name == "write" {
            // The listener's number has yet to be written to the parent, which would wait for the listener.
            return Err(invalid(field(), "SCMP_ACT_NOTIFY cannot be used for the write syscall"));
        }
        match (SyscallId::from_name(name), options.unknown_syscalls) {
            (Some(id), _) => ids.push(id),
            (None, UnknownSyscalls::Ignore) => warnings.push(format!("unknown system call {name:?} ignored")),
            (None, UnknownSyscalls::Refuse) => {
                return Err(invalid(field(), format!("unknown system call {name:?}")));
            }
        }
    }
    if rule.names.is_empty() {
        warnings.push(format!("a rule with {} names no system call", rule.action));
    }
    let conditions = rule.args.iter().enumerate();
    let conditions =
        conditions.map(|(index, arg)| condition(arg).below(|| format!("args[{index}]"))).collect::<Result<Vec<_>>>()?;
    Ok(ParsedRule { ids, action, alternatives: alternatives(conditions) })
}

/// As runc has it: where two conditions are on one argument, every condition is a rule of its own.
fn alternatives(mut conditions: Vec<Condition>) -> Vec<Vec<Condition>> {
    if conditions.is_empty() {
        return Vec::new();
    }
    let mut seen = 0_u8;
    let mut repeated = false;
    for condition in &conditions {
        repeated |= seen & (1 << condition.index) != 0;
        seen |= 1 << condition.index;
    }
    if repeated {
        return conditions.into_iter().map(|condition| vec![condition]).collect();
    }
    conditions.sort_unstable_by_key(|condition| condition.index);
    vec![conditions]
}

fn condition(arg: &Arg) -> Result<Condition> {
    let index = match u8::try_from(arg.index) {
        Ok(index @ 0..=5) => index,
        _ => return Err(invalid("index", format!("argument {} of a condition is not one of 0 to 5", arg.index))),
    };
    let operator = words::operator(&arg.op)
        .ok_or_else(|| invalid("op", format!("unknown operator {:?}", arg.op)).meant(&arg.op, words::OPERATORS))?;
    let (value, mask) = match operator {
        // libseccomp clears what the mask hides, so that stray bits cannot make a condition impossible.
        Operator::MaskedEqual => (arg.value_two & arg.value, arg.value),
        _ => (arg.value, u64::MAX),
    };
    Ok(Condition { index, operator, value, mask })
}
