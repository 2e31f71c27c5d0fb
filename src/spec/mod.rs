//! config.json and process.json as values (runtime-spec 1.3), read and validated.
//!
//! The types here are brisk's own rather than `oci-spec`'s: every field of the specification and nothing
//! else, no invented defaults, no regex engine in the binary (docs/DESIGN.md has the measurement). A test
//! reads every fixture with both and compares. Unknown properties are ignored, as the specification asks.
//!
//! The modules: `load` reads a file, `strict` its JSON, and `excerpt` shows the line that an error is about. One has the types of each part:
//! `process`, `mounts`, `overlay`, `linux`, `resources`, `seccomp`, `hooks`, `annotations`, `status`, of values in the forms of `text`, `path`, `size` and
//! `number_list`. `validate` is what the types cannot say, and `template` what `spec` writes.

pub mod annotations;
mod excerpt;
pub mod hooks;
pub mod linux;
mod load;
pub mod mounts;
pub mod number_list;
pub mod overlay;
pub mod path;
pub mod process;
pub mod resources;
pub mod seccomp;
pub mod size;
pub mod status;
mod strict;
pub mod template;
pub mod text;
pub mod validate;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

pub use excerpt::lines_of;
pub use load::{
    CONFIG, LONGEST, Loaded, check_length, load, load_bytes, load_file, load_json, load_process, load_text, parse,
    read_config, read_file, read_json, read_stream, shown,
};

/// The version of the runtime specification.
pub const VERSION: &str = "1.3.0";

/// config.json.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Version of the specification the bundle follows. Newer versions than brisk knows are accepted.
    #[serde(default)]
    pub oci_version: String,
    /// The process to run. Optional for `create`, needed by `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<process::Process>,
    /// The root file system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
    /// Host name, set in the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// NIS domain name, set in the container's UTS namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domainname: Option<String>,
    /// Mounts, in order.
    #[serde(default)]
    pub mounts: Vec<mounts::Mount>,
    /// Lifecycle hooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hooks: Option<hooks::Hooks>,
    /// Arbitrary metadata.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// The annotations that are followed. Not part of config.json, whose authors cannot decide it: none are until
    /// [`annotations::Trust`] is applied.
    #[serde(skip)]
    pub instructions: BTreeMap<String, String>,
    /// Everything specific to Linux.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub linux: Option<linux::Linux>,
}

/// A configuration without a `linux` part.
static NO_LINUX: LazyLock<linux::Linux> = LazyLock::new(linux::Linux::default);

impl Spec {
    /// The `linux` part, or an empty one.
    pub fn linux_or_empty(&self) -> &linux::Linux {
        self.linux.as_ref().unwrap_or(&NO_LINUX)
    }

    /// The namespaces to make or join.
    pub fn namespaces(&self) -> &[linux::Namespace] {
        self.linux.as_ref().map(|linux| &linux.namespaces[..]).unwrap_or_default()
    }

    /// The namespace of this type.
    pub fn namespace(&self, kind: &str) -> Option<&linux::Namespace> {
        self.linux.as_ref()?.namespace(kind)
    }
}

/// The container's root file system.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Root {
    /// Absolute, or relative to the bundle.
    pub path: String,
    /// Mount the root read-only.
    #[serde(default)]
    pub readonly: bool,
}
