//! The flags: one row each, the union of what runc 1.5, crun 1.29 and youki 0.7 take, and brisk's own.

use super::verbs::Verb::{self, *};

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing.
    Switch,
    /// One value, of this name; the last one given counts.
    One(&'static str),
    /// One value each time; all of them count.
    Many(&'static str),
    /// A value only in the `--flag=value` form.
    Maybe(&'static str),
}

/// Where a flag is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Before the command.
    Global,
    /// After one of these commands.
    Verbs(&'static [Verb]),
}

/// One row: a flag.
#[derive(Debug)]
pub struct Flag {
    /// Without the dashes.
    pub long: &'static str,
    /// One letter.
    pub short: Option<char>,
    /// What follows.
    pub value: Value,
    /// Where it is taken.
    pub on: On,
    /// One line of help.
    pub help: &'static str,
    /// Whether help lists it: those that are accepted and do nothing are not listed.
    pub listed: bool,
}

impl Flag {
    /// Whether the flag belongs to `scope`: a command, or none for the flags before it.
    pub fn is_on(&self, scope: Option<Verb>) -> bool {
        match (self.on, scope) {
            (On::Global, None) => true,
            (On::Verbs(verbs), Some(verb)) => verbs.contains(&verb),
            _ => false,
        }
    }
}

const fn global(long: &'static str, short: Option<char>, value: Value, help: &'static str) -> Flag {
    Flag { long, short, value, on: On::Global, help, listed: true }
}

const fn flag(
    long: &'static str,
    short: Option<char>,
    value: Value,
    verbs: &'static [Verb],
    help: &'static str,
) -> Flag {
    Flag { long, short, value, on: On::Verbs(verbs), help, listed: true }
}

/// Accepted so that nobody's command line breaks; does nothing.
const fn quiet(row: Flag) -> Flag {
    Flag { listed: false, ..row }
}

const SWITCH: Value = Value::Switch;
const FILE: Value = Value::One("FILE");
const DIR: Value = Value::One("DIR");
const SOCKET: Value = Value::One("SOCKET");
const N: Value = Value::One("N");
const TEXT: Value = Value::One("VALUE");

/// Every flag.
pub const FLAGS: &[Flag] = &[
    // Before the command.
    global("root", Some('r'), DIR, "where the state of containers is kept"),
    global("log", Some('l'), Value::One("DEST"), "log to a file ([file:]PATH), journald:ID or syslog:ID"),
    global("log-format", None, Value::One("FORMAT"), "text (default) or json"),
    global("log-level", None, Value::One("LEVEL"), "error, warning (default), info or debug"),
    global("debug", None, SWITCH, "the same as --log-level debug"),
    global("systemd-cgroup", Some('s'), SWITCH, "make cgroups through systemd: cgroupsPath is SLICE:PREFIX:NAME"),
    global("cgroup-manager", None, Value::One("MANAGER"), "cgroupfs (default), systemd or disabled"),
    global("rootless", None, Value::One("BOOL"), "tolerate cgroups that cannot be written: true, false or auto"),
    global("systemd-log", None, SWITCH, "log to the journal"),
    quiet(global("criu", None, FILE, "obsolete: criu is found in PATH")),
    global("version", Some('v'), SWITCH, "print the version"),
    // create, run, restore.
    flag("bundle", Some('b'), DIR, &[Create, Run, Restore, Spec], "the bundle directory (default: .)"),
    flag("config", Some('f'), FILE, &[Create, Run], "use this file instead of the bundle's config.json"),
    flag("console-socket", Some('c'), SOCKET, &[Create, Run], "send the terminal's master side to this socket"),
    flag("console-socket", None, SOCKET, &[Exec, Restore], "send the terminal's master side to this socket"),
    flag("pidfd-socket", None, SOCKET, &[Create, Run, Exec], "send a pidfd of the process to this socket"),
    flag("pid-file", Some('p'), FILE, &[Create, Run], "write the process id to this file"),
    flag("pid-file", None, FILE, &[Exec, Restore], "write the process id to this file"),
    flag("no-pivot", None, SWITCH, &[Create, Run, Restore], "do not use pivot_root (root file system on a ramdisk)"),
    flag("no-new-keyring", None, SWITCH, &[Create, Run], "keep the caller's session keyring"),
    flag("preserve-fds", None, N, &[Create, Run, Exec], "pass N more file descriptors on, after 0 to 2 and LISTEN_FDS"),
    flag("detach", Some('d'), SWITCH, &[Run, Exec, Restore], "do not wait for the process"),
    flag("keep", None, SWITCH, &[Run], "do not delete the container when it ends"),
    flag("no-subreaper", None, SWITCH, &[Run, Restore], "do not adopt the container's orphans"),
    quiet(flag("no-subreaper", None, SWITCH, &[Create], "does nothing: create never adopts processes")),
    flag(
        "trace",
        None,
        FILE,
        &[Create, Run, Start, Exec, Delete],
        "write a timeline of every stage (Chrome trace JSON)",
    ),
    // exec.
    flag("process", Some('p'), FILE, &[Exec], "take the process from this process.json"),
    flag("tty", Some('t'), Value::Maybe("TTY"), &[Exec], "allocate a terminal"),
    flag("cwd", None, DIR, &[Exec], "working directory in the container"),
    flag("env", Some('e'), Value::Many("NAME=VALUE"), &[Exec], "add an environment variable"),
    flag("user", Some('u'), Value::One("UID[:GID]"), &[Exec], "user and group id"),
    flag("additional-gids", Some('g'), Value::Many("GID"), &[Exec], "add a supplementary group"),
    flag("cap", Some('c'), Value::Many("CAP"), &[Exec], "add a capability"),
    flag("apparmor", None, Value::One("PROFILE"), &[Exec], "AppArmor profile"),
    flag("process-label", None, Value::One("LABEL"), &[Exec], "SELinux label"),
    flag("no-new-privs", None, SWITCH, &[Exec], "set no_new_privs"),
    flag("cgroup", None, Value::Many("[CONTROLLERS:]PATH"), &[Exec], "run in this cgroup below the container's"),
    flag("ignore-paused", None, SWITCH, &[Exec], "also when the container is paused"),
    // delete, kill, list, ps, events, spec.
    flag("force", Some('f'), SWITCH, &[Delete], "kill the container first if it runs; no error if it does not exist"),
    flag(
        "regex",
        Some('r'),
        SWITCH,
        &[Delete, Kill],
        "ID is an extended regular expression: every container that matches",
    ),
    flag("all", Some('a'), SWITCH, &[Kill], "signal every process of the container"),
    flag("format", Some('f'), Value::One("FORMAT"), &[List, Ps], "table (default) or json"),
    flag("quiet", Some('q'), SWITCH, &[List], "print names only"),
    flag(
        "interval",
        None,
        Value::One("DURATION"),
        &[Events],
        "time between statistics, as in 5s or 500ms (default: 5s)",
    ),
    flag("stats", None, SWITCH, &[Events], "print the statistics once and end"),
    flag("rootless", None, SWITCH, &[Spec], "for an ordinary user"),
    flag("file", Some('f'), FILE, &[Spec], "write this file instead of config.json"),
    flag("json", None, SWITCH, &[Plan, Check], "print JSON"),
    // update.
    flag(
        "resources",
        Some('r'),
        Value::Many("FILE"),
        &[Update],
        "read linux.resources as JSON; - is standard input; once for all containers, or once for each",
    ),
    flag("device-rules", None, SWITCH, &[Update], "replace the device rules by those of --resources"),
    flag("force", None, SWITCH, &[Update], "write limits even where they cannot be kept"),
    flag("blkio-weight", None, N, &[Update], "block I/O weight, 10 to 1000"),
    flag("cpu-period", None, N, &[Update], "CPU bandwidth period in microseconds"),
    flag("cpu-quota", None, N, &[Update], "CPU bandwidth per period in microseconds; -1 lifts it"),
    flag("cpu-burst", None, N, &[Update], "CPU bandwidth that may be saved up, in microseconds"),
    flag("cpu-share", None, N, &[Update], "relative CPU weight"),
    flag("cpu-rt-period", None, N, &[Update], "real-time CPU period in microseconds"),
    flag("cpu-rt-runtime", None, N, &[Update], "real-time CPU time per period in microseconds"),
    flag("cpu-idle", None, N, &[Update], "1: run only when nothing else does"),
    flag("cpuset-cpus", None, Value::One("LIST"), &[Update], "CPUs that may be used"),
    flag("cpuset-mems", None, Value::One("LIST"), &[Update], "memory nodes that may be used"),
    flag("memory", None, Value::One("BYTES"), &[Update], "memory limit (512m, 2g, …; -1 lifts it)"),
    flag("memory-reservation", None, Value::One("BYTES"), &[Update], "memory that is kept under pressure"),
    flag("memory-swap", None, Value::One("BYTES"), &[Update], "memory and swap together; -1 lifts it"),
    quiet(flag("kernel-memory", None, Value::One("BYTES"), &[Update], "obsolete: kernels no longer have it")),
    quiet(flag("kernel-memory-tcp", None, Value::One("BYTES"), &[Update], "obsolete")),
    flag("pids-limit", None, N, &[Update], "number of tasks; -1 lifts it"),
    flag("l3-cache-schema", None, TEXT, &[Update], "Intel RDT L3 cache schema"),
    flag("mem-bw-schema", None, TEXT, &[Update], "Intel RDT memory bandwidth schema"),
    // checkpoint, restore.
    flag("image-path", None, DIR, &[Checkpoint, Restore], "directory of the image files"),
    flag("work-path", None, DIR, &[Checkpoint, Restore], "directory of work files and logs"),
    flag("parent-path", None, DIR, &[Checkpoint], "image files of an earlier pre-dump, relative to the image path"),
    flag("leave-running", None, SWITCH, &[Checkpoint], "let the container run on"),
    flag("pre-dump", None, SWITCH, &[Checkpoint], "save memory only and let the container run on"),
    flag("tcp-established", None, SWITCH, &[Checkpoint, Restore], "keep open TCP connections"),
    flag("tcp-skip-in-flight", None, SWITCH, &[Checkpoint], "leave out TCP connections that are being made"),
    flag("tcp-close", None, SWITCH, &[Restore], "restore TCP connections as closed"),
    flag("link-remap", None, SWITCH, &[Checkpoint], "link deleted files back where possible"),
    flag("ext-unix-sk", None, SWITCH, &[Checkpoint, Restore], "allow unix sockets to the outside"),
    flag("shell-job", None, SWITCH, &[Checkpoint, Restore], "allow a terminal of the outside"),
    flag("file-locks", None, SWITCH, &[Checkpoint, Restore], "keep file locks"),
    flag("lazy-pages", None, SWITCH, &[Checkpoint, Restore], "restore memory when it is touched (userfaultfd)"),
    flag("status-fd", None, N, &[Checkpoint], "criu writes a zero byte here when lazy pages are ready"),
    flag("page-server", None, Value::One("ADDRESS:PORT"), &[Checkpoint], "send memory to this page server"),
    flag(
        "manage-cgroups-mode",
        None,
        Value::One("MODE"),
        &[Checkpoint, Restore],
        "soft (default), full, strict or ignore",
    ),
    flag(
        "network-lock",
        None,
        Value::One("METHOD"),
        &[Checkpoint, Restore],
        "how criu locks the network: iptables, nftables or skip",
    ),
    flag("empty-ns", None, Value::Many("NAMESPACE"), &[Checkpoint, Restore], "make this namespace without its content"),
    flag("auto-dedup", None, SWITCH, &[Checkpoint, Restore], "remove duplicate memory from the images"),
    flag("lsm-profile", None, Value::One("TYPE:NAME"), &[Restore], "LSM profile of the restored processes"),
    flag("lsm-mount-context", None, Value::One("CONTEXT"), &[Restore], "LSM context of the restored mounts"),
];

/// The flags of a command, or those before it.
pub fn of(scope: Option<Verb>) -> impl Iterator<Item = &'static Flag> {
    FLAGS.iter().filter(move |flag| flag.is_on(scope))
}
