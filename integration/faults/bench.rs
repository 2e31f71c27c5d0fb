//! A verb's stand: the bundle, the ids, what is there before and after, and the way to clear everything away.

use crate::common::Bundle;
use crate::common::leftovers;
use crate::options::Variant;
use crate::tool::lab::Place;
use crate::tool::os::Reaped;
use crate::tool::runtime::Runtime;
use crate::tool::trace::{self, Observer};
use crate::tool::{Res, os, process};
use crate::verbs::Verb;
use serde_json::{Value, json};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// After this a command counts as hanging. Longer than the ten seconds that runtimes wait for a killed process.
/// `BRISK_TEST_SLOW` multiplies it (emulated guests).
pub fn patience() -> Duration {
    let factor = std::env::var("BRISK_TEST_SLOW").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    Duration::from_secs(13 * factor)
}

/// A verb of a runtime with its bundle; counts the containers made.
pub struct Bench<'a> {
    pub place: &'a Place,
    pub runtime: &'a Runtime,
    pub verb: Verb,
    pub bundle: Bundle,
    variant: Variant,
    count: Cell<u32>,
}

/// What is there; compared before and after.
#[derive(Debug, PartialEq, Eq)]
pub struct Scene {
    pub files: BTreeSet<PathBuf>,
    pub mounts: BTreeSet<String>,
    pub cgroups: BTreeSet<PathBuf>,
    pub processes: BTreeSet<i32>,
}

impl<'a> Bench<'a> {
    pub fn new(place: &'a Place, runtime: &'a Runtime, verb: Verb, variant: Variant) -> Res<Self> {
        let mut bundle = place.bundle(verb.name(), verb.program())?;
        vary(&mut bundle.config, variant);
        let bundle = bundle.written();
        let bench = Self { place, runtime, verb, bundle, variant, count: Cell::new(0) };
        // What is made once for all containers (a pinned skeleton, a cache) is not a left-over of a trial.
        let id = bench.next_id();
        runtime.create(&bench.bundle.dir, &id)?;
        bench.clear(&id)?;
        Ok(bench)
    }

    /// An id no trial had before.
    pub fn next_id(&self) -> String {
        self.count.set(self.count.get() + 1);
        self.place.id(&format!("{}{}", self.verb.name(), self.count.get()))
    }

    /// The verb traced, without a fault.
    pub fn undisturbed(&self, observer: &mut dyn Observer) -> Res<()> {
        let id = self.next_id();
        self.verb.prepare(self.runtime, &self.bundle, &id)?;
        let main = self.traced(&id, observer)?;
        let said = self.stderr()?;
        self.clear(&id)?;
        match main {
            Some(main) if main.status == 0 => Ok(()),
            other => Err(format!("{} does not work: {other:?}: {said}", self.verb.name()).into()),
        }
    }

    /// The verb on a container, observed; how it ended, or that it did not.
    pub fn traced(&self, id: &str, observer: &mut dyn Observer) -> Res<Option<Reaped>> {
        if self.variant == Variant::First {
            drop_skeleton()?;
        }
        let args = self.verb.arguments(self.place, &self.bundle, id)?;
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Ok(trace::trace(&mut self.runtime.command(&args), patience(), observer)?.main)
    }

    /// What is there now.
    pub fn scene(&self) -> Res<Scene> {
        process::reap_all();
        let mut files: BTreeSet<PathBuf> = leftovers::files(&self.runtime.root).into_iter().collect();
        files.extend(leftovers::files(&self.bundle.dir));
        let mounts = leftovers::mounts(" ")?;
        Ok(Scene {
            files,
            // Mount ids change when a mount is made again; what is mounted where does not.
            // The one mount that stays on purpose is documented.
            mounts: mounts
                .iter()
                .filter(|line| !line.contains(SKELETON))
                .map(|line| line.split(' ').skip(3).collect::<Vec<_>>().join(" "))
                .collect(),
            cgroups: leftovers::cgroups(&self.place.mark).into_iter().collect(),
            processes: leftovers::children()?.into_iter().collect(),
        })
    }

    /// Forces the container away by all means; for between trials.
    pub fn clear(&self, id: &str) -> Res<()> {
        self.runtime.force_delete(id)?;
        if self.verb.has_pool() {
            process::bounded(&mut self.runtime.command(&["pool", "delete", id]), patience())?;
        }
        for pid in leftovers::children()? {
            if os::kill(pid, libc::SIGKILL).is_ok() {
                process::wait(pid)?;
            }
        }
        process::reap_all();
        leftovers::remove_cgroups(&self.place.mark);
        Ok(())
    }
}

/// Where brisk keeps its skeleton mount namespace.
const SKELETON: &str = "/run/brisk-skeleton/mnt";

/// Until it is no mount any more.
fn drop_skeleton() -> Res<()> {
    loop {
        match nix::mount::umount2(SKELETON, nix::mount::MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(format!("umount {SKELETON}: {error}").into()),
        }
    }
}

/// The container's configuration in the variants of the matrix.
fn vary(config: &mut Value, variant: Variant) {
    match variant {
        Variant::Plain | Variant::Crowded | Variant::First => {}
        Variant::Classic => {
            for mount in config["mounts"].as_array_mut().into_iter().flatten() {
                match mount["options"].as_array_mut() {
                    Some(options) => options.push(json!("silent")),
                    None => mount["options"] = json!(["silent"]),
                }
            }
        }
        Variant::UserNamespace => {
            if let Some(namespaces) = config["linux"]["namespaces"].as_array_mut() {
                namespaces.push(json!({"type": "user"}));
            }
            let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }
        Variant::Overlay => config["annotations"]["run.brisk.overlay"] = json!("tmpfs"),
        Variant::Hook => {
            // busybox is where the tracer lets go: the faults of a hook's own start are not the runtime's.
            let hook = json!({"path": "/bin/busybox", "args": ["busybox", "true"]});
            config["hooks"] = json!({"createContainer": [hook]});
        }
    }
}
