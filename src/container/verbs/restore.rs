//! `restore`: a container is brought back from what `checkpoint` saved.
//!
//! Not trusted: the lists of streams in the image directory, which may have come from another machine, and links there. What
//! CRIU reads of its own files is CRIU's to mistrust; `delete --force` ends it.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::checkpoint::{DESCRIPTORS, Directories, STREAMS};
use super::delete;
use crate::cgroup::rdt::{self, Rdt};
use crate::cgroup::{Cgroup, Leftover, SavedScope, scope_manager};
use crate::container::attend::attended::Attended;
use crate::container::attend::{self, signals};
use crate::container::caller::console::{Console, ConsoleRequest};
use crate::container::caller::files::Receivers;
use crate::container::caller::streams::{self, CALLERS, ForProgram, Relay};
use crate::container::criu::external::{self, Rejoin};
use crate::container::criu::labels::{self, WantedLabel};
use crate::container::criu::mounts::with_bound;
use crate::container::criu::opts::{self, CriuFacts, Restored};
use crate::container::criu::service::{Notice, RequestKind, Service, inherit, with_log};
use crate::container::criu::streams::OutsideFile;
use crate::container::lookup::{self, Container};
use crate::container::make::bundle::Bundle;
use crate::container::make::facts::host_for;
use crate::container::make::planned::plan_of;
use crate::container::make::{give_up, host_hooks, record};
use crate::container::options::{Create, Global, Restore};
use crate::error::{Context, Error, Result, Stage, errno_text};
use crate::host::Host;
use crate::launch;
use crate::plan::Plan;
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::Terminal;
use crate::plan::process::hooks;
use crate::plan::rootfs::options;
use crate::plan::step::Step;
use crate::plan::{ExecRefusal, ProgramStart};
use crate::proc;
use crate::spec::Spec;
use crate::spec::mounts::Mount;
use crate::state::{CONFIG, CRIU_ROOT, Dir, ProcessId};
use crate::sys::fs::RegularFile;
use crate::sys::path::{Missing, resolve_or_make};
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::poll::{self, PollFd, PollFlags};
use crate::sys::{descriptor, fs, process, signal, socket};

/// More than any list of streams has.
const LIST_LIMIT: u64 = 64 * 1024;

/// Brings a saved container back; its exit status.
pub fn restore(global: &Global, args: &Restore) -> Result<u8> {
    let Restore {
        id,
        criu,
        bundle,
        console_socket,
        pid_file,
        detach,
        no_subreaper,
        no_pivot,
        lsm_profile,
        // `criu::opts::restore`.
        tcp_close: _,
        // `criu::opts::restore`.
        lsm_mount_context: _,
    } = args;
    let create = Create { id: id.clone(), bundle: Some(bundle.clone()), no_pivot: *no_pivot, ..Create::default() };
    let bundle = Bundle::load(global, &create)?;
    let receivers = Receivers::find(pid_file.as_deref(), None)?;
    let images = Directories::open(criu)?;
    images.check()?;
    let request = ConsoleRequest {
        socket: console_socket.as_deref(),
        terminal: bundle.terminal(),
        detach: *detach,
        relay: Relay::Needed,
    };
    let console = Console::choose(&request)?;
    if !detach && !no_subreaper {
        process::set_subreaper().at(Stage::Process, || "become a subreaper")?;
    }
    let signals = if *detach { None } else { Some(signals::take()?) };
    let terminal = Terminal::of(bundle.spec().process.as_ref(), Terminal::Socket);
    let host = host_for(bundle.spec(), Host::probe()?)?;
    let plan = plan_of(global, &create, &bundle, ProgramStart::Now(ExecRefusal::Error), terminal, &host)?;
    let record = record(global, &create, &bundle, &plan)?;
    let saved = SavedStreams::read(&images)?;
    let (console, (relayed, streams)) = match console {
        Console::Socket(socket) => (Some(socket), Default::default()),
        Console::Relayed(_) => (None, streams::relay(Relay::Restored(saved.are_callers()))?),
        // CRIU gives the terminal back to where it was; there is nothing to send.
        Console::Callers | Console::Foreground => (None, Default::default()),
    };
    let (dir, lock) = Dir::claim(&global.root, &args.id)?;
    let mut container = Container { record, dir };
    let mut restoring = Restoring {
        global,
        args,
        bundle: &bundle,
        plan: &plan,
        saved,
        labels: labels::wanted(bundle.spec().process.as_ref(), lsm_profile.as_deref()),
        receivers,
        console,
        streams,
        pid: None,
        halted: Vec::new(),
        master: None,
        cgroup: None,
        rdt: None,
    };
    if let Err(mut error) = restoring.bring_back(&mut container) {
        if restoring.lacks_a_file() && error.hint().is_none() {
            error = error.with_hint(
                "a standard stream was a file when this was saved: give the same file to standard output or error again \
                 (`>>FILE`), or use --detach with one of the same length",
            );
        }
        restoring.clean_up();
        restoring.receivers.withdraw(global);
        let error = give_up(global, &args.id, &bundle, &container, error);
        return Err(with_log(error, &images.log, opts::RESTORE_LOG));
    }
    drop(lock);
    let (Some(signals), Some(pid)) = (signals, restoring.pid) else { return Ok(0) };
    let process = ProcessHandle::open(pid).at(Stage::Process, || "open a pidfd of the container");
    let master = restoring.master.take();
    // A pipe of which we have the program's end, too, would never end.
    drop(std::mem::take(&mut restoring.streams));
    let status = process.and_then(|process| {
        let program = Attended { master, streams: relayed, ..Attended::of_child(process, signals, global.warn) };
        attend::to_end(program).map(|ended| ended.status())
    });
    delete::own(global, &args.id, &container.dir)?;
    status
}

struct Restoring<'a> {
    global: &'a Global<'a>,
    args: &'a Restore,
    bundle: &'a Bundle,
    plan: &'a Plan,
    saved: SavedStreams,
    /// What the first process must have, until somebody has looked.
    labels: Vec<WantedLabel>,
    receivers: Receivers<'a>,
    console: Option<OwnedFd>,
    /// What takes the place of the caller's streams.
    streams: ForProgram,
    pid: Option<i32>,
    /// Pidfds of what was restored and is not to run.
    halted: Vec<OwnedFd>,
    master: Option<OwnedFd>,
    cgroup: Option<Cgroup>,
    rdt: Option<Rdt>,
}

impl Restoring<'_> {
    fn bring_back(&mut self, container: &mut Container) -> Result<()> {
        container.dir.save(&container.record)?;
        container.dir.write(CONFIG, self.bundle.text())?;
        make_mount_points(&container.record.rootfs, self.bundle.spec(), self.bundle.dir())?;
        // In CRIU's mount namespace only: it wants a mount point whose parent nothing covers.
        let root = self.global.root.path().join(&self.args.id).join(OsStr::from_bytes(CRIU_ROOT.to_bytes()));
        fs::mkdir(container.dir.fd(), CRIU_ROOT, 0o755).at(Stage::Criu, || format!("make {}", root.display()))?;
        let result = self.with_root(container, &root);
        // In our mount namespace nothing was ever mounted on it.
        let removed = fs::unlink(container.dir.fd(), CRIU_ROOT, libc::AT_REMOVEDIR);
        result.and(removed.at(Stage::Criu, || format!("remove {}", root.display())))
    }

    fn with_root(&mut self, container: &mut Container, root: &Path) -> Result<()> {
        let streams = self.streams()?;
        descriptor::cloexec_from(3).at(Stage::Criu, || "close descriptors on exec")?;
        let (joined, opened) = rejoin(self.bundle.spec())?;
        let mut inherited = Vec::new();
        for (key, fd) in streams.iter().chain(&opened) {
            inherit(fd)?;
            inherited.push((key.clone(), fd.as_raw_fd()));
        }
        let (from, to) = (c_string(Path::new(&container.record.rootfs))?, c_string(root)?);
        let (mut service, images) = with_bound(from, to, || {
            Ok((Service::restoring(self.bundle.spec().process.as_ref())?, Directories::open(&self.args.criu)?))
        })?;
        // What CRIU restores are its children: they are in its cgroups from the start.
        self.enter_cgroups(service.pid())?;
        let dirs: Vec<PathBuf> =
            self.plan.cgroup.iter().flat_map(|c| c.dirs.iter().map(|dir| dir.full_path())).collect();
        let sources = external::sources(self.bundle.spec(), self.bundle.dir(), &dirs)?;
        let facts = CriuFacts {
            images: images.fd.as_raw_fd(),
            work: images.work.as_ref().map(AsRawFd::as_raw_fd),
            root: &root.to_string_lossy(),
            externals: &external::restored(&sources),
            config: &opts::configuration(opts::CONFIGS),
            instructions: &self.bundle.spec().instructions,
        };
        let cgroups = if self.cgroup.is_some() { cgroups_of(service.pid())? } else { Vec::new() };
        let opts =
            opts::restore(self.args, &facts, &Restored { inherited: &inherited, joined: &joined, cgroups: &cgroups })?;
        service.call(RequestKind::Restore, &opts, &mut |notice| self.notice(container, notice))?;
        match (self.pid, self.labels.first()) {
            // CRIU has asked nobody before it let them go.
            (Some(pid), None) if !self.receivers.were_told() => self.receivers.tell_pid(pid),
            (Some(_), None) => Ok(()),
            (Some(_), Some(label)) => Err(label.lost("went on before criu let anybody look at its label")),
            (None, _) => Err(Error::new(Stage::Criu, "criu has not told the container's process")),
        }
    }

    /// Whether a pipe stands in for what was a file.
    fn lacks_a_file(&self) -> bool {
        self.saved.files.iter().zip(&self.streams).any(|(file, other)| file.is_some() && other.is_some())
    }

    /// The standard streams that came from outside come from us: CRIU's key of each, and a copy of ours or of what stands in for it.
    fn streams(&self) -> Result<Vec<(String, OwnedFd)>> {
        let mut streams: Vec<(String, OwnedFd)> = Vec::new();
        let SavedStreams { pipes, files } = &self.saved;
        let files = files.iter().map(|file| file.as_ref().map(|file| &file.key)).collect();
        for list in [pipes.iter().map(Option::as_ref).collect(), files] {
            let list: Vec<Option<&String>> = list;
            let callers = CALLERS.into_iter().zip(&self.streams);
            let callers = callers.map(|(caller, other)| other.as_ref().map_or(caller, AsFd::as_fd));
            for (key, stream) in list.into_iter().zip(callers) {
                let Some(key) = key.filter(|key| streams.iter().all(|(known, _)| known != *key)) else {
                    continue;
                };
                // Not 0 to 2: CRIU's own standard error is a file of ours.
                streams.push((key.clone(), descriptor::dup(stream, 3).at(Stage::Criu, || "copy a standard stream")?));
            }
        }
        Ok(streams)
    }

    fn enter_cgroups(&mut self, pid: i32) -> Result<()> {
        match (&self.plan.cgroup, &self.plan.scope) {
            (Some(plan), Some(scope)) => {
                Cgroup::refuse_frozen(plan)?;
                let mut manager = scope_manager(scope.unit.owner)?;
                let starting = manager.start_scope(scope, pid)?;
                manager.wait_scope(starting)?;
                self.cgroup = Some(Cgroup::adopt(plan, SavedScope::of(scope), pid)?);
            }
            (Some(plan), None) => {
                let cgroup = self.cgroup.insert(Cgroup::create(plan)?);
                cgroup.attach(pid)?;
            }
            (None, _) => {}
        }
        for step in &self.plan.steps {
            if let Step::Rdt(plan) = step {
                let group = self.rdt.insert(Rdt::create(&rdt::mount_point()?, plan)?);
                rdt::join(&group.task_files(), pid)?;
            }
        }
        Ok(())
    }

    fn notice(&mut self, container: &mut Container, notice: Notice) -> Result<()> {
        match notice.script.as_str() {
            "setup-namespaces" => self.run_hooks(notice.pid),
            "post-restore" => self.save(container, notice.pid),
            "pre-resume" => self.look_before_it_runs(),
            "orphan-pts-master" => match (notice.fd, &self.console) {
                (Some(master), Some(socket)) => socket::send_fds(socket.as_fd(), b"/dev/ptmx", &[master.as_fd()])
                    .at(Stage::Console, || "send the terminal to the console socket"),
                (master, _) => {
                    self.master = master;
                    Ok(())
                }
            },
            _ => Ok(()),
        }
    }

    /// The hooks that expect namespaces without processes.
    fn run_hooks(&self, pid: i32) -> Result<()> {
        let spec = self.bundle.spec();
        let output = host_hooks::output(spec)?;
        hooks::runtime(spec, &self.args.id, self.bundle.dir())
            .try_for_each(|list| launch::run_hooks(&list, pid, &output))
    }

    /// All processes are there and stopped: from here on it is a running container.
    fn save(&mut self, container: &mut Container, pid: i32) -> Result<()> {
        self.pid = Some(pid);
        let record = &mut container.record;
        lookup::note(record, ProcessId::of(pid)?, self.cgroup.as_ref(), self.rdt.as_ref())?;
        record.gained_namespaces = gained(self.bundle.spec(), pid)?;
        container.dir.save(record)
    }

    /// All processes have the credentials and labels that they will have, and CRIU holds them: next it lets them go. Nobody is told
    /// of a process that is not what was asked for.
    fn look_before_it_runs(&mut self) -> Result<()> {
        let labels = std::mem::take(&mut self.labels);
        let Some(pid) = self.pid else { return Ok(()) };
        let looked = labels.iter().try_for_each(|label| label.check(pid));
        let Err(error) = looked.and_then(|()| self.receivers.tell_pid(pid)) else { return Ok(()) };
        // Whatever we answer, CRIU goes on. Killed now, the first of a pid namespace would wait for the others, these for CRIU to
        // reap them, and CRIU for the first.
        if let Err(failure) = self.halt(pid) {
            signal::kill(pid, libc::SIGKILL).at(Stage::Signal, || format!("kill process {pid}"))?;
            (self.global.warn)(&failure.to_string());
        }
        Err(error)
    }

    /// Has SIGSTOP wait for all that was restored. (CRIU does not work without CONFIG_PROC_CHILDREN either.)
    fn halt(&mut self, first: i32) -> Result<()> {
        let mut pids = vec![first];
        while let Some(pid) = pids.pop() {
            let pidfd = pidfd::open(pid).at(Stage::Process, || format!("open a pidfd of process {pid}"))?;
            pidfd::signal(pidfd.as_fd(), libc::SIGSTOP).at(Stage::Signal, || format!("stop process {pid}"))?;
            self.halted.push(pidfd);
            let children =
                proc::stat::children(pid).at(Stage::Process, || format!("list the children of process {pid}"))?;
            pids.extend(children);
        }
        Ok(())
    }

    /// After a failure. CRIU kills what it has restored; what it could not is in the cgroup.
    fn clean_up(&mut self) {
        for pidfd in self.halted.drain(..) {
            if let Err(errno) = pidfd::signal(pidfd.as_fd(), libc::SIGKILL) {
                (self.global.warn)(&format!("kill what was restored: {}", errno_text(errno)));
            }
        }
        if let Some(pid) = self.pid {
            // Ours to reap, so the number still is that of the process we mean. ESRCH: CRIU has seen to it. One in a call that the
            // kernel lets nobody leave stays with its container.
            if let Ok(pidfd) = pidfd::open(pid) {
                let _ = pidfd::kill(pidfd.as_fd(), libc::SIGKILL);
                let _ = poll::undisturbed(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], poll::within(PATIENCE));
            }
            let _ = process::wait(pid, libc::__WALL | libc::WNOHANG);
        }
        let cgroup = self.cgroup.take().map(|cgroup| cgroup.remove(Leftover::Kill));
        let rdt = self.rdt.take().map(|rdt| rdt.remove());
        for failure in [cgroup, rdt].into_iter().flatten().filter_map(Result::err) {
            (self.global.warn)(&failure.to_string());
        }
    }
}

/// How long what was killed may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `checkpoint` has noted of the standard streams: CRIU's keys of those that come from outside, by number.
struct SavedStreams {
    pipes: Vec<Option<String>>,
    /// And devices.
    files: Vec<Option<OutsideFile>>,
}

impl SavedStreams {
    fn read(images: &Directories) -> Result<SavedStreams> {
        let names: Vec<String> = read_json(images, DESCRIPTORS)?;
        let pipes = names.into_iter().map(|name| Some(name).filter(|name| name.contains("pipe:"))).collect();
        let is_there = fs::stat_at(images.fd.as_fd(), STREAMS).is_ok();
        let files = if is_there { read_json(images, STREAMS)? } else { Vec::new() };
        Ok(SavedStreams { pipes, files })
    }

    /// Which of the caller's streams are the files that the program had.
    fn are_callers(&self) -> [bool; 3] {
        [0, 1, 2].map(|number| {
            let (saved, stat) = (self.files.get(number).and_then(Option::as_ref), fs::stat(CALLERS[number]));
            saved
                .zip(stat.ok())
                .is_some_and(|(file, stat)| fs::kind(&stat) == libc::S_IFREG && file.is(stat.st_dev, stat.st_ino))
        })
    }
}

fn read_json<T: serde::de::DeserializeOwned>(images: &Directories, name: &CStr) -> Result<T> {
    let path = images.path.join(OsStr::from_bytes(name.to_bytes()));
    let what = || format!("read {}", path.display());
    // Nothing but files is there ([`Directories::check`]).
    let file = RegularFile::open(images.fd.as_fd(), name).at(Stage::Criu, what)?;
    let file = file.ok_or_else(|| Error::new(Stage::Criu, format!("{} is not a file", path.display())))?;
    let text = file.read(LIST_LIMIT).at(Stage::Criu, what)?;
    serde_json::from_slice(&text).at(Stage::Criu, || format!("parse {}", path.display()))
}

fn c_string(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new(Stage::Criu, format!("{} contains a NUL byte", path.display())))
}

/// Namespaces by path for CRIU to open, and descriptors of the others.
#[expect(clippy::type_complexity, reason = "two lists, as CRIU takes them")]
fn rejoin(spec: &Spec) -> Result<(Vec<(String, String)>, Vec<(String, OwnedFd)>)> {
    let (mut joined, mut opened) = (Vec::new(), Vec::new());
    for rejoin in external::restored_namespaces(&Namespaces::parse(spec.namespaces())?)? {
        match rejoin {
            Rejoin::Path(kind, path) => joined.push((kind.to_owned(), path)),
            Rejoin::Descriptor { key, path } => {
                let file = fs::open_namespace(&path).at(Stage::Namespace, || format!("open the namespace {path}"))?;
                opened.push((key.to_owned(), file));
            }
        }
    }
    Ok((joined, opened))
}

/// The cgroups of a process: controllers and path. CRIU moves the saved ones there, whatever they were called.
fn cgroups_of(pid: i32) -> Result<Vec<(String, String)>> {
    let what = || format!("read /proc/{pid}/cgroup");
    let text = proc::cgroup::read(&pid.to_string()).at(Stage::Criu, what)?;
    let memberships = proc::cgroup::parse(&text).at(Stage::Criu, what)?;
    let path = |own: &proc::cgroup::Membership<'_>| String::from_utf8_lossy(own.path).into_owned();
    let roots = memberships.iter().flat_map(|own| own.controllers.split(',').map(|name| (name.to_owned(), path(own))));
    Ok(roots.collect())
}

/// The namespaces of a process that are not ours, and that config.json does not name.
fn gained(spec: &Spec, pid: i32) -> Result<u64> {
    let named = Namespaces::parse(spec.namespaces())?;
    let mut gained = 0;
    for kind in NamespaceKind::ALL.into_iter().filter(|kind| !named.contains(*kind)) {
        let read = |of: &str| {
            let path = format!("/proc/{of}/ns/{}", kind.proc_name());
            std::fs::read_link(&path).at(Stage::Namespace, || format!("read {path}"))
        };
        if read("self")? != read(&pid.to_string())? {
            gained |= kind.flag();
        }
    }
    Ok(gained)
}

/// CRIU mounts, but does not make what it mounts on. What a file system of the container's own held it brings back; what lies
/// in a bind mount is made in its source.
fn make_mount_points(rootfs: &str, spec: &Spec, bundle: &Path) -> Result<()> {
    for (index, mount) in spec.mounts.iter().enumerate() {
        let root = Path::new(rootfs);
        let dest = mount.place(root);
        let dest = dest.as_str();
        let below = |other: &Mount| dest.strip_prefix(&*other.place(root))?.strip_prefix('/');
        // The last one that was mounted there is what is seen.
        let covering = spec.mounts[..index].iter().rev().find_map(|other| Some((other, below(other)?)));
        let (place, dest) = match covering {
            None => (PathBuf::from(rootfs), dest),
            Some((other, rest)) if other.is_bind() && !options::parse(&other.options)?.is_read_only() => {
                (bundle.join(other.source.as_deref().unwrap_or_default()), rest)
            }
            Some(_) => continue,
        };
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        let place = fs::open(fs::CWD, &c_string(&place)?, flags, 0)
            .at(Stage::Rootfs, || format!("open {} for mount points", place.display()))?;
        let source = bundle.join(mount.source.as_deref().unwrap_or_default());
        let is_file = mount.is_bind() && std::fs::metadata(source).is_ok_and(|metadata| !metadata.is_dir());
        let (missing, mode) = if is_file { (Missing::File, 0o644) } else { (Missing::Directory, 0o755) };
        resolve_or_make(place.as_fd(), &c_string(Path::new(dest))?, missing, mode, 0)
            .at(Stage::Rootfs, || format!("make the mount point {}", mount.destination))?;
    }
    Ok(())
}
