//! A container's bundle, and what the shim reads in it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fault::{Answer, Code, Fault};
use super::os;
use super::protobuf::Message;

/// The part of config.json that the shim goes by.
#[derive(Deserialize)]
struct ConfigPart {
    linux: Option<Linux>,
}

#[derive(Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Vec<Namespace>,
}

#[derive(Deserialize)]
struct Namespace {
    r#type: String,
    #[serde(default)]
    path: String,
}

/// Whether the container's processes may outlive its first one. If it cannot be told they may.
pub fn shares_pids(bundle: &Path) -> bool {
    let Ok(text) = os::read_file(&bundle.join("config.json"), 64 << 20) else { return true };
    let Ok(config) = serde_json::from_slice::<ConfigPart>(&text) else { return true };
    let namespaces = config.linux.map(|linux| linux.namespaces).unwrap_or_default();
    !namespaces.iter().any(|namespace| namespace.r#type == "pid" && namespace.path.is_empty())
}

pub fn read_pid(path: &Path) -> Answer<i32> {
    let text = std::fs::read_to_string(path).map_err(Fault::doing("failed to retrieve OCI runtime container pid"))?;
    text.trim().parse().map_err(Fault::doing("failed to retrieve OCI runtime container pid"))
}

/// Nothing is written into a directory that is no bundle.
pub fn bundle_of(request: Message<'_>) -> Answer<PathBuf> {
    let bundle = os::path(request.text(2)?);
    if !bundle.is_absolute() || !bundle.join("config.json").is_file() {
        let text = format!("{bundle:?} is no absolute path of a directory with a config.json");
        return Err(Fault::new(Code::InvalidArgument, text));
    }
    Ok(bundle)
}
