//! `create`, and the part of it that `run` shares.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::console::{Console, ConsoleRequest, ProgramConsole};
use super::facts::host_for;
use super::foreground::{self, Foreground};
use super::holder::Holder;
use super::job::ended::Ended;
use super::job::watch::Watched;
use super::job::{self, Begins, JobRequest, ProgramCgroup, Task};
use super::notify::Notify;
use super::options::{Create, Global};
use super::outline::OverlayChoice;
use super::{Container, delete, files, host_hooks, host_mounts, image, lookup, notify, outline, trust};
use crate::cgroup::Saved;
use crate::cgroup::rdt::{self, Rdt};
use crate::error::{Context, Error, Result, Stage};
use crate::host::Host;
use crate::launch::{self, Launch, Moment, Running, TellAgain, Trace};
use crate::plan::namespace::rootless::{self, Changed};
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::{Enter, Terminal};
use crate::plan::process::inside::InsideOptions;
use crate::plan::step::Step;
use crate::plan::systemd::driver::CgroupDriver;
use crate::plan::verbs;
use crate::plan::{CreateOptions, ExecRefusal, Keyring, Orphan, OverlaySize, Plan, ProgramStart};
use crate::spec::annotations::{self, Trust};
use crate::spec::validate::validate;
use crate::spec::{self, Loaded, Spec};
use crate::state::{self, Dir, FIFO, Lock, PidNamespace, PoolMember, ProcessId, Record, Wait, boot_id};
use crate::sys::fs;

/// A container that has just been made.
pub(super) struct Created {
    pub container: Container,
    pub running: Running,
    pub spec: Spec,
    pub lock: Lock,
    pub notify: Option<Notify>,
}

/// Makes a container that waits for `start`; the exit status.
pub fn create(global: &Global, args: &Create) -> Result<u8> {
    global.environment.hold_gaps(args.preserve_fds)?;
    job::run(global, &JobRequest::in_background(global, args), |task| attempt(global, args, task))
}

fn attempt(global: &Global, args: &Create, mut task: Option<&mut Task<'_>>) -> Result<Option<Ended>> {
    let Create {
        id,
        console_socket,
        trace: file,
        job,
        template,
        // `create` and its request.
        preserve_fds: _,
        die_with_parent: _,
        // `Bundle::load`.
        bundle: _,
        config: _,
        outline: _,
        // `make` and what it calls.
        pidfd_socket: _,
        pid_file: _,
        no_pivot: _,
        no_new_keyring: _,
    } = args;
    let bundle = Bundle::load(global, args)?;
    image::protect_from(&bundle.spec)?;
    // A template has no streams and no terminal: those come with `start`.
    let request = ConsoleRequest {
        socket: console_socket.as_deref(),
        terminal: bundle.terminal() && !template,
        detach: true,
        relay: job::relay(job),
    };
    let (console, ours) = Console::choose(&request)?.open()?;
    let signals = if task.is_some() { Some(foreground::take_signals()?) } else { None };
    let mut trace = file.as_ref().map(|_| Trace::default());
    let start = if *template { ProgramStart::Brought } else { ProgramStart::OnSignal };
    let form = Form { start, task: task.as_deref_mut(), member: None };
    let made = make(global, args, bundle, form, console, trace.as_mut(), &mut |_| Ok(()))?;
    files::write_trace(global, file.as_deref(), trace);
    let Created { container, running, lock, .. } = made;
    drop(lock);
    let (Some(signals), Some(task)) = (signals, &mut task) else { return Ok(None) };
    let Running { pid, pidfd, cgroup, overlay, .. } = running;
    let program = Foreground { streams: ours.streams, ..Foreground::of_child(pid, pidfd, signals, global.warn) };
    let attended = job::attend(program, Some(task), ProgramCgroup::Own(cgroup, overlay));
    task.settle(global, &container, attended.map(Some), |dir| delete::own(global, id, dir))
}

/// config.json as text and as values.
pub(super) struct Bundle {
    dir: PathBuf,
    text: Vec<u8>,
    pub(super) spec: Spec,
    /// What is odd about the text.
    warnings: Vec<String>,
}

impl Bundle {
    pub(super) fn load(global: &Global, args: &Create) -> Result<Bundle> {
        if args.outline.rootfs.is_some() {
            // The state directory has config.json, and goes with the container.
            let dir = global.root.path().join(&args.id);
            return Bundle::of(global, &dir, outline::loaded(&args.outline)?)?.under(&args.outline.overlay);
        }
        let what = || format!("find the bundle {}", args.bundle.display());
        let dir = std::path::absolute(&args.bundle).at(Stage::Bundle, what)?;
        let loaded = match &args.config {
            Some(file) => spec::load_file(file)?,
            None => spec::load_text(&dir)?,
        };
        Bundle::of(global, &dir, loaded)?.under(&args.outline.overlay)
    }

    /// With what the caller lays over the root, who needs nobody's trust.
    fn under(mut self, overlay: &OverlayChoice) -> Result<Bundle> {
        let annotations = overlay.annotations()?;
        self.change(|spec| {
            spec.annotations.extend(annotations.clone());
            spec.instructions.extend(annotations.clone());
            Ok(if annotations.is_empty() { Changed::No } else { Changed::Yes })
        })?;
        Ok(self)
    }

    /// What was read, with what the caller and its environment have to say about it.
    pub(super) fn of(global: &Global, dir: &Path, loaded: Loaded) -> Result<Bundle> {
        let Loaded { text, mut spec, warnings } = loaded;
        trust::decide(global, &mut spec)?;
        global.environment.tell_sockets(&mut spec);
        global.environment.name_receiver(&mut spec);
        Ok(Bundle { dir: dir.to_owned(), text, spec, warnings })
    }

    /// What a container is made of again: its copy of config.json, the annotations that were followed, and its limits
    /// after an `update`.
    pub(super) fn again(record: &Record, text: Vec<u8>) -> Result<Bundle> {
        let mut spec = lookup::spec_of(record, &text)?;
        // Those that the environment has added are in the record alone.
        spec.annotations = record.annotations.clone();
        record.trust.apply(&mut spec);
        let mut bundle = Bundle { dir: record.bundle.clone().into(), text, spec, warnings: Vec::new() };
        bundle.change(|spec| match &record.resources {
            Some(resources) => {
                spec.linux.get_or_insert_default().resources = Some(resources.clone());
                Ok(Changed::Yes)
            }
            None => Ok(Changed::No),
        })?;
        Ok(bundle)
    }

    /// Gives an ordinary user's bundle its user namespace.
    fn fit(&mut self, host: &Host) -> Result<()> {
        self.change(|spec| rootless::adapt(spec, host))
    }

    /// Changes what config.json says, as if it had been written there: it is looked at again, and the copy that `exec` and
    /// others read has the change, too.
    pub(super) fn change(&mut self, change: impl Fn(&mut Spec) -> Result<Changed>) -> Result<()> {
        if change(&mut self.spec)? == Changed::No {
            return Ok(());
        }
        validate(&self.spec)?;
        // From the text: the environment was added to the values meanwhile.
        let mut copy: Spec = spec::parse(&self.text, "config.json")?;
        change(&mut copy)?;
        self.text = serde_json::to_vec(&copy).at(Stage::State, || "describe the bundle")?;
        Ok(())
    }

    /// Has the copy alone say which cgroup it is: where the record is damaged, `delete --force` goes by that, and the container may
    /// have another name by then.
    pub(super) fn name_cgroup(&mut self, path: String) -> Result<()> {
        let mut copy: Spec = spec::parse(&self.text, "config.json")?;
        copy.linux.get_or_insert_default().cgroups_path = Some(path);
        self.text = serde_json::to_vec(&copy).at(Stage::State, || "describe the bundle")?;
        Ok(())
    }

    /// Where it is.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The path of the root file system; empty where config.json has none.
    pub(super) fn rootfs(&self) -> PathBuf {
        self.spec.root.as_ref().map(|root| self.dir.join(&root.path)).unwrap_or_default()
    }

    /// The text of config.json.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// What it says.
    pub(super) fn spec(&self) -> &Spec {
        &self.spec
    }

    pub(super) fn terminal(&self) -> bool {
        self.spec.process.as_ref().is_some_and(|process| process.terminal)
    }
}

/// The plan of a container, made from what is on the command line, in the bundle, and true of this host.
pub(super) fn plan_of(
    global: &Global,
    args: &Create,
    bundle: &Bundle,
    start: ProgramStart,
    terminal: Terminal,
    host: &Host,
) -> Result<Plan> {
    let orphan = if args.die_with_parent { Orphan::Dies } else { Orphan::LivesOn };
    let options = CreateOptions {
        id: args.id.clone(),
        bundle: bundle.dir.clone(),
        enter: if args.no_pivot { Enter::Move } else { Enter::Pivot },
        keyring: if args.no_new_keyring { Keyring::Inherit } else { Keyring::New },
        start,
        orphan,
        preserved_fds: global.environment.preserved(args.preserve_fds),
        cgroups: global.cgroups,
        tolerance: global.tolerance,
        terminal,
        notify: notify::directory(global, &args.id),
        joined_own: joined_own(&bundle.spec)?,
        hold: job::hold(&args.job, orphan),
        overlay_size: if args.job.result.is_some() { OverlaySize::Asked } else { OverlaySize::NotAsked },
        oddities: bundle.warnings.clone(),
    };
    verbs::create::create(&bundle.spec, host, &options)
}

/// What is asked about a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanOf {
    /// What `create` would do.
    #[default]
    Create,
    /// What `create --template` would do.
    Template,
    /// What `start` would do with the program of config.json in a template that was made of it.
    Start,
}

/// What would be done with a bundle here, and the facts it rests on.
pub fn plan(global: &Global, bundle: &Path, which: PlanOf) -> Result<(Host, Plan)> {
    let bundle = Bundle::load(global, &Create { bundle: bundle.to_owned(), ..Create::default() })?;
    let start = if which == PlanOf::Create { ProgramStart::OnSignal } else { ProgramStart::Brought };
    let dir = bundle.dir.clone();
    let Preview { host, spec, plan, .. } = preview(global, bundle, start, Host::probe()?)?;
    if which != PlanOf::Start {
        return Ok((host, plan));
    }
    let options = InsideOptions {
        id: "ID".into(),
        bundle: dir,
        terminal: Terminal::of(spec.process.as_ref(), Terminal::Socket),
        refusal: ExecRefusal::Error,
    };
    let process = spec.process.as_ref().ok_or_else(|| Error::new(Stage::Bundle, "config.json has no process"))?;
    let plan = verbs::start::start(process, &spec, &host, &options)?;
    Ok((host, plan))
}

/// A plan that is looked at, and what it was made from.
pub(super) struct Preview {
    pub host: Host,
    pub spec: Spec,
    pub plan: Plan,
    pub cgroups: CgroupDriver,
}

/// Plans a container that nobody means to make.
pub(super) fn preview(global: &Global, mut bundle: Bundle, start: ProgramStart, host: Host) -> Result<Preview> {
    let args = Create { id: "ID".into(), ..Create::default() };
    notify::offer(global, &args.id, &mut bundle.spec);
    let host = host_for(&bundle.spec, host)?;
    bundle.fit(&host)?;
    let terminal = match start {
        ProgramStart::Brought => Terminal::None,
        ProgramStart::OnSignal | ProgramStart::Now(_) => Terminal::of(bundle.spec.process.as_ref(), Terminal::Socket),
    };
    let plan = plan_of(global, &args, &bundle, start, terminal, &host)?;
    Ok(Preview { host, spec: bundle.spec, plan, cgroups: global.cgroups })
}

/// The namespaces (`CLONE_NEW*`) that are to be joined by path and are our own: what is allowed to a container
/// with a namespace of its own must not be allowed there.
fn joined_own(spec: &Spec) -> Result<u64> {
    let mut own = 0;
    for (kind, path) in Namespaces::parse(spec.namespaces())?.join {
        let ours = PathBuf::from(format!("/proc/self/ns/{}", kind.proc_name()));
        // setns(2) takes a namespace by what the file is, not by its name: a bind mount of ours counts too.
        let [theirs, ours] = [Path::new(&path), ours.as_path()].map(|path| {
            std::fs::metadata(path).at(Stage::Namespace, || format!("look at the namespace {}", path.display()))
        });
        let (theirs, ours) = (theirs?, ours?);
        if (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()) {
            own |= kind.flag();
        }
    }
    Ok(own)
}

/// What a container is made to be.
pub(super) struct Form<'a, 't> {
    /// When its program starts.
    pub start: ProgramStart,
    /// The job that it is, if it is one.
    pub task: Option<&'a mut Task<'t>>,
    /// Whose member it is, if a pool makes it.
    pub member: Option<PoolMember>,
}

/// Makes the container; on failure nothing of it is left. `make_room` takes away what has its name.
pub(super) fn make(
    global: &Global,
    args: &Create,
    mut bundle: Bundle,
    Form { start, task, member }: Form<'_, '_>,
    console: ProgramConsole,
    mut trace: Option<&mut Trace>,
    make_room: &mut dyn FnMut(&Preview) -> Result<()>,
) -> Result<Created> {
    if let Some(trace) = &mut trace {
        trace.mark("plan");
    }
    notify::offer(global, &args.id, &mut bundle.spec);
    let host = host_for(&bundle.spec, Host::probe()?)?;
    bundle.fit(&host)?;
    let plan = plan_of(global, args, &bundle, start, console.terminal, &host)?;
    global.tell_plan(&plan);
    if args.job.cpu_time.is_some() && plan.cgroup.is_none() {
        return Err(job::nothing_counts());
    }
    let attended = task.as_ref().map(|task| task.attended());
    if let Some(trace) = &mut trace {
        trace.mark("make the state directory");
    }
    // Only now: a bundle that cannot be planned replaces nothing.
    let planned = Preview { host, spec: std::mem::take(&mut bundle.spec), plan, cgroups: global.cgroups };
    make_room(&planned)?;
    let Preview { spec, plan, .. } = planned;
    bundle.spec = spec;
    let holder = Holder::begin(&bundle.spec, &bundle.dir)?;
    let dir = Dir::create(&global.root, &args.id)?;
    let prepared = dir.lock(Wait::Forever).and_then(|lock| Ok((lock, record(global, args, &bundle, &plan)?)));
    let (lock, record) = match prepared {
        Ok((Some(lock), record)) => (lock, Record { attended, member, ..record }),
        // Deleted by force in this instant.
        Ok((None, _)) => return Err(state::does_not_exist(&global.root, &args.id)),
        Err(error) => {
            if let Err(failure) = dir.remove() {
                (global.warn)(&failure.to_string());
            }
            return Err(error);
        }
    };
    let mut container = Container { record, dir };
    let new = NewContainer { global, args, bundle: &bundle, plan: &plan, start, task, holder: holder.as_ref() };
    let result = notify::prepare(global, &container.dir).and_then(|()| new.launch(console, &mut container, trace));
    match result {
        Ok((running, notify)) => Ok(Created { container, running, spec: bundle.spec, lock, notify }),
        Err(error) => {
            if let (Some(path), Some(init)) = (&args.pid_file, container.record.init) {
                files::withdraw_pid(global, path, init.pid);
            }
            give_up(global, &args.id, &bundle, &container);
            Err(error)
        }
    }
}

/// Removes the record of a container that could not be made, and runs its poststop hooks.
pub(super) fn give_up(global: &Global, id: &str, bundle: &Bundle, container: &Container) {
    if let Err(failure) = host_mounts::remove(container.record.host_mounts.as_ref()) {
        (global.warn)(&failure.to_string());
    }
    if let Err(failure) = container.dir.remove() {
        (global.warn)(&failure.to_string());
    }
    if let Err(error) = host_hooks::run_poststop(global, &bundle.spec, (id, &bundle.dir), None) {
        (global.warn)(&error.to_string());
    }
}

/// A container that has a state directory and a plan, and nothing else yet.
struct NewContainer<'a, 't> {
    global: &'a Global<'a>,
    args: &'a Create,
    bundle: &'a Bundle,
    plan: &'a Plan,
    start: ProgramStart,
    task: Option<&'a mut Task<'t>>,
    holder: Option<&'a Holder>,
}

impl NewContainer<'_, '_> {
    fn launch(
        mut self,
        console: ProgramConsole,
        container: &mut Container,
        trace: Option<&mut Trace>,
    ) -> Result<(Running, Option<Notify>)> {
        let now = matches!(self.start, ProgramStart::Now(_));
        let fifo = if now { None } else { Some(make_fifo(container.dir.fd())?) };
        // Before the program runs: what it sends must not get lost.
        let notify = if now { Notify::open(self.global, &container.dir)? } else { None };
        let (plan, warn, hook_output) = (self.plan, self.global.warn, host_hooks::output(&self.bundle.spec)?);
        let running = launch::launch(Launch {
            plan,
            hook_output,
            warn,
            tell: &mut |moment, running| self.told(moment, running, container),
            streams: console.streams,
            console: console.socket,
            fifo,
            init: None,
            waiting: None,
            cgroup: None,
            trace,
            due: None,
        })?;
        Ok((running, notify))
    }

    /// What is done when the process is so far.
    fn told(&mut self, moment: Moment, running: Option<&Running>, container: &mut Container) -> Result<TellAgain> {
        let Container { dir, record } = container;
        match (moment, running) {
            (Moment::Cloned, Some(running)) => self.save(record, dir, running)?,
            (Moment::Held | Moment::Due, Some(running)) => {
                let begins = if matches!(self.start, ProgramStart::Now(_)) { Begins::Now } else { Begins::Later };
                let Some(task) = &mut self.task else { return Ok(None) };
                return task.told(moment, begins, Watched::first(running), self.global.warn);
            }
            (Moment::Ready, Some(running)) => publish(self.global, self.args, self.bundle, dir, running)?,
            (Moment::Planned, _) | (Moment::Cloned | Moment::Held | Moment::Ready | Moment::Due, None) => {
                dir.save_first(record)?;
                dir.write_config(&self.bundle.text)?;
            }
        }
        Ok(None)
    }

    /// The process exists: it is noted as the container's first.
    fn save(&self, record: &mut Record, dir: &Dir, running: &Running) -> Result<()> {
        let init = ProcessId::of(running.pid)?;
        lookup::note(record, init, running.cgroup.as_ref(), running.rdt.as_ref())?;
        if let Some(holder) = self.holder {
            // Before the state: until that is written it dies with us.
            holder.is(&record.id, init)?;
        }
        dir.save(record)
    }
}

/// The container is set up: whoever asked to be told learns of it.
fn publish(global: &Global, args: &Create, bundle: &Bundle, dir: &Dir, running: &Running) -> Result<()> {
    if let Some(path) = &args.pid_file {
        files::write_pid(path, running.pid)?;
    }
    if let Some(path) = pidfd_receiver(global, &bundle.spec) {
        files::send_pidfd(&path, running.pidfd.as_fd(), b" ")?;
    }
    if let Some(path) = &args.pidfd_socket {
        files::send_pidfd(path, running.pidfd.as_fd(), b"pidfd")?;
    }
    // Last: until nobody is waited for any more it is being created, and `delete --force` ends that.
    dir.publish()
}

fn make_fifo(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    fs::mkfifo(dir, FIFO, 0o600).at(Stage::State, || "make exec.fifo")?;
    launch::open_fifo(dir, FIFO)
}

/// crun's way to ask for a pidfd; the annotation goes before the environment.
fn pidfd_receiver(global: &Global, spec: &Spec) -> Option<PathBuf> {
    let annotation = annotations::value(&spec.instructions, annotations::PIDFD_RECEIVER).map(PathBuf::from);
    annotation.or_else(|| global.environment.pidfd_receiver.clone())
}

/// What is known before anything is made: enough for `delete` to clean up whatever `create` gets to.
pub(super) fn record(global: &Global, args: &Create, bundle: &Bundle, plan: &Plan) -> Result<Record> {
    let spec = &bundle.spec;
    let rootfs = bundle.rootfs();
    let own_pid = spec.namespace(NamespaceKind::Pid.name()).is_some_and(|namespace| namespace.joined().is_none());
    let cgroup = match &plan.cgroup {
        Some(cgroup) => lookup::cgroup_value(&Saved::planned(cgroup, plan.scope.as_ref()))?,
        None => serde_json::Value::Null,
    };
    Ok(Record {
        version: if args.template { Record::template_version() } else { Record::version() },
        oci_version: spec.oci_version.clone(),
        id: args.id.clone(),
        bundle: bundle.dir.to_string_lossy().into_owned(),
        rootfs: rootfs.to_string_lossy().into_owned(),
        created: state::rfc3339(SystemTime::now()),
        attended: None,
        annotations: spec.annotations.clone(),
        trust: Trust::given(spec),
        boot_id: boot_id()?.to_owned(),
        creator: ProcessId::of(crate::sys::process::getpid())?,
        init: None,
        outcome: None,
        pid_namespace: if own_pid { PidNamespace::Own } else { PidNamespace::Shared },
        gained_namespaces: 0,
        host_mounts: host_mounts::find(spec, &rootfs)?,
        added_mounts: Vec::new(),
        inherits_keyring: args.no_new_keyring,
        no_pivot: args.no_pivot,
        has_descriptors: global.environment.preserved(args.preserve_fds) > 0,
        no_process: spec.process.is_none(),
        template: args.template,
        member: None,
        build: if args.template { state::build() } else { String::new() },
        furnishing: false,
        poststop: spec.hooks.as_ref().is_some_and(|hooks| !hooks.poststop.is_empty()),
        resources: None,
        cgroup,
        rdt: planned_rdt(plan)?,
    })
}

/// The resctrl group that will be made.
fn planned_rdt(plan: &Plan) -> Result<serde_json::Value> {
    let wanted = plan.steps.iter().find_map(|step| if let Step::Rdt(plan) = step { Some(plan) } else { None });
    let Some(wanted) = wanted else { return Ok(serde_json::Value::Null) };
    lookup::rdt_value(&Rdt::planned(&rdt::mount_point()?, wanted))
}
