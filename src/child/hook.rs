//! Hooks in the container's namespaces: createContainer before the root is entered, startContainer before the
//! program.

use std::ffi::{CStr, c_char};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Child, Done, Trouble};
use crate::plan::op::ChildHook;
use crate::sys::process::{CloneArgs, Cloned, Exit};
use crate::sys::{fs, poll, process, signal};

/// NULL-terminated arrays of argv and environment, built by the parent.
#[derive(Debug)]
pub struct Pointers {
    /// argv.
    pub args: Vec<*const c_char>,
    /// Environment.
    pub env: Vec<*const c_char>,
}

impl Child<'_> {
    pub(super) fn hook(&mut self, hook: &ChildHook) -> Done {
        let pointers = self.inherited.hooks.get(self.next_hook).ok_or(Errno::EBADF)?;
        self.next_hook += 1;
        let input = fs::memfd(c"brisk-hook-state")?;
        fs::write_all(input.as_fd(), &hook.state.before)?;
        let mut digits = [0; 12];
        fs::write_all(input.as_fd(), decimal(process::getpid(), &mut digits))?;
        fs::write_all(input.as_fd(), &hook.state.after)?;
        fs::rewind(input.as_fd())?;
        match process::clone3(&CloneArgs::default())? {
            Cloned::Child => run(&hook.path, pointers, input.as_fd(), &self.inherited.hook_output),
            Cloned::Parent { pid, pidfd } => {
                if poll::one(pidfd.as_fd(), libc::POLLIN, hook.timeout)? == 0 {
                    process::pidfd_kill(pidfd.as_fd(), libc::SIGKILL)?;
                    process::wait(pid, 0)?;
                    return Err(Trouble::from(Errno::ETIMEDOUT).with(hook.path.to_bytes()));
                }
                match process::wait(pid, 0)? {
                    Some((_, Exit::Code(0))) => Ok(()),
                    Some((_, exit)) => Err(failed(hook, exit)),
                    None => Err(Errno::ECHILD.into()),
                }
            }
        }
    }
}

fn failed(hook: &ChildHook, exit: Exit) -> Trouble {
    let (word, number): (&[u8], _) = match exit {
        Exit::Code(code) => (b": exit status ", code),
        Exit::Signal(signal) => (b": killed by signal ", signal),
    };
    let mut text = [0; 96];
    let path = hook.path.to_bytes();
    let path = &path[path.len().saturating_sub(60)..];
    let mut digits = [0; 12];
    let mut at = 0;
    for part in [path, word, decimal(number, &mut digits)] {
        text[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    // EREMOTEIO stands for "the hook said no": the text carries what is known.
    Trouble::from(Errno::EREMOTEIO).with(&text[..at])
}

fn run(path: &CStr, pointers: &Pointers, input: BorrowedFd<'_>, output: &[Option<OwnedFd>; 2]) -> ! {
    let onto = |fd: &Option<OwnedFd>, stream| fd.as_ref().map_or(Ok(()), |fd| fs::dup_onto(fd.as_fd(), stream));
    let prepared = fs::dup_onto(input, 0)
        .and_then(|()| onto(&output[0], 1))
        .and_then(|()| onto(&output[1], 2))
        .and_then(|()| signal::set_default())
        .and_then(|()| signal::unblock())
        .and_then(|()| fs::cloexec_from(3));
    if prepared.is_ok() {
        process::exec_pointers(path, &pointers.args, &pointers.env);
    }
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
