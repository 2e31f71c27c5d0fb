//! Which system calls a filter lets pass, whatever their arguments: what a process that has loaded it can still use to
//! speak to its parent. Read from the program, so that it holds for one that an annotation has, too.

use std::collections::BTreeSet;

use super::arch::Arch;
use super::machine::{ACTION, Course, course};
use crate::sys::seccomp::{Instruction, RET_ALLOW, RET_LOG, RET_USER_NOTIF};
use crate::wire;

/// Numbers of system calls that a filter lets pass, where it does. Both take a descriptor, an address and a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speech {
    /// To send a record.
    pub send: Option<i64>,
    /// To receive one.
    pub receive: Option<i64>,
}

impl Speech {
    /// Whether a process can ask, and hear the answer.
    pub fn both(self) -> bool {
        self.send.is_some() && self.receive.is_some()
    }
}

/// Calls for a record in memory: descriptor, address, length; zeros are right for what else they take.
const SEND: [i64; 2] = [libc::SYS_write, libc::SYS_sendto];
const RECEIVE: [i64; 2] = [libc::SYS_read, libc::SYS_recvfrom];
/// What else is the same whenever one is sent: its length, the flag by which nobody gets SIGPIPE, and zeros. write(2) ignores all
/// but the length, so by these a filter can tell our records from what programs write.
pub const RECORD_SENT: [(u8, u32); 4] = [(2, wire::SIZE as u32), (3, libc::MSG_NOSIGNAL as u32), (4, 0), (5, 0)];

/// Actions with which a call is made, and nobody has to be asked.
const FREE: [u32; 2] = [RET_ALLOW, RET_LOG];

/// The calls to use under this filter. One that has to be answered by the owner of the listener will do to receive with,
/// because the listener is handed over by then.
pub fn speech(program: &[Instruction]) -> Speech {
    let receive = first(program, RECEIVE, &FREE, &[])
        .or_else(|| first(program, RECEIVE, &[RET_ALLOW, RET_LOG, RET_USER_NOTIF], &[]));
    Speech { send: sender(program), receive }
}

/// The call to send a record with.
pub fn sender(program: &[Instruction]) -> Option<i64> {
    first(program, SEND, &FREE, &RECORD_SENT)
}

fn first(program: &[Instruction], calls: [i64; 2], actions: &[u32], known: &[(u8, u32)]) -> Option<i64> {
    calls.into_iter().find(|call| u32::try_from(*call).is_ok_and(|nr| passes(program, nr, actions, known)))
}

/// Where `struct seccomp_data` has the low half of an argument, and the high one.
pub const fn halves(index: u8) -> (u32, u32) {
    let at = 16 + 8 * index as u32;
    if cfg!(target_endian = "big") { (at + 4, at) } else { (at, at + 4) }
}

/// Whether the program answers a call of the native architecture with nothing but these actions. Both ways are gone where a
/// comparison depends on arguments other than those that are known.
fn passes(program: &[Instruction], nr: u32, actions: &[u32], known: &[(u8, u32)]) -> bool {
    let word = |offset| match offset {
        0 => Some(nr),
        4 => Some(Arch::NATIVE.token()),
        _ => known.iter().find_map(|(index, value)| match halves(*index) {
            (low, _) if low == offset => Some(*value),
            (_, high) if high == offset => Some(0),
            _ => None,
        }),
    };
    let mut seen = BTreeSet::new();
    // Where to go on, and what is loaded where that is known.
    let mut left = vec![(0, None)];
    while let Some((pc, loaded)) = left.pop() {
        if !seen.insert((pc, loaded)) {
            continue;
        }
        match course(program, pc, loaded, word) {
            Course::On(next, loaded) => left.push((next, loaded)),
            Course::Either(yes, no) => left.extend([(yes, None), (no, None)]),
            Course::Answer(answer) if actions.contains(&(answer & ACTION)) => {}
            Course::Answer(_) | Course::Strange => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::seccomp::{CompileOptions, compile};

    fn speech_under(profile: serde_json::Value) -> Speech {
        let profile = serde_json::from_value(profile).expect("a profile");
        speech(&compile(&profile, &CompileOptions::default()).expect("compiled").filter)
    }

    #[test]
    fn the_calls_that_are_let_pass_are_found() {
        use serde_json::json;
        let (write, sendto) = (libc::SYS_write, libc::SYS_sendto);
        let (read, recvfrom) = (libc::SYS_read, libc::SYS_recvfrom);
        let rule = |names: &[&str], action: &str| json!({ "names": names, "action": action });
        let under = |default: &str, rules: &[serde_json::Value]| {
            let speech = speech_under(json!({ "defaultAction": default, "listenerPath": "/l", "syscalls": rules }));
            (speech.send, speech.receive)
        };
        let (allow, errno, notify) = ("SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_NOTIFY");
        assert_eq!(under(allow, &[rule(&["sendmsg", "sendto"], notify)]), (Some(write), Some(read)));
        assert_eq!(under(allow, &[rule(&["write"], errno)]), (Some(sendto), Some(read)));
        assert_eq!(under(allow, &[rule(&["read"], notify)]), (Some(write), Some(recvfrom)));
        assert_eq!(under(allow, &[rule(&["read", "recvfrom"], notify)]), (Some(write), Some(read)));
        assert_eq!(under(allow, &[rule(&["write", "sendto"], errno)]), (None, Some(read)));
        assert_eq!(under(allow, &[rule(&["read", "recvfrom"], errno)]), (Some(write), None));
        assert_eq!(under(errno, &[rule(&["write", "recvfrom"], allow)]), (Some(write), Some(recvfrom)));
        assert_eq!(under(errno, &[rule(&["write", "recvfrom"], "SCMP_ACT_LOG")]), (Some(write), Some(recvfrom)));
        let only_stdout =
            json!({ "names": ["write"], "action": allow, "args": [{ "index": 0, "value": 1, "op": "SCMP_CMP_EQ" }] });
        assert_eq!(under(errno, &[rule(&["read"], allow), only_stdout]), (None, Some(read)), "some writes only");
        let conditions =
            RECORD_SENT.map(|(index, value)| json!({ "index": index, "value": value, "op": "SCMP_CMP_EQ" }));
        let only_records = json!({ "names": ["write"], "action": allow, "args": conditions });
        assert_eq!(under(errno, &[rule(&["read"], allow), only_records.clone()]), (Some(write), Some(read)));
        let mut longer = only_records;
        longer["args"][0]["value"] = json!(wire::SIZE + 1);
        assert_eq!(under(errno, &[rule(&["read"], allow), longer]), (None, Some(read)), "other lengths only");
    }
}
