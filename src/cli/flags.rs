//! The flags: one row each, the union of what runc 1.5, crun 1.29 and youki 0.7 take, and brisk's own. A row says
//! where the value goes, and that is a field of the options of each command that takes the flag: a flag without
//! a field does not compile. Nor does a field that nobody has thought of: each of these structures is taken apart once without
//! `..` by whoever gets it, where a field is taken or has a `_` under the name of the function that reads it, and
//! tests/architecture looks whether that does. What it does then is shown by the flag's test (tests/flag_tests.rs).

use std::ffi::OsStr;

use super::args::{GlobalFlags, PlanFormat, RecordFor, SortKey, StatsFormat};
use super::filter::ListFormat;
use super::log;
use super::narrow::{AbsolutePath, Variable};
use super::put::{
    Among, AtLeastOne, AtMost, Bind, Caps, Cpus, Format, Json, LEVELS, Maybe, No, Nothing, OrNone, Put, PutResult,
    ROOTLESS, Size, SomeBytes, Stdio, Tmpfs, WhetherGiven, Word, Yes,
};
use super::verbs::{Request, Verb, set};
use crate::container::options::{CGROUP_MODES, NETWORK_LOCKS};
use crate::plan::systemd::driver::CgroupDriver;

/// What follows a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagValue {
    /// Nothing.
    Switch,
    /// One value, of this name; the last one given counts.
    One(&'static str),
    /// One value, of this name, which is one of these words; the last one given counts.
    Word(&'static str, &'static [&'static str]),
    /// One value each time; all of them count.
    Many(&'static str),
    /// A value only in the `--flag=value` form.
    Maybe(&'static str),
}

/// What help, manual pages and completions say of a flag.
#[derive(Debug)]
pub struct Flag {
    /// Without the dashes.
    pub long: &'static str,
    /// One letter.
    pub short: Option<char>,
    /// What follows.
    pub value: FlagValue,
    /// One line of help.
    pub help: &'static str,
    /// Whether help lists it: those that are accepted and do nothing are not listed.
    pub listed: bool,
}

/// One row: a flag, who takes it, and where its value goes. `T` is what the values are put into.
#[derive(Debug)]
pub struct Row<T: 'static> {
    /// The flag.
    pub flag: Flag,
    /// After which commands it is taken; none for those before the command.
    pub verbs: &'static [Verb],
    /// Puts the value into the options.
    pub put: fn(&mut T, &OsStr) -> PutResult,
}

macro_rules! letter {
    () => {
        None
    };
    ($letter:literal) => {
        Some($letter)
    };
}

/// `quiet` is accepted and not listed.
macro_rules! listed {
    () => {
        true
    };
    (quiet) => {
        false
    };
}

/// What every row begins with.
macro_rules! flag {
    ($($quiet:ident)? $long:literal $($short:literal)?, $value:expr, $help:literal) => {
        Flag { long: $long, short: letter!($($short)?), value: $value, help: $help, listed: listed!($($quiet)?) }
    };
}

/// Rows for the flags before the command.
macro_rules! global {
    ($($($quiet:ident)? $long:literal $($short:literal)?, $value:expr, $help:literal: |$global:ident| $field:expr;)*) => {
        &[$(Row {
            flag: flag!($($quiet)? $long $($short)?, $value, $help),
            verbs: &[],
            put: |$global, value| $field.put(value),
        }),*]
    };
}

/// Rows for the flags after it: `Create(bundle)` is the field `bundle` of the options of `create`.
macro_rules! flags {
    ($($($quiet:ident)? $long:literal $($short:literal)?, $value:expr, $help:literal: $($verb:ident $field:tt),+;)*) => {
        &[$(Row {
            flag: flag!($($quiet)? $long $($short)?, $value, $help),
            verbs: &[$(Verb::$verb),+],
            put: set!($($verb $field),+),
        }),*]
    };
}

const SWITCH: FlagValue = FlagValue::Switch;
const FILE: FlagValue = FlagValue::One("FILE");
const FILES: FlagValue = FlagValue::Many("FILE");
const DIR: FlagValue = FlagValue::One("DIR");
const SOCKET: FlagValue = FlagValue::One("SOCKET");
const N: FlagValue = FlagValue::One("N");
const BYTES: FlagValue = FlagValue::One("BYTES");
const DURATION: FlagValue = FlagValue::One("DURATION");
const LIST: FlagValue = FlagValue::One("LIST");
const TEXT: FlagValue = FlagValue::One("VALUE");
const FORMAT: FlagValue = FlagValue::Word("FORMAT", Format::WORDS);
const LOG_FORMAT: FlagValue = FlagValue::Word("FORMAT", log::LogFormat::WORDS);

/// The flags before the command.
pub const GLOBAL: &[Row<GlobalFlags>] = global! {
    "root" 'r', DIR, "where the state of containers is kept": |o| &mut o.root;
    "log" 'l', FlagValue::One("DEST"), "log to a file ([file:]PATH), journald:ID or syslog:ID": |o| &mut o.log;
    "log-format", LOG_FORMAT, "text (default) or json": |o| &mut o.log_format;
    "log-level", FlagValue::Word("LEVEL", LEVELS), "error, warning (default), info or debug": |o| &mut o.log_level;
    "debug", SWITCH, "the same as --log-level debug": |o| &mut o.debug;
    "systemd-cgroup" 's', SWITCH, "make cgroups through systemd: cgroupsPath is SLICE:PREFIX:NAME":
        |o| &mut o.systemd_cgroup;
    "cgroup-manager", FlagValue::Word("MANAGER", CgroupDriver::WORDS), "cgroupfs (default), systemd or disabled":
        |o| Maybe(&mut o.cgroup_manager);
    "rootless", FlagValue::Word("BOOL", ROOTLESS), "tolerate cgroups that cannot be written: true, false or auto":
        |o| &mut o.tolerance;
    "trust-annotations", LIST, "follow these annotations, which an image may have, or all":
        |o| &mut o.trust_annotations;
    "systemd-log", SWITCH, "log to the journal": |o| &mut o.systemd_log;
    quiet "criu", FILE, "obsolete: criu is found in PATH": |_o| Nothing;
    "version" 'v', SWITCH, "print the version": |o| &mut o.version;
};

/// Rows for what describes a container: of `spec`, which writes it down, and of `create` and `run`, which make it.
macro_rules! outline {
    ($($long:literal, $value:expr, $help:literal: |$outline:ident| $field:expr;)*) => {
        &[$(Row {
            flag: flag!($long, $value, $help),
            verbs: &[Verb::Create, Verb::Run, Verb::Spec],
            put: set!(
                Create(options => {
                    let $outline = &mut options.outline;
                    $field
                }),
                Run(options => {
                    let $outline = &mut options.create.outline;
                    $field
                }),
                Spec(options => {
                    let $outline = &mut options.outline;
                    $field
                })
            ),
        }),*]
    };
}

/// The flags that describe a container.
pub const OUTLINE: &[Row<Request>] = outline! {
    "rootfs", DIR, "the container's root; create and run need no bundle then, but a command": |o| &mut o.rootfs;
    "read-only", SWITCH, "the root cannot be written; =false: it can": |o| Yes(&mut o.readonly);
    "tty", SWITCH, "allocate a terminal": |o| Yes(&mut o.terminal);
    "no-terminal", SWITCH, "allocate none": |o| No(&mut o.terminal);
    "memory", BYTES, "memory limit (64m, 2g); nothing is swapped": |o| SomeBytes(&mut o.limits.memory);
    "pids", N, "number of tasks": |o| AtLeastOne(&mut o.limits.pids);
    "cpus", N, "how many CPUs' time it may use (0.5)": |o| Cpus(&mut o.limits.cpu_quota);
    "user", FlagValue::One("UID[:GID]"), "user and group id (default: 0; the group has the user's number)":
        |o| &mut o.user;
    "env", FlagValue::Many("NAME=VALUE"), "add an environment variable": |o| Variable(&mut o.env);
    "cwd", DIR, "working directory in the container": |o| AbsolutePath(&mut o.cwd);
    "hostname", FlagValue::One("NAME"), "host name": |o| &mut o.hostname;
    "cap", FlagValue::Many("CAP"), "add a capability": |o| Caps(&mut o.caps);
    "mount", FlagValue::Many("SRC:DST[:ro]"), "bind a file or directory of the host": |o| Bind(&mut o.mounts);
    "tmpfs", FlagValue::Many("DST[:SIZE]"), "mount an empty tmpfs": |o| Tmpfs(&mut o.mounts);
    "network", FlagValue::One("none|host|ns:PATH"), "a network of its own (default), the host's, or that namespace's":
        |o| &mut o.network;
    "seccomp", FlagValue::One("FILE|docker|unconfined"), "filter of system calls (default: spec none, others docker)":
        |o| &mut o.seccomp;
    "overlay", FlagValue::One("tmpfs[:SIZE]|DIR"), "what is written to the root goes into a tmpfs, or into DIR and stays":
        |o| &mut o.overlay.upper;
    "lower", FlagValue::Many("DIR"), "a layer of the overlay below the root": |o| &mut o.overlay.lower;
    "overlay-idmap", SWITCH, "files of the overlay's layers have the owners of the user namespace": |o| &mut o.overlay.idmap;
    "rootless", SWITCH, "for an ordinary user": |o| &mut o.rootless;
};

/// The flags after the command.
pub const FLAGS: &[Row<Request>] = flags! {
    // create, run, restore.
    "bundle" 'b', DIR, "the bundle directory (default: .)":
        Create(bundle), Run(create.bundle), Restore(bundle), Spec(bundle), Record(bundle);
    "config" 'f', FILE, "use this file instead of the bundle's config.json":
        Create(config), Run(create.config), Record(config);
    "console-socket" 'c', SOCKET, "send the terminal's master side to this socket":
        Create(console_socket), Run(create.console_socket);
    "console-socket", SOCKET, "send the terminal's master side to this socket":
        Exec(console_socket), Restore(console_socket), Restart(console_socket), Start(console_socket);
    "pidfd-socket", SOCKET, "send a pidfd of the process to this socket":
        Create(pidfd_socket), Run(create.pidfd_socket), Exec(pidfd_socket), Restart(pidfd_socket),
        Start(pidfd_socket);
    "pid-file" 'p', FILE, "write the process id to this file": Create(pid_file), Run(create.pid_file);
    "pid-file", FILE, "write the process id to this file": Exec(pid_file), Restore(pid_file), Restart(pid_file), Start(pid_file);
    "no-pivot", SWITCH, "do not use pivot_root (root file system on a ramdisk)":
        Create(no_pivot), Run(create.no_pivot), Restore(no_pivot);
    "no-new-keyring", SWITCH, "keep the caller's session keyring": Create(no_new_keyring), Run(create.no_new_keyring);
    "preserve-fds", N, "pass N more file descriptors on, after 0 to 2 and LISTEN_FDS":
        Create(preserve_fds), Run(create.preserve_fds), Exec(preserve_fds), Restart(preserve_fds);
    "detach" 'd', SWITCH, "do not wait for the process": Run(detach), Exec(detach), Restore(detach);
    "keep", SWITCH, "do not delete the container when it ends": Run(keep);
    "replace", SWITCH, "delete a container of this name first, by force": Run(replace);
    "no-subreaper", SWITCH, "do not adopt the container's orphans": Run(no_subreaper), Restore(no_subreaper);
    quiet "no-subreaper", SWITCH, "does nothing: create never adopts processes": Create(_o => Nothing);
    "trace", FILE, "write a timeline of every stage (Chrome trace JSON)":
        Create(trace), Run(create.trace), Start(trace), Exec(trace), Delete(trace);
    // What a job may take, and who learns how it ended.
    "result", FlagValue::One("FILE|fd:N"), "write how it ended and what it used, as JSON":
        Create(job.result), Run(create.job.result), Exec(job.result), Restart(job.result);
    "timeout", DURATION, "end it after this time (1m30s, 500ms)":
        Create(job.timeout), Run(create.job.timeout), Exec(job.timeout), Restart(job.timeout);
    "timeout", DURATION, "wait no longer than this; exit status 124 then": Wait(timeout);
    "cpu-time", DURATION, "end it when its processes have used this much CPU time":
        Create(job.cpu_time), Run(create.job.cpu_time), Restart(job.cpu_time);
    "output-limit", BYTES, "end it when it writes more than this to standard output and error":
        Create(o => AtMost(&mut o.job.output_limit)), Run(o => AtMost(&mut o.create.job.output_limit)),
        Exec(o => AtMost(&mut o.job.output_limit)), Restart(o => AtMost(&mut o.job.output_limit));
    "grace", DURATION, "how long it may take to end after SIGTERM, if it catches that (default: 2s; 0: none)":
        Create(o => OrNone(&mut o.job.grace)), Run(o => OrNone(&mut o.create.job.grace)),
        Exec(o => OrNone(&mut o.job.grace)), Restart(o => OrNone(&mut o.job.grace));
    "die-with-parent", SWITCH, "end it when brisk or whoever called brisk ends":
        Create(job.die_with_parent), Run(create.job.die_with_parent), Exec(job.die_with_parent), Restart(job.die_with_parent);
    "exit-codes", SWITCH, "exit with 120 to 125 where a limit or brisk itself ended it": Run(create.job.exit_codes), Exec(job.exit_codes);
    // exec.
    "process" 'p', FILE, "take the process from this process.json": Exec(program.process), Start(program.process);
    "process", FILE, "take the process from this process.json": Run(program.process);
    "tty" 't', FlagValue::Maybe("TTY"), "allocate a terminal":
        Exec(o => WhetherGiven(&mut o.program.tty)), Start(o => WhetherGiven(&mut o.program.tty));
    "cwd", DIR, "working directory in the container":
        Exec(o => AbsolutePath(&mut o.program.cwd)), Start(o => AbsolutePath(&mut o.program.cwd));
    "env" 'e', FlagValue::Many("NAME=VALUE"), "add an environment variable":
        Exec(o => Variable(&mut o.program.env)), Start(o => Variable(&mut o.program.env));
    "user" 'u', FlagValue::One("UID[:GID]"), "user and group id": Exec(program.user), Start(program.user);
    "additional-gids" 'g', FlagValue::Many("GID"), "add a supplementary group":
        Exec(program.additional_gids), Start(program.additional_gids), Run(program.additional_gids);
    "cap" 'c', FlagValue::Many("CAP"), "add a capability": Exec(program.caps), Start(program.caps);
    "apparmor", FlagValue::One("PROFILE"), "AppArmor profile": Exec(program.apparmor);
    "process-label", FlagValue::One("LABEL"), "SELinux label": Exec(program.process_label);
    "no-new-privs", SWITCH, "set no_new_privs": Exec(program.no_new_privs), Start(program.no_new_privs),
        Run(program.no_new_privs);
    "cgroup", FlagValue::Many("[CONTROLLERS:]PATH"), "run in this cgroup below the container's": Exec(cgroup);
    "ignore-paused", SWITCH, "also when the container is paused": Exec(ignore_paused);
    // The start of a template.
    "template", SWITCH, "what program runs is said by start": Create(template), Plan(template);
    "start", SWITCH, "the plan of the start of a template that was made of the bundle": Plan(start);
    "stdio", FlagValue::One("inherit|null|IN,OUT,ERR"), "the standard streams: the caller's (default), none, or descriptors":
        Start(o => Stdio(&mut o.streams));
    "memory", BYTES, "memory limit (64m, 2g); nothing is swapped": Start(o => SomeBytes(&mut o.limits.memory));
    "pids", N, "number of tasks": Start(o => AtLeastOne(&mut o.limits.pids));
    "cpus", N, "how many CPUs' time it may use (0.5)": Start(o => Cpus(&mut o.limits.cpu_quota));
    "mount", FlagValue::Many("SRC:DST[:ro]"), "bind a file or directory of the host":
        Start(o => Bind(&mut o.mounts));
    // Pools.
    "pool", FlagValue::One("NAME"), "run in a container of this pool: a new one where none waits": Run(pool);
    "bundle" 'b', DIR, "the bundle directory of a new pool (default: .)": Pool(bundle);
    "size", N, "how many containers wait when create or fill is done (default: 1)": Pool(size);
    // delete, kill, list, ps, events, spec.
    "force" 'f', SWITCH, "kill the container first if it runs; no error if it does not exist": Delete(force);
    "regex" 'r', SWITCH, "ID is an extended regular expression: every container that matches":
        Delete(which.regex), Kill(which.regex);
    "all" 'a', SWITCH, "signal every process of the container": Kill(all);
    "format" 'f', FORMAT, "table (default) or json":
        Ps(format), Check(format), Top(format), Diff(format), Pool(format), Memory(format),
        Trace(format), Update(format);
    "format" 'f', FlagValue::Word("FORMAT", ListFormat::WORDS), "table (default), json, or fields as id,status,age,annotation.NAME":
        List(format);
    "format" 'f', FlagValue::Word("FORMAT", PlanFormat::WORDS), "table (default: in order), json, groups (by subject) or tree (of the root)":
        Plan(format);
    "diff", FlagValue::One("OTHER"), "what is different from this bundle, or from this plan that was saved as JSON": Plan(diff);
    "host", FILE, "plan for the host whose facts are in this plan, saved as JSON": Plan(host);
    "quiet" 'q', SWITCH, "print names only": List(quiet);
    "interval", DURATION, "time between statistics, as in 5s or 500ms (default: 5s)": Events(interval);
    "stats", SWITCH, "print the statistics once and end": Events(stats);
    // stats, top.
    "format" 'f', FlagValue::Word("FORMAT", StatsFormat::WORDS), "table (default), json or openmetrics": Stats(format);
    "interval", DURATION, "time between two looks (default: 1s)": Top(interval);
    "sort", FlagValue::Word("KEY", SortKey::WORDS), "cpu (default), memory, pids, io, throttled, oom, pressure or name":
        Top(sort);
    "once", SWITCH, "print one table and end": Top(once);
    "filter", FlagValue::Many("FIELD=VALUE"), "only containers of this id, status, bundle, owner, runtime or annotation.NAME; ~ instead of = for a part of it":
        Stats(filters), Top(filters), List(filters), Memory(filters);
    "plain", SWITCH, "neither colours nor other characters than ASCII": Stats(plain), Top(plain), Memory(plain), Trace(plain),
        Plan(plain), Record(plain);
    "svg", FILE, "draw it, too, and write the picture to this file": Memory(svg), Trace(svg);
    "html", FILE, "write a page with the picture and a table to this file": Trace(html);
    "compare", FILE, "compare it with this one": Trace(compare);
    // record.
    "output" 'o', FILE, "write the profile to this file (default: seccomp.json)": Record(output);
    "merge", SWITCH, "add to the profile that is in that file": Record(merge);
    "compare", FILE, "say what of this profile was never used (default: of the bundle's own)": Record(compare);
    "report", FILE, "write what was seen to this file, as JSON": Record(report);
    "for", FlagValue::Word("RUNTIME", RecordFor::WORDS), "allow what this runtime itself needs: brisk (default), crun, runc or any":
        Record(runtime);
    "file" 'f', FILE, "write this file instead of config.json": Spec(file);
    "program", FILE, "put a root together from this program of the host and the libraries it needs": Spec(program);
    "with", FlagValue::Many("PATH|nss|gconv"), "have this file or directory of the host in that root, too": Spec(with);
    "json", SWITCH, "the same as --format json":
        Plan(o => Json(&mut o.format)), Check(o => Json(&mut o.format)), Stats(o => Json(&mut o.format)),
        Top(o => Json(&mut o.format)), Diff(o => Json(&mut o.format)), Update(o => Json(&mut o.format)),
        Memory(o => Json(&mut o.format)), Trace(o => Json(&mut o.format));
    // update.
    "resources" 'r', FILES,
        "read linux.resources as JSON; - is standard input; once for all containers, or once for each":
        Update(files);
    "move", FlagValue::One("memory=BYTES,cpus=N,pids=N"), "what the first of two containers gives of its limits to the second": Update(amounts);
    "steps", N, "move it in so many steps (default: 1)": Update(steps);
    "interval", DURATION, "time between two steps": Update(interval);
    "dry-run", SWITCH, "print the steps and change nothing": Update(dry_run);
    "device-rules", SWITCH, "replace the device rules by those of --resources": Update(device_rules);
    "force", SWITCH, "write limits even where they cannot be kept": Update(force);
    "blkio-weight", N, "block I/O weight, 10 to 1000": Update(block_io.weight);
    "cpu-period", N, "CPU bandwidth period in microseconds": Update(cpu.period);
    "cpu-quota", N, "CPU bandwidth per period in microseconds; -1 lifts it": Update(cpu.quota);
    "cpu-burst", N, "CPU bandwidth that may be saved up, in microseconds": Update(cpu.burst);
    "cpu-share", N, "relative CPU weight": Update(cpu.shares);
    "cpu-rt-period", N, "real-time CPU period in microseconds": Update(cpu.realtime_period);
    "cpu-rt-runtime", N, "real-time CPU time per period in microseconds": Update(cpu.realtime_runtime);
    "cpu-idle", N, "1: run only when nothing else does": Update(cpu.idle);
    "cpuset-cpus", LIST, "CPUs that may be used": Update(cpu.cpus);
    "cpuset-mems", LIST, "memory nodes that may be used": Update(cpu.mems);
    "memory", BYTES, "memory limit (512m, 2g, …; -1 lifts it)": Update(o => Size(&mut o.memory.limit));
    "memory-reservation", BYTES, "memory that is kept under pressure": Update(o => Size(&mut o.memory.reservation));
    "memory-swap", BYTES, "memory and swap together; -1 lifts it": Update(o => Size(&mut o.memory.swap));
    quiet "kernel-memory", BYTES, "obsolete: kernels no longer have it": Update(o => Size(&mut o.memory.kernel));
    quiet "kernel-memory-tcp", BYTES, "obsolete": Update(o => Size(&mut o.memory.kernel_tcp));
    "pids-limit", N, "number of tasks; -1 lifts it": Update(pids.limit);
    "l3-cache-schema", TEXT, "Intel RDT L3 cache schema": Update(l3_cache_schema);
    "mem-bw-schema", TEXT, "Intel RDT memory bandwidth schema": Update(mem_bw_schema);
    // checkpoint, restore.
    "image-path", DIR, "directory of the image files": Checkpoint(criu.image_path), Restore(criu.image_path);
    "work-path", DIR, "directory of work files and logs": Checkpoint(criu.work_path), Restore(criu.work_path);
    "parent-path", DIR, "image files of an earlier pre-dump, relative to the image path": Checkpoint(parent_path);
    "leave-running", SWITCH, "let the container run on": Checkpoint(leave_running);
    "pre-dump", SWITCH, "save memory only and let the container run on": Checkpoint(pre_dump);
    "tcp-established", SWITCH, "keep open TCP connections":
        Checkpoint(criu.tcp_established), Restore(criu.tcp_established);
    "tcp-skip-in-flight", SWITCH, "leave out TCP connections that are being made": Checkpoint(tcp_skip_in_flight);
    "tcp-close", SWITCH, "restore TCP connections as closed": Restore(tcp_close);
    "link-remap", SWITCH, "link deleted files back where possible": Checkpoint(link_remap);
    "ext-unix-sk", SWITCH, "allow unix sockets to the outside": Checkpoint(criu.ext_unix_sk), Restore(criu.ext_unix_sk);
    quiet "ext-unix", SWITCH, "the name of --ext-unix-sk in crun's manual": Restore(criu.ext_unix_sk);
    "shell-job", SWITCH, "allow a terminal of the outside": Checkpoint(criu.shell_job), Restore(criu.shell_job);
    "file-locks", SWITCH, "keep file locks": Checkpoint(criu.file_locks), Restore(criu.file_locks);
    "lazy-pages", SWITCH, "restore memory when it is touched (userfaultfd)":
        Checkpoint(criu.lazy_pages), Restore(criu.lazy_pages);
    "status-fd", N, "criu writes a zero byte here when lazy pages are ready": Checkpoint(status_fd);
    "page-server", FlagValue::One("ADDRESS:PORT"), "send memory to this page server": Checkpoint(page_server);
    "manage-cgroups-mode", FlagValue::Word("MODE", CGROUP_MODES), "soft (default), full, strict or ignore":
        Checkpoint(o => Among(&mut o.criu.manage_cgroups_mode, CGROUP_MODES)),
        Restore(o => Among(&mut o.criu.manage_cgroups_mode, CGROUP_MODES));
    "network-lock", FlagValue::Word("METHOD", NETWORK_LOCKS), "how criu locks the network: iptables, nftables or skip":
        Checkpoint(o => Among(&mut o.criu.network_lock, NETWORK_LOCKS)),
        Restore(o => Among(&mut o.criu.network_lock, NETWORK_LOCKS));
    "empty-ns", FlagValue::Many("NAMESPACE"), "make this namespace without its content":
        Checkpoint(criu.empty_ns), Restore(criu.empty_ns);
    "auto-dedup", SWITCH, "remove duplicate memory from the images":
        Checkpoint(criu.auto_dedup), Restore(criu.auto_dedup);
    "lsm-profile", FlagValue::One("TYPE:NAME"), "LSM profile of the restored processes": Restore(lsm_profile);
    "lsm-mount-context", FlagValue::One("CONTEXT"), "LSM context of the restored mounts": Restore(lsm_mount_context);
};

/// Both tables of flags after the command, in the order of help.
pub const AFTER: &[&[Row<Request>]] = &[FLAGS, OUTLINE];

/// The flags of a command, or those before it.
pub fn of(scope: Option<Verb>) -> impl Iterator<Item = &'static Flag> {
    let before = GLOBAL.iter().filter(move |_| scope.is_none()).map(|row| &row.flag);
    before.chain(
        AFTER
            .iter()
            .copied()
            .flatten()
            .filter(move |row| scope.is_some_and(|verb| row.verbs.contains(&verb)))
            .map(|row| &row.flag),
    )
}
