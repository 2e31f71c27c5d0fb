//! `events`: out of memory as it happens, and numbers of a container that has ended.

use std::os::fd::AsFd;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::common::host::Cgroups;
use crate::common::{Bundle, Container, brisk_only, host, lacks, process, skip_on, time_limit};

/// How often the kernel has killed for want of memory in the container's cgroup.
fn kills(container: &Container) -> usize {
    let file = if Cgroups::detect() == Cgroups::V1 { "memory.oom_control" } else { "memory.events" };
    let text = container.cgroup_file("memory", file);
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
}

/// v1 announces before it kills, and says nothing when it has.
#[test]
fn every_kill_for_want_of_memory_is_told() {
    if lacks(&["memory"]) || skip_on(&["crun"], "has no such command") {
        return;
    }
    const TIMES: usize = 12;
    let swap = host::cgroup_dir("memory", "/").join("memory.memsw.limit_in_bytes").exists();
    let limit = 33_554_432;
    let limits = if swap || Cgroups::detect() == Cgroups::V2 {
        json!({ "limit": limit, "swap": limit })
    } else {
        json!({ "limit": limit })
    };
    let container = Bundle::idle().resources("memory", limits).container();
    container.up();
    let watch = container.command(&["events", "--interval", "100s", &container.id]);
    let events = process::start(watch, Stdio::null());
    // Its first look is behind it when it waits.
    // Go's are these.
    let of_go = [libc::SYS_futex, libc::SYS_epoll_pwait, libc::SYS_read];
    let calls = if crate::common::runtime_name() == "brisk" { process::POLLS } else { &of_go };
    host::wait_until(|| process::waits_in(events.pid(), calls));
    for _ in 0..TIMES {
        container.exec(&["/probe", "alloc:200000000"]).exits(128 + 9);
    }
    let killed = kills(&container);
    assert!(killed >= TIMES, "{killed}");
    container.stop();
    let output = events.wait();
    let lines = output.stdout();
    let told = lines.lines().filter(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["type"] == "oom"
    });
    let told = told.count();
    // runc tells each announcement, of which there may be more.
    assert!(told == killed || told > killed && crate::common::runtime_name() != "brisk", "{told} of {killed}: {lines}");
}

#[test]
fn the_kill_of_the_container_itself_is_told() {
    if lacks(&["memory"]) || brisk_only("the last event comes with the end") {
        return;
    }
    for _ in 0..4 {
        let container = Bundle::sh("until [ -e /go ]; do :; done; exec /probe alloc:200000000")
            .resources("memory", json!({ "limit": 33_554_432, "swap": 33_554_432 }))
            .container();
        container.up();
        let watch = container.command(&["events", "--interval", "100s", &container.id]);
        let events = process::start(watch, Stdio::null());
        host::wait_until(|| process::waits_in(events.pid(), process::POLLS));
        std::fs::write(container.bundle.rootfs().join("go"), "").unwrap();
        let lines = events.wait().stdout();
        let told = lines.lines().filter(|line| line.contains("\"oom\"")).count();
        assert_eq!((told, kills(&container)), (1, 1), "{lines}");
    }
}

/// Not at the next event only, which may be long in coming.
#[test]
fn events_end_when_nobody_reads_them_any_more() {
    if skip_on(&["runc", "crun"], "runc learns of it at its next event") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let mut watch = container.command(&["events", "--interval", "100s", &container.id]);
    let mut events = watch.stdout(Stdio::piped()).spawn().unwrap();
    host::wait_until(|| process::waits_in(events.id().cast_signed(), process::POLLS));
    drop(events.stdout.take());
    let ended = process::pidfd_open(events.id().cast_signed()).unwrap();
    assert!(process::wait_readable(ended.as_fd(), time_limit()), "nobody reads it");
    assert!(events.wait().unwrap().success());
}

/// An engine that asks late still learns what was used.
#[test]
fn a_container_that_has_ended_has_numbers_while_its_cgroup_is_there() {
    if lacks(&["memory"]) || brisk_only("the peers say that it does not run") {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    container.stop();
    assert_eq!(container.status(), "stopped");
    let stats = container.call(&["events", "--stats", &container.id]).ok().json();
    let used = &stats["data"]["memory"]["usage"]["max"];
    assert!(used.as_u64().unwrap_or(0) > 0 || stats["data"]["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{stats}");
    let text = container.call(&["events", &container.id]).fails();
    assert!(text.contains("container not running"), "{text}");
}
