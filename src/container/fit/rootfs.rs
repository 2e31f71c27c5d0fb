//! The root and what is to be mounted: sources that are there, and a program that can be run in it.

use std::path::Path;

use super::files::{ContainerFiles, Lost};
use super::filesystems::Known;
use super::layers;
use super::misfit::{Misfit, Severity};
use super::program::{self, Obstacle};
use super::who::Who;
use crate::container::make::planned::PlannedContainer;
use crate::error::io_text;
use crate::plan::namespace::idmap::{IdKind, IdMap};
use crate::plan::op::SetupOp;
use crate::plan::process::environment::ProgramEnvironment;
use crate::plan::rootfs::mounts::OVER_PROC;
use crate::plan::rootfs::options;
use crate::spec::annotations;
use crate::spec::hooks::Hook;
use crate::spec::linux::Linux;
use crate::spec::mounts::Mount;

pub(super) fn misfits(planned: &PlannedContainer, bundle: &Path, covered: &[&str]) -> Vec<Misfit> {
    let spec = planned.spec();
    let mut found = sources(planned, bundle);
    found.extend(host_hooks(planned));
    let root = spec.root_dir(bundle);
    if let Some(misfit) = root_misfit(&root, planned) {
        found.push(misfit);
        return found;
    }
    // A plan was made of it, so it can be read.
    if let Some(overlay) = annotations::overlay(spec).ok().flatten() {
        found.extend(layers::misfits(&overlay, &root, bundle));
        if !layers::hide_nothing(&overlay) {
            return found;
        }
    }
    let who = user(planned);
    let Ok(mut files) = ContainerFiles::new(&root, Who::anybody()) else { return found };
    for (index, mount) in spec.mounts.iter().enumerate() {
        found.extend(covers(&files, index, mount, bundle));
        files.mount(mount, bundle);
    }
    covered.iter().for_each(|destination| files.cover(destination));
    found.extend(spec.linux.iter().flat_map(|linux| paths(linux, &files)));
    files.who = who;
    found.extend(cwd(planned, &files));
    found.extend(programs(planned, &files));
    found
}

fn root_misfit(root: &Path, planned: &PlannedContainer) -> Option<Misfit> {
    let shown = root.display();
    // A tree is cloned, of what is at the path itself; without a mount namespace it is only entered.
    let cloned = planned.plan.setup.iter().any(|op| matches!(op, SetupOp::Root { .. }));
    if cloned && std::fs::symlink_metadata(root).is_ok_and(|found| found.is_symlink()) {
        return Some(Misfit::error("root.path", format!("{shown} is a symbolic link")).hint("name what it leads to"));
    }
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(Misfit::error("root.path", format!("{shown} is not a directory"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let misfit = Misfit::error("root.path", format!("{shown} does not exist"));
            Some(misfit.hint("a path that does not begin with / is below the bundle"))
        }
        Err(error) => Some(Misfit::error("root.path", format!("{shown}: {}", io_text(&error)))),
    }
}

/// The maps of the container's user namespace, as far as they are in config.json.
pub(super) fn maps(planned: &PlannedContainer) -> (IdMap, IdMap) {
    let linux = planned.spec().linux.as_ref();
    let maps = |kind, list: Option<&Vec<_>>| list.and_then(|list| IdMap::parse(kind, list).ok()).unwrap_or_default();
    (
        maps(IdKind::Uid, linux.map(|linux| &linux.uid_mappings)),
        maps(IdKind::Gid, linux.map(|linux| &linux.gid_mappings)),
    )
}

fn user(planned: &PlannedContainer) -> Who {
    let (uids, gids) = maps(planned);
    let Some(process) = &planned.spec().process else { return Who::anybody() };
    let caps = planned
        .plan
        .setup
        .iter()
        .find_map(|op| if let SetupOp::Program { caps, .. } = op { Some(*caps) } else { None });
    let groups = [&[process.user.gid], process.user.additional_gids.as_slice()].concat();
    Who::inside(process.user.uid, &groups, caps.unwrap_or_default(), &uids, &gids)
}

/// Sources of binds, types of file systems, owners.
fn sources(planned: &PlannedContainer, bundle: &Path) -> Vec<Misfit> {
    let known = Known::read();
    let (uids, gids) = maps(planned);
    let mut found = Vec::new();
    for (index, mount) in planned.spec().mounts.iter().enumerate() {
        let Ok(options) = options::parse(&mount.options) else { continue };
        if options.remount {
            continue;
        }
        let field = |name: &str| format!("mounts[{index}].{name}");
        let to = &mount.destination;
        if mount.is_bind() {
            let source = bundle.join(mount.source.as_deref().unwrap_or_default());
            if let Err(error) =
                std::fs::symlink_metadata(&source).and_then(|_| match options.copy_symlink || options.src_nofollow {
                    true => Ok(()),
                    false => std::fs::metadata(&source).map(drop),
                })
            {
                let what = match error.kind() {
                    std::io::ErrorKind::NotFound => {
                        format!("{} does not exist, and is to be bound to {to}", source.display())
                    }
                    _ => format!("{}: {}", source.display(), io_text(&error)),
                };
                found.push(Misfit::error(field("source"), what).hint("the source of a bind mount must be on the host"));
            }
            continue;
        }
        found.extend(known.misfits(mount, &options, field));
        found.extend(foreign(planned, mount).map(|what| Misfit::error(field("type"), what)));
        for (key, maps) in [("uid=", &uids), ("gid=", &gids)] {
            let ids = options.data.iter().filter_map(|option| option.strip_prefix(key)?.parse::<u32>().ok());
            for id in ids.filter(|id| !maps.is_empty() && maps.to_host(*id).is_none()) {
                let what = format!("{key}{id} of {to} is not mapped in the user namespace");
                found.push(
                    Misfit::error(field("options"), what)
                        .hint("the kernel refuses a file system whose owner does not exist"),
                );
            }
        }
    }
    found
}

/// What shows a namespace is mounted by whoever that namespace belongs to.
fn foreign(planned: &PlannedContainer, mount: &Mount) -> Option<String> {
    let spec = planned.spec();
    let (kind, namespace) = match mount.kind.as_deref()? {
        "proc" => ("proc", "pid"),
        "mqueue" => ("mqueue", "ipc"),
        _ => return None,
    };
    let made = spec.namespace("user").is_some_and(|user| user.joined().is_none());
    (made && spec.namespace(namespace).is_none()).then(|| {
        format!(
            "{kind} on {} needs a {namespace} namespace of the container's own in a user namespace",
            mount.destination
        )
    })
}

/// A file cannot be mounted on a directory, nor a directory on a file.
fn covers(files: &ContainerFiles, index: usize, mount: &Mount, bundle: &Path) -> Option<Misfit> {
    let options = options::parse(&mount.options).ok().filter(|options| !options.remount && !options.copy_symlink)?;
    let new = match mount.is_bind() {
        true => std::fs::metadata(bundle.join(mount.source.as_deref()?)).ok()?.is_dir(),
        false => true,
    };
    let to = &mount.destination;
    let field = || format!("mounts[{index}].destination");
    let there = match files.find(to) {
        Ok(found) => found.kind() == libc::S_IFDIR,
        // All that may be covered in proc are files.
        Err(Lost::Unknown) if OVER_PROC.contains(&to.trim_start_matches('/')) => false,
        Err(lost) => return unreachable(field(), to, &lost),
    };
    let what = match (new, there) {
        (true, false) if !options.dest_nofollow => {
            format!("{to} is a file in the root, and a directory is to be mounted there")
        }
        (false, true) => format!("{to} is a directory in the root, and a file is to be mounted there"),
        _ => return None,
    };
    Some(Misfit::error(field(), what))
}

/// A path at which nothing can be, whatever is made on the way.
fn unreachable(field: String, path: &str, lost: &Lost) -> Option<Misfit> {
    match lost {
        Lost::Missing(_) | Lost::Unknown | Lost::Closed(_) => None,
        Lost::NotDirectory(at) => Some(Misfit::error(field, format!("{path} cannot be made: {at} is not a directory"))),
        Lost::Loop | Lost::Errno(_) => Some(Misfit::error(field, program::lost_words(path, lost))),
    }
}

/// Where nodes are to be made, and what is to be hidden or made read-only where it is there.
fn paths(linux: &Linux, files: &ContainerFiles) -> Vec<Misfit> {
    let mut found = Vec::new();
    for (index, device) in linux.devices.iter().enumerate() {
        let field = format!("linux.devices[{index}].path");
        found.extend(match files.find(&device.path) {
            Ok(found) if found.kind() == libc::S_IFDIR => {
                let what = format!("{} is a directory in the root, and a device is to be made there", device.path);
                Some(Misfit::error(field, what))
            }
            Ok(_) => None,
            Err(lost) => unreachable(field, &device.path, &lost),
        });
    }
    for (name, list) in [("maskedPaths", &linux.masked_paths), ("readonlyPaths", &linux.readonly_paths)] {
        for (index, path) in list.iter().enumerate() {
            let lost = files.find(path).err().filter(|lost| !matches!(lost, Lost::NotDirectory(_)));
            found.extend(lost.and_then(|lost| unreachable(format!("linux.{name}[{index}]"), path, &lost)));
        }
    }
    found
}

fn cwd(planned: &PlannedContainer, files: &ContainerFiles) -> Option<Misfit> {
    let path = &*planned.spec().process.as_ref()?.cwd.lossy();
    match files.find(path) {
        Ok(found) if found.kind() == libc::S_IFDIR => None,
        Ok(_) => Some(Misfit::error("process.cwd", format!("{path} is not a directory"))),
        // What is missing is made.
        Err(Lost::Missing(_) | Lost::Unknown) => None,
        Err(lost) => Some(Misfit::error("process.cwd", program::lost_words(path, &lost))),
    }
}

fn obstructed(field: String, obstacle: Obstacle) -> Misfit {
    Misfit { hint: obstacle.hint.map(str::to_owned), ..Misfit::error(field, obstacle.what) }
}

/// The program, and the hooks that run in the container's root.
fn programs(planned: &PlannedContainer, files: &ContainerFiles) -> Vec<Misfit> {
    let mut found = Vec::new();
    let spec = planned.spec();
    for op in &planned.plan.setup {
        let (SetupOp::Program { name, candidates, .. }, Some(process)) = (op, &spec.process) else { continue };
        let path = ProgramEnvironment::parse(&process.env).map(|environment| environment.path().to_owned());
        let path = path.unwrap_or_default();
        let wanted = program::WantedProgram {
            name,
            candidates,
            cwd: &process.cwd.lossy(),
            path: &String::from_utf8_lossy(&path),
        };
        if let Err(obstacle) = program::first(files, &wanted) {
            found.push(obstructed("process.args[0]".to_owned(), obstacle));
        }
    }
    let hooks = spec.hooks.as_ref().map(|hooks| &hooks.start_container[..]).unwrap_or_default();
    for (index, hook) in hooks.iter().enumerate() {
        if let Err(obstacle) = program::run(files, &hook.path, 0) {
            found.push(obstructed(format!("hooks.startContainer[{index}].path"), obstacle));
        }
    }
    found
}

/// Hooks whose programs are the host's.
fn host_hooks(planned: &PlannedContainer) -> Vec<Misfit> {
    let Some(hooks) = &planned.spec().hooks else { return Vec::new() };
    let Ok(host) = ContainerFiles::new(Path::new("/"), Who::anybody()) else { return Vec::new() };
    let lists: [(&str, &[Hook]); 5] = [
        ("prestart", &hooks.prestart),
        ("createRuntime", &hooks.create_runtime),
        ("createContainer", &hooks.create_container),
        ("poststart", &hooks.poststart),
        ("poststop", &hooks.poststop),
    ];
    let mut found = Vec::new();
    for (name, list) in lists {
        for (index, hook) in list.iter().enumerate() {
            if let Err(obstacle) = program::run_on_host(&host, &hook.path) {
                let misfit = obstructed(format!("hooks.{name}[{index}].path"), obstacle);
                // The container is gone by then, and a warning says so.
                let severity = if name == "poststop" { Severity::Warning } else { misfit.severity };
                let misfit = Misfit { severity, ..misfit };
                found.push(if misfit.hint.is_some() {
                    misfit
                } else {
                    misfit.hint("it is run on the host, outside of the root")
                });
            }
        }
    }
    found
}

/// Devices of the host that stand for the container's, which can make none.
pub(super) fn devices(planned: &PlannedContainer) -> Vec<Misfit> {
    let linux = planned.spec().linux.as_ref();
    let (uids, gids) = maps(planned);
    // Real root makes one itself, where the container has somebody for whom it is.
    let made = |uid: Option<u32>, gid: Option<u32>| {
        let owner = uids.to_host(uid.unwrap_or_default()).zip(gids.to_host(gid.unwrap_or_default()));
        planned.host.is_real_root() && owner.is_some()
    };
    let mut found = Vec::new();
    for (index, device) in linux.map(|linux| &linux.devices[..]).unwrap_or_default().iter().enumerate() {
        if device.kind == "p" || made(device.uid, device.gid) {
            continue;
        }
        match std::fs::symlink_metadata(&device.path) {
            Ok(_) => {}
            Err(error) => {
                let what = format!("{}: {}, and a user namespace cannot make it", device.path, io_text(&error));
                found.push(Misfit::error(format!("linux.devices[{index}].path"), what));
            }
        }
    }
    found
}

/// Whether devices are bound from the host.
pub(super) fn binds_devices(planned: &PlannedContainer) -> bool {
    planned.plan.setup.iter().any(|op| matches!(op, SetupOp::BindDevice { .. }))
}
