//! Pools: members that wait, are claimed by one, used once and thrown away.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::caps;
use crate::common::{Bundle, Container, Need, brisk_only, host, lacks, process, skip_unless, time_limit};
use crate::jobs::conforms;
use crate::rootless;
use crate::spec::annotations::receive;

/// But for the state root, as with a container that cannot be made: another may be about to be made in it.
#[test]
fn a_pool_that_cannot_be_made_leaves_no_directory() {
    if brisk_only("pools") {
        return;
    }
    let container = bundle().mount("bind", "/no/such", "/mnt", &["bind"]).container();
    let root = container.bundle.dir.join("root");
    container.call(&["--root", root.to_str().unwrap(), "pool", "create", "web"]).fails();
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 0);
}

/// A pool that is called as its container, of the same bundle; goes at the end.
pub struct Pool(pub Container);

impl Drop for Pool {
    fn drop(&mut self) {
        let done = process::run(self.0.command(&["pool", "delete", &self.0.id]));
        assert!(done.code == 0 || done.stderr().contains("does not exist") || std::thread::panicking(), "{done:?}");
    }
}

/// A bundle of which there may be several containers.
pub fn bundle() -> Bundle {
    Bundle::idle().unset("/linux/cgroupsPath")
}

/// A pool with so many members.
#[track_caller]
pub fn pool(bundle: Bundle, members: &str) -> Pool {
    let pool = Pool(bundle.container());
    pool.0.call(&["pool", "create", &pool.0.id, "--size", members]).ok();
    pool
}

impl Pool {
    /// `pool ACTION NAME`.
    #[track_caller]
    pub fn does(&self, action: &str) -> process::Output {
        self.0.call(&["pool", action, &self.0.id])
    }

    #[track_caller]
    fn stats(&self) -> Value {
        self.does("stats").ok().json()
    }

    /// Where the members are.
    fn dir(&self) -> PathBuf {
        self.0.bundle.state_root().join(".pools").join(&self.0.id)
    }

    fn members(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).unwrap().map(|entry| entry.unwrap());
        let dirs = entries.filter(|entry| entry.file_type().unwrap().is_dir());
        dirs.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }

    /// The record of its only member.
    #[track_caller]
    fn record(&self) -> (PathBuf, Value) {
        let [member] = &self.members()[..] else { panic!("not one member: {:?}", self.members()) };
        let file = self.dir().join(member).join("state.json");
        let record = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        (file, record)
    }

    pub fn arguments<'a>(&'a self, flags: &[&'a str], program: &[&'a str]) -> Vec<&'a str> {
        [&["run", "--pool", &self.0.id, "--result", "result.json"], flags, &["--"], program].concat()
    }

    /// Runs a program in a container of the pool.
    #[track_caller]
    fn run(&self, flags: &[&str], program: &[&str]) -> process::Output {
        self.0.call(&self.arguments(flags, program))
    }

    /// What the result of the last one says of the pool.
    #[track_caller]
    fn used(&self) -> Value {
        let mut result: Value =
            serde_json::from_slice(&fs::read(self.0.bundle.dir.join("result.json")).unwrap()).unwrap();
        conforms(&result);
        assert_eq!(result["pool"]["name"], json!(self.0.id));
        json!([result["pool"]["claimed"].take(), result["pool"]["reason"].take()])
    }

    #[track_caller]
    fn claims(&self, flags: &[&str], program: &[&str]) -> process::Output {
        let output = self.run(flags, program);
        assert_eq!(self.used(), json!([true, null]), "{output:?}");
        output
    }
}

#[test]
fn a_member_is_used_once_and_thrown_away() {
    if brisk_only("pools") {
        return;
    }
    let bundle = bundle().mount("tmpfs", "tmpfs", "/tmp", &[]);
    let pool = pool(bundle, "2");
    assert_eq!(pool.stats()["waiting"], json!(2));
    let script = "ls /tmp; echo x > /tmp/left; echo $$; sleep 1000 & exit 7";
    let before = pool.members();
    for left in [1, 0] {
        let output = pool.claims(&[], &["/bin/sh", "-c", script]).exits(7);
        assert_eq!(output.stdout(), "1\n", "nothing of another job is there");
        assert_eq!(pool.stats()["waiting"], json!(left));
    }
    assert!(pool.members().is_empty(), "{before:?}");
    // There is none: a new container does the same.
    assert_eq!(pool.run(&[], &["/bin/sh", "-c", script]).exits(7).stdout(), "1\n");
    assert_eq!(pool.used(), json!([false, "empty"]));
    assert_eq!(pool.0.call(&["list", "--quiet"]).ok().stdout(), "");
    pool.does("fill").ok();
    assert_eq!(pool.members().len(), 2);
    assert!(pool.members().iter().all(|member| !before.contains(member)));
    pool.does("delete").ok();
    assert!(pool.does("stats").fails().contains("does not exist"));
    pool.0.assert_nothing_left();
}

/// In a member as in a new container.
#[test]
fn what_comes_with_the_program_reaches_it() {
    if brisk_only("pools") || lacks(&["memory", "pids"]) {
        return;
    }
    let own = json!(["CAP_KILL", "CAP_CHOWN"]);
    let bundle = bundle()
        .set("/process/capabilities", json!({ "bounding": own, "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"] }))
        .set("/process/noNewPrivileges", json!(false));
    let pool = pool(bundle, "2");
    let place = format!("{}:/mnt:ro", pool.0.bundle.host_dir("shared").display());
    let flags = [
        "--env",
        "LATE=1",
        "--cwd",
        "/tmp",
        "--user",
        "1000:1001",
        "--additional-gids",
        "7",
        "--cap",
        "CAP_CHOWN",
        "--no-new-privs",
        "--pids",
        "9",
        "--memory",
        "64m",
        "--mount",
        &place,
        "--tmpfs",
        "/var",
    ];
    let report = ["/probe", "report", "create:/mnt/new", "create:/var/new"];
    for claimed in [true, false] {
        if !claimed {
            pool.does("drain").ok();
        }
        let mut out = pool.run(&flags, &report).ok().json();
        assert_eq!(pool.used()[0], json!(claimed));
        let seen = out["report"].take();
        assert_eq!((&seen["env"]["LATE"], &seen["cwd"]), (&json!("1"), &json!("/tmp")));
        assert_eq!((&seen["uid"], &seen["gid"], &seen["pid"]), (&json!(1000), &json!(1001), &json!(1)));
        let status = &seen["status"];
        assert_eq!((&status["Groups"], &status["NoNewPrivs"]), (&json!("7"), &json!("1")));
        assert_eq!(caps(status, "CapBnd"), 1 | 1 << 5);
        assert_eq!(out["create:/mnt/new"]["errno"], json!("EROFS"));
        let point = |point: &str| seen["mounts"].as_array().unwrap().iter().any(|mount| mount["point"] == point);
        assert!(point("/mnt") && point("/var"), "{seen}");
        // Another label, or a capability that the pool's containers cannot have.
        assert!(
            pool.run(&["--cap", "CAP_SYS_ADMIN"], &["/bin/true"]).fails().contains("not in the template's bounding")
        );
    }
}

#[test]
fn a_process_json_comes_with_the_program() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let process = json!({ "args": ["/probe", "report"], "cwd": "/mnt", "user": { "uid": 5, "gid": 6, "umask": 0o77 } });
    fs::write(pool.0.bundle.dir.join("process.json"), process.to_string()).unwrap();
    for claimed in [true, false] {
        let seen = pool.0.call(&["run", "--pool", &pool.0.id, "--result", "result.json", "--process", "process.json"]);
        let seen = seen.ok().json()["report"].take();
        assert_eq!(pool.used()[0], json!(claimed));
        assert_eq!((&seen["cwd"], &seen["uid"], &seen["gid"]), (&json!("/mnt"), &json!(5), &json!(6)));
        assert_eq!(seen["status"]["Umask"], json!("0077"));
        assert_eq!(seen["status"]["NoNewPrivs"], json!("1"), "the bundle's holds");
    }
}

/// As of any job: streams, signals, limits of time, the exit status, what it used.
#[test]
fn the_foreground_is_that_of_a_run() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "4");
    let arguments = pool.arguments(&["job1"], &["/bin/cat"]);
    assert_eq!(pool.0.call_with_input(&arguments, "from the caller").ok().stdout(), "from the caller");
    assert_eq!(pool.used(), json!([true, null]));
    let result = |what: &str| {
        let text = fs::read(pool.0.bundle.dir.join("result.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()[what].take()
    };
    assert_eq!(result("id"), json!("job1"));
    assert!(result("memory")["largestProcessBytes"].as_u64().unwrap() > 0, "its keeper has told");

    let script = "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.01; done";
    let running = process::start(pool.0.command(&pool.arguments(&["job2"], &["/bin/sh", "-c", script])), Stdio::null());
    running.wait_for_stdout(|text| text.contains("up"));
    assert!(pool.0.call(&["list", "--quiet"]).ok().stdout().contains("job2"));
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(running.pid()), nix::sys::signal::SIGTERM).unwrap();
    assert_eq!(running.wait().exits(3).stdout(), "up\nterm\n");

    pool.claims(&["--timeout", "50ms", "--exit-codes"], &["/probe", "pause"]).exits(124);
    assert_eq!(result("ended"), json!("timeout"));
    pool.claims(&["--output-limit", "10", "--exit-codes"], &["/bin/sh", "-c", "while :; do echo more; done"])
        .exits(121);
    assert_eq!(result("ended"), json!("output-limit"));
    pool.does("fill").ok();
    if !lacks(&["cpuacct"]) {
        let busy = ["/bin/sh", "-c", "while :; do :; done"];
        pool.claims(&["--cpu-time", "200ms", "--timeout", "20s", "--exit-codes"], &busy).exits(123);
        assert_eq!(result("ended"), json!("cpu-limit"));
    }
    // Who has no time to end is not asked.
    let heeds = "trap 'exit 3' TERM; sleep 1000000 & while :; do wait; done";
    pool.claims(&["--timeout", "500ms", "--grace", "0"], &["/bin/sh", "-c", heeds]).exits(137);
}

/// Who asked to be told is told of a member, as of a container that `run` makes.
#[test]
fn what_the_command_tells_others_it_tells_of_a_member() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let dir = &pool.0.bundle.dir;
    let listener = UnixListener::bind(dir.join("pidfd.sock")).unwrap();
    let flags = ["--detach", "--pid-file", "job.pid", "--trace", "job.trace", "--pidfd-socket", "pidfd.sock", "told"];
    for claimed in [true, false] {
        assert_eq!(pool.members().len(), usize::from(claimed));
        pool.run(&flags, &["/probe", "pause"]).ok();
        assert!(pool.members().is_empty());
        let pid = pool.0.call(&["state", "told"]).ok().json()["pid"].to_string();
        assert_eq!(fs::read_to_string(dir.join("job.pid")).unwrap(), pid);
        assert!(receive(&listener).1.contains(&format!("Pid:\t{pid}\n")));
        let trace: Value = serde_json::from_slice(&fs::read(dir.join("job.trace")).unwrap()).unwrap();
        assert!(trace.to_string().contains("\"name\""), "{trace}");
        fs::remove_file(dir.join("job.trace")).unwrap();
        pool.0.call(&["delete", "--force", "told"]).ok();
    }
}

#[test]
fn a_claimed_container_may_be_kept() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    for claimed in [true, false] {
        pool.run(&["--keep", "kept"], &["/bin/sh", "-c", "exit 4"]).exits(4);
        assert_eq!(pool.used()[0], json!(claimed));
        assert_eq!(pool.0.call(&["state", "kept"]).ok().json()["status"], json!("stopped"));
        pool.0.call(&["delete", "kept"]).ok();
    }
}

#[test]
fn limits_of_the_program_are_the_members() {
    if brisk_only("pools") || lacks(&["memory", "pids", "cpu"]) {
        return;
    }
    let pool = pool(bundle(), "1");
    let flags = ["--detach", "--memory", "32m", "--pids", "7", "--cpus", "0.5", "limited"];
    for claimed in [true, false] {
        assert_eq!(pool.members().len(), usize::from(claimed));
        pool.run(&flags, &["/probe", "pause"]).ok();
        assert!(pool.members().is_empty());
        let pid = pool.0.call(&["state", "limited"]).ok().json()["pid"].to_string();
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        for (controller, files, wanted) in [
            ("pids", ["pids.max", "pids.max"], "7"),
            ("memory", ["memory.max", "memory.limit_in_bytes"], "33554432"),
            ("cpu", ["cpu.max", "cpu.cfs_quota_us"], "50000"),
        ] {
            let of = |line: &&str| line.starts_with("0::") || line.split([':', ',']).any(|word| word == controller);
            // Where both versions are, v1 has the controller.
            let line = cgroups.lines().find(of).unwrap();
            let dir = host::cgroup_dir(controller, line.rsplit(':').next().unwrap());
            let found = files.iter().find_map(|file| fs::read_to_string(dir.join(file)).ok());
            assert_eq!(found.unwrap().split_whitespace().next(), Some(wanted), "{controller}");
        }
        pool.0.call(&["delete", "--force", "limited"]).ok();
    }
}

/// The flag, not what config.json says of the member or of the new container.
#[test]
fn the_limit_that_has_run_out_is_named() {
    if brisk_only("pools") || lacks(&["memory"]) {
        return;
    }
    let pool = pool(bundle().resources("memory", json!({ "limit": 100_000_000 })), "1");
    for (members, limit, named) in [
        (1, &["--memory", "20m"][..], "--memory is 20971520 bytes"),
        (0, &["--memory", "20m"], "--memory is 20971520 bytes"),
        (0, &[], "linux.resources.memory.limit is 100000000 bytes"),
    ] {
        assert_eq!(pool.members().len(), members);
        let run = ["run", "--pool", &pool.0.id];
        let told = pool.0.call(&[&run, limit, &["--", "/probe", "alloc:200000000"]].concat()).exits(137).stderr();
        assert!(told.contains("(OOM)") && told.contains(named), "{told}");
    }
}

#[test]
fn a_member_may_run_in_the_background() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "2");
    pool.run(&["--detach", "job1"], &["/bin/sh", "-c", "exit 9"]).ok();
    assert_eq!(pool.0.call(&["wait", "job1"]).ok().stdout(), "9\n");
    assert_eq!(pool.used(), json!([true, null]));
    pool.0.call(&["delete", "job1"]).ok();

    pool.0.call(&["run", "--pool", &pool.0.id, "--detach", "job2", "--", "/probe", "pause"]).ok();
    assert_eq!(pool.0.call(&["exec", "job2", "/bin/echo", "inside"]).ok().stdout(), "inside\n");
    assert_eq!(pool.stats()["claimed"], json!(1));
    // It is a container as any other, and outlives its pool.
    pool.does("delete").ok();
    assert_eq!(pool.0.call(&["exec", "job2", "/bin/echo", "inside"]).ok().stdout(), "inside\n");
    pool.0.call(&["delete", "--force", "job2"]).ok();
}

#[test]
fn exactly_one_of_several_has_a_member() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "2");
    for _ in 0..3 {
        let jobs: Vec<_> = (0..4)
            .map(|number| {
                let (file, program) =
                    (format!("result{number}.json"), format!("echo job {number}; echo $$; exit {number}"));
                let args = ["run", "--pool", &pool.0.id, "--result", &file, "--", "/bin/sh", "-c", &program];
                process::start(pool.0.command(&args), Stdio::null())
            })
            .collect();
        let mut claimed = 0;
        for (number, job) in jobs.into_iter().enumerate() {
            let output = job.wait();
            assert_eq!((output.code, output.stdout()), (number as i32, format!("job {number}\n1\n")), "{output:?}");
            let file = pool.0.bundle.dir.join(format!("result{number}.json"));
            let result: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
            claimed += usize::from(result["pool"]["claimed"] == json!(true));
        }
        // One that is held by another at the moment is as good as none.
        let waiting = pool.members().len();
        assert_eq!((claimed + waiting, pool.stats()["stale"].clone()), (2, json!(0)));
        pool.does("fill").ok();
    }
}

/// What the bundle is now is what runs; what does not fit is replaced.
#[test]
fn a_member_that_does_not_fit_any_more_is_not_used() {
    if brisk_only("pools") {
        return;
    }
    let bundle = bundle();
    let shared = bundle.host_dir("shared");
    let bundle = bundle.mount("bind", shared.to_str().unwrap(), "/mnt", &["bind"]);
    let pool = pool(bundle, "1");
    let dir = &pool.0.bundle.dir;
    let edit = |change: &dyn Fn(&mut Value)| {
        let (file, mut record) = pool.record();
        change(&mut record);
        fs::write(file, record.to_string()).unwrap();
    };
    let again = |path: &std::path::Path| {
        let aside = path.with_extension("aside");
        fs::rename(path, &aside).unwrap();
        assert!(Command::new("cp").args(["-a"]).args([&aside, path]).status().unwrap().success());
        let removed = if aside.is_dir() { fs::remove_dir_all(aside) } else { fs::remove_file(aside) };
        removed.unwrap();
    };
    let end = |of: &str| {
        let (_, record) = pool.record();
        let process = if of == "init" { &record["init"] } else { &record["member"]["keeper"] };
        let pid = process["pid"].as_i64().unwrap() as i32;
        let pidfd = process::pidfd_open(pid).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::SIGKILL).unwrap();
        assert!(process::wait_readable(pidfd.as_fd(), time_limit()));
    };
    let below = dir.join("rootfs/mnt");
    let mount =
        || nix::mount::mount(Some("none"), &below, Some("tmpfs"), nix::mount::MsFlags::empty(), None::<&str>).unwrap();
    let changes: [(&str, &dyn Fn()); 12] = [
        ("mount in the root", &mount),
        ("mount that is gone", &|| nix::mount::umount(&below).unwrap()),
        ("config.json", &|| again(&dir.join("config.json"))),
        ("root", &|| again(&dir.join("rootfs"))),
        ("source of a bind", &|| again(&shared)),
        ("brisk", &|| edit(&|record| record["build"] = json!("0.0.1 another"))),
        ("boot", &|| edit(&|record| record["bootId"] = json!("another"))),
        ("interrupted start", &|| edit(&|record| record["furnishing"] = json!(true))),
        ("update", &|| edit(&|record| record["resources"] = json!({ "pids": { "limit": 5 } }))),
        ("mounts add", &|| edit(&|record| record["addedMounts"] = json!([7]))),
        ("process", &|| end("init")),
        ("keeper", &|| end("keeper")),
    ];
    for (what, change) in changes {
        let before = pool.members();
        change();
        assert_eq!(pool.run(&[], &["/bin/echo", "ran"]).ok().stdout(), "ran\n");
        assert_eq!(pool.used(), json!([false, "stale"]), "{what}");
        pool.does("fill").ok();
        assert_ne!(pool.members(), before, "{what}");
    }
    end("init");
    assert_eq!((&pool.stats()["waiting"], &pool.stats()["stale"]), (&json!(0), &json!(1)));
    pool.does("fill").ok();
    pool.claims(&[], &["/bin/true"]).ok();
}

/// How somebody else calls brisk: a program, its arguments, and then brisk's; and what of that a member would inherit.
type Caller<'a> = (&'a str, &'a [&'a str]);

/// Python's `execvp` after a system call: prctl(2) and the like, for which there are no programs.
const AFTER: &str = "import ctypes,os,sys; libc=ctypes.CDLL(None); done=eval(sys.argv[1]); \
    done==0 or os._exit(77); os.execvp(sys.argv[2],sys.argv[2:])";
const FILTER: &str = "(code := (ctypes.c_uint64*1)(0x7fff000000000006)) and \
    libc.prctl(22, 2, (ctypes.c_uint64*2)(1, ctypes.addressof(code)))";
/// landlock_create_ruleset(2) and landlock_restrict_self(2), which have the same numbers everywhere. A domain that is of the network
/// alone, and forbids no mounts.
const LANDLOCK: &str = "libc.syscall(446, libc.syscall(444, (ctypes.c_uint64*2)(0, 1), 16, 0), 0)";

/// keyctl(2): where request_key(2) puts new keys.
const KEYRING: &str = "min(0, libc.syscall({'x86_64': 250}.get(os.uname().machine, 219), 14, 3))";

const CALLERS: &[Caller<'_>] = &[
    ("Umask", &["sh", "-c", "umask 027; exec \"$@\"", "sh"]),
    ("oom_score_adj", &["sh", "-c", "echo 500 > /proc/self/oom_score_adj; exec \"$@\"", "sh"]),
    ("coredump_filter", &["sh", "-c", "echo 0 > /proc/self/coredump_filter; exec \"$@\"", "sh"]),
    ("PR_GET_TIMERSLACK", &["sh", "-c", "echo 99999 > /proc/self/timerslack_ns; exec \"$@\"", "sh"]),
    ("Groups", &["setpriv", "--groups", "7"]),
    ("Gid", &["setpriv", "--regid", "7", "--keep-groups"]),
    ("CapBnd", &["setpriv", "--bounding-set", "-net_raw"]),
    ("CapInh", &["setpriv", "--inh-caps", "+net_raw"]),
    ("CapAmb", &["setpriv", "--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"]),
    ("PR_GET_SECUREBITS", &["setpriv", "--securebits", "+no_setuid_fixup"]),
    ("NoNewPrivs", &["setpriv", "--no-new-privs"]),
    ("sched_getattr", &["nice", "-n", "5"]),
    ("sched_getattr", &["chrt", "--batch", "0"]),
    ("ioprio_get", &["ionice", "-c", "3"]),
    ("personality", &["setarch", "-R"]),
    ("Max file size", &["prlimit", "--fsize=1048576:1048576"]),
    ("Max open files", &["prlimit", "--nofile=999:1000"]),
    ("ns/net", &["unshare", "--net"]),
    ("ns/ipc", &["unshare", "--ipc"]),
    ("ns/uts", &["unshare", "--uts"]),
    ("ns/mnt", &["unshare", "--mount"]),
    // By this, or by what /proc/self/cgroup says then.
    ("cgroup", &["unshare", "--cgroup"]),
    ("ns/pid", &["unshare", "--pid", "--fork"]),
    ("ns/time", &["unshare", "--time", "--fork"]),
    ("Seccomp", &["python3", "-SIc", AFTER, FILTER]),
    ("PR_GET_THP_DISABLE", &["python3", "-SIc", AFTER, "libc.prctl(41, 1, 0, 0, 0)"]),
    ("PR_MCE_KILL_GET", &["python3", "-SIc", AFTER, "libc.prctl(33, 1, 1, 0, 0)"]),
    // PR_THP_DISABLE_EXCEPT_ADVISED (Linux 6.18), of which /proc/self/status says nothing.
    ("PR_GET_THP_DISABLE", &["python3", "-SIc", AFTER, "libc.prctl(41, 1, 2, 0, 0)"]),
    ("PR_GET_MEMORY_MERGE", &["python3", "-SIc", AFTER, "libc.prctl(67, 1, 0, 0, 0)"]),
    ("KEYCTL_SET_REQKEY_KEYRING", &["python3", "-SIc", AFTER, KEYRING]),
];

impl Pool {
    /// Calls brisk as somebody else.
    #[track_caller]
    fn call_as(&self, caller: &[&str], args: &[&str]) -> process::Output {
        process::run(process::under(caller, &self.0.command(args)))
    }
}

/// Each of what fork(2) and execve(2) hand on is seen. (A member that is there would be kept by `fill`, and is no reason to let
/// somebody else fill.)
#[test]
fn what_a_caller_brings_along_is_seen() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let members = pool.members();
    for (what, caller) in CALLERS {
        let output = pool.call_as(caller, &["pool", "fill", &pool.0.id]);
        if skip_unless(Need::from(output.code != 77), &format!("{what} of prctl(2) or the like")) {
            continue;
        }
        let refusal = output.fails();
        assert!(
            refusal.contains("created with another ") && refusal.contains(&format!("{what} than")),
            "{what}: {refusal}"
        );
    }
    for flags in [&["--rootless", "true"], &["--trust-annotations", "all"]] {
        let refusal = pool.0.call(&[&flags[..], &["pool", "fill", &pool.0.id]].concat()).fails();
        assert!(refusal.contains(&format!("created with another {} than", flags[0])), "{refusal}");
    }
    assert_eq!(pool.members(), members);
    // What is in a filter nobody can compare.
    let filtered = pool.call_as(&["python3", "-SIc", AFTER, FILTER], &["pool", "create", "another"]).fails();
    assert!(filtered.contains("under a filter"), "{filtered}");
}

/// What a program inherits is its own caller's, whoever has filled the pool.
#[test]
fn what_a_caller_brings_along_reaches_no_other_ones_job() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle().without_ns("network"), "1");
    let inherited = ["/bin/sh", "-c", "readlink /proc/self/ns/net; cut -d ' ' -f 19 /proc/self/stat; ulimit -f"];
    let own = pool.run(&[], &inherited).ok().stdout();
    assert_eq!(pool.used(), json!([true, null]));
    pool.does("fill").ok();
    let members = pool.members();
    for caller in [&["nice", "-n", "5"][..], &["prlimit", "--fsize=1048576:1048576"], &["unshare", "--net"]] {
        let output = pool.call_as(caller, &pool.arguments(&[], &inherited)).ok();
        assert_eq!(pool.used(), json!([false, "caller"]), "{caller:?}");
        assert_ne!(output.stdout(), own, "{caller:?}");
        assert_eq!(pool.members(), members, "{caller:?}");
    }
    assert_eq!(pool.claims(&[], &inherited).ok().stdout(), own);
}

/// What every container has anew is not its maker's, and who differs in that claims a member.
#[test]
fn what_is_reset_is_nobodys() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let seen = ["/bin/sh", "-c", "grep -E 'SigIgn|SigBlk|Cpus_allowed_list' /proc/self/status"];
    let own = pool.claims(&[], &seen).ok().stdout();
    let caller = ["taskset", "-c", "0", "sh", "-c", "trap '' HUP USR1; exec \"$@\"", "sh"];
    pool.call_as(&caller, &["pool", "fill", &pool.0.id]).ok();
    assert_eq!(pool.claims(&[], &seen).ok().stdout(), own);
    pool.does("fill").ok();
    assert_eq!(pool.call_as(&caller, &pool.arguments(&[], &seen)).ok().stdout(), own);
    assert_eq!(pool.used(), json!([true, null]));
}

/// Nobody can see a domain of Landlock, but the kernel lets nothing out of it.
#[test]
fn who_is_in_a_domain_of_landlock_claims_nothing() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let output = pool.call_as(&["python3", "-SIc", AFTER, LANDLOCK], &pool.arguments(&[], &["/bin/echo", "ran"]));
    if skip_unless(Need::from(output.code != 77), "Landlock of the network") {
        return;
    }
    assert_eq!((output.ok().stdout(), pool.used()), ("ran\n".to_owned(), json!([false, "refused"])));
}

/// The cgroup that has a member's below it is whoever's who makes it, unless the bundle names one.
#[test]
fn a_pool_is_below_a_cgroup() {
    if brisk_only("pools") || lacks(&["pids"]) {
        return;
    }
    let apart = Bundle::idle();
    let place = apart.cgroup();
    let own = host::cgroup_dir("pids", &format!("{place}.caller"));
    fs::create_dir(&own).unwrap();
    let elsewhere = format!("echo 0 > {}/cgroup.procs && exec \"$@\"", own.display());
    let elsewhere = ["sh", "-c", &elsewhere, "sh"];
    let named = pool(apart, "1");
    let relative = pool(bundle(), "1");
    // One that the bundle names: whoever calls, it is there.
    named.call_as(&elsewhere, &named.arguments(&[], &["/bin/true"])).ok();
    assert_eq!(named.used(), json!([true, null]));
    for claimed in [false, true] {
        named.0.call(&["run", "--pool", &named.0.id, "--detach", "job"]).ok();
        let pid = named.0.call(&["state", "job"]).ok().json()["pid"].to_string();
        let seen = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let name = if claimed { format!("{place}/{}.", named.0.id) } else { format!("{place}/job\n") };
        assert!(seen.contains(&name), "{name}: {seen}");
        named.0.call(&["delete", "--force", "job"]).ok();
        named.does("fill").ok();
    }
    let refusal = relative.call_as(&elsewhere, &["pool", "fill", &relative.0.id]).fails();
    assert!(refusal.contains("created with another cgroup than"), "{refusal}");
    relative.call_as(&elsewhere, &relative.arguments(&[], &["/bin/true"])).ok();
    assert_eq!(relative.used(), json!([false, "caller"]));
    named.does("delete").ok();
    for dir in host::cgroup_dirs(&place).into_iter().chain([own]) {
        fs::remove_dir(dir).unwrap();
    }
}

/// A name that a deleted pool had is another pool's.
#[test]
fn a_member_of_a_pool_that_was_made_anew_is_not_used() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let definition = pool.dir().join("pool.json");
    let mut other: Value = serde_json::from_slice(&fs::read(&definition).unwrap()).unwrap();
    other["generation"] = json!("another");
    fs::write(definition, other.to_string()).unwrap();
    pool.run(&[], &["/bin/true"]).ok();
    assert_eq!(pool.used(), json!([false, "stale"]));
    pool.does("fill").ok();
    pool.claims(&[], &["/bin/true"]).ok();
}

/// A namespace that is joined may be made anew under its path.
#[test]
fn a_member_in_a_namespace_that_was_made_anew_is_not_used() {
    if brisk_only("pools") {
        return;
    }
    let bundle = bundle();
    let path = bundle.dir.join("network");
    fs::write(&path, "").unwrap();
    let make = || {
        let made = Command::new("unshare").arg(format!("--net={}", path.display())).arg("true").status();
        assert!(made.unwrap().success());
    };
    let unmake = || nix::mount::umount(&path).unwrap();
    make();
    let pool = pool(bundle.join("network", path.to_str().unwrap()), "2");
    pool.claims(&[], &["/bin/true"]).ok();
    unmake();
    make();
    let output = pool.run(&[], &["/bin/sh", "-c", "readlink /proc/self/ns/net"]).ok();
    assert_eq!(pool.used(), json!([false, "stale"]));
    let now = fs::metadata(&path).unwrap().ino();
    assert_eq!(output.stdout(), format!("net:[{now}]\n"));
    pool.does("delete").ok();
    unmake();
}

/// A container that was a member has a cgroup of the member's name.
#[test]
fn one_with_a_damaged_record_is_deleted_with_its_cgroup() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    pool.0.call(&["run", "--pool", &pool.0.id, "--detach", &pool.0.id, "--", "/probe", "pause"]).ok();
    fs::write(pool.0.record_file(), "{").unwrap();
    pool.0.delete_force().ok();
    pool.0.assert_nothing_left();
}

#[test]
fn a_drain_meets_those_who_start() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "3");
    let runs: Vec<_> = (0..4)
        .map(|number| {
            let number = number.to_string();
            let args = ["run", "--pool", &pool.0.id, "--", "/bin/echo", &number];
            process::start(pool.0.command(&args), Stdio::null())
        })
        .collect();
    pool.does("drain").ok();
    assert!(pool.members().is_empty());
    for (number, run) in runs.into_iter().enumerate() {
        assert_eq!(run.wait().ok().stdout(), format!("{number}\n"));
    }
    assert!(pool.members().is_empty());
}

/// Of a claim that was cut short there is a container that waits, and nobody holds it.
#[test]
fn what_was_claimed_and_never_started_is_deleted() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let member = pool.members().remove(0);
    let mine = pool.0.bundle.state_root().join("mine");
    fs::rename(pool.dir().join(member), &mine).unwrap();
    pool.0.create().ok();
    pool.does("fill").ok();
    assert!(!mine.exists(), "it was nobody's");
    assert_eq!(pool.0.status(), "created", "another's container is");
    pool.0.delete().ok();
}

/// What waits for it is as good as nothing.
#[test]
fn a_keeper_is_small_and_holds_nothing() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let (_, record) = pool.record();
    let pid = record["member"]["keeper"]["pid"].as_i64().unwrap();
    let proc = PathBuf::from(format!("/proc/{pid}"));
    // It has said that the member waits, and closes where it has said so.
    let fds = || fs::read_dir(proc.join("fd")).unwrap().map(|fd| fd.unwrap().path()).collect::<Vec<_>>();
    host::wait_until(|| fds().len() == 1);
    assert!(fs::read_link(&fds()[0]).unwrap().ends_with("end.fifo"));
    assert_eq!(fs::read_link(proc.join("cwd")).unwrap(), PathBuf::from("/"));
    assert_eq!(fs::read_to_string(proc.join("cmdline")).unwrap(), "");
    let stats = pool.stats();
    let bytes = stats["processBytes"].as_u64().unwrap();
    assert!(bytes > 0 && bytes <= 64 << 10, "{stats}");
    // One that is killed while the program runs: whoever has reaped that, later kernels tell us.
    let script = "echo up; read word; exit 5";
    let (reader, mut writer) = std::io::pipe().unwrap();
    let running = process::start(pool.0.command(&pool.arguments(&[], &["/bin/sh", "-c", script])), Stdio::from(reader));
    running.wait_for_stdout(|text| text.contains("up"));
    let keeper = process::pidfd_open(pid as i32).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), nix::sys::signal::SIGKILL).unwrap();
    assert!(process::wait_readable(keeper.as_fd(), time_limit()));
    std::io::Write::write_all(&mut writer, b"word\n").unwrap();
    let output = running.wait();
    assert!(output.code == 5 || output.stderr().contains("nobody knows how"), "{output:?}");
}

/// Where more is asked for than a member can be, a new container is made, and does it.
#[test]
fn what_a_member_cannot_be_a_new_container_is() {
    if brisk_only("pools") {
        return;
    }
    let bundle = bundle().set("/root/readonly", json!(true));
    let pool = pool(bundle, "2");
    let place = format!("{}:/new/place", pool.0.bundle.host_dir("shared").display());
    let out = pool.run(&["--mount", &place], &["/bin/ls", "/new"]).ok();
    assert_eq!((out.stdout().as_str(), pool.used()), ("place\n", json!([false, "refused"])));
    for flag in [&["--die-with-parent"][..], &["--no-new-keyring"], &["--no-pivot"], &["--preserve-fds", "1"]] {
        pool.run(flag, &["/bin/true"]).ok();
        assert_eq!(pool.used(), json!([false, "options"]), "{flag:?}");
    }
    assert_eq!(pool.stats()["waiting"], json!(1));
    // Nor has whoever has typed flags a config.json to look into then.
    for (flags, said) in [
        (["--mount", "/tmp:/proc/x"], "--mount: mount /proc/x"),
        (["--cap", "CAP_SYS_BOOT"], "--cap: process.capabilities: CAP_SYS_BOOT is not in the template's"),
        (["--pids", "99999999999"], "--pids: write 99999999999 to "),
    ] {
        let error = pool.run(&flags, &["/bin/true"]).fails();
        assert!(error.contains(said), "{said}: {error}");
    }
}

#[test]
fn what_cannot_be_a_pool_is_refused() {
    if brisk_only("pools") {
        return;
    }
    let container = bundle().hook("poststop", "/bin/true", &[]).container();
    let id = &container.id;
    assert!(container.call(&["pool", "create", id]).fails().contains("cannot have hooks"));
    assert!(container.call(&["run", "--pool", id, "--", "/bin/true"]).fails().contains("does not exist"));
    let all = container.call(&["pool", "list", "--format", "json"]).ok();
    assert_eq!(all.json(), json!([]));
    for (args, why) in [
        (&["pool", "fill"][..], "missing argument: NAME"),
        (&["pool", "drain", "p", "--size", "1"], "are of pool create"),
        (&["pool", "create", "../p"], "invalid pool name"),
        (&["run", "--pool", "..", "--", "/bin/true"], "invalid pool name"),
        (&["run", "--pool", "p", "--hostname", "x", "--", "/bin/true"], "was said when the pool was made"),
        (&["run", "--no-new-privs", "c"], "need --pool"),
        (&["run"], "missing argument: ID"),
    ] {
        let error = container.call(args).fails();
        assert!(error.contains(why), "{args:?}: {error}");
    }
}

#[test]
fn pools_are_listed() {
    if brisk_only("pools") {
        return;
    }
    let pool = Pool(bundle().container());
    let (id, dir) = (&pool.0.id, pool.0.bundle.dir.to_str().unwrap());
    let mut create = pool.0.command(&["pool", "create", id, "--bundle", dir, "--size", "2"]);
    create.current_dir("/");
    process::run(create).ok();
    let wanted = json!([{ "name": id, "bundle": dir, "size": 2, "waiting": 2 }]);
    assert_eq!(pool.0.call(&["pool", "list", "--format", "json"]).ok().json(), wanted);
    let table = pool.0.call(&["pool", "list"]).ok().stdout();
    assert!(table.starts_with("NAME") && table.lines().nth(1).unwrap().starts_with(id.as_str()), "{table}");
    assert!(pool.does("create").fails().contains("exists already"));
    assert_eq!(pool.0.call(&["list"]).ok().stdout().lines().count(), 1, "a member is no container");
}

/// By no command, and by nobody else's.
#[test]
fn a_member_is_nobodys_to_address() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let member = pool.members().remove(0);
    let inside = format!(".pools/{}/{member}", pool.0.id);
    for name in [member.as_str(), &inside] {
        for args in
            [&["state", name][..], &["start", name, "--", "/bin/true"], &["exec", name, "/bin/true"], &["kill", name]]
        {
            pool.0.call(args).fails();
        }
    }
    pool.0.call(&["delete", "--force", &member]).ok();
    let mode = |path: PathBuf| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions());
    assert_eq!(mode(pool.0.bundle.state_root().join(".pools")) & 0o777, 0o700);
    pool.claims(&[&member], &["/bin/true"]).ok();
}

#[test]
fn an_ordinary_user_has_pools() {
    if brisk_only("pools") || rootless::not_here() {
        return;
    }
    let container = rootless::bundle(&["/bin/true"]).container();
    let id = container.id.clone();
    let call = |args: &[&str]| process::run(rootless::as_user(&container, args));
    call(&["pool", "create", &id, "--size", "1"]).ok();
    for claimed in [true, false] {
        let args = ["run", "--pool", &id, "--result", "result.json", "--", "/bin/sh", "-c", "id -u; exit 4"];
        assert_eq!(call(&args).exits(4).stdout(), "0\n");
        let result = fs::read(container.bundle.dir.join("result.json")).unwrap();
        let result: Value = serde_json::from_slice(&result).unwrap();
        assert_eq!(result["pool"]["claimed"], json!(claimed), "{result}");
    }
    call(&["pool", "delete", &id]).ok();
}

/// The terminal is the caller's, or goes to its socket.
#[test]
fn a_program_of_a_pool_may_have_a_terminal() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "2");
    assert!(pool.run(&["--tty", "--detach"], &["/bin/true"]).fails().contains("console socket"));
    let out = pool.claims(&["--tty"], &["/bin/sh", "-c", "[ -t 0 ] && [ -t 1 ] && echo terminal"]);
    assert_eq!(out.ok().stdout().trim_end(), "terminal");
}

#[test]
fn a_claimed_container_ends_by_the_hand_of_others() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let running = process::start(
        pool.0.command(&pool.arguments(&["job"], &["/bin/sh", "-c", "echo up; read x < /dev/zero; sleep 1000"])),
        Stdio::null(),
    );
    running.wait_for_stdout(|text| text.contains("up"));
    pool.0.call(&["kill", "job", "KILL"]).ok();
    running.wait().exits(137);
    let result: Value = serde_json::from_slice(&fs::read(pool.0.bundle.dir.join("result.json")).unwrap()).unwrap();
    assert_eq!(result["ended"], json!("killed"), "whoever waits was told of the signal: {result}");
}

/// `--replace` looks before it takes away, with a pool as without.
#[test]
fn what_is_to_be_replaced_stays_where_nothing_can_come() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "2");
    let (replace, echo) = (["--replace", "job"], ["/bin/echo", "ran"]);
    assert_eq!(pool.claims(&replace, &echo).ok().stdout(), "ran\n", "nothing is to be replaced");
    pool.run(&["--detach", "job"], &["/bin/sleep", "1000"]).ok();
    pool.does("fill").ok();
    let refusal = pool.run(&replace, &["/bin/nothing"]).fails();
    assert!(refusal.contains("/bin/nothing") && refusal.contains("stays"), "{refusal}");
    assert_eq!(pool.0.call(&["state", "job"]).ok().json()["status"], json!("running"));
    assert_eq!(pool.run(&replace, &echo).ok().stdout(), "ran\n");
    assert_eq!(pool.used(), json!([false, "options"]));
}

/// What a keeper says is for whoever has claimed its member; who looks at pools may do so late.
#[test]
fn who_looks_takes_nothing_of_what_a_keeper_says() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let (record, _) = pool.record();
    let mut end = File::options().read(true).write(true).open(record.with_file_name("end.fifo")).unwrap();
    end.write_all(b"x").unwrap();
    assert_eq!(pool.stats()["name"], json!(pool.0.id));
    nix::fcntl::fcntl(&end, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK)).unwrap();
    assert_eq!(end.read(&mut [0; 2]).unwrap(), 1);
}

/// Who could put another pool in the place of one decides what runs.
#[test]
fn a_root_that_others_may_write_has_no_pools() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "0");
    let root = pool.0.bundle.state_root();
    let mode = |mode| fs::set_permissions(&root, Permissions::from_mode(mode)).unwrap();
    let refused = |args: &[&str]| {
        let refusal = pool.0.call(args).fails();
        assert!(refusal.contains("can be written by others"), "{args:?}: {refusal}");
    };
    mode(0o777);
    for action in ["fill", "drain", "stats", "delete"] {
        refused(&["pool", action, &pool.0.id]);
    }
    refused(&["pool", "list"]);
    refused(&["pool", "create", "another"]);
    refused(&pool.arguments(&[], &["/bin/true"]));
    mode(0o700);
}

/// Who makes a pool, and waits for somebody who is deleting one of that name, gets the name; who looks meanwhile is told of none.
#[test]
fn a_pool_is_made_where_one_is_being_deleted() {
    if brisk_only("pools") {
        return;
    }
    let pool = pool(bundle(), "1");
    let held = File::open(pool.dir()).unwrap();
    held.lock().unwrap();
    let begin = |action: &str, flags: &[&str]| {
        process::start(pool.0.command(&[&["pool", action, &pool.0.id], flags].concat()), Stdio::null())
    };
    let deleting = begin("delete", &[]);
    // Whoever waits for the lock has the directory open.
    let waits = |running: &process::Running| {
        let fds = fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap();
        fds.flatten().filter_map(|fd| fs::read_link(fd.path()).ok()).filter(|path| *path == pool.dir()).count() >= 2
    };
    host::wait_until(|| waits(&deleting));
    let bundle = pool.0.bundle.dir.to_str().unwrap();
    let making = begin("create", &["--bundle", bundle, "--size", "1"]);
    host::wait_until(|| waits(&making));
    drop(held);
    deleting.wait();
    let made = making.wait();
    // Which of the two was first is nobody's choice.
    assert!(made.code == 0 || made.stderr().contains("exists already"), "{made:?}");
    // Several at once: each is told what is so, of a pool.
    for _ in 0..30 {
        let all = ["create", "delete", "create"].map(|action| {
            let flags: &[&str] = if action == "create" { &["--bundle", bundle, "--size", "1"] } else { &[] };
            (action, begin(action, flags))
        });
        let list = process::start(pool.0.command(&["pool", "list"]), Stdio::null());
        for (action, running) in all {
            let output = running.wait();
            let refusal = if action == "create" { "exists already" } else { "does not exist" };
            let told = output.stderr().contains(&format!("pool {} {refusal}", pool.0.id));
            assert!(output.code == 0 || told, "{action}: {output:?}");
        }
        list.wait().ok();
    }
}
