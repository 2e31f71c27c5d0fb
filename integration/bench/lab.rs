//! Where the bench measures: a `Place` with the floor programs compiled and the runtimes listed.

use crate::common::Bundle;
use crate::options::Options;
use crate::tool::lab::Place;
use crate::tool::runtime::Runtime;
use crate::tool::{Res, process};
use std::path::{Path, PathBuf};
use std::process::Command;

/// See the module.
pub struct Lab {
    place: Place,
    pub dir: PathBuf,
    pub runtimes: Vec<Runtime>,
}

impl Lab {
    pub fn new(options: &Options) -> Res<Self> {
        if options.runtimes.is_empty() {
            return Err("no runtime found; name one with --runtime NAME=PATH".into());
        }
        std::fs::DirBuilder::new().recursive(true).create(&options.out)?;
        let place = Place::new("bench")?;
        let runtimes =
            options.runtimes.iter().map(|(name, path)| place.runtime(name, path)).collect::<Res<Vec<Runtime>>>()?;
        let lab = Self { dir: place.dir.clone(), place, runtimes };
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
        self.place.id(rest)
    }

    /// The default bundle under a name of its own.
    pub fn bundle(&self, name: &str, args: &[&str]) -> Res<Bundle> {
        self.place.bundle(name, args)
    }

    /// The floor program on the same root filesystem.
    pub fn floor(&self, bundle: &Bundle) -> Command {
        let mut command = Command::new(self.program("floor"));
        command.env("ROOTFS", bundle.rootfs());
        process::quiet(&mut command);
        command
    }

    /// What stayed behind of all experiments.
    pub fn close(&self) -> Res<Vec<String>> {
        self.place.close()
    }
}
