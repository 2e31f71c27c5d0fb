//! Members are made, and those that do not fit any more are taken away.
//!
//! Each is made by a process of its own, which stays as its parent: its *keeper* (`launch::keep`). Until the member waits the
//! keeper dies with the command, and the member with the keeper; the member's lock is free once the keeper needs nothing
//! more, so whoever can claim it has a whole one.

use std::os::fd::OwnedFd;

use nix::errno::Errno;

use super::store::{Definition, Pool, fits, made_of, mounts_of, new_name, read_once};
use crate::container::caller::console::ProgramConsole;
use crate::container::caller::files::Receivers;
use crate::container::job::monitor::{Monitor, Role};
use crate::container::lookup::Container;
use crate::container::make::bundle::Bundle;
use crate::container::make::planned::PlannedContainer;
use crate::container::make::{Created, NewContainer, image};
use crate::container::options::{Create, Global};
use crate::container::verbs::delete;
use crate::error::{Context, Error, Origins, Result, Stage};
use crate::launch;
use crate::plan::namespace::rootless::Changed;
use crate::plan::systemd::driver::CgroupDriver;
use crate::plan::{self, ProgramStart};
use crate::spec::Spec;
use crate::spec::annotations;
use crate::spec::overlay::Upper;
use crate::spec::status::Status;
use crate::state::{CONFIG, Dir, END, PoolMember, ProcessId, Record, Wait};
use crate::sys::{fs, self_image};

/// Sees to it that as many wait as the pool's definition says; the exit status. The caller has the pool's lock.
pub(super) fn fill(global: &Global, pool: &Pool, definition: &Definition) -> Result<u8> {
    let inside = definition.inside(global, pool);
    sweep(&inside, pool, definition)?;
    while pool.members()?.len() < definition.size as usize {
        let status = make_member(&inside, pool, definition)?;
        if status != 0 {
            return Ok(status);
        }
    }
    Ok(0)
}

/// Deletes what does not fit any more, and what was never finished. The caller has the pool's lock, so nobody makes one.
fn sweep(inside: &Global, pool: &Pool, definition: &Definition) -> Result<()> {
    let fits = |member: &Container| fits(definition, member);
    for name in pool.members()? {
        // Without the lock, which would keep a `run` from it. What is wrong with one is said with it.
        let member = pool.member(&name);
        if member.is_ok_and(|member| member.is_some_and(|member| fits(&member).unwrap_or(false))) {
            continue;
        }
        match remove(inside, pool, &name, Wait::No, fits) {
            // It is being claimed.
            Err(error) if error.root_errno() == Some(Errno::EAGAIN) => {}
            removed => removed?,
        }
    }
    Ok(())
}

/// Deletes a member, unless it is to stay; one that is in the pool no more is not touched.
pub(super) fn remove(
    inside: &Global,
    pool: &Pool,
    name: &str,
    wait: Wait,
    stays: impl Fn(&Container) -> Result<bool>,
) -> Result<()> {
    let Some((dir, lock)) = pool.hold(name, wait)? else { return Ok(()) };
    // One without a record, or with a damaged one, goes by what is there of it.
    let Ok(Some(record)) = dir.find_record() else { return delete::with_lock(inside, name, &dir, &lock) };
    let container = Container { dir, record };
    if stays(&container)? { Ok(()) } else { delete::with_lock(inside, name, &container.dir, &lock) }
}

/// Deletes what was claimed and never started: it waits among the containers, and nobody holds it.
pub(super) fn remove_orphans(global: &Global, pool: &Pool) -> Result<()> {
    let ours = |record: &Record| record.member.as_ref().is_some_and(|member| member.pool == pool.name);
    for id in global.root.ids()? {
        let Some(dir) = Dir::find(&global.root, &id)? else { continue };
        // Of one that cannot be read it is not known whose it is.
        if !dir.find_record().ok().flatten().is_some_and(|record| ours(&record)) {
            continue;
        }
        let lock = match dir.lock(Wait::No) {
            Err(error) if error.root_errno() == Some(Errno::EAGAIN) => continue,
            lock => lock?,
        };
        let (Some(lock), Some(record)) = (lock, dir.find_record()?) else { continue };
        let container = Container { dir, record };
        if ours(&container.record) && container.status()? == Status::Created {
            delete::with_lock(global, &id, &container.dir, &lock)?;
        }
    }
    Ok(())
}

/// Makes one; the exit status of the process that does, and an error in that process alone.
fn make_member(inside: &Global, pool: &Pool, definition: &Definition) -> Result<u8> {
    match Monitor::begin()? {
        Role::Command(follower) => follower.follow(),
        Role::Monitor(keeper) => become_keeper(inside, pool, definition, keeper).map(|never| match never {}),
    }
}

/// Makes a member, and waits for its end. Returns only where that fails.
fn become_keeper(
    inside: &Global,
    pool: &Pool,
    definition: &Definition,
    keeper: Monitor,
) -> Result<std::convert::Infallible> {
    keeper.die_with_command()?;
    let own = ProcessId::own()?;
    let id = new_name(&pool.name);
    // Looked at before it is read: what is changed between is seen to be another.
    let config = config_of(&definition.bundle);
    let (args, mut bundle) = bundle(inside, definition, &id)?;
    // One that the bundle does not name is called as the container, which has another name once it is claimed.
    if parent(bundle.spec()).is_none() {
        bundle.name_cgroup(match inside.cgroups {
            CgroupDriver::Systemd => format!(":brisk:{id}"),
            CgroupDriver::Files | CgroupDriver::Disabled => id.clone(),
        })?;
    }
    if plan::is_met_inside(bundle.spec())
        && !self_image::is_protected().at(Stage::Process, || "look at brisk's own file")?
    {
        return Err(Error::new(
            Stage::Process,
            "the pool is filled by `pool fill` alone: brisk's own binary needs protection",
        ));
    }
    let made_of = made_of(bundle.spec(), &definition.bundle, config)?;
    let mounts = mounts_of(&made_of)?;
    let (name, generation) = (pool.name.clone(), definition.generation.clone());
    let member = PoolMember { pool: name, generation, keeper: own, made_of, mounts };
    let console = ProgramConsole::default();
    let planned = PlannedContainer::to_make(inside, &args, bundle, ProgramStart::Brought, console.terminal, None)?;
    let receivers = Receivers::default();
    let new = NewContainer { global: inside, args: &args, planned, task: None, member: Some(member), receivers };
    let Created { container, running, lock, .. } = new.make(console, None)?;
    let failed = match make_end(&container.dir).and_then(|end| keeper.stand_alone().map(|()| end)) {
        Ok(end) => launch::keep(running.process.pid, &end, &keeper.into_command()),
        Err(error) => error,
    };
    drop(lock);
    if let Err(failure) = delete::own(inside, &id, &container.dir) {
        (inside.warn)(&failure.to_string());
    }
    Err(failed)
}

/// A bundle's config.json, by its place and times.
pub(super) fn config_of(bundle: &std::path::Path) -> crate::state::MadeOf {
    read_once(bundle.join(CONFIG.to_string_lossy().as_ref()))
}

/// The bundle of a member that is called `id`.
fn bundle(inside: &Global, definition: &Definition, id: &str) -> Result<(Create, Bundle)> {
    let bundle = definition.bundle.clone();
    let args = Create { id: id.to_owned(), bundle: Some(bundle), template: true, ..Create::default() };
    let mut bundle = Bundle::load(inside, &args)?;
    suits(bundle.spec())?;
    // Where a member is was nobody's wish.
    bundle.change(|_| Origins::default(), |spec| Ok(put_below(spec, inside.cgroups, id)))?;
    Ok((args, bundle))
}

/// The cgroup that a pool's bundle names is above those of its containers, which cannot share one. systemd makes scopes, each in the
/// slice that is named.
pub(super) fn put_below(spec: &mut Spec, driver: CgroupDriver, id: &str) -> Changed {
    let Some(path) = parent(spec) else { return Changed::No };
    let own = match (driver, path.rsplit_once(':')) {
        (CgroupDriver::Systemd, Some((slice, _))) => format!("{slice}:{id}"),
        _ => format!("{path}/{id}"),
    };
    spec.linux.get_or_insert_default().cgroups_path = Some(own);
    Changed::Yes
}

fn parent(spec: &Spec) -> Option<&str> {
    spec.linux.as_ref()?.cgroups_path.as_deref().filter(|path| !path.is_empty())
}

/// Reads the bundle as a member's, and starts brisk again from a protected image where making one needs that. Before anything is
/// made.
pub(super) fn prepare(inside: &Global, definition: &Definition) -> Result<Spec> {
    let (_, bundle) = bundle(inside, definition, "ID")?;
    image::protect_from(bundle.spec())?;
    Ok(bundle.spec().clone())
}

/// Refuses what several containers cannot have at once, and what depends on an ID before there is one.
fn suits(spec: &Spec) -> Result<()> {
    let refuse = |what: &str, hint| Err(Error::new(Stage::Bundle, what).with_hint(hint));
    if spec.linux.as_ref().is_some_and(|linux| !linux.net_devices.is_empty()) {
        return refuse(
            "the members of a pool cannot share linux.netDevices",
            "have a namespace with the devices, and join that",
        );
    }
    if spec.hooks.as_ref().is_some_and(|hooks| !hooks.is_empty()) {
        return refuse(
            "a pool's bundle cannot have hooks",
            "they are told the container's ID, and those of creation would be told another than those of its end",
        );
    }
    match annotations::overlay(spec)?.map(|overlay| overlay.upper) {
        Some(Upper::Dir(_)) => refuse(
            "the members of a pool cannot share the directory of an overlay",
            "`tmpfs` is each one's own, and gone with it",
        ),
        _ => Ok(()),
    }
}

/// The fifo by which a keeper says how its member has ended: it has both ends, so it waits for nobody.
fn make_end(dir: &Dir) -> Result<OwnedFd> {
    let what = || "make end.fifo";
    fs::mkfifo(dir.fd(), END, 0o600).at(Stage::State, what)?;
    fs::open(dir.fd(), END, libc::O_RDWR | libc::O_NOFOLLOW, 0).at(Stage::State, what)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(more: &serde_json::Value) -> Spec {
        let mut text = json!({ "ociVersion": "1.3.0" });
        text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(text).unwrap()
    }

    #[test]
    fn each_has_a_cgroup_below_the_one_that_is_named() {
        for (path, driver, own) in [
            ("/judge", CgroupDriver::Files, "/judge/a.1"),
            ("judge", CgroupDriver::Files, "judge/a.1"),
            ("judge.slice:judge:", CgroupDriver::Systemd, "judge.slice:judge:a.1"),
            (":judge:x", CgroupDriver::Systemd, ":judge:a.1"),
        ] {
            let mut spec = spec(&json!({ "linux": { "cgroupsPath": path } }));
            assert_eq!(put_below(&mut spec, driver, "a.1"), Changed::Yes);
            assert_eq!(parent(&spec), Some(own));
        }
        let mut nameless = spec(&json!({ "linux": { "cgroupsPath": "" } }));
        assert_eq!(put_below(&mut nameless, CgroupDriver::Files, "a.1"), Changed::No);
    }

    #[test]
    fn what_members_cannot_share_is_refused() {
        suits(&spec(&json!({ "hooks": { "poststop": [] } }))).unwrap();
        for (more, what) in [
            (json!({ "hooks": { "poststart": [{ "path": "/bin/true" }] } }), "cannot have hooks"),
            (json!({ "linux": { "netDevices": { "eth1": {} } } }), "cannot share linux.netDevices"),
        ] {
            let error = suits(&spec(&more)).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    }
}
