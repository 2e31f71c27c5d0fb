//! A command that is held at one of its system calls (ptrace(2)) while others go on: what happens only when two meet.

use std::process::{Command, Stdio};

use crate::common::process::{self, Output};

#[path = "tool/os.rs"]
#[allow(dead_code, reason = "few calls of it are wanted here")]
pub mod os;
#[path = "tool/ptrace.rs"]
#[allow(dead_code, reason = "nothing fails here")]
pub mod ptrace;

/// A system call that is about to be made.
pub struct Call {
    pub pid: i32,
    pub number: i64,
    pub args: [u64; 6],
}

impl Call {
    /// The path that an argument of it points to.
    pub fn path(&self, argument: usize) -> String {
        use std::os::unix::fs::FileExt;
        let mut text = [0u8; 256];
        let memory = std::fs::File::open(format!("/proc/{}/mem", self.pid)).unwrap();
        // It may lie before the end of what is mapped.
        let len = memory.read_at(&mut text, self.args[argument]).unwrap_or(0);
        String::from_utf8_lossy(text[..len].split(|byte| *byte == 0).next().unwrap()).into_owned()
    }

    /// What the descriptor leads to that is its first argument.
    pub fn file(&self) -> String {
        let link = std::fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.args[0]));
        link.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default()
    }
}

/// Runs a command, and this before the first call of its own process that is wanted.
#[track_caller]
pub fn at_call(mut command: Command, mut wanted: impl FnMut(&Call) -> bool, meanwhile: impl FnOnce()) -> Output {
    ptrace::trace_me(&mut command);
    let running = process::start(command, Stdio::null());
    let pid = running.pid();
    let mut options = false;
    let mut meanwhile = Some(meanwhile);
    while let Some(stop) = os::wait4(pid, libc::__WALL).unwrap() {
        assert!(libc::WIFSTOPPED(stop.status), "it has ended, and made no such call");
        if !std::mem::replace(&mut options, true) {
            ptrace::mark_calls(pid).unwrap();
        }
        let is_call = libc::WSTOPSIG(stop.status) == libc::SIGTRAP | 0x80;
        if let (true, ptrace::Stop::Entry { nr, args }) = (is_call, ptrace::syscall_stop(pid).unwrap())
            && wanted(&Call { pid, number: nr as i64, args })
        {
            meanwhile.take().unwrap()();
            ptrace::detach(pid).unwrap();
            return running.wait();
        }
        let signal = libc::WSTOPSIG(stop.status);
        ptrace::resume(pid, if is_call || signal == libc::SIGTRAP { 0 } else { signal }).unwrap();
    }
    unreachable!("wait4(2) without WNOHANG")
}
