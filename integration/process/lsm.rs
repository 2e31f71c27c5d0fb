//! Labels of a security module, on a kernel that has one. This one's is AppArmor, in a guest with Debian's parser.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::common::process::run_with_input;
use crate::common::{Bundle, Need, host, skip_unless};

/// A loaded profile, which goes with it.
struct Profile(String);

impl Profile {
    /// Everything is allowed but writing one file; `None` where profiles cannot be loaded.
    fn load() -> Option<Profile> {
        let there = host::is_root()
            && Path::new("/sys/kernel/security/apparmor/.replace").exists()
            && Path::new("/usr/sbin/apparmor_parser").exists();
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
        let mut parser = Command::new("/usr/sbin/apparmor_parser");
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
        let mut parser = Command::new("/usr/sbin/apparmor_parser");
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
    let Some(_) = Profile::load() else { return };
    let container = Bundle::idle().set("/process/apparmorProfile", json!("none-such")).container();
    let error = container.create().fails();
    assert!(error.contains("none-such"), "{error}");
    container.assert_nothing_left();
}
