//! `record`: the profile is what a tracer sees of the same program, with it the program works, and nothing else does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::{brisk, call, cannot_look, command, program_of};
use crate::common::process::{self, Output};
use crate::common::{Bundle, Container, Need, host, lacks, skip_here, skip_unless};

/// A file in the bundle's directory.
fn file(container: &Container, name: &str) -> String {
    container.bundle.dir.join(name).to_str().unwrap().to_owned()
}

fn read(path: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Records into p.json and r.json with these flags.
#[track_caller]
fn record(container: &Container, flags: &[&str]) -> Output {
    drop(brisk(container));
    let (profile, report) = (file(container, "p.json"), file(container, "r.json"));
    let dir = container.bundle.dir.to_str().unwrap();
    let mut args = vec!["record", "--bundle", dir, "--output", &profile, "--report", &report];
    args.extend(flags);
    args.push(&container.id);
    call(container, &args)
}

/// A container of a bundle with this profile.
fn under(mut bundle: Bundle, profile: &Value) -> Container {
    bundle.config["linux"]["seccomp"] = profile.clone();
    bundle.container()
}

fn names(list: &Value) -> BTreeSet<String> {
    let name = |item: &Value| item.as_str().or_else(|| item["name"].as_str()).unwrap().to_owned();
    list.as_array().unwrap().iter().map(name).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// What programs called, by the first rule.
fn recorded(container: &Container) -> BTreeSet<String> {
    names(&read(&file(container, "p.json"))["syscalls"][0]["names"])
}

/// What strace(1) sees of a program in this root, from its execve(2) on; none where it is not installed.
fn traced(root: &Path, args: &[&str]) -> Option<BTreeSet<String>> {
    let there = Command::new("strace").arg("-V").output().is_ok_and(|output| output.status.success());
    if skip_unless(Need::from(there), "strace is not installed") {
        return None;
    }
    let out = host::work_dir().join(format!("{}.strace", host::unique_name()));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "signal=none", "-o"]).arg(&out).arg("chroot").arg(root).args(args);
    strace.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("TERM", "xterm");
    process::run(strace);
    let text = std::fs::read_to_string(&out).unwrap();
    std::fs::remove_file(out).unwrap();
    let begins = format!("execve(\"{}\"", args[0]);
    let after = text.lines().skip_while(|line| !line.contains(&begins)).skip(1);
    let name = |line: &str| {
        let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').trim_start_matches("<... ");
        call.split(['(', ' ']).next().unwrap().to_owned()
    };
    Some(after.filter(|line| !line.contains("+++")).map(name).collect())
}

/// A program of 64 bits that is these bytes of machine code.
fn elf(code: &[u8]) -> Vec<u8> {
    const AT: u64 = 0x40_0000;
    const HEADERS: u64 = 64 + 56;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend([2u16, 62].map(u16::to_le_bytes).concat());
    file.extend(1u32.to_le_bytes());
    file.extend([AT + HEADERS, 64, 0].map(u64::to_le_bytes).concat());
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).concat());
    // PT_LOAD, readable and executable.
    file.extend([1u32, 5].map(u32::to_le_bytes).concat());
    let len = HEADERS + code.len() as u64;
    file.extend([0, AT, AT, len, len, 4096].map(u64::to_le_bytes).concat());
    file.extend(code);
    file
}

/// `mov eax, nr; mov edi, first; mov esi, second; xor edx, edx; xor r10, r10; xor r8, r8; syscall`
fn syscall(nr: u32, first: u32, second: u32) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(nr.to_le_bytes());
    code.push(0xbf);
    code.extend(first.to_le_bytes());
    code.push(0xbe);
    code.extend(second.to_le_bytes());
    code.extend([0x31, 0xd2, 0x4d, 0x31, 0xd2, 0x4d, 0x31, 0xc0, 0x0f, 0x05]);
    code
}

/// `mov eax, nr; mov ebx, 0; int 0x80`: by the calls of i386.
fn int80(nr: u32) -> Vec<u8> {
    let mut code = vec![0xb8];
    code.extend(nr.to_le_bytes());
    code.extend([0xbb, 0, 0, 0, 0, 0xcd, 0x80]);
    code
}

/// `neg eax; mov edi, eax; mov eax, exit_group; syscall`: ends with the errno of the last call.
fn end_with_errno() -> Vec<u8> {
    let mut code = vec![0xf7, 0xd8, 0x89, 0xc7, 0xb8];
    code.extend((libc::SYS_exit_group as u32).to_le_bytes());
    code.extend([0x0f, 0x05]);
    code
}

fn end() -> Vec<u8> {
    syscall(libc::SYS_exit_group as u32, 0, 0)
}

/// A bundle whose program is this machine code.
fn of_code(code: &[Vec<u8>]) -> Bundle {
    use std::os::unix::fs::PermissionsExt;
    let bundle = Bundle::new(&["/program"]);
    let path = bundle.rootfs().join("program");
    std::fs::write(&path, elf(&code.concat())).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    bundle
}

fn cannot_run_code() -> bool {
    cannot_look() || skip_unless(Need::from(cfg!(target_arch = "x86_64")), "the programs are for x86_64")
}

#[test]
fn it_is_what_a_tracer_sees() {
    if cannot_look() {
        return;
    }
    // Children, other programs, pipes, a signal.
    let script = "cd /tmp; echo a | cat; (exec sleep 0); trap : USR2; kill -USR2 $$; ls / > /tmp/x; id; exec true";
    let args = ["/bin/sh", "-c", script];
    let container = Bundle::new(&args).container();
    let Some(traced) = traced(&container.bundle.rootfs(), &args) else { return };
    record(&container, &[]).ok();
    let report = read(&file(&container, "r.json"));
    assert_eq!(recorded(&container), traced, "{report}");
    assert_eq!(names(&report["syscalls"]), traced);
    assert!(traced.len() > 20 && traced.contains("execve"), "{traced:?}");
    // What is known of a thread is nothing but what it calls.
    let calls = report["syscalls"].as_array().unwrap().iter();
    assert!(calls.clone().all(|call| call["calls"].as_u64().unwrap() > 0), "{report}");
}

#[test]
fn threads_and_children_that_no_tracer_sees_are_recorded() {
    if cannot_run_code() {
        return;
    }
    let call = |nr: libc::c_long, first: u32| syscall(nr as u32, first, 0);
    // clone(flags, NULL); test eax, eax; jnz over what the child does
    let clone = |flags: i32, child: Vec<u8>| {
        let over = [vec![0x85, 0xc0, 0x0f, 0x85], (child.len() as u32).to_le_bytes().to_vec()].concat();
        [call(libc::SYS_clone, flags.cast_unsigned()), over, child].concat()
    };
    let child = || [call(libc::SYS_getuid, 0), end()].concat();
    // A thread, which outlives the first; it needs no stack.
    let thread = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    let container = of_code(&[clone(thread, child()), call(libc::SYS_exit, 0)]).container();
    record(&container, &[]).ok();
    assert_eq!(recorded(&container), set(&["clone", "getuid", "exit", "exit_group"]));
    let wait = call(libc::SYS_wait4, u32::MAX);
    let container = of_code(&[clone(libc::CLONE_UNTRACED | libc::SIGCHLD, child()), wait, end()]).container();
    record(&container, &[]).ok();
    assert_eq!(recorded(&container), set(&["clone", "getuid", "wait4", "exit_group"]));
}

#[test]
fn with_the_profile_the_program_works_and_nothing_else_does() {
    if cannot_run_code() {
        return;
    }
    let getpid = || syscall(libc::SYS_getpid as u32, 0, 0);
    let one_more = || [getpid(), syscall(libc::SYS_getppid as u32, 0, 0), end_with_errno()];
    let container = of_code(&[getpid(), end()]).container();
    record(&container, &[]).ok();
    assert_eq!(recorded(&container), set(&["getpid", "exit_group"]));
    let profile = read(&file(&container, "p.json"));
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert!(!profile.to_string().contains("args"), "{profile}");
    let runtime = set(&["execve", "exit", "restart_syscall", "rt_sigreturn"]);
    assert_eq!(names(&profile["syscalls"][1]["names"]), runtime);
    under(of_code(&[getpid(), end()]), &profile).run().ok();
    of_code(&one_more()).container().run().ok();
    under(of_code(&one_more()), &profile).run().exits(libc::EPERM);
    // In two steps: who waits for `start` has the filter already, or gets it then.
    let container = under(of_code(&[getpid(), end()]), &profile);
    container.create_with(&[]).ok();
    container.start().ok();
    host::wait_until(|| container.status() == "stopped");
    container.delete().ok();
}

#[test]
fn it_works_with_each_runtime_it_is_for() {
    if cannot_look() {
        return;
    }
    let bundle = |privileged: bool| {
        let bundle = Bundle::sh("id; ls /")
            .set("/process/noNewPrivileges", json!(!privileged))
            .set("/ociVersion", json!("1.0.2"));
        if privileged {
            bundle.set("/process/user", json!({ "uid": 1000, "gid": 1000, "additionalGids": [5] }))
        } else {
            bundle
        }
    };
    for (runtime, privileged) in
        ["brisk", "crun", "runc", "any"].into_iter().flat_map(|name| [(name, false), (name, true)])
    {
        let container = bundle(privileged).container();
        let said = record(&container, &["--for", runtime]).ok().stdout();
        let profile = read(&file(&container, "p.json"));
        assert_eq!(read(&file(&container, "r.json"))["for"], runtime);
        for other in ["brisk", "crun", "runc"].into_iter().filter(|other| [*other, "any"].contains(&runtime)) {
            let mut again = under(bundle(privileged), &profile);
            if other != "brisk" {
                let Some(program) = program_of(other) else { continue };
                again.program = program;
            }
            // The Go runtime calls other things at other times.
            for _ in 0..if other == "runc" { 5 } else { 1 } {
                assert_eq!(again.run_with(&[]).ok().stdout(), said, "{other}, privileged: {privileged}");
            }
            // In two steps: the runtime does other things meanwhile.
            again.create_with(&[]).ok();
            again.start().ok();
            host::wait_until(|| again.status() == "stopped");
            again.delete().ok();
        }
    }
}

/// However tight it is: one that `record` has written lets brisk send nothing and receive nothing, in each way of loading it.
#[test]
fn a_container_is_recorded_under_the_profile_that_was_recorded() {
    if cannot_run_code() {
        return;
    }
    let call = |nr: libc::c_long| syscall(nr as u32, 0, 0);
    for no_new_privs in [true, false] {
        let of = |code: &[Vec<u8>]| of_code(code).set("/process/noNewPrivileges", json!(no_new_privs));
        let first = of(&[call(libc::SYS_getpid), call(libc::SYS_getuid), end()]).container();
        record(&first, &[]).ok();
        let profile = read(&file(&first, "p.json"));
        let again = under(of(&[call(libc::SYS_getpid), call(libc::SYS_getppid), end()]), &profile);
        record(&again, &[]).ok();
        let report = read(&file(&again, "r.json"));
        assert_eq!(recorded(&again), set(&["getpid", "exit_group"]), "{no_new_privs}: {report}");
        assert_eq!(report["refused"][0]["name"], "getppid", "{no_new_privs}: {report}");
        // What the runtime may call by chance is no advice to leave it out.
        assert_eq!(report["neverUsed"], json!({ "profile": "config.json", "names": ["getuid"] }), "{no_new_privs}");
        // A program that writes is one whose profile lets it write: the case that was refused for want of recvfrom.
        let write = || [syscall(libc::SYS_write as u32, 1, 0), end()];
        let first = of(&write()).container();
        record(&first, &[]).ok();
        let again = under(of(&write()), &read(&file(&first, "p.json")));
        record(&again, &[]).ok();
        assert_eq!(recorded(&again), set(&["write", "exit_group"]), "{no_new_privs}");
    }
}

/// startContainer hooks run under the filter, and are begun by the runtime.
#[test]
fn hooks_of_the_container_are_part_of_it() {
    if cannot_look() {
        return;
    }
    for no_new_privs in [true, false] {
        let bundle = || {
            let bundle = Bundle::sh("ls /made").set("/process/noNewPrivileges", json!(no_new_privs)).userns();
            bundle.mount("tmpfs", "tmpfs", "/made", &[]).sh_hook("createContainer", "true").hook(
                "startContainer",
                "/bin/mkdir",
                &["mkdir", "/made/there"],
            )
        };
        let container = bundle().container();
        assert_eq!(record(&container, &[]).ok().stdout(), "there\n");
        assert!(recorded(&container).contains("mkdir"), "{:?}", recorded(&container));
        let profile = read(&file(&container, "p.json"));
        assert_eq!(under(bundle(), &profile).run().ok().stdout(), "there\n", "no_new_privs: {no_new_privs}");
    }
}

/// What overlayfs does is done with the credentials of who mounted it.
#[test]
fn capabilities_of_others_are_not_the_programs() {
    if cannot_look() {
        return;
    }
    let overlay = json!({ "run.brisk.overlay": "tmpfs" });
    let container = Bundle::sh("ls /; cat /etc/passwd; true").set("/annotations", overlay).container().trusting();
    record(&container, &[]).ok();
    let report = read(&file(&container, "r.json"));
    let given = names(&container.bundle.config["process"]["capabilities"]["bounding"]);
    let used = &report["capabilities"]["used"];
    assert!(used.is_null() || names(used).is_subset(&given), "{report}");
}

#[test]
fn calls_of_another_architecture_have_their_own_names() {
    if cannot_run_code() {
        return;
    }
    // getgid16 of i386 and getgid of x86_64 have other numbers: 47 and 104; 47 of x86_64 is recvmsg.
    let code = || [int80(47), syscall(libc::SYS_getuid as u32, 0, 0), end()];
    let container = of_code(&code()).container();
    if container.run().code != 0 {
        return skip_here("a kernel that has the calls of i386");
    }
    record(&container, &[]).ok();
    let report = read(&file(&container, "r.json"));
    let profile = read(&file(&container, "p.json"));
    assert_eq!(recorded(&container), set(&["getgid", "getuid", "exit_group"]));
    let calls = report["syscalls"].as_array().unwrap();
    let of = |name: &str| calls.iter().find(|call| call["name"] == name).unwrap()["architectures"].clone();
    assert_eq!((of("getgid"), of("getuid")), (json!(["SCMP_ARCH_X86"]), json!(["SCMP_ARCH_X86_64"])), "{report}");
    assert_eq!(profile["architectures"], json!(["SCMP_ARCH_X86", "SCMP_ARCH_X86_64"]));
    under(of_code(&code()), &profile).run().ok();
    // Without, whoever calls so is killed.
    let mut native = profile;
    native["architectures"] = json!(["SCMP_ARCH_X86_64"]);
    assert_ne!(under(of_code(&code()), &native).run().code, 0);
}

#[test]
fn runs_are_merged() {
    if cannot_run_code() {
        return;
    }
    let call = |nr: libc::c_long| syscall(nr as u32, 0, 0);
    let container = of_code(&[call(libc::SYS_getpid), end()]).container();
    record(&container, &[]).ok();
    let first = file(&container, "p.json");
    let mut other = of_code(&[call(libc::SYS_getuid), end()]).container();
    other.bundle.config["process"]["noNewPrivileges"] = json!(false);
    other.bundle.write();
    // Where there is none yet it is made.
    let none = file(&container, "none.json");
    record(&container, &["--merge", "--output", &none]).ok();
    assert_eq!(read(&none), read(&first));
    std::fs::copy(&first, file(&other, "p.json")).unwrap();
    let said = record(&other, &["--merge", "--plain"]).ok().stderr();
    assert_eq!(recorded(&other), set(&["getpid", "getuid", "exit_group"]));
    let report = read(&file(&other, "r.json"));
    assert_eq!(names(&report["added"]), set(&["getuid"]));
    assert!(said.contains("new\n    getuid\n"), "{said}");
    // The other run was without no_new_privs, and the runtime needs more then.
    assert!(names(&report["runtime"]).is_superset(&set(&["execve", "capset", "setuid"])), "{report}");
    let profile = read(&file(&other, "p.json"));
    under(of_code(&[call(libc::SYS_getpid), end()]), &profile).run().ok();
    under(of_code(&[call(libc::SYS_getuid), end()]).set("/process/noNewPrivileges", json!(false)), &profile).run().ok();
    // Without the flag it takes the place of the other.
    record(&container, &[]).ok();
    assert_eq!(recorded(&container), set(&["getpid", "exit_group"]));
    let docker = json!({ "defaultAction": "SCMP_ACT_ALLOW" }).to_string();
    std::fs::write(&first, &docker).unwrap();
    let said = record(&container, &["--merge"]).fails();
    assert!(said.contains("is no profile that record has written"), "{said}");
    assert_eq!(std::fs::read_to_string(&first).unwrap(), docker);
}

/// The profile of the bundle holds while it is recorded.
#[test]
fn what_is_refused_stays_refused_and_is_told() {
    if cannot_run_code() {
        return;
    }
    let allow = |names: &[&str]| json!({ "names": names, "action": "SCMP_ACT_ALLOW" });
    let own = |default: &str| {
        let conditional = json!({ "names": ["munlock"], "action": "SCMP_ACT_ALLOW",
            "args": [{ "index": 0, "value": 0, "op": "SCMP_CMP_EQ" }] });
        json!({ "defaultAction": default, "syscalls": [
            allow(&["getpid", "exit_group", "execve", "read", "write", "acct", "mount"]), conditional,
            { "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42 }] })
    };
    let getpid = || syscall(libc::SYS_getpid as u32, 0, 0);
    let getppid = || syscall(libc::SYS_getppid as u32, 0, 0);
    let container = under(of_code(&[getpid(), getppid(), end_with_errno()]), &own("SCMP_ACT_ERRNO"));
    let said = record(&container, &["--plain"]).exits(42).stderr();
    let report = read(&file(&container, "r.json"));
    assert_eq!(recorded(&container), set(&["getpid", "exit_group"]));
    let refused = json!([{ "name": "getppid", "architecture": "SCMP_ARCH_X86_64", "errno": "ENOMSG", "calls": 1 }]);
    assert_eq!(report["refused"], refused);
    assert!(said.contains("refused\n    getppid (ENOMSG, 1)\n"), "{said}");
    // What it was given and never used; the runtime has used execve and read.
    assert_eq!(report["neverUsed"]["profile"], "config.json");
    assert_eq!(names(&report["neverUsed"]["names"]), set(&["acct", "mount", "munlock", "write"]));
    // Of another profile, which does not hold.
    let other = file(&container, "other.json");
    std::fs::write(
        &other,
        json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [allow(&["getpid", "swapon"])] }).to_string(),
    )
    .unwrap();
    record(&container, &["--compare", &other]).exits(42);
    let report = read(&file(&container, "r.json"));
    assert_eq!(report["neverUsed"], json!({ "profile": other, "names": ["swapon"] }));
    // By an argument. Of nothing at 0 it is no error, whoever calls.
    for (which, status) in [(0, 0), (2, libc::EPERM)] {
        let code = [syscall(libc::SYS_munlock as u32, which, 0), end_with_errno()];
        let container = under(of_code(&code), &own("SCMP_ACT_ERRNO"));
        record(&container, &[]).exits(status);
        assert_eq!(recorded(&container).contains("munlock"), status == 0);
    }
    // What it kills is killed.
    let container =
        under(of_code(&[getpid(), syscall(libc::SYS_getuid as u32, 0, 0), end()]), &own("SCMP_ACT_KILL_PROCESS"));
    record(&container, &[]).exits(128 + libc::SIGKILL);
    let report = read(&file(&container, "r.json"));
    assert_eq!((&report["refused"][0]["name"], &report["refused"][0]["errno"]), (&json!("getuid"), &Value::Null));
    assert_eq!(recorded(&container), set(&["getpid"]));
}

#[test]
fn numbers_without_a_name_are_kept_up_to_a_limit() {
    if cannot_run_code() {
        return;
    }
    let mut code: Vec<Vec<u8>> = (0..200).map(|number| syscall(5000 + number, 0, 0)).collect();
    code.push(end());
    let container = of_code(&code).container();
    record(&container, &[]).ok();
    let report = read(&file(&container, "r.json"));
    assert_eq!(report["unknown"].as_array().unwrap().len(), 64, "{report}");
    assert_eq!(report["unknown"][0]["number"], 5000);
    assert!(report["problems"].to_string().contains("more calls without a name"), "{report}");
    assert_eq!(recorded(&container), set(&["exit_group"]));
}

#[test]
fn capabilities_that_are_exercised_are_told() {
    if cannot_look() {
        return;
    }
    // Linux 6.14.
    if !host::is_root() || !host::kernel_is_at_least(6, 14) {
        return skip_here("root, and the trace point cap_capable");
    }
    let caps = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_SETUID"]);
    let bundle = |ops: &[&str]| {
        let sets = ["bounding", "effective", "permitted"].map(|set| (set.to_owned(), caps.clone()));
        let bundle = Bundle::probe(ops).set("/process/capabilities", Value::Object(sets.into_iter().collect()));
        bundle.file("tmp/f", "");
        bundle.container()
    };
    let container = bundle(&["chown:/tmp/f", "setuid:7"]);
    record(&container, &[]).ok();
    let report = read(&file(&container, "r.json"));
    if report["capabilities"].is_null() {
        return skip_here(&report["problems"].to_string());
    }
    let used = names(&report["capabilities"]["used"]);
    assert!(used.is_superset(&set(&["CAP_CHOWN", "CAP_SETUID"])), "{report}");
    assert_eq!(names(&report["capabilities"]["neverUsed"]), set(&["CAP_KILL", "CAP_NET_BIND_SERVICE"]), "{report}");
    assert!(!names(&report["capabilities"]["denied"]).contains("CAP_SYS_CHROOT"));
    let chroot = ["/bin/busybox", "chroot", "/", "/bin/true"];
    let mut container = bundle(&[]);
    container.bundle.config["process"]["args"] = json!(chroot);
    container.bundle.write();
    record(&container, &[]).fails();
    let report = read(&file(&container, "r.json"));
    assert!(names(&report["capabilities"]["denied"]).contains("CAP_SYS_CHROOT"), "{report}");
    assert_eq!(names(&report["capabilities"]["used"]), BTreeSet::new(), "{report}");
}

/// Before we have taken note of them: the program knows how many those are.
#[test]
fn calls_that_a_signal_has_interrupted_are_counted() {
    if cannot_look() {
        return;
    }
    let container = Bundle::probe(&["interrupted:20"]).container();
    let said = record(&container, &["--plain"]).ok();
    let seen = serde_json::from_str::<Value>(&said.stdout()).unwrap()["interrupted:20"].as_u64().unwrap();
    let report = read(&file(&container, "r.json"));
    let problem = format!("a signal came {seen} times before a call was noted");
    assert!(report["problems"].to_string().contains(&problem), "{seen}: {report}");
    assert!(said.stderr().contains("--merge"), "{said:?}");
    // A signal without a handler that would return interrupts nothing.
    let container = Bundle::sh("for n in 1 2 3; do (exit 0); done; sleep 0.01; true").container();
    record(&container, &[]).ok();
    assert!(!read(&file(&container, "r.json"))["problems"].to_string().contains("a signal came"));
}

#[test]
fn what_exec_adds_is_recorded() {
    if cannot_look() {
        return;
    }
    let container = Bundle::sh("echo ready; read line").container();
    drop(brisk(&container));
    let profile = file(&container, "p.json");
    let report = file(&container, "r.json");
    let (input, writer) = std::io::pipe().unwrap();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let args = ["record", "--bundle", &dir, "--output", &profile, "--report", &report, &container.id];
    let running = process::start(command(&container, &args), Stdio::from(input));
    running.wait_for_stdout(|text| text.contains("ready"));
    container.exec(&["/bin/mkdir", "/tmp/made"]).ok();
    drop(writer);
    // `read` has found no line.
    running.wait().exits(1);
    assert!(recorded(&container).contains("mkdir"), "{:?}", recorded(&container));
}

/// Whoever is killed, and whenever.
#[test]
fn nothing_lives_on_when_it_is_killed() {
    if cannot_look() || lacks(&["pids"]) {
        return;
    }
    for both in [false, true] {
        let container = Bundle::sh("echo ready; while :; do sleep 1; done").container();
        drop(brisk(&container));
        let dir = container.bundle.dir.to_str().unwrap().to_owned();
        let profile = file(&container, "p.json");
        let args = ["record", "--bundle", &dir, "--output", &profile, &container.id];
        // Where no other test makes something.
        let tmp = container.bundle.host_dir("tmp");
        let mut command = command(&container, &args);
        command.env("TMPDIR", &tmp);
        let running = process::start(command, Stdio::null());
        running.wait_for_stdout(|text| text.contains("ready"));
        let init = container.pid();
        let pidfd = process::pidfd_open(init).unwrap();
        let run = children_of(running.pid());
        let ends = process::pidfd_open(run[0]).unwrap();
        if both {
            // The `run` as well, before it could do anything.
            for pid in &run {
                kill(Pid::from_raw(*pid), Signal::SIGSTOP).unwrap();
            }
            kill(Pid::from_raw(running.pid()), Signal::SIGKILL).unwrap();
            for pid in run {
                kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
            }
        } else {
            kill(Pid::from_raw(running.pid()), Signal::SIGKILL).unwrap();
        }
        running.wait().exits(128 + libc::SIGKILL);
        assert!(process::wait_readable(std::os::fd::AsFd::as_fd(&pidfd), std::time::Duration::from_secs(10)), "{both}");
        assert!(!Path::new(&profile).exists());
        if both {
            container.delete_force().ok();
        } else {
            host::wait_until(|| process::wait_readable(std::os::fd::AsFd::as_fd(&ends), std::time::Duration::ZERO));
            assert!(!container.bundle.state_root().join(&container.id).exists());
        }
        assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 0);
    }
}

fn children_of(pid: i32) -> Vec<i32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn signals_and_the_status_are_the_programs() {
    if cannot_look() {
        return;
    }
    let container = Bundle::sh("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done").container();
    drop(brisk(&container));
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let profile = file(&container, "p.json");
    // --config in place of the bundle's own.
    let config = file(&container, "other-config.json");
    let mut other = container.bundle.config.clone();
    other["hostname"] = json!("recorded");
    other["process"]["args"][2] =
        json!("busybox hostname; trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done");
    std::fs::write(&config, other.to_string()).unwrap();
    let args = ["record", "-b", &dir, "-f", &config, "-o", &profile, &container.id];
    let running = process::start(command(&container, &args), Stdio::null());
    running.wait_for_stdout(|text| text.contains("ready"));
    kill(Pid::from_raw(running.pid()), Signal::SIGTERM).unwrap();
    let out = running.wait().exits(7);
    assert!(out.stdout().starts_with("recorded\n"), "{out:?}");
    assert!(recorded(&container).contains("rt_sigaction"), "{out:?}");
}

#[test]
fn what_cannot_be_recorded_is_said() {
    if cannot_look() {
        return;
    }
    let never = |bundle: Bundle, words: &str| {
        let container = bundle.container();
        let said = record(&container, &[]).fails();
        assert!(said.contains(words), "{said}");
        assert!(!Path::new(&file(&container, "p.json")).exists());
    };
    let notify = json!({ "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
        "syscalls": [{ "names": ["mount"], "action": "SCMP_ACT_NOTIFY" }] });
    never(Bundle::sh("true").set("/linux/seccomp", notify), "has a listener already");
    let mute =
        json!({ "defaultAction": "SCMP_ACT_TRAP", "syscalls": [{ "names": ["execve"], "action": "SCMP_ACT_ALLOW" }] });
    never(Bundle::sh("true").set("/linux/seccomp", mute), "has a signal or a tracer for both read and recvfrom");
    let ready_made = json!({ "run.oci.seccomp_bpf_data": "BgAAAAAA/38=" });
    never(Bundle::sh("true").set("/annotations", ready_made), "a filter of its own");
    never(Bundle::new(&["/no-such-program"]), "no program was run");
}

/// Before the program runs: what was recorded would be lost.
#[test]
fn a_place_that_cannot_be_written_to_is_refused_in_time() {
    if cannot_look() {
        return;
    }
    let container = Bundle::sh("echo ran").container();
    drop(brisk(&container));
    let dir = container.bundle.dir.to_str().unwrap();
    let at = |name: &str| file(&container, name);
    std::os::unix::fs::symlink("elsewhere", at("link")).unwrap();
    nix::unistd::mkfifo(Path::new(&at("fifo")), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let strange = [
        at("rootfs"),
        at("link"),
        at("fifo"),
        at("nodir/x"),
        "/dev/full".to_owned(),
        "/dev/stdout".to_owned(),
        String::new(),
    ];
    for place in &strange {
        for (flag, other) in [("--output", "--report"), ("--report", "--output")] {
            if place.is_empty() && flag == "--report" {
                // As if it were not there.
                continue;
            }
            for more in [&[] as &[&str], &["--merge"]] {
                let good = at("good.json");
                let args = ["record", "-b", dir, flag, place, other, &good];
                let said = call(&container, &[&args, more, &[&container.id]].concat());
                assert_eq!(
                    (said.stdout(), Path::new(&good).exists()),
                    (String::new(), false),
                    "{flag} {place}: {said:?}"
                );
                said.fails();
            }
        }
    }
    assert_eq!(std::fs::read_link(at("link")).unwrap(), Path::new("elsewhere"));
    let one = at("one.json");
    let other = at("rootfs/../one.json");
    let said = call(&container, &["record", "-b", dir, "--output", &one, "--report", &other, &container.id]).fails();
    assert!(said.contains("are one file"), "{said}");
    // What is read is not written over, whatever it is called.
    let config = std::fs::read_to_string(at("config.json")).unwrap();
    std::fs::hard_link(at("config.json"), at("other-config.json")).unwrap();
    let other = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [] }).to_string();
    std::fs::write(at("p.json"), &other).unwrap();
    let [configs, hard, given] = ["config.json", "other-config.json", "p.json"].map(at);
    for args in [
        &["--output", &configs][..],
        &["--output", &configs, "--merge"],
        &["--report", &configs],
        &["--output", &hard],
        &["--config", &hard, "--output", &configs],
        &["--output", &given, "--compare", &given],
        &["--report", &given, "--output", "x.json", "--compare", &given],
    ] {
        let said = call(&container, &[&["record", "-b", dir], args, &[&container.id]].concat());
        assert_eq!(said.stdout(), "", "{args:?}: {said:?}");
        assert!(said.fails().contains("what is read is not written over"), "{args:?}");
        assert_eq!(std::fs::read_to_string(&configs).unwrap(), config);
        assert_eq!(std::fs::read_to_string(&given).unwrap(), other);
    }
    // Nor is what the program writes lost.
    let to_one = command(&container, &["record", "-b", dir, "-o", &given, &container.id]);
    let said = process::run(process::in_shell(&format!("exec \"$@\" >> {given}"), &to_one)).fails();
    assert!(said.contains("--output and standard output are one file"), "{said}");
    assert_eq!(std::fs::read_to_string(&given).unwrap(), other);
    // That is what merging is.
    call(&container, &["record", "-b", dir, "-o", &given, "--merge", "--compare", &given, &container.id]).ok();
}

/// A recording is not had again by asking once more: who went away has not got it.
#[test]
fn a_profile_that_nobody_reads_is_an_error() {
    if cannot_look() {
        return;
    }
    let container = Bundle::sh("true").container();
    drop(brisk(&container));
    let (dir, fifo) = (container.bundle.dir.to_str().unwrap(), file(&container, "fifo"));
    nix::unistd::mkfifo(Path::new(&fifo), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (flag, other) in [("--output", "--report"), ("--report", "--output")] {
        let good = file(&container, "good.json");
        let command = command(&container, &["record", "-b", dir, flag, "-", other, &good, &container.id]);
        // A fifo that had a reader when it was opened.
        let script = format!("exec 4<>{fifo} 5>{fifo} 4<&-; exec \"$@\" >&5 5>&-");
        let said = process::run(process::in_shell(&script, &command)).exits(1);
        assert!(said.stderr().contains("write standard output: broken pipe"), "{said:?}");
    }
}

/// No pid namespace ends the others with the first.
#[test]
fn nobody_is_left_of_a_container_whose_run_was_killed() {
    if cannot_look() || lacks(&["pids"]) {
        return;
    }
    let mut bundle = Bundle::sh("sleep 1000000 & echo $!; wait");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != "pid");
    let container = bundle.container();
    drop(brisk(&container));
    let (dir, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
    let args = ["record", "--bundle", dir, "--output", &profile, &container.id];
    let running = process::start(command(&container, &args), Stdio::null());
    running.wait_for_stdout(|text| text.ends_with('\n'));
    let other: i32 = running.stdout().trim().parse().unwrap();
    let pidfd = process::pidfd_open(other).unwrap();
    for pid in children_of(running.pid()) {
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    }
    running.wait().exits(128 + libc::SIGKILL);
    assert!(process::wait_readable(std::os::fd::AsFd::as_fd(&pidfd), std::time::Duration::ZERO), "{other} lives");
    assert!(!container.bundle.state_root().join(&container.id).exists());
    assert!(recorded(&container).contains("wait4"), "{:?}", recorded(&container));
}

/// What was recorded is not lost where its place is gone when the program has ended, which may have put something there: with --merge
/// what is there is read, and neither a link nor a fifo is.
#[test]
fn a_profile_that_cannot_be_written_is_printed() {
    if cannot_look() {
        return;
    }
    let dir = |place: &Path| std::fs::create_dir(place).unwrap();
    let fifo = |place: &Path| nix::unistd::mkfifo(place, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let link = |place: &Path| {
        let theirs = place.with_extension("theirs");
        let profile = json!({ "defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{ "names": ["reboot"], "action": "SCMP_ACT_ALLOW" }] });
        std::fs::write(&theirs, profile.to_string()).unwrap();
        std::os::unix::fs::symlink(theirs, place).unwrap();
    };
    let with_merge = [&dir as &dyn Fn(&Path), &fifo, &link].map(|put| ("--merge", put));
    for (flag, put) in with_merge.into_iter().chain([("--plain", &dir as &dyn Fn(&Path))]) {
        let container = Bundle::sh("echo ready; read line").container();
        drop(brisk(&container));
        let (dir, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
        let (input, writer) = std::io::pipe().unwrap();
        let args = ["record", "-b", dir, "-o", &profile, flag, &container.id];
        let running = process::start(command(&container, &args), Stdio::from(input));
        running.wait_for_stdout(|text| text.contains("ready"));
        put(Path::new(&profile));
        drop(writer);
        let said = running.wait();
        let stdout = said.stdout();
        let printed: Value = serde_json::from_str(stdout.strip_prefix("ready\n").unwrap()).unwrap();
        let called = names(&printed["syscalls"][0]["names"]);
        assert!(called.contains("exit_group") && !called.contains("reboot"), "{printed}");
        assert!(said.fails().contains("the profile is on standard output instead"));
    }
}

#[test]
fn only_what_it_could_have_written_is_added_to() {
    if cannot_run_code() {
        return;
    }
    let container = of_code(&[end()]).container();
    record(&container, &[]).ok();
    let path = file(&container, "p.json");
    let own = read(&path);
    let with = |pointer: &str, name: &str, value: Value| {
        let mut profile = own.clone();
        profile.pointer_mut(pointer).unwrap()[name] = value;
        profile
    };
    for (profile, field) in [
        (with("", "defaultErrnoRet", json!(38)), "defaultErrnoRet"),
        (with("", "flags", json!([])), "flags"),
        (with("", "listenerPath", json!("/l")), "listenerPath"),
        (with("", "x-mine", json!(1)), "x-mine"),
        (with("", "architectures", json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_FOO"])), "architectures[1]"),
        // Of another byte order: no filter is for both.
        (with("", "architectures", json!(["SCMP_ARCH_MIPS"])), "architectures[0]"),
        (with("", "architectures", json!("SCMP_ARCH_X86_64")), "architectures"),
        (with("/syscalls/1", "errnoRet", json!(1)), "syscalls[1].errnoRet"),
        // What a terminal would obey is no name of a call.
        (with("/syscalls/0", "names", json!(["read", "\u{1b}[31m"])), "syscalls[0].names[1]"),
        (with("/syscalls/0", "names", json!([""])), "syscalls[0].names[0]"),
        (with("/syscalls/0", "args", json!([])), "syscalls[0].args"),
        (with("/syscalls/0", "action", json!("SCMP_ACT_LOG")), "syscalls[0].action"),
        (with("", "syscalls", json!([{ "names": ["read"] }])), "syscalls[0].action"),
        (json!([]), "no object"),
    ] {
        let text = profile.to_string();
        std::fs::write(&path, &text).unwrap();
        let said = record(&container, &["--merge"]).fails();
        assert!(said.contains(&format!("is no profile that record has written: {field}")), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    // Of what is there twice one would be forgotten.
    let doubled = [
        r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultAction":"SCMP_ACT_ERRNO"}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["acct"],"action":"SCMP_ACT_ALLOW"}],"syscalls":[]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["acct"],"names":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
        r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["acct"],"n\u0061mes":["read"],"action":"SCMP_ACT_ALLOW"}]}"#,
    ];
    for text in doubled {
        std::fs::write(&path, text).unwrap();
        let said = record(&container, &["--merge"]).fails();
        assert!(said.contains("duplicate field"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    // A megabyte of a name is not told.
    for of in [json!({ "NAME": 1 }), json!({ "defaultAction": "NAME" }), json!("NAME")] {
        std::fs::write(&path, of.to_string().replace("NAME", &"n".repeat(1 << 20))).unwrap();
        let said = record(&container, &["--merge"]).fails();
        assert!(said.len() < 1000 && said.contains("is no profile that record has written"), "{said:.2000}");
    }
    // Without architectures it is of this machine's own, as everywhere.
    let mut bare = own.clone();
    bare.as_object_mut().unwrap().remove("architectures");
    for text in [&bare, &own] {
        std::fs::write(&path, text.to_string()).unwrap();
        record(&container, &["--merge"]).ok();
        assert_eq!(read(&path), own);
    }
}

/// A program that says which signals it gets, up to SIGINT, and ends with 7 then: of those that are pending at the same time it says all.
fn counts_signals() -> Bundle {
    Bundle::sh(
        "for name in HUP USR1; do trap \"echo got $name\" $name; done; trap 'end=1' INT; echo ready; \
         while [ -z \"$end\" ]; do sleep 0.01; done; exit 7",
    )
}

/// By number and route of it nothing is guessed: a terminal that controls us has sent nothing here.
#[test]
fn a_signal_that_is_sent_beside_a_terminal_is_passed_on() {
    if cannot_look() {
        return;
    }
    let container = counts_signals().container();
    drop(brisk(&container));
    let (dir, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
    for by_terminal in [false, true] {
        let pty = nix::pty::openpty(None, None).unwrap();
        let command = command(&container, &["record", "-b", dir, "-o", &profile, &container.id]);
        let running = process::start(process::under(&["setsid", "--ctty"], &command), Stdio::from(pty.slave));
        running.wait_for_stdout(|text| text.contains("ready"));
        if by_terminal {
            nix::unistd::write(&pty.master, b"\x03").unwrap();
        } else {
            kill(Pid::from_raw(running.pid()), Signal::SIGINT).unwrap();
        }
        running.wait().exits(7);
    }
}

#[test]
fn a_signal_to_the_group_is_one_for_the_program() {
    if cannot_look() {
        return;
    }
    let container = counts_signals().container();
    drop(brisk(&container));
    let (dir, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
    let running =
        process::start(command(&container, &["record", "-b", dir, "-o", &profile, &container.id]), Stdio::null());
    running.wait_for_stdout(|text| text.contains("ready"));
    let record = Pid::from_raw(running.pid());
    let run = Pid::from_raw(children_of(running.pid())[0]);
    // As it comes to both; one after the other, or the program could not tell one from two. The last is one of its own.
    for (to, signal, heard) in [
        (run, Signal::SIGHUP, "ready\ngot HUP\n"),
        (record, Signal::SIGHUP, "ready\ngot HUP\n"),
        (run, Signal::SIGUSR1, "ready\ngot HUP\ngot USR1\n"),
        (record, Signal::SIGUSR1, "ready\ngot HUP\ngot USR1\n"),
        (record, Signal::SIGUSR1, "ready\ngot HUP\ngot USR1\ngot USR1\n"),
    ] {
        kill(to, signal).unwrap();
        let pending = |pid: Pid| process::signal_mask(pid.as_raw(), "ShdPnd:") >> (signal as i32 - 1) & 1 == 1;
        host::wait_until(|| !pending(record) && !pending(run));
        running.wait_for_stdout(|text| text.starts_with(heard));
    }
    kill(record, Signal::SIGINT).unwrap();
    assert_eq!(running.wait().exits(7).stdout(), "ready\ngot HUP\ngot USR1\ngot USR1\n");
}

/// What is to be killed is, where nothing can be learned of it: here because no file can be opened.
#[test]
fn what_a_profile_kills_is_killed_although_nothing_is_known_of_it() {
    if cannot_look() {
        return;
    }
    let kills = json!({ "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["umask"], "action": "SCMP_ACT_KILL_PROCESS" }] });
    let container = under(Bundle::sh("echo ready; read line; umask 022; echo alive"), &kills);
    drop(brisk(&container));
    let (dir, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
    let (input, mut writer) = std::io::pipe().unwrap();
    let args = ["record", "-b", dir, "-o", &profile, &container.id];
    let running = process::start(command(&container, &args), Stdio::from(input));
    running.wait_for_stdout(|text| text.contains("ready"));
    // As many as poll(2) is asked about.
    let limit = Command::new("prlimit").args(["--nofile=3:", "--pid", &running.pid().to_string()]).status();
    assert!(limit.unwrap().success());
    std::io::Write::write_all(&mut writer, b"\n").unwrap();
    let output = running.wait();
    // Nor can it write what it has seen.
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout().starts_with("ready\n{") && !output.stdout().contains("alive"), "{output:?}");
}

/// Nobody who knows our number keeps us from making our socket.
#[test]
fn the_name_of_its_socket_cannot_be_guessed() {
    if cannot_look() {
        return;
    }
    let container = Bundle::sh("true").container();
    drop(brisk(&container));
    let tmp = container.bundle.host_dir("tmp");
    let (dir, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
    let command = command(&container, &["record", "-b", dir, "-o", &profile, &container.id]);
    let mut command = process::in_shell("mkdir \"$TMPDIR/.brisk-record.$$\" && exec \"$@\"", &command);
    process::run({
        command.env("TMPDIR", &tmp);
        command
    })
    .ok();
    assert_eq!(std::fs::read_dir(tmp).unwrap().count(), 1, "nothing is left");
}

#[test]
fn it_is_done_by_the_brisk_that_was_called() {
    if cannot_look() {
        return;
    }
    let container = Bundle::sh("true").container();
    let other = brisk(&container).with_file_name("brisk-of-another-name");
    std::fs::rename(brisk(&container), &other).unwrap();
    let (dir, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
    let usual = command(&container, &["record", "-b", dir, "-o", &profile, &container.id]);
    let mut command = Command::new(other);
    command.args(usual.get_args()).current_dir(&container.bundle.dir);
    process::run(command).ok();
    assert!(recorded(&container).contains("exit_group"));
}

/// Who connects, and hands nothing over.
#[test]
fn a_connection_in_which_nothing_comes_holds_nothing_up() {
    if cannot_look() {
        return;
    }
    let container = counts_signals().container();
    drop(brisk(&container));
    let (dir, report) = (container.bundle.dir.to_str().unwrap(), file(&container, "r.json"));
    let profile = file(&container, "p.json");
    let args = ["record", "-b", dir, "-o", &profile, "--report", &report, &container.id];
    let running = process::start(command(&container, &args), Stdio::null());
    running.wait_for_stdout(|text| text.contains("ready"));
    let mut files =
        std::fs::read_dir(format!("/proc/{}/fd", running.pid())).unwrap().map(|entry| entry.unwrap().path());
    let socket = files.find(|path| std::fs::read_link(path).unwrap().to_str().unwrap().ends_with("/socket (deleted)"));
    let connect = || std::os::unix::net::UnixStream::connect(socket.as_ref().unwrap()).unwrap();
    let begun = std::time::Instant::now();
    let mut silent = Vec::new();
    // One after the other: each is met before the next finds the queue full.
    for _ in 0..70 {
        silent.push(connect());
    }
    container.exec(&["/bin/true"]).ok();
    kill(Pid::from_raw(running.pid()), Signal::SIGINT).unwrap();
    running.wait().exits(7);
    assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    drop(silent);
    let report = read(&report);
    assert!(report["problems"].to_string().contains("were not heard"), "{report}");
}

#[test]
fn recordings_that_end_together_are_merged_one_after_the_other() {
    use std::os::fd::AsFd;
    if cannot_run_code() {
        return;
    }
    let of = |nr: libc::c_long| of_code(&[syscall(nr as u32, 0, 0), end()]).container();
    let (container, other) = (of(libc::SYS_getpid), of(libc::SYS_getuid));
    record(&other, &[]).ok();
    drop(brisk(&container));
    let dir = std::fs::File::open(&container.bundle.dir).unwrap();
    let lock = nix::fcntl::Flock::lock(dir, nix::fcntl::FlockArg::LockExclusive).unwrap();
    let (bundle, profile) = (container.bundle.dir.to_str().unwrap(), file(&container, "p.json"));
    let args = ["record", "-b", bundle, "-o", &profile, "--merge", &container.id];
    let running = process::start(command(&container, &args), Stdio::null());
    // Another one has the turn, and this one has recorded what it records.
    let state = container.bundle.state_root().join(&container.id);
    host::wait_until(|| !children_of(running.pid()).is_empty());
    host::wait_until(|| children_of(running.pid()).is_empty() && !state.exists());
    assert!(!process::wait_readable(running.pidfd().as_fd(), std::time::Duration::from_secs(1)), "it does not wait");
    std::fs::copy(file(&other, "p.json"), &profile).unwrap();
    drop(lock);
    running.wait().ok();
    assert_eq!(recorded(&container), set(&["getpid", "getuid", "exit_group"]));
}
