//! Which capabilities were exercised: the kernel's trace point `capability:cap_capable` (Linux 6.14) says each time it looks for one,
//! and whether it was there.
//!
//! What the kernel says is read whenever a system call waits for our answer, so a ring holds no more than what a few calls cause.
//! A counter for each capability and answer would lose nothing either, but each of these 82 is a part of every context
//! switch: 30 µs more for a call.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use brisk::error::{errno_text, io_text};
use brisk::spec::number_list;
use brisk::sys::perf::TraceRing;
use brisk::sys::{fs, mount};
use nix::errno::Errno;

const EVENT: &str = "events/capability/cap_capable";
/// How many programs that `exec` adds are followed; each takes a ring for each CPU.
const MOST_FOLLOWED: usize = 4;

/// Masks of capabilities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exercised {
    /// The kernel looked for it and found it.
    pub used: u64,
    /// The kernel looked for it, and it was not there.
    pub denied: u64,
    /// How often it looked for one, and we do not know for which.
    pub lost: u64,
}

/// What the trace point says, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TracePoint {
    number: u64,
    capability_at: usize,
    result_at: usize,
}

/// The rings of one container.
#[derive(Debug)]
pub struct CapabilityTrace {
    tracepoint: TracePoint,
    rings: Vec<TraceRing>,
    followed: usize,
    exercised: Exercised,
}

impl CapabilityTrace {
    /// From the next program of this thread on; why not, where that cannot be.
    pub fn new(tid: i32) -> Result<CapabilityTrace, String> {
        let tracepoint = TracePoint::find()?;
        let mut trace = CapabilityTrace { tracepoint, rings: Vec::new(), followed: 0, exercised: Exercised::default() };
        trace.follow(tid).map_err(|errno| format!("perf_event_open: {}", errno_text(errno)))?;
        Ok(trace)
    }

    /// And of this one.
    pub fn follow(&mut self, tid: i32) -> brisk::sys::Result<()> {
        if self.followed == MOST_FOLLOWED {
            return Ok(());
        }
        self.followed += 1;
        let online = std::fs::read_to_string("/sys/devices/system/cpu/online").map_err(|_| Errno::ENOENT)?;
        let cpus = number_list::mask(&online).map_err(|_| Errno::EINVAL)?;
        for cpu in number_list::numbers(&cpus) {
            match TraceRing::from_exec(tid, cpu as i32, self.tracepoint.number) {
                // It went away meanwhile.
                Err(Errno::ENODEV) => {}
                ring => self.rings.push(ring?),
            }
        }
        Ok(())
    }

    /// Takes what the kernel has said since.
    pub fn read(&mut self) -> Exercised {
        let TracePoint { capability_at, result_at, .. } = self.tracepoint;
        let exercised = &mut self.exercised;
        let mut each = |fields: &[u8]| {
            let word =
                |at: usize| fields.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
            if let (Some(number @ 0..64), Some(result)) = (word(capability_at), word(result_at)) {
                *(if result == 0 { &mut exercised.used } else { &mut exercised.denied }) |= 1 << number;
            }
        };
        let mut room = [0; 128];
        let lost: u64 = self.rings.iter().map(|ring| ring.drain(&mut room, &mut each)).sum();
        self.exercised.lost += lost;
        self.exercised
    }
}

impl TracePoint {
    /// Where nobody has mounted tracefs, it is, for us alone and nowhere.
    fn find() -> Result<TracePoint, String> {
        let format = File::open(format!("/sys/kernel/tracing/{EVENT}/format")).or_else(|_| {
            let tracefs = mount::fs_new(c"tracefs", &[], 0)?;
            let path = CString::new(format!("{EVENT}/format")).unwrap_or_default();
            fs::open(tracefs.as_fd(), &path, libc::O_RDONLY, 0).map(File::from)
        });
        let mut text = String::new();
        let read = format.map_err(std::io::Error::from).and_then(|mut format| format.read_to_string(&mut text));
        read.map_err(|error| format!("the trace point capability:cap_capable cannot be read: {}", io_text(&error)))?;
        TracePoint::parse(&text).ok_or_else(|| "the trace point capability:cap_capable has another format".to_owned())
    }

    /// Its description (Documentation/trace/events.rst).
    fn parse(format: &str) -> Option<TracePoint> {
        let number = format.lines().find_map(|line| line.strip_prefix("ID: ")?.parse().ok())?;
        let at = |field: &str| {
            let line = format.lines().find(|line| line.contains(field))?;
            line.split_once("offset:")?.1.split(';').next()?.parse().ok()
        };
        Some(TracePoint { number, capability_at: at("int cap;")?, result_at: at("int ret;")? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trace_points_description() {
        let text = "name: cap_capable\nID: 2073\nformat:\n\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n\
            \tfield:const struct user_namespace * capable_ns;\toffset:24;\tsize:8;\tsigned:0;\n\
            \tfield:int cap;\toffset:32;\tsize:4;\tsigned:1;\n\tfield:int ret;\toffset:36;\tsize:4;\tsigned:1;\n";
        let found = TracePoint { number: 2073, capability_at: 32, result_at: 36 };
        assert_eq!(TracePoint::parse(text), Some(found));
        assert_eq!(TracePoint::parse(&text.replace("ret", "result")), None);
    }
}
