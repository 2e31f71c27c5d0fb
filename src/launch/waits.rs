//! What the parent waits for: what its child says, and the process that comes of it.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::running::{
    Moment, Running, Waiting, destroy_in, destroy_or_leave, destroy_unnamed, has_ended, reap, sync_error,
};
use super::steps::Parent;
use crate::error::{Context, Error, Result, Stage};
use crate::plan::ExecRefusal;
use crate::plan::op::{ChildOp, LastOp};
use crate::proc::stat;
use crate::sys::pidfd::ProcessHandle;
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::{self, Exit};
use crate::sys::{interrupt, socket};
use crate::wire::{self, Message, SyncPoint};

impl Parent<'_> {
    /// Waits until the program runs, or is known not to.
    pub(super) fn await_exec(&mut self) -> Result<()> {
        match self.receive("wait for the program")? {
            // The program runs, or the child died before: by then it has the status that the caller will see.
            None => Ok(()),
            // The child has said so itself, on the program's standard error.
            Some(Message::Fault(fault)) if self.launch.plan.refusal == ExecRefusal::Said && self.is_exec(&fault) => {
                Ok(())
            }
            Some(Message::Fault(fault)) => Err(self.fault(&fault)),
            Some(Message::Sync(point, _)) => Err(sync_error(format!("the child is at {} again", point.name()))),
        }
    }

    /// Ends and reaps a launcher that was stopped, frozen or traced when it was to end: it has nothing left to do.
    pub(super) fn end_launcher(&mut self) {
        if let Some(launcher) = self.launcher.take() {
            destroy_or_leave(&launcher, self.launch.cgroup.as_ref());
        }
    }

    /// Waits until the wire has something to be read, and tells when the time that the child may take is over: startContainer hooks,
    /// which are the image's, take as much of it as they like, and a frozen process does nothing at all. False when the child has
    /// ended, and who it has launched keeps the wire without a word.
    fn await_record(&mut self, what: &str) -> Result<bool> {
        let comes = |fd: BorrowedFd<'_>, by| poll::one(fd, PollFlags::POLLIN, by).at(Stage::Sync, || what.to_owned());
        while let Some(due) = self.due {
            // A launcher that does not end keeps its end of the wire open.
            let soon = self.launcher.as_ref().and_then(|_| poll::within(interrupt::WAIT));
            let by = soon.map_or(due, |soon| soon.min(due));
            if comes(self.wire.as_fd(), Some(by))? {
                break;
            }
            self.end_launcher();
            if by < due {
                continue;
            }
            self.tell(|running| Moment::Due(running))?;
            if comes(self.child()?.pidfd.as_fd(), poll::now())? {
                return comes(self.wire.as_fd(), poll::now());
            }
        }
        Ok(true)
    }

    fn is_exec(&self, fault: &wire::Fault) -> bool {
        self.launch.plan.child_ops().nth(fault.op as usize) == Some(ChildOp::Last(&LastOp::Exec))
    }

    fn fault(&mut self, fault: &wire::Fault) -> Error {
        self.launch.plan.fault(fault.op as usize, fault.errno, &String::from_utf8_lossy(fault.text()), &self.said)
    }

    /// The child's next message; what came before its launcher's goes first.
    fn receive(&mut self, what: &str) -> Result<Option<Message>> {
        match self.early.pop_front() {
            Some(message) => Ok(Some(message)),
            None => self.next_message(what),
        }
    }

    fn next_message(&mut self, what: &str) -> Result<Option<Message>> {
        if !self.await_record(what)? {
            return Ok(None);
        }
        self.next_record().at(Stage::Sync, || what.to_owned())
    }

    fn next_record(&mut self) -> crate::sys::Result<Option<Message>> {
        loop {
            let mut record: wire::LongRecord = [0; size_of::<wire::LongRecord>()];
            let (len, fd) = match wire::receive_bytes(self.wire.as_fd(), &mut record) {
                // Nothing has come in one piece of time: somebody may have had enough, and a launcher has had the time to end.
                Err(Errno::EAGAIN) => {
                    self.end_launcher();
                    poll::one(self.wire.as_fd(), PollFlags::POLLIN, None)?;
                    continue;
                }
                received => received?,
            };
            if len == 0 {
                return Ok(None);
            }
            if len > wire::SIZE {
                self.said = String::from_utf8_lossy(wire::said(&record[..len])).into_owned();
            }
            match wire::decode(&record[..len])? {
                // The child sends this one when it has it, at whichever point we wait for it.
                Message::Sync(SyncPoint::Overlay, _) if self.overlay.is_none() => self.overlay = fd,
                message => return Ok(Some(message)),
            }
        }
    }

    /// Waits until the child is at this point.
    pub(super) fn await_point(&mut self, point: SyncPoint) -> Result<()> {
        match self.receive(&format!("wait for the child: {}", point.name()))? {
            Some(Message::Sync(found, value)) if found == point => {
                if point == SyncPoint::Listener {
                    self.listener_fd = Some(value);
                }
                Ok(())
            }
            Some(Message::Fault(fault)) => Err(self.fault(&fault)),
            Some(Message::Sync(found, _)) => {
                Err(sync_error(format!("the child is at {}, not at {}", found.name(), point.name())))
            }
            None => {
                let exit = destroy_in(self.child()?, self.launch.cgroup.as_ref());
                self.reaped = exit;
                let how = match exit {
                    Some(Exit::Code(code)) => format!("exited with status {code}"),
                    Some(Exit::Signal(signal)) => format!("was killed by signal {signal}"),
                    None => "is gone".into(),
                };
                Err(sync_error(format!(
                    "the container's process {how} while it was set up (waiting for: {})",
                    point.name()
                )))
            }
        }
    }

    /// Waits until the launcher has cloned the process we want, our other child, and ends. Both write to the same wire and
    /// nothing orders them: on a busy machine the child's first record, or its fault, is there first.
    pub(super) fn await_launched(&mut self) -> Result<()> {
        let pid = loop {
            match self.next_message("wait for the launcher")? {
                Some(Message::Sync(SyncPoint::Launched, pid)) => break pid,
                // The launched process may be quicker than its launcher; it says that it is bound to us, and one thing more.
                Some(message) if self.early.len() < 2 => self.early.push_back(message),
                Some(_) => return Err(sync_error("the child goes on before its launcher has ended")),
                None => {
                    return Err(match self.early.pop_back() {
                        Some(Message::Fault(fault)) => self.fault(&fault),
                        _ => sync_error("the launcher ended early"),
                    });
                }
            }
        };
        // The process is in the container by now, where one with CAP_SYS_PTRACE may have got hold of the wire:
        // only a child of ours can be what the launcher has made.
        process::is_child(pid).at(Stage::Sync, || format!("the launcher's child is to be process {pid}"))?;
        let launched = match ProcessHandle::open(pid) {
            Ok(launched) => launched,
            Err(errno) => {
                destroy_unnamed(pid);
                return Err(errno).at(Stage::Sync, || format!("open a pidfd of process {pid}"));
            }
        };
        self.launched = true;
        // Its launcher ends at once, and until it is reaped it is a task of the container's cgroup. Where somebody has stopped, frozen
        // or traced it that is not waited for.
        self.launcher = self.child.replace(launched).filter(|launcher| {
            let ended = has_ended(&launcher.pidfd, poll::within(interrupt::WAIT));
            !ended || reap(launcher.pid).is_none()
        });
        Ok(())
    }

    /// Waits until the container's process has the second block; our child, who has brought it, ends then.
    pub(super) fn await_taken(&mut self) -> Result<()> {
        self.await_receipt()?;
        match self.receive(WAITS_FOR_TAKEN)? {
            Some(Message::Sync(SyncPoint::Taken, _)) => {}
            Some(Message::Fault(fault)) => return Err(self.fault(&fault)),
            Some(Message::Sync(point, _)) => return Err(sync_error(format!("the child is at {}", point.name()))),
            // Both ends of the wire that we do not have are closed.
            None => return Err(sync_error(NOT_TAKEN)),
        }
        let waiting = self.launch.waiting.take().ok_or_else(|| sync_error("nobody waits to be started"))?;
        if let Some(messenger) = self.child.replace(waiting.process) {
            process::wait(messenger.pid, 0).at(Stage::Sync, || "reap the process that has brought them")?;
        }
        Ok(())
    }

    /// Waits until the container's process says that it has the second block. One that is stopped, or frozen, takes nothing, and
    /// who waits for it has the container's lock: what it was sent is taken back then, and it waits as before.
    fn await_receipt(&mut self) -> Result<()> {
        let comes = |fd: BorrowedFd<'_>, by| poll::one(fd, PollFlags::POLLIN, by).at(Stage::Sync, || WAITS_FOR_TAKEN);
        let mut looks = 0;
        while !comes(self.wire.as_fd(), poll::within(LOOK))? {
            self.tell_of_waiting()?;
            let messenger = self.child()?;
            let waiting = self.launch.waiting.as_ref().ok_or_else(|| sync_error("nobody waits to be started"))?;
            if comes(waiting.process.pidfd.as_fd(), poll::now())? {
                if comes(self.wire.as_fd(), poll::now())? {
                    break;
                }
                return Err(sync_error(NOT_TAKEN));
            }
            // Until our child has ended it looks for the program, in file systems that may be slow.
            if !comes(messenger.pidfd.as_fd(), poll::now())? {
                continue;
            }
            looks += 1;
            let stat = stat::read(waiting.process.pid)
                .at(Stage::Sync, || format!("look at process {}", waiting.process.pid))?;
            let stopped = stat.is_some_and(|stat| stat.stopped);
            if !stopped && looks < LOOKS {
                continue;
            }
            let receiver = waiting.receiver()?;
            if comes(self.wire.as_fd(), poll::now())? {
                break;
            }
            let taken_back =
                socket::drop_received(receiver.as_fd()).at(Stage::Sync, || "take back what the process was sent")?;
            let why = if stopped { "is stopped" } else { "does not run" };
            let error = sync_error(format!("the container's process {why}, and has not taken its last operations"));
            return Err(match (taken_back, stopped) {
                (true, true) => {
                    error.with_hint("it waits on: `brisk kill ID CONT` lets it run, unless it is being traced")
                }
                (true, false) => error.with_hint("it waits on: what keeps it from running, a frozen cgroup?"),
                (false, _) => error.with_hint("it ends as soon as it runs: delete the container"),
            });
        }
        Ok(())
    }

    /// Tells, when the time that was asked for has come, that the process has taken nothing yet.
    fn tell_of_waiting(&mut self) -> Result<()> {
        if self.due.is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        let Some(Waiting { process, sender }) = self.launch.waiting.take() else { return Ok(()) };
        let running = Running { process, cgroup: None, rdt: None, overlay: None };
        let next = (self.launch.tell)(Moment::Due(&running));
        self.launch.waiting = Some(Waiting { process: running.process, sender });
        self.due = next?;
        Ok(())
    }
}

const WAITS_FOR_TAKEN: &str = "wait for the container's process to take its last operations";
/// How long it may take with that, which is two system calls: so often is looked, with such a time between.
const LOOKS: u32 = 100;
const LOOK: Duration = Duration::from_millis(100);

/// Of a template's process that another `start` was quicker with, or that has ended.
const NOT_TAKEN: &str =
    "the container's process did not take its last operations: it has ended, or was started meanwhile";
