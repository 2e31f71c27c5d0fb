//! Resource limits.

use brisk::plan::process::rlimits;
use brisk::plan::process::rlimits::ParsedRlimit;
use brisk::spec::process::Rlimit;

use crate::refused;

fn limit(kind: &str, soft: u64, hard: u64) -> Rlimit {
    Rlimit { kind: kind.to_owned(), hard, soft }
}

#[test]
fn every_name_has_its_number() {
    // include/uapi/asm-generic/resource.h
    let names = "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME";
    for (number, name) in names.split(' ').enumerate() {
        let name = format!("RLIMIT_{name}");
        let want = ParsedRlimit { resource: number as u32, soft: 1, hard: u64::MAX };
        assert_eq!(rlimits::parse(&[limit(&name, 1, u64::MAX)]).expect("valid"), [want]);
        assert_eq!(rlimits::name(number as u32), Some(name.as_str()));
    }
    assert_eq!(libc::RLIM_INFINITY, u64::MAX);
}

#[test]
fn refusals() {
    let table = [
        (vec![limit("RLIMIT_NOPE", 0, 0)], "rlimit \"RLIMIT_NOPE\" does not exist"),
        (vec![limit("NOFILE", 0, 0)], "does not exist"),
        (vec![limit("RLIMIT_NOFILE", 1, 1), limit("RLIMIT_NOFILE", 1, 1)], "rlimit RLIMIT_NOFILE is listed twice"),
        (vec![limit("RLIMIT_NOFILE", 2, 1)], "soft limit 2 is above hard limit 1"),
    ];
    for (list, want) in table {
        let text = refused(rlimits::parse(&list));
        assert!(text.contains(want), "{text}");
    }
}
