//! `brisk check BUNDLE`: all that is wrong at once, and what it says is true of `run`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Bundle, Container, Need, brisk_only, host, process, skip_unless};
use crate::rootless::{as_user, not_here};

fn findings(container: &Container, severity: &str) -> Vec<(String, String)> {
    let bundle = container.bundle.dir.to_str().unwrap().to_owned();
    let out = container.call(&["check", "--format", "json", &bundle]).json();
    let errors = out["findings"].as_array().unwrap().iter().filter(|row| row["severity"] == "error").count();
    assert_eq!(out["fits"], errors == 0, "{out}");
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let rows = out["findings"].as_array().unwrap().iter().filter(|row| row["severity"] == severity);
    rows.map(|row| (text(row, "field"), text(row, "what"))).collect()
}

fn errors(container: &Container) -> Vec<(String, String)> {
    findings(container, "error")
}

/// One thing is wrong: `check` says so, of this field and in words with this in them, and `run` fails.
#[track_caller]
fn misfit(bundle: Bundle, field: &str, words: &str) {
    let container = bundle.container();
    let found = errors(&container);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].0, field, "{found:?}");
    assert!(found[0].1.contains(words), "{found:?}");
    let path = container.bundle.dir.to_str().unwrap().to_owned();
    container.call(&["check", &path]).exits(1);
    container.run().fails();
    container.delete_force();
}

fn plain() -> Bundle {
    Bundle::new(&["/bin/true"])
}

#[test]
fn what_fits_runs() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let mut bundles = vec![plain(), Bundle::sh("true"), Bundle::new(&["true"]).with_docker_seccomp()];
    let script = Bundle::new(&["/script"]);
    script.script("rootfs/script", "#!/bin/sh\ntrue\n");
    bundles.push(script);
    // Through links, absolute ones among them, and a bind mount.
    let linked = Bundle::new(&["/opt/tool/true"]);
    fs::create_dir(linked.rootfs().join("opt")).unwrap();
    symlink("/bin", linked.rootfs().join("opt/tool")).unwrap();
    bundles.push(linked);
    let bound = Bundle::new(&["/mnt/x/busybox", "true"]);
    let source = bound.rootfs().join("bin").to_str().unwrap().to_owned();
    bundles.push(bound.mount("bind", &source, "/mnt/x", &["rbind"]));
    if host::is_root() {
        bundles.push(plain().userns());
        bundles.push(plain().set("/process/user/uid", json!(1000)));
    }
    for bundle in bundles {
        let container = bundle.container();
        assert_eq!(errors(&container), []);
        let path = container.bundle.dir.to_str().unwrap().to_owned();
        container.call(&["check", &path]).ok();
        container.run().ok();
    }
}

#[test]
fn a_root_that_is_not_there() {
    if brisk_only("no other runtime has it") {
        return;
    }
    misfit(plain().set("/root/path", json!("nope")), "root.path", "does not exist");
    misfit(plain().set("/root/path", json!("config.json")), "root.path", "is not a directory");
}

#[test]
fn a_program_that_cannot_be_run() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let program = "process.args[0]";
    misfit(Bundle::new(&["nope"]), program, "is in no directory of PATH (/usr/bin:/bin)");
    misfit(Bundle::new(&["/bin/nope"]), program, "/bin/nope does not exist");
    misfit(Bundle::new(&["/etc"]), program, "is a directory");
    misfit(Bundle::new(&["/etc/passwd"]), program, "is not executable (mode 0644)");
    let script = Bundle::new(&["/script"]);
    script.script("rootfs/script", "#!/usr/bin/python3 -u\n");
    misfit(script, program, "/script needs /usr/bin/python3");
    let text = Bundle::new(&["/text"]);
    text.script("rootfs/text", "hello\n");
    misfit(text, program, "neither a program nor a script");
    let noexec = Bundle::new(&["/mnt/x/busybox"]);
    let source = noexec.rootfs().join("bin").to_str().unwrap().to_owned();
    misfit(noexec.mount("bind", &source, "/mnt/x", &["rbind", "noexec"]), program, "noexec");
    // What a mount covers is not there.
    misfit(Bundle::new(&["/bin/true"]).mount("tmpfs", "tmpfs", "/bin", &[]), program, "/bin/true does not exist");
}

#[test]
fn a_program_without_its_loader() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let dynamic = fs::read("/bin/ls").unwrap();
    if skip_unless(Need::from(dynamic.windows(3).any(|part| part == b"ld-")), "/bin/ls is static here") {
        return;
    }
    let bundle = Bundle::new(&["/ls"]);
    crate::common::bundle::copy(std::path::Path::new("/bin/ls"), &bundle.rootfs().join("ls"));
    misfit(bundle, "process.args[0]", "/ls needs /lib");
}

#[test]
fn a_program_that_the_user_may_not_run() {
    if brisk_only("no other runtime has it") || skip_unless(Need::from(host::is_root()), "files of another user") {
        return;
    }
    let user = |args| Bundle::new(args).set("/process/user/uid", json!(1000)).set("/process/user/gid", json!(1000));
    let closed = user(&["/script"]);
    let script = closed.script("rootfs/script", "#!/bin/sh\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o700)).unwrap();
    misfit(closed, "process.args[0]", "may not be executed by this user");
    let hidden = user(&["/home/true"]);
    symlink("../bin/busybox", hidden.rootfs().join("home/true")).unwrap();
    fs::set_permissions(hidden.rootfs().join("home"), fs::Permissions::from_mode(0o700)).unwrap();
    misfit(hidden, "process.args[0]", "no search permission for /home");
}

#[test]
fn links_of_the_image_lead_nowhere_else() {
    if brisk_only("no other runtime has it") {
        return;
    }
    // Each is there on the host, and none in the root.
    let bundle = Bundle::new(&["/bin/escape"]);
    let outside = bundle.script("outside", "#!/bin/sh\n");
    symlink(&outside, bundle.rootfs().join("bin/escape")).unwrap();
    misfit(bundle, "process.args[0]", "does not exist: there is no ");
    let bundle = Bundle::new(&["/bin/escape"]);
    bundle.script("outside", "#!/bin/sh\n");
    symlink("../../../../outside", bundle.rootfs().join("bin/escape")).unwrap();
    misfit(bundle, "process.args[0]", "there is no /outside");
    let bundle = Bundle::new(&["/bin/loop"]);
    symlink("loop", bundle.rootfs().join("bin/loop")).unwrap();
    misfit(bundle, "process.args[0]", "too many symbolic links");
    // Nobody waits for who would write to it, and a name without end is not read to its end.
    let bundle = Bundle::new(&["/bin/pipe"]);
    nix::unistd::mkfifo(&bundle.rootfs().join("bin/pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    misfit(bundle, "process.args[0]", "no regular file");
    let bundle = Bundle::new(&["/bin/elf"]);
    let path = bundle.script("rootfs/bin/elf", "");
    fs::write(path, elf_with_a_loader_of(1 << 40)).unwrap();
    misfit(bundle, "process.args[0]", "/bin/elf is a broken ELF file: a name in it has no end");
}

/// The head of an ELF file whose one header is a PT_INTERP at its end, of this length.
fn elf_with_a_loader_of(length: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64 + 56];
    bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
    bytes[6] = 1;
    bytes[16] = 2;
    bytes[18..20].copy_from_slice(&(if cfg!(target_arch = "aarch64") { 183_u16 } else { 62 }).to_le_bytes());
    bytes[20] = 1;
    bytes[32..40].copy_from_slice(&64_u64.to_le_bytes());
    bytes[54..56].copy_from_slice(&56_u16.to_le_bytes());
    bytes[56..58].copy_from_slice(&1_u16.to_le_bytes());
    bytes[64] = 3;
    bytes[72..80].copy_from_slice(&120_u64.to_le_bytes());
    bytes[96..104].copy_from_slice(&length.to_le_bytes());
    bytes.extend(vec![b'a'; 10_000]);
    bytes
}

#[test]
fn mounts_that_cannot_be_made() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let last = plain().config["mounts"].as_array().unwrap().len();
    let field = |name: &str| format!("mounts[{last}].{name}");
    misfit(plain().mount("bind", "/nope", "/mnt", &["rbind"]), &field("source"), "/nope does not exist");
    misfit(
        plain().mount("bind", "/etc/hostname", "/mnt", &["bind"]),
        &field("destination"),
        "is a directory in the root",
    );
    misfit(plain().mount("bind", "/etc", "/etc/passwd", &["bind"]), &field("destination"), "is a file in the root");
    let container = plain().mount("nosuchfs", "none", "/mnt", &[]).container();
    let found = findings(&container, "warning");
    assert!(found.iter().any(|(at, what)| *at == field("type") && what.contains("nosuchfs")), "{found:?}");
    container.run().fails();
    container.delete_force();
}

#[test]
fn namespaces_that_cannot_be_had() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let field = |bundle: &Bundle, kind: &str| {
        let list = bundle.config["linux"]["namespaces"].as_array().unwrap();
        format!("linux.namespaces[{}].path", list.iter().position(|entry| entry["type"] == kind).unwrap())
    };
    let missing = plain().join("ipc", "/run/nope");
    let at = field(&missing, "ipc");
    misfit(missing, &at, "/run/nope: no such file or directory");
    let other = plain().join("ipc", "/proc/self/ns/uts");
    let at = field(&other, "ipc");
    misfit(other, &at, "is of type uts, not ipc");
    let none = plain().join("ipc", "/etc/hostname");
    let at = field(&none, "ipc");
    misfit(none, &at, "is no namespace");
}

#[test]
fn ids_that_are_not_mapped() {
    if brisk_only("no other runtime has it") || skip_unless(Need::from(host::is_root()), "maps of other users' ids") {
        return;
    }
    misfit(plain().userns().set("/process/user/uid", json!(70_000)), "process.user.uid", "is not mapped");
    let narrow = json!([{ "containerID": 0, "hostID": 100_000, "size": 5 }]);
    let bundle = plain().userns().set("/linux/gidMappings", narrow);
    let devpts =
        bundle.config["mounts"].as_array().unwrap().iter().position(|mount| mount["type"] == "devpts").unwrap();
    misfit(bundle, &format!("mounts[{devpts}].options"), "gid=5 of /dev/pts is not mapped");
}

#[test]
fn layers_that_are_not_there() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let layered = |upper: &str, lower: &str| {
        let bundle = Bundle::new(&["/tool"]).set("/annotations/run.brisk.overlay", json!(upper));
        let container = bundle.set("/annotations/run.brisk.overlay.lower", json!(lower)).container().trusting();
        let lower = container.bundle.host_dir("lower");
        crate::common::bundle::copy(&container.bundle.rootfs().join("bin/busybox"), &lower.join("tool"));
        container
    };
    let missing = layered("kept", "lower:lower2:config.json");
    let found = errors(&missing);
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[0].0, "annotations.run.brisk.overlay", "{found:?}");
    assert!(found[1].1.contains("lower2 does not exist"), "{found:?}");
    assert!(found[2].1.contains("config.json is not a directory"), "{found:?}");
    missing.run().fails();
    for (upper, lower, words) in [
        ("tmpfs", "rootfs", "rootfs is named twice"),
        ("tmpfs", "lower:lower/../lower", "is named twice"),
        ("tmpfs", "lower:rootfs/bin", "rootfs/bin is in another layer"),
        ("tmpfs", "lower:.", "has another layer in it"),
        ("rootfs/kept", "lower", "rootfs/kept is in another layer"),
        ("lower", "lower/upper/below", "has another layer in it"),
    ] {
        let entangled = layered(upper, lower);
        for dir in ["rootfs/kept", "lower/upper", "lower/upper/below"] {
            fs::create_dir(entangled.bundle.dir.join(dir)).unwrap();
            fs::set_permissions(entangled.bundle.dir.join(dir), fs::Permissions::from_mode(0o700)).unwrap();
        }
        let found = errors(&entangled);
        assert!(found.iter().any(|(_, what)| what.contains(words)), "{upper} {lower}: {found:?}");
        entangled.run().fails();
        entangled.assert_nothing_left();
    }
    // The program is in a layer below.
    let fits = layered("tmpfs", "lower");
    assert_eq!(errors(&fits), []);
    // busybox knows no applet of that name.
    fits.run().exits(127);
}

#[test]
fn hooks_that_cannot_be_run() {
    if brisk_only("no other runtime has it") {
        return;
    }
    misfit(plain().hook("createRuntime", "/bin/nope", &[]), "hooks.createRuntime[0].path", "does not exist");
    misfit(plain().hook("prestart", "/etc/passwd", &[]), "hooks.prestart[0].path", "is not executable");
    // A link of proc leads to the file itself, whatever its text says (Docker's hook is one).
    let linked =
        plain().hook("poststop", &format!("/proc/{}/exe", std::process::id()), &["true", "--list"]).container();
    assert_eq!(errors(&linked), []);
    // It is looked for in the root.
    misfit(plain().hook("startContainer", "/usr/bin/env", &[]), "hooks.startContainer[0].path", "there is no /usr");
}

#[test]
fn what_this_host_does_not_give() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let field = "linux.resources.cpu";
    if host::is_root() && host::has_controller("cpuset") {
        misfit(plain().resources("cpu", json!({"cpus": "0,4000"})), &format!("{field}.cpus"), "may be used here are");
    }
    if host::is_root() && host::has_controller("cpu") {
        let container = plain().resources("cpu", json!({"quota": 10})).container();
        let found = errors(&container);
        assert!(
            found.len() == 1 && found[0].0.starts_with(field) && found[0].1.contains("1000 microseconds"),
            "{found:?}"
        );
        container.run().fails();
    }
    if !std::path::Path::new("/sys/kernel/security/apparmor").exists() {
        misfit(
            plain().set("/process/apparmorProfile", json!("x")),
            "process.apparmorProfile",
            "AppArmor is not in force",
        );
    }
    let files = json!([{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1_u64 << 40 }]);
    misfit(plain().set("/process/rlimits", files), "process.rlimits[0].hard", "RLIMIT_NOFILE");
    misfit(plain().set("/linux/netDevices/nosuch0", json!({})), "linux.netDevices.nosuch0", "no network device");
}

/// A mistake is told once, where it is, and nothing of what it brings with it.
#[test]
fn one_mistake_is_one_error() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let namespaces = |more: Value| {
        let mut bundle = plain();
        let list = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
        list.push(more);
        list.rotate_right(1);
        bundle
    };
    misfit(namespaces(json!({"type": "cgruop"})), "linux.namespaces[0].type", "\"cgruop\" does not exist");
    misfit(namespaces(json!({"type": "pid"})), "linux.namespaces[1]", "listed twice");
    // One that others ask for.
    let mut typo = plain().set("/hostname", json!("h"));
    let uts = typo.config["linux"]["namespaces"].as_array().unwrap().iter().position(|entry| entry["type"] == "uts");
    let uts = uts.unwrap_or_else(|| {
        typo.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "uts"}));
        typo.config["linux"]["namespaces"].as_array().unwrap().len() - 1
    });
    typo.config["linux"]["namespaces"][uts]["type"] = json!("utss");
    misfit(typo, &format!("linux.namespaces[{uts}].type"), "\"utss\" does not exist");
    let scheduler = json!({"policy": "SCHED_DEADLINE", "runtime": 10, "deadline": 5, "period": 1});
    misfit(plain().set("/process/scheduler", scheduler), "process.scheduler", "runtime 10, deadline 5, period 1");
    let policy = json!({"mode": "MPOL_BIN", "nodes": "0"});
    misfit(plain().set("/linux/memoryPolicy", policy), "linux.memoryPolicy.mode", "\"MPOL_BIN\" does not exist");
    let rules = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "d", "access": "r"}]);
    misfit(plain().set("/linux/resources/devices", rules), "linux.resources.devices[1]", "type is \"d\"");
    // What is looked for in the root is not missed where there is none.
    misfit(plain().set("/root", Value::Null), "root", "must be specified");
    misfit(plain().set("/root", json!({"readonly": true})), "root", "missing field `path`");
    misfit(plain().set("/process/args", json!([])), "process.args", "must not be empty");
    // Nor what a mount would have brought that cannot be made.
    let bound = Bundle::new(&["/mnt/x/busybox", "true"]);
    let source = bound.rootfs().join("bin").to_str().unwrap().to_owned();
    let field = format!("mounts[{}]", bound.config["mounts"].as_array().unwrap().len());
    misfit(bound.mount("bind", &source, "/mnt/x", &["bind", "idmap"]), &field, "idmap needs uidMappings");
    misfit(plain().set("/process", Value::Null), "process", "there is none");
}

#[test]
fn maps_that_do_not_fit_are_one_error() {
    if brisk_only("no other runtime has it") || skip_unless(Need::from(host::is_root()), "maps of more than one id") {
        return;
    }
    let range = |container: u32, host: u32, size: u32| json!({"containerID": container, "hostID": host, "size": size});
    let maps = |uids: Value, gids: Value| {
        plain().userns().set("/linux/uidMappings", uids).set("/linux/gidMappings", gids).set("/hostname", json!("h"))
    };
    let all = || json!([range(0, 100_000, 65_536)]);
    misfit(maps(json!([]), json!([])), "linux.uidMappings", "needs linux.uidMappings");
    misfit(maps(all(), json!([])), "linux.gidMappings", "needs linux.uidMappings");
    misfit(maps(json!([range(0, 0, 0)]), all()), "linux.uidMappings[0]", "is empty");
    misfit(maps(json!([range(0, 100_000, 10), range(5, 300_000, 10)]), all()), "linux.uidMappings[1]", "overlaps");
    misfit(maps(json!([range(0, u32::MAX - 5, 10)]), all()), "linux.uidMappings[0]", "exceeds the largest id");
    misfit(maps(json!([{"containerId": 0, "hostID": 0, "size": 1}]), all()), "linux.uidMappings[0]", "containerID");
    misfit(maps(json!([range(1000, 100_000, 10)]), all()), "process.user.uid", "is not mapped");
    let device = json!([{"path": "/dev/brisk-nope", "type": "c", "major": 1, "minor": 3, "uid": 99_999}]);
    misfit(maps(all(), all()).set("/linux/devices", device), "linux.devices[0].path", "no such file or directory");
}

/// What a random search found that `run` knew and `check` did not.
#[test]
fn what_run_knows_check_knows() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let index = plain().config["mounts"].as_array().unwrap().len();
    let field = format!("mounts[{index}].destination");
    misfit(plain().mount("tmpfs", "tmpfs", "/proc/cpuinfo", &[]), &field, "is a file in the root");
    let device = json!([{"path": "/bin", "type": "c", "major": 1, "minor": 3}]);
    misfit(plain().set("/linux/devices", device), "linux.devices[0].path", "is a directory in the root");
    let relative = Bundle::new(&["true"]).set("/process/env", json!(["PATH=bin"]));
    misfit(relative, "process.args[0]", "relative to the working directory");
    // The first that is found counts.
    let container = Bundle::new(&["true"]).set("/process/env", json!(["PATH=/bin:bin"])).container();
    assert_eq!(errors(&container), []);
    container.run().ok();
    // What is run when the container is gone keeps nothing from starting.
    let container = plain().hook("poststop", "/nope", &[]).container();
    assert_eq!(errors(&container), []);
    container.run().ok();
    if host::is_root() {
        let mut shared = plain().userns();
        shared.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|entry| entry["type"] != "pid");
        let proc = shared.config["mounts"].as_array().unwrap().iter().position(|mount| mount["type"] == "proc");
        misfit(shared, &format!("mounts[{}].type", proc.unwrap()), "needs a pid namespace");
    }
}

/// What a search through wrong values of each field found that `run` knew and `check` did not.
#[test]
fn what_run_knows_of_wrong_values() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let index = plain().config["mounts"].as_array().unwrap().len();
    let field = format!("mounts[{index}].destination");
    let long = format!("/{}", "x".repeat(300));
    misfit(plain().mount("tmpfs", "tmpfs", &long, &[]), &field, "file name too long");
    let below = plain().mount("tmpfs", "tmpfs", "/etc/passwd/x", &[]);
    misfit(below, &field, "/etc/passwd/x cannot be made: /etc/passwd is not a directory");
    let option = plain().mount("tmpfs", "tmpfs", "/mnt", &[&long[1..]]);
    misfit(option, &format!("mounts[{index}].options"), "does not take the option");
    // It hides the whole root.
    misfit(plain().mount("tmpfs", "tmpfs", "/", &[]), "process.args[0]", "/bin/true does not exist");
    misfit(plain().set("/linux/maskedPaths", json!([long])), "linux.maskedPaths[0]", "file name too long");
    misfit(plain().set("/linux/readonlyPaths", json!([long])), "linux.readonlyPaths[0]", "file name too long");
    for root in [json!(""), json!("/"), json!("/.."), Value::Null] {
        let masked = plain().set("/linux/maskedPaths", json!(["/proc/kcore", root]));
        misfit(masked, "linux.maskedPaths[1]", "is the root itself");
    }
    let mut nothing = plain();
    let namespaces = nothing.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.insert(1, Value::Null);
    misfit(nothing, "linux.namespaces[1]", "missing field `type`");
    let scheduler = |runtime: u64, period: u64| {
        let value = json!({"policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": period, "period": period});
        plain().set("/process/scheduler", value)
    };
    misfit(scheduler(10, 1_000_000), "process.scheduler", "want 1024 <= runtime");
    misfit(scheduler(10_000, 1 << 63), "process.scheduler", "period 9223372036854775808: want");
    if fs::read_to_string("/proc/sys/kernel/sched_deadline_period_max_us").is_ok() {
        misfit(scheduler(10_000, 1 << 62), "process.scheduler", "this host takes");
    }
    if host::is_root() {
        let inside = |value: Value| plain().userns().set("/process/scheduler", value);
        misfit(
            inside(json!({"policy": "SCHED_FIFO", "priority": 99})),
            "process.scheduler.policy",
            "SCHED_FIFO needs CAP_SYS_NICE",
        );
        let period =
            json!({"policy": "SCHED_DEADLINE", "runtime": 1_000_000, "deadline": 9_000_000, "period": 9_000_000});
        misfit(inside(period), "process.scheduler.policy", "SCHED_DEADLINE needs CAP_SYS_NICE");
        let io = plain().userns().set("/process/ioPriority", json!({"class": "IOPRIO_CLASS_RT", "priority": 0}));
        misfit(io, "process.ioPriority.class", "IOPRIO_CLASS_RT needs CAP_SYS_NICE");
        let sets = json!({"bounding": ["CAP_KILL"], "inheritable": ["CAP_CHOWN", "CAP_KILL"]});
        let bundle = plain().set("/process/capabilities", sets);
        misfit(bundle, "process.capabilities.inheritable", "CAP_CHOWN cannot be inherited");
    }
}

/// What only the kernel knows is asked of it, without making anything.
#[test]
fn what_the_kernel_would_not_take() {
    if brisk_only("no other runtime has it") || skip_unless(Need::from(host::is_root()), "fsopen(2)") {
        return;
    }
    let option = |option| plain().mount("tmpfs", "tmpfs", "/mnt", &[option]);
    let index = plain().config["mounts"].as_array().unwrap().len();
    let field = format!("mounts[{index}].options");
    misfit(option("nosiud"), &field, "does not take the option \"nosiud\"");
    misfit(option("size=abc"), &field, "does not take the option \"size=abc\"");
    misfit(option("mode=999"), &field, "does not take the option \"mode=999\"");
    let lower = plain().mount("overlay", "overlay", "/mnt", &["lowerdir=/brisk-nope:/brisk-no"]);
    if host::kernel_is_at_least(6, 5) {
        misfit(lower, &field, "no such file or directory");
    } else {
        // Overlayfs looks at its options at the mount only.
        let container = lower.container();
        assert_eq!(errors(&container), []);
        let refused = container.run().fails();
        assert!(refused.contains("no such file or directory"), "{refused}");
    }
    if fs::read_to_string("/proc/filesystems").unwrap().lines().any(|line| line == "\text4") {
        let source = format!("mounts[{index}].source");
        misfit(plain().mount("ext4", "/dev/null", "/mnt", &[]), &source, "is on a block device");
    }
    let listener = json!({
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/brisk-nope.sock",
        "syscalls": [{"names": ["open"], "action": "SCMP_ACT_NOTIFY"}],
    });
    misfit(plain().set("/linux/seccomp", listener), "linux.seccomp.listenerPath", "no such file or directory");
    let policy = json!({"mode": "MPOL_BIND", "nodes": "1023"});
    misfit(plain().set("/linux/memoryPolicy", policy), "linux.memoryPolicy.nodes", "none of them is there");
    let mut clocks = plain().set("/linux/timeOffsets", json!({"monotonic": {"secs": 1_u64 << 60}}));
    clocks.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    misfit(clocks, "linux.timeOffsets.monotonic.secs", "clocks run from 0");
    let cpu = json!({"quota": 5000, "period": 100_000, "burst": 900_000});
    misfit(plain().set("/linux/resources/cpu", cpu), "linux.resources.cpu.burst", "above the quota 5000");
}

#[test]
fn everything_is_told_at_once() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let bundle = plain()
        .set("/ociVersion", json!("1"))
        .set("/process/cwd", json!("srv"))
        .set("/process/args", json!(["/nope"]))
        .set("/process/user/umask", json!(512))
        .set("/process/rlimits", json!([{ "type": "RLIMIT_X", "soft": 1, "hard": 1 }]))
        .set("/linux/resources/memory/limit", json!("64m"))
        .set("/linux/resources/pids/limitt", json!(5))
        .set("/linux/sysctl", json!({ "kernel.core_pattern": "x", "kernel.panic": "1" }))
        .set(
            "/linux/seccomp",
            json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            { "names": ["mkdirr"], "action": "SCMP_ACT_ERRNO" }, { "names": ["chmod"], "action": "SCMP_ACT_NO" } ] }),
        )
        .set("/process/capabilities/bounding/0", json!("CAP_NOPE"))
        .mount("bind", "/nope", "/mnt", &["rbind"])
        .mount("bind", "/nope", "", &["rbind"])
        .hook("prestart", "bin/x", &[])
        .hook("prestart", "/bin/nope", &[]);
    let mounts = bundle.config["mounts"].as_array().unwrap().len();
    let container = bundle.container();
    let found: Vec<String> = errors(&container).into_iter().map(|(field, _)| field).collect();
    let wanted = [
        "ociVersion",
        "process.cwd",
        "process.args[0]",
        "process.user.umask",
        "process.rlimits[0].type",
        "linux.resources.memory.limit",
        "linux.sysctl.kernel.core_pattern",
        "linux.sysctl.kernel.panic",
        "linux.seccomp.syscalls[1].action",
        &format!("mounts[{}].source", mounts - 2),
        &format!("mounts[{}].destination", mounts - 1),
        "hooks.prestart[0].path",
        "hooks.prestart[1].path",
    ];
    for field in wanted {
        let about = |place: &&String| *place == field || field.starts_with(&format!("{place}."));
        assert_eq!(found.iter().filter(about).count(), 1, "{field}: {found:#?}");
    }
    assert_eq!(found.len(), wanted.len(), "{found:#?}");
    let warnings = findings(&container, "warning");
    for words in ["did you mean limit?", "\"mkdirr\"", "CAP_NOPE"] {
        assert!(warnings.iter().any(|(_, what)| what.contains(words)), "{words}: {warnings:#?}");
    }
    let path = container.bundle.dir.to_str().unwrap().to_owned();
    let text = container.call(&["check", &path]).exits(1).stdout();
    assert!(text.contains("13 errors would keep it from starting here"), "{text}");
}

#[test]
fn where_it_ends_it_says_so() {
    if brisk_only("no other runtime has it") {
        return;
    }
    // More errors than are looked for, in their time: on a busy machine that may be over first.
    let many = (0..101).fold(plain(), |bundle, _| bundle.mount("bind", "/nope", "", &["rbind"])).container();
    let begun = Instant::now();
    let found = errors(&many).len();
    assert!(found == 100 || found > 1 && begun.elapsed() > Duration::from_secs(10), "{found} in {:?}", begun.elapsed());
    let told = findings(&many, "warning");
    assert!(told.iter().any(|(_, what)| what.starts_with("what else is wrong cannot be told")), "{told:?}");
    assert!(!findings(&plain().container(), "warning").iter().any(|(_, what)| what.contains("what else")));
}

#[test]
fn what_cannot_be_read_is_an_error() {
    if brisk_only("no other runtime has it") {
        return;
    }
    let container = plain().container();
    let path = container.bundle.dir.to_str().unwrap().to_owned();
    fs::write(container.bundle.dir.join("config.json"), "{").unwrap();
    assert!(container.call(&["check", &path]).exits(1).stderr().contains("parse config.json"));
    fs::remove_file(container.bundle.dir.join("config.json")).unwrap();
    assert!(container.call(&["check", &path]).exits(1).stderr().contains("no such file"));
    let config = container.bundle.dir.join("config.json");
    let huge = fs::File::options().write(true).create_new(true).open(config).unwrap();
    huge.set_len(1 << 40).unwrap();
    assert!(container.call(&["check", &path]).exits(1).stderr().contains("longer than"));
}

#[test]
fn an_ordinary_user_learns_what_it_may_not() {
    if brisk_only("no other runtime has it") || not_here() {
        return;
    }
    let map = json!([{ "containerID": 0, "hostID": 0, "size": 10 }]);
    let container = crate::rootless::bundle(&["/bin/true"])
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .container();
    let path = container.bundle.dir.to_str().unwrap().to_owned();
    let out = process::run(as_user(&container, &["check", "--format", "json", &path])).exits(1).json();
    let text = out["findings"].to_string();
    assert!(text.contains("may not map the ids 0 to 9 of the host"), "{text}");
    // A limit that nobody has delegated: as `run` has it, so has `check`.
    let container = crate::rootless::bundle(&["/bin/true"]).resources("memory", json!({"limit": 64 << 20})).container();
    let path = container.bundle.dir.to_str().unwrap().to_owned();
    let out = process::run(as_user(&container, &["check", "--format", "json", &path])).json();
    let ran = process::run(as_user(&container, &["run", "--bundle", &path, &container.id]));
    assert_eq!(out["fits"], ran.code == 0, "{out}\n{}", ran.stderr());
    assert!(ran.code == 0 || out["findings"][0]["field"] == "linux.resources.memory.limit", "{out}");
}

/// Texts of config.json make no line that could be taken for one of brisk's own: neither here, nor of `plan` and of a log.
#[test]
fn texts_make_no_lines() {
    if brisk_only("check, plan and their words") {
        return;
    }
    let (source, target) = ("/nope\nforged: nothing is wrong", "/mnt/a\nforged: drop all capabilities");
    let container = plain().mount("bind", source, target, &["rbind"]).container();
    let dir = container.bundle.dir.to_str().unwrap();
    for args in
        [&["check", dir][..], &["plan", dir], &["--debug", "--log", "/dev/stderr", "create", "--bundle", dir, "x"]]
    {
        let out = container.call(args);
        let said = out.stdout() + &out.stderr();
        let escaped = [r"/nope\nforged", r"/nope\\nforged", r"/mnt/a\nforged"];
        assert!(escaped.iter().any(|text| said.contains(text)), "{args:?}: {said}");
        // A line of a log begins with its time.
        let is_forged = |line: &str| line.starts_with("forged") || line.contains("msg=\"forged");
        assert!(!said.lines().any(is_forged), "{args:?}: {said}");
    }
}
