//! The place of measurement: a private mount namespace with a tmpfs of its own, the floor programs compiled, the
//! runtimes listed. Everything made here disappears with the namespace; cgroups carry `mark` and are checked.

use crate::options::Options;
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, bundle::Bundle, hierarchies, leftovers, os, process};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::path::{Path, PathBuf};
use std::process::Command;

/// See the module.
pub struct Lab {
    pub dir: PathBuf,
    pub mark: String,
    pub runtimes: Vec<Runtime>,
}

impl Lab {
    pub fn new(options: &Options) -> Res<Self> {
        if options.runtimes.is_empty() {
            return Err("no runtime found; name one with --runtime NAME=PATH".into());
        }
        std::fs::DirBuilder::new().recursive(true).create(options.out.join("lab"))?;
        let dir = std::path::absolute(options.out.join("lab"))?;
        unshare(CloneFlags::CLONE_NEWNS)
            .map_err(|error| format!("unshare mount namespace (are you root?): {error}"))?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
        hierarchies::without_unified(&dir)?;
        os::become_subreaper()?;
        let mark = format!("bench{}", std::process::id());
        let runtimes = options.runtimes.iter().map(|(name, path)| runtime(&dir, name, path)).collect::<Res<_>>()?;
        let lab = Self { dir, mark, runtimes };
        lab.compile()?;
        Ok(lab)
    }

    /// gcc -O2, as the committed sources say; the helpers static, so that they are smaller than what they measure.
    fn compile(&self) -> Res<()> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("integration/bench/c");
        for (name, link) in
            [("floor", ""), ("execfloor", ""), ("empty", "-static"), ("peak", "-static"), ("first", "-static")]
        {
            let mut gcc = Command::new("gcc");
            gcc.args(["-O2", "-w"]).args((!link.is_empty()).then_some(link)).arg("-o").arg(self.program(name));
            let status = gcc.arg(sources.join(name).with_extension("c")).status();
            if !status.map_err(|error| format!("gcc: {error}"))?.success() {
                return Err(format!("gcc failed on {name}.c").into());
            }
        }
        Ok(())
    }

    /// A compiled helper.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A container id of this run.
    pub fn id(&self, rest: &str) -> String {
        format!("{}-{rest}", self.mark)
    }

    /// The default bundle under a name of its own; its containers' cgroups are `/ID` in every hierarchy.
    pub fn bundle(&self, name: &str, args: &[&str]) -> Res<Bundle> {
        let dir = self.dir.join("bundles").join(name);
        std::fs::DirBuilder::new().recursive(true).create(&dir)?;
        Bundle::new(&dir, args)
    }

    /// The floor program on the same root filesystem.
    pub fn floor(&self, bundle: &Bundle) -> Command {
        let mut command = Command::new(self.program("floor"));
        command.env("ROOTFS", bundle.rootfs());
        process::quiet(&mut command);
        command
    }

    /// Checks that nothing stayed: cgroups and child processes. (Mounts and files go with the namespace.)
    pub fn close(&self) -> Res<Vec<String>> {
        process::reap_all();
        let mut left: Vec<String> =
            leftovers::cgroups(&self.mark).iter().map(|path| path.display().to_string()).collect();
        leftovers::remove_cgroups(&self.mark);
        for pid in leftovers::children()? {
            left.push(format!("process {pid}"));
            os::kill(pid, libc::SIGKILL)?;
            process::wait(pid)?;
        }
        Ok(left)
    }
}

fn runtime(dir: &Path, name: &str, path: &Path) -> Res<Runtime> {
    let root = dir.join(format!("root-{name}"));
    std::fs::DirBuilder::new().mode_700().create(&root)?;
    let path = std::path::absolute(path)?;
    if !path.exists() {
        return Err(format!("runtime {name}: {} does not exist", text(&path)?).into());
    }
    Ok(Runtime { name: name.into(), path, root })
}

/// A state root is nobody else's business.
trait Private {
    fn mode_700(&mut self) -> &mut Self;
}

impl Private for std::fs::DirBuilder {
    fn mode_700(&mut self) -> &mut Self {
        std::os::unix::fs::DirBuilderExt::mode(self, 0o700)
    }
}
