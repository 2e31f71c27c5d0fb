//! Which flags of its source a bind mount keeps, as runc does it: all of them where its options name none; else those alone
//! that are named. A user namespace keeps what is locked there, and refuses to clear it where that was asked for by name.

use std::path::Path;

use nix::mount::MsFlags;
use serde_json::Value;

use crate::common::container::{has, mount_at};
use crate::common::{Bundle, skip_on};

const RO: MsFlags = MsFlags::MS_RDONLY;
const NOSUID: MsFlags = MsFlags::MS_NOSUID;
const NODEV: MsFlags = MsFlags::MS_NODEV;
const NOEXEC: MsFlags = MsFlags::MS_NOEXEC;
const NOATIME: MsFlags = MsFlags::MS_NOATIME;
const NODIRATIME: MsFlags = MsFlags::MS_NODIRATIME;
const STRICTATIME: MsFlags = MsFlags::MS_STRICTATIME;
/// MS_NOSYMFOLLOW of mount(2), Linux 5.10.
const NOSYMFOLLOW: MsFlags = MsFlags::from_bits_retain(0x100);

/// Every flag that a line may show.
const FLAGS: [&str; 8] = ["ro", "nosuid", "nodev", "noexec", "noatime", "relatime", "nodiratime", "nosymfollow"];

struct Case {
    /// Flags of the mount on the host.
    source: &'static [MsFlags],
    options: &'static [&'static str],
    /// What of [`FLAGS`] the container's mount has.
    shown: &'static [&'static str],
    /// The same in a user namespace; `None` where that cannot be.
    in_userns: Option<&'static [&'static str]>,
}

const CASES: &[Case] = &[
    // Nothing is named: everything stays. Neither propagation nor a recursive attribute names a flag of the mount.
    Case {
        source: &[RO, NOEXEC, NOSYMFOLLOW, NODIRATIME],
        options: &["bind"],
        shown: &["ro", "noexec", "relatime", "nodiratime", "nosymfollow"],
        in_userns: Some(&["ro", "noexec", "relatime", "nodiratime", "nosymfollow"]),
    },
    Case {
        source: &[RO, NOSUID],
        options: &["rbind", "rslave", "rnodev"],
        shown: &["ro", "nosuid", "nodev", "relatime"],
        in_userns: Some(&["ro", "nosuid", "nodev", "relatime"]),
    },
    Case { source: &[STRICTATIME], options: &["bind"], shown: &[], in_userns: Some(&[]) },
    // What is asked for all of the tree holds for its top as well, whatever is named beside it, in any order.
    Case {
        source: &[],
        options: &["rbind", "ro", "rnoexec", "rnosuid"],
        shown: &["ro", "nosuid", "noexec", "relatime"],
        in_userns: Some(&["ro", "nosuid", "noexec", "relatime"]),
    },
    Case {
        source: &[NODEV],
        options: &["rbind", "rnodev", "rro", "rw", "noexec"],
        shown: &["ro", "nodev", "noexec", "relatime"],
        in_userns: Some(&["ro", "nodev", "noexec", "relatime"]),
    },
    // What is not named goes, with a name that sets or that clears; locked flags stay.
    Case {
        source: &[RO, NOEXEC, NOSYMFOLLOW, NODIRATIME],
        options: &["bind", "dev"],
        shown: &["relatime", "nodiratime"],
        in_userns: Some(&["ro", "noexec", "relatime", "nodiratime"]),
    },
    Case {
        source: &[RO],
        options: &["bind", "nosuid", "nodev", "rprivate"],
        shown: &["nosuid", "nodev", "relatime"],
        in_userns: Some(&["ro", "nosuid", "nodev", "relatime"]),
    },
    Case {
        source: &[RO, NOSUID],
        options: &["rbind", "rprivate", "ro", "bind"],
        shown: &["ro", "relatime"],
        in_userns: Some(&["ro", "nosuid", "relatime"]),
    },
    Case {
        source: &[NOSUID, NODEV, NOEXEC, NOATIME],
        options: &["bind", "ro"],
        shown: &["ro", "noatime"],
        in_userns: Some(&["ro", "nosuid", "nodev", "noexec", "noatime"]),
    },
    Case {
        source: &[NODEV, NOSYMFOLLOW],
        options: &["bind", "ro", "symfollow"],
        shown: &["ro", "relatime"],
        in_userns: Some(&["ro", "nodev", "relatime"]),
    },
    // A flag of the file system is a name as well.
    Case {
        source: &[NOEXEC],
        options: &["bind", "async"],
        shown: &["relatime"],
        in_userns: Some(&["noexec", "relatime"]),
    },
    // What is locked and to be cleared by name is an error.
    Case { source: &[RO], options: &["bind", "rw", "nosuid"], shown: &["nosuid", "relatime"], in_userns: None },
    Case {
        source: &[NOSUID, NODEV, NOEXEC, NOATIME],
        options: &["bind", "dev", "suid", "exec", "atime"],
        shown: &["noatime"],
        in_userns: None,
    },
    // Of access times what sets counts, and sets all of them; what clears does not.
    Case { source: &[NOATIME], options: &["bind", "norelatime"], shown: &["noatime"], in_userns: Some(&["noatime"]) },
    Case { source: &[NOATIME], options: &["bind", "atime"], shown: &["noatime"], in_userns: Some(&["noatime"]) },
    Case {
        source: &[NODIRATIME],
        options: &["bind", "diratime"],
        shown: &["relatime", "nodiratime"],
        in_userns: Some(&["relatime", "nodiratime"]),
    },
    Case { source: &[STRICTATIME], options: &["bind", "nostrictatime"], shown: &[], in_userns: Some(&[]) },
    Case { source: &[NOATIME], options: &["bind", "relatime"], shown: &["relatime"], in_userns: None },
    Case { source: &[NOATIME], options: &["bind", "nodiratime"], shown: &["relatime", "nodiratime"], in_userns: None },
    Case { source: &[NODIRATIME], options: &["bind", "strictatime"], shown: &[], in_userns: None },
    Case { source: &[STRICTATIME], options: &["bind", "noatime"], shown: &["noatime"], in_userns: None },
];

fn with_case(mut bundle: Bundle, index: usize, case: &Case) -> Bundle {
    let dir = bundle.host_dir(&format!("source-{index}"));
    bundle.mount_on_host(Path::new("tmpfs"), &dir, "tmpfs", MsFlags::empty(), "mode=0755");
    let flags = case.source.iter().copied().collect::<MsFlags>() | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    bundle.mount_on_host(Path::new("none"), &dir, "none", flags, "");
    bundle.mount("bind", dir.to_str().unwrap(), &format!("/mnt/{index}"), case.options)
}

fn all<'a>(bundle: Bundle, cases: impl Iterator<Item = (usize, &'a Case)>) -> Value {
    let bundle = cases.fold(bundle, |bundle, (index, case)| with_case(bundle, index, case));
    bundle.container().run().ok().json()["report"].clone()
}

#[track_caller]
fn check(report: &Value, index: usize, case: &Case, expected: &[&str]) {
    let mount = mount_at(report, &format!("/mnt/{index}"));
    let shown: Vec<&str> = FLAGS.into_iter().filter(|flag| has(&mount["opts"], flag)).collect();
    let sorted: Vec<&str> = FLAGS.into_iter().filter(|flag| expected.contains(flag)).collect();
    assert_eq!(shown, sorted, "{:?} of a source with {:?}", case.options, case.source);
}

#[test]
fn what_is_not_named_goes_once_a_flag_is_named() {
    if skip_on(&["crun"], "another rule") {
        return;
    }
    let report = all(Bundle::probe(&["report"]), CASES.iter().enumerate());
    for (index, case) in CASES.iter().enumerate() {
        check(&report, index, case, case.shown);
    }
}

#[test]
fn a_user_namespace_keeps_what_is_locked_in_it() {
    if skip_on(&["crun"], "another rule") {
        return;
    }
    let possible = || CASES.iter().enumerate().filter(|(_, case)| case.in_userns.is_some());
    let report = all(Bundle::probe(&["report"]).userns(), possible());
    for (index, case) in possible() {
        check(&report, index, case, case.in_userns.unwrap());
    }
}

#[test]
fn a_user_namespace_cannot_clear_by_name_what_is_locked_in_it() {
    if skip_on(&["crun"], "another rule") {
        return;
    }
    for (index, case) in CASES.iter().enumerate().filter(|(_, case)| case.in_userns.is_none()) {
        let error = with_case(Bundle::probe(&["report"]).userns(), index, case).container().run().fails();
        assert!(error.contains("operation not permitted"), "{:?}: {error}", case.options);
        // By what it is called on the host, whoever opened it.
        assert!(error.contains(&format!("/source-{index}")), "{error}");
    }
}

/// A superblock is shared by all its mounts: `remount` without `bind` clears its flags, too.
#[test]
fn a_remount_clears_flags_of_the_file_system() {
    if skip_on(&["runc", "crun"], "lazytime is another matter there") {
        return;
    }
    let options = ["sync", "mand", "lazytime", "ro"];
    let bundle = Bundle::probe(&["report"]).mount("tmpfs", "tmpfs", "/mnt/0", &options);
    let bundle = bundle.mount("tmpfs", "tmpfs", "/mnt/0", &["remount", "async", "nomand", "nolazytime", "rw"]);
    let report = bundle.container().run().ok().json()["report"].clone();
    let mount = mount_at(&report, "/mnt/0");
    for flag in ["sync", "mand", "lazytime", "ro"] {
        assert!(!has(&mount["super"], flag) && (flag == "ro" || !has(&mount["opts"], flag)), "{flag}: {mount}");
    }
}

/// As CRI-O ends the options of every volume: `bind` is a flag that is there already.
#[test]
fn bind_after_rbind_takes_nothing_away() {
    for options in [&["rbind", "rprivate", "ro", "bind"][..], &["bind", "rbind"]] {
        let mut bundle = Bundle::probe(&["read:/mnt/sub/file"]);
        let source = bundle.host_dir_with_mount();
        let out = bundle.mount("bind", source.to_str().unwrap(), "/mnt", options).container().run().ok().json();
        assert_eq!(out["read:/mnt/sub/file"], "below", "{options:?}");
    }
}

#[test]
fn one_string_may_hold_several_parameters() {
    let bundle = Bundle::probe(&["report", "read:/both/a", "read:/both/b", "stat:/dev/pts/ptmx"]);
    let lower = bundle.host_dir("lower,1");
    let (upper, work) = (bundle.host_dir("upper"), bundle.host_dir("work"));
    std::fs::write(lower.join("a"), "lower").unwrap();
    std::fs::write(upper.join("b"), "upper").unwrap();
    let escaped = lower.to_str().unwrap().replace(',', "\\,");
    let overlay = format!("lowerdir={escaped},upperdir={},workdir={}", upper.display(), work.display());
    let bundle = bundle
        .mount("tmpfs", "tmpfs", "/mnt", &["nosuid", "size=64k,mode=700,"])
        .mount("overlay", "overlay", "/both", &[&overlay])
        .without_mount("/dev/pts")
        .mount("devpts", "devpts", "/dev/pts", &["newinstance,ptmxmode=0600,mode=0620,gid=5"]);
    let out = bundle.container().run().ok().json();
    assert_eq!((&out["read:/both/a"], &out["read:/both/b"]), (&"lower".into(), &"upper".into()), "{out}");
    let mount = mount_at(&out["report"], "/mnt");
    assert!(has(&mount["super"], "size=64k") && has(&mount["super"], "mode=700"), "{mount}");
    assert_eq!(out["stat:/dev/pts/ptmx"]["mode"], "600", "{out}");
}
