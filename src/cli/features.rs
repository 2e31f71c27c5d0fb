//! `features`: what this brisk supports, from the tables its parsers use.
//!
//! containerd, Docker and CRI-O read it; the form is runtime-spec's features.md.

use serde_json::{Value, json};

use super::version::VERSION;
use crate::plan::process::{caps, memory_policy};
use crate::plan::rootfs::options;
use crate::plan::{namespace, seccomp};
use crate::spec::VERSION as SPEC_VERSION;
use crate::spec::hooks::HookKind;
use crate::state::COMMIT;
use crate::sys::seccomp::Support;

/// The oldest version of the specification whose bundles are understood.
const OLDEST_SPEC: &str = "1.0.0";

/// Annotations of config.json that are instructions: an engine must not pass them on from users it does not trust.
const UNSAFE_ANNOTATIONS: &[&str] = &["org.systemd.property.", "org.criu.config", "run.brisk.", "run.oci."];

/// The document, for a kernel that knows `kernel` of seccomp.
pub fn document(kernel: Support) -> Value {
    let enabled = json!({ "enabled": true });
    let mut mount_options: Vec<&str> = options::names().collect();
    mount_options.sort_unstable();
    let supported_flags: Vec<&str> = seccomp::FLAGS
        .into_iter()
        .filter(|name| seccomp::flag(name).is_some_and(|flag| kernel.has_flags(flag)))
        .collect();
    json!({
        "ociVersionMin": OLDEST_SPEC,
        "ociVersionMax": SPEC_VERSION,
        "hooks": HookKind::ALL.map(HookKind::name),
        "mountOptions": mount_options,
        "linux": {
            "namespaces": namespace::NamespaceKind::ALL.map(namespace::NamespaceKind::name),
            "capabilities": caps::names(),
            "cgroup": { "v1": true, "v2": true, "systemd": true, "systemdUser": true, "rdma": true },
            "seccomp": {
                "enabled": true,
                "actions": seccomp::ACTIONS,
                "operators": seccomp::OPERATORS,
                "archs": seccomp::ARCHS.as_slice(),
                "knownFlags": seccomp::FLAGS,
                "supportedFlags": supported_flags,
            },
            "apparmor": enabled,
            "selinux": enabled,
            "intelRdt": { "enabled": true, "schemata": true, "monitoring": true },
            "memoryPolicy": {
                "modes": memory_policy::modes().collect::<Vec<_>>(),
                "flags": memory_policy::flags().collect::<Vec<_>>(),
            },
            "mountExtensions": { "idmap": enabled },
            "netDevices": enabled,
        },
        "annotations": {
            "brisk.version": VERSION,
            "brisk.commit": COMMIT,
            // The name runc gave it and crun took over.
            "org.opencontainers.runc.checkpoint.enabled": "true",
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    })
}
