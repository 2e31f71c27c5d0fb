//! What the probe does as an attacker inside a container.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::{Value, json};

/// Files held open at most; more are variations of the same.
const MAX_HELD: usize = 64;

/// What was seen of other processes.
#[derive(Default)]
struct Prey {
    exes: BTreeSet<String>,
    fds: BTreeSet<String>,
    entered: BTreeSet<String>,
    held: Vec<(String, File)>,
    inodes: BTreeSet<(u64, u64)>,
}

/// Looks for processes that were not there before, over and over until `stop` exists: what their exe and
/// their descriptors are, whether a directory of the host can be reached through one (CVE-2016-9962,
/// CVE-2024-21626), and holds every exe open. In the end tries to write to each (CVE-2019-5736: while the
/// program runs that is ETXTBSY; the open file waits until it does not).
pub fn hunt(stop: &str) -> Value {
    let before = pids();
    let mut prey = Prey::default();
    let end = Instant::now() + Duration::from_secs(60);
    while !Path::new(stop).exists() && Instant::now() < end {
        for pid in pids().difference(&before) {
            stalk(*pid, &mut prey);
        }
    }
    let tries: Vec<Value> =
        prey.held.iter().map(|(name, file)| json!({ "exe": name, "write": overwrite(file) })).collect();
    json!({ "exes": prey.exes, "fds": prey.fds, "entered": prey.entered, "tries": tries })
}

/// PTRACE_O_TRACEEXIT.
pub const AT_EXIT: i64 = 0x40;

/// PTRACE_SEIZE.
pub fn trace(thread: i64, options: i64) -> Value {
    json!(crate::raw::call(libc::SYS_ptrace, &[0x4206, thread, 0, options]).is_ok())
}

/// Traces whatever comes (ptrace(2)), and waits for none of it to end: first threads, or all the others; or has them stop at their end,
/// or at once and at their end.
pub fn seize(which: &str) -> Value {
    // Who comes to a container may be there before its first process looks.
    let before = if std::process::id() == 1 { BTreeSet::from([1]) } else { pids() };
    loop {
        for pid in pids().difference(&before) {
            let threads = numbers(&format!("/proc/{pid}/task"));
            for thread in threads.iter().filter(|thread| (*thread == pid) != (which == "others")) {
                let thread = i64::from(*thread);
                trace(thread, if ["end", "now"].contains(&which) { AT_EXIT } else { 0 });
                if which == "now" {
                    // PTRACE_INTERRUPT.
                    let _ = crate::raw::call(libc::SYS_ptrace, &[0x4207, thread, 0, 0]);
                }
            }
        }
    }
}

/// Looks into every process over and over until `stop` exists: whether this mark is in its environment.
pub fn environs(arg: &str) -> Value {
    let (stop, mark) = arg.split_once('=').unwrap();
    let (mut found, mut looks) = (0u64, 0u64);
    let end = Instant::now() + Duration::from_secs(60);
    while !Path::new(stop).exists() && Instant::now() < end {
        for pid in pids() {
            let text = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            looks += 1;
            found += u64::from(String::from_utf8_lossy(&text).contains(mark));
        }
    }
    json!({ "found": found, "looks": looks })
}

fn pids() -> BTreeSet<u32> {
    numbers("/proc")
}

fn numbers(dir: &str) -> BTreeSet<u32> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

fn stalk(pid: u32, prey: &mut Prey) {
    let exe = format!("/proc/{pid}/exe");
    if let (Ok(file), Ok(name)) = (File::open(&exe), fs::read_link(&exe)) {
        let name = name.to_string_lossy().into_owned();
        let inode = file.metadata().map(|meta| (meta.dev(), meta.ino())).unwrap_or_default();
        // A program of the container itself is no prize.
        let ours = fs::metadata(&name).is_ok_and(|meta| (meta.dev(), meta.ino()) == inode);
        if !ours && prey.held.len() < MAX_HELD && prey.inodes.insert(inode) {
            prey.held.push((name.clone(), file));
        }
        prey.exes.insert(name);
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten() {
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let number = entry.file_name().to_string_lossy().into_owned();
        if number.parse::<u32>().is_ok_and(|number| number > 2) {
            prey.fds.insert(target.to_string_lossy().into_owned());
        }
        // A directory from outside leads everywhere.
        let secret = entry.path().join("SECRET");
        if secret.exists() || entry.path().join("../SECRET").exists() {
            prey.entered.insert(format!("fd {number} {}", target.display()));
        }
    }
    for link in ["cwd", "root"] {
        let path = format!("/proc/{pid}/{link}");
        if Path::new(&path).join("../SECRET").exists() || Path::new(&path).join("SECRET").exists() {
            prey.entered.insert(format!("{link} {:?}", fs::read_link(&path)));
        }
    }
}

/// Opens `path` now and writes to it when it can be written.
pub fn grab(path: &str) -> Value {
    match File::open(path) {
        Ok(file) => json!({ "exe": fs::read_link(path).ok(), "write": overwrite(&file) }),
        Err(error) => json!({ "exe": error.to_string() }),
    }
}

fn overwrite(file: &File) -> Value {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let end = Instant::now() + Duration::from_secs(1);
    loop {
        match fs::OpenOptions::new().write(true).open(&path).and_then(|mut file| file.write(b"OVERWRITTEN")) {
            Ok(_) => return json!("written"),
            Err(error) if error.raw_os_error() == Some(Errno::ETXTBSY as i32) && Instant::now() < end => {}
            Err(error) => return json!(error.raw_os_error().map(|raw| format!("{:?}", Errno::from_raw(raw)))),
        }
    }
}

/// Executes `command` as on a kernel without CONFIG_CHECKPOINT_RESTORE: `prctl(PR_SET_MM, …)` is EINVAL. With
/// `no-mounts` also as on one before 5.2: open_tree(2) does not exist.
pub fn on_lesser_kernel(mounts: &str, command: &[String]) -> ExitCode {
    let mut rules: Vec<[u32; 4]> = vec![
        // Load the number; prctl → look at the first argument.
        [0x20, 0, 0, 0],
        [0x15, 0, 3, libc::SYS_prctl as u32],
        [0x20, 0, 0, 16],
        [0x15, 0, 1, libc::PR_SET_MM as u32],
        [0x06, 0, 0, libc::SECCOMP_RET_ERRNO | Errno::EINVAL as u32],
        [0x20, 0, 0, 0],
    ];
    if mounts == "no-clones" {
        rules.push([0x15, 0, 1, libc::SYS_mount_setattr as u32]);
        rules.push([0x06, 0, 0, libc::SECCOMP_RET_ERRNO | Errno::ENOSYS as u32]);
    }
    rules.push([0x06, 0, 0, libc::SECCOMP_RET_ALLOW]);
    let mut program: Vec<libc::sock_filter> = rules
        .iter()
        .map(|[code, yes, no, k]| libc::sock_filter { code: *code as u16, jt: *yes as u8, jf: *no as u8, k: *k })
        .collect();
    install(&mut program).unwrap();
    let error = std::process::Command::new(&command[0]).args(&command[1..]).exec();
    panic!("{}: {error}", command[0]);
}

#[allow(unsafe_code, reason = "a test program outside of brisk; nix has no seccomp")]
fn install(program: &mut [libc::sock_filter]) -> nix::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: `filter` describes `program`, which outlives the call.
    let result = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) };
    Errno::result(result).map(drop)
}

/// What the probe does with keys (keyrings(7)).
#[allow(unsafe_code, reason = "a test program outside of brisk; nix has no keyctl")]
pub mod keys {
    use std::ffi::CString;
    use std::os::unix::process::CommandExt;
    use std::process::ExitCode;

    use nix::errno::Errno;
    use serde_json::{Value, json};

    const SESSION: libc::c_long = -3;
    const JOIN: libc::c_long = 1;
    const SET_PERMISSIONS: libc::c_long = 5;
    const GET_ID: libc::c_long = 0;
    const SEARCH: libc::c_long = 10;
    const READ: libc::c_long = 11;

    fn keyctl(args: [libc::c_long; 5]) -> nix::Result<libc::c_long> {
        let [a, b, c, d, e] = args;
        // SAFETY: callers pass numbers, or addresses of live and NUL-terminated or large enough memory.
        Errno::result(unsafe { libc::syscall(libc::SYS_keyctl, a, b, c, d, e) })
    }

    fn address(text: &CString) -> libc::c_long {
        text.as_ptr() as libc::c_long
    }

    /// Joins a session keyring of this name (a nameless one where it is empty), lets everybody in, and adds a key.
    fn join(name: &str) -> nix::Result<libc::c_long> {
        let name = CString::new(name).unwrap();
        let pointer = if name.is_empty() { 0 } else { address(&name) };
        let id = keyctl([JOIN, pointer, 0, 0, 0])?;
        keyctl([SET_PERMISSIONS, id, 0x3f3f_3f3f, 0, 0])?;
        let (kind, title, text) = (c"user", c"brisk-secret", c"of the caller");
        // SAFETY: all three are NUL-terminated and outlive the call.
        let added = unsafe {
            libc::syscall(libc::SYS_add_key, kind.as_ptr(), title.as_ptr(), text.as_ptr(), 13 as libc::c_long, SESSION)
        };
        Errno::result(added)?;
        Ok(id)
    }

    /// Executes `command` with a session keyring that holds a secret.
    pub fn execute(name: &str, command: &[String]) -> ExitCode {
        join(name).unwrap();
        let error = std::process::Command::new(&command[0]).args(&command[1..]).exec();
        panic!("{}: {error}", command[0]);
    }

    /// Makes a keyring and says which.
    pub fn make(name: &str) -> Value {
        json!({ "session": join(name).map_err(|errno| format!("{errno:?}")) })
    }

    /// The label that a security module gives the session keyring.
    pub fn label() -> Value {
        const GET_SECURITY: libc::c_long = 17;
        let mut text = [0u8; 256];
        match keyctl([GET_SECURITY, SESSION, text.as_mut_ptr() as libc::c_long, text.len() as libc::c_long, 0]) {
            Ok(len) => json!(String::from_utf8_lossy(&text[..usize::try_from(len).unwrap() - 1])),
            Err(errno) => json!({ "errno": format!("{errno:?}") }),
        }
    }

    /// The session keyring and the secret, if that is found there.
    pub fn report() -> Value {
        let (kind, title) = (CString::from(c"user"), CString::from(c"brisk-secret"));
        let mut text = [0u8; 64];
        let read = keyctl([SEARCH, SESSION, address(&kind), address(&title), 0])
            .and_then(|id| keyctl([READ, id, text.as_mut_ptr() as libc::c_long, text.len() as libc::c_long, 0]));
        let secret = match read {
            Ok(len) => json!(String::from_utf8_lossy(&text[..usize::try_from(len).unwrap()])),
            Err(errno) => json!({ "errno": format!("{errno:?}") }),
        };
        json!({ "session": keyctl([GET_ID, SESSION, 0, 0, 0]).map_err(|errno| format!("{errno:?}")), "secret": secret })
    }
}
