//! The figures of a result are the kernel's.

use std::fs;

use serde_json::{Value, json};

use super::{ONLY, conforms, run};
use crate::common::{Bundle, brisk_only, host, lacks, skip};

/// With those of the limits whose controllers are there.
pub(super) fn limited(bundle: Bundle, limits: &[(&str, Value)]) -> Bundle {
    let there = limits.iter().filter(|(controller, _)| host::has_controller(controller));
    there.fold(bundle, |bundle, (controller, limit)| bundle.resources(controller, limit.clone()))
}

/// A container that is kept has its cgroup, and what that says is what was told: whatever the kernel does not say is null.
#[test]
fn what_the_cgroup_says_after_the_end() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    let script = "dd if=/dev/zero of=/big bs=1024 count=4096 conv=fsync 2>/dev/null; rm /big; \
                  i=0; while [ $i -lt 40000 ]; do i=$((i+1)); done; true & wait";
    // A controller that is not there says nothing.
    let container = limited(
        Bundle::sh(script),
        &[
            ("memory", json!({ "limit": 64 << 20 })),
            ("pids", json!({ "limit": 20 })),
            ("cpu", json!({ "quota": 20_000, "period": 100_000 })),
        ],
    )
    .container();
    let (output, told) = run(&container, &["--keep"]);
    output.ok();
    let file = |controller: &str, file: &str| {
        let path = host::cgroup_dir(controller, &container.bundle.cgroup()).join(file);
        fs::read_to_string(path).ok()
    };
    let number = |text: Option<String>| text.map_or(Value::Null, |text| json!(text.trim().parse::<u64>().unwrap()));
    let keyed = |text: Option<String>, key: &str, factor: u64| {
        let line =
            text.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')));
        line.map_or(Value::Null, |value| json!(value.parse::<u64>().unwrap() * factor))
    };
    let (cpu, memory) = if host::Cgroups::detect() == host::Cgroups::V1 {
        assert_eq!(told["cpu"]["totalNs"], number(file("cpuacct", "cpuacct.usage")));
        assert_eq!(told["cpu"]["userNs"], keyed(file("cpuacct", "cpuacct.stat"), "user", 10_000_000));
        assert_eq!(told["cpu"]["systemNs"], keyed(file("cpuacct", "cpuacct.stat"), "system", 10_000_000));
        assert_eq!(told["memory"]["limitHits"], number(file("memory", "memory.failcnt")));
        (("throttled_time", 1), "memory.max_usage_in_bytes")
    } else {
        for (field, key) in [("totalNs", "usage_usec"), ("userNs", "user_usec"), ("systemNs", "system_usec")] {
            assert_eq!(told["cpu"][field], keyed(file("cpu", "cpu.stat"), key, 1000), "{field}");
        }
        assert_eq!(told["memory"]["limitHits"], keyed(file("memory", "memory.events"), "max", 1));
        assert_eq!(told["memory"]["swapPeakBytes"], number(file("memory", "memory.swap.peak")));
        (("throttled_usec", 1000), "memory.peak")
    };
    assert_eq!(told["cpu"]["throttledNs"], keyed(file("cpu", "cpu.stat"), cpu.0, cpu.1));
    assert_eq!(told["cpu"]["throttledPeriods"], keyed(file("cpu", "cpu.stat"), "nr_throttled", 1));
    assert_eq!(told["memory"]["peakBytes"], number(file("memory", memory)));
    assert_eq!(told["pids"]["peak"], number(file("pids", "pids.peak")));
    assert_eq!(told["pids"]["limitHits"], keyed(file("pids", "pids.events"), "max", 1));
    // Four megabytes were written out.
    let sum = |text: Option<String>, word: &str| {
        let all = text.map(|text| {
            let words = text.split_whitespace().collect::<Vec<_>>();
            let after = words.windows(2).filter(|pair| pair[0] == word).map(|pair| pair[1].to_owned());
            let with = words.iter().filter_map(|one| one.strip_prefix(word)?.strip_prefix('=')).map(str::to_owned);
            after.chain(with).map(|number| number.parse::<u64>().unwrap()).sum::<u64>()
        });
        json!(all)
    };
    let v1 = host::Cgroups::detect() == host::Cgroups::V1;
    let (io, words) = match v1 {
        true => (file("blkio", "blkio.throttle.io_service_bytes"), ["Read", "Write"]),
        false => (file("io", "io.stat"), ["rbytes", "wbytes"]),
    };
    for (field, word) in [("readBytes", words[0]), ("writtenBytes", words[1])] {
        assert_eq!(told["io"][field], sum(io.clone(), word), "{field}: {io:?}");
    }
    // A fifth of a CPU was not enough.
    if host::has_controller("cpu") {
        assert!(told["cpu"]["throttledPeriods"].as_u64().unwrap() > 0, "{told}");
        assert!(told["limitsHit"].as_array().unwrap().contains(&json!("cpu-quota")), "{told}");
    }
    // The figures are there for others, too, until it is deleted.
    let stats = container.call(&["events", "--stats", &container.id]).ok().json();
    assert_eq!(stats["data"]["cpu"]["usage"]["total"], told["cpu"]["totalNs"]);
    assert_eq!(container.state()["reason"], json!("exited"));
    container.delete().ok();
    container.assert_nothing_left();
}

/// Where memory and swap together may be no more than memory, it is their limit that is reached, and Linux 6.15 and later do not
/// count how often.
#[test]
fn how_often_memory_was_at_its_limit_is_never_wrong() {
    if brisk_only(ONLY) || lacks(&["memory"]) {
        return;
    }
    // More than it may have, of files, which can be given back.
    let bundle = Bundle::sh("dd if=/dev/zero of=/big bs=1024 count=24576 2>/dev/null; rm /big");
    let limit = 16 << 20;
    let (_, told) = super::job(bundle.resources("memory", json!({ "limit": limit, "swap": limit })), &[]);
    assert!(told["memory"]["peakBytes"].as_u64().unwrap() > limit * 9 / 10, "{told}");
    assert_ne!(told["memory"]["limitHits"], json!(0), "{told}");
    // One that was far from it has not reached it.
    let (_, told) = super::job(Bundle::sh("true").resources("memory", json!({ "limit": limit, "swap": limit })), &[]);
    assert_eq!(told["memory"]["limitHits"], json!(0), "{told}");
}

/// Containers over one tree share what of its files is in memory: it is charged to who reads it first.
#[test]
fn files_of_a_tree_are_in_memory_once() {
    const SIZE: u64 = 48 << 20;
    if brisk_only(ONLY) || lacks(&["memory"]) {
        return;
    }
    let bundle = Bundle::sh("cat /big >/dev/null");
    let big = bundle.rootfs().join("big");
    fs::write(&big, vec![1; usize::try_from(SIZE).unwrap()]).unwrap();
    let file = fs::File::open(&big).unwrap();
    file.sync_all().unwrap();
    let whole = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
    nix::fcntl::posix_fadvise(&file, 0, 0, whole).unwrap();
    let container = bundle.container();
    let peaks: Vec<Option<u64>> = (0..10)
        .map(|_| {
            let (output, told) = run(&container, &["--overlay", "tmpfs"]);
            output.ok();
            told["memory"]["peakBytes"].as_u64()
        })
        .collect();
    match peaks[0] {
        Some(first) if first >= SIZE => {
            assert!(peaks[1..].iter().all(|peak| peak.unwrap() < SIZE / 4), "{peaks:?}");
        }
        // A tmpfs keeps its pages, and an older v2 kernel tells no peak.
        _ => skip("the pages of files are not charged to who reads them here"),
    }
    container.assert_nothing_left();
}

/// A second program ends in as many ways as a first one.
#[test]
fn every_end_of_a_second_program() {
    if brisk_only(ONLY) {
        return;
    }
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }] });
    let container = Bundle::idle().set("/linux/seccomp", profile).container();
    container.up();
    let file = container.bundle.dir.join("result.json");
    let told = |flags: &[&str], script: &str| -> (i32, Value) {
        let flags = [&["--result", file.to_str().unwrap()], flags].concat();
        let code = container.exec_with(&flags, &["/bin/sh", "-c", script]).code;
        let told: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        conforms(&told);
        (code, told)
    };
    for (flags, script, code, ended) in [
        (&[][..], "exit 9", 9, "exited"),
        (&[], "kill -SEGV $$", 139, "signaled"),
        (&[], "exec mkdir /tmp/x", 159, "seccomp"),
        (&["--exit-codes"], "exec mkdir /tmp/x", 122, "seccomp"),
        (&["--timeout", "100ms", "--exit-codes"], "sleep 1000", 124, "timeout"),
        (&["--output-limit", "10", "--exit-codes"], "yes", 121, "output-limit"),
    ] {
        let (status, result) = told(flags, script);
        assert_eq!((status, &result["ended"]), (code, &json!(ended)), "{result}");
        assert_eq!(result["overlay"], json!({ "bytes": null, "inodes": null }));
    }
    let flags =
        ["exec", "--result", file.to_str().unwrap(), &container.id, "/bin/sh", "-c", "echo $$; exec sleep 1000"];
    let running = crate::common::process::start(container.command(&flags), std::process::Stdio::null());
    running.wait_for_stdout(|text| text.ends_with('\n'));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::Signal::SIGTERM).unwrap();
    running.wait().exits(143);
    let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&result["ended"], &result["signal"]), (&json!("killed"), &json!("SIGTERM")), "{result}");
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}
