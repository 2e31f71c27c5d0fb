//! The program the integration tests run inside containers: it prints what it sees as one line of JSON.
//!
//! Built statically, so it needs nothing from the rootfs. Each argument is an operation `verb` or
//! `verb:argument`; the output is one object with the operation as key. It is not part of brisk.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]
#![allow(clippy::unwrap_used, reason = "a test program may panic")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::IntoRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::process::ExitCode;

use nix::errno::Errno;
use serde_json::{Map, Value, json};

#[path = "security/attack.rs"]
mod attack;

fn main() -> ExitCode {
    let mut out = Map::new();
    let mut code = 0;
    for op in std::env::args().skip(1) {
        let (verb, arg) = op.split_once(':').unwrap_or((&op, ""));
        match verb {
            "exit" => code = arg.parse().unwrap(),
            "on-lesser-kernel" => {
                let command: Vec<String> = std::env::args().skip(2).collect();
                return attack::on_lesser_kernel(arg, &command);
            }
            "in-keyring" => {
                let command: Vec<String> = std::env::args().skip(2).collect();
                return attack::keys::execute(arg, &command);
            }
            "pause" => pause(&out, arg),
            "signals" => return report_signals(),
            _ => {
                out.insert(op.clone(), run(verb, arg));
            }
        }
    }
    println!("{}", Value::Object(out));
    ExitCode::from(code)
}

fn run(verb: &str, arg: &str) -> Value {
    match verb {
        "report" => report(),
        "stat" => stat(arg),
        "statfs" => statfs(arg),
        "read" => result(fs::read_to_string(arg)),
        "readdir" => result(fs::read_dir(arg).map(|dir| {
            let mut names: Vec<String> =
                dir.filter_map(|e| Some(e.ok()?.file_name().to_string_lossy().into_owned())).collect();
            names.sort();
            names
        })),
        "ring" => result(held_by_a_ring(arg)),
        "open" => result(fs::File::open(arg).map(|_| "ok")),
        "read1" => result(fs::File::open(arg).and_then(|mut f| f.read(&mut [0; 1]))),
        "write" => result(fs::OpenOptions::new().write(true).open(arg).map(|_| "ok")),
        "write1" => result(fs::OpenOptions::new().write(true).open(arg).and_then(|mut f| f.write(b"x"))),
        "put" => {
            let (path, text) = arg.split_once('=').unwrap();
            result(fs::OpenOptions::new().write(true).open(path).and_then(|mut f| f.write(text.as_bytes())))
        }
        "create" => result(fs::OpenOptions::new().write(true).create_new(true).mode(0o777).open(arg).map(|_| "ok")),
        "mkdir" => result(fs::create_dir(arg).map(|()| "ok")),
        "chown" => result(std::os::unix::fs::chown(arg, Some(1), Some(1)).map(|()| "ok")),
        "mknod" => {
            // `PATH`, or `PATH=MAJOR:MINOR`.
            let (path, numbers) = arg.split_once('=').unwrap_or((arg, "1:3"));
            let (major, minor) = numbers.split_once(':').unwrap();
            nix_result(nix::sys::stat::mknod(
                path,
                nix::sys::stat::SFlag::S_IFCHR,
                nix::sys::stat::Mode::from_bits_truncate(0o600),
                nix::sys::stat::makedev(major.parse().unwrap(), minor.parse().unwrap()),
            ))
        }
        "grab" => attack::grab(arg),
        "hunt" => attack::hunt(arg),
        "environs" => attack::environs(arg),
        "keys" => attack::keys::report(),
        "key-label" => attack::keys::label(),
        "make-keyring" => attack::keys::make(arg),
        "take-descriptor" => {
            let (pid, number) = arg.split_once('=').unwrap();
            let take = |pidfd: i64| raw::call(libc::SYS_pidfd_getfd, &[pidfd, number.parse().unwrap(), 0]);
            match raw::call(libc::SYS_pidfd_open, &[pid.parse().unwrap(), 0]).and_then(take) {
                Ok(_) => json!("taken"),
                Err(errno) => json!({ "errno": format!("{errno:?}") }),
            }
        }
        "exec" => result(std::process::Command::new(arg).output().map(|o| o.status.code())),
        "setuid" => nix_result(nix::unistd::setuid(arg.parse::<u32>().unwrap().into())),
        "loopback" => result(loopback()),
        "key" => result(session_key(arg)),
        "env" => json!(std::env::var(arg).ok()),
        "alloc" => {
            let pages = vec![1u8; arg.parse().unwrap()];
            json!(pages.iter().step_by(4096).map(|b| u64::from(*b)).sum::<u64>())
        }
        "clock" => json!(monotonic_ns()),
        "interrupted" => json!(interrupted(arg.parse().unwrap())),
        "threads" => json!(spawn_children(arg.parse().unwrap())),
        // The process is there when its first thread has ended.
        "outlive" => {
            second_thread();
            json!(raw::call(libc::SYS_exit, &[3]).is_ok())
        }
        "hold" => attack::trace(arg.parse().unwrap(), 0),
        "hold_at_end" => attack::trace(arg.parse().unwrap(), attack::AT_EXIT),
        "seize" => attack::seize(arg),
        "traced" => traced(arg.parse().ok()),
        "syscall" => {
            let mut numbers = arg.split(',').map(|n| n.parse::<i64>().unwrap());
            let nr = numbers.next().unwrap();
            let args: Vec<i64> = numbers.collect();
            match raw::call(nr, &args) {
                Ok(value) => json!({ "ret": value }),
                Err(errno) => json!({ "errno": format!("{errno:?}") }),
            }
        }
        _ => json!({ "unknown": verb }),
    }
}

/// Prints what was found so far, then waits to be killed (or for `seconds`, when given).
/// A second thread, which does nothing; its number.
fn second_thread() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a second thread is what is wanted")]
    std::thread::spawn(|| {
        loop {
            std::thread::park()
        }
    });
    let threads = fs::read_dir("/proc/self/task").unwrap();
    let mut numbers = threads.map(|thread| thread.unwrap().file_name().to_str().unwrap().parse().unwrap());
    numbers.find(|number| *number != std::process::id()).unwrap()
}

/// Ends with this status once its second thread is traced, or runs on.
fn traced(status: Option<i64>) -> Value {
    let second = second_thread();
    let is_traced = || {
        let status = fs::read_to_string(format!("/proc/self/task/{second}/status")).unwrap();
        !status.lines().any(|line| line == "TracerPid:\t0")
    };
    while !is_traced() {}
    match status {
        Some(status) => json!(raw::call(libc::SYS_exit_group, &[status]).is_ok()),
        None => loop {
            std::thread::park();
        },
    }
}

fn pause(out: &Map<String, Value>, seconds: &str) {
    println!("{}", Value::Object(out.clone()));
    std::io::stdout().flush().unwrap();
    match seconds.parse::<u64>() {
        Ok(seconds) => std::thread::sleep(std::time::Duration::from_secs(seconds)),
        Err(_) => loop {
            nix::unistd::pause();
        },
    }
}

/// Blocks every catchable signal, says `ready`, and prints the number of each that arrives; ends at SIGUSR2.
fn report_signals() -> ExitCode {
    let all = nix::sys::signal::SigSet::all();
    all.thread_block().unwrap();
    println!("ready");
    std::io::stdout().flush().unwrap();
    loop {
        let signal = all.wait().unwrap();
        println!("{signal}");
        std::io::stdout().flush().unwrap();
        if signal == nix::sys::signal::SIGUSR2 {
            return ExitCode::SUCCESS;
        }
    }
}

fn result<T: serde::Serialize>(value: std::io::Result<T>) -> Value {
    match value {
        Ok(value) => json!(value),
        Err(error) => match error.raw_os_error() {
            Some(raw) => json!({ "errno": format!("{:?}", Errno::from_raw(raw)) }),
            None => json!({ "error": error.to_string() }),
        },
    }
}

/// The payload of the key of this description in the session keyring.
fn session_key(description: &str) -> std::io::Result<String> {
    const SEARCH: i64 = 10;
    const READ: i64 = 11;
    const SESSION: i64 = -3;
    let name = std::ffi::CString::new(description).unwrap();
    let kind = c"user".as_ptr() as i64;
    let key = raw::call(libc::SYS_keyctl, &[SEARCH, SESSION, kind, name.as_ptr() as i64, 0])?;
    let mut payload = [0u8; 64];
    let len = raw::call(libc::SYS_keyctl, &[READ, key, payload.as_mut_ptr() as i64, payload.len() as i64])?;
    Ok(String::from_utf8_lossy(&payload[..len as usize]).into_owned())
}

fn nix_result(value: nix::Result<()>) -> Value {
    result(value.map(|()| "ok").map_err(std::io::Error::from))
}

fn loopback() -> std::io::Result<&'static str> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    std::net::TcpStream::connect(listener.local_addr()?)?;
    Ok("ok")
}

/// How many of `wanted` child processes could be started at the same time.
/// Opens a file and gives it to a ring of io_uring(7), which the kernel takes down after the process has ended.
#[allow(unsafe_code, reason = "no crate that is here knows io_uring")]
fn held_by_a_ring(path: &str) -> std::io::Result<&'static str> {
    const REGISTER_FILES: u32 = 2;
    let file = fs::OpenOptions::new().create(true).append(true).open(path)?.into_raw_fd();
    // struct io_uring_params.
    let mut params = [0u32; 30];
    // SAFETY: `params` is as large as the kernel's, which it writes.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, params.as_mut_ptr()) };
    // SAFETY: `file` is one descriptor, as is said, and outlives the call.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_FILES, &raw const file, 1) };
    if done == 0 { Ok("ok") } else { Err(std::io::Error::last_os_error()) }
}

/// Makes calls that never wait, until a handler has interrupted so many of them; how many that were of all.
#[allow(unsafe_code, reason = "a handler, and calls that are not made again")]
fn interrupted(wanted: usize) -> usize {
    extern "C" fn nothing(_: libc::c_int) {}
    let handler = nix::sys::signal::SigHandler::Handler(nothing);
    let (flags, mask) = (nix::sys::signal::SaFlags::empty(), nix::sys::signal::SigSet::empty());
    let action = nix::sys::signal::SigAction::new(handler, flags, mask);
    // SAFETY: the handler does nothing.
    unsafe { nix::sys::signal::sigaction(nix::sys::signal::Signal::SIGALRM, &action) }.unwrap();
    let every = |microseconds| {
        let time = libc::timeval { tv_sec: 0, tv_usec: microseconds };
        let times = libc::itimerval { it_interval: time, it_value: time };
        // SAFETY: the structure is read only.
        unsafe { libc::syscall(libc::SYS_setitimer, libc::ITIMER_REAL, &raw const times, 0) }
    };
    // SAFETY: no memory is passed.
    let call = || unsafe { libc::syscall(libc::SYS_getpgid, 0) };
    let mut seen = usize::from(every(1000) < 0);
    while seen < wanted {
        seen += usize::from(call() < 0);
    }
    while every(0) < 0 {
        seen += 1;
    }
    seen
}

fn spawn_children(wanted: usize) -> usize {
    let mut children = Vec::new();
    for _ in 0..wanted {
        match std::process::Command::new("/probe").arg("pause").stdout(std::process::Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(_) => break,
        }
    }
    let started = children.len();
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    started
}

fn stat(path: &str) -> Value {
    result(fs::symlink_metadata(path).map(|meta| {
        let kind = meta.file_type();
        let kind = match () {
            () if kind.is_dir() => "dir",
            () if kind.is_file() => "file",
            () if kind.is_symlink() => "link",
            () if kind.is_char_device() => "char",
            () if kind.is_block_device() => "block",
            () if kind.is_fifo() => "fifo",
            () => "socket",
        };
        json!({
            "type": kind, "mode": format!("{:o}", meta.mode() & 0o7777), "uid": meta.uid(), "gid": meta.gid(),
            "major": nix::sys::stat::major(meta.rdev()), "minor": nix::sys::stat::minor(meta.rdev()),
            "ino": meta.ino(), "dev": meta.dev(), "size": meta.len(), "atime": meta.atime(),
            "link": fs::read_link(path).ok(),
        })
    }))
}

fn statfs(path: &str) -> Value {
    match nix::sys::statvfs::statvfs(path) {
        Ok(st) => {
            json!({ "blocks": st.blocks() * st.fragment_size(), "files": st.files(), "flags": format!("{:?}", st.flags()) })
        }
        Err(errno) => json!({ "errno": format!("{errno:?}") }),
    }
}

fn report() -> Value {
    let uts = nix::sys::utsname::uname().unwrap();
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim_end().to_string();
    json!({
        "args": std::env::args().collect::<Vec<_>>(),
        "env": std::env::vars().collect::<BTreeMap<_, _>>(),
        "environ": text("/proc/self/environ").split('\0').filter(|s| !s.is_empty()).collect::<Vec<_>>(),
        "cwd": std::env::current_dir().ok(),
        "pid": std::process::id(),
        "ppid": nix::unistd::getppid().as_raw(),
        "sid": nix::unistd::getsid(None).unwrap().as_raw(),
        "pgid": nix::unistd::getpgrp().as_raw(),
        "uid": nix::unistd::getuid().as_raw(),
        "gid": nix::unistd::getgid().as_raw(),
        "status": status(),
        "limits": limits(),
        "ns": links("/proc/self/ns"),
        "fds": links("/proc/self/fd"),
        "mounts": mounts(),
        "cgroup": text("/proc/self/cgroup").lines().collect::<Vec<_>>(),
        "oom_score_adj": text("/proc/self/oom_score_adj"),
        "personality": text("/proc/self/personality"),
        "timens_offsets": text("/proc/self/timens_offsets"),
        "uid_map": text("/proc/self/uid_map"),
        "gid_map": text("/proc/self/gid_map"),
        "uptime": text("/proc/uptime"),
        "hostname": uts.nodename().to_string_lossy(),
        "machine": uts.machine().to_string_lossy(),
        "domainname": text("/proc/sys/kernel/domainname"),
        "winsize": raw::window_size(),
        "terminal": (0..3).map(raw::is_terminal).collect::<Vec<_>>(),
        "scheduler": raw::scheduler(),
        "ioprio": raw::io_priority(),
        "affinity": raw::affinity(),
    })
}

fn status() -> BTreeMap<String, String> {
    let text = fs::read_to_string("/proc/self/status").unwrap_or_default();
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.to_string(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
        .collect()
}

/// `{"Max open files": ["1024", "4096"]}`
fn limits() -> BTreeMap<String, Vec<String>> {
    let text = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    text.lines()
        .skip(1)
        .filter(|line| line.len() > 26)
        .map(|line| {
            let (name, values) = line.split_at(26);
            (name.trim().to_string(), values.split_whitespace().take(2).map(str::to_string).collect())
        })
        .collect()
}

fn links(dir: &str) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let target = fs::read_link(&path).ok()?.to_string_lossy().into_owned();
            let name = path.file_name()?.to_string_lossy().into_owned();
            (!target.ends_with("/fd")).then_some((name, target))
        })
        .collect()
}

/// /proc/self/mountinfo, see proc(5).
fn mounts() -> Vec<Value> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines()
        .map(|line| {
            let (left, right) = line.split_once(" - ").unwrap();
            let left: Vec<&str> = left.split(' ').collect();
            let right: Vec<&str> = right.splitn(3, ' ').collect();
            json!({
                "root": left[3], "point": left[4], "opts": left[5].split(',').collect::<Vec<_>>(),
                "tags": &left[6..], "fs": right[0], "source": right[1],
                "super": right[2].split(',').collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// System calls the crates have no wrapper for.
#[allow(unsafe_code, reason = "a test program outside of brisk; raw calls are its purpose")]
fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[allow(unsafe_code, reason = "a test program outside of brisk; raw calls are its purpose")]
mod raw {
    use nix::errno::Errno;
    use serde_json::{Value, json};

    /// Makes a system call with up to six numbers.
    pub fn call(nr: i64, args: &[i64]) -> Result<i64, Errno> {
        let a = |i: usize| args.get(i).copied().unwrap_or(0);
        // SAFETY: callers pass plain numbers, or the address of a live buffer that is large enough.
        let value = unsafe { libc::syscall(nr, a(0), a(1), a(2), a(3), a(4), a(5)) };
        Errno::result(value)
    }

    fn address<T>(buffer: &mut T) -> i64 {
        (&raw mut *buffer) as i64
    }

    /// Rows and columns of the terminal on standard input.
    pub fn window_size() -> Value {
        let mut size = [0u16; 4];
        match call(libc::SYS_ioctl, &[0, libc::TIOCGWINSZ as i64, address(&mut size)]) {
            Ok(_) => json!({ "height": size[0], "width": size[1] }),
            Err(errno) => json!({ "errno": format!("{errno:?}") }),
        }
    }

    pub fn is_terminal(fd: i64) -> bool {
        let mut termios = [0u8; 64];
        call(libc::SYS_ioctl, &[fd, libc::TCGETS as i64, address(&mut termios)]).is_ok()
    }

    /// `struct sched_attr`, see sched_setattr(2).
    pub fn scheduler() -> Value {
        let mut attr = [0u32; 14];
        match call(libc::SYS_sched_getattr, &[0, address(&mut attr), 56, 0]) {
            Ok(_) => json!({
                "policy": attr[1], "flags": attr[2], "nice": attr[4] as i32, "priority": attr[5],
                "runtime": attr[6], "deadline": attr[8], "period": attr[10],
            }),
            Err(errno) => json!({ "errno": format!("{errno:?}") }),
        }
    }

    pub fn io_priority() -> Value {
        match call(libc::SYS_ioprio_get, &[1, 0]) {
            Ok(value) => json!({ "class": value >> 13, "priority": value & 0x1fff }),
            Err(errno) => json!({ "errno": format!("{errno:?}") }),
        }
    }

    /// CPUs the process may run on.
    pub fn affinity() -> Vec<usize> {
        let mut mask = [0u64; 128];
        let _ = call(libc::SYS_sched_getaffinity, &[0, 1024, address(&mut mask)]);
        (0..8192).filter(|cpu| mask[cpu / 64] >> (cpu % 64) & 1 == 1).collect()
    }
}
