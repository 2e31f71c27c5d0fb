//! What a module must not name: unsafe code, what only computes, the environment, the clock.

use std::collections::BTreeSet;
use std::path::Path;

use brisk::cli::manual::ENVIRONMENT;

use super::{File, fail, named, sources, whole};

#[test]
fn unsafe_code_is_in_sys_only() {
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() != "sys") {
        for (number, line) in file.code() {
            let word = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').any(|word| word == "unsafe");
            // The program's name for the C library, which is not unsafe code but has to say so.
            let main =
                file.path.file_name().is_some_and(|name| name == "main.rs") && line.trim() == "#[unsafe(no_mangle)]";
            if word && !main || line.contains("allow(unsafe_code") {
                found.push(format!("src/{}:{number}: {}", file.name(), line.trim()));
            }
        }
    }
    fail(&found, "make it a safe function of src/sys, with a `// SAFETY:` comment");
}

/// What the modules that only compute, or run after the clone, must not name.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("plan", &["std::fs", "std::process", "std::env", "std::net", "std::io", "println!", "libc::syscall"]),
    // Their keys come from getrandom(2); and what a clock says is no part of a plan, as a length of time may be.
    ("plan", &["HashMap", "HashSet", "Instant", "SystemTime"]),
    ("spec", &["std::process", "std::net", "std::time", "println!"]),
    ("child", &["std::fs", "std::process", "std::env", "std::net", "std::io", "std::thread", "println!", "eprintln!"]),
    ("child", &["String", "Vec::new", "vec![", "format!", "Box::new", "Rc::", "Arc::", ".to_vec(", ".to_string("]),
    ("child", &[".to_owned(", ".collect(", ".clone()", "CString::new", "Vec::with_capacity", ".push(", "HashMap"]),
    ("child", &["panic!", ".unwrap(", ".expect(", "unreachable!", "crate::spec", "crate::host", "crate::error"]),
    ("sys", &["println!", "eprintln!", "std::fs", "std::process::exit", "std::env"]),
    ("wire", &["String", "Vec", "format!"]),
    ("dbus", &["systemd", "systemctl", "Stage::", "cgroup", "container", "scope", "XDG_RUNTIME_DIR"]),
    ("proc", &["fs::write", "fs::remove", "fs::create", "OpenOptions", "println!"]),
    ("host", &["fs::write", "fs::remove", "fs::create", "OpenOptions"]),
];

#[test]
fn pure_modules_touch_nothing_and_the_child_does_not_allocate() {
    let files = sources();
    let mut found = Vec::new();
    for (module, words) in FORBIDDEN {
        assert!(files.iter().any(|file| file.is_in(module)), "there is no module {module}");
        for file in files.iter().filter(|file| file.is_in(module)) {
            for (number, line) in file.code() {
                for word in words.iter().filter(|word| whole(line, word)) {
                    found.push(format!("src/{}:{number}: {word} in {module}: {}", file.name(), line.trim()));
                }
            }
        }
    }
    fail(
        &found,
        "the module only computes, or runs after the clone (FORBIDDEN, tests/architecture/touches.rs): have whoever calls it bring the value, \
         or let the parent prepare it",
    );
}

#[test]
fn the_plan_makes_no_system_call() {
    // What it may name of `sys` is data: types, constants, and the table of the regular expressions.
    let mut found = Vec::new();
    for file in sources().iter().filter(|file| file.module() == "plan") {
        for (number, line) in file.code() {
            for used in named(line, "crate::sys::") {
                if !matches!(used.as_str(), "cred" | "mount_attr" | "seccomp") {
                    found.push(format!("src/{}:{number}: the plan uses sys::{used}", file.name()));
                }
            }
        }
    }
    fail(&found, "facts about the host come in by `Host`, and what is to be done is an operation");
}

/// System calls that Linux 5.12 has, which brisk asks for, and of which docs/KERNEL.md has no row by their name.
const OLD_CALLS: &str = "bpf capget capset chdir chroot clone close dup3 execveat exit_group faccessat2 fchdir \
    fchmod fchmodat fchownat fcntl fgetxattr flock fsconfig fsetxattr fspick ftruncate get_mempolicy getcpu getcwd \
    getdents64 getegid geteuid getpgid getpid getppid ioctl ioprio_get ioprio_set kcmp keyctl linkat lseek \
    memfd_create mkdirat mknodat mmap mprotect munmap name_to_handle_at openat personality pidfd_getfd pidfd_open \
    pidfd_send_signal pipe2 pivot_root prctl pread64 prlimit64 readlinkat recvfrom recvmsg renameat2 rseq \
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo sched_getaffinity sched_getattr sched_setaffinity \
    sched_setattr sendfile sendmsg sendto set_mempolicy setdomainname setfsgid setfsuid setgid setgroups sethostname \
    setresgid setresuid setsid setsockopt setuid signalfd4 statx symlinkat timer_create timer_delete timer_settime \
    umask umount2 unlinkat unshare wait4 waitid write";

/// A call that some kernel lacks is told in docs/KERNEL.md, with what is done without it.
#[test]
fn a_system_call_has_its_kernel() {
    let document = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/KERNEL.md")).unwrap();
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let (mut found, mut used) = (Vec::new(), BTreeSet::new());
    for file in sources().iter().filter(|file| !["plan", "shim", "insight"].contains(&file.module())) {
        for (number, line) in file.code() {
            let starts = line.match_indices("SYS_").filter(|(at, _)| !line[..*at].ends_with(word));
            let names = starts.map(|(at, start)| line[at + start.len()..].split(|c| !word(c)).next().unwrap());
            for name in names {
                used.insert(name.to_owned());
                if !whole(&document, name) && !OLD_CALLS.split(' ').any(|old| old == name) {
                    found.push(format!("src/{}:{number}: {name}", file.name()));
                }
            }
        }
    }
    let unused = OLD_CALLS.split(' ').filter(|name| !used.contains(*name));
    found.extend(unused.map(|name| format!("OLD_CALLS names {name}, which nobody makes")));
    fail(
        &found,
        "a row of docs/KERNEL.md: since when, what for, what is done without it; or a word in OLD_CALLS (tests/architecture/touches.rs) for \
         what Linux 5.12 has",
    );
}

/// Where brisk's own things are is asked where they are looked for, and a brisk that is started again gets all. What a container gets of the environment is in
/// `container::environment` alone.
const READS_ENVIRONMENT: &[&str] = &[
    "container/environment.rs",
    "state/root.rs",
    "cgroup/systemd/scope.rs",
    "host/programs.rs",
    "host/check.rs",
    "container/make/image.rs",
    // What the terminal can show.
    "insight/looks.rs",
];

#[test]
fn the_environment_is_read_in_few_places() {
    let mut found = Vec::new();
    let mut used = BTreeSet::new();
    for file in sources().iter().filter(|file| file.module() != "shim") {
        for (number, line) in file.code().take_while(|(_, line)| *line != "#[cfg(test)]") {
            if ["env::var", "env::vars"].iter().any(|word| line.contains(word)) {
                match READS_ENVIRONMENT.iter().find(|name| file.path == Path::new(name)) {
                    Some(name) => drop(used.insert(name)),
                    None => found.push(format!("src/{}:{number}: {}", file.name(), line.trim())),
                }
            }
        }
    }
    found.extend(
        READS_ENVIRONMENT.iter().filter(|name| !used.contains(name)).map(|name| format!("src/{name} reads none")),
    );
    fail(
        &found,
        "what changes a container is a field of `container::environment::Environment`, which is read once and handed on; what tells where \
         something is, is read in a file of READS_ENVIRONMENT (tests/architecture/touches.rs)",
    );
}

/// A variable that brisk heeds and does not tell of is found by whoever wonders why a container is another one.
#[test]
fn the_manual_tells_of_every_variable() {
    let mut found = Vec::new();
    let mut seen = 0;
    for file in sources().iter().filter(|file| READS_ENVIRONMENT.iter().any(|name| file.path == Path::new(name))) {
        for (number, line) in file.code().take_while(|(_, line)| *line != "#[cfg(test)]") {
            let upper = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            // What asks for one, or the closures that do.
            let reads =
                ["var(\"", "var_os(\"", "path(\"", "word(\""].into_iter().flat_map(|call| line.split(call).skip(1));
            let names = reads.filter_map(|rest| rest.split('"').next()).filter(|word| word.chars().all(upper));
            for name in names {
                seen += 1;
                let told = ENVIRONMENT.iter().any(|(known, text)| *known == name || text.contains(name));
                if !told {
                    found.push(format!("src/{}:{number}: {name}", file.name()));
                }
            }
        }
    }
    assert!(seen > 8, "only {seen} variables");
    fail(
        &found,
        "a row of ENVIRONMENT in src/cli/manual.rs, and its name in `environment` of the commands that heed it",
    );
}

#[test]
fn the_clock_of_the_wall_is_only_shown() {
    // It jumps; whoever waits goes by CLOCK_MONOTONIC (std's Instant, poll(2)'s own time-outs). Five places tell people
    // the time: how old a container is, when a container was created, when a line was logged, when a job ran, and when a process ended (the shim).
    const CLOCKS: [&str; 6] =
        ["SystemTime::now", "CLOCK_REALTIME", "CLOCK_TAI", "gettimeofday", "clock_settime", "TimeSpec"];
    const SHOWN: [&str; 5] =
        ["cli/list.rs", "cli/log.rs", "container/job/report.rs", "container/make/mod.rs", "shim/os.rs"];
    let files = sources();
    let reads = |file: &File| file.code().any(|(_, line)| CLOCKS.iter().any(|clock| whole(line, clock)));
    // Filters name calls and make none.
    let found = files.iter().filter(|file| !file.is_in("plan/seccomp") && reads(file));
    let found: Vec<String> = found.map(|file| file.name().to_string()).collect();
    let more = found.iter().filter(|name| !SHOWN.contains(&name.as_str())).map(|name| format!("src/{name} asks it"));
    let less = SHOWN.iter().filter(|name| !found.iter().any(|found| found == *name));
    let wrong: Vec<String> =
        more.chain(less.map(|name| format!("src/{name} does not ask it, and is in SHOWN"))).collect();
    fail(
        &wrong,
        "who waits or measures goes by std's Instant; who shows the time is a row of SHOWN (tests/architecture/touches.rs)",
    );
}
