//! Enables the controllers of cgroup2 down to a container's cgroup.

use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::file::{join, open_dir, read_below, write_below};
use super::member::Member;
use crate::error::{Context, Error, Result, Stage};
use crate::plan::cgroup::CgroupDir;

/// Enables the controllers down to the cgroup. Nothing is written where they are enabled already: every write to
/// cgroup.subtree_control takes a global lock. `member` is told which controllers it got.
pub(super) fn enable(dir: &CgroupDir, needed: &[&str], member: &mut Member) -> Result<()> {
    let mut got = controllers(member)?;
    let lacks = |got: &[String]| dir.controllers.iter().any(|c| !got.contains(c));
    if lacks(&got) {
        let top = open_dir(&dir.mount_point).at(Stage::Cgroup, || format!("open {}", dir.mount_point.display()))?;
        let ancestors =
            std::iter::once("").chain(dir.path.match_indices('/').filter_map(|(end, _)| dir.path.get(..end)));
        for ancestor in ancestors {
            enable_at(top.as_fd(), ancestor, &dir.controllers, needed)?;
        }
        got = controllers(member)?;
    }
    check_type(member, &got, needed)?;
    member.dir.controllers = got;
    Ok(())
}

fn controllers(member: &Member) -> Result<Vec<String>> {
    let text =
        member.read("cgroup.controllers").at(Stage::Cgroup, || format!("read {}/cgroup.controllers", member.path()))?;
    Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
}

fn read(mount: BorrowedFd<'_>, name: &str) -> Result<String> {
    read_below(mount, name).at(Stage::Cgroup, || format!("read {name}"))
}

fn enable_at(mount: BorrowedFd, path: &str, wanted: &[String], needed: &[&str]) -> Result<()> {
    const FILE: &str = "cgroup.subtree_control";
    let enabled = read(mount, &join(path, FILE))?;
    let available = read(mount, &join(path, "cgroup.controllers"))?;
    let has = |list: &str, controller: &str| list.split_ascii_whitespace().any(|c| c == controller);
    let mut missing: Vec<String> =
        wanted.iter().filter(|c| has(&available, c) && !has(&enabled, c)).map(|c| format!("+{c}")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let Err(all) = write_below(mount, join(path, FILE), &missing.join(" ")) else { return Ok(()) };
    // The kernel takes all or none: one by one, those that were asked for nothing may stay off. Below processes each
    // costs the cgroup its place as a domain, so there they do; and a domain controller, which cannot be had, goes first.
    let is_needed = |controller: &str| needed.contains(&controller.trim_start_matches('+'));
    if matches!(all, Errno::EBUSY | Errno::EOPNOTSUPP) {
        missing.retain(|controller| is_needed(controller));
        let is_threaded = |controller: &String| THREADED.contains(&controller.trim_start_matches('+'));
        let (threaded, domain): (Vec<_>, Vec<_>) = missing.into_iter().partition(is_threaded);
        missing = domain;
        missing.extend(threaded);
    }
    for controller in &missing {
        match write_below(mount, join(path, FILE), controller) {
            Err(errno) if is_needed(controller) => {
                let what = format!("write {controller} to {}", join(path, FILE));
                let error = Error::errno(Stage::Cgroup, what, errno);
                let internal = matches!(errno, Errno::EBUSY | Errno::EOPNOTSUPP);
                return Err(if internal { error.with_hint(INTERNAL) } else { error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Advice where cgroups(7), "no internal processes", is in the way.
const INTERNAL: &str = "an ancestor has processes of its own; choose a cgroupsPath below a cgroup without any";

/// A cgroup below one that has processes of its own cannot have them: it is `domain invalid` until it becomes
/// threaded, and a threaded one has only the cpu, cpuset, perf_event and pids controllers (cgroups(7)).
fn check_type(member: &mut Member, got: &[String], needed: &[&str]) -> Result<()> {
    // Only a domain has one of the other controllers, so the type is not worth a look then.
    if got.iter().any(|controller| !THREADED.contains(&controller.as_str())) {
        return Ok(());
    }
    let Some(kind) = member.read_if_any("cgroup.type")? else { return Ok(()) };
    match kind.trim() {
        "domain invalid" | "threaded" | "domain threaded" if needed.iter().any(|c| !THREADED.contains(c)) => {
            Err(Error::new(
                Stage::Cgroup,
                format!("cannot limit {} in {}: the cgroup is {}", needed.join(", "), member.path(), kind.trim()),
            )
            .with_hint(INTERNAL))
        }
        "domain invalid" => member
            .write("cgroup.type", "threaded")
            .at(Stage::Cgroup, || format!("write threaded to {}/cgroup.type", member.path())),
        _ => Ok(()),
    }
}

const THREADED: &[&str] = &["cgroup", "cpu", "cpuset", "perf_event", "pids"];
