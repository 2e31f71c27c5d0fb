//! Which system call a seccomp filter has killed for. Nobody tells the parent; but where no audit daemon takes it, and the
//! kernel has not written too much of late, it is in the kernel's log, with the process and the time.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::plan::seccomp::{ALL_ARCHS, SyscallId};
use crate::proc::pid_namespace;
use crate::sys::klog;
use crate::sys::poll::{self, PollFlags};

/// How much of the log is looked at: some hundreds of messages.
const ROOM: usize = 64 << 10;
/// The record of a process that has ended may not be written yet: a thread of the kernel does that.
const PATIENCE: Duration = Duration::from_millis(50);
/// The log's clock is that of the last tick, and ticks are no further apart.
const TICK: Duration = Duration::from_millis(10);

/// The name of the call that ended the process, which was started at that time; `None` where the kernel does not tell.
pub(super) fn call(pid: i32, started: SystemTime) -> Option<String> {
    if !pid_namespace::is_initial() {
        return None;
    }
    let since = started.duration_since(UNIX_EPOCH).ok()?.saturating_sub(TICK);
    // Opened before the log is read: readable as soon as there is something new.
    let news = File::options().read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg").ok()?;
    std::io::Seek::seek(&mut &news, std::io::SeekFrom::End(0)).ok()?;
    let mut room = vec![0; ROOM];
    let end = Instant::now() + PATIENCE;
    loop {
        let read = klog::newest(&mut room).ok()?;
        let log = String::from_utf8_lossy(&room[..read]);
        if let Some(found) = log.lines().rev().find_map(|line| call_in(line, pid, since)) {
            return Some(found);
        }
        if !poll::one(news.as_fd(), PollFlags::POLLIN, Some(end)).ok()? {
            return None;
        }
        // One at a time; whatever it is, the whole log is looked at again.
        std::io::Read::read(&mut &news, &mut [0; 8192]).ok()?;
    }
}

/// `audit: type=1326 audit(1795911045.746:2731): … pid=17123 … sig=31 arch=c000003e syscall=41 …`: the name, if it is of this
/// process and not older. The name of the program comes quoted, or in hexadecimal digits.
fn call_in(line: &str, pid: i32, since: Duration) -> Option<String> {
    // The first words of the message: what follows in others may be anybody's.
    let record = line[line.find("audit: ")?..].strip_prefix("audit: type=1326 audit(")?;
    let (time, fields) = record.split_once("): ")?;
    let (seconds, thousandths) = time.split_once(':')?.0.split_once('.')?;
    let time = Duration::new(seconds.parse().ok()?, 0) + Duration::from_millis(thousandths.parse().ok()?);
    let field = |name: &str| fields.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    if time < since || field("pid")? != pid.to_string() {
        return None;
    }
    let token = u32::from_str_radix(field("arch")?, 16).ok()?;
    let number: u32 = field("syscall")?.parse().ok()?;
    let archs = ALL_ARCHS.into_iter().filter(|arch| arch.token() == token);
    let named = |id: &SyscallId| archs.clone().any(|arch| arch.number(*id) == Some(number));
    SyscallId::all().find(named).map(|id| id.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_the_kernels_log() {
        let line = |pid: i32, arch: &str, number: u32| {
            format!(
                "<5>[27387.820901] audit: type=1326 audit(1795911045.746:2731): auid=4294967295 uid=65534 gid=65534 \
                 ses=4294967295 pid={pid} comm=\"program\" exe=\"/work/program\" sig=31 arch={arch} syscall={number} compat=0 \
                 ip=0x7ff755b2adc7 code=0x80000000"
            )
        };
        let at = |ms: u64| Duration::from_millis(1_795_911_045_000 + ms);
        let call = |text: &str| call_in(text, 17123, at(700));
        assert_eq!(call(&line(17123, "c000003e", 41)).as_deref(), Some("socket"));
        assert_eq!(call(&line(17123, "40000003", 359)).as_deref(), Some("socket"));
        assert_eq!(call(&line(17123, "c000003e", 0x4000_0000 + 41)).as_deref(), Some("socket"));
        assert_eq!(call(&line(17123, "c00000b7", 198)).as_deref(), Some("socket"));
        assert_eq!(call(&line(17124, "c000003e", 41)), None);
        assert_eq!(call(&line(17123, "c000003e", 100_000)), None);
        assert_eq!(call_in(&line(17123, "c000003e", 41), 17123, at(747)), None);
        // A program may be called anything.
        assert_eq!(call(&line(1, "c000003e", 1).replace("program\"", "x pid=17123 arch=c000003e syscall=41\"")), None);
        let quoted = line(17123, "c000003e", 41).replace("audit: type=1326", "audit: type=1107 msg='audit: type=1326");
        assert_eq!(call(&quoted), None);
        assert_eq!(call(""), None);
    }
}
