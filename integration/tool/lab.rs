//! A private place to run containers in: own mount namespace, own tmpfs, own set of cgroup v1 mounts, own mark in
//! every name. Nothing of it outlives the program, and what a runtime leaves behind is found by the mark.

use super::runtime::Runtime;
use super::{Res, hierarchies, os, process};
use crate::common::{Bundle, leftovers};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// See the module.
pub struct Place {
    pub dir: PathBuf,
    pub mark: String,
}

impl Place {
    pub fn new(kind: &str) -> Res<Self> {
        let mark = format!("{kind}{}", std::process::id());
        let dir = std::env::temp_dir().join(&mark);
        std::fs::DirBuilder::new().mode(0o755).create(&dir)?;
        unshare(CloneFlags::CLONE_NEWNS).map_err(|error| format!("unshare mount namespace: {error}"))?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        hierarchies::without_unified(&dir)?;
        os::become_subreaper()?;
        Ok(Self { dir, mark })
    }

    /// Many mounts, as on a host with hundreds of containers. They go with the place.
    pub fn crowd(&self) -> Res<()> {
        const MOUNTS: usize = 200;
        let dir = self.dir.join("crowd");
        std::fs::create_dir(&dir)?;
        for _ in 0..MOUNTS {
            mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some("size=4k"))?;
        }
        Ok(())
    }

    /// A runtime with a state root here.
    pub fn runtime(&self, name: &str, path: &Path) -> Res<Runtime> {
        let root = self.dir.join(format!("root-{name}"));
        std::fs::DirBuilder::new().mode(0o700).create(&root)?;
        let path = std::path::absolute(path)?;
        if !path.exists() {
            return Err(format!("runtime {name}: {} does not exist", path.display()).into());
        }
        Ok(Runtime { name: name.into(), path, root })
    }

    /// The default bundle under a name of its own.
    pub fn bundle(&self, name: &str, args: &[&str]) -> Res<Bundle> {
        let bundles = self.dir.join("bundles");
        std::fs::DirBuilder::new().recursive(true).create(&bundles)?;
        Ok(Bundle::of_runc_spec(bundles.join(name), args))
    }

    /// A container id of this run.
    pub fn id(&self, rest: &str) -> String {
        format!("{}-{rest}", self.mark)
    }

    /// What stayed, and is now removed: cgroups and child processes. (Mounts and files go with the namespace.)
    pub fn close(&self) -> Res<Vec<String>> {
        process::reap_all();
        let mut left = Vec::new();
        for pid in leftovers::children()? {
            left.push(format!("process {pid}"));
            os::kill(pid, libc::SIGKILL)?;
            process::wait(pid)?;
        }
        left.extend(leftovers::cgroups(&self.mark).iter().map(|path| path.display().to_string()));
        leftovers::remove_cgroups(&self.mark);
        umount2(&self.dir, MntFlags::MNT_DETACH)?;
        std::fs::remove_dir(&self.dir)?;
        Ok(left)
    }
}

/// Why nothing can be measured here, if so.
pub fn cannot_run(runtimes: &[(String, PathBuf)]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".into());
    }
    if runtimes.is_empty() {
        return Some("no release build of brisk; set BRISK or run make".into());
    }
    (!Path::new("/bin/busybox").exists()).then(|| "needs /bin/busybox (busybox-static)".into())
}

/// A loud skip, and a failure where everything must run.
pub fn skip(name: &str, reason: &str) -> Res<()> {
    if std::env::var_os("MUST_RUN").is_some_and(|value| value == "1") {
        return Err(format!("{name} must run: {reason}").into());
    }
    Ok(super::say(&format!("SKIP {name}: {reason}"))?)
}
