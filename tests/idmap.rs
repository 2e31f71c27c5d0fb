//! Id maps.

use brisk::host::sub_ids::{SubRange, parse_sub_ids};
use brisk::plan::namespace::idmap;
use brisk::plan::namespace::idmap::{IdKind, IdMap, IdRange, OptionRange};

use crate::refused;

fn maps(list: &[(u32, u32, u32)]) -> brisk::error::Result<IdMap> {
    let ranges = list.iter().map(|(container, host, size)| IdRange { container: *container, host: *host, size: *size });
    IdMap::new(IdKind::Uid, ranges.collect())
}

#[test]
fn translation_and_text() {
    let maps = maps(&[(0, 1000, 1), (1, 100_000, 65_536)]).expect("valid");
    let table = [(0, Some(1000)), (1, Some(100_000)), (65_536, Some(165_535)), (65_537, None), (u32::MAX, None)];
    for (id, host) in table {
        assert_eq!(maps.to_host(id), host, "{id}");
    }
    assert_eq!(maps.text(), "0 1000 1\n1 100000 65536\n");
    assert_eq!(IdMap::default().to_host(0), None);
}

#[test]
fn refusals() {
    type Ranges = &'static [(u32, u32, u32)];
    let table: &[(Ranges, &str)] = &[
        (&[(0, 0, 0)], "uid mappings: 0 0 0 is empty"),
        (&[(1, 0, u32::MAX)], "exceeds the largest id"),
        (&[(0, 1, u32::MAX)], "exceeds the largest id"),
        (&[(0, 1000, 10), (9, 2000, 10)], "9 2000 10 overlaps 0 1000 10"),
        (&[(0, 1000, 10), (10, 1009, 1)], "10 1009 1 overlaps 0 1000 10"),
    ];
    for (list, want) in table {
        let text = refused(maps(list));
        assert!(text.contains(want), "{text}");
    }
    let many: Vec<_> = (0..341).map(|n| (n, n, 1)).collect();
    assert!(refused(maps(&many)).contains("341 lines"));
    assert!(maps(&many[..340]).is_ok());
    // As many in long numbers are more than a page of text.
    let long: Vec<_> = (0..340).map(|n| (n * 65_536, 1_000_000 + n * 65_536, 65_536)).collect();
    if cfg!(target_arch = "x86_64") {
        let text = refused(maps(&long));
        assert!(text.contains("340 lines of ") && text.contains("more than the kernel takes (4096)"), "{text}");
    }
    assert!(maps(&[(0, 0, u32::MAX)]).is_ok(), "the map of the initial namespace");
}

#[test]
fn composition() {
    let container = maps(&[(0, 0, 1), (1, 2, 1000), (1001, 5000, 10)]).expect("valid");
    let compose = |from, to, size, relative| {
        let composed = container.compose(IdKind::Uid, &[OptionRange { from, to, size, relative }])?;
        Ok(composed.ranges().iter().map(|r| (r.container, r.host, r.size)).collect::<Vec<_>>())
    };
    // The example of crun's manual.
    assert_eq!(compose(1, 3, 10, true).expect("valid"), [(1, 4, 10)]);
    assert_eq!(compose(1, 3, 10, false).expect("valid"), [(1, 3, 10)]);
    assert_eq!(compose(0, 999, 4, true).expect("valid"), [(0, 1000, 2), (2, 5000, 2)]);
    assert!(refused(compose(0, 1010, 2, true)).contains("uid 1011 is not mapped"));
}

#[test]
fn sub_ids() {
    let text = "alice:100000:65536\n1000:200000:10\nbob:1:1\nalice:x:1\nalice:5\n\nalice:7:0\nalice:4294967295:2\n";
    let got = parse_sub_ids(text, Some("alice"), 1000);
    assert_eq!(got, [SubRange { start: 100_000, count: 65_536 }, SubRange { start: 200_000, count: 10 }]);
    assert_eq!(parse_sub_ids(text, None, 7), []);
}

#[test]
fn one_id_of_ones_own_needs_no_helper() {
    let only = |list: &[(u32, u32, u32)]| maps(list).expect("valid").is_only(1000);
    assert!(only(&[(0, 1000, 1)]) && only(&[(5, 1000, 1)]));
    assert!(!only(&[]) && !only(&[(0, 1000, 2)]) && !only(&[(0, 0, 1)]) && !only(&[(0, 1000, 1), (1, 100_000, 200)]));
}

#[test]
fn an_ordinary_user_without_mappings() {
    let sub_ids = [SubRange { start: 100_000, count: 10 }, SubRange { start: 300_000, count: 5 }];
    let maps = idmap::automatic(IdKind::Gid, 1000, &sub_ids).expect("valid");
    assert_eq!(maps.text(), "0 1000 1\n1 100000 10\n11 300000 5\n");
}
