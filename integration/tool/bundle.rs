//! Bundles made from one busybox root filesystem and one default config.json, varied by closures.

use super::Res;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const DEFAULT_SPEC: &str = include_str!("../../fixtures/bench/default-spec.json");
const DOCKER_SECCOMP: &str = include_str!("../../fixtures/bench/docker-seccomp.json");
const APPLETS: [&str; 8] = ["true", "false", "sh", "sleep", "cat", "ls", "kill", "echo"];

/// A directory with config.json and rootfs/.
pub struct Bundle {
    pub dir: PathBuf,
    pub config: Value,
}

impl Bundle {
    /// The default specification (what `runc spec` prints, without a terminal), running `args`.
    pub fn new(dir: &Path, args: &[&str]) -> Res<Self> {
        let mut config: Value = serde_json::from_str(DEFAULT_SPEC)?;
        config["process"]["args"] = json!(args);
        make_rootfs(&dir.join("rootfs"))?;
        let bundle = Self { dir: dir.to_path_buf(), config };
        bundle.write()?;
        Ok(bundle)
    }

    /// Changes the configuration and writes it.
    pub fn with(mut self, change: impl FnOnce(&mut Value)) -> Res<Self> {
        change(&mut self.config);
        self.write()?;
        Ok(self)
    }

    /// Adds Docker's default profile and nothing else.
    pub fn with_docker_seccomp(self) -> Res<Self> {
        let profile: Value = serde_json::from_str(DOCKER_SECCOMP)?;
        self.with(|config| config["linux"]["seccomp"] = profile)
    }

    pub fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    fn write(&self) -> Res<()> {
        fs::write(self.dir.join("config.json"), serde_json::to_vec_pretty(&self.config)?)?;
        Ok(())
    }
}

fn make_rootfs(root: &Path) -> Res<()> {
    for name in ["bin", "dev", "etc", "proc", "sys", "tmp", "root", "var"] {
        fs::DirBuilder::new().recursive(true).create(root.join(name))?;
    }
    fs::copy("/bin/busybox", root.join("bin/busybox")).map_err(|error| format!("copy /bin/busybox: {error}"))?;
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    for applet in APPLETS {
        let link = root.join("bin").join(applet);
        if fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink("busybox", link)?;
        }
    }
    Ok(())
}
