//! containerd and Docker with containerd's own shim and with brisk's, each with its own daemon, in turn.

use crate::common::leftovers;
use crate::engines::{LIMITS, docker_image, installed, ready, succeed};
use crate::lab::Lab;
use crate::latency::{Contestant, in_turn, table};
use crate::memory::{kilobytes, proportional};
use crate::options::Options;
use crate::result::{Figure, Outcome, Table};
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, os, process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A daemon that finds one of the shims under the name of runc's.
struct Daemon {
    child: Child,
    dir: PathBuf,
}

/// A runtime under a shim.
struct Pair<'a> {
    name: String,
    runtime: &'a Runtime,
    daemon: usize,
}

const SHIM: &str = "containerd-shim-runc-v2";
/// The daemons' names: the index of a `Pair`'s.
const DAEMONS: [&str; 2] = ["own", "brisk"];

/// What no `ctr run --rootfs` needs, of containerd 1.x and 2.x.
const DISABLED: [&str; 5] = [
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.nri.v1.nri",
];

/// Start, exec and memory under both, where brisk's shim has been built.
pub fn shims(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let Some(shim) = &options.shim else {
        eprintln!("SKIP shims: $BRISK_SHIM names no shim (make shim)");
        return Ok(Vec::new());
    };
    // The daemons' PATH: brisk's shim is the first to be found for the second.
    let bin = lab.dir.join("shim-bin");
    std::fs::create_dir(&bin)?;
    std::fs::copy(shim, bin.join(SHIM))?;
    let mut pairs: Vec<Pair<'_>> = lab
        .runtimes
        .iter()
        .map(|runtime| Pair { name: format!("{} + Go shim", runtime.name), runtime, daemon: 0 })
        .collect();
    if let Some(first) = lab.runtimes.first() {
        pairs.insert(0, Pair { name: format!("{} + brisk's shim", first.name), runtime: first, daemon: 1 });
    }
    let mut outcomes = Vec::new();
    type Part = fn(&Lab, &Options, &Path, &[Pair<'_>]) -> Res<Vec<Outcome>>;
    for (what, needs, part) in [("ctr", "containerd", containerd as Part), ("dkr", "dockerd", docker)] {
        let named = needs == "containerd" && options.containerd.is_some();
        if !named && !installed(needs) {
            eprintln!("SKIP {what}: {needs} is not installed");
            continue;
        }
        let outcome = part(lab, options, &bin, &pairs);
        leftovers::remove_cgroups(&lab.id(what));
        outcomes.extend(outcome?);
    }
    Ok(outcomes)
}

/// Where the daemons find their shim, and dockerd its containerd.
fn search_path(options: &Options, bin: &Path, daemon: usize) -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    let first = [(daemon == 1).then_some(bin), options.containerd.as_deref()];
    first.into_iter().flatten().rev().fold(path, |path, dir| format!("{}:{path}", dir.display()))
}

/// containerd or ctr, of the directory that was named or of PATH.
fn of_containerd(options: &Options, program: &str) -> Command {
    Command::new(options.containerd.as_ref().map_or_else(|| program.into(), |dir| dir.join(program)))
}

impl Daemon {
    /// Each has a network-free configuration and directories of its own.
    fn start(
        lab: &Lab,
        options: &Options,
        bin: &Path,
        name: &str,
        number: usize,
        command: impl FnOnce(&Path) -> Res<Command>,
    ) -> Res<Daemon> {
        let dir = lab.dir.join(format!("{name}-{}", DAEMONS[number]));
        std::fs::create_dir(&dir)?;
        let mut command = command(&dir)?;
        command.env("PATH", search_path(options, bin, number));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create_new(dir.join("log"))?);
        Ok(Daemon { child: command.spawn()?, dir })
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    fn stop(mut self) -> Res<()> {
        os::kill(self.child.id() as i32, libc::SIGTERM)?;
        self.child.wait()?;
        process::reap_all();
        Ok(())
    }
}

fn containerd(lab: &Lab, options: &Options, bin: &Path, pairs: &[Pair<'_>]) -> Res<Vec<Outcome>> {
    let daemons = [0, 1].map(|number| {
        Daemon::start(lab, options, bin, "ctr", number, |dir| {
            let config = dir.join("config.toml");
            std::fs::write(&config, format!("version = 2\ndisabled_plugins = {DISABLED:?}\n"))?;
            let mut command = of_containerd(options, "containerd");
            for (option, path) in [("-c", "config.toml"), ("-a", "sock"), ("--root", "root"), ("--state", "state")] {
                command.arg(option).arg(dir.join(path));
            }
            Ok(command)
        })
    });
    let [own, ours] = daemons;
    let daemons = [own?, ours?];
    let outcome = containerd_rounds(lab, options, &daemons, pairs);
    let [own, ours] = daemons;
    own.stop()?;
    ours.stop()?;
    outcome
}

fn containerd_rounds(lab: &Lab, options: &Options, daemons: &[Daemon; 2], pairs: &[Pair<'_>]) -> Res<Vec<Outcome>> {
    let rounds = (options.rounds / 10).max(5);
    let ctr = |pair: &Pair<'_>, args: &[&str]| -> Res<Command> {
        let mut command = of_containerd(options, "ctr");
        command.arg("-a").arg(daemons[pair.daemon].socket()).args(args);
        process::quiet(&mut command);
        Ok(command)
    };
    for pair in pairs {
        ready(|| Ok(ctr(pair, &["version"])?.status()?.success()))?;
    }
    let (short, long) = (lab.bundle("ctr", &["/bin/true"])?, lab.bundle("ctr-long", &["/bin/true"])?);
    let (short, long) = (short.rootfs(), long.rootfs());
    let run = |pair: &Pair<'_>, options: &[&str], rest: &[&str]| -> Res<Command> {
        let cgroup = format!("/{}/{}", lab.id("ctr"), rest[1]);
        let mut args = vec!["run", "--runc-binary", text(&pair.runtime.path)?, "--cgroup", &cgroup, "--rootfs"];
        args.splice(1..1, options.iter().copied());
        args.extend(rest);
        ctr(pair, &args)
    };
    let each = |once: &dyn Fn(&Pair<'_>) -> Res<f64>, title: &str| {
        let contestants =
            pairs.iter().map(|pair| Contestant { name: pair.name.clone(), once: Box::new(|| once(pair)) });
        in_turn(title, rounds, contestants.collect())
    };
    let mut outcomes = Vec::new();
    let title = "ctr version (what ctr itself takes)";
    let version = of_containerd(options, "containerd").arg("--version").output()?;
    let note = format!("of each of the next two; {}", String::from_utf8_lossy(&version.stdout).trim());
    outcomes.push(table("ctr-self", title, &note, each(&|pair| succeed(ctr(pair, &["version"])?), title)?));
    let title = "ctr run --rm --rootfs, /bin/true";
    let samples = each(&|pair| succeed(run(pair, &["--rm"], &[text(&short)?, "bench", "/bin/true"])?), title)?;
    outcomes.push(table("ctr-run", title, "ctr, containerd and shim included", samples));
    // One container with each that stays, for exec and for its shim's memory.
    let name = |pair: &Pair<'_>| format!("{}-{}", pair.runtime.name, DAEMONS[pair.daemon]);
    for pair in pairs {
        succeed(run(pair, &["-d", "--null-io"], &[text(&long)?, &name(pair), "/bin/sleep", "1000000"])?)?;
    }
    let title = "ctr tasks exec, /bin/true";
    let samples =
        each(&|pair| succeed(ctr(pair, &["tasks", "exec", "--exec-id", "e", &name(pair), "/bin/true"])?), title)?;
    outcomes.push(table("ctr-exec", title, "ctr, containerd and shim included", samples));
    let mut memory = Table::new("shim-memory", "a shim beside its container", "proportional (smaps_rollup); threads");
    for pair in pairs {
        memory.add(&pair.name, shim_figures(&daemons[pair.daemon].dir, &name(pair))?);
        succeed(ctr(pair, &["tasks", "delete", "-f", &name(pair)])?)?;
        succeed(ctr(pair, &["containers", "delete", &name(pair)])?)?;
    }
    outcomes.push(Outcome::Figures(memory));
    let long = text(&long)?;
    let start =
        |pair: &Pair<'_>, id: &str| succeed(run(pair, &["-d", "--null-io"], &[long, id, "/bin/sleep", "1000000"])?);
    let delete = |pair: &Pair<'_>, id: &str| -> Res<()> {
        succeed(ctr(pair, &["tasks", "delete", "-f", id])?)?;
        succeed(ctr(pair, &["containers", "delete", id])?).map(drop)
    };
    outcomes.push(storm(options, daemons, pairs, &start, &delete)?);
    Ok(outcomes)
}

type Start<'a> = &'a dyn Fn(&Pair<'_>, &str) -> Res<f64>;
type Delete<'a> = &'a dyn Fn(&Pair<'_>, &str) -> Res<()>;

/// Many containers that stay, with each shim and the first runtime.
fn storm(
    options: &Options,
    daemons: &[Daemon; 2],
    pairs: &[Pair<'_>],
    start: Start<'_>,
    delete: Delete<'_>,
) -> Res<Outcome> {
    let count = (options.storm / 10).max(10);
    let tenth = count / 10;
    let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
    let note = "each stays; the time of each start and its shim's memory";
    let mut storm = Table::new("shim-storm", "a storm of containers under containerd", note);
    for pair in pairs.iter().filter(|pair| std::ptr::eq(pair.runtime, pairs[0].runtime)) {
        let ids: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
        let times = ids.iter().map(|id| start(pair, id)).collect::<Res<Vec<f64>>>()?;
        let dir = &daemons[pair.daemon].dir;
        let sizes = ids.iter().map(|id| proportional(shim_of(dir, id)?)).collect::<Res<Vec<f64>>>()?;
        let figures = vec![
            Figure::new("containers", "", count as f64),
            Figure::new("a shim on average", "kB", mean(&sizes)),
            Figure::new("all shims", "kB", sizes.iter().sum()),
            Figure::new("first tenth of starts", "ms", mean(&times[..tenth])),
            Figure::new("last tenth of starts", "ms", mean(&times[count - tenth..])),
        ];
        storm.add(&pair.name, figures);
        for id in &ids {
            delete(pair, id)?;
        }
    }
    Ok(Outcome::Figures(storm))
}

/// The shim of a container: the parent of its first process.
fn shim_of(dir: &Path, id: &str) -> Res<i32> {
    let task = dir.join("state/io.containerd.runtime.v2.task/default").join(id);
    let pid = std::fs::read_to_string(task.join("init.pid"))?;
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))?;
    let (_, rest) = stat.rsplit_once(") ").ok_or("no such process")?;
    Ok(rest.split(' ').nth(1).ok_or("no parent")?.parse()?)
}

fn shim_figures(dir: &Path, id: &str) -> Res<Vec<Figure>> {
    let pid = shim_of(dir, id)?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(vec![
        Figure::new("proportional", "kB", proportional(pid)?),
        Figure::new("anonymous", "kB", kilobytes(&status, "RssAnon:")),
        Figure::new("threads", "", kilobytes(&status, "Threads:")),
        Figure::new("program", "kB", std::fs::metadata(format!("/proc/{pid}/exe"))?.len() as f64 / 1024.0),
    ])
}

fn docker(lab: &Lab, options: &Options, bin: &Path, pairs: &[Pair<'_>]) -> Res<Vec<Outcome>> {
    let daemons = [0, 1].map(|number| {
        Daemon::start(lab, options, bin, "dkr", number, |dir| {
            let mut command = Command::new("dockerd");
            let host = format!("unix://{}", text(&dir.join("sock"))?);
            command.args(["--host", &host, "--bridge=none", "--iptables=false", "--storage-driver", "vfs"]);
            command.args(["--default-ulimit", LIMITS, "--cgroup-parent", &format!("/{}", lab.id("dkr"))]);
            for (option, value) in [("--data-root", "d"), ("--exec-root", "e"), ("--pidfile", "pid")] {
                command.arg(option).arg(dir.join(value));
            }
            for runtime in &lab.runtimes {
                command.arg("--add-runtime").arg(format!("b-{}={}", runtime.name, text(&runtime.path)?));
            }
            Ok(command)
        })
    });
    let [own, ours] = daemons;
    let daemons = [own?, ours?];
    let outcome = docker_rounds(lab, options, &daemons, pairs);
    let [own, ours] = daemons;
    own.stop()?;
    ours.stop()?;
    outcome
}

fn docker_rounds(lab: &Lab, options: &Options, daemons: &[Daemon; 2], pairs: &[Pair<'_>]) -> Res<Vec<Outcome>> {
    let rounds = (options.rounds / 10).max(5);
    let client = |daemon: &Daemon, args: &[&str]| {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", daemon.socket().display())).args(args);
        process::quiet(&mut command);
        command
    };
    for daemon in daemons {
        ready(|| Ok(client(daemon, &["version"]).status()?.success()))?;
        docker_image(lab, &daemon.dir, |args| client(daemon, args))?;
    }
    let runtime = |pair: &Pair<'_>| format!("b-{}", pair.runtime.name);
    let docker = |pair: &Pair<'_>, args: &[&str]| client(&daemons[pair.daemon], args);
    let each = |once: &dyn Fn(&Pair<'_>) -> Res<f64>, title: &str| {
        let contestants =
            pairs.iter().map(|pair| Contestant { name: pair.name.clone(), once: Box::new(|| once(pair)) });
        in_turn(title, rounds, contestants.collect())
    };
    let quiet = ["--network", "none", "--runtime"];
    let with = |first: &[&str], pair: &Pair<'_>, rest: &[&str]| {
        let name = runtime(pair);
        let args: Vec<&str> =
            first.iter().chain(&quiet).copied().chain([name.as_str()]).chain(rest.iter().copied()).collect();
        docker(pair, &args)
    };
    let image = "bench:1";
    let mut outcomes = Vec::new();
    let note = "client, dockerd, containerd and shim included";
    let title = "docker version (what the client itself takes)";
    outcomes.push(table(
        "docker-self",
        title,
        "of each of the next",
        each(&|pair| succeed(docker(pair, &["version"])), title)?,
    ));
    let title = "docker run --rm, /bin/true";
    let samples = each(&|pair| succeed(with(&["run", "--rm"], pair, &[image, "/bin/true"])), title)?;
    outcomes.push(table("docker-run", title, note, samples));
    let name = |pair: &Pair<'_>| format!("{}-{}", pair.runtime.name, DAEMONS[pair.daemon]);
    let title = "docker start, /bin/sleep";
    let start = |pair: &Pair<'_>| -> Res<f64> {
        succeed(with(&["create", "--name", &name(pair)], pair, &[image, "/bin/sleep", "1000000"]))?;
        let time = succeed(docker(pair, &["start", &name(pair)]))?;
        succeed(docker(pair, &["rm", "-f", &name(pair)]))?;
        Ok(time)
    };
    outcomes.push(table("docker-start", title, note, each(&start, title)?));
    for pair in pairs {
        succeed(with(&["run", "-d", "--name", &name(pair)], pair, &[image, "/bin/sleep", "1000000"]))?;
    }
    let title = "docker exec, /bin/true";
    let samples = each(&|pair| succeed(docker(pair, &["exec", &name(pair), "/bin/true"])), title)?;
    outcomes.push(table("docker-exec", title, note, samples));
    for pair in pairs {
        succeed(docker(pair, &["rm", "-f", &name(pair)]))?;
    }
    Ok(outcomes)
}
