//! The filter of a container that is recorded: its own, but that whoever records is asked in place of what it answers.

use brisk::error::{Error, Result, Stage};
use brisk::plan::seccomp::machine::{ACTION, Course, JUMP_EQ, LOAD, RETURN, course};
use brisk::plan::seccomp::{Arch, CompileOptions, Program, RECORD_SENT, compile, halves, is_enabled, sender, speech};
use brisk::spec::seccomp::Seccomp;
use brisk::sys::notify::CallData;
use brisk::sys::seccomp::{
    Instruction, RET_ALLOW, RET_ERRNO, RET_KILL_PROCESS, RET_KILL_THREAD, RET_LOG, RET_TRAP, RET_USER_NOTIF, Support,
};

/// The data of an answer; the rest is its action.
const DATA: u32 = 0x0000_ffff;

/// What a container's own filter says of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilterVerdict {
    Passes,
    /// With this errno.
    Fails(i32),
    /// Whoever makes it.
    Kills,
}

/// The filter that a container has of its own, in whose place another is loaded.
#[derive(Debug)]
pub struct OwnFilter {
    program: Program,
}

impl OwnFilter {
    /// Of a profile, or of none.
    pub fn of(profile: Option<&Seccomp>, kernel: Support) -> Result<OwnFilter> {
        let unconfined = Seccomp { default_action: "SCMP_ACT_ALLOW".to_owned(), ..Seccomp::default() };
        let enabled = profile.filter(|profile| is_enabled(profile));
        let mut program = compile(enabled.unwrap_or(&unconfined), &CompileOptions { kernel, ..Default::default() })?;
        if enabled.is_none() {
            // A profile, if it is one that allows all, kills what calls by another architecture than it names.
            program.filter = vec![returns(RET_ALLOW)];
        }
        if program.receiver.is_some() {
            return Err(Error::of_field(
                Stage::Seccomp,
                "linux.seccomp",
                "linux.seccomp: a profile with SCMP_ACT_NOTIFY has a listener already, and a process has but one",
            ));
        }
        Ok(OwnFilter { program })
    }

    /// `SECCOMP_FILTER_FLAG_*` that it is loaded with.
    pub fn flags(&self) -> u64 {
        self.program.flags
    }

    /// What is loaded: every call is asked about that the own filter answers, but for those that it has a signal or a tracer for, and
    /// the one record by which the listener is handed over, which brisk sends and no program does ([`RECORD_SENT`]). Where the own
    /// filter lets none be sent, it is by sendto(2), which needs a socket.
    pub fn asking(&self) -> Result<Vec<Instruction>> {
        let send = sender(&self.program.filter).unwrap_or(libc::SYS_sendto);
        let conditions = [(0, u32::try_from(send).unwrap_or(u32::MAX)), (4, Arch::NATIVE.token())];
        let conditions = conditions.into_iter().chain(RECORD_SENT.map(|(index, value)| (halves(index).0, value)));
        let conditions: Vec<(u32, u32)> = conditions.collect();
        let mut filter = Vec::with_capacity(self.program.filter.len() + 2 * conditions.len() + 1);
        for (position, (offset, value)) in conditions.iter().enumerate() {
            // Over those that follow, two instructions each, and the answer.
            let over = u8::try_from(2 * (conditions.len() - position - 1) + 1).unwrap_or(u8::MAX);
            filter.push(Instruction { code: LOAD, jt: 0, jf: 0, k: *offset });
            filter.push(Instruction { code: JUMP_EQ, jt: 0, jf: over, k: *value });
        }
        filter.push(returns(RET_ALLOW));
        filter.extend(self.program.filter.iter().map(|instruction| match instruction.code {
            RETURN if is_asked(instruction.k) => returns(RET_USER_NOTIF),
            _ => *instruction,
        }));
        if !speech(&filter).both() {
            let what = "linux.seccomp: the profile has a signal or a tracer for both read and recvfrom, so nobody could hand over \
                        the listener";
            return Err(Error::of_field(Stage::Seccomp, "linux.seccomp", what));
        }
        Ok(filter)
    }

    /// What it says of a call that was asked about.
    pub fn verdict(&self, call: &CallData) -> FilterVerdict {
        match run(&self.program.filter, call) {
            answer if answer & ACTION == RET_ERRNO => FilterVerdict::Fails((answer & DATA).cast_signed()),
            answer if matches!(answer & ACTION, RET_ALLOW | RET_LOG) => FilterVerdict::Passes,
            _ => FilterVerdict::Kills,
        }
    }
}

fn returns(answer: u32) -> Instruction {
    Instruction { code: RETURN, jt: 0, jf: 0, k: answer }
}

/// A signal that a program may handle, and what a tracer is told, only the kernel can send.
fn is_asked(answer: u32) -> bool {
    matches!(answer & ACTION, RET_ALLOW | RET_LOG | RET_ERRNO | RET_KILL_THREAD | RET_KILL_PROCESS)
}

/// The answer of a program of our own compiler; of what it does not write, the strictest.
fn run(program: &[Instruction], call: &CallData) -> u32 {
    let (mut pc, mut loaded) = (0, Some(0));
    loop {
        match course(program, pc, loaded, |offset| Some(word(call, offset))) {
            Course::On(next, word) => (pc, loaded) = (next, word),
            Course::Answer(answer) => return answer,
            Course::Either(..) | Course::Strange => break,
        }
    }
    debug_assert!(false, "an instruction that our compiler does not write");
    RET_KILL_PROCESS
}

/// A word of `struct seccomp_data`.
fn word(call: &CallData, offset: u32) -> u32 {
    let half = |value: u64, high: bool| (if high { value >> 32 } else { value }) as u32;
    match offset {
        0 => call.nr.cast_unsigned(),
        4 => call.arch,
        _ => {
            let found = (0..6u8).find_map(|index| {
                let value = call.args[usize::from(index)];
                match halves(index) {
                    (low, _) if low == offset => Some(half(value, false)),
                    (_, high) if high == offset => Some(half(value, true)),
                    _ => None,
                }
            });
            found.unwrap_or_else(|| half(call.instruction, (offset == 12) != cfg!(target_endian = "big")))
        }
    }
}

/// What the profile has to say to be given a listener; `RET_TRAP` and the others stay as they are.
const _: () = assert!(RET_TRAP & DATA == 0);

#[cfg(test)]
mod tests {
    use brisk::sys::seccomp::RET_TRACE;
    use serde_json::json;

    use super::*;

    fn own(profile: serde_json::Value) -> OwnFilter {
        let profile = serde_json::from_value(profile).unwrap();
        OwnFilter::of(Some(&profile), Support::ALL).unwrap()
    }

    fn call(arch: Arch, nr: i64, args: [u64; 6]) -> CallData {
        CallData { nr: nr as i32, arch: arch.token(), instruction: 0, args }
    }

    #[test]
    fn everything_is_asked_about_but_the_hand_over() {
        let unconfined = OwnFilter::of(None, Support::ALL).unwrap();
        let asking = unconfined.asking().unwrap();
        let answer = |arch, nr, args| run(&asking, &call(arch, nr, args)) & ACTION;
        let mut record = [7, 0x1234, 0, 0, 0, 0];
        for (index, value) in RECORD_SENT {
            record[usize::from(index)] = value.into();
        }
        assert_eq!(answer(Arch::NATIVE, libc::SYS_write, record), RET_ALLOW);
        for index in 2..6 {
            let mut other = record;
            other[index] += 1;
            assert_eq!(answer(Arch::NATIVE, libc::SYS_write, other), RET_USER_NOTIF, "{index}");
        }
        assert_eq!(answer(Arch::NATIVE, libc::SYS_read, record), RET_USER_NOTIF);
        let foreign = if Arch::NATIVE == Arch::X86_64 { Arch::X86 } else { Arch::X86_64 };
        assert_eq!(answer(foreign, libc::SYS_write, record), RET_USER_NOTIF);
        assert_eq!(unconfined.verdict(&call(foreign, 5000, record)), FilterVerdict::Passes);
    }

    #[test]
    fn its_answers_are_those_of_the_profile() {
        let rule = |name: &str, action: &str| json!({ "names": [name], "action": action });
        let filter = own(json!({ "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            rule("getpid", "SCMP_ACT_ALLOW"), rule("write", "SCMP_ACT_ALLOW"), rule("read", "SCMP_ACT_LOG"),
            rule("getuid", "SCMP_ACT_KILL_PROCESS"), rule("getgid", "SCMP_ACT_TRAP"), rule("getegid", "SCMP_ACT_TRACE"),
            { "names": ["kill"], "action": "SCMP_ACT_ALLOW",
              "args": [{ "index": 1, "value": 0x1_0000_0009_u64, "op": "SCMP_CMP_EQ" }] },
        ] }));
        let asking = filter.asking().unwrap();
        let verdict = |nr, args| {
            (filter.verdict(&call(Arch::NATIVE, nr, args)), run(&asking, &call(Arch::NATIVE, nr, args)) & ACTION)
        };
        let none = [0; 6];
        assert_eq!(verdict(libc::SYS_getpid, none), (FilterVerdict::Passes, RET_USER_NOTIF));
        assert_eq!(verdict(libc::SYS_read, none), (FilterVerdict::Passes, RET_USER_NOTIF));
        assert_eq!(verdict(libc::SYS_getppid, none), (FilterVerdict::Fails(38), RET_USER_NOTIF));
        assert_eq!(verdict(libc::SYS_getuid, none), (FilterVerdict::Kills, RET_USER_NOTIF));
        assert_eq!(verdict(libc::SYS_getgid, none).1, RET_TRAP);
        assert_eq!(verdict(libc::SYS_getegid, none).1, RET_TRACE);
        assert_eq!(verdict(libc::SYS_kill, [1, 9, 0, 0, 0, 0]), (FilterVerdict::Fails(38), RET_USER_NOTIF));
        assert_eq!(verdict(libc::SYS_kill, [1, 0x1_0000_0009, 0, 0, 0, 0]), (FilterVerdict::Passes, RET_USER_NOTIF));
    }
    #[test]
    fn the_listener_can_be_handed_over_under_a_tight_profile() {
        let rule = |names: &[&str]| json!({ "names": names, "action": "SCMP_ACT_ALLOW" });
        for default in ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP", "SCMP_ACT_TRACE"] {
            for names in [&["getpid"] as &[&str], &["write"], &["read"], &["write", "recvfrom"]] {
                let own = own(json!({ "defaultAction": default, "syscalls": [rule(names)] }));
                let has = |name| names.contains(&name);
                let signals = default.starts_with("SCMP_ACT_TR");
                let Ok(asking) = own.asking() else {
                    assert!(signals && !has("read") && !has("recvfrom"), "{default} {names:?}");
                    continue;
                };
                let send = if has("write") { libc::SYS_write } else { libc::SYS_sendto };
                assert_eq!(speech(&asking).send, Some(send), "{default} {names:?}");
                // But for that record nothing passes.
                for nr in [libc::SYS_write, libc::SYS_sendto] {
                    assert_ne!(
                        run(&asking, &call(Arch::NATIVE, nr, [3, 0, 1, 0, 0, 0])),
                        RET_ALLOW,
                        "{default} {names:?}"
                    );
                }
            }
        }
    }
}
