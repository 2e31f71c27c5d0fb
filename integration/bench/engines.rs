//! The same through the engines: what of the difference is left when Podman or Docker is around it.

use crate::common::leftovers;
use crate::lab::Lab;
use crate::latency::{Contestant, in_turn, table};
use crate::options::Options;
use crate::result::Outcome;
use crate::tool::runtime::text;
use crate::tool::{Res, os, process};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// What engines ask for by default may be more than a test machine's hard limits.
pub const LIMITS: &str = "nofile=1024:1024";

/// `podman run` and `docker run` of /bin/true with each runtime plugged in; an engine that is not installed is left out.
pub fn engines(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let rounds = (options.rounds / 10).max(5);
    let mut outcomes = Vec::new();
    for (engine, needs, measure) in [
        ("podman", "podman", podman as fn(&Lab, usize) -> Res<Outcome>),
        ("docker", "dockerd", docker as fn(&Lab, usize) -> Res<Outcome>),
    ] {
        if !installed(needs) {
            eprintln!("SKIP {engine}: {needs} is not installed");
            continue;
        }
        let outcome = measure(lab, rounds);
        leftovers::remove_cgroups(&lab.id(engine));
        outcomes.push(outcome?);
    }
    Ok(outcomes)
}

pub fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).exists())
}

fn podman(lab: &Lab, rounds: usize) -> Res<Outcome> {
    let bundle = lab.bundle("podman", &["/bin/true"])?;
    let (storage, rootfs, parent) = (lab.dir.join("podman"), bundle.rootfs(), format!("/{}", lab.id("podman")));
    let contestants = lab.runtimes.iter().map(|runtime| {
        let (storage, rootfs, parent) = (&storage, &rootfs, &parent);
        let once = Box::new(move || {
            let mut command = Command::new("podman");
            for (option, value) in [("--root", "s"), ("--runroot", "r"), ("--tmpdir", "t")] {
                command.arg(option).arg(storage.join(value));
            }
            command.args([
                "--cgroup-manager",
                "cgroupfs",
                "--events-backend",
                "none",
                "--runtime",
                text(&runtime.path)?,
            ]);
            command.args(["run", "--rm", "--network", "none", "--cgroup-parent", parent, "--ulimit", LIMITS]);
            command.args(["--ulimit", "nproc=1024:1024", "--rootfs", text(rootfs)?, "/bin/true"]);
            succeed(command)
        });
        Contestant { name: runtime.name.clone(), once }
    });
    let samples = in_turn("podman run", rounds, contestants.collect())?;
    Ok(table("podman", "podman run --rm --network none, /bin/true", "podman and conmon included", samples))
}

pub fn succeed(mut command: Command) -> Res<f64> {
    let done = process::timed(process::quiet(&mut command))?;
    if done.ok() { Ok(done.ms) } else { Err(format!("{command:?}: {:#x}", done.reaped.status).into()) }
}

fn docker(lab: &Lab, rounds: usize) -> Res<Outcome> {
    let dir = lab.dir.join("docker");
    std::fs::create_dir(&dir)?;
    let socket = format!("unix://{}", text(&dir.join("sock"))?);
    let mut daemon = dockerd(lab, &dir, &socket)?;
    let outcome = docker_rounds(lab, &socket, rounds);
    os::kill(daemon.id() as i32, libc::SIGTERM)?;
    daemon.wait()?;
    process::reap_all();
    outcome
}

/// A daemon of our own, with nothing of the host's: no bridge, no firewall rules, its own containerd and storage.
pub fn dockerd(lab: &Lab, dir: &Path, socket: &str) -> Res<Child> {
    let mut command = Command::new("dockerd");
    command.args(["--host", socket, "--bridge=none", "--iptables=false", "--storage-driver", "vfs"]);
    command.args(["--default-ulimit", LIMITS, "--cgroup-parent", &format!("/{}", lab.id("docker"))]);
    for (option, value) in [("--data-root", "d"), ("--exec-root", "e"), ("--pidfile", "pid")] {
        command.arg(option).arg(dir.join(value));
    }
    for runtime in &lab.runtimes {
        command.arg("--add-runtime").arg(format!("b-{}={}", runtime.name, text(&runtime.path)?));
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create_new(dir.join("log"))?);
    Ok(command.spawn()?)
}

fn docker_rounds(lab: &Lab, socket: &str, rounds: usize) -> Res<Outcome> {
    let client = |args: &[&str]| {
        let mut command = Command::new("docker");
        command.args(["--host", socket]).args(args);
        process::quiet(&mut command);
        command
    };
    ready(|| Ok(client(&["version"]).status()?.success()))?;
    docker_image(lab, &lab.dir.join("docker"), client)?;
    let contestants = lab.runtimes.iter().map(|runtime| {
        let client = &client;
        let once = Box::new(move || {
            let name = format!("b-{}", runtime.name);
            succeed(client(&["run", "--rm", "--network", "none", "--runtime", &name, "bench:1", "/bin/true"]))
        });
        Contestant { name: runtime.name.clone(), once }
    });
    let samples = in_turn("docker run", rounds, contestants.collect())?;
    Ok(table(
        "docker",
        "docker run --rm --network none, /bin/true",
        "client, dockerd, containerd and shim included",
        samples,
    ))
}

/// Waits until a daemon answers.
pub fn ready(mut answers: impl FnMut() -> Res<bool>) -> Res<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while !answers()? {
        if Instant::now() > end {
            return Err("the daemon does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Gives a dockerd the image `bench:1`.
pub fn docker_image(lab: &Lab, dir: &Path, client: impl Fn(&[&str]) -> Command) -> Res<()> {
    let bundle = lab.bundle(text(Path::new(dir.file_name().unwrap_or_default()))?, &["/bin/true"])?;
    let archive = dir.join("image.tar");
    let packed = Command::new("tar").arg("-C").arg(bundle.rootfs()).arg("-cf").arg(&archive).arg(".").status()?;
    if !packed.success() || !client(&["import", text(&archive)?, "bench:1"]).status()?.success() {
        return Err("docker import failed".into());
    }
    Ok(())
}
