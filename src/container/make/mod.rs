//! The making of a container that was planned, for `create`, `run`, `restart` and the members of pools alike: its state
//! directory, its process, and whoever wants to be told of it. On failure nothing of it is left.
//!
//! Runs in the parent.
//!
//! The modules, in the order of the work: `bundle` is what config.json and the caller say (`trust`: whose annotations count), `facts` what
//! the host says, and `planned` what would be made of both. `image` keeps brisk's binary away from it; where another container has to go first,
//! `trial` sees whether the limits can be had, and `holder` that nobody else has the overlay's directory. Then it is made here;
//! `host_mounts` are those of a container without a mount namespace. `host_hooks` run when all is over.

pub(in crate::container) mod bundle;
pub(in crate::container) mod facts;
pub(in crate::container) mod holder;
pub(in crate::container) mod host_hooks;
pub(in crate::container) mod host_mounts;
pub(in crate::container) mod image;
pub(in crate::container) mod planned;
pub(in crate::container) mod trial;
mod trust;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::SystemTime;

use bundle::Bundle;
use holder::Holder;
use planned::PlannedContainer;

use crate::cgroup::Saved;
use crate::cgroup::rdt::{self, Rdt};
use crate::container::attend::watch::WatchedProgram;
use crate::container::caller::console::ProgramConsole;
use crate::container::caller::files::Receivers;
use crate::container::caller::notify::{self, Notify};
use crate::container::job::{Begins, Task};
use crate::container::lookup::{self, Container};
use crate::container::options::{Create, Global};
use crate::error::{Context, Error, Result, Stage};
use crate::launch::{self, Launch, Moment, Running, TellAgain, Trace};
use crate::plan::namespace::NamespaceKind;
use crate::plan::step::Step;
use crate::plan::{Plan, ProgramStart};
use crate::spec::Spec;
use crate::spec::annotations::Trust;
use crate::state::{self, Dir, FIFO, Lock, PidNamespace, PoolMember, ProcessId, Record, boot_id};
use crate::sys::{fs, interrupt};

/// A container that has just been made.
pub(in crate::container) struct Created {
    pub container: Container,
    pub running: Running,
    pub spec: Spec,
    pub lock: Lock,
    pub notify: Option<Notify>,
}

/// A container that is to be made.
pub(in crate::container) struct NewContainer<'a, 't> {
    pub global: &'a Global<'a>,
    pub args: &'a Create,
    pub planned: PlannedContainer,
    /// The job that it is, if it is one.
    pub task: Option<&'a mut Task<'t>>,
    /// Whose member it is, if a pool makes it.
    pub member: Option<PoolMember>,
    /// Who is told of its process.
    pub receivers: Receivers<'a>,
}

impl NewContainer<'_, '_> {
    /// Makes it.
    pub(in crate::container) fn make(
        mut self,
        console: ProgramConsole,
        mut trace: Option<&mut Trace>,
    ) -> Result<Created> {
        if let Some(trace) = &mut trace {
            trace.mark("make the state directory");
        }
        let (global, args) = (self.global, self.args);
        let holder = Holder::begin(&self.planned.plan, self.planned.spec(), self.planned.bundle.dir())?;
        let record = self.record()?;
        let (dir, lock) = Dir::claim(&global.root, &args.id)?;
        let mut container = Container { record, dir };
        let launched = notify::prepare(global, &container.dir)
            .and_then(|()| self.launch(console, &mut container, holder.as_ref(), trace));
        match launched {
            Ok((running, notify)) => {
                Ok(Created { container, running, spec: self.planned.bundle.into_spec(), lock, notify })
            }
            Err(error) => {
                self.receivers.withdraw(global);
                let bundle = &self.planned.bundle;
                let error = give_up(global, &args.id, bundle, &container, error);
                Err(bundle.told(args, holder::name_writer(error, bundle.spec(), bundle.dir())))
            }
        }
    }

    fn record(&mut self) -> Result<Record> {
        let PlannedContainer { bundle, plan, .. } = &self.planned;
        let attended = self.task.as_ref().map(|task| task.attendance());
        let member = self.member.take();
        Ok(Record { attended, member, ..record(self.global, self.args, bundle, plan)? })
    }

    fn launch(
        &mut self,
        console: ProgramConsole,
        container: &mut Container,
        holder: Option<&Holder>,
        trace: Option<&mut Trace>,
    ) -> Result<(Running, Option<Notify>)> {
        let (global, planned) = (self.global, &self.planned);
        let now = matches!(planned.start, ProgramStart::Now(_));
        let fifo = if now { None } else { Some(make_fifo(container.dir.fd())?) };
        // Before the program runs: what it sends must not get lost.
        let notify = if now { Notify::open(global, &container.dir)? } else { None };
        let mut telling = Telling { global, planned, holder, task: &mut self.task, receivers: &mut self.receivers };
        let running = launch::launch(Launch {
            plan: &planned.plan,
            hook_output: host_hooks::output(planned.spec())?,
            warn: global.warn,
            tell: &mut |moment| telling.told(moment, container),
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
}

/// Who hears how far the process is.
struct Telling<'a, 'b, 't> {
    global: &'a Global<'a>,
    planned: &'a PlannedContainer,
    holder: Option<&'a Holder>,
    task: &'a mut Option<&'b mut Task<'t>>,
    receivers: &'a mut Receivers<'b>,
}

impl Telling<'_, '_, '_> {
    /// What is done when the process is so far.
    fn told(&mut self, moment: Moment<'_>, container: &mut Container) -> Result<TellAgain> {
        let Container { dir, record } = container;
        match moment {
            Moment::Planned => {
                dir.save_first(record)?;
                dir.write_config(self.planned.bundle.text())?;
            }
            Moment::Cloned(running) => self.save(record, dir, running)?,
            Moment::Held(_) | Moment::Due(_) => {
                let now = matches!(self.planned.start, ProgramStart::Now(_));
                let begins = if now { Begins::Now } else { Begins::Later };
                let Some(task) = &mut self.task else { return Ok(None) };
                return task.told(moment, begins, WatchedProgram::first, self.global.warn);
            }
            Moment::Ready(running) => {
                self.receivers.tell(&running.process)?;
                // Last: until nobody is waited for any more it is being created, and `delete --force` ends that.
                dir.publish()?;
            }
        }
        Ok(None)
    }

    /// The process exists: it is noted as the container's first.
    fn save(&self, record: &mut Record, dir: &Dir, running: &Running) -> Result<()> {
        let init = ProcessId::of(running.process.pid)?;
        lookup::note(record, init, running.cgroup.as_ref(), running.rdt.as_ref())?;
        if let Some(holder) = self.holder {
            // Before the state: until that is written it dies with us.
            holder.is(&record.id, init)?;
        }
        dir.save(record)
    }
}

/// Removes the record of a container that could not be made, and runs its poststop hooks. Why it could not.
pub(in crate::container) fn give_up(
    global: &Global,
    id: &str,
    bundle: &Bundle,
    container: &Container,
    why: Error,
) -> Error {
    interrupt::undo();
    if let Err(failure) = host_mounts::remove(container.record.host_mounts.as_ref()) {
        (global.warn)(&failure.to_string());
    }
    if let Ok(Some(init)) = container.record.live_init() {
        // It is in a call that the kernel lets nobody leave.
        let pid = init.pid;
        (global.warn)(&format!(
            "process {pid} was killed and does not end: `delete --force {id}` removes what is left when it has"
        ));
        return why;
    }
    let deleted = container.dir.is_there().is_ok_and(|there| !there);
    // What has its name by now is another's.
    if !deleted && let Err(failure) = container.dir.remove() {
        (global.warn)(&failure.to_string());
    }
    if let Err(error) = host_hooks::run_poststop(global, bundle.spec(), id, bundle.dir(), None) {
        (global.warn)(&error.to_string());
    }
    if deleted { state::does_not_exist(&global.root, id) } else { why }
}

fn make_fifo(dir: BorrowedFd<'_>) -> Result<OwnedFd> {
    fs::mkfifo(dir, FIFO, 0o600).at(Stage::State, || "make exec.fifo")?;
    launch::open_fifo(dir, FIFO)
}

/// What is known before anything is made: enough for `delete` to clean up whatever `create` gets to.
pub(in crate::container) fn record(global: &Global, args: &Create, bundle: &Bundle, plan: &Plan) -> Result<Record> {
    let spec = bundle.spec();
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
        bundle: bundle.dir().to_string_lossy().into_owned(),
        rootfs: rootfs.to_string_lossy().into_owned(),
        created: state::rfc3339(SystemTime::now()),
        attended: None,
        annotations: spec.annotations.clone(),
        trust: Trust::given(spec),
        boot_id: boot_id()?.to_owned(),
        creator: ProcessId::own()?,
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
