//! Child processes that cannot hang a test: output goes to files, and a hard time limit is kept by pidfd.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout};
use serde_json::Value;

/// What a finished command left. Its streams are files, so a container it left behind may add to them.
pub struct Output {
    pub command: String,
    /// The exit status; 128 + signal if a signal ended it.
    pub code: i32,
    stdout: File,
    stderr: File,
}

impl Output {
    pub fn stdout(&self) -> String {
        read_all(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read_all(&self.stderr)
    }

    /// Panics unless the exit status is 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.exits(0)
    }

    /// Panics unless the exit status is `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Panics unless the command failed and said why; returns the text.
    #[track_caller]
    pub fn fails(self) -> String {
        assert_ne!(self.code, 0, "should have failed: {self:?}");
        let text = self.stderr();
        assert!(!text.trim().is_empty(), "failed without a word: {self:?}");
        assert!(!text.contains("panicked at"), "{self:?}");
        text
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = self.stdout();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }
}

impl std::fmt::Debug for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n  status {}\n  stdout: {}\n  stderr: {}", self.command, self.code, self.stdout(), self.stderr())
    }
}

fn read_all(mut file: &File) -> String {
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An unnamed file, so that a container that outlives the command can still write.
pub fn temp_file(dir: &Path) -> File {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().read(true).write(true).custom_flags(libc::O_TMPFILE).mode(0o600).open(dir).unwrap()
}

/// A command that was started and is not yet waited for.
pub struct Running {
    command: String,
    child: Child,
    pidfd: OwnedFd,
    stdout: File,
    stderr: File,
}

/// Starts `command` with its output going to files. Standard input is empty unless the caller set `stdin`.
#[track_caller]
pub fn start(mut command: Command, stdin: Stdio) -> Running {
    let dir = super::host::work_dir();
    let (stdout, stderr) = (temp_file(&dir), temp_file(&dir));
    command.stdin(stdin).stdout(append(&stdout)).stderr(append(&stderr));
    let text = format!("{command:?}");
    let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {text}: {e}"));
    let pidfd = pidfd_open(child.id().cast_signed()).unwrap();
    Running { command: text, child, pidfd, stdout, stderr }
}

/// A second description of the same file, in append mode so that two writers do not overwrite each other.
fn append(file: &File) -> File {
    use std::os::fd::AsRawFd;
    File::options().append(true).open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

impl Running {
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Readable when it has ended.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    pub fn stdout(&self) -> String {
        read_all(&self.stdout)
    }

    pub fn stderr(&self) -> String {
        read_all(&self.stderr)
    }

    /// Waits until what it has printed is as wanted; panics with its words if it ends before.
    #[track_caller]
    pub fn wait_for_stdout(&self, wanted: impl Fn(&str) -> bool) {
        super::host::wait_until(|| {
            let ended = wait_readable(self.pidfd.as_fd(), Duration::ZERO);
            let done = wanted(&self.stdout());
            assert!(done || !ended, "{} ended before: {}", self.command, read_all(&self.stderr));
            done
        });
    }

    /// Waits for the end; kills and panics at the time limit.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        if !wait_readable(self.pidfd.as_fd(), super::time_limit()) {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
            panic!("time limit: {}\n  stderr: {}", self.command, read_all(&self.stderr));
        }
        let status = self.child.wait().unwrap();
        let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap());
        Output { command: self.command, code, stdout: self.stdout, stderr: self.stderr }
    }
}

/// Runs `command` to its end.
#[track_caller]
pub fn run(command: Command) -> Output {
    start(command, Stdio::null()).wait()
}

/// `inner`, begun by another program: these words, and after them its own; in its directory, with its environment.
pub fn under(words: &[&str], inner: &Command) -> Command {
    let mut outer = Command::new(words[0]);
    outer.args(&words[1..]).arg(inner.get_program()).args(inner.get_args());
    if let Some(dir) = inner.get_current_dir() {
        outer.current_dir(dir);
    }
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    outer
}

/// `inner`, begun by a shell: in the script it is `"$@"`.
pub fn in_shell(script: &str, inner: &Command) -> Command {
    under(&["/bin/sh", "-c", script, "sh"], inner)
}

/// The command line, for a shell.
pub fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| format!("'{}'", word.to_str().unwrap())).collect::<Vec<_>>().join(" ")
}

/// Runs `command` with `input` on standard input.
#[track_caller]
pub fn run_with_input(command: Command, input: &str) -> Output {
    use std::io::Write;
    let mut file = temp_file(&super::host::work_dir());
    file.write_all(input.as_bytes()).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    start(command, Stdio::from(file)).wait()
}

/// True when `fd` became readable (for a pidfd: the process ended) within `limit`.
pub fn wait_readable(fd: BorrowedFd<'_>, limit: Duration) -> bool {
    let timeout = PollTimeout::try_from(limit).unwrap();
    let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
    loop {
        match nix::poll::poll(&mut fds, timeout) {
            Ok(n) => return n == 1,
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => panic!("poll: {errno}"),
        }
    }
}

/// A set of signals in /proc/PID/status, whose bit 0 is signal 1.
pub fn signal_mask(pid: i32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

/// poll(2)'s numbers, of which aarch64 has one.
pub const POLLS: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_ppoll,
];

/// Whether a process waits in one of these system calls. (Its wchan is a function of the kernel's, which is called otherwise in
/// another version, and is 0 in some.)
pub fn waits_in(pid: i32, calls: &[libc::c_long]) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    number.is_some_and(|number: libc::c_long| calls.contains(&number))
}

/// A pidfd of any process.
#[allow(unsafe_code, reason = "nix has no pidfd_open")]
pub fn pidfd_open(pid: i32) -> nix::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: takes two numbers.
    let fd = nix::errno::Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let fd = i32::try_from(fd).unwrap();
    // SAFETY: the kernel just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next call that waits for the listener of a seccomp filter (seccomp_unotify(2)): its id, and who makes it.
#[allow(unsafe_code, reason = "nix has no seccomp_unotify")]
pub fn waiting_call(listener: &File) -> (u64, i32) {
    assert!(wait_readable(listener.as_fd(), super::time_limit()), "no call is notified of");
    // SAFETY: plain integers, for which the kernel wants zeros.
    let mut call: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    // SAFETY: it has the kernel's layout, and is writable.
    let got = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut call) };
    nix::errno::Errno::result(got).unwrap();
    (call.id, i32::try_from(call.pid).unwrap())
}

/// Lets a call be made that waits.
#[allow(unsafe_code, reason = "nix has no seccomp_unotify")]
pub fn let_pass(listener: &File, id: u64) {
    let flags = u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).unwrap();
    let mut answer = libc::seccomp_notif_resp { id, val: 0, error: 0, flags };
    // SAFETY: it has the kernel's layout.
    let got = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    nix::errno::Errno::result(got).unwrap();
}
