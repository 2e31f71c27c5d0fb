//! What will be done, as data: pure functions of the bundle, the host's facts and the options.
//!
//! Touches nothing: no system call, no file, no environment, no clock. Runs in the parent. The tables turn
//! what the specification writes as text into the numbers the kernel takes; `create` and `exec` put the
//! operations in order.

pub mod annotations;
pub mod cgroup;
pub mod create;
pub mod exec;
pub mod namespace;
pub mod op;
pub mod process;
pub mod rootfs;
pub mod seccomp;
pub mod systemd;
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
