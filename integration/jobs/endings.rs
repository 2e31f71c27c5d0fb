//! How a program ended and what it used, as `--result` tells it and as the kernel and the program itself do.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{ONLY, conforms, figures, job, run};
use crate::common::{Bundle, brisk_only, host, lacks, process, skip, time_limit};
use crate::rootless;

#[test]
fn a_program_that_ends_by_itself() {
    if brisk_only(ONLY) {
        return;
    }
    let (output, result) = job(Bundle::sh("echo done; exit 7"), &[]);
    assert_eq!((output.code, output.stdout().as_str()), (7, "done\n"));
    assert_eq!((&result["ended"], &result["exitCode"], &result["signal"]), (&json!("exited"), &json!(7), &Value::Null));
    assert_eq!((&result["limitsHit"], &result["forbiddenCall"]), (&json!([]), &Value::Null));
    assert_eq!(result["error"], Value::Null);
    let time = |key: &str| result[key].as_u64().unwrap();
    assert!(time("requestedMonotonicNs") < time("startedMonotonicNs"), "{result}");
    assert_eq!(time("finishedMonotonicNs") - time("startedMonotonicNs"), time("wallNs"), "{result}");
    assert!(time("wallNs") < time_limit().as_nanos() as u64);
    for key in ["requested", "started", "finished"] {
        assert!(result[key].as_str().unwrap().ends_with('Z'), "{result}");
    }
}

#[test]
fn a_program_that_a_signal_ended() {
    if brisk_only(ONLY) {
        return;
    }
    let (output, result) = job(Bundle::sh("kill -SEGV $$").without_ns("pid"), &[]);
    output.exits(128 + libc::SIGSEGV);
    assert_eq!((&result["ended"], &result["signal"]), (&json!("signaled"), &json!("SIGSEGV")));
    assert_eq!(result["exitCode"], Value::Null);
}

#[test]
fn out_of_memory() {
    if brisk_only(ONLY) || lacks(&["memory"]) {
        return;
    }
    let hungry =
        || Bundle::probe(&["alloc:200000000"]).resources("memory", json!({ "limit": 32 << 20, "swap": 32 << 20 }));
    let (output, result) = job(hungry(), &[]);
    output.exits(128 + libc::SIGKILL);
    assert_eq!((&result["ended"], &result["signal"]), (&json!("oom"), &json!("SIGKILL")), "{result}");
    assert!(result["memory"]["oomKills"].as_u64().unwrap() >= 1, "{result}");
    assert!(result["limitsHit"].as_array().unwrap().contains(&json!("memory")), "{result}");
    if let Some(peak) = result["memory"]["peakBytes"].as_u64() {
        assert!((24 << 20..=32 << 20).contains(&peak), "{result}");
    }
    job(hungry(), &["--exit-codes"]).0.exits(120);
}

#[test]
fn one_of_its_processes_out_of_memory() {
    if brisk_only(ONLY) || lacks(&["memory"]) {
        return;
    }
    let limit = json!({ "limit": 32 << 20, "swap": 32 << 20 });
    // The shell says 137 of its child; one that gets over it has ended as it wanted.
    let bundle = |end: &str| Bundle::sh(&format!("/probe alloc:200000000; {end}")).resources("memory", limit.clone());
    let with_probe = |bundle: Bundle| {
        crate::common::bundle::copy(&host::probe(), &bundle.rootfs().join("probe"));
        bundle
    };
    let (output, result) = job(with_probe(bundle("exit $?")), &[]);
    output.exits(137);
    assert_eq!((&result["ended"], &result["exitCode"]), (&json!("oom"), &json!(137)), "{result}");
    let (output, result) = job(with_probe(bundle("exit 0")), &["--exit-codes"]);
    output.ok();
    assert_eq!(result["ended"], json!("exited"), "{result}");
    assert!(result["memory"]["oomKills"].as_u64().unwrap() >= 1, "{result}");
}

#[test]
fn a_signal_that_is_passed_on_is_no_accident() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("trap 'trap - TERM; kill -TERM $$' TERM; echo ready; while :; do sleep 0.05; done")
        .without_ns("pid")
        .container();
    let file = container.bundle.dir.join("result.json");
    let running = container.start_run(&["--result", file.to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::Signal::SIGTERM).unwrap();
    running.wait().exits(128 + libc::SIGTERM);
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    conforms(&result);
    assert_eq!((&result["ended"], &result["signal"]), (&json!("killed"), &json!("SIGTERM")), "{result}");
}

#[test]
fn a_forbidden_call() {
    if brisk_only(ONLY) {
        return;
    }
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }] });
    let bundle = || Bundle::sh("exec mkdir /tmp/x").set("/linux/seccomp", profile.clone());
    let (output, result) = job(bundle(), &[]);
    output.exits(128 + libc::SIGSYS);
    assert_eq!((&result["ended"], &result["signal"]), (&json!("seccomp"), &json!("SIGSYS")), "{result}");
    match result["forbiddenCall"].as_str() {
        None => skip("the kernel has not written the call into its log"),
        Some(call) => assert!(["mkdir", "mkdirat"].contains(&call), "{result}"),
    }
    job(bundle(), &["--exit-codes"]).0.exits(122);
}

#[test]
fn no_program_at_all() {
    if brisk_only(ONLY) {
        return;
    }
    let (output, result) = job(Bundle::new(&["/bin/nothing-here"]), &[]);
    assert_ne!(output.code, 125);
    assert_eq!((&result["ended"], &result["started"]), (&json!("runtime-error"), &Value::Null), "{result}");
    assert!(result["error"]["message"].as_str().unwrap().contains("nothing-here"), "{result}");
    assert!(!result["error"]["stage"].as_str().unwrap().is_empty());
    assert_eq!(result["error"]["errno"], json!("ENOENT"));
    let (_, hinted) = job(Bundle::new(&["nothing-here"]), &[]);
    assert!(hinted["error"]["hint"].as_str().unwrap().contains("PATH"), "{hinted}");
    job(Bundle::new(&["/bin/nothing-here"]), &["--exit-codes"]).0.exits(125);
    // Also where not even the bundle can be read.
    let container = Bundle::idle().container();
    let output = container.call(&["run", "--exit-codes", "--bundle", "/nonexistent", &container.id]);
    output.exits(125);
    // Nor the command line.
    container.call(&["run", "--exit-codes", "--timeout", "soon", &container.id]).exits(125);
    container.call(&["exec", "--exit-codes", "--timeout", "soon", &container.id]).exits(125);
    container.call(&["run", "--timeout", "soon", &container.id, "--", "--exit-codes"]).exits(1);
}

#[test]
fn figures_are_those_of_the_kernel() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    // Half a second of work, 40 MB of memory, three processes beside the shell; the limit of tasks is reached.
    let script = "/probe alloc:40000000 >/dev/null; \
                  i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done; \
                  sleep 0.3 & sleep 0.3 & sleep 0.3 & wait; times";
    let limits = [("memory", json!({ "limit": 256 << 20 })), ("pids", json!({ "limit": 50 }))];
    let bundle = figures::limited(Bundle::sh(script), &limits);
    crate::common::bundle::copy(&host::probe(), &bundle.rootfs().join("probe"));
    let (output, result) = job(bundle, &[]);
    let own: f64 = output.ok().stdout().split_whitespace().map(seconds).sum();
    let total = result["cpu"]["totalNs"].as_u64().unwrap() as f64 / 1e9;
    assert!((total - own).abs() < 0.2, "the shell says {own} s, the result {total} s: {result}");
    if let Some(peak) = result["memory"]["peakBytes"].as_u64() {
        assert!((40_000_000..256 << 20).contains(&peak), "{result}");
    }
    let largest = result["memory"]["largestProcessBytes"].as_u64().unwrap();
    assert!((40_000_000..80_000_000).contains(&largest), "{result}");
    if let Some(peak) = result["pids"]["peak"].as_u64() {
        assert!((4..=8).contains(&peak), "{result}");
    }
    let hits = host::has_controller("pids").then_some(0);
    assert_eq!(result["pids"]["limitHits"], json!(hits), "{result}");
    let wall = result["wallNs"].as_u64().unwrap();
    assert!(wall >= 300_000_000, "{result}");
}

/// `0m0.12s` of times(1), or a word.
fn seconds(text: &str) -> f64 {
    let Some((minutes, seconds)) = text.split_once('m') else { return 0.0 };
    minutes.parse::<f64>().unwrap() * 60.0 + seconds.trim_end_matches('s').parse::<f64>().unwrap()
}

#[test]
fn too_many_processes() {
    if brisk_only(ONLY) || lacks(&["pids"]) {
        return;
    }
    let bundle =
        Bundle::sh("for i in 1 2 3 4 5 6; do sleep 0.2 & done; wait; exit 0").resources("pids", json!({ "limit": 4 }));
    let (_, result) = job(bundle, &[]);
    assert!(result["pids"]["limitHits"].as_u64().unwrap() >= 1, "{result}");
    assert!(result["limitsHit"].as_array().unwrap().contains(&json!("pids")), "{result}");
}

/// Without a cgroup there are the figures that the kernel tells the parent of a process.
#[test]
fn what_an_ordinary_user_can_know() {
    if brisk_only(ONLY) || rootless::not_here() {
        return;
    }
    let container = rootless::bundle(&["/bin/sh", "-c", "exit 6"]).container();
    container.bundle.write();
    let file = container.bundle.dir.join("result.json");
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let flags = ["run", "--bundle", &dir, "--result", file.to_str().unwrap(), &container.id];
    process::run(rootless::as_user(&container, &flags)).exits(6);
    let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    conforms(&result);
    assert_eq!((&result["ended"], &result["exitCode"]), (&json!("exited"), &json!(6)));
    assert!(result["cpu"]["totalNs"].is_u64(), "{result}");
    assert!(result["memory"]["largestProcessBytes"].is_u64(), "{result}");
}

/// A program that ends by itself a moment before it is looked at has reached its limit all the same.
#[test]
fn a_limit_that_was_passed_is_told() {
    if brisk_only(ONLY) {
        return;
    }
    let (output, result) = job(Bundle::sh("sleep 0.1; exit 4"), &["--timeout", "1ns", "--grace", "1h", "--exit-codes"]);
    assert!(matches!(output.code, 4 | 124), "{output:?}");
    assert_eq!(result["limitsHit"], json!(["timeout"]), "{result}");
}

/// The kernel kills the second program for want of memory, in the container's cgroup.
#[test]
fn a_second_program_out_of_memory() {
    if brisk_only(ONLY) || lacks(&["memory"]) {
        return;
    }
    let bundle = Bundle::idle().resources("memory", json!({ "limit": 32 << 20, "swap": 32 << 20 }));
    crate::common::bundle::copy(&host::probe(), &bundle.rootfs().join("probe"));
    let container = bundle.container();
    container.up();
    let file = container.bundle.dir.join("result.json");
    let output = container.exec_with(&["--result", file.to_str().unwrap()], &["/probe", "alloc:200000000"]);
    output.exits(137);
    let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    conforms(&result);
    assert_eq!(result["ended"], json!("oom"), "{result}");
    container.delete_force().ok();
}

/// What is in the overlay, as the program itself sees it at its end.
#[test]
fn how_large_the_overlay_has_become() {
    if brisk_only(ONLY) {
        return;
    }
    let script = "mkdir /d; i=0; while [ $i -lt 20 ]; do : >/d/$i; i=$((i+1)); done; ln /d/1 /d/again; ln -s x /d/link; \
                  dd if=/dev/zero of=/big bs=1024 count=1000 2>/dev/null; stat -f -c '%b %f %S %c %d' /";
    let (output, result) = job(Bundle::sh(script), &["--overlay", "tmpfs:16m"]);
    let words: Vec<u64> = output.ok().stdout().split_whitespace().map(|word| word.parse().unwrap()).collect();
    let [blocks, free, size, inodes, free_inodes] = words[..] else { panic!("{words:?}") };
    assert_eq!(result["overlay"]["bytes"], json!((blocks - free) * size), "{result}");
    assert_eq!(result["overlay"]["inodes"], json!(inodes - free_inodes), "{result}");
    assert!(((1000 << 10)..(1100 << 10)).contains(&result["overlay"]["bytes"].as_u64().unwrap()), "{result}");
    assert!((23..40).contains(&result["overlay"]["inodes"].as_u64().unwrap()), "{result}");
    // In a directory that stays what is in it is counted, of this life and earlier ones; not what it is on.
    let container = Bundle::sh(&script.replace("stat -f", ": ")).container();
    let dir = container.bundle.dir.join("kept");
    fs::create_dir(&dir).unwrap();
    let (output, first) = run(&container, &["--overlay", dir.to_str().unwrap()]);
    output.ok();
    let du = process::run({
        let mut du = Command::new("du");
        du.args(["--block-size=1", "-s"]).arg(dir.join("upper"));
        du
    });
    let bytes: u64 = du.ok().stdout().split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(first["overlay"]["bytes"], json!(bytes), "{first}");
    let inodes = first["overlay"]["inodes"].as_u64().unwrap();
    let again = container.bundle.dir.join("more");
    fs::create_dir(&again).unwrap();
    // One file more is one inode more.
    fs::write(dir.join("upper/one"), "").unwrap();
    let (_, second) = run(&container, &["--overlay", dir.to_str().unwrap()]);
    assert_eq!(second["overlay"]["inodes"], json!(inodes + 1), "{second}");
    // More than anybody counts.
    let deep = "i=0; while [ $i -lt 300 ]; do mkdir d && cd d; i=$((i+1)); done";
    let container = Bundle::sh(deep).container();
    let (_, result) = run(&container, &["--overlay", again.to_str().unwrap()]);
    // It is a directory of this test's container.
    assert_eq!((&result["ended"], &result["overlay"]["inodes"]), (&json!("exited"), &Value::Null), "{result}");
    let (_, without) = job(Bundle::sh("true"), &[]);
    assert_eq!(without["overlay"], json!({ "bytes": null, "inodes": null }));
}

/// The kernel's own limit of CPU time says so by a signal.
#[test]
fn too_much_cpu_time_by_a_resource_limit() {
    if brisk_only(ONLY) {
        return;
    }
    let limit = json!([{ "type": "RLIMIT_CPU", "soft": 1, "hard": 60 }]);
    // As process 1 of a pid namespace it would not hear of the signal.
    let bundle = Bundle::sh("while :; do :; done").without_ns("pid").set("/process/rlimits", limit);
    let (output, result) = job(bundle, &["--exit-codes"]);
    output.exits(123);
    assert_eq!((&result["ended"], &result["signal"]), (&json!("cpu-limit"), &json!("SIGXCPU")), "{result}");
    assert!(result["cpu"]["totalNs"].as_u64().is_none_or(|used| used >= 500_000_000), "{result}");
}

/// Moments are the host's, by both clocks, and in the order in which things happened.
#[test]
fn moments_are_those_of_the_clocks() {
    if brisk_only(ONLY) {
        return;
    }
    let wall = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let monotonic = || u128::from(brisk::sys::process::monotonic_ns());
    // date(1) reads what was told, and so does not share a mistake of ours.
    let read = |moment: &Value| -> u128 {
        let mut date = Command::new("date");
        date.args(["-d", moment.as_str().unwrap(), "+%s%N"]);
        process::run(date).ok().stdout().trim().parse().unwrap()
    };
    let begin = (wall(), monotonic());
    let (output, result) = job(Bundle::sh("date +%s; sleep 0.3; date +%s"), &[]);
    let end = (wall(), monotonic());
    let told = ["requested", "started", "finished"].map(|name| {
        let number = result[format!("{name}MonotonicNs")].as_u64().unwrap();
        (read(&result[name]), u128::from(number))
    });
    let moments = [&[begin][..], &told, &[end]].concat();
    // RFC 3339 has been rounded down to what it has digits for.
    let order = |of: fn(&(u128, u128)) -> u128, rounded: u128| {
        moments.windows(2).all(|pair| of(&pair[0]) <= of(&pair[1]) + rounded)
    };
    assert!(order(|moment| moment.0, 1_000_000) && order(|moment| moment.1, 0), "{moments:?}: {result}");
    let [_, (started, _), (finished, _)] = told;
    let said: Vec<u128> = output.ok().stdout().lines().map(|line| line.parse().unwrap()).collect();
    assert!(started / 1_000_000_000 <= said[0] && said[1] <= finished / 1_000_000_000, "{said:?}: {result}");
    assert!(result["wallNs"].as_u64().unwrap() >= 300_000_000, "{result}");
}

/// Each end of an ordinary user's program; what nobody counts for him is null, not zero.
#[test]
fn every_end_of_a_users_program() {
    if brisk_only(ONLY) || rootless::not_here() {
        return;
    }
    let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS" }] });
    let xcpu = json!([{ "type": "RLIMIT_CPU", "soft": 1, "hard": 60 }]);
    let plain = |script: &str| rootless::bundle(&["/bin/sh", "-c", script]);
    // A new proc needs a pid namespace of one's own, in which process 1 does not hear of its own signals.
    let mortal = |script: &str| plain(script).without_ns("pid").without_mount("/proc");
    for (bundle, flags, code, ended) in [
        (plain("exit 6"), &[][..], 6, "exited"),
        (mortal("kill -SEGV $$"), &[], 139, "signaled"),
        (mortal("while :; do :; done").set("/process/rlimits", xcpu), &[], 123, "cpu-limit"),
        (plain("sleep 1000"), &["--timeout", "300ms"], 124, "timeout"),
        (plain("yes"), &["--output-limit", "1k"], 121, "output-limit"),
        (plain("exec mkdir /tmp/x").set("/linux/seccomp", profile), &[], 122, "seccomp"),
        (rootless::bundle(&["/bin/nothing-here"]), &[], 125, "runtime-error"),
    ] {
        let container = bundle.container();
        container.bundle.write();
        let (file, dir) = (container.bundle.dir.join("result.json"), container.bundle.dir.to_str().unwrap());
        let line = ["run", "--bundle", dir, "--exit-codes", "--result", file.to_str().unwrap()];
        let line = [&line[..], flags, &[&container.id]].concat();
        process::run(rootless::as_user(&container, &line)).exits(code);
        let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        conforms(&result);
        assert_eq!(result["ended"], json!(ended), "{result}");
        // He has no cgroup here.
        for figure in ["/memory/peakBytes", "/memory/oomKills", "/pids/peak", "/cpu/throttledNs", "/io/writtenBytes"] {
            assert_eq!(result.pointer(figure), Some(&Value::Null), "{figure}: {result}");
        }
        let ran = ended != "runtime-error";
        for figure in ["/cpu/totalNs", "/memory/largestProcessBytes", "/wallNs"] {
            assert_eq!(result.pointer(figure).unwrap().is_u64(), ran, "{figure}: {result}");
        }
        container.assert_nothing_left();
    }
    let container = plain("trap 'exit 4' TERM; echo ready; while :; do sleep 0.05; done").container();
    container.bundle.write();
    let (file, dir) = (container.bundle.dir.join("result.json"), container.bundle.dir.to_str().unwrap());
    let line = ["run", "--bundle", dir, "--result", file.to_str().unwrap(), &container.id];
    let running = process::start(rootless::as_user(&container, &line), std::process::Stdio::null());
    running.wait_for_stdout(|text| text.contains("ready"));
    process::run(rootless::as_user(&container, &["kill", &container.id, "KILL"])).ok();
    running.wait().exits(137);
    let result: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    conforms(&result);
    assert_eq!((&result["ended"], &result["signal"]), (&json!("killed"), &json!("SIGKILL")), "{result}");
}
