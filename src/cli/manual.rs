//! What manual pages say beside the tables of commands and flags: descriptions, examples, what is read from the environment
//! and from files. The examples are run by tests (`integration/cli/papers.rs`).

use super::verbs::Verb;

/// What a page says of a command.
pub struct Manual {
    /// Paragraphs.
    pub description: &'static [&'static str],
    /// A command line, and what it does.
    pub examples: &'static [(&'static str, &'static str)],
    /// Exit statuses beside 0 and 1.
    pub status: &'static str,
    /// Variables, of [`ENVIRONMENT`].
    pub environment: &'static [&'static str],
    /// Other pages.
    pub see: &'static [&'static str],
}

/// Where the state is: of every command that looks at containers.
const STATE: &[&str] = &["XDG_RUNTIME_DIR"];
const CREATES: &[&str] = &[
    "BRISK_TRUST_ANNOTATIONS",
    "DBUS_SESSION_BUS_ADDRESS",
    "DBUS_SYSTEM_BUS_ADDRESS",
    "LISTEN_FDS",
    "NOTIFY_SOCKET",
    "RUN_OCI_PIDFD_RECEIVER",
    "RUN_OCI_SECCOMP_RECEIVER",
    "XDG_RUNTIME_DIR",
];
const LOOKS: &[&str] = &["LANG", "NO_COLOR", "PATH", "TERM", "XDG_RUNTIME_DIR"];
const FAILS: &str = "1 when something went wrong, which is told on standard error and in the log.";

/// What is read from the environment.
pub const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "BRISK_TRUST_ANNOTATIONS",
        "Annotations that are followed although an image may have brought them, as --trust-annotations.",
    ),
    (
        "DBUS_SESSION_BUS_ADDRESS",
        "Where an ordinary user's systemd is found that does not listen below XDG_RUNTIME_DIR, with --systemd-cgroup.",
    ),
    ("DBUS_SYSTEM_BUS_ADDRESS", "Where the system's bus is, and so systemd, with --systemd-cgroup."),
    (
        "LISTEN_FDS",
        "How many sockets from descriptor 3 on are passed to the container, see sd_listen_fds(3); of LISTEN_PID, if it is set.",
    ),
    ("LANG", "Whether the terminal shows more than ASCII; LC_ALL and LC_CTYPE count for more."),
    ("NO_COLOR", "Nothing is coloured where it is set, see https://no-color.org."),
    ("NOTIFY_SOCKET", "The socket of a supervisor that is told when the program is ready, see sd_notify(3)."),
    (
        "PATH",
        "Where ps(1), criu(8), newuidmap(1), newgidmap(1) and, if it is not beside brisk, brisk-insight are found. The program of a container is looked for in the PATH of its own environment.",
    ),
    ("RUN_OCI_PIDFD_RECEIVER", "A socket that gets a pidfd of the container's process."),
    ("RUN_OCI_SECCOMP_RECEIVER", "A socket that gets the seccomp listener where the profile names none."),
    ("TERM", "What the terminal obeys: nothing, where it is dumb or not set."),
    ("XDG_RUNTIME_DIR", "Where an ordinary user's state is kept, without --root."),
];

/// What is read and written.
pub const FILES: &[(&str, &str)] = &[
    ("config.json", "In the bundle directory: what the container is."),
    ("/run/brisk", "State of containers of root."),
    ("$XDG_RUNTIME_DIR/brisk", "State of containers of other users."),
    (
        "/run/brisk-skeleton",
        "A mount namespace that children of a host with many mounts are cloned from; umount(8) drops it.",
    ),
    ("/etc/brisk/trusted-annotations", "Annotations that are followed, a name a line; it must belong to root alone."),
];

const PLAIN: Manual = Manual { description: &[], examples: &[], status: FAILS, environment: STATE, see: &[] };

/// Of a command.
pub fn of(verb: Verb) -> &'static Manual {
    MANUALS.iter().find(|(of, _)| *of == verb).map_or(&PLAIN, |(_, manual)| manual)
}

const MANUALS: &[(Verb, Manual)] = &[
    (
        Verb::Spec,
        Manual {
            description: &[
                "Writes a config.json that runs sh on a terminal, with the root file system in rootfs beside it. A file that is there is never overwritten.",
                "Flags change what it says, and a command after -- takes the place of sh.",
                "With --program the root is put together, too: the program, its loader, the libraries that they name, and what --with names, each bound read-only where it is on the host, and the links on the way to it; nothing else of the host is there. What was taken and why is printed, and what was not: a library that only a file in a directory of --with asks for, and what a link leads to out of such a directory. Libraries that a program opens by itself (dlopen(3)) are named with --with.",
            ],
            examples: &[
                ("brisk spec --bundle web", "A configuration for the root file system in web/rootfs."),
                (
                    "brisk spec --file job.json --no-terminal --memory 64m --pids 20 -- true",
                    "Another, for a program with limits, in job.json.",
                ),
                (
                    "brisk spec --bundle hello --no-terminal --program sh -- sh -c 'echo hello'",
                    "A bundle of the host's own shell, and of nothing else.",
                ),
            ],
            environment: &[],
            see: &["brisk-check", "brisk-run"],
            ..PLAIN
        },
    ),
    (
        Verb::Restart,
        Manual {
            description: &[
                "Makes a container that has stopped once more and starts it, in the background: with the config.json, the limits, the annotations and the overlay that it had, wherever the bundle's own config.json has gone meanwhile. What its last life left is deleted first, as by brisk-delete(8), poststop hooks included.",
                "What nobody could give back is not restarted: a container that had a terminal or descriptors of its creator, unless it is given others, or to which mounts were added; run --replace is for those.",
            ],
            examples: &[("brisk restart web1", "The container web1 runs again.")],
            environment: &["LISTEN_FDS", "NOTIFY_SOCKET", "XDG_RUNTIME_DIR"],
            see: &["brisk-run", "brisk-start", "brisk-delete"],
            ..PLAIN
        },
    ),
    (
        Verb::Pool,
        Manual {
            description: &[
                "Keeps containers of a bundle that wait, made up to the program, so that run --pool has next to nothing left to do. Each is used once and thrown away. There is no daemon: create and fill make as many as --size says; a run makes none.",
                "create makes a pool and fills it. fill replaces what does not fit any more (the bundle, brisk or the machine is another one, its process was killed) and what was claimed and never started; a timer may call it. It has to be called as create was: with the same namespaces, limits, rights, priorities and options, and so has run --pool, or it makes a new container. drain deletes what waits. stats prints, as JSON, how many wait, were claimed or do not fit, and the memory of those that wait. delete drains the pool and deletes it; programs that run go on.",
                "The cgroup that the bundle names (linux.cgroupsPath) is above those of its containers. It must have no hooks, no network devices and no directory of an overlay.",
            ],
            examples: &[
                ("brisk pool create judge --bundle job --size 16", "Sixteen wait."),
                ("brisk run --pool judge --memory 64m --timeout 2s -- /work/a.out", "One of them runs a program."),
                ("brisk pool fill judge", "Sixteen wait again."),
            ],
            environment: CREATES,
            see: &["brisk-run", "brisk-create", "brisk-start"],
            ..PLAIN
        },
    ),
    (
        Verb::Check,
        Manual {
            description: &[
                "Without a bundle: what this kernel and this user can do, what would not work, and the command that changes it.",
                "With a bundle: everything that would keep a container from it from starting here, at once. Fields of config.json that are wrong; a root, a program or its interpreter that is missing or cannot be run; sources of mounts; ids that are not mapped; limits, namespaces, labels and hooks that cannot be had. What would be otherwise than asked is a warning. Nothing is made, and no link of the image is followed out of it.",
            ],
            examples: &[
                ("brisk check", "What is missing on this host."),
                ("brisk check web", "What is wrong with the bundle in web."),
                ("brisk check --format json web", "The same for a program."),
            ],
            status: "1 when something is missing, or would keep the bundle from starting.",
            environment: &["BRISK_TRUST_ANNOTATIONS", "PATH", "XDG_RUNTIME_DIR"],
            see: &["brisk-plan"],
        },
    ),
    (
        Verb::Plan,
        Manual {
            description: &[
                "Prints every step of the runtime and every operation of the container's process that create would make of a bundle on this host, in order. It makes none of them, and needs no privilege.",
                "Lines begin with who does it: host (facts that the plan rests on), parent (the runtime), cgroup, child (the container's process before its program).",
                "With --format groups the same lines stand below what they are about: namespaces, identity, cgroup, mounts, devices, security. With --format tree the root file system that will be is shown: what is mounted where, with which options, what is masked, and which mounts are hidden by later ones. With --format json each line is an object with fields.",
                "With --diff OTHER it is shown what is different from OTHER, which like BUNDLE is a bundle or a file that plan --json has written, on this host or on another. With --host FILE the bundle is planned for the host on which FILE was written.",
            ],
            examples: &[
                ("brisk plan web", "What would be done."),
                ("brisk plan --format tree web", "The root that its program would see."),
                ("brisk plan --json web > here.json", "Save it, for a program or for another host."),
                ("brisk plan --diff here.json web", "What has changed since, or is different on this host."),
            ],
            environment: CREATES,
            see: &["brisk-check", "brisk-trace"],
            ..PLAIN
        },
    ),
    (
        Verb::Run,
        Manual {
            description: &[
                "Makes a container, starts its program, waits for it and deletes the container. Signals are passed on. With --detach it returns when the program has been started, and the container is to be deleted by brisk-delete(8).",
                "With --rootfs and a command after -- it needs no bundle: flags say what the container is, which else is as brisk-spec(8) writes it, without a terminal, with a root that can be written and with Docker's filter of system calls.",
                "With --pool the program runs in a container of that pool (brisk-pool(8)) where one waits, and in a new one of its bundle where none does; then ID may be left out.",
            ],
            examples: &[
                ("brisk run --bundle web once", "Run the program of the bundle in web."),
                (
                    "brisk run --rootfs web/rootfs --read-only --memory 64m --user 1000 once -- id -u",
                    "Run a program in a root, without a bundle.",
                ),
                ("brisk run --bundle web --trace once.trace once", "The same, with a timeline for brisk-trace(8)."),
            ],
            status: "That of the program; 128 + n when signal n has killed it; 1 when it could not be run.",
            environment: CREATES,
            see: &["brisk-create", "brisk-pool", "brisk-spec"],
        },
    ),
    (
        Verb::Trace,
        Manual {
            description: &[
                "Shows a timeline that was written by --trace: in one sentence where the time went between the request and the program's first instruction, then each step with when it began and how long it took, in microseconds, its share of the whole time, and who did it. * marks the slowest, w what waits. Both sides work at once, so shares add up to more than 100%.",
                "With --compare the steps of two such files are set against each other, by name and without regard to paths and numbers in it.",
                "The file is in the format of Chrome's trace viewer, and of Perfetto.",
            ],
            examples: &[
                ("brisk trace once.trace", "Where the time of a start went."),
                ("brisk run --bundle web --trace new.trace once", "The same once more."),
                ("brisk trace --compare new.trace once.trace", "What has changed."),
                ("brisk trace --html once.html once.trace", "A page with a picture."),
            ],
            environment: &["LANG", "NO_COLOR", "TERM"],
            see: &["brisk-plan", "brisk-run"],
            ..PLAIN
        },
    ),
    (
        Verb::Record,
        Manual {
            description: &[
                "Runs the container of a bundle as brisk-run(8) does, and writes the seccomp profile that it needed: the names of the system calls that its programs made, and of those that the runtime makes itself under the filter. Everything else is refused with EPERM. Arguments are not looked at.",
                "A profile that the bundle has holds while it is recorded: what it refuses is refused, and told. What it allows and nobody called is told as well, or of the profile that --compare names.",
                "On standard error is said what was seen, with the capabilities that the kernel looked for where it tells them (Linux 6.14; root). With --report the same goes to a file, as JSON.",
            ],
            examples: &[
                (
                    "brisk record --bundle web --output web.json once",
                    "Run the program of the bundle in web, and write its profile.",
                ),
                ("brisk record --bundle web --output web.json --merge once", "Add what another run needs."),
                (
                    "brisk record --bundle web --output any.json --for any once",
                    "A profile with which crun and runc work, too.",
                ),
            ],
            status: "That of the program; 128 + n when signal n has killed it; 1 when it could not be run.",
            environment: &[
                "BRISK_TRUST_ANNOTATIONS",
                "LANG",
                "NO_COLOR",
                "NOTIFY_SOCKET",
                "LISTEN_FDS",
                "RUN_OCI_PIDFD_RECEIVER",
                "TERM",
                "XDG_RUNTIME_DIR",
            ],
            see: &["brisk-run", "brisk-spec"],
        },
    ),
    (
        Verb::Create,
        Manual {
            description: &[
                "Makes the container of a bundle: namespaces, cgroup, root file system and a process that waits for brisk-start(8) before it runs the program. If anything fails, nothing is left of it.",
                "A terminal (process.terminal) is handed over by --console-socket.",
            ],
            examples: &[("brisk create --bundle web web1", "A container called web1.")],
            environment: CREATES,
            see: &["brisk-start", "brisk-delete", "brisk-check"],
            ..PLAIN
        },
    ),
    (
        Verb::State,
        Manual {
            description: &["Prints the state of a container as the runtime specification has it."],
            examples: &[("brisk state web1", "Its status and the pid of its first process.")],
            see: &["brisk-list"],
            ..PLAIN
        },
    ),
    (
        Verb::List,
        Manual {
            description: &["Lists the containers whose state is below --root."],
            examples: &[
                ("brisk list", "A table, which has runc's columns."),
                ("brisk list --quiet", "Names for a script."),
                ("brisk list --filter status=running --format id,age,annotation.team", "Fields of some of them."),
            ],
            see: &["brisk-state"],
            ..PLAIN
        },
    ),
    (
        Verb::Start,
        Manual {
            description: &[
                "Lets the process of a created container run its program. It returns when the program runs, or says why it does not.",
            ],
            examples: &[("brisk start web1", "Run the program.")],
            see: &["brisk-create"],
            ..PLAIN
        },
    ),
    (
        Verb::Ps,
        Manual {
            description: &[
                "Shows the lines of ps(1) that are about processes of a container. Options for ps follow the name.",
            ],
            examples: &[("brisk ps web1", "As ps -ef."), ("brisk ps web1 -o pid,rss,args", "With other columns.")],
            environment: &["PATH", "XDG_RUNTIME_DIR"],
            see: &["ps(1)"],
            ..PLAIN
        },
    ),
    (
        Verb::Exec,
        Manual {
            description: &[
                "Runs a program in the namespaces and the cgroup of a running container, with the environment, user and limits of its first process where flags or --process do not say otherwise.",
            ],
            examples: &[
                ("brisk exec web1 sh -c 'echo hello'", "A command."),
                ("brisk exec --user 1000:1000 --cwd /tmp web1 id", "As another user."),
            ],
            status: "That of the program; 128 + n when signal n has killed it; 255 when it could not be run.",
            environment: &["LISTEN_FDS", "XDG_RUNTIME_DIR"],
            see: &["brisk-run"],
        },
    ),
    (
        Verb::Events,
        Manual {
            description: &[
                "Prints statistics of the container's cgroup at an interval, and a line when a process of it was killed for want of memory, until the container ends.",
            ],
            examples: &[("brisk events --stats web1", "Statistics, once.")],
            see: &["brisk-stats", "brisk-top", "brisk-update"],
            ..PLAIN
        },
    ),
    (
        Verb::Diff,
        Manual {
            description: &[
                "Prints what a container has changed in its root file system: A for what is added, C for what is changed, D for what is deleted, as the upper layer of the overlay has it. A directory in which something has changed is changed.",
                "The root has to be an overlay: one that an engine has mounted there, or that of run --overlay DIR. A tmpfs of run --overlay tmpfs is reached by nobody but the container.",
            ],
            examples: &[
                ("brisk diff web1", "A line for each path."),
                ("brisk diff --json web1", "The same for a program."),
            ],
            environment: &["PATH", "XDG_RUNTIME_DIR"],
            see: &["brisk-run", "brisk-inspect"],
            ..PLAIN
        },
    ),
    (
        Verb::Inspect,
        Manual {
            description: &[
                "Prints what the state of a container says, the configuration that it was made of, its cgroups with their files of limits and what is used of them, its namespaces and which of them are the caller's too, its mounts as it sees them, and the credentials and limits of its first process. What is not known is null.",
                "Containers of runc and crun are found as by brisk-stats(8).",
            ],
            examples: &[("brisk inspect web1", "All of it.")],
            environment: &["PATH", "XDG_RUNTIME_DIR"],
            see: &["brisk-state", "brisk-plan", "brisk-stats"],
            ..PLAIN
        },
    ),
    (
        Verb::Memory,
        Manual {
            description: &[
                "Shows the memory of containers by process and by file: resident (RSS), of that shared with whomever and private, the share (PSS: each page divided by the number of those who have it mapped), and what their cgroups say of page cache, tmpfs and the kernel's memory.",
                "Between containers it shows files that several of them have mapped, and files that are the same and in memory more than once, with what one file in their place would save. Files are compared by size and then by content; those over 256 MiB, those of FUSE, and more than 1 GiB in all, are not.",
                "Containers of runc and crun are found as by brisk-stats(8). Only root may know which files are one where overlays are mounted over the same layers, and compare files.",
            ],
            examples: &[
                ("brisk memory web1 web2", "Two containers, and what they share."),
                ("brisk memory --json", "All of them, as JSON."),
                ("brisk memory --svg memory.svg", "And as a picture."),
            ],
            environment: LOOKS,
            see: &["brisk-stats", "brisk-top"],
            ..PLAIN
        },
    ),
    (
        Verb::Stats,
        Manual {
            description: &[
                "Prints what the cgroups of containers have used and use: time on CPUs, memory and its limit, tasks, bytes read and written, throttling, processes that were killed for want of memory, and pressure. What this kernel or this cgroup does not tell is a dash, null in JSON, and no metric.",
                "Without --root, containers of runc and crun are shown, too, and those that Docker and containerd keep, as far as the caller may read their state.",
                "The format openmetrics is for the textfile collector of Prometheus's node exporter, or for any other that reads OpenMetrics.",
            ],
            examples: &[
                ("brisk stats", "All containers, once."),
                ("brisk stats --json web1", "One, as JSON."),
                ("brisk stats --format openmetrics > brisk.prom", "For Prometheus."),
            ],
            environment: LOOKS,
            see: &["brisk-top", "brisk-events"],
            ..PLAIN
        },
    ),
    (
        Verb::Top,
        Manual {
            description: &[
                "Shows what brisk-stats(8) prints, with rates in place of sums, again at each interval. On a terminal keys sort, filter and scroll; ? lists them, q quits. Elsewhere, and on a terminal that is dumb, one table follows the other.",
                "CPU%, THROTTLED% are parts of one CPU's time; the columns of WAIT% are shares of the last ten seconds in which some process waited (PSI).",
            ],
            examples: &[
                ("brisk top", "Until q."),
                ("brisk top --sort memory --filter status=running", "What runs, the largest first."),
                ("brisk top --once --json", "One look, as JSON."),
            ],
            status: "1 when something went wrong; 128 + n when signal n has ended it.",
            environment: LOOKS,
            see: &["brisk-stats", "brisk-events"],
        },
    ),
    (
        Verb::Update,
        Manual {
            description: &[
                "Changes limits of running containers. All of them get the new limits, or none: what one of them cannot keep is refused before anything is written.",
                "With --move the first of two containers gives of its limits to the second: memory, CPU time, tasks. At no time do both have more than they had together, whoever is killed. With --steps it is done in parts, each of them whole or not at all, with --interval between them; with --dry-run the steps are printed, and nothing is changed.",
            ],
            examples: &[
                ("brisk update --memory 256m --pids-limit 100 web1", "Two limits."),
                (
                    "echo '{\"pids\": {\"limit\": 50}}' | brisk update --resources - web1",
                    "linux.resources from standard input.",
                ),
                (
                    "brisk update --move memory=64m --steps 4 --interval 10s --dry-run web1 green",
                    "What web1 would give to green, step by step.",
                ),
            ],
            see: &["brisk-events"],
            ..PLAIN
        },
    ),
    (
        Verb::Pause,
        Manual {
            description: &["Freezes every process of a container, by the freezer of its cgroup."],
            examples: &[("brisk pause web1", "Freeze.")],
            see: &["brisk-resume"],
            ..PLAIN
        },
    ),
    (
        Verb::Resume,
        Manual {
            description: &["Lets the processes of a paused container run on."],
            examples: &[("brisk resume web1", "Thaw.")],
            see: &["brisk-pause"],
            ..PLAIN
        },
    ),
    (
        Verb::Mounts,
        Manual {
            description: &[
                "Adds mounts to a running container, or removes those that were added. The file has a list of mounts as config.json has it.",
            ],
            examples: &[
                ("brisk mounts add web1 mounts.json", "Add what the file lists."),
                ("brisk mounts remove web1 mounts.json", "Take it away again."),
            ],
            see: &["brisk-exec"],
            ..PLAIN
        },
    ),
    (
        Verb::Kill,
        Manual {
            description: &[
                "Sends a signal to the first process of a container, with --all to each. It returns when the signal was sent, not when the process has ended.",
            ],
            examples: &[("brisk kill web1 HUP", "A signal by name."), ("brisk kill --all web1 KILL", "End them all.")],
            see: &["brisk-delete", "signal(7)"],
            ..PLAIN
        },
    ),
    (
        Verb::Wait,
        Manual {
            description: &[
                "Waits until the program of a container has ended, and prints its exit status, whoever has started it; any number may wait. Linux 6.15 and later tell it to others than the parent of a process; where it cannot be learnt, that is an error.",
            ],
            examples: &[("brisk wait --timeout 10s web1", "Wait, and no longer than ten seconds.")],
            status: "1 when the status cannot be learnt; 124 when the time is over first.",
            environment: STATE,
            see: &["brisk-kill", "brisk-run"],
        },
    ),
    (
        Verb::Delete,
        Manual {
            description: &[
                "Deletes a container whose program has ended or was never started: its cgroup, its state, its mounts on the host if it has any. It goes on where a create or a delete was cut short.",
            ],
            examples: &[("brisk delete --force web1", "Kill it first if it runs; no error if it is not there.")],
            see: &["brisk-kill"],
            ..PLAIN
        },
    ),
    (
        Verb::Checkpoint,
        Manual {
            description: &["Saves the processes of a container by criu(8) and ends them, unless --leave-running."],
            examples: &[("brisk checkpoint --image-path images web1", "Into the directory images.")],
            environment: &["PATH", "XDG_RUNTIME_DIR"],
            see: &["brisk-restore", "criu(8)"],
            ..PLAIN
        },
    ),
    (
        Verb::Restore,
        Manual {
            description: &[
                "Makes a container of a bundle and of images that brisk-checkpoint(8) has written, and waits for it unless --detach.",
            ],
            examples: &[("brisk restore --bundle web --image-path images --detach web1", "Let it go on.")],
            status: "That of the program; 1 when it could not be restored.",
            environment: CREATES,
            see: &["brisk-checkpoint", "criu(8)"],
        },
    ),
    (
        Verb::Features,
        Manual {
            description: &[
                "Prints what this runtime and this kernel support, as the runtime specification has it, for engines.",
            ],
            examples: &[("brisk features", "As JSON.")],
            environment: &[],
            see: &["brisk-check"],
            ..PLAIN
        },
    ),
    (
        Verb::Completion,
        Manual {
            description: &[
                "Prints a script that completes commands, flags, their values, signals, and names of containers below --root.",
            ],
            examples: &[(
                "brisk completion bash > brisk.bash",
                "A file to be sourced, or put where the shell looks for such.",
            )],
            environment: &[],
            see: &["bash(1)", "zshcompsys(1)", "fish(1)"],
            ..PLAIN
        },
    ),
];
