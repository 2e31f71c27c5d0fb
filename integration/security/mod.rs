//! Every published hole in runc, crun, youki and their kin as an attack on the runtime under test.
//!
//! A test is named after what was published (the table with the defences is docs/SECURITY.md). It does what
//! the attacker did and fails if that works. `RUNTIME` may name an old runtime, on which some of them do:
//! that is how it is known that they can fail.

mod annotations;
mod bound_for_new;
mod bounds;
mod cgroup_names;
mod devices;
mod eighth_attack;
mod eleventh_attack;
mod entering;
mod fifth_attack;
mod files_in_proc;
mod fourth_attack;
mod host_fuse;
mod inherited;
mod keyrings;
mod looking_in;
mod many;
mod mounts_remove;
mod ninth_attack;
mod no_pivot;
mod outsiders;
mod own_binary;
mod paths;
mod propagation;
mod second_attack;
mod seventh_attack;
mod shared_mount_namespace;
mod shared_volume;
mod skeleton;
mod start_hooks;
mod state_root;
mod streams;
mod templates;
mod tenth_attack;
mod userns;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Bundle, Container, host};

/// A container whose program hunts what comes in, with these capabilities.
fn hunting(caps: &[&str]) -> Bundle {
    // Output of its own: the container outlives the command that starts it.
    let script = "/probe hunt:/stop > /out.tmp; /bin/busybox mv /out.tmp /out; exec /probe pause";
    with_caps(Bundle::sh(script), caps)
}

/// Ends the hunt and returns what was found.
fn bag(container: &Container) -> Value {
    container.bundle.file("stop", "");
    let out = container.bundle.rootfs().join("out");
    host::wait_until(|| out.exists());
    let report: Value = serde_json::from_str(&fs::read_to_string(out).unwrap()).unwrap();
    report["hunt:/stop"].clone()
}

/// How long a race is tried.
fn race() -> Duration {
    Duration::from_secs(2) * factor()
}

/// How often something is tried that takes luck.
pub fn rounds(usual: u32) -> u32 {
    usual * factor()
}

/// `BRISK_ATTACK_ROUNDS` multiplies what luck needs: a second in `make test`, hours in `make test-all`.
fn factor() -> u32 {
    std::env::var("BRISK_ATTACK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// What a privileged container has, by number.
pub const ALL_CAPS: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_ADMIN",
    "CAP_MKNOD",
];
const NUMBERS: &[u32] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 18, 19, 21, 27];

/// The container's process gets these capabilities, of those that there are. After `Bundle::userns`.
pub fn with_caps(bundle: Bundle, caps: &[&str]) -> Bundle {
    // runc and crun refuse what they do not have themselves; in a user namespace everything is there.
    let given = |cap: &&&str| {
        let index = ALL_CAPS.iter().position(|known| known == *cap);
        index.is_none_or(|index| host::has_cap(NUMBERS[index]))
    };
    let in_userns = bundle.config["linux"]["uidMappings"].is_array();
    let caps: Vec<&&str> = caps.iter().filter(|cap| in_userns || given(cap)).collect();
    bundle
        .set("/process/capabilities", json!({ "bounding": caps, "effective": caps, "permitted": caps }))
        .set("/process/noNewPrivileges", json!(false))
}

/// Lets a container use a copy of the runtime, so that an attack that works costs nothing.
pub fn own_copy(container: &mut Container) -> (PathBuf, Vec<u8>) {
    let copy = container.bundle.dir.join("runtime");
    crate::common::bundle::copy(&host::resolve_program(&crate::common::runtime()), &copy);
    container.program = vec![copy.clone()];
    let text = fs::read(&copy).unwrap();
    (copy, text)
}

/// A file beside the root file system that nobody inside may ever see.
pub fn secret(bundle: &Bundle) {
    fs::write(bundle.dir.join("SECRET"), "of the host").unwrap();
}

/// Exchanges two names, again and again, while `body` runs again and again.
pub fn while_swapping(a: &Path, b: &Path, mut body: impl FnMut()) {
    let done = AtomicBool::new(false);
    let names = [a, b].map(|path| std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange(&names[0], &names[1]);
            }
        });
        // Also when the body fails, or the scope would never end.
        let _stop = Stop(&done);
        let end = Instant::now() + race();
        while Instant::now() < end {
            body();
        }
    });
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[allow(unsafe_code, reason = "nix has renameat2 for glibc only")]
fn exchange(a: &std::ffi::CStr, b: &std::ffi::CStr) {
    let at = libc::AT_FDCWD;
    // SAFETY: both names are NUL-terminated and outlive the call.
    unsafe { libc::syscall(libc::SYS_renameat2, at, a.as_ptr(), at, b.as_ptr(), libc::RENAME_EXCHANGE) };
}
