//! `checkpoint`: a running container is saved with CRIU.
//!
//! Not trusted: the mounts and streams of the container, which it may have changed: they are told by identity, never by
//! name.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::delete::delete;
use crate::container::criu::external::{self, Identity, Mounted, Source};
use crate::container::criu::images::{check_images, check_written, write};
use crate::container::criu::opts::{self, CriuFacts};
use crate::container::criu::service::{CriuFeature, Notice, RequestKind, Service, with_log};
use crate::container::criu::streams::{self, Stream};
use crate::container::lookup::{Container, locked};
use crate::container::options::{Checkpoint, Criu, Delete, Global, Selection};
use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::Version;
use crate::plan::namespace::Namespaces;
use crate::spec::status::Status;
use crate::spec::{Spec, annotations};
use crate::sys::descriptor;

/// Where the images are when nothing is said, in the current directory, as with runc.
const DEFAULT_IMAGES: &str = "checkpoint";
/// Beside the images: what the standard streams of the first process were (runc's format; engines read it).
pub(in crate::container) const DESCRIPTORS: &CStr = c"descriptors.json";
/// Beside it: the keys of those streams that were files of the host.
pub(in crate::container) const STREAMS: &CStr = c"brisk-streams.json";

/// Saves a running container.
pub fn checkpoint(global: &Global, args: &Checkpoint) -> Result<()> {
    let Checkpoint {
        id,
        criu,
        leave_running,
        pre_dump,
        status_fd,
        // `criu::opts::dump`.
        parent_path: _,
        tcp_skip_in_flight: _,
        link_remap: _,
        page_server: _,
    } = args;
    let (container, lock) = locked(global, id)?;
    match container.status()? {
        Status::Running | Status::Paused => {}
        status => {
            let what = format!("container cannot be checkpointed in the {} state", status.name());
            return Err(Error::new(Stage::State, what));
        }
    }
    if container.awaits_program()? {
        return Err(Error::new(Stage::State, "a template that waits for start cannot be checkpointed"));
    }
    if *pre_dump {
        Service::require(CriuFeature::TrackedMemory)?;
    }
    if criu.lazy_pages {
        Service::require(CriuFeature::LazyPages)?;
    }
    if let Some(fd) = *status_fd {
        check_status_fd(fd)?;
    }
    let images = Directories::make(criu)?;
    images.check()?;
    check_parent(args, &images.path)?;
    dump(args, &container, &images).map_err(|error| with_log(error, &images.log, opts::DUMP_LOG))?;
    drop(lock);
    if *leave_running || *pre_dump {
        return Ok(());
    }
    // CRIU has killed its processes: what is left is as of a container that has ended, and runc deletes it.
    let args = Delete { which: Selection::one(&**id), force: true, trace: None };
    delete(global, &args)
}

/// CRIU would leave it out with a warning in its log, and save all of the memory.
fn check_parent(args: &Checkpoint, images: &Path) -> Result<()> {
    match &args.parent_path {
        Some(parent) if parent.is_relative() && !images.join(parent).is_dir() => {
            let what = format!("--parent-path {}: no directory, counted from the image path", parent.display());
            Err(Error::new(Stage::Args, what))
        }
        _ => Ok(()),
    }
}

fn dump(args: &Checkpoint, container: &Container, images: &Directories) -> Result<()> {
    let record = &container.record;
    let spec = container.spec()?;
    if annotations::overlay(&spec)?.is_some() {
        let what = "the root is an overlay that is the container's own, and CRIU does not save its layers";
        return Err(Error::new(Stage::Rootfs, what));
    }
    let init = record.live_init()?.ok_or_else(crate::container::lookup::not_running)?;
    let cgroup = container.cgroup()?;
    let saved = cgroup.as_ref().map(|cgroup| cgroup.saved()).unwrap_or_default();
    let externals = if args.pre_dump {
        Vec::new()
    } else {
        let dirs: Vec<PathBuf> = saved.dirs.iter().map(|dir| dir.path.clone()).collect();
        let mounts = external::mounts_of(&init.pid.to_string())?;
        let mut externals = externals(&spec, Path::new(&record.bundle), &dirs, &mounts)?;
        externals.extend(write_streams(images.fd.as_fd(), streams::of(init.pid, &mounts, cgroup.as_ref())?)?);
        externals
    };
    let freezer = saved.dirs.iter().filter(|dir| dir.may_freeze()).min_by_key(|dir| dir.version == Version::V2);
    let facts = CriuFacts {
        images: images.fd.as_raw_fd(),
        work: images.work.as_ref().map(AsRawFd::as_raw_fd),
        root: &record.rootfs,
        externals: &externals,
        config: &opts::configuration(opts::CONFIGS),
        instructions: &spec.instructions,
    };
    let opts =
        opts::dump(args, &facts, &opts::Dumped { pid: init.pid, freezer: freezer.map(|dir| dir.path.as_path()) })?;
    descriptor::cloexec_from(3).at(Stage::Criu, || "close descriptors on exec")?;
    let mut service = Service::start()?;
    let kind = if args.pre_dump { RequestKind::PreDump } else { RequestKind::Dump };
    service.call(kind, &opts, &mut |notice: Notice| match (notice.script.as_str(), args.status_fd) {
        ("status-ready", Some(fd)) => tell_ready(fd),
        _ => Ok(()),
    })
}

/// The names of everything that comes from the host.
fn externals(spec: &Spec, bundle: &Path, cgroups: &[PathBuf], container: &[Mounted]) -> Result<Vec<String>> {
    let host = external::mounts_of("self")?;
    let mut sources: Vec<(Source, Identity)> = Vec::new();
    for source in external::sources(spec, bundle, cgroups)? {
        if let Some(identity) = external::identify(&source.path, &host)? {
            sources.push((source, identity));
        }
    }
    let mut externals = external::saved(&sources, container)?;
    let namespaces = Namespaces::parse(spec.namespaces())?;
    let inode = |path: &str| {
        let metadata = std::fs::metadata(path).at(Stage::Criu, || format!("look at the namespace {path}"))?;
        Ok(metadata.ino())
    };
    externals.extend(external::saved_namespaces(&namespaces, inode)?);
    Ok(externals)
}

/// Writes down what the standard streams are; the keys of those that are files outside of the container.
fn write_streams(images: BorrowedFd<'_>, streams: [Stream; 3]) -> Result<Vec<String>> {
    let (names, files): (Vec<_>, Vec<_>) = streams.into_iter().map(|stream| (stream.name, stream.file)).unzip();
    write_json(images, DESCRIPTORS, &names)?;
    write_json(images, STREAMS, &files)?;
    let mut keys: Vec<String> = files.into_iter().flatten().map(|file| file.key).collect();
    keys.dedup();
    Ok(keys)
}

fn write_json(images: BorrowedFd<'_>, name: &CStr, value: &impl serde::Serialize) -> Result<()> {
    let what = || format!("write {} beside the images", name.to_string_lossy());
    let text = serde_json::to_vec(value).at(Stage::Criu, what)?;
    write(images, name, &text).at(Stage::Criu, what)
}

fn check_status_fd(fd: i32) -> Result<()> {
    let what = || format!("--status-fd {fd}");
    let flags = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).at(Stage::Args, what)?;
    let flags = flags.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    if flags.is_none_or(|flags| flags & (libc::O_WRONLY | libc::O_RDWR) == 0) {
        return Err(Error::new(Stage::Args, format!("{}: it is not writable", what())));
    }
    Ok(())
}

/// A zero byte: the page server listens.
fn tell_ready(fd: i32) -> Result<()> {
    let what = || format!("write to --status-fd {fd}");
    std::fs::write(format!("/proc/self/fd/{fd}"), [0]).at(Stage::Criu, what)
}

/// The directories of CRIU's files.
pub(in crate::container) struct Directories {
    pub path: PathBuf,
    pub fd: OwnedFd,
    pub work: Option<OwnedFd>,
    pub log: PathBuf,
}

impl Directories {
    /// Makes what is missing, for the owner alone: images hold the container's memory.
    fn make(criu: &Criu) -> Result<Directories> {
        make(&image_path(criu))?;
        Directories::open(criu)
    }

    /// Opens the images, which must be there; makes the work directory.
    pub fn open(criu: &Criu) -> Result<Directories> {
        let path = image_path(criu);
        let fd = open(&path)?;
        let work = match &criu.work_path {
            Some(work) => {
                make(work)?;
                Some(open(work)?)
            }
            None => None,
        };
        let log = criu.work_path.clone().unwrap_or_else(|| path.clone());
        Ok(Directories { path, fd, work, log })
    }

    /// Refuses what CRIU would follow to somewhere else.
    pub fn check(&self) -> Result<()> {
        check_written(self.work.as_ref().unwrap_or(&self.fd).as_fd(), &self.log)?;
        check_images(self.fd.as_fd(), &self.path)
    }
}

fn image_path(criu: &Criu) -> PathBuf {
    criu.image_path.clone().unwrap_or_else(|| DEFAULT_IMAGES.into())
}

fn make(path: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.at(Stage::Criu, || format!("make the directory {}", path.display()))
}

fn open(path: &Path) -> Result<OwnedFd> {
    let flags = nix::fcntl::OFlag::O_RDONLY | nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, nix::sys::stat::Mode::empty())
        .at(Stage::Criu, || format!("open the directory {}", path.display()))
}
