//! The commands under test: what must be so before, and the arguments.

use crate::common::Bundle;
use crate::tool::lab::Place;
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, hierarchies, os, process};
use std::fs;
use std::path::PathBuf;

/// A command of the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Create,
    Start,
    StartTemplate,
    RunPool,
    PoolFill,
    Run,
    RunJob,
    Exec,
    Kill,
    Pause,
    Resume,
    Update,
    Delete,
    DeleteForce,
    State,
    List,
    Ps,
    Events,
    Mounts,
    Restart,
}

/// How far a container's life must be before the verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Nothing,
    Created,
    Template,
    Pool,
    DrainedPool,
    Running,
    Paused,
    Stopped,
}

impl Verb {
    pub const ALL: [Self; 20] = [
        Self::Create,
        Self::Start,
        Self::StartTemplate,
        Self::RunPool,
        Self::PoolFill,
        Self::Run,
        Self::RunJob,
        Self::Exec,
        Self::Kill,
        Self::Pause,
        Self::Resume,
        Self::Update,
        Self::Delete,
        Self::DeleteForce,
        Self::State,
        Self::List,
        Self::Ps,
        Self::Events,
        Self::Mounts,
        Self::Restart,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Start => "start",
            Self::StartTemplate => "start-template",
            Self::RunPool => "run-pool",
            Self::PoolFill => "pool-fill",
            Self::Run => "run",
            Self::RunJob => "run-job",
            Self::Exec => "exec",
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::DeleteForce => "delete-force",
            Self::State => "state",
            Self::List => "list",
            Self::Ps => "ps",
            Self::Events => "events",
            Self::Mounts => "mounts",
            Self::Restart => "restart",
        }
    }

    fn before(self) -> Before {
        match self {
            Self::Create | Self::Run | Self::RunJob => Before::Nothing,
            Self::Start => Before::Created,
            Self::StartTemplate => Before::Template,
            Self::RunPool => Before::Pool,
            Self::PoolFill => Before::DrainedPool,
            Self::Exec | Self::Kill | Self::Pause | Self::Update | Self::DeleteForce => Before::Running,
            Self::State | Self::List | Self::Ps | Self::Events | Self::Mounts => Before::Running,
            Self::Resume => Before::Paused,
            Self::Delete | Self::Restart => Before::Stopped,
        }
    }

    /// Whether both begin with a container that is as far.
    pub fn begins_like(self, other: Self) -> bool {
        self.before() == other.before()
    }

    /// Whether there is a pool of the container's name.
    pub fn has_pool(self) -> bool {
        matches!(self, Self::RunPool | Self::PoolFill)
    }

    /// Whether a failure must leave nothing at all, because nothing was there before.
    pub fn makes(self) -> bool {
        self.before() == Before::Nothing
    }

    /// Whether the container must still run after it, however it ended.
    pub fn spares(self) -> bool {
        matches!(self, Self::Exec | Self::Update | Self::State | Self::List | Self::Ps | Self::Events | Self::Mounts)
    }

    /// Whether it is there until the program has ended, and the container with it.
    pub fn is_foreground(self) -> bool {
        matches!(self, Self::Run | Self::RunJob)
    }

    /// The program of the container.
    pub fn program(self) -> &'static [&'static str] {
        if self.is_foreground() { &["/bin/true"] } else { &["/bin/sleep", "1000000"] }
    }

    /// Brings a new container to where the verb begins.
    pub fn prepare(self, runtime: &Runtime, bundle: &Bundle, id: &str) -> Res<()> {
        let before = self.before();
        if before == Before::Nothing {
            return Ok(());
        }
        if before == Before::Template {
            return runtime.must(&["create", "--template", "--bundle", text(&bundle.dir)?, id]).map(drop);
        }
        if matches!(before, Before::Pool | Before::DrainedPool) {
            // Called as the container, which is what is looked for afterwards.
            runtime.must(&["pool", "create", id, "--bundle", text(&bundle.dir)?, "--size", "2"])?;
            return match before {
                Before::Pool => Ok(()),
                _ => runtime.must(&["pool", "drain", id]).map(drop),
            };
        }
        let pid = runtime.create(&bundle.dir, id)?;
        if before != Before::Created {
            runtime.must(&["start", id])?;
        }
        match before {
            Before::Paused => runtime.must(&["pause", id]).map(drop),
            Before::Stopped => {
                os::kill(pid, libc::SIGKILL)?;
                process::wait(pid).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// The command line after the global options.
    pub fn arguments(self, place: &Place, bundle: &Bundle, id: &str) -> Res<Vec<String>> {
        let pid_file = pid_file(place, id);
        let result = results(place)?.join(format!("{id}.json"));
        let limits = place.dir.join("limits");
        let mounts = place.dir.join("mounts");
        let args: &[&str] = match self {
            Self::Create => &["create", "--bundle", text(&bundle.dir)?, "--pid-file", text(&pid_file)?, id],
            Self::Run => &["run", "--bundle", text(&bundle.dir)?, id],
            Self::RunJob => {
                let limits = ["--timeout", "1m", "--output-limit", "1k"];
                let head = ["run", "--result", text(&result)?, "--bundle", text(&bundle.dir)?];
                &[&head[..], &limits, &[id]].concat()
            }
            Self::Start => &["start", id],
            Self::StartTemplate => &["start", id, "--", "/bin/sleep", "1000000"],
            Self::RunPool => &["run", "--pool", id, id, "--", "/bin/true"],
            Self::PoolFill => &["pool", "fill", id],
            Self::Exec => &["exec", id, "/bin/true"],
            Self::Kill => &["kill", id, "KILL"],
            Self::Pause => &["pause", id],
            Self::Resume => &["resume", id],
            // Without controllers there are still the limits of cgroup v2 itself.
            Self::Update if hierarchies::v2_without("cpu") => {
                if !limits.exists() {
                    fs::write(&limits, r#"{"unified": {"cgroup.max.depth": "9", "cgroup.max.descendants": "99"}}"#)?;
                }
                &["update", "--resources", text(&limits)?, id]
            }
            Self::Update => &["update", "--cpu-share", "512", id],
            Self::Delete => &["delete", id],
            Self::DeleteForce => &["delete", "--force", id],
            Self::State => &["state", id],
            Self::Restart => &["restart", id],
            Self::List => &["list"],
            Self::Ps => &["ps", id],
            Self::Events => &["events", "--stats", id],
            Self::Mounts => {
                if !mounts.exists() {
                    fs::write(&mounts, r#"[{"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}]"#)?;
                }
                &["mounts", "add", id, text(&mounts)?]
            }
        };
        Ok(args.iter().map(|arg| (*arg).to_owned()).collect())
    }
}

/// Where `create` is told to write the pid.
pub fn pid_file(place: &Place, id: &str) -> PathBuf {
    place.dir.join(format!("{id}.pid"))
}

/// The directory in which `run` is told to write its result.
pub fn results(place: &Place) -> Res<PathBuf> {
    let dir = place.dir.join("results");
    match fs::create_dir(&dir) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(dir),
    }
}
