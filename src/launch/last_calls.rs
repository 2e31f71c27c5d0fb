//! The operations after the set-up as a table of system calls (see `sys::last_calls`), built before the clone.

use std::ffi::{CString, c_char};
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::running::sync_error;
use crate::child::HookPointers;
use crate::error::{Context, Result, Stage, errno_text};
use crate::plan::op::{ChildOp, Filter, LastOp, RuntimeOp, SetupOp};
use crate::plan::process::child_hook::ChildHook;
use crate::plan::{ExecRefusal, Plan};
use crate::sys::cred::Ids;
use crate::sys::last_calls::{self, Block, Complaint, Mode, Table};
use crate::sys::shared::Progress;
use crate::sys::{cred, descriptor, fs, socket};
use crate::wire::{self, Fault, Message, SyncPoint, received, waiting};

/// The table and what belongs to it.
pub(super) struct Built {
    pub block: Block,
    /// How far the child is; of a launcher with the block, which is all that it has in the end.
    pub progress: &'static Progress,
    pub program_slot: u64,
    pub home_slot: (u64, usize),
    pub hooks: Vec<HookPointers>,
    /// What `/proc/self/exe` will name.
    pub exe: Option<OwnedFd>,
    /// Where the table is written, if it is for a process that waits for it.
    pub file: Option<OwnedFd>,
    /// The socket by which a template's process is sent its second block, both ends: it keeps them.
    pub pair: Option<(OwnedFd, OwnedFd)>,
}

/// Room for HOME; home directories longer than a path cannot be entered anyway.
const HOME_ROOM: usize = libc::PATH_MAX as usize;
const MSG_NOSIGNAL: u64 = libc::MSG_NOSIGNAL as u64;

/// Builds the table for `plan`.
///
/// `hook_output` is needed by the hooks that run after everything else is closed.
pub(super) fn build(
    plan: &Plan,
    wire: BorrowedFd<'_>,
    fifo: Option<&OwnedFd>,
    hook_output: &[Option<OwnedFd>; 2],
) -> Result<Built> {
    let ours = ours(plan.first_fd());
    // A set of capabilities is a call for each, and nothing else takes as many.
    let calls = ours.len() + plan.last.len() * u64::BITS as usize;
    let Space { mut table, file, progress } = map(plan, wire, calls)?;
    let pair = match plan.last.contains(&LastOp::AwaitBlock) {
        true => Some(socket::pair().at(Stage::Sync, || "make a socket pair")?),
        false => None,
    };
    let exe = match plan.last.contains(&LastOp::LeaveRuntime) {
        true => Some(fs::memfd(c"brisk-init").at(Stage::Process, || "make a memory file")?),
        false => None,
    };
    if let Some(exe) = &exe {
        fs::chmod(exe.as_fd(), 0o555).at(Stage::Process, || "make the memory file executable")?;
    }
    let program_slot = table.reserve(libc::PATH_MAX as usize + 8);
    let args = strings(&mut table, &plan.args, None);
    let home = plan.setup.iter().any(|op| matches!(op, SetupOp::Home(_))).then(|| table.reserve(HOME_ROOM));
    let env = strings(&mut table, &plan.env, home);
    // The container's own stderr is told, as runc does it, in the foreground, too: otherwise a script whose interpreter is
    // missing would end without a word.
    let complaints = if plan.refusal == ExecRefusal::Said { complaints(&mut table, plan) } else { 0 };
    let mut builder = Builder {
        table,
        wire: if file.is_some() { received::WIRE as u64 } else { wire.as_raw_fd() as u64 },
        fifo,
        pair: pair.as_ref(),
        exe: exe.as_ref(),
        hook_output,
        ours,
        program: program_slot,
        args,
        env,
        complaints,
        send: libc::SYS_write,
        receive: libc::SYS_read,
        made: progress.made.as_ptr() as u64,
    };
    for (index, op) in plan.last.iter().enumerate() {
        let before = builder.table.calls();
        builder.op((plan.setup.len() + index) as u32, op)?;
        if (builder.table.calls() == before) != matches!(op, LastOp::ByRuntime(_)) {
            return Err(sync_error(format!("nobody would do this: {}", op.describe().line)));
        }
    }
    let hooks = plan.child_ops().filter_map(|op| match op {
        ChildOp::Setup(SetupOp::Hook(hook)) | ChildOp::Last(LastOp::ByRuntime(RuntimeOp::Hook(hook, _))) => {
            Some(pointers(hook, &plan.env, home))
        }
        ChildOp::Setup(_) | ChildOp::Last(_) => None,
    });
    let hooks = hooks.collect();
    let home_slot = (home.unwrap_or(0), HOME_ROOM);
    Ok(Built { block: builder.table.finish(), progress, program_slot, home_slot, hooks, exe, file, pair })
}

/// What is mapped for the last calls.
struct Space {
    table: Table,
    /// Where it is written.
    file: Option<OwnedFd>,
    progress: &'static Progress,
}

/// The child's own, or one in a file that another process goes on with.
fn map(plan: &Plan, wire: BorrowedFd<'_>, calls: usize) -> Result<Space> {
    let fault = wire::encode(&Message::Fault(Fault::new(0, nix::errno::Errno::EIO)));
    let what = || "map the last calls";
    if !plan.setup.contains(&SetupOp::HandOver) {
        let table = Table::new(wire, fault, calls, data_size(plan)).at(Stage::Process, what)?;
        let launches = plan.last.contains(&LastOp::Fork);
        let progress = if launches { table.progress() } else { Progress::new() }.at(Stage::Process, what)?;
        return Ok(Space { table, file: None, progress });
    }
    let progress = Progress::new().at(Stage::Process, what)?;
    let file = fs::memfd(c"brisk-start").at(Stage::Process, || "make a memory file")?;
    let table = Table::second(file.as_fd(), received::WIRE, fault, calls, data_size(plan)).at(Stage::Process, what)?;
    Ok(Space { table, file: Some(file), progress })
}

/// Among the descriptors to preserve those that are ours: the log, and what keeps the numbers of those that are not open.
fn ours(first_fd: u32) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in (3..first_fd).filter(|number| !descriptor::is_inherited(*number)) {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// How much the table has to point to.
fn data_size(plan: &Plan) -> usize {
    let strings: usize = plan.args.iter().chain(&plan.env).map(|text| text.count_bytes() + 24).sum();
    let complaints = (COMPLAINTS.len() + 1)
        * (size_of::<Complaint>() + 64 + plan.args.first().map_or(0, |program| program.count_bytes()));
    let ops: usize = plan.last.iter().map(op_data).sum();
    complaints + strings + ops + libc::PATH_MAX as usize + HOME_ROOM + ONCE
}

/// For the data of those operations that a plan has once, and that have little.
const ONCE: usize = 2048;

/// How much an operation has, beside [`ONCE`].
fn op_data(op: &LastOp) -> usize {
    match op {
        LastOp::Seccomp(filter) => filter.program.len() + 512,
        LastOp::Groups(groups) => 4 * groups.len() + 8,
        LastOp::Rlimit(_) => 16,
        LastOp::LeaveRuntime
        | LastOp::CloseFrom(_)
        | LastOp::Fork
        | LastOp::NewSession
        | LastOp::ControllingTerminal
        | LastOp::Scheduler(_)
        | LastOp::NoNewPrivileges
        | LastOp::KeepCaps
        | LastOp::DropBounding(_)
        | LastOp::Ids(..)
        | LastOp::Caps(_)
        | LastOp::Ambient(_)
        | LastOp::DieWithRuntime
        | LastOp::Park
        | LastOp::AwaitBlock
        | LastOp::Taken
        | LastOp::AwaitLimits
        | LastOp::TakeStreams
        | LastOp::Cwd
        | LastOp::CwdAs(..)
        | LastOp::Umask(_)
        | LastOp::IoPriority(_)
        | LastOp::ByRuntime(_)
        | LastOp::Exec => 0,
    }
}

fn strings(table: &mut Table, list: &[CString], extra: Option<u64>) -> u64 {
    let mut words: Vec<u64> = list.iter().map(|text| table.bytes(text.as_bytes_with_nul())).collect();
    words.extend(extra);
    words.push(0);
    table.words(&words)
}

/// What execve(2) refuses a file that was found with; anything else is told by a general text.
const COMPLAINTS: [Errno; 9] = [
    Errno::ENOENT,
    Errno::ENOEXEC,
    Errno::EACCES,
    Errno::EPERM,
    Errno::E2BIG,
    Errno::ELOOP,
    Errno::ENOMEM,
    Errno::ETXTBSY,
    Errno::ELIBBAD,
];

/// The list for [`Mode::SAY`], in runc's words.
fn complaints(table: &mut Table, plan: &Plan) -> u64 {
    let program = plan.args.first().map_or(&b""[..], |program| program.to_bytes());
    let mut list = Vec::with_capacity(COMPLAINTS.len() + 1);
    let mut say = |table: &mut Table, errno: i32, why: &str| {
        let text = [b"exec ", program, b": ", why.as_bytes(), b"\n"].concat();
        list.push(Complaint { errno: errno as u64, text: table.bytes(&text), len: text.len() as u64 });
    };
    for errno in COMPLAINTS {
        say(table, errno as i32, &errno_text(errno));
    }
    say(table, 0, "cannot be executed");
    table.complaints(&list)
}

/// A hook without an environment of its own has the program's, with its HOME.
fn pointers(hook: &ChildHook, env: &[CString], home: Option<u64>) -> HookPointers {
    let list = |list: &[CString], more: Option<u64>| -> Vec<*const c_char> {
        let more = more.map(|address| address as *const c_char);
        list.iter().map(|text| text.as_ptr()).chain(more).chain([std::ptr::null()]).collect()
    };
    let env = hook.env.as_deref().map_or_else(|| list(env, home), |env| list(env, None));
    HookPointers { args: list(&hook.args, None), env }
}

struct Builder<'a> {
    table: Table,
    wire: u64,
    fifo: Option<&'a OwnedFd>,
    pair: Option<&'a (OwnedFd, OwnedFd)>,
    exe: Option<&'a OwnedFd>,
    hook_output: &'a [Option<OwnedFd>; 2],
    /// Our descriptors among those to preserve, first and last of each run.
    ours: Vec<(u32, u32)>,
    program: u64,
    args: u64,
    env: u64,
    /// What to say when the program cannot be executed, for [`Mode::SAY`]; 0 for nothing.
    complaints: u64,
    /// The system call that sends a record, which a filter that is loaded lets pass.
    send: libc::c_long,
    /// The one that receives a record.
    receive: libc::c_long,
    /// Where the kernel writes the number of what a launcher makes.
    made: u64,
}

impl<'a> Builder<'a> {
    /// A record to the parent.
    fn send(&mut self, op: u32, record: u64) {
        self.must(op, self.send, &[self.wire, record, wire::SIZE as u64, MSG_NOSIGNAL]);
    }

    fn must(&mut self, op: u32, nr: libc::c_long, args: &[u64]) {
        self.table.call(op, Mode::MUST, nr, args);
    }

    fn prctl(&mut self, op: u32, option: i32, a: u64, b: u64) {
        self.must(op, libc::SYS_prctl, &[option as u64, a, b]);
    }

    fn op(&mut self, index: u32, op: &LastOp) -> Result<()> {
        match op {
            LastOp::LeaveRuntime => {
                let exe = self.exe.ok_or_else(|| sync_error("the plan leaves the runtime for no file"))?;
                last_calls::leave(&mut self.table, index, exe.as_fd(), b"brisk: init\0");
            }
            // EPERM: a leader already, which is what is wanted.
            LastOp::NewSession => {
                self.table.call(index, Mode::MAY, libc::SYS_setsid, &[]);
            }
            LastOp::ControllingTerminal => self.must(index, libc::SYS_ioctl, &[0, libc::TIOCSCTTY as _]),
            LastOp::CloseFrom(first) => self.close_from(index, *first),
            LastOp::Scheduler(attr) => {
                let attr = self.table.bytes(attr);
                self.must(index, libc::SYS_sched_setattr, &[0, attr, 0]);
            }
            LastOp::NoNewPrivileges => self.prctl(index, libc::PR_SET_NO_NEW_PRIVS, 1, 0),
            LastOp::DieWithRuntime => {
                self.prctl(index, libc::PR_SET_PDEATHSIG, libc::SIGKILL as u64, 0);
                // To nobody, where the runtime has died before that: EPIPE.
                let record = self.table.bytes(&wire::encode(&Message::Sync(SyncPoint::Bound, 0)));
                self.send(index, record);
            }
            LastOp::KeepCaps => self.prctl(index, libc::PR_SET_KEEPCAPS, 1, 0),
            LastOp::DropBounding(mask) => {
                for cap in bits(*mask) {
                    self.prctl(index, libc::PR_CAPBSET_DROP, cap, 0);
                }
            }
            LastOp::Ambient(mask) => {
                for cap in bits(*mask) {
                    self.prctl(index, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as u64, cap);
                }
            }
            LastOp::Ids(ids) => {
                let (uid, gid) = (u64::from(ids.uid), u64::from(ids.gid));
                // The same as setresgid and setresuid for root, and what profiles written for runc allow: a filter
                // may be loaded already.
                self.must(index, libc::SYS_setgid, &[gid]);
                self.must(index, libc::SYS_setuid, &[uid]);
            }
            LastOp::Caps(masks) => {
                let header = words32(&mut self.table, &[cred::CAP_VERSION, 0]);
                let data = words32(&mut self.table, &cred::cap_words(masks));
                self.must(index, libc::SYS_capset, &[header, data]);
            }
            LastOp::Seccomp(filter) => self.seccomp(index, filter),
            LastOp::Fork => self.fork(index),
            LastOp::Park => {
                let record = self.table.bytes(&wire::encode(&Message::Sync(SyncPoint::Parked, 0)));
                let byte = self.table.reserve(8);
                self.send(index, record);
                let fifo = self.start_fifo()?.as_raw_fd() as u64;
                self.must(index, libc::SYS_read, &[fifo, byte, 1]);
            }
            LastOp::AwaitBlock => self.await_block(index)?,
            LastOp::Taken => {
                let record = self.table.bytes(&wire::encode(&Message::Sync(SyncPoint::Taken, 0)));
                self.send(index, record);
            }
            LastOp::AwaitLimits => self.await_limits(index),
            LastOp::TakeStreams => self.take_streams(index),
            LastOp::Cwd => self.must(index, libc::SYS_fchdir, &[received::CWD as u64]),
            LastOp::CwdAs(user) => self.cwd_as(index, *user),
            LastOp::Umask(mask) => self.must(index, libc::SYS_umask, &[u64::from(*mask)]),
            LastOp::Groups(groups) => self.groups(index, groups),
            LastOp::IoPriority(value) => {
                const IOPRIO_WHO_PROCESS: u64 = 1;
                self.must(index, libc::SYS_ioprio_set, &[IOPRIO_WHO_PROCESS, 0, u64::from(*value)]);
            }
            LastOp::Rlimit(limit) => {
                let both = self.table.bytes(&[limit.soft.to_ne_bytes(), limit.hard.to_ne_bytes()].concat());
                self.must(index, libc::SYS_prlimit64, &[0, limit.resource.into(), both, 0]);
            }
            LastOp::Exec => {
                let call = [self.program, self.args, self.env, self.complaints];
                let mode = if self.complaints == 0 { Mode::MUST } else { Mode::SAY };
                self.table.call(index, mode, libc::SYS_execve, &call);
            }
            // Between the calls of the block, by `child::Child::last`.
            LastOp::ByRuntime(_) => {}
        }
        Ok(())
    }

    fn start_fifo(&self) -> Result<BorrowedFd<'a>> {
        self.fifo.map(AsFd::as_fd).ok_or_else(|| sync_error("the plan waits for start, and there is no fifo"))
    }

    /// What is kept has the lowest numbers before anybody is told that it can be used, so that those of what comes are
    /// known: see [`wire::received`].
    fn await_block(&mut self, index: u32) -> Result<()> {
        let (receiver, sender) =
            self.pair.ok_or_else(|| sync_error("the plan waits for a block, and nobody can send it"))?;
        let fds = [receiver.as_fd(), sender.as_fd(), self.start_fifo()?];
        for (fd, onto) in fds.into_iter().zip([waiting::RECEIVER, waiting::SENDER, waiting::FIFO]) {
            self.must(index, libc::SYS_dup3, &[fd.as_raw_fd() as u64, onto as u64, 0]);
        }
        let record = self.table.bytes(&wire::encode(&Message::Sync(SyncPoint::Parked, 0)));
        self.send(index, record);
        self.must(index, libc::SYS_close_range, &[3, u64::from(u32::MAX), 0]);
        self.table.go_on(index, waiting::RECEIVER, received::BLOCK, received::COUNT - 1);
        Ok(())
    }

    fn take_streams(&mut self, index: u32) {
        const CLOSE_RANGE_CLOEXEC: u64 = 4;
        for (onto, stream) in (0..).zip(received::STREAMS) {
            self.must(index, libc::SYS_dup3, &[stream as u64, onto, 0]);
        }
        // The wire is still needed.
        self.must(index, libc::SYS_close_range, &[3, u64::from(u32::MAX), CLOSE_RANGE_CLOEXEC]);
    }

    fn cwd_as(&mut self, index: u32, Ids { uid, gid }: Ids) {
        // setfsuid(2) and setfsgid(2) return what was before, and no errors.
        self.must(index, libc::SYS_setfsgid, &[u64::from(gid)]);
        self.must(index, libc::SYS_setfsuid, &[u64::from(uid)]);
        self.must(index, libc::SYS_fchdir, &[received::CWD as u64]);
        self.must(index, libc::SYS_setfsuid, &[0]);
        self.must(index, libc::SYS_setfsgid, &[0]);
    }

    fn groups(&mut self, index: u32, groups: &[u32]) {
        // As `child::Child::groups` has it.
        let mode = if groups.is_empty() { Mode::MAY } else { Mode::MUST };
        let list = words32(&mut self.table, groups);
        self.table.call(index, mode, libc::SYS_setgroups, &[groups.len() as u64, list]);
    }

    fn await_limits(&mut self, index: u32) {
        let answer = self.table.reserve(wire::SIZE);
        self.table.call(index, Mode::SOME, self.receive, &[self.wire, answer, wire::SIZE as u64]);
    }

    /// The gaps around the descriptors that are still needed (close_range(2), Linux 5.9).
    fn close_from(&mut self, index: u32, first: u32) {
        let pair = self.pair.into_iter().flat_map(|(receiver, sender)| [receiver, sender]);
        let needed = self.fifo.into_iter().chain(self.hook_output.iter().flatten()).chain(pair);
        let mut needed: Vec<u64> = needed.map(|fd| fd.as_raw_fd() as u64).chain([self.wire]).collect();
        needed.sort_unstable();
        for (first, last) in std::mem::take(&mut self.ours) {
            self.must(index, libc::SYS_close_range, &[first.into(), last.into(), 0]);
        }
        let mut from = u64::from(first);
        for fd in needed {
            if fd > from {
                self.must(index, libc::SYS_close_range, &[from, fd - 1, 0]);
            }
            from = from.max(fd + 1);
        }
        self.must(index, libc::SYS_close_range, &[from, u64::from(u32::MAX), 0]);
    }

    /// `struct sock_fprog` and the filter; a listener's number goes to the parent, who must have it before
    /// any call that the filter notifies of.
    fn seccomp(&mut self, index: u32, filter: &Filter) {
        const SECCOMP_SET_MODE_FILTER: u64 = 1;
        let program = self.table.bytes(&filter.program);
        let fprog = self.table.words(&[u64::from(filter.len), program]);
        let args = [SECCOMP_SET_MODE_FILTER, filter.flags, fprog];
        if let Some(send) = filter.speech.send {
            self.send = send;
            self.table.send_by(send);
        }
        self.receive = filter.speech.receive.unwrap_or(self.receive);
        if filter.receiver.is_none() {
            self.must(index, libc::SYS_seccomp, &args);
            return;
        }
        let record = self.table.bytes(&wire::encode(&Message::Sync(SyncPoint::Listener, 0)));
        let answer = self.table.reserve(wire::SIZE);
        let [set, flags, program] = args;
        self.table.call(index, Mode::STORE, libc::SYS_seccomp, &[set, flags, program, record + wire::VALUE as u64]);
        self.send(index, record);
        // The parent may be gone, and is not yet dead enough for the signal of its death.
        self.table.call(index, Mode::SOME, self.receive, &[self.wire, answer, wire::SIZE as u64]);
    }

    /// clone3 as the parent's sibling; the launcher says the pid and ends.
    fn fork(&mut self, index: u32) {
        let size = size_of::<libc::clone_args>();
        let mut args = vec![0u64; size / 8];
        args[0] = (libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID) as u64;
        args[offset_of!(libc::clone_args, parent_tid) / 8] = self.made;
        let args = self.table.words(&args);
        self.table.set_spare(&wire::encode(&Message::Sync(SyncPoint::Launched, 0)));
        self.table.call(index, Mode::FORK, libc::SYS_clone3, &[args, size as u64]);
    }
}

fn bits(mask: u64) -> impl Iterator<Item = u64> {
    (0..64).filter(move |bit| mask & (1 << bit) != 0)
}

fn words32(table: &mut Table, words: &[u32]) -> u64 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    table.bytes(&bytes)
}
