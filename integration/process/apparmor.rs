//! AppArmor profiles, on a kernel that has it and with a program that loads them: in a guest with Debian's.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::make_dirs;
use crate::common::process::{run_with_input, start};
use crate::common::{Bundle, Container, Need, host, skip_unless};
use crate::lifecycle::checkpoint::{checkpoint, images, restore, skip_without_criu};
use crate::security::{ALL_CAPS, with_caps};

/// In the guest it is where no engine looks, for an engine that finds it loads profiles of its own.
const PARSERS: [&str; 2] = ["/opt/lsm/apparmor_parser", "/usr/sbin/apparmor_parser"];

fn parser() -> Option<&'static str> {
    PARSERS.into_iter().find(|path| Path::new(path).exists())
}

/// A loaded profile, which goes with it.
struct Profile(String);

impl Profile {
    /// Everything is allowed but writing one file; `None` where profiles cannot be loaded.
    fn load() -> Option<Profile> {
        let there =
            host::is_root() && Path::new("/sys/kernel/security/apparmor/.replace").exists() && parser().is_some();
        if skip_unless(Need::from(there), "no AppArmor here, or no apparmor_parser") {
            return None;
        }
        let profile = Profile(host::unique_name());
        let text = format!(
            "profile {} flags=(attach_disconnected,mediate_deleted) {{ file, capability, network, signal, mount, \
             umount, ptrace, unix, deny /forbidden w, }}\n",
            profile.0
        );
        profile.parser("--replace", &text);
        Some(profile)
    }

    fn parser(&self, action: &str, text: &str) {
        let mut parser = Command::new(parser().unwrap());
        parser.args([action, "--skip-cache", "--skip-read-cache"]);
        run_with_input(parser, text).ok();
    }

    /// As the kernel prints it.
    fn label(&self) -> String {
        format!("{} (enforce)", self.0)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let mut parser = Command::new(parser().unwrap());
        parser.arg("--remove");
        run_with_input(parser, &format!("profile {} {{ }}\n", self.0)).ok();
    }
}

const SCRIPT: &str =
    "cat /proc/self/attr/current; echo x > /allowed && echo written; echo x > /forbidden || echo refused";

#[test]
fn an_apparmor_profile_confines_the_container() {
    let Some(profile) = Profile::load() else { return };
    for no_new_privileges in [false, true] {
        let container = Bundle::sh(SCRIPT)
            .set("/root/readonly", json!(false))
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/apparmorProfile", json!(profile.0))
            .container();
        let output = container.run().ok().stdout();
        assert_eq!(output.lines().collect::<Vec<_>>(), [profile.label().as_str(), "written", "refused"]);
    }
}

#[test]
fn exec_has_the_containers_apparmor_profile_or_its_own() {
    let Some(profile) = Profile::load() else { return };
    let container = Bundle::idle().set("/process/apparmorProfile", json!(profile.0)).container();
    container.up();
    let current = ["/bin/cat", "/proc/self/attr/current"];
    assert_eq!(container.exec(&current).ok().stdout().trim(), profile.label());
    let other = Profile::load().unwrap();
    let output = container.exec_with(&["--apparmor", &other.0], &current).ok().stdout();
    assert_eq!(output.trim(), other.label());
    container.delete_force().ok();
    // A container without one.
    let container = Bundle::idle().container();
    container.up();
    let output = container.exec_with(&["--apparmor", &profile.0], &current).ok().stdout();
    assert_eq!(output.trim(), profile.label());
    container.delete_force().ok();
}

#[test]
fn an_apparmor_profile_that_is_not_loaded_is_named() {
    let Some(profile) = Profile::load() else { return };
    let container = Bundle::idle().set("/process/apparmorProfile", json!("none-such")).container();
    let error = container.create().fails();
    assert!(error.contains("none-such"), "{error}");
    container.assert_nothing_left();
    // What `check` says of it, and of those that are there.
    let stacked = format!("{}//&{}", profile.0, profile.0);
    for (name, there) in [("none-such", false), (profile.0.as_str(), true), (&stacked, true), ("unconfined", true)] {
        let container = Bundle::idle().set("/process/apparmorProfile", json!(name)).container();
        let said = container.call(&["check", container.bundle.dir.to_str().unwrap()]).stdout();
        assert_eq!(said.contains("is not loaded"), !there, "{name}: {said}");
    }
    let container = Bundle::idle().container();
    container.up();
    let error = container.exec_with(&["--apparmor", "none-such"], &["/bin/true"]).fails();
    assert!(error.contains("none-such"), "{error}");
    container.exec(&["/bin/true"]).ok();
}

/// The label of a process from outside: nothing that the container mounts can forge it.
fn label_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/attr/apparmor/current")).unwrap().trim().to_owned()
}

fn confined(bundle: Bundle, profile: &Profile) -> Bundle {
    bundle.set("/process/apparmorProfile", json!(profile.0))
}

/// Two profiles at once: the program may do what both allow. With no_new_privs, a process that is confined already may only
/// come under more, and that is what stacking does.
#[test]
fn profiles_can_be_stacked() {
    let (Some(one), Some(other)) = (Profile::load(), Profile::load()) else { return };
    let mut names = [one.0.as_str(), other.0.as_str()];
    let stack = names.join("//&");
    // The kernel's order is its own.
    names.sort_unstable();
    for no_new_privileges in [false, true] {
        let container = Bundle::sh(SCRIPT)
            .set("/root/readonly", json!(false))
            .set("/process/noNewPrivileges", json!(no_new_privileges))
            .set("/process/apparmorProfile", json!(stack))
            .container();
        let output = container.run().ok().stdout();
        let (label, rest) = output.split_once('\n').unwrap();
        let mut found: Vec<&str> = label.trim_end_matches(" (enforce)").split("//&").collect();
        found.sort_unstable();
        assert_eq!(found, names, "{label}");
        assert_eq!(rest.lines().collect::<Vec<_>>(), ["written", "refused"]);
    }
    // From inside of a container that is confined the program may stack, and not leave.
    let container = confined(Bundle::idle(), &one).set("/process/noNewPrivileges", json!(true)).container();
    container.up();
    let leave = "echo 'exec unconfined' > /proc/self/attr/apparmor/exec && exec cat /proc/self/attr/current";
    let output = container.exec(&["/bin/sh", "-c", leave]);
    assert!(!output.stdout().contains("unconfined"), "{output:?}");
}

/// Those of the host have the runtime's label; those of the image that of the container.
#[test]
fn hooks_have_the_profile_of_whose_program_they_are() {
    let Some(profile) = Profile::load() else { return };
    let kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let mut bundle = confined(Bundle::idle(), &profile).set("/root/readonly", json!(false));
    for kind in kinds {
        bundle = bundle.sh_hook(kind, &format!("echo {kind} $(cat /proc/self/attr/current) >> $OUT"));
    }
    let script = "cat /proc/self/attr/current > /tmp/label";
    let container = bundle.hook("startContainer", "/bin/sh", &["sh", "-c", script]).container();
    container.up();
    let of_image = fs::read_to_string(container.bundle.rootfs().join("tmp/label")).unwrap();
    assert_eq!(of_image.trim(), profile.label());
    container.delete_force().ok();
    let said = container.bundle.hook_output();
    assert_eq!(said.lines().collect::<Vec<_>>(), kinds.map(|kind| format!("{kind} unconfined")), "{said}");
}

/// CVE-2019-16884, CVE-2019-19921 and their kin: the image and its volumes put files of their own where labels are written.
/// Either nothing runs, or what runs is confined.
#[test]
fn a_false_proc_takes_no_profile_away() {
    let Some(profile) = Profile::load() else { return };
    for place in ["/proc", "/proc/self/attr", "/proc/thread-self", "/proc/1/attr/apparmor", "/link", "/link/self/attr"]
    {
        let bundle = confined(Bundle::idle(), &profile);
        symlink("/proc", bundle.rootfs().join("link")).unwrap();
        let fake = bundle.host_dir("fake");
        let files = ["exec", "attr/apparmor/exec", "self/attr/apparmor/exec", "thread-self/attr/apparmor/exec"];
        for file in files {
            make_dirs(fake.join(file).parent().unwrap());
            fs::write(fake.join(file), "untouched").unwrap();
        }
        let container = bundle.mount("bind", fake.to_str().unwrap(), place, &["bind"]).container();
        if container.create().code == 0 {
            container.start().ok();
            host::wait_until(|| label_of(container.pid()) == profile.label());
            container.exec(&["/bin/true"]);
            container.delete_force().ok();
        }
        for file in files {
            assert_eq!(fs::read_to_string(fake.join(file)).unwrap(), "untouched", "{place}: {file}");
        }
    }
}

/// The labels of all processes of a container.
fn labels(container: &Container) -> Vec<String> {
    let procs = container.cgroup_file("pids", "cgroup.procs");
    procs.lines().map(|pid| label_of(pid.parse().unwrap())).collect()
}

/// Root of a container, with every capability, covers proc; whoever enters afterwards is confined all the same. So is what
/// enters through joined namespaces.
#[test]
fn whoever_enters_a_hostile_container_is_confined() {
    let (Some(profile), Some(other)) = (Profile::load(), Profile::load()) else { return };
    let script = "mount -t tmpfs fake /proc && mkdir -p /proc/self/attr/apparmor /proc/thread-self/attr/apparmor && \
                  : > /proc/self/attr/apparmor/exec && : > /proc/thread-self/attr/apparmor/exec && echo covered; \
                  exec /probe pause";
    let bundle = with_caps(confined(Bundle::sh(script), &profile), ALL_CAPS);
    let container = bundle.set("/linux/maskedPaths", json!([])).set("/linux/readonlyPaths", json!([])).container();
    let running = container.start_run(&[]);
    running.wait_for_stdout(|text| text.contains("covered"));
    let exec = ["exec", "--apparmor", &other.0, &container.id, "/probe", "pause"];
    let exec = start(container.command(&exec), Stdio::null());
    exec.wait_for_stdout(|text| text.contains('}'));
    let found = labels(&container);
    assert_eq!(found.iter().filter(|label| **label == other.label()).count(), 1, "{found:?}");
    assert!(found.iter().all(|label| *label == other.label() || *label == profile.label()), "{found:?}");
    let pid = container.pid();
    let second =
        confined(Bundle::idle(), &other).without_ns("pid").join("pid", &format!("/proc/{pid}/ns/pid")).container();
    second.up();
    host::wait_until(|| label_of(second.pid()) == other.label());
    second.delete_force().ok();
    container.delete_force().ok();
    exec.wait();
    running.wait();
}

/// CRIU gives the process what it had at the checkpoint, whatever config.json says by now.
#[test]
fn a_restored_process_has_the_profile_of_the_configuration_or_is_not_restored() {
    let (Some(profile), Some(other)) = (Profile::load(), Profile::load()) else { return };
    if skip_without_criu() {
        return;
    }
    let mut container = confined(Bundle::idle(), &profile).container();
    container.up();
    checkpoint(&container, &[]);
    let images = images(&container);
    let args = ["--detach"];
    container.call(&restore(&container, images.to_str().unwrap(), &args)).ok();
    assert_eq!(label_of(container.pid()), profile.label());
    container.delete_force().ok();
    container.bundle.config["process"]["apparmorProfile"] = json!(other.0);
    container.bundle.write();
    let error = container.call(&restore(&container, images.to_str().unwrap(), &args)).fails();
    assert!(error.contains("lsm: process.apparmorProfile is ") && error.contains(&profile.label()), "{error}");
    container.assert_nothing_left();
    let flag = format!("apparmor:{}", other.0);
    let args = ["--detach", "--lsm-profile", &flag];
    container.call(&restore(&container, images.to_str().unwrap(), &args)).ok();
    assert_eq!(label_of(container.pid()), other.label());
    container.delete_force().ok();
}
