//! Jobs: limits on time, CPU time and output, and what is told of how the program ended and what it used.

mod background;
mod figures;
mod judge;
mod waits;

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::mount::MsFlags;
use serde_json::{Value, json};

use crate::common::process::{Output, pidfd_open, wait_readable};
use crate::common::{Bundle, Container, brisk_only, host, lacks, leftovers, process, skip, time_limit};
use crate::rootless;

const ONLY: &str = "no other runtime tells the result of a job";

/// A run with `--result`, its output and the result.
#[track_caller]
fn job(bundle: Bundle, flags: &[&str]) -> (Output, Value) {
    let container = bundle.container();
    let done = run(&container, flags);
    container.assert_nothing_left();
    done
}

#[track_caller]
fn run(container: &Container, flags: &[&str]) -> (Output, Value) {
    let file = container.bundle.dir.join("result.json");
    let output = container.run_with(&[&["--result", file.to_str().unwrap()], flags].concat());
    let text = fs::read(&file).unwrap_or_else(|error| panic!("no result ({error}): {output:?}"));
    let result: Value = serde_json::from_slice(&text).unwrap();
    conforms(&result);
    assert_eq!(result["id"], json!(container.id));
    (output, result)
}

/// The fifo /wake in the container, where its program waits for a word.
fn wake_of(bundle: &Bundle) -> PathBuf {
    let wake = bundle.rootfs().join("wake");
    nix::unistd::mkfifo(&wake, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
    wake
}

/// With a poststart hook that says `hook` and then waits for a word in this fifo.
fn hook_that_waits(bundle: Bundle) -> (Bundle, PathBuf) {
    let wake = bundle.dir.join("wake");
    nix::unistd::mkfifo(&wake, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let hook = format!("echo hook >>$OUT; read line < {}", wake.display());
    (bundle.sh_hook("poststart", &hook), wake)
}

/// Every field of the schema is there, each of a type that the schema allows, and no other.
#[track_caller]
fn conforms(result: &Value) {
    let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/job-result.schema.json");
    let schema =
        std::env::var("BRISK_FIXTURES").map_or_else(|_| schema.into(), |dir| format!("{dir}/job-result.schema.json"));
    let schema: Value = serde_json::from_slice(&fs::read(&schema).unwrap()).unwrap();
    check(result, &schema, "result");
}

#[track_caller]
fn check(value: &Value, schema: &Value, path: &str) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = match &schema["type"] {
        Value::String(one) => vec![one.as_str()],
        list => list.as_array().unwrap().iter().map(|kind| kind.as_str().unwrap()).collect(),
    };
    assert!(kinds.contains(&kind), "{path} is {value}, not {kinds:?}");
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        assert!(words.contains(value), "{path} is {value}, not one of {words:?}");
    }
    if let Some(object) = value.as_object() {
        let fields = schema["properties"].as_object().unwrap();
        assert_eq!(object.keys().collect::<Vec<_>>(), fields.keys().collect::<Vec<_>>(), "{path}");
        assert_eq!(schema["required"].as_array().unwrap().len(), fields.len(), "{path}: all are required");
        for (key, value) in object {
            check(value, &fields[key], &format!("{path}.{key}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        check(item, &schema["items"], path);
    }
}

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
fn a_program_that_takes_too_long() {
    if brisk_only(ONLY) {
        return;
    }
    // Process 1 of a pid namespace never hears a SIGTERM that it does not catch: nothing is waited for.
    let began = Instant::now();
    let (output, result) = job(Bundle::idle(), &["--timeout", "300ms", "--grace", "1h"]);
    output.exits(128 + libc::SIGKILL);
    assert_eq!((&result["ended"], &result["limitsHit"]), (&json!("timeout"), &json!(["timeout"])), "{result}");
    assert!(result["wallNs"].as_u64().unwrap() >= 300_000_000, "{result}");
    assert!(began.elapsed() < time_limit());
    job(Bundle::idle(), &["--timeout", "100ms", "--exit-codes"]).0.exits(124);
}

#[test]
fn a_program_that_heeds_sigterm_has_time_to_end() {
    if brisk_only(ONLY) {
        return;
    }
    // A shell hears of a signal at once while it waits; one that starts a `sleep` each time may be busy with that for long.
    let heeding = |trap: &str, grace: &str| {
        let script = format!("trap '{trap}' TERM; sleep 1000000 & echo ready; while :; do wait; done");
        let (output, result) = job(Bundle::sh(&script), &["--timeout", "2s", "--grace", grace]);
        (output.code, output.stdout(), result["ended"].clone(), result["exitCode"].clone(), result["signal"].clone())
    };
    std::thread::scope(|threads| {
        let ends = threads.spawn(|| heeding("echo bye; exit 3", "1h"));
        let goes_on = threads.spawn(|| heeding("echo no", "3s"));
        // With no grace nobody is asked.
        let unasked = threads.spawn(|| heeding("echo no", "0"));
        let told = |text: &str| text.to_owned();
        let null = Value::Null;
        assert_eq!(ends.join().unwrap(), (3, told("ready\nbye\n"), json!("timeout"), json!(3), null.clone()));
        let killed = json!("SIGKILL");
        assert_eq!(goes_on.join().unwrap(), (137, told("ready\nno\n"), json!("timeout"), null.clone(), killed.clone()));
        assert_eq!(unasked.join().unwrap(), (137, told("ready\n"), json!("timeout"), null, killed));
    });
}

#[test]
fn a_paused_program_does_not_outlive_its_time() {
    if brisk_only(ONLY) || lacks(&["freezer"]) {
        return;
    }
    let container = Bundle::sh("echo ready; while :; do sleep 1; done").container();
    let file = container.bundle.dir.join("result.json");
    let running = container.start_run(&["--timeout", "4s", "--result", file.to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    container.call(&["pause", &container.id]).ok();
    running.wait().exits(137);
    let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    assert_eq!(result["ended"], json!("timeout"));
    container.assert_nothing_left();
}

#[test]
fn a_program_that_uses_too_much_cpu_time() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    // Two processes: together they may have as much.
    let script = "while :; do :; done & while :; do :; done";
    let (output, result) = job(Bundle::sh(script), &["--cpu-time", "400ms", "--exit-codes"]);
    output.exits(123);
    assert_eq!((&result["ended"], &result["limitsHit"]), (&json!("cpu-limit"), &json!(["cpu-time"])), "{result}");
    let used = result["cpu"]["totalNs"].as_u64().unwrap();
    assert!((400_000_000..2_000_000_000).contains(&used), "{result}");
    // One that waits has all the time of the world.
    let (output, result) = job(Bundle::sh("sleep 1"), &["--cpu-time", "400ms"]);
    output.ok();
    assert!(result["cpu"]["totalNs"].as_u64().unwrap() < 400_000_000, "{result}");
}

#[test]
fn a_program_that_writes_too_much() {
    if brisk_only(ONLY) {
        return;
    }
    let (output, result) = job(Bundle::sh("yes"), &["--output-limit", "10k"]);
    output.exits(137);
    let (output, again) = job(Bundle::sh("yes; exit 0"), &["--output-limit", "10k", "--exit-codes"]);
    assert_eq!(output.stdout(), "y\n".repeat(5 << 10));
    output.exits(121);
    for result in [result, again] {
        assert_eq!((&result["ended"], &result["limitsHit"]), (&json!("output-limit"), &json!(["output"])), "{result}");
        assert!(result["outputBytes"].as_u64().unwrap() > 10 << 10, "{result}");
    }
    // Both streams count, and what is within the limit arrives.
    let (output, result) = job(Bundle::sh("echo 1234; echo 567 >&2"), &["--output-limit", "9"]);
    assert_eq!((output.stdout(), output.stderr()), ("1234\n".into(), "567\n".into()));
    assert_eq!((&result["ended"], &result["outputBytes"]), (&json!("exited"), &json!(9)));
    job(Bundle::sh("echo 1234; echo 567 >&2"), &["--output-limit", "8", "--exit-codes"]).0.exits(121);
}

/// A pipe is handed over as it is, but not where it is counted.
#[test]
fn output_into_a_pipe_counts_as_well() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("yes").container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let mut command = container.command(&["run", "--bundle", &dir, "--output-limit", "100000", &container.id]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped()).output().unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(137), 100_000));
    container.assert_nothing_left();
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

#[test]
fn the_result_through_a_descriptor() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("ls /proc/self/fd; exit 4").container();
    container.bundle.write();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let file = container.bundle.dir.join("result.json");
    let with_file = |flags: &[&str]| {
        let run = container.command(&[&["run", "--bundle", &dir][..], flags, &[&container.id]].concat());
        let mut shell = Command::new("/bin/sh");
        shell
            .args(["-c", &format!("exec \"$@\" 9>{}", file.display()), "sh"])
            .arg(run.get_program())
            .args(run.get_args());
        let output = process::run(shell);
        (output, fs::read_to_string(&file).unwrap())
    };
    let (output, text) = with_file(&["--result", "fd:9"]);
    assert_eq!(output.code, 4);
    assert!(!output.stdout().contains('9'), "the program has the descriptor: {output:?}");
    let result: Value = serde_json::from_str(&text).unwrap();
    conforms(&result);
    assert_eq!(result["exitCode"], json!(4));
    let (output, text) = with_file(&["--result", "fd:8"]);
    assert!(output.fails().contains("--result fd:8"));
    assert_eq!(text, "");
    container.assert_nothing_left();
}

#[test]
fn a_result_that_nobody_could_get_is_refused_before_anything_is_made() {
    if brisk_only(ONLY) {
        return;
    }
    let mut bundle = Bundle::sh("echo ran");
    let sealed = bundle.host_dir("sealed");
    bundle.mount_on_host(Path::new("tmpfs"), &sealed, "tmpfs", MsFlags::MS_RDONLY, "");
    let container = bundle.container();
    container.bundle.write();
    for (flags, words) in [
        (&["--result", "/nonexistent/x"][..], "/nonexistent/x"),
        (&["--result", "/tmp"], "is a directory"),
        (&["--result", "/tmp/x/"], "is a directory"),
        (&["--result", sealed.join("x").to_str().unwrap()], "read-only file system"),
        (&["--result", ""], "fd: and a number"),
        (&["--timeout", ""], "a duration such as"),
        (&["--output-limit", ""], "a size such as"),
        (&["--result", "fd:x"], "fd: and a number"),
        (&["--timeout", "soon"], "a duration such as"),
        (&["--output-limit", "-1"], "a size such as"),
    ] {
        let output = container.run_with(flags);
        assert_eq!(output.stdout(), "");
        assert!(output.fails().contains(words), "{flags:?}");
    }
    container.assert_nothing_left();
}

#[test]
fn a_second_program_has_limits_too() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let file = container.bundle.dir.join("result.json");
    let file = file.to_str().unwrap();
    let result = || -> Value {
        let result = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
        conforms(&result);
        result
    };
    container.exec_with(&["--result", file], &["/bin/sh", "-c", "exit 5"]).exits(5);
    assert_eq!((&result()["ended"], &result()["exitCode"]), (&json!("exited"), &json!(5)));
    assert!(result()["cpu"]["totalNs"].is_u64(), "of the program alone: {}", result());
    assert!(result()["memory"]["peakBytes"].is_null(), "the container's is not this program's: {}", result());
    let deaf = "trap 'echo no' TERM; echo ready; while :; do sleep 0.05; done";
    let flags = ["--result", file, "--timeout", "2s", "--grace", "2s"];
    assert_eq!(container.exec_with(&flags, &["/bin/sh", "-c", deaf]).exits(137).stdout(), "ready\nno\n");
    assert_eq!(result()["ended"], json!("timeout"));
    container
        .exec_with(&["--result", file, "--output-limit", "4", "--exit-codes"], &["/bin/sh", "-c", "yes"])
        .exits(121);
    container.exec_with(&["--result", file, "--exit-codes"], &["/bin/nothing"]).exits(125);
    assert_eq!(result()["ended"], json!("runtime-error"));
    assert_eq!(container.status(), "running", "the container goes on");
    container.delete_force().ok();
    container.assert_nothing_left();
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

/// The parent of brisk ends, or brisk itself: nothing runs on.
#[test]
fn nothing_outlives_who_wanted_it() {
    if brisk_only(ONLY) {
        return;
    }
    for (whom, user) in [("the caller", 0), ("brisk", 0), ("brisk", 1000)] {
        let container = Bundle::sh("echo ready; while :; do sleep 1; done")
            .set("/process/user", json!({ "uid": user, "gid": user }))
            .container();
        container.bundle.write();
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let run = container.command(&["run", "--die-with-parent", "--bundle", &dir, &container.id]);
        // A shell that does not become brisk.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "\"$@\"; echo over", "sh"]).arg(run.get_program()).args(run.get_args());
        shell.current_dir(&container.bundle.dir);
        let running = process::start(shell, Stdio::null());
        running.wait_for_stdout(|text| text.contains("ready"));
        let program = pidfd_open(container.pid()).unwrap();
        let brisk: i32 =
            fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).unwrap().trim().parse().unwrap();
        let runtime = pidfd_open(brisk).unwrap();
        let target = if whom == "brisk" { brisk } else { running.pid() };
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(target), nix::sys::signal::Signal::SIGKILL).unwrap();
        for (name, pidfd) in [("the program", &program), ("brisk", &runtime)] {
            assert!(wait_readable(pidfd.as_fd(), time_limit()), "{whom} was killed, {name} runs on (uid {user})");
        }
        drop(running.wait());
        if whom == "brisk" {
            // Nobody was left to clean up.
            container.delete_force().ok();
        }
        host::wait_until(|| container.leftovers().is_empty());
    }
}

/// An exec ends with its caller as well, and the container does not.
#[test]
fn an_exec_ends_with_brisk() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::idle().container();
    container.up();
    let command =
        container.command(&["exec", "--die-with-parent", &container.id, "/bin/sh", "-c", "echo $$; exec sleep 1000"]);
    let running = process::start(command, Stdio::null());
    running.wait_for_stdout(|text| text.ends_with('\n'));
    let inside = running.stdout();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
    running.wait().exits(137);
    host::wait_until(|| {
        container.exec_with(&[], &["/bin/sh", "-c", &format!("[ ! -e /proc/{} ]", inside.trim())]).code == 0
    });
    assert_eq!(container.status(), "running");
    container.delete_force().ok();
    container.assert_nothing_left();
}

/// What is not asked for is not there: the file of an earlier result is replaced as a whole, and a command that is killed
/// leaves none that is half.
#[test]
fn a_result_is_whole_or_not_there() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo ready; while :; do sleep 1; done").container();
    let file = container.bundle.dir.join("result.json");
    fs::write(&file, "of before").unwrap();
    let running = container.start_run(&["--die-with-parent", "--result", file.to_str().unwrap()]);
    let pid = running.pid();
    running.wait_for_stdout(|text| text.contains("ready"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    running.wait().exits(137);
    assert_eq!(fs::read_to_string(&file).unwrap(), "of before");
    container.delete_force().ok();
    let (_, result) = run(&Bundle::sh("exit 1").container(), &[]);
    assert_eq!(result["exitCode"], json!(1));
}

/// Others than the parent of a container's process learn how it ended.
#[test]
fn a_container_is_waited_for() {
    if brisk_only("no other runtime has wait") {
        return;
    }
    let container = Bundle::sh("read line < /wake; exit 9").container();
    let wake = wake_of(&container.bundle);
    container.up();
    assert_eq!(container.call(&["wait", "--timeout", "100ms", &container.id]).exits(124).stdout(), "");
    let waiters: Vec<_> =
        (0..3).map(|_| process::start(container.command(&["wait", &container.id]), Stdio::null())).collect();
    // They wait when each has a pidfd of the process.
    host::wait_until(|| waiters.iter().all(|waiter| holds_pidfd(waiter.pid(), container.pid())));
    fs::write(wake, "\n").unwrap();
    let told: Vec<Output> = waiters.into_iter().map(process::Running::wait).collect();
    if told.iter().all(|output| output.code != 0) {
        // Before Linux 6.15.
        assert!(told.iter().all(|output| output.stderr().contains("how is not known")), "{told:?}");
        assert!(container.state().get("exitStatus").is_none());
    } else {
        for output in told {
            assert_eq!(output.ok().stdout(), "9\n");
        }
        assert_eq!(container.call(&["wait", &container.id]).ok().stdout(), "9\n", "it is kept");
        assert_eq!(container.state()["exitStatus"], json!(9));
        assert!(container.state()["finished"].as_str().unwrap().ends_with('Z'));
    }
    container.delete().ok();
    container.assert_nothing_left();
    assert!(container.call(&["wait", &container.id]).fails().contains("does not exist"));
}

/// One that has ended and that nobody has reaped tells how it ended once somebody does.
#[test]
fn a_container_that_is_not_reaped_yet_is_waited_for() {
    if brisk_only("no other runtime has wait") {
        return;
    }
    let container = Bundle::sh("echo ready; read line < /wake; exit 9").container();
    let wake = wake_of(&container.bundle);
    let running = container.start_run(&["--keep"]);
    running.wait_for_stdout(|text| text == "ready\n");
    let program = container.pid();
    // Its parent, which would reap it.
    let brisk = nix::unistd::Pid::from_raw(running.pid());
    nix::sys::signal::kill(brisk, nix::sys::signal::Signal::SIGSTOP).unwrap();
    host::wait_until(|| leftovers::run_state(running.pid()) == Some('T'));
    fs::write(wake, "\n").unwrap();
    host::wait_until(|| leftovers::run_state(program) == Some('Z'));
    let waiter = process::start(container.command(&["wait", &container.id]), Stdio::null());
    let gives_up = |waiter: &process::Running| wait_readable(waiter.pidfd(), std::time::Duration::ZERO);
    host::wait_until(|| holds_pidfd(waiter.pid(), program) || gives_up(&waiter));
    nix::sys::signal::kill(brisk, nix::sys::signal::Signal::SIGCONT).unwrap();
    running.wait().exits(9);
    let told = waiter.wait();
    // Before Linux 6.15 nobody tells it, and the waiter has found nothing that `--keep` had kept.
    match tells_exits() {
        true => assert_eq!(told.ok().stdout(), "9\n"),
        false => assert!(told.fails().contains("how is not known")),
    }
    container.delete().ok();
    container.assert_nothing_left();
}

/// Whether the kernel tells others than a parent how a process ended (Linux 6.15).
fn tells_exits() -> bool {
    let release = nix::sys::utsname::uname().unwrap().release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15)
}

fn holds_pidfd(waiter: i32, of: i32) -> bool {
    let Ok(fds) = fs::read_dir(format!("/proc/{waiter}/fdinfo")) else { return false };
    let wanted = format!("Pid:\t{of}\n");
    fds.flatten().any(|fd| fs::read_to_string(fd.path()).is_ok_and(|text| text.contains(&wanted)))
}

#[test]
fn nobody_waited_and_nobody_knows() {
    if brisk_only("no other runtime has wait") {
        return;
    }
    let container = Bundle::sh("exit 3").container();
    container.create().ok();
    let program = container.pid();
    container.start_and_wait();
    host::wait_until(|| leftovers::run_state(program).is_none());
    assert!(container.call(&["wait", &container.id]).fails().contains("how is not known"));
    assert!(container.state().get("exitStatus").is_none());
    container.delete().ok();
    // The command that was there knows.
    let container = Bundle::sh("exit 3").container();
    container.run_with(&["--keep"]).exits(3);
    assert_eq!(container.call(&["wait", &container.id]).ok().stdout(), "3\n");
    assert_eq!(container.state()["exitStatus"], json!(3));
    container.delete().ok();
    container.assert_nothing_left();
}

/// A device or a fifo stays what it is and gets the result; a link is nobody's to replace; the user's own files stay.
#[test]
fn what_is_there_is_not_replaced_by_a_result() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("exit 2").container();
    let dir = container.bundle.dir.clone();
    let fifo = dir.join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let refused = container.run_with(&["--result", fifo.to_str().unwrap()]);
    assert!(refused.fails().contains("no such device or address"), "a fifo that nobody reads");
    let reader = fs::File::options().read(true).write(true).open(&fifo).unwrap();
    container.run_with(&["--result", fifo.to_str().unwrap()]).exits(2);
    assert!(wait_readable(reader.as_fd(), time_limit()));
    let mut text = [0; 8192];
    let len = std::io::Read::read(&mut &reader, &mut text).unwrap();
    conforms(&serde_json::from_slice(&text[..len]).unwrap());
    std::os::unix::fs::symlink("elsewhere", dir.join("link")).unwrap();
    assert!(container.run_with(&["--result", dir.join("link").to_str().unwrap()]).fails().contains("it is a link"));
    fs::write(dir.join(".r.json"), "mine").unwrap();
    container.run_with(&["--result", dir.join("r.json").to_str().unwrap()]).exits(2);
    assert_eq!(fs::read_to_string(dir.join(".r.json")).unwrap(), "mine");
    if host::is_root() {
        let null = dir.join("null");
        let mode = nix::sys::stat::Mode::from_bits_truncate(0o666);
        nix::sys::stat::mknod(&null, nix::sys::stat::SFlag::S_IFCHR, mode, nix::sys::stat::makedev(1, 3)).unwrap();
        for flag in ["--result", "--pid-file", "--trace"] {
            container.run_with(&[flag, null.to_str().unwrap()]).exits(2);
            assert!(
                std::os::unix::fs::FileTypeExt::is_char_device(&fs::metadata(&null).unwrap().file_type()),
                "{flag}"
            );
        }
    }
    container.assert_nothing_left();
}

/// The directory is looked up once: whoever moves it during the job moves the result with it.
#[test]
fn the_result_goes_to_the_directory_that_was_named() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo ready; read line < /wake").container();
    let wake = wake_of(&container.bundle);
    let [dir, moved, evil] = ["results", "moved", "evil"].map(|name| container.bundle.dir.join(name));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(&evil).unwrap();
    let running = container.start_run(&["--result", dir.join("r.json").to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    fs::rename(&dir, &moved).unwrap();
    std::os::unix::fs::symlink(&evil, &dir).unwrap();
    fs::write(wake, "\n").unwrap();
    running.wait().ok();
    assert!(moved.join("r.json").exists() && !evil.join("r.json").exists());
}

/// The program's status counts for more than a result that cannot be written any more.
#[test]
fn a_result_that_cannot_be_written_is_a_warning() {
    if brisk_only(ONLY) {
        return;
    }
    let container = Bundle::sh("echo ready; read line < /wake; exit 5").container();
    let wake = wake_of(&container.bundle);
    let dir = container.bundle.dir.join("results");
    fs::create_dir(&dir).unwrap();
    let running = container.start_run(&["--result", dir.join("r.json").to_str().unwrap()]);
    running.wait_for_stdout(|text| text.contains("ready"));
    fs::remove_dir(&dir).unwrap();
    fs::write(wake, "\n").unwrap();
    let output = running.wait().exits(5);
    assert!(output.stderr().contains("write the result"), "{output:?}");
    container.assert_nothing_left();
}

/// Grace is for ending: not for more CPU time than there is.
#[test]
fn grace_does_not_lift_the_other_limits() {
    if brisk_only(ONLY) || lacks(&["cpuacct"]) {
        return;
    }
    let script = "trap 'echo term' TERM; while :; do :; done";
    let (output, result) = job(Bundle::sh(script), &["--cpu-time", "200ms", "--grace", "1h"]);
    assert_eq!((output.code, output.stdout().as_str()), (137, ""));
    assert_eq!(result["ended"], json!("cpu-limit"));
    let flags = ["--timeout", "2s", "--cpu-time", "4s", "--grace", "1h"];
    let (output, result) = job(Bundle::sh(script), &flags);
    output.exits(137);
    assert_eq!(result["ended"], json!("timeout"), "{result}");
    assert_eq!(result["limitsHit"], json!(["timeout", "cpu-time"]), "{result}");
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

/// The program has run, whatever becomes of its hooks, and its time counts from its start.
#[test]
fn a_poststart_hook_takes_of_the_programs_time() {
    if brisk_only(ONLY) {
        return;
    }
    let (_, result) = job(Bundle::idle().sh_hook("poststart", "sleep 0.3"), &["--timeout", "200ms"]);
    assert_eq!(result["ended"], json!("timeout"), "{result}");
    let (_, result) = job(Bundle::idle().sh_hook("poststart", "exit 1"), &[]);
    assert_eq!(result["ended"], json!("runtime-error"), "{result}");
    assert!(result["started"].is_string(), "{result}");
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
