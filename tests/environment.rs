//! The environment, the search for the program, HOME.

use std::ffi::CString;

use brisk::plan::process::environment;
use brisk::plan::process::environment::{Candidate, ProgramEnvironment};
use brisk::proc::passwd;
use brisk::spec::process::DEFAULT_PATH;
use brisk::spec::text::Text;

use crate::refused;

fn texts(list: &[&str]) -> Vec<Text> {
    list.iter().copied().map(Text::from).collect()
}

#[test]
fn the_last_value_of_a_name_wins() {
    let env = ProgramEnvironment::parse(&texts(&["A=1", "B=2", "A=3", "C=", "PATHX=/x", "B=a=b"])).expect("valid");
    assert_eq!(env.vars, ["A=3", "C=", "PATHX=/x", "B=a=b"]);
    assert_eq!(["A", "B", "C", "D"].map(|name| env.get(name)), [Some(&b"3"[..]), Some(b"a=b"), Some(b""), None]);
    assert_eq!(env.path(), DEFAULT_PATH.as_bytes());
    assert_eq!(ProgramEnvironment::parse(&texts(&["PATH=/x"])).expect("valid").path(), b"/x");
}

#[test]
fn refusals() {
    for (var, want) in [("A", "has no ="), ("", "has no ="), ("=x", "has no name"), ("A=\0", "contains a NUL byte")] {
        let text = refused(ProgramEnvironment::parse(&texts(&[var])));
        assert!(text.contains(want), "{text}");
    }
}

#[test]
fn the_search_for_the_program() {
    let take = |path: &str| Candidate::Take(CString::new(path).unwrap());
    let refuse = |path: &str| Candidate::Refuse(CString::new(path).unwrap());
    let table = [
        ("/bin/sh", "/x", vec![take("/bin/sh")]),
        ("./run", "/x", vec![take("./run")]),
        ("bin/run", "/x", vec![take("bin/run")]),
        ("sh", "/a:/b/:/", vec![take("/a/sh"), take("/b/sh"), take("/sh")]),
        ("sh", "/a::b:.", vec![take("/a/sh"), refuse("./sh"), refuse("b/sh"), refuse("./sh")]),
        ("sh", "", vec![refuse("./sh")]),
    ];
    for (name, path, want) in table {
        assert_eq!(environment::candidates(name.as_bytes(), path.as_bytes()).expect("valid"), want, "{name} in {path}");
    }
    assert!(refused(environment::candidates(b"", b"/bin")).contains("executable file not found"));
}

#[test]
fn home() {
    let passwd =
        b"root:x:0:0:root:/root:/bin/sh\nshort:x:5\n+nis\n#x:y:7:0::/no\nempty:x:8:8:::\nlong:x:4294967296:0::/no:\n\
        bad:x:1x:0::/no:\nfirst:x:1000:1000::/home/a:/bin/sh\nsecond:x:1000:1000::/home/b:/bin/sh\nlast:x:1001:1:g:/l";
    let table: [(u32, Option<&[u8]>); 8] = [
        (0, Some(b"/root")),
        (5, None),
        (7, Some(b"/no")),
        (8, None),
        (1, None),
        (1000, Some(b"/home/a")),
        (1001, Some(b"/l")),
        (2, None),
    ];
    for (uid, want) in table {
        assert_eq!(passwd::home_of(passwd, uid), want, "{uid}");
    }
    assert_eq!(passwd::home_of(b"", 0), None);
}
