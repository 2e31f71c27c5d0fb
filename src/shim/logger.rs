//! Output to a program (`binary://PATH?KEY=VALUE`): it reads the streams from descriptors 3 and 4 and says on 5 that it does.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::fault::{Answer, Fault};
use super::os;
use super::reactor::{self, Event, IN, within};
use super::reaper::{self, Ended};
use super::shared::Place;

/// The numbers a logger has its descriptors under. The shim keeps them occupied, so that nothing of its own is there.
const NUMBERS: [i32; 3] = [3, 4, 5];

/// How long a logger may take until it says that it is there.
const START: Duration = Duration::from_secs(30);

/// How long a logger may take for what it has read when its input has ended, and after SIGTERM.
const PATIENCE: [(Duration, i32); 2] =
    [(Duration::from_secs(2), libc::SIGTERM), (Duration::from_secs(10), libc::SIGKILL)];

/// A running logger.
#[derive(Debug)]
pub struct Logger {
    pid: i32,
    ended: Event<Ended>,
    ready: bool,
}

impl Drop for Logger {
    fn drop(&mut self) {
        // One that nobody waits for any more. Later ones end with their input.
        if !self.ready
            && self.ended.get().is_none()
            && let Err(errno) = os::kill(self.pid, libc::SIGKILL)
        {
            os::log("warning", &format!("the logger {}: {errno}", self.pid));
        }
    }
}

/// Occupies the numbers, before anything else is opened.
pub fn reserve() -> Result<(), Errno> {
    let null = os::open("/dev/null", libc::O_RDWR).map_err(|_| Errno::ENODEV)?;
    for number in NUMBERS {
        if null.as_raw_fd() != number {
            os::dup_onto(null.as_fd(), number)?;
        }
        os::set_cloexec(number, libc::FD_CLOEXEC)?;
    }
    if NUMBERS.contains(&null.as_raw_fd()) {
        // The number stays occupied.
        std::mem::forget(null);
    }
    Ok(())
}

impl Logger {
    /// Starts it and waits until it says that it is there. Returns the ends for the process's stdout and stderr.
    pub async fn start(uri: &str, place: Place<'_>) -> Answer<(Logger, OwnedFd, OwnedFd)> {
        let (scheme, rest) = uri.split_once("://").unwrap_or_default();
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        const FAILED: &str = "failed to start logging binary process";
        let pipe = || nix::unistd::pipe2(OFlag::O_CLOEXEC).map_err(Fault::doing(FAILED));
        let ((stdout, stdout_end), (stderr, stderr_end), (ready, ready_end)) = (pipe()?, pipe()?, pipe()?);
        let mut command = Command::new(decode(path));
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some((key, value)) => command.arg(decode(key)).arg(decode(value)),
                None => command.arg(decode(pair)).arg(""),
            };
        }
        command.env_clear().env("CONTAINER_ID", place.container).env("CONTAINER_NAMESPACE", place.namespace);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let pid =
            spawn(&mut command, [stdout.as_fd(), stderr.as_fd(), ready_end.as_fd()]).map_err(Fault::doing(FAILED))?;
        let mut logger = Logger { pid, ended: reaper::know(pid), ready: false };
        drop((stdout, stderr, ready_end));
        os::set_nonblocking(ready.as_fd())?;
        let says = async {
            loop {
                match os::read(ready.as_fd(), &mut [0]) {
                    Err(Errno::EAGAIN) => reactor::ready(ready.as_fd(), IN).await?,
                    result => break result,
                }
            }
        };
        let count = within(START, says).await.unwrap_or(Err(Errno::ETIMEDOUT));
        let count = count.map_err(Fault::doing("failed to read from logging binary"))?;
        logger.ready = true;
        // The older scheme takes the end of the pipe for readiness.
        if scheme == "binary-v2" && count == 0 {
            let text = "logging binary did not call ready (it may have crashed or exited prematurely)";
            return Err(Fault::unknown(text));
        }
        Ok((logger, stdout_end, stderr_end))
    }

    /// Its input has ended: waits for it to end too, and ends it otherwise.
    pub async fn end(&self) {
        for (patience, signal) in PATIENCE {
            if within(patience, self.ended.wait()).await.is_some() {
                return;
            }
            if let Err(errno) = os::kill(self.pid, signal) {
                os::log("warning", &format!("the logger {}: {errno}", self.pid));
            }
        }
    }
}

/// Starts the command with `fds` under their numbers. Nothing else runs in this process meanwhile.
fn spawn(command: &mut Command, fds: [BorrowedFd<'_>; 3]) -> io::Result<i32> {
    let null = os::open("/dev/null", libc::O_RDWR)?;
    for (fd, number) in fds.iter().zip(NUMBERS) {
        os::dup_onto(*fd, number)?;
    }
    let child = os::spawn(command);
    for number in NUMBERS {
        os::dup_onto(null.as_fd(), number)?;
        os::set_cloexec(number, libc::FD_CLOEXEC)?;
    }
    child.map(|child| child.id().cast_signed())
}

/// Takes the URL encoding off.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.bytes().next() {
        let code = rest.get(1..3).filter(|_| first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(if first == b'+' { b' ' } else { first }));
        // Byte by byte within a character, which is passed over whole.
        let next = if code.is_some() { 3 } else { rest.chars().next().map_or(1, char::len_utf8) };
        bytes.extend_from_slice(&rest.as_bytes()[if code.is_some() { 3 } else { 1 }..next]);
        rest = &rest[next..];
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn uris_are_decoded() {
        assert_eq!(super::decode("/a%20b+c%2fd%zz%"), "/a b c/d%zz%");
        assert_eq!(super::decode("\u{e4}%C3%A4"), "\u{e4}\u{e4}");
    }
}
