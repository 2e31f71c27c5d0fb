//! Annotations that weaken the container or reach the host. An engine copies those of the image's manifest into
//! config.json (Podman does), so whoever writes one is not trusted: it is followed only where the caller says so.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::common::process::{Output, wait_readable};
use crate::common::{Bundle, Container, skip_here, skip_on};

/// One instruction: allow everything.
const BPF_ALLOW: (&str, &str) = ("run.oci.seccomp_bpf_data", "BgAAAAAA/38=");

fn annotated(bundle: Bundle, (key, value): (&str, &str)) -> Bundle {
    // The key contains no slash, but set() splits at them.
    bundle.set(&format!("/annotations/{key}"), json!(value))
}

/// A bundle whose profile denies mkdir, with EOPNOTSUPP.
fn filtered(bundle: Bundle) -> Bundle {
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{ "names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }],
    });
    bundle.set("/linux/seccomp", filter)
}

/// brisk says that it did not follow the annotation.
#[track_caller]
fn warned(output: &Output, key: &str) {
    if crate::common::runtime_name() == "brisk" {
        assert!(output.stderr().contains(key), "no warning names {key}: {output:?}");
    }
}

fn opens(container: &Container, args: &[&str]) -> bool {
    let mut all = args.to_vec();
    all.extend(["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
    let output = container.call(&all).ok();
    output.json()["mkdir:/tmp/x"] == "ok"
}

/// The image's own filter in place of the profile: in the container's program, in `exec`, and in `restore`.
#[test]
fn an_image_does_not_bring_its_own_seccomp_filter() {
    if skip_on(&["crun"], "follows the annotation whoever wrote it") {
        return;
    }
    let bundle = annotated(filtered(Bundle::probe(&["mkdir:/tmp/x", "report"])), BPF_ALLOW);
    let output = bundle.container().run().ok();
    let out = output.json();
    assert_eq!(out["report"]["status"]["Seccomp"], "2", "{out:#}");
    assert_eq!(out["mkdir:/tmp/x"]["errno"], "EOPNOTSUPP", "the image's filter was loaded: {output:?}");
    warned(&output, BPF_ALLOW.0);

    let container = annotated(filtered(Bundle::idle()), BPF_ALLOW).container();
    container.up();
    let out = container.exec_probe(&["mkdir:/tmp/y"]);
    assert_eq!(out["mkdir:/tmp/y"]["errno"], "EOPNOTSUPP", "the image's filter was loaded by exec: {out}");
}

/// `--trust-annotations` with the name or `all`, and the environment variable with the same.
#[test]
fn the_caller_may_trust_annotations() {
    if crate::common::brisk_only("the flag is brisk's own") {
        return;
    }
    let bundle = || annotated(filtered(Bundle::probe(&["mkdir:/tmp/x"])), BPF_ALLOW).container();
    for list in ["all", BPF_ALLOW.0, &format!("run.oci.hooks.stdout,{}", BPF_ALLOW.0)] {
        assert!(opens(&bundle(), &["--trust-annotations", list]), "--trust-annotations {list}");
        let container = bundle();
        let mut command =
            container.command(&["run", "--bundle", container.bundle.dir.to_str().unwrap(), &container.id]);
        command.env("BRISK_TRUST_ANNOTATIONS", list);
        let output = crate::common::process::run(command).ok();
        assert_eq!(output.json()["mkdir:/tmp/x"], "ok", "BRISK_TRUST_ANNOTATIONS={list}");
    }
    // Another name is not this one, nor is a part of it.
    for list in ["run.oci.hooks.stdout", "run.oci.seccomp", ""] {
        let container = bundle();
        let output = container.call(&[
            "--trust-annotations",
            list,
            "run",
            "--bundle",
            container.bundle.dir.to_str().unwrap(),
            &container.id,
        ]);
        assert!(output.code != 0 || output.json()["mkdir:/tmp/x"]["errno"] == "EOPNOTSUPP", "{list:?}: {output:?}");
    }
}

/// What `create` was told holds for the container's whole life: `exec` is called by others, without the flag.
#[test]
fn trust_is_that_of_create() {
    if crate::common::brisk_only("the flag is brisk's own") {
        return;
    }
    let container = annotated(filtered(Bundle::idle()), BPF_ALLOW).container();
    let dir = container.bundle.dir.to_str().unwrap();
    container.call(&["--trust-annotations", "all", "create", "--bundle", dir, &container.id]).ok();
    container.start().ok();
    assert_eq!(container.exec_probe(&["mkdir:/tmp/y"])["mkdir:/tmp/y"], "ok");
}

/// Runs the runtime with this file as /etc/brisk/trusted-annotations, in a mount namespace of its own.
fn with_file(container: &mut Container, text: &str, owner: u32, mode: u32) {
    let file = container.bundle.dir.join("trusted-annotations");
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
    chown(&file, Some(owner), Some(owner)).unwrap();
    let script = container.bundle.script(
        "etc",
        "#!/bin/sh\nset -e\nfile=$1\nshift\nmount -t tmpfs -o mode=755 etc /etc\nmkdir -m 755 /etc/brisk\n\
         cp -p \"$file\" /etc/brisk/trusted-annotations\nexec \"$@\"\n",
    );
    let start = ["unshare", "--mount", "--propagation", "slave"].map(PathBuf::from);
    container.program.splice(0..0, start.into_iter().chain([script, file]));
}

/// The administrator's file counts if nobody else can have written it.
#[test]
fn the_administrator_may_trust_annotations() {
    if crate::common::brisk_only("the file is brisk's own") {
        return;
    }
    let named = format!("# what engines may ask for\nrun.oci.hooks.stdout\n{}\n", BPF_ALLOW.0);
    let cases = [
        (&*named, 0, 0o644, true),
        ("all\n", 0, 0o600, true),
        ("run.oci.hooks.stdout\n", 0, 0o644, false),
        (&*named, 1000, 0o644, false),
        (&*named, 0, 0o666, false),
        (&*named, 0, 0o664, false),
    ];
    for (text, owner, mode, followed) in cases {
        let mut container = annotated(filtered(Bundle::probe(&["mkdir:/tmp/x"])), BPF_ALLOW).container();
        with_file(&mut container, text, owner, mode);
        let dir = container.bundle.dir.to_str().unwrap();
        let output = container.call(&["run", "--bundle", dir, &container.id]);
        let opened = output.code == 0 && output.json()["mkdir:/tmp/x"] == "ok";
        assert_eq!(opened, followed, "{text:?} of {owner} with {mode:o}: {output:?}");
    }
}

/// A file of the host, made or added to with root's rights.
#[test]
fn an_image_does_not_have_hooks_write_to_files_of_the_host() {
    if skip_on(&["crun"], "follows the annotation whoever wrote it") {
        return;
    }
    for key in ["run.oci.hooks.stdout", "run.oci.hooks.stderr"] {
        let bundle = Bundle::sh("true");
        let made = bundle.dir.join("made-on-the-host");
        let there = bundle.dir.join("there");
        fs::write(&there, "before\n").unwrap();
        for file in [&made, &there] {
            let bundle = Bundle::sh("true");
            let bundle = annotated(bundle, (key, file.to_str().unwrap()))
                .sh_hook("createRuntime", "cat > /dev/null; echo one; echo two >&2")
                .sh_hook("poststop", "cat > /dev/null; echo one; echo two >&2")
                .hook("startContainer", "/bin/sh", &["sh", "-c", "cat > /dev/null; echo three; echo three >&2"]);
            let output = bundle.container().run().ok();
            assert!(!made.exists(), "{key} made a file of the host");
            assert_eq!(fs::read_to_string(&there).unwrap(), "before\n", "{key}");
            warned(&output, key);
        }
    }
}

fn listening(dir: &Path) -> (String, UnixListener) {
    let path = dir.join("host.sock");
    let listener = UnixListener::bind(&path).unwrap();
    (path.to_str().unwrap().to_owned(), listener)
}

#[track_caller]
fn silent(listener: &UnixListener, key: &str) {
    use std::os::fd::AsFd;
    let came = wait_readable(listener.as_fd(), std::time::Duration::ZERO);
    assert!(!came, "somebody connected to the socket of {key}");
}

/// Nobody connects to a socket of the host that only an annotation names.
#[test]
fn an_image_does_not_have_root_send_pidfds_to_sockets_of_the_host() {
    if skip_on(&["crun"], "follows the annotation whoever wrote it") {
        return;
    }
    let bundle = Bundle::sh("true");
    let (path, listener) = listening(&bundle.dir);
    let output = annotated(bundle, ("run.oci.pidfd_receiver", &path)).container().run();
    silent(&listener, "run.oci.pidfd_receiver");
    warned(&output.ok(), "run.oci.pidfd_receiver");
}

/// The listener of the filter answers the container's system calls. A profile that asks somebody and does not say
/// whom cannot be loaded without a socket of the caller's.
#[test]
fn an_image_does_not_choose_who_answers_its_system_calls() {
    if skip_on(&["crun"], "follows the annotation whoever wrote it") {
        return;
    }
    let filter = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{ "names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_NOTIFY" }],
    });
    let bundle = Bundle::sh("true");
    let (path, listener) = listening(&bundle.dir);
    let bundle = annotated(bundle.set("/linux/seccomp", filter), ("run.oci.seccomp.receiver", &path));
    let container = bundle.container();
    let output = container.create();
    silent(&listener, "run.oci.seccomp.receiver");
    warned(&output, "run.oci.seccomp.receiver");
}

/// The caller's groups are root's, or those of the user who started the engine.
#[test]
fn an_image_does_not_keep_the_callers_groups() {
    if skip_on(&["crun"], "follows the annotation whoever wrote it") {
        return;
    }
    let key = "run.oci.keep_original_groups";
    let bundle = Bundle::sh("cat /proc/self/status").set("/process/user/additionalGids", json!([1234]));
    let mut container = annotated(bundle, (key, "1")).container();
    container.program.splice(0..0, ["setpriv", "--groups", "4711"].map(PathBuf::from));
    let output = container.run().ok();
    let text = output.stdout();
    let groups = text.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap().trim();
    assert_eq!(groups, "1234", "the caller's groups were kept");
    warned(&output, key);

    let container = annotated(Bundle::idle(), (key, "1")).container();
    container.up();
    let mut command = std::process::Command::new("setpriv");
    command.args(["--groups", "4711"]).arg(&container.program[0]).arg("--root").arg(container.bundle.state_root());
    command.args(["exec", &container.id, "/bin/cat", "/proc/self/status"]);
    let text = crate::common::process::run(command).ok().stdout();
    let groups = text.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap().trim();
    assert_eq!(groups, "", "the groups of exec's caller were kept");
}

/// A limit that cannot be set refuses the container, whatever the image says.
#[test]
fn an_image_does_not_do_without_its_limits() {
    use crate::rootless;
    if crate::common::brisk_only("brisk's own annotation") || rootless::not_here() {
        return;
    }
    let limited = |bundle: Bundle| {
        let id = bundle.id.clone();
        bundle.set("/linux/cgroupsPath", json!(format!("/{id}"))).resources("pids", json!({ "limit": 10 })).container()
    };
    let run = |container: &Container| {
        let dir = container.bundle.dir.to_str().unwrap();
        crate::common::process::run(rootless::as_user(container, &["run", "--bundle", dir, &container.id]))
    };
    let plain = limited(rootless::bundle(&["/bin/true"]));
    if run(&plain).code == 0 {
        return skip_here("a user who may not make cgroups: nothing is left out here");
    }
    let key = "run.brisk.cgroup_best_effort";
    let output = run(&limited(annotated(rootless::bundle(&["/bin/true"]), (key, "1"))));
    assert_ne!(output.code, 0, "the container runs without its limit: {output:?}");
}

/// A sub-cgroup that the process may manage. On v1, where there is none, the annotation is not an error either: it
/// is as if it was not there.
#[test]
fn an_image_does_not_get_a_cgroup_to_manage() {
    if skip_on(&["crun"], "follows the annotation whoever wrote it") {
        return;
    }
    let key = "run.oci.delegate-cgroup";
    let container = annotated(Bundle::idle().ns("cgroup"), (key, "payload")).container();
    // Standard error would be the program's.
    let dir = container.bundle.dir.to_str().unwrap();
    let output = container.call(&["--debug", "create", "--bundle", dir, &container.id]).ok();
    let text = fs::read_to_string(format!("/proc/{}/cgroup", container.pid())).unwrap();
    assert!(!text.contains("/payload"), "{text}");
    warned(&output, key);
}

/// Properties of the scope: the image would have systemd stop a service of the host when the container starts.
#[test]
fn an_image_does_not_set_properties_of_its_scope() {
    if crate::common::brisk_only("asks brisk plan") {
        return;
    }
    for (name, value) in [("Conflicts", "['sshd.service']"), ("TasksMax", "uint64 4711"), ("OOMPolicy", "'continue'")] {
        let key = format!("org.systemd.property.{name}");
        let bundle = Bundle::sh("true");
        let path = format!("system.slice:brisktest:{}", bundle.id);
        let container = annotated(bundle.set("/linux/cgroupsPath", json!(path)), (&key, value)).container();
        let dir = container.bundle.dir.to_str().unwrap();
        let output = container.call(&["--systemd-cgroup", "plan", dir]).ok();
        assert!(!output.stdout().contains(name), "the image's property is in the plan: {output:?}");
        assert!(output.stdout().contains(" CollectMode="), "no property is shown: {output:?}");
        warned(&output, &key);
        let output = container.call(&["--systemd-cgroup", "--trust-annotations", &key, "plan", dir]).ok();
        assert!(output.stdout().contains(name), "{output:?}");
        // All of them at once: an engine sets many.
        let all = "org.systemd.property.*";
        let output = container.call(&["--systemd-cgroup", "--trust-annotations", all, "plan", dir]).ok();
        assert!(output.stdout().contains(name), "{output:?}");
    }
}

/// `org.criu.config` names a file that CRIU, as root, takes its options from, and an action script is one of them. A
/// container can have one at /proc/PID/root/….
#[test]
fn an_image_does_not_choose_criu_s_configuration() {
    if crate::common::brisk_only("a CRIU that only notes what it is asked") {
        return;
    }
    let container = annotated(Bundle::idle(), ("org.criu.config", "/EVIL.conf")).container();
    container.up();
    let criu = container.bundle.dir.join("criu");
    fs::create_dir(&criu).unwrap();
    let asked = container.bundle.dir.join("asked");
    // Whatever is sent to it: brisk talks to `criu swrk FD`.
    let script = format!("#!/bin/bash\nexec /bin/busybox dd bs=65536 count=1 <&$2 >> {}\n", asked.display());
    container.bundle.script("criu/criu", &script);
    let path = format!("{}:{}", criu.display(), std::env::var("PATH").unwrap());
    let images = container.bundle.dir.join("images");
    let mut command =
        container.command(&["checkpoint", "--leave-running", "--image-path", images.to_str().unwrap(), &container.id]);
    command.env("PATH", path);
    let output = crate::common::process::run(command);
    assert!(asked.exists(), "CRIU was not started: {output:?}");
    let text = String::from_utf8_lossy(&fs::read(&asked).unwrap()).into_owned();
    assert!(!text.contains("/EVIL.conf"), "CRIU was told to read the image's configuration");
    assert!(text.contains("/etc/criu/brisk.conf"), "{text:?}");
}
