//! `--no-pivot` moves the root over `/` and leaves the host's mounts below it, where nobody can reach them; but they
//! count. A nested user namespace may mount a proc or sysfs as long as one is in its mount namespace that hides
//! nothing (`mount_too_revealing`, fs/namespace.c), and the host's hides nothing.

use serde_json::json;

use super::with_caps;
use crate::common::{Bundle, process::Output};

/// In a user namespace below the container's: a proc without masks, then a sysfs, and what can be written there.
const NESTED: &str = "/bin/busybox unshare -U -r -m -n -p -f /bin/sh -c \"\
    /bin/busybox mkdir -p /tmp/proc /tmp/sys; mount -t proc proc /tmp/proc; mount -t sysfs sysfs /tmp/sys; \
    exec /probe write:/tmp/proc/sys/kernel/core_pattern write:/tmp/proc/sysrq-trigger stat:/tmp/proc/kcore \
    stat:/tmp/proc/self stat:/tmp/sys/kernel stat:/tmp/sys/firmware/memmap\"";

#[track_caller]
fn nothing_is_revealed(output: &Output) {
    let text = output.stdout();
    assert!(text.starts_with('{'), "the nested namespace did not come to life: {output:?}");
    let out = output.json();
    for (op, result) in out.as_object().unwrap() {
        assert_eq!(result["errno"], "ENOENT", "{op}: a bare proc or sysfs was mounted: {out:#}");
    }
}

/// Docker has the capability in its default set: without it the container's root cannot map itself (Linux 5.12).
fn mapping(bundle: Bundle) -> Bundle {
    with_caps(bundle, &["CAP_SETFCAP"])
}

fn bundles() -> [Bundle; 3] {
    let user = Bundle::sh(NESTED).set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
    [mapping(Bundle::sh(NESTED)), user, mapping(Bundle::sh(NESTED).userns())]
}

/// The host's own proc and sysfs are gone, or covered, before the root is moved.
#[test]
fn masks_cannot_be_left_behind_without_pivot_root() {
    for bundle in bundles() {
        nothing_is_revealed(&bundle.container().run_with(&["--no-pivot"]));
    }
}

/// The same with pivot_root, where there is no other proc.
#[test]
fn masks_cannot_be_left_behind() {
    for bundle in bundles() {
        nothing_is_revealed(&bundle.container().run());
    }
}

/// What was hidden in the container's proc is also not found by taking the mounts of the host away again.
#[test]
fn the_moved_root_cannot_be_left() {
    let script = "/bin/busybox unshare -U -r -m /bin/sh -c \"\
        for i in 1 2 3 4; do /bin/busybox umount -l /; done; cd ..; cd ..; exec /probe stat:/SECRET stat:../SECRET \
        stat:../../SECRET\"";
    for args in [&["--no-pivot"][..], &[]] {
        let bundle = mapping(Bundle::sh(script));
        super::secret(&bundle);
        let output = bundle.container().run_with(args);
        for (op, result) in output.json().as_object().unwrap() {
            assert_eq!(result["errno"], "ENOENT", "{op}: {output:?}");
        }
    }
}
