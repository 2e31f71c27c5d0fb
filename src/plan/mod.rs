//! What will be done, as data: pure functions of the bundle, the host's facts and the options.
//!
//! Touches nothing: no system call, no file, no environment, no clock. Runs in the parent. The tables turn
//! what the specification writes as text into the numbers the kernel takes; `create` and `exec` put the
//! operations in order.

pub mod annotations;
pub mod caps;
pub mod cgroup;
pub mod cgroup_admission;
pub mod cgroup_bpf;
pub mod cgroup_cpu;
pub mod cgroup_devices;
pub mod cgroup_io;
pub mod cgroup_limits;
pub mod cgroup_memory;
pub mod cgroup_paths;
pub mod cgroup_update;
pub mod create;
pub mod dbus_value;
pub mod devices;
pub mod entry;
pub mod environment;
pub mod exec;
pub mod filter;
pub mod gvariant;
pub mod idmap;
pub mod memory;
pub mod mounts;
pub mod namespaces;
mod net_devices;
pub mod op;
pub mod options;
mod options_idmap;
pub mod process;
pub mod rdt;
pub mod rlimits;
pub mod rootfs;
pub mod rootless;
pub mod runtime_mounts;
pub mod schedule;
pub mod seccomp;
pub mod sysctl;
pub mod systemd;
pub mod systemd_properties;
pub mod text;

use std::path::Path;

use crate::spec::Spec;

/// The state handed to a hook, before and after the pid: hooks in the container get the pid they see there.
pub fn hook_state(spec: &Spec, id: &str, bundle: &Path, status: &str) -> (Vec<u8>, Vec<u8>) {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    let version = quote(&spec.oci_version);
    let head = format!("{{\"ociVersion\":{version},\"id\":{},\"status\":{},\"pid\":", quote(id), quote(status));
    let annotations: serde_json::Map<String, serde_json::Value> =
        spec.annotations.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
    let bundle = quote(&bundle.to_string_lossy());
    let tail = format!(",\"bundle\":{bundle},\"annotations\":{}}}", serde_json::Value::Object(annotations));
    (head.into_bytes(), tail.into_bytes())
}
