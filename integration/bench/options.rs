//! The command line of the bench.

use crate::tool::{Res, runtime};
use std::path::PathBuf;

pub const USAGE: &str =
    "bench [--quick] [--only NAME,…] [--peer NAME=PATH]… [--runtime NAME=PATH]… [--rounds N] [--storm N] [--many N]
      [--mounts N] [--shim FILE] [--containerd DIR] [--out DIR]
  --quick     a few minutes: fewer rounds, a storm of 100
  --only      some of: run create exec prepared seccomp mounts binds overlay throwaway rootless systemd startup storm many parallel memory
              limit density judge engines shims
  --peer      another runtime beside those that are found, or another program for one of them
  --runtime   these runtimes and no others, in this order (default: brisk, crun, runc, those that are found)
  --rounds    rounds of each latency experiment   --storm  containers in the storm   --mounts  host mounts to add
  --many      containers that wait to be started
  --shim      brisk's shim, for `shims` (default: $BRISK_SHIM)
  --containerd  a directory with the containerd, ctr and containerd-shim-runc-v2 that `shims` is to use (default: in PATH)
  --out       where report.txt, report.json and report.html go (default target/bench)";

/// What to measure, how often, and where the report goes.
#[derive(Debug)]
pub struct Options {
    pub help: bool,
    pub only: Vec<String>,
    pub runtimes: Vec<(String, PathBuf)>,
    pub rounds: usize,
    pub storm: usize,
    pub many: usize,
    pub parallel: usize,
    pub mounts: usize,
    /// containerd-shim-brisk-v2, where it has been built.
    pub shim: Option<PathBuf>,
    /// Where containerd is, if not in PATH.
    pub containerd: Option<PathBuf>,
    pub out: PathBuf,
}

impl Options {
    /// Reads the arguments; cargo's own `--bench` is ignored.
    pub fn parse(args: impl Iterator<Item = String>) -> Res<Self> {
        let args: Vec<String> = args.collect();
        let quick = args.iter().any(|arg| arg == "--quick");
        let mut options = Self::defaults(if quick { (40, 100, 500, 128) } else { (300, 1000, 2000, 512) });
        let mut peers = Vec::new();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
            match arg.as_str() {
                "--bench" | "--quick" => {}
                "--help" | "-h" => options.help = true,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--rounds" => options.rounds = value()?.parse()?,
                "--storm" => options.storm = value()?.parse()?,
                "--many" => options.many = value()?.parse()?,
                "--mounts" => options.mounts = value()?.parse()?,
                "--shim" => options.shim = Some(value()?.into()),
                "--containerd" => options.containerd = Some(std::path::absolute(value()?)?),
                "--out" => options.out = value()?.into(),
                "--runtime" => options.runtimes.push(named(&value()?)?),
                "--peer" => peers.push(named(&value()?)?),
                other => return Err(format!("unknown argument {other}\n{USAGE}").into()),
            }
        }
        if options.runtimes.is_empty() {
            options.runtimes = found();
        }
        for (name, path) in peers {
            match options.runtimes.iter_mut().find(|(known, _)| *known == name) {
                Some(known) => known.1 = path,
                None => options.runtimes.push((name, path)),
            }
        }
        Ok(options)
    }

    fn defaults((rounds, storm, many, parallel): (usize, usize, usize, usize)) -> Self {
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from);
        Self {
            help: false,
            only: Vec::new(),
            runtimes: Vec::new(),
            rounds,
            storm,
            many,
            parallel,
            mounts: 3000,
            shim: std::env::var_os("BRISK_SHIM").map(PathBuf::from),
            containerd: None,
            out: target.join("bench"),
        }
    }

    /// Whether an experiment was asked for.
    pub fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }
}

fn named(value: &str) -> Res<(String, PathBuf)> {
    let (name, path) = value.split_once('=').ok_or("a runtime is named as NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

/// brisk as built (or `$BRISK`), and the peers where Debian puts them.
fn found() -> Vec<(String, PathBuf)> {
    let peers = [("crun", "/usr/bin/crun"), ("runc", "/usr/sbin/runc")].map(|(name, path)| (name, PathBuf::from(path)));
    let brisk = runtime::built().map(|path| ("brisk", path));
    let all = brisk.into_iter().chain(peers.into_iter().filter(|(_, path)| path.exists()));
    all.map(|(name, path)| (name.to_owned(), path)).collect()
}
