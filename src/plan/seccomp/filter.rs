//! The seccomp filter of a container's processes: the profile, compiled, or the program that an annotation has.

use super::speech::speech;
use crate::error::{Below, Error, Result, Stage};
use crate::plan::op::Filter;
use crate::plan::seccomp;
use crate::spec::Spec;
use crate::spec::annotations;
use crate::spec::seccomp::Seccomp;
use crate::sys::seccomp::{Instruction, Support};

/// `struct sock_filter`
const INSTRUCTION: usize = 8;

/// Actions that every kernel with filters has (linux 3.5, `KILL_PROCESS` 4.14): what the profiles of engines use.
const PLAIN_ACTIONS: &[&str] = &[
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

/// Whether the profile names what not every kernel knows. Only then the kernel is asked: it takes a dozen calls.
pub fn is_unusual(spec: &Spec) -> bool {
    spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref()).is_some_and(names_unusual)
}

fn names_unusual(profile: &Seccomp) -> bool {
    let mut actions = profile.syscalls.iter().map(|rule| &rule.action).chain([&profile.default_action]);
    actions.any(|action| !action.is_empty() && !PLAIN_ACTIONS.contains(&action.as_str()))
        || profile.flags.as_ref().is_some_and(|flags| !flags.is_empty())
}

/// The filter for a kernel that knows this much.
pub(in crate::plan) fn filter(spec: &Spec, kernel: Support, warnings: &mut Vec<String>) -> Result<Option<Filter>> {
    let profile = spec.linux.as_ref().and_then(|linux| linux.seccomp.as_ref());
    let Some(profile) = profile.filter(|profile| seccomp::is_enabled(profile)) else { return Ok(None) };
    let receiver = annotations::seccomp_receiver(spec)?;
    let mut options = seccomp::CompileOptions { receiver, kernel, ..Default::default() };
    if annotations::is_on(&spec.instructions, annotations::FAIL_UNKNOWN_SYSCALL) {
        options.unknown_syscalls = seccomp::UnknownSyscalls::Refuse;
    }
    let program = seccomp::compile(profile, &options).below(|| "linux.seccomp")?;
    warnings.extend(program.warnings);
    let instructions = match annotations::value(&spec.instructions, annotations::SECCOMP_BPF_DATA) {
        Some(text) => ready_made(text)?,
        None => program.filter,
    };
    let speech = speech(&instructions);
    if program.receiver.is_some() && !speech.both() {
        let what = "linux.seccomp: its listener cannot be handed over: the profile lets neither write nor sendto pass, or \
                    neither read nor recvfrom";
        return Err(Error::of_field(Stage::Seccomp, "linux.seccomp", what));
    }
    let mut bytes = Vec::with_capacity(instructions.len() * INSTRUCTION);
    for instruction in &instructions {
        bytes.extend(instruction.code.to_ne_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_ne_bytes());
    }
    let len = u16::try_from(bytes.len() / INSTRUCTION)
        .map_err(|_| Error::new(Stage::Seccomp, "linux.seccomp: the filter has too many instructions"))?;
    Ok(Some(Filter { program: bytes, len, flags: program.flags, receiver: program.receiver, speech }))
}

/// The program of `run.oci.seccomp_bpf_data`. What it does is nobody's business but the kernel's, which checks it.
fn ready_made(text: &str) -> Result<Vec<Instruction>> {
    let bad = |why: &str| Error::new(Stage::Seccomp, format!("{}: {why}", annotations::SECCOMP_BPF_DATA));
    let bytes = base64(text).ok_or_else(|| bad("not base64 (RFC 4648)"))?;
    if bytes.is_empty() || bytes.len() % INSTRUCTION != 0 {
        return Err(bad("not a number of BPF instructions of 8 bytes each"));
    }
    let instruction = |bytes: &[u8; INSTRUCTION]| {
        let [c0, c1, jt, jf, k @ ..] = *bytes;
        Instruction { code: u16::from_ne_bytes([c0, c1]), jt, jf, k: u32::from_ne_bytes(k) }
    };
    Ok(bytes.as_chunks().0.iter().map(instruction).collect())
}

/// Base64 with the usual alphabet and padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (text, mut bytes) = (text.trim_ascii(), Vec::with_capacity(text.len() / 4 * 3));
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let digits = text.trim_end_matches('=');
    if text.len() - digits.len() > 2 {
        return None;
    }
    for group in digits.as_bytes().chunks(4) {
        let mut word = 0u32;
        for byte in group {
            word = (word << 6) | u32::from(digit(*byte)?);
        }
        let missing = 4 - group.len();
        word <<= 6 * missing;
        let [_, whole @ ..] = word.to_be_bytes();
        bytes.extend_from_slice(whole.get(..3 - missing.min(2))?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_rfc_4648() {
        for (text, bytes) in
            [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        for bad in ["Zg", "Zg=", "Z===", "Zm9*", "=Zm9", "Zm 9", "Zg==Zg=="] {
            assert_eq!(base64(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_ready_made_program_takes_the_place_of_the_compiled() {
        use serde_json::json;
        // BPF_RET | BPF_K, SECCOMP_RET_ALLOW
        let spec = |data: &str| -> Spec {
            let linux = serde_json::from_value(
                json!({ "seccomp": { "defaultAction": "SCMP_ACT_ERRNO", "flags": ["SECCOMP_FILTER_FLAG_LOG"] } }),
            );
            let instructions = [(annotations::SECCOMP_BPF_DATA.to_owned(), data.to_owned())].into();
            Spec { instructions, linux: Some(linux.expect("a configuration")), ..Spec::default() }
        };
        let filter_of = |data| filter(&spec(data), Support::ALL, &mut Vec::new());
        let found = filter_of("BgAAAAAA/38=").expect("valid").expect("a filter");
        assert_eq!((found.len, &found.program[..], found.flags), (1, &[6, 0, 0, 0, 0, 0, 0xff, 0x7f][..], 2));
        assert!(filter_of("BgAAAAAA/w==").is_err(), "seven bytes");
        assert!(filter_of("no").is_err());
        assert!(filter_of("").expect("valid").expect("a filter").len > 1, "empty: as if it were not there");
    }

    #[test]
    fn what_the_kernel_does_not_know_is_refused() {
        let spec: Spec = serde_json::from_value(serde_json::json!({ "ociVersion": "1.3.0",
            "linux": { "seccomp": { "defaultAction": "SCMP_ACT_LOG" } } }))
        .expect("a configuration");
        let kernel = Support::NONE.with_action(crate::sys::seccomp::RET_ALLOW);
        assert!(filter(&spec, kernel, &mut Vec::new()).is_err());
        assert!(filter(&spec, Support::ALL, &mut Vec::new()).is_ok());
    }

    fn unusual(profile: serde_json::Value) -> bool {
        names_unusual(&serde_json::from_value(profile).expect("a profile"))
    }

    #[test]
    fn the_kernel_is_asked_about_unusual_profiles_only() {
        use serde_json::json;
        let rule = |action: &str| json!({ "names": ["uname"], "action": action });
        assert!(!unusual(
            json!({ "defaultAction": "SCMP_ACT_ERRNO", "flags": [], "syscalls": [rule("SCMP_ACT_ALLOW")] })
        ));
        assert!(unusual(json!({ "defaultAction": "SCMP_ACT_LOG" })));
        assert!(unusual(json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule("SCMP_ACT_NOTIFY")] })));
        assert!(unusual(json!({ "defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_LOG"] })));
    }
}
