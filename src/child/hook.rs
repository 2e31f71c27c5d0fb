//! Hooks in the container's namespaces: createContainer before the root is entered, startContainer before the
//! program.
//!
//! Not trusted: startContainer hooks, which are programs of the image.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::state::{Child, Done, HookPointers, Trouble};
use crate::plan::op::Filter;
use crate::plan::process::child_hook::{ChildHook, HookDir};
use crate::sys::clone::{self, CloneArgs, Cloned};
use crate::sys::pidfd::{self, ProcessHandle};
use crate::sys::poll::{self, PollFlags};
use crate::sys::process::Exit;
use crate::sys::{descriptor, fs, process, seccomp, signal};
use crate::wire;

impl Child<'_> {
    /// Runs a hook, under the filter if there is one. What it says is kept: the error of one that fails quotes it.
    pub(super) fn hook(&mut self, hook: &ChildHook, filter: Option<&Filter>) -> Done {
        let errors = fs::memfd(c"brisk-hook-stderr")?;
        let done = self.run_hook(hook, filter, errors.as_fd());
        self.said = Some(errors).filter(|_| done.is_err());
        done
    }

    fn run_hook(&mut self, hook: &ChildHook, filter: Option<&Filter>, errors: BorrowedFd<'_>) -> Done {
        let pointers = self.inherited.hooks.get(self.next_hook).ok_or(Errno::EBADF)?;
        self.next_hook += 1;
        if let Some(started_in) = self.started_in.take() {
            fs::fchdir(started_in.as_fd())?;
        }
        let input = fs::memfd(c"brisk-hook-state")?;
        fs::write_all(input.as_fd(), &hook.state.before)?;
        let mut digits = [0; 12];
        fs::write_all(input.as_fd(), decimal(process::getpid(), &mut digits))?;
        fs::write_all(input.as_fd(), &hook.state.after)?;
        fs::rewind(input.as_fd())?;
        let [stdout, stderr] = self.inherited.hook_output.each_ref().map(|file| file.as_ref().map(AsFd::as_fd));
        // The program's may be a pipe that nobody reads before the program runs: a hook that fills it would wait for ever. A
        // file, since a hook of the image must not depend on what the image has for /dev/null.
        let unheard = fs::memfd(c"brisk-hook-stdout")?;
        let streams = [Some(input.as_fd()), stdout.or(Some(unheard.as_fd())), stderr.or(Some(errors))];
        let dir = self.root.as_ref().filter(|_| hook.dir == HookDir::Root).map(AsFd::as_fd);
        match clone::clone3(&CloneArgs::default())? {
            Cloned::Child => {
                fs::umask(self.umask);
                run(&hook.path, pointers, streams, dir, (filter, self.inherited.plan.ignored_signals))
            }
            Cloned::Parent(ProcessHandle { pid, pidfd }) => {
                if !poll::one(pidfd.as_fd(), PollFlags::POLLIN, hook.timeout.and_then(poll::within))? {
                    pidfd::kill(pidfd.as_fd(), libc::SIGKILL)?;
                    process::wait(pid, 0)?;
                    return Err(failed(hook, &[b": timed out and was killed"]));
                }
                let mut digits = [0; 12];
                match process::wait(pid, 0)? {
                    Some((_, Exit::Code(0))) => Ok(()),
                    Some((_, Exit::Code(code))) => Err(failed(hook, &[b": exit status ", decimal(code, &mut digits)])),
                    Some((_, Exit::Signal(number))) => {
                        let name = signal::words(number).as_bytes();
                        let how = [b": killed by signal ", decimal(number, &mut digits), b" (", name, b")"];
                        Err(failed(hook, &how))
                    }
                    None => Err(Errno::ECHILD.into()),
                }
            }
        }
    }
}

/// How a hook ended.
fn failed(hook: &ChildHook, how: &[&[u8]]) -> Trouble {
    let mut text = HookText { bytes: [0; wire::DETAIL_SIZE], len: 0 };
    let mut digits = [0; 12];
    text.add(&[wire::HOOK_ENDED]);
    text.add(decimal(hook.index as i32, &mut digits));
    text.add(b" ");
    let path = hook.path.to_bytes();
    text.add(&path[path.len().saturating_sub(48)..]);
    how.iter().for_each(|part| text.add(part));
    Trouble::from(Errno::EREMOTEIO).with(&text.bytes[..text.len])
}

/// A text without allocation, cut where its room ends.
struct HookText {
    bytes: [u8; wire::DETAIL_SIZE],
    len: usize,
}

impl HookText {
    fn add(&mut self, part: &[u8]) {
        let len = part.len().min(self.bytes.len() - self.len);
        self.bytes[self.len..self.len + len].copy_from_slice(&part[..len]);
        self.len += len;
    }
}

fn run(
    path: &CStr,
    pointers: &HookPointers,
    streams: [Option<BorrowedFd<'_>>; 3],
    dir: Option<BorrowedFd<'_>>,
    (filter, ignored): (Option<&Filter>, u64),
) -> ! {
    let mut streams = (0..).zip(streams);
    let prepared = streams
        .try_for_each(|(number, stream)| stream.map_or(Ok(()), |fd| descriptor::dup_onto(fd, number)))
        .and_then(|()| dir.map_or(Ok(()), fs::fchdir))
        .and_then(|()| signal::set_default(ignored))
        .and_then(|()| signal::unblock())
        .and_then(|()| descriptor::cloexec_from(3))
        .and_then(|()| filter.map_or(Ok(()), |filter| seccomp::load(&filter.program, filter.len, filter.flags)));
    let errno = match prepared {
        Ok(()) => process::exec_pointers(path, &pointers.args, &pointers.env),
        Err(errno) => errno,
    };
    // To the hook's standard error, which is quoted; if nobody hears it, the status tells.
    let _ = fs::write_all(fs::STDERR, b"cannot be executed: ")
        .and_then(|()| fs::write_all(fs::STDERR, errno.desc().as_bytes()));
    process::exit(127)
}

/// Decimal digits without allocation.
pub(super) fn decimal(number: i32, buf: &mut [u8; 12]) -> &[u8] {
    let mut rest = number.unsigned_abs();
    let mut at = buf.len();
    loop {
        at -= 1;
        buf[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        at -= 1;
        buf[at] = b'-';
    }
    &buf[at..]
}
