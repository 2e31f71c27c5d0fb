//! Walks the parent's steps, one after the other, and answers the child meanwhile.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;

use super::overlay::{self, UpperLayer};
use super::running::{Launch, Moment, Running, TellAgain, destroy_in, has_ended, sync_error};
use super::{fds, hooks, host_objects, idmap, last_calls, launcher, listener, netdev};
use crate::cgroup::rdt::{self, Rdt};
use crate::cgroup::systemd::{Manager, Starting};
use crate::cgroup::{Cgroup, SavedScope, scope_manager};
use crate::child::{self, Inherited, SecondBlock};
use crate::error::{Context, Deed, Doing, Error, Result, Stage};
use crate::plan::cgroup::entry::{IntoCgroup, Part};
use crate::plan::process::rlimits;
use crate::plan::rootfs::mount_op::HostTree;
use crate::plan::step::{CloneStep, ComeBack, Step};
use crate::sys::clone::{self, CloneArgs, Cloned};
use crate::sys::pidfd::ProcessHandle;
use crate::sys::poll;
use crate::sys::process::{self, Exit};
use crate::sys::shared::{Progress, Times};
use crate::sys::{affinity, descriptor, fs, memory, socket};
use crate::wire::{self, Message, SyncPoint};

/// The parent while it walks.
pub(super) struct Parent<'a> {
    pub(super) launch: Launch<'a>,
    pub(super) wire: OwnedFd,
    child_wire: Option<OwnedFd>,
    namespaces: Vec<OwnedFd>,
    trees: Vec<OwnedFd>,
    idmaps: Vec<OwnedFd>,
    pub(super) child: Option<ProcessHandle>,
    /// Whether `child` is the container's process, where the plan has a launcher that makes it; until then it is the launcher.
    pub(super) launched: bool,
    /// The launcher that has made `child`, until it is reaped.
    pub(super) launcher: Option<ProcessHandle>,
    rdt: Option<Rdt>,
    pub(super) overlay: Option<OwnedFd>,
    pub(super) listener_fd: Option<i32>,
    /// What the launched process said before its launcher did.
    pub(super) early: VecDeque<Message>,
    /// What followed the last fault.
    pub(super) said: String,
    pub(super) reaped: Option<Exit>,
    /// When whoever looks after the process wants to do so.
    pub(super) due: TellAgain,
    scope: Option<(Manager, Starting)>,
    times: Option<Times>,
    progress: Option<&'static Progress>,
}

impl<'a> Parent<'a> {
    pub(super) fn new(launch: Launch<'a>) -> Result<Parent<'a>> {
        let due = launch.due;
        let (wire, child_wire) = socket::pair().at(Stage::Sync, || "make a socket pair")?;
        socket::receive_in_pieces(wire.as_fd()).at(Stage::Sync, || "limit the time of a receive")?;
        let times = match &launch.trace {
            Some(_) => {
                Some(Times::new(launch.plan.child_ops().count()).at(Stage::Sync, || "map memory for the trace")?)
            }
            None => None,
        };
        Ok(Parent {
            launch,
            wire,
            child_wire: Some(child_wire),
            namespaces: Vec::new(),
            trees: Vec::new(),
            idmaps: Vec::new(),
            child: None,
            launched: false,
            launcher: None,
            rdt: None,
            overlay: None,
            listener_fd: None,
            early: VecDeque::new(),
            said: String::new(),
            reaped: None,
            due,
            scope: None,
            times,
            progress: None,
        })
    }

    pub(super) fn walk(&mut self) -> Result<()> {
        let plan = self.launch.plan;
        for step in &plan.steps {
            if let Some(trace) = &mut self.launch.trace {
                trace.step(step);
            }
            self.step(step)?;
        }
        self.end_launcher();
        Ok(())
    }

    /// The process, once every step is done.
    pub(super) fn finish(mut self) -> Result<Running> {
        if let (Some(trace), Some(times)) = (&mut self.launch.trace, &self.times) {
            trace.child(self.launch.plan, times);
        }
        let process = self.child.take().ok_or_else(|| sync_error("the plan has no clone"))?;
        let overlay =
            self.overlay.take().zip(overlay::place(self.launch.plan)).map(|(fd, place)| UpperLayer { fd, place });
        Ok(Running { process, cgroup: self.launch.cgroup.take(), rdt: self.rdt, overlay })
    }

    /// Kills the child, if there is one, and closes what was opened; whether it has ended.
    pub(super) fn abandon(mut self) -> (Launch<'a>, bool) {
        self.end_launcher();
        if let Some(child) = &self.child
            && self.reaped.is_none()
        {
            let (launch, awaited) = (&self.launch, Step::Await(SyncPoint::Launched));
            self.reaped = match !self.launched && launch.plan.steps.contains(&awaited) {
                true => launcher::destroy(child, self.progress, launch.cgroup.as_ref(), launch.warn),
                false => destroy_in(child, launch.cgroup.as_ref()),
            };
        }
        if let Some(Err(error)) = self.rdt.as_ref().map(Rdt::remove) {
            (self.launch.warn)(&error.to_string());
        }
        let ended = self.child.as_ref().is_none_or(|child| has_ended(&child.pidfd, poll::now()));
        (self.launch, ended)
    }

    /// Of a child that was killed while it was set up the kernel knows whether it was for want of memory.
    pub(super) fn explain(&mut self, error: Error) -> Error {
        if self.reaped != Some(Exit::Signal(libc::SIGKILL)) {
            return error;
        }
        launcher::killed(error, self.launch.plan, self.launch.cgroup.as_ref())
    }

    pub(super) fn child(&self) -> Result<&ProcessHandle> {
        self.child.as_ref().ok_or_else(|| sync_error("there is no child yet"))
    }

    fn cgroup(&self) -> Result<&Cgroup> {
        self.launch.cgroup.as_ref().ok_or_else(no_cgroup)
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::OpenNamespace(kind, path) => {
                self.namespaces.push(fds::namespace(*kind, path)?);
                Ok(())
            }
            Step::CloneTree { tree: HostTree { path, reach, end, idmap }, propagation } => {
                let tree = fds::clone_tree(path, *reach, *propagation, end.flag())?;
                idmap::apply(&tree, path, *idmap, &self.idmaps)?;
                self.trees.push(tree);
                Ok(())
            }
            Step::OpenIdMap { uids, gids } => {
                self.idmaps.push(idmap::user_namespace(uids, gids)?);
                Ok(())
            }
            Step::JoinedIdMap(index) => {
                let joined = self.namespaces.get(index.0).ok_or_else(|| sync_error("the plan joins nothing there"))?;
                self.idmaps.push(descriptor::dup(joined.as_fd(), 3).at(Stage::Namespace, || "copy a descriptor")?);
                Ok(())
            }
            Step::TakeFromHost(objects) => {
                let send = |taken: OwnedFd| self.offer(SyncPoint::Trees, &[taken]);
                host_objects::take(&self.child()?.pidfd, objects, &self.idmaps, send)
            }
            Step::CreateCgroup(part) => self.create_cgroup(*part),
            Step::Clone(step) => self.clone(step),
            Step::Await(SyncPoint::Launched) => self.await_launched(),
            Step::Await(SyncPoint::Taken) => self.await_taken(),
            Step::Await(point) => self.await_point(*point),
            Step::Answer(point) => self.answer(*point),
            Step::WriteIdMaps { uids, gids, writer } => idmap::write(self.child()?.pid, uids, gids, *writer),
            Step::AttachCgroup => self.attach_cgroup(),
            Step::LeaveCpu => {
                if self.progress.is_some_and(|progress| !progress.started.load(Relaxed)) {
                    affinity::leave_cpu(self.child()?.pid);
                }
                Ok(())
            }
            Step::OfferCgroup => self.offer_cgroup(),
            Step::OfferTrees => self.offer_trees(),
            Step::StartScope => self.start_scope(),
            Step::JoinScope => self.join_scope(),
            Step::DelegateCgroup { path, owner } => {
                let pid = self.child()?.pid;
                self.cgroup()?.delegate_below(path, pid, *owner)
            }
            Step::ChownCgroup(uid) => self.cgroup()?.delegate(*uid, None),
            Step::MoveNetDevice(name, inside) => netdev::move_device(self.child()?.pid, name, inside),
            Step::Rdt(plan) => {
                let group = Rdt::create(&rdt::mount_point()?, plan)?;
                let joined = rdt::join(&group.task_files(), self.child()?.pid);
                self.rdt = Some(group);
                joined
            }
            Step::JoinRdt(files) => rdt::join(files, self.child()?.pid),
            Step::Hooks(list) => hooks::run_hooks(list, self.child()?.pid, &self.launch.hook_output),
            Step::Rlimit(limit) => process::set_rlimit(self.child()?.pid, limit.resource, limit.soft, limit.hard)
                .at(Stage::Process, || step.to_string())
                .doing(Deed::Rlimit, || rlimits::name(limit.resource).unwrap_or("?")),
            Step::OomScoreAdj(score) => {
                std::fs::write(format!("/proc/{}/oom_score_adj", self.child()?.pid), score.to_string())
                    .at(Stage::Process, || step.to_string())
                    .doing(Deed::OomScoreAdj, || score.to_string())
            }
            Step::Affinity(mask) => {
                affinity::set(self.child()?.pid, mask).at(Stage::Process, || "set the CPU affinity")
            }
            Step::SavePlanned => (self.launch.tell)(Moment::Planned).map(drop),
            Step::SaveState => self.tell(|running| Moment::Cloned(running)),
            Step::TakeCharge => self.tell(|running| Moment::Held(running)),
            Step::Publish => self.tell(|running| Moment::Ready(running)),
            Step::SendListener { path, metadata, oci_version, state } => {
                let number = self.listener_fd.take().ok_or_else(|| sync_error("the child named no listener"))?;
                let ProcessHandle { pid, pidfd } = self.child()?;
                let message = listener::message(*pid, oci_version, metadata, &state.with(*pid));
                listener::send(pidfd, number, path, &message)
            }
            Step::AwaitExec => self.await_exec(),
        }
    }

    fn answer(&self, point: SyncPoint) -> Result<()> {
        match wire::send(self.wire.as_fd(), &Message::Sync(point, 0)) {
            // The child is gone: what follows finds out how.
            Err(Errno::EPIPE) => Ok(()),
            sent => sent.at(Stage::Sync, || "answer the child"),
        }
    }

    fn attach_cgroup(&mut self) -> Result<()> {
        let pid = self.child()?.pid;
        self.launch.cgroup.as_mut().ok_or_else(no_cgroup)?.attach(pid)
    }

    // The connection is made after the clone: a parked child would hold it open.
    fn start_scope(&mut self) -> Result<()> {
        let plan = self.launch.plan.scope.as_ref().ok_or_else(|| sync_error("the plan has no scope"))?;
        self.launch.plan.cgroup.as_ref().map_or(Ok(()), Cgroup::refuse_frozen)?;
        let mut manager = scope_manager(plan.unit.owner)?;
        let starting = manager.start_scope(plan, self.child()?.pid)?;
        self.scope = Some((manager, starting));
        Ok(())
    }

    fn join_scope(&mut self) -> Result<()> {
        let plan = self.launch.plan;
        let (Some(scope), Some(cgroup), Some((mut manager, starting))) = (&plan.scope, &plan.cgroup, self.scope.take())
        else {
            return Err(sync_error("the plan waits for a scope that it did not ask for"));
        };
        manager.wait_scope(starting)?;
        match Cgroup::adopt(cgroup, SavedScope::of(scope), self.child()?.pid) {
            Ok(cgroup) => {
                self.launch.cgroup = Some(cgroup);
                Ok(())
            }
            Err(error) => {
                // Nobody else will: the cgroup that would be removed was not taken over.
                if let Err(failure) = manager.stop_unit(&scope.unit.name) {
                    (self.launch.warn)(&failure.to_string());
                }
                Err(error)
            }
        }
    }

    fn create_cgroup(&mut self, part: Part) -> Result<()> {
        let plan = self.launch.plan.cgroup.as_ref().ok_or_else(|| sync_error("the plan has no cgroup"))?;
        match part {
            Part::All => self.launch.cgroup = Some(Cgroup::create(plan)?),
            Part::V2 => self.launch.cgroup = Some(Cgroup::create_unified(plan)?),
            Part::V1 => match &mut self.launch.cgroup {
                Some(cgroup) => cgroup.complete(plan)?,
                None => return Err(sync_error("the plan completes a cgroup that it does not begin")),
            },
        }
        Ok(())
    }

    /// Copies of the maps by which the child maps what it makes itself; what is the host's is mapped here.
    fn copies_of_idmaps(&self) -> Result<Vec<OwnedFd>> {
        let copy = |map: &OwnedFd| descriptor::dup(map.as_fd(), 3).at(Stage::Namespace, || "copy a descriptor");
        self.idmaps.iter().map(copy).collect()
    }

    fn offer_cgroup(&self) -> Result<()> {
        let files = self.cgroup()?.join_files()?;
        let sent = self.offer(SyncPoint::Cgroup, &files);
        descriptor::close_all(&mut files.into_iter().map(Some).collect::<Vec<_>>());
        sent
    }

    fn offer_trees(&mut self) -> Result<()> {
        let trees = std::mem::take(&mut self.trees);
        trees.chunks(socket::MAX_FDS).try_for_each(|some| self.offer(SyncPoint::Trees, some))
    }

    fn offer(&self, point: SyncPoint, files: &[OwnedFd]) -> Result<()> {
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        match wire::send_files(self.wire.as_fd(), point, &files) {
            // The child is gone: what follows finds out how.
            Err(Errno::EPIPE) => Ok(()),
            sent => sent.at(Stage::Sync, || format!("send the child what it waits for ({})", point.name())),
        }
    }

    pub(super) fn tell(&mut self, moment: impl FnOnce(&Running) -> Moment<'_>) -> Result<()> {
        let process = self.child.take().ok_or_else(|| sync_error("there is no child yet"))?;
        let running = Running { process, cgroup: self.launch.cgroup.take(), rdt: self.rdt.take(), overlay: None };
        let moment = moment(&running);
        // At the other moments nobody is asked whether the program may go on.
        let asks = matches!(moment, Moment::Held(_) | Moment::Due(_));
        let result = (self.launch.tell)(moment);
        self.child = Some(running.process);
        self.launch.cgroup = running.cgroup;
        self.rdt = running.rdt;
        let next = result?;
        self.due = if asks { next } else { self.due };
        Ok(())
    }

    fn clone(&mut self, step: &CloneStep) -> Result<()> {
        let CloneStep { flags, into_cgroup, join_pid, mounts, time_offsets, back } = step;
        let plan = self.launch.plan;
        let wire = self.child_wire.take().ok_or_else(|| sync_error("the plan clones twice"))?;
        let hook_output = self.launch.hook_output.for_child()?;
        let built = last_calls::build(plan, wire.as_fd(), self.launch.fifo.as_ref(), &hook_output)?;
        self.progress = Some(built.progress);
        let sender = self.launch.waiting.as_mut().and_then(|waiting| waiting.sender.take());
        let mut inherited = Inherited {
            plan,
            first_fd: plan.first_fd(),
            needed_fds: Vec::new(),
            wire,
            namespaces: std::mem::take(&mut self.namespaces),
            trees: std::mem::take(&mut self.trees),
            kept_mounts: (0..plan.kept_mounts).map(|_| None).collect(),
            late: (0..plan.late_trees).map(|_| None).collect(),
            idmaps: self.copies_of_idmaps()?,
            streams: std::mem::take(&mut self.launch.streams),
            console: self.launch.console.take(),
            fifo: self.launch.fifo.take(),
            init: self.launch.init.take(),
            second: built.file.zip(sender).map(|(file, sender)| SecondBlock { sender, file }),
            pair: built.pair,
            block: built.block,
            program_slot: built.program_slot,
            home_slot: built.home_slot,
            hooks: built.hooks,
            hook_output,
            // Most children never touch it.
            scratch: memory::pages(128 * 1024).at(Stage::Process, || "map memory for the child")?,
            trace: self.times,
            progress: built.progress,
        };
        inherited.needed_fds = fds::needed(&inherited, built.exe.as_ref());
        let pid = join_pid.and_then(|index| inherited.namespaces.get(index.0));
        let own = fds::BirthNamespaces::enter(pid, time_offsets.as_deref(), *mounts, self.launch.warn)?;
        let cgroup = self.launch.cgroup.as_ref().filter(|_| *into_cgroup == IntoCgroup::Yes);
        let args = CloneArgs { flags: *flags, cgroup: cgroup.and_then(Cgroup::v2_dir), number: None };
        let what = || format!("clone3 ({} namespaces)", flags.count_ones());
        match clone::clone3(&args) {
            Ok(Cloned::Child) => child::run(inherited),
            Ok(Cloned::Parent(child)) => {
                self.child = Some(child);
                drop(inherited);
                drop(built.exe);
                match own.leave() {
                    Err(error) if error.root_errno() == Some(Errno::EPERM) && *back == ComeBack::May => Ok(()),
                    left => left,
                }
            }
            // Back in our own mount namespace, where the cgroups are that are now removed.
            Err(errno) => {
                let error = Error::errno(Stage::Namespace, what(), errno).doing(Deed::Clone, "");
                own.leave().and(Err(match (errno, args.cgroup) {
                    (Errno::EBUSY, Some(_)) => error.with_hint(
                        "a cgroup that gives controllers to its sub-cgroups takes no processes (cgroups(7))",
                    ),
                    _ => error,
                }))
            }
        }
    }
}

fn no_cgroup() -> Error {
    sync_error("there is no cgroup yet")
}

/// Opens the start fifo for the child: reading and writing, so that it neither waits nor sees an end.
pub fn open_fifo(dir: std::os::fd::BorrowedFd<'_>, name: &std::ffi::CStr) -> Result<OwnedFd> {
    fs::open(dir, name, libc::O_RDWR | libc::O_NOFOLLOW, 0).at(Stage::State, || "open exec.fifo")
}
