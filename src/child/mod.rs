//! The child: walks the plan's operations between `clone3` and `execve`.
//!
//! Runs in the cloned process, on a copy of the parent's memory. It never allocates, never panics on input,
//! never logs and never looks at the specification: an operation is done, or its index and errno go to the
//! parent and the process ends. In a debug build the allocator ends the process if it is called here
//! (`sys::allocator`).
//!
//! The modules, in the order of the work: `state` is what the child has, and how an operation fails; `root` takes the container's
//! root and enters it, `overlay` lays layers over it, `mounts` (with `copy`) and `devices` furnish it, `reveal` looks at what a moved root leaves
//! open; `hook` runs what is run in the container, `program` finds what will be run, `streams` gives it its streams and
//! terminal; `hand_over` ends the start of a template.

mod copy;
mod devices;
mod hand_over;
mod hook;
mod mounts;
mod overlay;
mod program;
mod reveal;
mod root;
mod state;
mod streams;

use std::ffi::CStr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering::Relaxed;

use nix::errno::Errno;

use crate::plan::Parks;
use crate::plan::namespace::NamespaceIndex;
use crate::plan::op::{LastOp, Refusal, RuntimeOp, SetupOp};
use crate::plan::rootfs::unshares;
use crate::sys::clone::{self, CloneArgs, Cloned};
use crate::sys::last_calls;
use crate::sys::pidfd::ProcessHandle;
use crate::sys::{cred, descriptor, fs, mount, process, signal, socket, tty};
use crate::wire::{self, Fault, Message, SyncPoint};

pub(crate) use root::attach_root;
use state::{Child, Done, Trouble};
pub use state::{HookPointers, Inherited, SecondBlock};

/// Walks the operations. Never returns: it ends in `execve`, in the walker of `sys::last_calls`, or with a fault.
pub fn run(inherited: Inherited<'_>) -> ! {
    let plan = inherited.plan;
    let mut child = Child::new(inherited);
    child.inherited.progress.started.store(true, Relaxed);
    child.protect();
    for (index, op) in plan.setup.iter().enumerate() {
        child.begin(index);
        child.setup(op).unwrap_or_else(|trouble| child.fail(index, &trouble));
    }
    for (index, op) in (plan.setup.len()..).zip(&plan.last) {
        child.begin(index);
        child.last(index, op).unwrap_or_else(|trouble| child.fail(index, &trouble));
    }
    process::exit(255)
}

impl<'a> Child<'a> {
    /// Dies with the parent until the container stands on its own, and holds nothing of the parent's.
    fn protect(&mut self) {
        // First: who shares our pid namespace may stop us at any moment. The only failure is an invalid signal number.
        let _ = process::set_parent_death_signal(libc::SIGKILL);
        process::forget_caller(b"brisk: init");
        for (number, stream) in (0..).zip(&self.inherited.streams) {
            if let Some(stream) = stream {
                // Fails on numbers that are no descriptors only.
                let _ = descriptor::dup_onto(stream.as_fd(), number);
            }
        }
        let mut from = self.inherited.first_fd;
        for needed in self.inherited.needed_fds.iter().copied().filter(|needed| *needed >= self.inherited.first_fd) {
            if needed > from {
                // Fails on kernels only that `check` refuses; the walk of the plan says so when it closes the rest.
                let _ = descriptor::close_range(from, needed - 1);
            }
            from = needed + 1;
        }
        // Fails on those kernels only.
        let _ = descriptor::close_range(from, u32::MAX);
        self.umask = fs::umask(0);
    }

    fn begin(&self, index: usize) {
        if let Some(trace) = &self.inherited.trace {
            trace.start(index, process::monotonic_ns());
        }
    }

    fn fail(&self, index: usize, trouble: &Trouble) -> ! {
        let mut fault = Fault::new(index as u32, trouble.errno);
        fault.detail = trouble.detail;
        let mut long: wire::LongRecord = [0; size_of::<wire::LongRecord>()];
        let (record, said) = long.split_at_mut(wire::SIZE);
        record.copy_from_slice(&wire::encode(&Message::Fault(fault)));
        // What cannot be read is not quoted.
        let said = self.said.as_ref().and_then(|file| fs::pread(file.as_fd(), said, 0).ok()).unwrap_or(0);
        let record = &long[..wire::SIZE + said];
        // If the parent, or `start`, is gone there is nobody left to tell.
        let _ = match self.inherited.fifo.as_ref().filter(|_| self.told_to_start) {
            Some(fifo) => fs::write_all(fifo.as_fd(), record),
            // The header of a second block is another process's.
            None if self.inherited.second.is_some() => wire::send_bytes(self.inherited.wire.as_fd(), record),
            None => self.inherited.block.send(record),
        };
        process::exit(255)
    }

    fn setup(&mut self, op: &SetupOp) -> Done {
        match op {
            SetupOp::End => process::exit(0),
            SetupOp::Sync(point) => self.sync(*point),
            SetupOp::Wait(point) => Ok(wire::wait(self.inherited.wire.as_fd(), *point)?),
            SetupOp::JoinCgroup => self.join_cgroup(),
            SetupOp::TakeTrees => self.take_trees(),
            SetupOp::AskForHost => {
                wire::send(self.inherited.wire.as_fd(), &Message::Sync(SyncPoint::Trees, 0))?;
                self.take_trees()
            }
            SetupOp::AskForOne => self.ask_for_one(),
            SetupOp::CloneTree { tree, late } => self.clone_late(tree, *late),
            SetupOp::Join(index, kind, refusal) => self.join(*index, kind.flag(), *refusal),
            SetupOp::MakeNamespaceFs(made) => {
                let mounted = mounts::detached(made.kind())?;
                *self.namespace_fs.get_mut(*made as usize).ok_or(Errno::EBADF)? = Some(mounted);
                Ok(())
            }
            SetupOp::EnterTime => {
                let time = fs::open(fs::CWD, c"/proc/self/ns/time_for_children", libc::O_RDONLY, 0)?;
                Ok(process::setns(time.as_fd(), libc::CLONE_NEWTIME)?)
            }
            SetupOp::JoinInit(flags) => self.join_init(*flags),
            SetupOp::Unshare(flags) => Ok(process::unshare(*flags as i32)?),
            SetupOp::BecomeRoot => self.become_root(),
            SetupOp::TimeOffsets(text) => write_file(c"/proc/self/timens_offsets", text),
            SetupOp::Fork(flags) => self.fork(*flags),
            SetupOp::NewSession => new_session(),
            SetupOp::ControllingTerminal => Ok(tty::set_controlling(fs::STDIN)?),
            SetupOp::Keyring(label) => self.keyring(label.as_deref()),
            SetupOp::Undumpable => Ok(process::set_undumpable()?),
            SetupOp::Hostname(name) => Ok(process::set_hostname(name)?),
            SetupOp::Domainname(name) => Ok(process::set_domainname(name)?),
            SetupOp::Loopback => Ok(socket::loopback_up()?),
            SetupOp::HostPropagation(flags) => {
                mount::mount(None, c"/", None, *flags, None)?;
                self.unshared = unshares(*flags);
                Ok(())
            }
            SetupOp::Root { source, place, parent, .. } => self.take_root(source, place, *parent),
            SetupOp::Overlay(op) => self.overlay(op),
            SetupOp::RootHere(path) => self.root_here(path),
            SetupOp::Mount(op) => self.mount(op),
            SetupOp::OpenDir(path) => self.open_dir(path),
            SetupOp::Mknod { name, mode, dev, owner, rule } => self.mknod(name, (*mode, *dev), *owner, *rule),
            SetupOp::BindDevice { name, source } => self.bind_device(name, source),
            SetupOp::Symlink { name, target, rule } => self.symlink(name, target, *rule),
            SetupOp::Unmount { path, added } => self.unmount(path, added),
            SetupOp::SetAttr { kept, attr, .. } => self.set_attr(*kept, attr),
            SetupOp::Mask { path, within, label } => self.mask(path, *within, label.as_deref()),
            SetupOp::ReadonlyPath { path, may_lead, within } => self.readonly_path(path, *may_lead, *within),
            SetupOp::ReadonlyRoot => self.readonly_root(),
            SetupOp::RootPropagation(propagation) => self.root_propagation(*propagation),
            SetupOp::Procfs => self.open_procfs(),
            SetupOp::Sysctl(path, value) => self.sysctl(path, value),
            SetupOp::Label(label) => self.label(label),
            SetupOp::Hook(hook) => self.hook(hook, None),
            SetupOp::Enter(enter) => self.enter(*enter),
            SetupOp::Console { size, uid, node, master } => self.console(*size, *uid, *node, *master),
            SetupOp::OwnStreams(uid) => streams::own(*uid),
            SetupOp::NullStreams => streams::own_null(self.root()?),
            SetupOp::Umask(mask) => {
                self.umask = *mask;
                fs::umask(*mask);
                Ok(())
            }
            SetupOp::Rlimit(limit) => Ok(process::set_rlimit(0, limit.resource, limit.soft, limit.hard)?),
            SetupOp::Groups(groups) => self.groups(groups),
            SetupOp::Cwd { path, user } => self.working_directory(path, *user),
            SetupOp::Home(uid) => self.home(*uid),
            SetupOp::Program { name: _, candidates, user, caps } => self.program(candidates, *user, *caps),
            SetupOp::IoPriority(value) => Ok(process::set_io_priority(*value)?),
            SetupOp::Scheduler(attr) => Ok(process::set_scheduler(attr)?),
            SetupOp::MemoryPolicy(mode, nodes) => Ok(process::set_memory_policy(*mode, nodes)?),
            SetupOp::Personality(persona) => Ok(process::set_personality(*persona)?),
            SetupOp::HandOver => self.hand_over(),
        }
    }

    /// One of the last operations, which has its calls in the block under its index.
    fn last(&mut self, index: usize, op: &LastOp) -> Done {
        match op {
            // Returns only where there is no walker, or an LSM forbids executable anonymous memory.
            LastOp::LeaveRuntime => Err(Trouble::from(self.inherited.block.walk())),
            LastOp::ByRuntime(RuntimeOp::AwaitStart) => self.await_start(),
            LastOp::ByRuntime(RuntimeOp::Undumpable) => Ok(process::set_undumpable()?),
            LastOp::ByRuntime(RuntimeOp::Hook(hook, filter)) => self.hook(hook, filter.as_deref()),
            LastOp::CloseFrom(_)
            | LastOp::Fork
            | LastOp::NewSession
            | LastOp::ControllingTerminal
            | LastOp::Scheduler(_)
            | LastOp::NoNewPrivileges
            | LastOp::Seccomp(_)
            | LastOp::DieWithRuntime
            | LastOp::KeepCaps
            | LastOp::DropBounding(_)
            | LastOp::Ids(..)
            | LastOp::Caps(_)
            | LastOp::Ambient(_)
            | LastOp::Park
            | LastOp::AwaitBlock
            | LastOp::Taken
            | LastOp::AwaitLimits
            | LastOp::TakeStreams
            | LastOp::Cwd
            | LastOp::CwdAs(..)
            | LastOp::Umask(_)
            | LastOp::Groups(_)
            | LastOp::IoPriority(_)
            | LastOp::Rlimit(_)
            | LastOp::Exec => self.inherited.block.run_op(index as u32).map_err(Trouble::from),
        }
    }

    fn join(&mut self, index: NamespaceIndex, flag: u64, refusal: Refusal) -> Done {
        if self.joined & flag != 0 {
            return Ok(());
        }
        let namespace = self.inherited.namespaces.get(index.0).ok_or(Errno::EBADF)?;
        match process::setns(namespace.as_fd(), flag as i32) {
            Err(Errno::EPERM) if refusal == Refusal::TryAgain => Ok(()),
            result => {
                self.joined |= flag;
                Ok(result?)
            }
        }
    }

    fn join_init(&self, flags: u64) -> Done {
        let init = self.inherited.init.as_ref().ok_or(Errno::EBADF)?;
        Ok(process::setns(init.as_fd(), flags as i32)?)
    }

    fn sync(&mut self, point: SyncPoint) -> Done {
        wire::ask(self.inherited.wire.as_fd(), point, 0)?;
        if point == SyncPoint::Ready {
            // The state is written: from here on the container lives without its creator, unless it is to die with it. Then the signal
            // is asked for once more, for it was gone when a file was looked for as the user (prctl(2): a change of the effective
            // ids clears it). Without it we might wait for ever when the creator has died: in a call that the filter tells a
            // listener of, which we hold ourselves.
            let dies = self.inherited.plan.last.contains(&LastOp::DieWithRuntime);
            process::set_parent_death_signal(if dies { libc::SIGKILL } else { 0 })?;
            if dies {
                // To nobody, where it has died before that.
                wire::send(self.inherited.wire.as_fd(), &Message::Sync(SyncPoint::Bound, 0))?;
            }
            signal::set_default_but(self.inherited.plan.ignored_signals, self.on_signal())?;
            signal::unblock()?;
        }
        Ok(())
    }

    fn on_signal(&self) -> Option<u64> {
        match self.inherited.plan.parks {
            Parks::No => None,
            Parks::InWalker => self.inherited.block.on_signal(),
            Parks::InRuntime => last_calls::on_signal(),
        }
    }

    /// See [`crate::plan::cgroup::entry::Entry`].
    fn join_cgroup(&self) -> Done {
        let mut files = [const { None }; socket::MAX_FDS];
        wire::wait_files(self.inherited.wire.as_fd(), SyncPoint::Cgroup, &mut files)?;
        for file in files.iter().flatten() {
            fs::write_all(file.as_fd(), b"0").map_err(|errno| {
                let mut path = [0; 256];
                let path = fs::path_of(file.as_fd(), &mut path).unwrap_or_default();
                Trouble::from(errno).with(path)
            })?;
        }
        descriptor::close_all(&mut files);
        Ok(())
    }

    /// Something of the host, for the operation that follows.
    fn ask_for_one(&mut self) -> Done {
        wire::send(self.inherited.wire.as_fd(), &Message::Sync(SyncPoint::Trees, 0))?;
        let mut one = [None];
        wire::wait_files(self.inherited.wire.as_fd(), SyncPoint::Trees, &mut one)?;
        [self.asked] = one;
        if self.asked.is_some() { Ok(()) } else { Err(Errno::EBADMSG.into()) }
    }

    fn take_trees(&mut self) -> Done {
        while let Some(next) = self.inherited.late.iter().position(Option::is_none) {
            wire::wait_files(self.inherited.wire.as_fd(), SyncPoint::Trees, &mut self.inherited.late[next..])?;
            if self.inherited.late[next].is_none() {
                return Err(Errno::EBADMSG.into());
            }
        }
        Ok(())
    }

    /// Root of the user namespace, whoever the caller was.
    fn become_root(&self) -> Done {
        cred::set_gid(0)?;
        cred::set_uid(0)?;
        Ok(())
    }

    /// The launcher ends here; its child is the sibling the parent waits for.
    fn fork(&self, flags: u64) -> Done {
        let flags = flags | libc::CLONE_PARENT as u64;
        let args = CloneArgs { flags, cgroup: None, number: Some(&self.inherited.progress.made) };
        match clone::clone3(&args)? {
            Cloned::Parent(ProcessHandle { pid, .. }) => {
                wire::send(self.inherited.wire.as_fd(), &Message::Sync(SyncPoint::Launched, pid))?;
                process::exit(0)
            }
            Cloned::Child => {
                process::set_parent_death_signal(libc::SIGKILL)?;
                Ok(())
            }
        }
    }

    /// Where setgroups(2) is denied to the user namespace (user_namespaces(7)) the caller's groups stay, and nothing
    /// drops them: the kernel denies it to an ordinary user whose groups may be what keeps him from a file. Asking for
    /// some is an error there.
    fn groups(&self, groups: &[u32]) -> Done {
        match cred::set_groups(groups) {
            Err(Errno::EPERM) if groups.is_empty() => Ok(()),
            result => Ok(result?),
        }
    }

    fn await_start(&mut self) -> Done {
        // The filter may be loaded by now.
        self.inherited.block.send(&wire::encode(&Message::Sync(SyncPoint::Parked, 0)))?;
        let fifo = self.inherited.fifo.as_ref().ok_or(Errno::EBADF)?;
        fs::read(fifo.as_fd(), &mut [0])?;
        self.told_to_start = true;
        Ok(())
    }
}

/// EPERM: a leader already, which is what is wanted.
fn new_session() -> Done {
    match process::new_session() {
        Ok(()) | Err(Errno::EPERM) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn write_file(path: &CStr, text: &CStr) -> Done {
    let fd = fs::open(fs::CWD, path, libc::O_WRONLY, 0)?;
    fs::write_all(fd.as_fd(), text.to_bytes())?;
    Ok(())
}
