//! A container that could be made: its bundle, and what would be done with it here. Nothing is made yet; `make` does that, `fit`
//! asks the host about it, and `brisk plan` prints it.
//!
//! Runs in the parent.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::bundle::Bundle;
use super::facts::host_for;
use crate::container::caller::notify;
use crate::container::job;
use crate::container::options::{Create, Global};
use crate::error::{Below, Context, Result, Stage};
use crate::host::Host;
use crate::launch::Trace;
use crate::plan::namespace::{JoinedNamespace, Namespaces};
use crate::plan::op::{Enter, Terminal};
use crate::plan::systemd::driver::CgroupDriver;
use crate::plan::verbs::create::create;
use crate::plan::{CreateOptions, Keyring, OverlaySize, Plan, ProgramStart};
use crate::spec::Spec;

/// One that could be made.
pub(in crate::container) struct PlannedContainer {
    pub bundle: Bundle,
    pub host: Host,
    pub plan: Plan,
    /// When its program starts.
    pub start: ProgramStart,
    /// Who makes its cgroup.
    pub cgroups: CgroupDriver,
}

impl PlannedContainer {
    /// Plans it.
    pub(in crate::container) fn of(
        global: &Global,
        args: &Create,
        mut bundle: Bundle,
        start: ProgramStart,
        terminal: Terminal,
        host: Host,
    ) -> Result<PlannedContainer> {
        bundle.offer_notify(global, &args.id);
        bundle.fit(&args.outline, &host)?;
        let plan = plan_of(global, args, &bundle, start, terminal, &host)?;
        Ok(PlannedContainer { bundle, host, plan, start, cgroups: global.cgroups })
    }

    /// Plans one that is going to be made, says what it comes to, and refuses what cannot be had. Nothing is made or taken away
    /// before.
    pub(in crate::container) fn to_make(
        global: &Global,
        args: &Create,
        bundle: Bundle,
        start: ProgramStart,
        terminal: Terminal,
        trace: Option<&mut Trace>,
    ) -> Result<PlannedContainer> {
        if let Some(trace) = trace {
            trace.mark("plan");
        }
        let host = host_for(bundle.spec(), Host::probe()?)?;
        let planned = PlannedContainer::of(global, args, bundle, start, terminal, host)?;
        global.tell_plan(&planned.plan);
        if args.job.cpu_time.is_some() && planned.plan.cgroup.is_none() {
            return Err(job::nothing_counts());
        }
        Ok(planned)
    }

    /// Plans one that nobody means to make, on a host of which this is known.
    pub(in crate::container) fn preview(
        global: &Global,
        bundle: Bundle,
        start: ProgramStart,
        host: Host,
    ) -> Result<PlannedContainer> {
        let args = Create { id: "ID".into(), ..Create::default() };
        let terminal = match start {
            ProgramStart::Brought => Terminal::None,
            ProgramStart::OnSignal | ProgramStart::Now(_) => {
                Terminal::of(bundle.spec().process.as_ref(), Terminal::Socket)
            }
        };
        PlannedContainer::of(global, &args, bundle, start, terminal, host)
    }

    /// What its config.json says.
    pub(in crate::container) fn spec(&self) -> &Spec {
        self.bundle.spec()
    }
}

/// The plan of a container, made from what is on the command line, in the bundle, and true of this host.
pub(in crate::container) fn plan_of(
    global: &Global,
    args: &Create,
    bundle: &Bundle,
    start: ProgramStart,
    terminal: Terminal,
    host: &Host,
) -> Result<Plan> {
    let planned =
        options_of(global, args, bundle, start, terminal).and_then(|options| create(bundle.spec(), host, &options));
    planned.map_err(|error| bundle.told(args, error))
}

fn options_of(
    global: &Global,
    args: &Create,
    bundle: &Bundle,
    start: ProgramStart,
    terminal: Terminal,
) -> Result<CreateOptions> {
    Ok(CreateOptions {
        id: args.id.clone(),
        bundle: bundle.dir().to_owned(),
        enter: if args.no_pivot { Enter::Move } else { Enter::Pivot },
        keyring: if args.no_new_keyring { Keyring::Inherit } else { Keyring::New },
        start,
        orphan: job::orphan(&args.job),
        preserved_fds: global.environment.preserved(args.preserve_fds),
        cgroups: global.cgroups,
        tolerance: global.tolerance,
        terminal,
        notify: notify::directory(global, &args.id),
        joined_own: joined_own(bundle.spec())?,
        hold: job::hold(&args.job),
        overlay_size: if args.job.result.is_some() { OverlaySize::Asked } else { OverlaySize::NotAsked },
        oddities: bundle.warnings.clone(),
    })
}

/// The namespaces (`CLONE_NEW*`) that are to be joined by path and are our own: what is allowed to a container
/// with a namespace of its own must not be allowed there.
fn joined_own(spec: &Spec) -> Result<u64> {
    let mut own = 0;
    for JoinedNamespace { kind, path } in Namespaces::parse(spec.namespaces())?.join {
        let ours = PathBuf::from(format!("/proc/self/ns/{}", kind.proc_name()));
        // setns(2) takes a namespace by what the file is, not by its name: a bind mount of ours counts too.
        let [theirs, ours] = [Path::new(&path), ours.as_path()].map(|path| {
            std::fs::metadata(path).at(Stage::Namespace, || format!("look at the namespace {}", path.display()))
        });
        let index = spec.namespaces().iter().position(|entry| entry.joined() == Some(&path));
        let theirs = theirs.below(|| format!("linux.namespaces[{}].path", index.unwrap_or_default()));
        let (theirs, ours) = (theirs?, ours?);
        if (theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()) {
            own |= kind.flag();
        }
    }
    Ok(own)
}
