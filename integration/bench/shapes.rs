//! Containers of other shapes than the default's: with many binds, with a root on an overlay, of an ordinary user, of
//! systemd.

use crate::common::Bundle;
use crate::lab::Lab;
use crate::latency::{Contestant, in_turn, runs, success, table};
use crate::options::Options;
use crate::result::Outcome;
use crate::tool::runtime::{Runtime, text};
use crate::tool::{Res, process};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use serde_json::json;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// As many as a pod with a few volumes, secrets and /etc files has.
const BINDS: usize = 40;

/// `run` with many read-only binds.
pub fn binds(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let source = lab.dir.join("source");
    std::fs::create_dir(&source)?;
    let mut bundle = lab.bundle("binds", &["/bin/true"])?;
    for index in 0..BINDS {
        bundle = bundle.mount("bind", text(&source)?, &format!("/mnt/{index}"), &["bind", "ro"]);
    }
    let bundle = bundle.written();
    let kernel = || {
        let mut command = lab.floor(&bundle);
        command.env("BINDS", BINDS.to_string()).env("BIND_SOURCE", &source);
        success("floor", process::timed(&mut command)?)
    };
    let mut contestants = vec![Contestant { name: "floor".into(), once: Box::new(kernel) }];
    contestants.extend(lab.runtimes.iter().map(|runtime| runs(runtime, &bundle, lab.id("binds"))));
    let samples = in_turn("run with 40 binds", options.rounds, contestants)?;
    Ok(vec![table("binds", &format!("run /bin/true with {BINDS} read-only binds"), "process start to exit", samples)])
}

/// `run` on a root that is an overlay, as engines prepare it.
pub fn overlay(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("overlay", &["/bin/true"])?;
    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| lab.dir.join(format!("overlay-{name}")));
    for dir in [&upper, &work, &merged] {
        std::fs::create_dir(dir)?;
    }
    let layers = format!("lowerdir={},upperdir={},workdir={}", text(&bundle.rootfs())?, text(&upper)?, text(&work)?);
    mount(Some("overlay"), &merged, Some("overlay"), MsFlags::empty(), Some(layers.as_str()))?;
    let bundle = bundle.set("/root/path", text(&merged)?.into()).written();
    let kernel = || {
        let mut command = lab.floor(&bundle);
        success("floor", process::timed(command.env("ROOTFS", &merged))?)
    };
    let mut contestants = vec![Contestant { name: "floor".into(), once: Box::new(kernel) }];
    contestants.extend(lab.runtimes.iter().map(|runtime| runs(runtime, &bundle, lab.id("overlay"))));
    let samples = in_turn("run on an overlay", options.rounds, contestants);
    umount2(&merged, MntFlags::MNT_DETACH)?;
    let note = "the overlay is mounted by the engine, before";
    Ok(vec![table("overlay", "run /bin/true, the root an overlay", note, samples?)])
}

/// Nobody has it in a new installation but its first user; what it may do matters, not its name.
const USER: u32 = 1000;

/// `run` by an ordinary user, in a user namespace with one id, without cgroups.
pub fn rootless(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    let bundle = lab.bundle("rootless", &["/bin/true"])?;
    let map = json!([{ "containerID": 0, "hostID": USER, "size": 1 }]);
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    let bundle = bundle
        .ns("user")
        .without_mount("/dev/pts")
        .mount("devpts", "devpts", "/dev/pts", &pts)
        .set("/linux/uidMappings", map.clone())
        .set("/linux/gidMappings", map)
        .unset("/linux/resources")
        .written();
    let users: Vec<Runtime> = lab.runtimes.iter().map(|runtime| of_user(lab, runtime)).collect::<Res<_>>()?;
    let kernel = || success("floor", process::timed(as_user(lab.floor(&bundle).args(["user", "nocg"])))?);
    let mut contestants = vec![Contestant { name: "floor".into(), once: Box::new(kernel) }];
    let mut left_out = Vec::new();
    for runtime in &users {
        let mut contestant = runs_as_user(runtime, &bundle, lab.id("user"));
        match (contestant.once)() {
            Ok(_) => contestants.push(contestant),
            Err(error) => left_out.push(format!("; {} does not: {error}", runtime.name)),
        }
    }
    let samples = in_turn("run by an ordinary user", options.rounds, contestants)?;
    let note = format!("a user namespace with one id, no cgroup{}", left_out.concat());
    Ok(vec![table("rootless", "run /bin/true by an ordinary user", &note, samples)])
}

/// With a state root that belongs to the user.
fn of_user(lab: &Lab, runtime: &Runtime) -> Res<Runtime> {
    let root = lab.dir.join(format!("user-{}", runtime.name));
    std::fs::DirBuilder::new().mode(0o700).create(&root)?;
    chown(&root, Some(USER), Some(USER))?;
    Ok(Runtime { root, ..runtime.clone() })
}

fn as_user(command: &mut Command) -> &mut Command {
    command.uid(USER).gid(USER)
}

fn runs_as_user<'a>(runtime: &'a Runtime, bundle: &'a Bundle, id: String) -> Contestant<'a> {
    let once = move || {
        let run = ["run", "--bundle", text(&bundle.dir)?, &id];
        // Where cgroup v1 is, it has to be told that there is none for a user.
        let args =
            if runtime.name == "crun" { [&["--cgroup-manager=disabled"], &run[..]].concat() } else { run.to_vec() };
        let done = process::timed(as_user(&mut runtime.command(&args)))?;
        Ok(runtime.judge(&args, done)?.ms)
    };
    Contestant { name: runtime.name.clone(), once: Box::new(once) }
}

/// `run` with systemd's driver.
pub fn systemd(lab: &Lab, options: &Options) -> Res<Vec<Outcome>> {
    if !Path::new("/run/systemd/system").exists() {
        return Ok(vec![Outcome::Absent { id: "systemd".into(), reason: "systemd is not running here".into() }]);
    }
    let id = lab.id("systemd");
    let bundle = lab.bundle("systemd", &["/bin/true"])?;
    let bundle = bundle.set("/linux/cgroupsPath", format!("system.slice:bench:{id}").into()).written();
    let contestants = lab.runtimes.iter().map(|runtime| Contestant {
        name: runtime.name.clone(),
        once: Box::new(|| Ok(runtime.must(&["--systemd-cgroup", "run", "--bundle", text(&bundle.dir)?, &id])?.ms)),
    });
    let samples = in_turn("run with systemd", options.rounds / 3, contestants.collect())?;
    Ok(vec![table("systemd", "run /bin/true, the cgroup made by systemd", "process start to exit", samples)])
}
