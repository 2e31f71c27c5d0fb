//! The state of runc's and crun's containers.
//!
//! Not trusted: nothing more than brisk's own state: the directory belongs to the caller or to root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use brisk::cgroup::{Cgroup, Saved, SavedDir};
use brisk::error::{Context, Result, Stage};
use brisk::host::cgroup::{Hierarchy, Layout};
use brisk::plan::cgroup::Version;
use brisk::proc::file::words;
use brisk::spec::status::Status;
use brisk::state::{Dir, FIFO, Life, ProcessId, Record};
use brisk::sys::fs;
use nix::errno::Errno;
use serde::Deserialize;

use crate::procdir::read_small;
use crate::subject::{RuntimeKind, Subject};

/// What runc (1.0 to 1.5) writes into state.json, as far as it is of use.
#[derive(Deserialize)]
struct RuncState {
    init_process_pid: i32,
    #[serde(default)]
    init_process_start: u64,
    #[serde(default)]
    created: String,
    #[serde(default)]
    cgroup_paths: BTreeMap<String, PathBuf>,
    #[serde(default)]
    config: RuncConfig,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RuncConfig {
    /// `name=value`: the bundle and the annotations.
    labels: Option<Vec<String>>,
    rootfs: PathBuf,
}

/// What crun (1.0 to 1.29) writes into `status`.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct CrunStatus {
    pid: i32,
    #[serde(default)]
    process_start_time: u64,
    #[serde(default)]
    cgroup_path: Option<String>,
    #[serde(default)]
    bundle: String,
    #[serde(default)]
    rootfs: String,
    #[serde(default)]
    created: String,
}

/// A container of runc's; `None` where state.json is not runc's.
pub fn runc(dir: &Dir, text: &[u8]) -> Result<Option<Subject>> {
    if !Record::is_of_runc(text) {
        return Ok(None);
    }
    let state: RuncState = serde_json::from_slice(text).at(Stage::State, || "parse runc's state.json")?;
    let cgroup = Saved { dirs: state.cgroup_paths.iter().map(dir_of_runc).collect::<Result<_>>()?, scope: None };
    let labels = state.config.labels.as_deref().unwrap_or_default();
    let mut annotations: BTreeMap<String, String> =
        labels.iter().filter_map(|label| label.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
    let bundle = annotations.remove("bundle").unwrap_or_default();
    let init = ProcessId { pid: state.init_process_pid, start_time: state.init_process_start };
    subject(
        dir,
        RuntimeKind::Runc,
        init,
        cgroup,
        Words { created: state.created, bundle, rootfs: state.config.rootfs, annotations },
    )
    .map(Some)
}

/// A container of crun's; `None` where there is no state of it.
pub fn crun(dir: &Dir) -> Result<Option<Subject>> {
    let Some(text) = dir.read(c"status")? else { return Ok(None) };
    let state: CrunStatus = serde_json::from_slice(&text).at(Stage::State, || "parse crun's status")?;
    let below = state.cgroup_path.as_deref().map(|path| path.trim_matches('/')).filter(|path| !path.is_empty());
    let dirs = match below {
        Some(path) => dirs_of_crun(Path::new(path))?,
        None => Vec::new(),
    };
    let annotations = annotations_of_crun(dir)?;
    let init = ProcessId { pid: state.pid, start_time: state.process_start_time };
    let rootfs = Path::new(&state.bundle).join(&state.rootfs);
    let words = Words { created: state.created, bundle: state.bundle, rootfs, annotations };
    subject(dir, RuntimeKind::Crun, init, Saved { dirs, scope: None }, words).map(Some)
}

/// crun keeps a copy of config.json, and no annotations beside it.
fn annotations_of_crun(dir: &Dir) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Config {
        annotations: Option<BTreeMap<String, String>>,
    }
    let Some(text) = dir.config()? else { return Ok(BTreeMap::new()) };
    let config: Config = serde_json::from_slice(&text).at(Stage::State, || "parse crun's config.json")?;
    Ok(config.annotations.unwrap_or_default())
}

/// What is only shown.
struct Words {
    created: String,
    bundle: String,
    rootfs: PathBuf,
    annotations: BTreeMap<String, String>,
}

fn subject(
    dir: &Dir,
    maker: RuntimeKind,
    init: ProcessId,
    cgroup: Saved,
    Words { created, bundle, rootfs, annotations }: Words,
) -> Result<Subject> {
    let alive = init.pid > 0 && init.life()? == Life::Alive;
    let cgroup = Some(cgroup).filter(|saved| !saved.dirs.is_empty());
    let status = if !alive {
        Status::Stopped
    } else if cgroup.as_ref().map_or(Ok(false), |saved| Cgroup::open(saved)?.frozen())? {
        Status::Paused
    } else {
        match fs::access(dir.fd(), FIFO, libc::F_OK) {
            Err(Errno::ENOENT) => Status::Running,
            there => there.map(|()| Status::Created).at(Stage::State, || "look for exec.fifo")?,
        }
    };
    Ok(Subject {
        id: String::new(),
        maker,
        root: PathBuf::new(),
        status,
        init: alive.then_some(init),
        created,
        bundle,
        rootfs,
        owner: String::new(),
        annotations,
        cgroup,
    })
}

/// An entry of runc's `cgroup_paths`: a controller of v1 and its directory, or an empty name and that of cgroup2.
fn dir_of_runc((name, path): (&String, &PathBuf)) -> Result<SavedDir> {
    let (version, controllers) = match name.as_str() {
        "" => (Version::V2, controllers_in(path)?),
        name => (Version::V1, vec![name.to_owned()]),
    };
    Ok(SavedDir { path: path.clone(), mount_point: PathBuf::new(), controllers, version })
}

/// The directories of a path that is the same in all hierarchies.
fn dirs_of_crun(path: &Path) -> Result<Vec<SavedDir>> {
    let layout = Layout::read()?;
    let dir = |hierarchy: &Hierarchy, version, controllers| SavedDir {
        path: hierarchy.mount_point.join(path),
        mount_point: hierarchy.mount_point.clone(),
        controllers,
        version,
    };
    let mut dirs: Vec<SavedDir> =
        layout.v1.iter().map(|hierarchy| dir(hierarchy, Version::V1, hierarchy.controllers.clone())).collect();
    if let Some(unified) = &layout.unified {
        let controllers = controllers_in(&unified.mount_point.join(path))?;
        dirs.push(dir(unified, Version::V2, controllers));
    }
    Ok(dirs)
}

/// The controllers of a cgroup of v2; none where it is gone.
fn controllers_in(path: &Path) -> Result<Vec<String>> {
    let file = path.join("cgroup.controllers");
    match read_small(&file) {
        Ok(text) => Ok(words(&text)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(Vec::new()),
        Err(error) => Err(error).at(Stage::Cgroup, || format!("read {}", file.display())),
    }
}
