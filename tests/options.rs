//! Mount options.

use brisk::plan::namespace::idmap::OptionRange;
use brisk::plan::reach::Reach;
use brisk::plan::rootfs::options;
use brisk::plan::rootfs::options::{MountOptions, Propagation};
use brisk::sys::mount_attr as attr;
use libc::{
    MS_DIRSYNC, MS_I_VERSION, MS_LAZYTIME, MS_MANDLOCK, MS_NOATIME, MS_NODEV, MS_NODIRATIME, MS_NOEXEC, MS_NOSUID,
    MS_NOSYMFOLLOW, MS_PRIVATE, MS_RDONLY, MS_REC, MS_SHARED, MS_SILENT, MS_SLAVE, MS_STRICTATIME, MS_SYNCHRONOUS,
    MS_UNBINDABLE,
};

use crate::{refused, strings};

fn parse(list: &[&str]) -> MountOptions {
    options::parse(&strings(list)).expect("options parse")
}

#[test]
fn the_table_is_sorted_and_holds_every_option_of_the_specification() {
    let names: Vec<_> = options::names().collect();
    assert!(names.is_sorted_by(|a, b| a < b), "bisection needs a sorted table without duplicates");
    // config.md of runtime-spec 1.3, "Linux mount options".
    let spec = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime nodev \
        nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private ratime rbind \
        rdev rdiratime relatime remount rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
        rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared \
        silent slave strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap";
    for name in spec.split_whitespace() {
        assert!(names.contains(&name), "{name} is missing");
    }
    for name in "copy-symlink src-nofollow dest-nofollow rsync rasync rdirsync rmand rnomand".split(' ') {
        assert!(names.contains(&name), "crun's {name} is missing");
    }
}

#[test]
fn no_known_option_becomes_data_of_the_file_system() {
    for name in options::names() {
        assert_eq!(parse(&[name]).data, Vec::<String>::new(), "{name}");
    }
}

#[test]
fn attributes_and_superblock_flags() {
    // Option, attr_set, attr_clr, rec_set, rec_clr, sb_set, sb_clr.
    let table: &[(&str, [u64; 6])] = &[
        ("defaults", [0; 6]),
        ("ro", [attr::RDONLY, 0, 0, 0, MS_RDONLY, 0]),
        ("rw", [0, attr::RDONLY, 0, 0, 0, MS_RDONLY]),
        ("nosuid", [attr::NOSUID, 0, 0, 0, 0, 0]),
        ("suid", [0, attr::NOSUID, 0, 0, 0, 0]),
        ("nodev", [attr::NODEV, 0, 0, 0, 0, 0]),
        ("dev", [0, attr::NODEV, 0, 0, 0, 0]),
        ("noexec", [attr::NOEXEC, 0, 0, 0, 0, 0]),
        ("exec", [0, attr::NOEXEC, 0, 0, 0, 0]),
        ("nosymfollow", [attr::NOSYMFOLLOW, 0, 0, 0, 0, 0]),
        ("symfollow", [0, attr::NOSYMFOLLOW, 0, 0, 0, 0]),
        ("nodiratime", [attr::NODIRATIME, 0, 0, 0, 0, 0]),
        ("diratime", [0, attr::NODIRATIME, 0, 0, 0, 0]),
        ("noatime", [attr::NOATIME, attr::ATIME_MASK, 0, 0, 0, 0]),
        ("atime", [0; 6]),
        ("relatime", [0, attr::ATIME_MASK, 0, 0, 0, 0]),
        ("norelatime", [0; 6]),
        ("strictatime", [attr::STRICTATIME, attr::ATIME_MASK, 0, 0, 0, 0]),
        ("nostrictatime", [0; 6]),
        ("rro", [0, 0, attr::RDONLY, 0, 0, 0]),
        ("rrw", [0, 0, 0, attr::RDONLY, 0, 0]),
        ("rnosuid", [0, 0, attr::NOSUID, 0, 0, 0]),
        ("rsuid", [0, 0, 0, attr::NOSUID, 0, 0]),
        ("rnodev", [0, 0, attr::NODEV, 0, 0, 0]),
        ("rdev", [0, 0, 0, attr::NODEV, 0, 0]),
        ("rnoexec", [0, 0, attr::NOEXEC, 0, 0, 0]),
        ("rexec", [0, 0, 0, attr::NOEXEC, 0, 0]),
        ("rnosymfollow", [0, 0, attr::NOSYMFOLLOW, 0, 0, 0]),
        ("rsymfollow", [0, 0, 0, attr::NOSYMFOLLOW, 0, 0]),
        ("rnodiratime", [0, 0, attr::NODIRATIME, 0, 0, 0]),
        ("rdiratime", [0, 0, 0, attr::NODIRATIME, 0, 0]),
        ("rnoatime", [0, 0, attr::NOATIME, attr::ATIME_MASK, 0, 0]),
        ("ratime", [0, 0, 0, attr::ATIME_MASK, 0, 0]),
        ("rrelatime", [0, 0, 0, attr::ATIME_MASK, 0, 0]),
        ("rstrictatime", [0, 0, attr::STRICTATIME, attr::ATIME_MASK, 0, 0]),
        ("rnostrictatime", [0, 0, 0, attr::ATIME_MASK, 0, 0]),
        ("rnorelatime", [0; 6]),
        ("sync", [0, 0, 0, 0, MS_SYNCHRONOUS, 0]),
        ("async", [0, 0, 0, 0, 0, MS_SYNCHRONOUS]),
        ("rsync", [0, 0, 0, 0, MS_SYNCHRONOUS, 0]),
        ("dirsync", [0, 0, 0, 0, MS_DIRSYNC, 0]),
        ("mand", [0, 0, 0, 0, MS_MANDLOCK, 0]),
        ("nomand", [0, 0, 0, 0, 0, MS_MANDLOCK]),
        ("iversion", [0, 0, 0, 0, MS_I_VERSION, 0]),
        ("noiversion", [0, 0, 0, 0, 0, MS_I_VERSION]),
        ("lazytime", [0, 0, 0, 0, MS_LAZYTIME, 0]),
        ("nolazytime", [0, 0, 0, 0, 0, MS_LAZYTIME]),
        ("silent", [0, 0, 0, 0, MS_SILENT, 0]),
        ("loud", [0, 0, 0, 0, 0, MS_SILENT]),
    ];
    for (name, want) in table {
        let o = parse(&[name]);
        assert_eq!([o.attr_set, o.attr_clr, o.rec_set, o.rec_clr, o.sb_set, o.sb_clr], *want, "{name}");
    }
}

#[test]
fn the_later_of_two_contradicting_options_wins() {
    let o = parse(&["ro", "rw"]);
    assert_eq!((o.attr_set, o.attr_clr, o.sb_set, o.sb_clr), (0, attr::RDONLY, 0, MS_RDONLY));
    let o = parse(&["rw", "ro"]);
    assert_eq!((o.attr_set, o.attr_clr, o.sb_set, o.sb_clr), (attr::RDONLY, 0, MS_RDONLY, 0));
    assert_eq!(parse(&["noatime", "strictatime"]).attr_set, attr::STRICTATIME);
    assert_eq!(parse(&["noatime", "atime"]).attr_set, 0);
    assert_eq!(parse(&["strictatime", "atime"]).attr_set, attr::STRICTATIME);
    assert_eq!(parse(&["async", "sync"]).sb_set, MS_SYNCHRONOUS);
}

#[test]
fn mount_setattr_never_gets_part_of_the_access_time_field() {
    for name in options::names() {
        let o = parse(&[name]);
        for (set, clear) in [(o.attr_set, o.attr_clr), (o.rec_set, o.rec_clr)] {
            let field = clear & attr::ATIME_MASK;
            assert!(field == 0 || field == attr::ATIME_MASK, "{name}: EINVAL");
            assert!(set & attr::ATIME_MASK == 0 || field == attr::ATIME_MASK, "{name}: EINVAL");
        }
    }
}

#[test]
fn attributes_as_flags_of_mount_2() {
    let table: &[(&[&str], u64)] = &[
        (&[], 0),
        (&["nosuid", "noexec", "nodev", "ro"], MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY),
        (&["noatime", "nosymfollow"], MS_NOATIME | MS_NOSYMFOLLOW),
        (&["relatime"], 0),
        (&["strictatime", "nodiratime"], MS_STRICTATIME | MS_NODIRATIME),
    ];
    for (list, want) in table {
        assert_eq!(attr::ms_flags(parse(list).attr_set), *want, "{list:?}");
    }
}

#[test]
fn propagation_keeps_its_order() {
    let o = parse(&["rslave", "shared"]);
    let flags: Vec<_> = o.propagation.iter().map(|p| p.ms_flags()).collect();
    assert_eq!(flags, [MS_SLAVE | MS_REC, MS_SHARED]);
    let names = [("private", MS_PRIVATE), ("runbindable", MS_UNBINDABLE | MS_REC), ("rshared", MS_SHARED | MS_REC)];
    for (name, flags) in names {
        assert_eq!(Propagation::parse(name).map(Propagation::ms_flags), Some(flags));
    }
    assert_eq!(Propagation::parse("ro"), None);
}

#[test]
fn switches_and_data() {
    let o = parse(&["tmpcopyup", "src-nofollow", "dest-nofollow", "copy-symlink", "size=64k", "", "mode=755"]);
    assert!(o.tmpcopyup && o.src_nofollow && o.dest_nofollow && o.copy_symlink && !o.remount);
    assert_eq!(o.data, ["size=64k", "mode=755"]);
    assert_eq!(parse(&["bind"]).bind, Some(Reach::One));
    assert_eq!(parse(&["RO"]).data, ["RO"]);
}

#[test]
fn idmap() {
    assert_eq!(parse(&["idmap"]).idmap.map(|i| (i.reach, i.uids.len())), Some((Reach::One, 0)));
    assert_eq!(parse(&["ridmap"]).idmap.map(|i| i.reach), Some(Reach::Tree));
    let idmap = parse(&["idmap=uids=0-1-10#@10-11-10;gids=0-100-10"]).idmap.expect("an idmap");
    let plain = |r: &OptionRange| (r.from, r.to, r.size, r.relative);
    assert_eq!(idmap.uids.iter().map(plain).collect::<Vec<_>>(), [(0, 1, 10, false), (10, 11, 10, true)]);
    assert_eq!(idmap.gids.iter().map(plain).collect::<Vec<_>>(), [(0, 100, 10, false)]);
    for bad in
        ["", "uids=", "uids=1-2", "uids=1-2-0", "uids=1-2-3-4", "pids=1-2-3", "uids=1-2-x", "uids=4294967295-0-2"]
    {
        let text = refused(options::parse(&strings(&[&format!("idmap={bad}")])));
        assert!(text.contains("FROM-TO-SIZE"), "{text}");
    }
}
