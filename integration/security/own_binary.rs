//! CVE-2019-5736: whoever gets hold of `/proc/PID/exe` of a process that is still the runtime can overwrite the
//! runtime's binary once nobody runs it. The attacker here is the probe's `hunt` (see `attack`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{ALL_CAPS, bag, hunting, own_copy, with_caps};
use crate::common::{Bundle, Container, Need, brisk_only, host, process, skip_unless};

/// A running container whose program hunts the runtime, and the bytes of the runtime's copy.
fn hunter(bundle: Bundle) -> (Container, PathBuf, Vec<u8>) {
    let mut container = bundle.container();
    let (copy, text) = own_copy(&mut container);
    container.up();
    (container, copy, text)
}

fn unchanged(copy: &PathBuf, before: &[u8], found: &Value) {
    assert!(fs::read(copy).unwrap() == before, "the runtime's binary was overwritten: {found:#}");
    let tries = found["tries"].as_array().unwrap();
    assert!(
        tries.iter().all(|t| !t["exe"].as_str().unwrap().contains("/runtime") || t["write"] != "written"),
        "{found:#}"
    );
}

fn attack_by_exec(bundle: Bundle, prepare: impl FnOnce(&mut Container)) -> Value {
    let (mut container, copy, before) = hunter(bundle);
    prepare(&mut container);
    container.bundle.script("rootfs/interpreted", "#!/proc/self/exe\n");
    for _ in 0..8 {
        for program in ["/bin/true", "/proc/self/exe", "/interpreted"] {
            container.exec(&[program]);
        }
    }
    let found = bag(&container);
    unchanged(&copy, &before, &found);
    found
}

/// No process in the container is ever the runtime: its memory is gone and its exe is an empty memory file
/// before the fork into the pid namespace (`LastOp::LeaveRuntime` before `LastOp::Fork`).
#[test]
fn cve_2019_5736_exec_into_a_privileged_container() {
    let found = attack_by_exec(hunting(ALL_CAPS), |_| {});
    if !brisk_only("the others show a copy of themselves") {
        let exes = found["exes"].as_array().unwrap();
        assert!(exes.iter().all(|exe| !exe.as_str().unwrap().contains("/runtime")), "{exes:?}");
    }
}

/// CAP_SYS_PTRACE alone opens every `/proc/PID/exe` and `/proc/PID/fd`.
#[test]
fn cve_2019_5736_exec_with_cap_sys_ptrace() {
    attack_by_exec(with_caps(hunting(ALL_CAPS), &["CAP_SYS_PTRACE"]), |_| {});
}

/// Where the kernel cannot swap the exe, brisk runs from a read-only clone of its mount.
#[test]
fn cve_2019_5736_exec_without_pr_set_mm() {
    attack_by_exec(hunting(ALL_CAPS), |container| on_lesser_kernel(container, "on-lesser-kernel"));
}

/// Where the kernel has no mount_setattr(2) either, from a sealed copy in memory. (The container itself is made
/// without this restriction: brisk needs that system call for other things.)
#[test]
fn cve_2019_5736_exec_without_pr_set_mm_and_mount_setattr() {
    attack_by_exec(hunting(ALL_CAPS), |container| on_lesser_kernel(container, "on-lesser-kernel:no-clones"));
}

fn on_lesser_kernel(container: &mut Container, how: &str) {
    container.program.splice(0..0, [host::probe(), PathBuf::from(how)]);
}

/// The container's own program is `/proc/self/exe`, or a script interpreted by it.
#[test]
fn cve_2019_5736_init_is_proc_self_exe() {
    for program in ["/proc/self/exe", "/interpreted"] {
        for how in [None, Some("on-lesser-kernel")] {
            let bundle = with_caps(Bundle::new(&[program, "hunt:/stop"]), ALL_CAPS);
            bundle.script("rootfs/interpreted", "#!/proc/self/exe\n");
            let mut container = bundle.container();
            let (copy, before) = own_copy(&mut container);
            if let Some(how) = how {
                on_lesser_kernel(&mut container, how);
            }
            container.run();
            assert!(fs::read(&copy).unwrap() == before, "the runtime's binary was overwritten");
        }
    }
}

/// A container that joins the pid namespace of a hostile one: its init is born among strangers while it is
/// still brisk, so brisk runs from a read-only clone (`container::make::image`).
#[test]
fn cve_2019_5736_create_in_a_joined_pid_namespace() {
    let (container, copy, before) = hunter(with_caps(hunting(ALL_CAPS), &["CAP_SYS_PTRACE"]));
    let pid_ns = format!("/proc/{}/ns/pid", container.pid());
    for _ in 0..6 {
        let mut victim = Bundle::sh("true").join("pid", &pid_ns).container();
        victim.program.clone_from(&container.program);
        victim.create().ok();
        victim.start_and_wait();
    }
    let found = bag(&container);
    unchanged(&copy, &before, &found);
    assert!(!found["exes"].as_array().unwrap().is_empty(), "the hunter saw nothing: {found:#}");
}

/// startContainer hooks are programs of the image, and they are run by a process that is still brisk.
#[test]
fn cve_2019_5736_start_container_hook() {
    let bundle = with_caps(Bundle::idle(), ALL_CAPS);
    bundle.script(
        "rootfs/hook",
        "#!/bin/sh\n/probe grab:/proc/1/exe > /out.tmp 2>&1 < /dev/null &\nexec /bin/sleep 0.2\n",
    );
    let mut container = bundle.hook("startContainer", "/hook", &["hook"]).container();
    let (copy, before) = own_copy(&mut container);
    container.up();
    let out = container.bundle.rootfs().join("out.tmp");
    host::wait_until(|| fs::read_to_string(&out).is_ok_and(|text| text.ends_with('\n')));
    let text = fs::read_to_string(&out).unwrap();
    assert!(fs::read(&copy).unwrap() == before, "the runtime's binary was overwritten: {text}");
    assert!(text.contains("runtime") || text.contains("exe"), "the hook did not get there: {text}");
}

/// In a user namespace the container's root owns nothing of the host, but a binary that anybody may write to
/// would do.
#[test]
fn cve_2019_5736_exec_with_a_user_namespace() {
    let bundle = hunting(ALL_CAPS).userns();
    let mut container = bundle.container();
    let (copy, _) = own_copy(&mut container);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o777)).unwrap();
    let before = fs::read(&copy).unwrap();
    container.up();
    for _ in 0..8 {
        container.exec(&["/bin/true"]);
        container.exec(&["/proc/self/exe"]);
    }
    let found = bag(&container);
    unchanged(&copy, &before, &found);
}

/// A service with MemoryDenyWriteExecute, and a policy of SELinux that denies execmem, let no memory that was written become
/// code: brisk cannot unmap itself there, and runs from an image that nobody can write to.
#[test]
fn memory_that_may_not_become_code_is_no_obstacle() {
    if skip_unless(Need::from(has_mdwe()), "no PR_SET_MDWE before Linux 6.3") {
        return;
    }
    let (container, copy, before) = hunter(hunting(ALL_CAPS));
    for program in ["/bin/true", "/proc/self/exe", "/bin/true"] {
        let mut command = container.command(&["exec", &container.id, program]);
        deny_code(&mut command);
        let output = process::run(command);
        assert!(program != "/bin/true" || output.code == 0, "{output:?}");
    }
    unchanged(&copy, &before, &bag(&container));
    let container = Bundle::sh("echo done").container();
    let dir = container.bundle.dir.to_str().unwrap().to_owned();
    let mut command = container.command(&["run", "--bundle", &dir, &container.id]);
    deny_code(&mut command);
    assert_eq!(process::run(command).ok().stdout(), "done\n");
}

/// The runtime that stays is under the container's filter when it says that the program cannot be executed.
#[test]
fn a_program_that_cannot_be_executed_is_told_without_sockets() {
    if skip_unless(Need::from(has_mdwe()), "no PR_SET_MDWE before Linux 6.3") {
        return;
    }
    let names = ["sendto", "sendmsg"];
    let profile =
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{ "names": names, "action": "SCMP_ACT_ERRNO" }] });
    let container =
        Bundle::idle().set("/linux/seccomp", profile).set("/process/noNewPrivileges", json!(false)).container();
    container.bundle.script("rootfs/tmp/lost", "#!/no/such/interpreter");
    container.up();
    let id = &container.id;
    for (exec, status) in [(&["exec", "--detach", id, "/tmp/lost"][..], 0), (&["exec", id, "/tmp/lost"], 255)] {
        let mut command = container.command(exec);
        deny_code(&mut command);
        let said = process::run(command).exits(status).stderr();
        assert!(said.contains("/tmp/lost"), "{said}");
    }
}

#[allow(unsafe_code, reason = "nix has no function for it")]
fn has_mdwe() -> bool {
    const PR_GET_MDWE: libc::c_int = 66;
    // SAFETY: numbers only.
    unsafe { libc::prctl(PR_GET_MDWE, 0, 0, 0, 0) >= 0 }
}

/// prctl(2) `PR_SET_MDWE`, since Linux 6.3.
#[allow(unsafe_code, reason = "nix has no pre_exec, and the closure makes one system call")]
fn deny_code(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    const PR_SET_MDWE: libc::c_int = 65;
    let prepare = || {
        // SAFETY: numbers only.
        if unsafe { libc::prctl(PR_SET_MDWE, 1, 0, 0, 0) } == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes one system call.
    unsafe { command.pre_exec(prepare) };
}
