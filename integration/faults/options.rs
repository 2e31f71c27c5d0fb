//! The command line of the fault harness.

use crate::tool::{Res, runtime};
use std::path::PathBuf;
use std::time::Duration;

pub const USAGE: &str =
    "faults [--all] [--sample N] [--verbs V,…] [--mode kill|fail] [--variant plain|userns|hook|crowded|first|classic|overlay] [--cgroup2]
       [--calls NAME,…] [--runtime NAME=PATH]… [--shard I/N] [--limit SECONDS] [--races N] [--lines N] [--errors]
  --all      every fault, no time limit (default: a sample of 6 in each cell, at most 75 s)
  --variant  plain: default spec; userns: with a user namespace; hook: a createContainer hook; crowded: a host with
             many mounts, on which the mount namespace is built from a skeleton; first: there, when the skeleton
             must be made; classic: mounts with an option that
             fsconfig(2) has no name for, which are made by mount(2); overlay: an overlay over the root
  --calls    only at these system calls
  --races    instead: every pair of commands at once on one container, N times each, staggered
  --shard    only every Nth fault, beginning with the Ith: several harnesses may run at once
  --lines    how many distinct findings to print for each runtime (default 40)
  --errors   print, too, what the commands said that failed, and how often";

/// What is done at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Kill,
    Fail,
}

impl Mode {
    pub const ALL: [Self; 2] = [Self::Kill, Self::Fail];

    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Fail => "fail",
        }
    }
}

/// Which container is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    Plain,
    UserNamespace,
    Hook,
    Crowded,
    First,
    Classic,
    Overlay,
}

impl Variant {
    const ALL: [Self; 7] =
        [Self::Plain, Self::UserNamespace, Self::Hook, Self::Crowded, Self::First, Self::Classic, Self::Overlay];

    /// As on the command line.
    fn option(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::UserNamespace => "userns",
            Self::Hook => "hook",
            Self::Crowded => "crowded",
            Self::First => "first",
            Self::Classic => "classic",
            Self::Overlay => "overlay",
        }
    }

    /// As in the heading of a matrix.
    pub fn title(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::UserNamespace => "user namespace",
            Self::Hook => "createContainer hook",
            Self::Crowded => "crowded host (skeleton)",
            Self::First => "crowded host (skeleton not made yet)",
            Self::Classic => "mounts by mount(2)",
            Self::Overlay => "overlay over the root",
        }
    }
}

/// See USAGE.
pub struct Options {
    pub help: bool,
    pub races: usize,
    pub cgroup2: bool,
    pub sample: Option<usize>,
    pub verbs: Vec<String>,
    pub calls: Vec<String>,
    pub modes: Vec<Mode>,
    pub variant: Variant,
    pub runtimes: Vec<(String, PathBuf)>,
    pub shard: (usize, usize),
    pub limit: Duration,
    pub lines: usize,
    pub errors: bool,
}

impl Options {
    /// Arguments that `cargo test` passes to every test program are ignored.
    pub fn parse(args: impl Iterator<Item = String>) -> Res<Self> {
        let mut options = Self::defaults();
        let mut args = args.into_iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value\n{USAGE}"));
            match arg.as_str() {
                "--help" => options.help = true,
                "--races" => options.races = value()?.parse()?,
                "--cgroup2" => options.cgroup2 = true,
                "--all" => (options.sample, options.limit) = (None, Duration::from_secs(24 * 3600)),
                "--sample" => options.sample = Some(value()?.parse()?),
                "--verbs" => options.verbs = value()?.split(',').map(str::to_owned).collect(),
                "--calls" => options.calls = value()?.split(',').map(str::to_owned).collect(),
                "--limit" => options.limit = Duration::from_secs(value()?.parse()?),
                "--errors" => options.errors = true,
                "--lines" => options.lines = value()?.parse()?,
                "--mode" => options.modes = vec![mode(&value()?)?],
                "--variant" => options.variant = variant(&value()?)?,
                "--shard" => options.shard = shard(&value()?)?,
                "--runtime" => {
                    let value = value()?;
                    let (name, path) = value.split_once('=').ok_or(USAGE)?;
                    options.runtimes.push((name.into(), path.into()));
                }
                _ => {}
            }
        }
        if options.runtimes.is_empty() {
            options.runtimes.extend(runtime::built().map(|path| ("brisk".into(), path)));
        }
        Ok(options)
    }

    fn defaults() -> Self {
        Self {
            help: false,
            races: 0,
            cgroup2: false,
            sample: Some(6),
            verbs: Vec::new(),
            calls: Vec::new(),
            modes: Mode::ALL.to_vec(),
            variant: Variant::Plain,
            runtimes: Vec::new(),
            shard: (0, 1),
            limit: Duration::from_secs(75),
            lines: 40,
            errors: false,
        }
    }

    /// Whether a verb was asked for.
    pub fn wants(&self, verb: &str) -> bool {
        self.verbs.is_empty() || self.verbs.iter().any(|wanted| wanted == verb)
    }

    /// Whether faults at a system call were asked for.
    pub fn wants_call(&self, name: &str) -> bool {
        self.calls.is_empty() || self.calls.iter().any(|wanted| wanted == name)
    }
}

fn mode(text: &str) -> Res<Mode> {
    Mode::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| format!("no mode {text}\n{USAGE}").into())
}

fn variant(text: &str) -> Res<Variant> {
    let found = Variant::ALL.into_iter().find(|variant| variant.option() == text);
    found.ok_or_else(|| format!("no variant {text}\n{USAGE}").into())
}

fn shard(text: &str) -> Res<(usize, usize)> {
    let (index, count) = text.split_once('/').ok_or(USAGE)?;
    let (index, count) = (index.parse::<usize>()?, count.parse::<usize>()?);
    if index < count { Ok((index, count)) } else { Err(USAGE.into()) }
}
