//! What each system call of each architecture is answered with.
//!
//! Where rules for one call disagree, the order is libseccomp's, in whatever order the profile has them:
//! 1. A rule whose action is the default action is as good as absent.
//! 2. A rule without conditions beats those with; of several, the first counts.
//! 3. Of two rules that differ in the first argument they look at, the one that looks at the higher argument comes
//!    first; then `EQ`, `NE` and `MASKED_EQ` before `LT` and `LE` before `GT` and `GE`; then the smaller value for
//!    `LT` and `LE`, else the greater one. Where one is the beginning of the other, it counts.
//!    (libseccomp compares the high halves of the values only, and takes equal ones in the order of the profile.)
//! 4. The same conditions with different actions are an error. libseccomp refuses some more, where it finds a shorter rule
//!    after a longer one.

use std::cmp::Ordering;

use crate::error::{Error, Result, Stage};
use crate::sys::seccomp as sys;

use super::arch::{Arch, X32_BIT};
use super::graph::{Condition, Graph, NodeId};
use super::profile::Profile;
use super::ranges::{self, Range};
use super::words::Operator;

const ENOSYS: u32 = sys::RET_ERRNO | 38;

/// The calls of one architecture that a profile has rules for.
struct Calls {
    /// By number, ascending.
    verdicts: Vec<(u32, NodeId)>,
    /// The greatest number with a rule, be it a redundant one.
    newest: Option<u32>,
}

/// A rule as it applies to one number.
#[derive(Clone, Copy)]
struct NumberRule {
    number: u32,
    rule: usize,
    /// For a multiplexer, what its first argument must be.
    sub_call: Option<u32>,
}

/// Sorts by number, those of one number staying in the order of their rules. Numbers are few and close together, with
/// arm's private ones apart, so they are counted: comparing would be a quarter of all the work of a profile.
fn by_number(entries: &mut Vec<NumberRule>) {
    const DENSE: usize = 4096;
    let lowest = entries.iter().map(|entry| entry.number).min().unwrap_or(0);
    let index = |entry: &NumberRule| (entry.number - lowest) as usize;
    let span = entries.iter().map(index).max().unwrap_or(0) + 1;
    if span > DENSE {
        entries.sort_by_key(|entry| entry.number);
        return;
    }
    let mut next = vec![0; span + 1];
    for entry in &*entries {
        next[index(entry) + 1] += 1;
    }
    for number in 1..=span {
        next[number] += next[number - 1];
    }
    let mut sorted = entries.clone();
    for entry in &*entries {
        sorted[next[index(entry)]] = *entry;
        next[index(entry)] += 1;
    }
    *entries = sorted;
}

/// The verdicts of every number for each `seccomp_data.arch`, in the order of the profile's architectures.
pub(super) fn by_token(profile: &Profile, graph: &mut Graph) -> Result<Vec<(u32, Vec<Range>)>> {
    let mut tokens = Vec::new();
    for &arch in &profile.archs {
        let token = arch.token();
        if tokens.iter().any(|(known, _)| *known == token) {
            continue;
        }
        let ranges =
            if token == Arch::X86_64.token() { x86_64(profile, graph)? } else { ordinary(profile, arch, graph)? };
        tokens.push((token, ranges));
    }
    Ok(tokens)
}

/// Whether calls newer than the profile get ENOSYS instead of the default action, so that a libc falls back to an
/// older call as it does on an older kernel. As in runc, not where the default lets calls pass; a tracer, too, can
/// be trusted to know what it does.
fn hides_newer(profile: &Profile) -> bool {
    !matches!(profile.default & 0xffff_0000, sys::RET_ALLOW | sys::RET_LOG | sys::RET_TRACE)
}

fn ordinary(profile: &Profile, arch: Arch, graph: &mut Graph) -> Result<Vec<Range>> {
    let mut calls = calls(profile, arch, graph)?;
    let mut background = vec![Range { start: 0, verdict: graph.action(profile.default) }];
    if let Some(newest) = calls.newest.filter(|_| hides_newer(profile)) {
        let enosys = graph.action(ENOSYS);
        background.push(Range { start: newest + 1, verdict: enosys });
        if matches!(arch, Arch::S390 | Arch::S390x) {
            // A number that the kernel does not know arrives here as 0 (setup), as runc found out.
            calls.verdicts.retain(|(number, _)| *number != 0);
            calls.verdicts.insert(0, (0, enosys));
        }
    }
    Ok(ranges::overlay(&background, &calls.verdicts))
}

/// x86_64 and x32 share a token. Calls of the one that the profile does not have are those of a foreign
/// architecture; libseccomp and runc draw the line in two different places where bit 31 is set, hence four quarters.
fn x86_64(profile: &Profile, graph: &mut Graph) -> Result<Vec<Range>> {
    let default = graph.action(profile.default);
    let foreign = graph.action(sys::RET_KILL_THREAD);
    let enosys = graph.action(ENOSYS);
    let mut verdicts = Vec::new();
    let mut background = Vec::new();
    let mut upper = Vec::new();
    let has_x32 = profile.archs.contains(&Arch::X32);
    for (arch, start) in [(Arch::X86_64, 0), (Arch::X32, X32_BIT)] {
        if !profile.archs.contains(&arch) {
            background.push(Range { start, verdict: foreign });
            upper.push(if has_x32 { default } else { foreign });
            continue;
        }
        let calls = calls(profile, arch, graph)?;
        background.push(Range { start, verdict: default });
        match calls.newest.filter(|_| hides_newer(profile)) {
            Some(newest) => {
                background.push(Range { start: newest + 1, verdict: enosys });
                upper.push(enosys);
            }
            None => upper.push(if has_x32 { default } else { foreign }),
        }
        verdicts.extend(calls.verdicts);
    }
    background.push(Range { start: 0x8000_0000, verdict: upper[0] });
    background.push(Range { start: 0x8000_0000 | X32_BIT, verdict: upper[1] });
    if !has_x32 {
        // What a tracer writes to skip a call; since linux 4.8 the filter sees it.
        verdicts.push((u32::MAX, default));
    }
    Ok(ranges::overlay(&background, &verdicts))
}

fn calls(profile: &Profile, arch: Arch, graph: &mut Graph) -> Result<Calls> {
    let mut entries = Vec::with_capacity(512);
    let mut newest = None;
    let actions: Vec<NodeId> = profile.rules.iter().map(|rule| graph.action(rule.action)).collect();
    for (rule, parsed) in profile.rules.iter().enumerate() {
        let redundant = parsed.action == profile.default;
        for id in &parsed.ids {
            if let Some(number) = arch.number(*id) {
                newest = newest.max(Some(number));
                if !redundant {
                    entries.push(NumberRule { number, rule, sub_call: None });
                }
            }
            if let Some((number, sub_call)) = arch.multiplexed(*id).filter(|_| !redundant) {
                // The greatest number counts what the profile names, not what carries it.
                entries.push(NumberRule { number, rule, sub_call: Some(sub_call) });
            }
        }
    }
    by_number(&mut entries);
    let mut verdicts = Vec::with_capacity(entries.len());
    for group in entries.chunk_by(|a, b| a.number == b.number) {
        // Nearly every call has one rule, without conditions.
        let first = group[0];
        let verdict = if first.sub_call.is_none() && profile.rules[first.rule].alternatives.is_empty() {
            actions[first.rule]
        } else {
            verdict(profile, arch, group, graph)?
        };
        verdicts.push((first.number, verdict));
    }
    Ok(Calls { verdicts, newest })
}

/// The verdict of one number.
fn verdict(profile: &Profile, arch: Arch, entries: &[NumberRule], graph: &mut Graph) -> Result<NodeId> {
    let mut alternatives: Vec<(Vec<Condition>, u32)> = Vec::new();
    for entry in entries {
        let rule = &profile.rules[entry.rule];
        if rule.alternatives.is_empty() && entry.sub_call.is_none() {
            return Ok(graph.action(rule.action));
        }
        let none = [Vec::new()];
        let any_of = if rule.alternatives.is_empty() { &none[..] } else { &rule.alternatives };
        for conditions in any_of {
            let conditions = on(arch, conditions, entry.sub_call);
            if conditions.is_empty() {
                return Ok(graph.action(rule.action));
            }
            alternatives.push((conditions, rule.action));
        }
    }
    alternatives.sort_by(|(a, _), (b, _)| precedence(a, b));
    for pair in alternatives.windows(2) {
        let [(a, action), (b, other)] = pair else { continue };
        if a == b && action != other {
            let what =
                format!("system call {} of {} has two actions for the same arguments", entries[0].number, arch.name());
            return Err(Error::new(Stage::Seccomp, what));
        }
    }
    let mut next = graph.action(profile.default);
    for (conditions, action) in alternatives.iter().rev() {
        let yes = graph.action(*action);
        next = graph.all_of(arch, conditions, yes, next);
    }
    Ok(next)
}

/// Conditions as they can be checked. The arguments of a multiplexed call are behind a pointer: like libseccomp,
/// this compares the multiplexer's own, of which the first is the sub-call.
fn on(arch: Arch, conditions: &[Condition], sub_call: Option<u32>) -> Vec<Condition> {
    let own = conditions.iter().filter(|c| sub_call.is_none() || c.index != 0).filter_map(|c| c.on(arch));
    let sub_call =
        sub_call.map(|call| Condition { index: 0, operator: Operator::Equal, value: u64::from(call), mask: u64::MAX });
    sub_call.and_then(|condition| condition.on(arch)).into_iter().chain(own).collect()
}

fn precedence(a: &[Condition], b: &[Condition]) -> Ordering {
    let by_condition = a.iter().zip(b).map(|(a, b)| {
        let ascending = matches!(a.operator, Operator::Less | Operator::LessOrEqual);
        let by_value = if ascending { a.value.cmp(&b.value) } else { b.value.cmp(&a.value) };
        b.index
            .cmp(&a.index)
            .then(class(a.operator).cmp(&class(b.operator)))
            .then(by_value)
            .then((a.operator as u8, a.mask).cmp(&(b.operator as u8, b.mask)))
    });
    by_condition.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
}

fn class(operator: Operator) -> u8 {
    match operator {
        Operator::Equal | Operator::NotEqual | Operator::MaskedEqual => 0,
        Operator::Less | Operator::LessOrEqual => 1,
        Operator::Greater | Operator::GreaterOrEqual => 2,
    }
}
