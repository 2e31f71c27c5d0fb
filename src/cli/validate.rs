//! What only all of the values of a command line together can tell: a function for each command that has something to be told.

use std::path::Path;

use super::apart::each_its_own;
use super::args::{PoolAction, PoolArgs, SpecArgs, UpdateArgs};
use super::put::Format;
use crate::container::options::{Create, Exec, ProgramChoice, ResultTo, Run, Start};
use crate::container::outline::{Outline, OverlayChoice, SeccompChoice};
use crate::error::{Error, Result, Stage};
use crate::spec::CONFIG;
use crate::spec::resources::Resources;
use crate::state::check_pool_name;

fn refuse(what: &'static str) -> Result<()> {
    Err(Error::new(Stage::Args, what))
}

/// What a command writes, and reads: no file may be two of them. Where only one is named, as by engines, nothing is looked at.
struct Files<'a> {
    trace: Option<&'a Path>,
    result: Option<&'a ResultTo>,
    pid_file: Option<&'a Path>,
    read: &'a [(&'a str, Option<&'a Path>)],
}

impl Files<'_> {
    fn check(&self) -> Result<()> {
        let Files { trace, result, pid_file, read } = self;
        let result = result.and_then(|to| match to {
            ResultTo::File(path) => Some(&**path),
            ResultTo::Descriptor(_) => None,
        });
        let written = [("--trace", *trace), ("--result", result), ("--pid-file", *pid_file)];
        let written: Vec<_> = written.iter().filter_map(|(name, path)| Some((*name, (*path)?))).collect();
        let read: Vec<_> = read.iter().filter_map(|(name, path)| Some((*name, (*path)?))).collect();
        each_its_own(&written, &read)
    }
}

fn files_of_create(args: &Create, process: Option<&Path>) -> Result<()> {
    let seccomp = match &args.outline.seccomp {
        Some(SeccompChoice::File(path)) => Some(&**path),
        Some(SeccompChoice::Docker | SeccompChoice::Unconfined) | None => None,
    };
    let mut read = vec![("--config", args.config.as_deref()), ("--seccomp", seccomp), ("--process", process)];
    // It may be a link. That a pid file is what that leads to is not worth a look at each start.
    let own = args.bundle.as_deref().unwrap_or(Path::new(".")).join(CONFIG);
    if args.trace.is_some() || args.job.result.is_some() {
        read.push(("the configuration of the bundle", Some(&own)));
    }
    Files {
        trace: args.trace.as_deref(),
        result: args.job.result.as_ref(),
        pid_file: args.pid_file.as_deref(),
        read: &read,
    }
    .check()
}

pub(super) fn restart(args: &Create) -> Result<()> {
    files_of_create(args, None)
}

pub(super) fn start(args: &Start) -> Result<()> {
    let (trace, pid_file) = (args.trace.as_deref(), args.pid_file.as_deref());
    Files { trace, result: None, pid_file, read: &[("--process", args.program.process.as_deref())] }.check()
}

pub(super) fn exec(args: &Exec) -> Result<()> {
    let read = [("--process", args.program.process.as_deref())];
    let (trace, result) = (args.trace.as_deref(), args.job.result.as_ref());
    Files { trace, result, pid_file: args.pid_file.as_deref(), read: &read }.check()?;

    if args.program.args.is_empty() && args.program.process.is_none() {
        return refuse("exec needs a command or --process FILE");
    }
    // What comes after the name is the program's; to look for one that is called `--` would help nobody.
    if let Some(first) = args.program.args.first().filter(|first| first.starts_with(b"-")) {
        return Err(Error::new(Stage::Args, format!("{first:?} is no program"))
            .with_hint("flags are named before the container, and no -- after it: brisk exec [FLAGS] ID COMMAND..."));
    }
    Ok(())
}

pub(super) fn create(args: &Create) -> Result<()> {
    files_of_create(args, None)?;
    check_template(args)?;
    check_outline(args)
}

fn check_template(args: &Create) -> Result<()> {
    if !args.template {
        return Ok(());
    }
    if args.job.output_limit.is_some() {
        return refuse("--output-limit: the standard streams of a template come with start");
    }
    if args.console_socket.is_some() {
        return refuse("--console-socket: the terminal of a template comes with start");
    }
    Ok(())
}

pub(super) fn run(args: &Run) -> Result<()> {
    files_of_create(&args.create, args.program.process.as_deref())?;
    if let Some(pool) = &args.pool {
        check_pool_name(pool)?;
        return check_program(&args.create);
    }
    if args.program != ProgramChoice::default() {
        return refuse("--process, --additional-gids and --no-new-privs need --pool");
    }
    check_outline(&args.create)
}

/// What a pool is says its bundle; what comes with a program is no more than a template can be told.
fn check_program(args: &Create) -> Result<()> {
    let Create {
        bundle,
        config,
        outline,
        // `run::given`.
        id: _,
        console_socket: _,
        pidfd_socket: _,
        pid_file: _,
        // `run::asks_for_more`.
        no_pivot: _,
        no_new_keyring: _,
        preserve_fds: _,
        // `make::record`; no flag of `run` sets it.
        template: _,
        // `run::in_member`, `run::start_bundle`.
        trace: _,
        // `JobRequest::in_background`.
        job: _,
    } = args;
    let Outline {
        rootfs,
        readonly,
        hostname,
        network,
        seccomp,
        rootless,
        overlay,
        terminal,
        // `run::given`.
        limits: _,
        user: _,
        env: _,
        cwd: _,
        caps: _,
        mounts: _,
        args: _,
    } = outline;
    let named = bundle.is_some() || config.is_some() || rootfs.is_some() || *overlay != OverlayChoice::default();
    let described = readonly.is_some() || hostname.is_some() || network.is_some() || seccomp.is_some() || *rootless;
    if !named && !described && *terminal != Some(false) {
        return Ok(());
    }
    Err(Error::new(Stage::Args, "--pool: what its containers are was said when the pool was made").with_hint(
        "with --pool come the program's limits, mounts, environment, directory, user, capabilities and terminal",
    ))
}

/// What each action takes.
pub(super) fn pool(args: &PoolArgs) -> Result<()> {
    let PoolArgs { action, name, bundle, size, format } = args;
    if *action == PoolAction::List && name.is_some() {
        return refuse("pool list shows all of them");
    }
    name.as_deref().map_or(Ok(()), check_pool_name)?;
    if *action != PoolAction::Create && (bundle.is_some() || size.is_some()) {
        return refuse("--bundle and --size are of pool create");
    }
    if *action != PoolAction::List && *format != Format::default() {
        return refuse("--format is of pool list");
    }
    Ok(())
}

pub(super) fn spec(args: &SpecArgs) -> Result<()> {
    if args.program.is_none() && !args.with.is_empty() {
        return refuse("--with needs --program");
    }
    if args.program.is_some() && args.outline.rootfs.is_some() {
        return refuse("--program makes a root of its own: leave out --rootfs");
    }
    check_overlay(&args.outline)
}

/// So many lines are read by nobody, and so many locks taken for nothing.
const MOST_STEPS: u32 = 1000;

fn check_move(args: &UpdateArgs) -> Result<()> {
    let [from, to] = args.ids.as_slice() else {
        return refuse("--move needs two containers: the one that gives and the one that gets");
    };
    if from == to {
        return Err(Error::new(Stage::Args, format!("update names container {from} twice")));
    }
    let others = args.resources() != Resources::default()
        || !args.files.is_empty()
        || args.l3_cache_schema.is_some()
        || args.mem_bw_schema.is_some()
        || args.device_rules;
    if others {
        return refuse("--move changes no other limits");
    }
    if args.force {
        return refuse("--move: --force could give both more than they had");
    }
    if args.steps.is_some_and(|steps| !(1..=MOST_STEPS).contains(&steps)) {
        return Err(Error::new(Stage::Args, format!("--steps is from 1 to {MOST_STEPS}")));
    }
    Ok(())
}

pub(super) fn update(args: &UpdateArgs) -> Result<()> {
    if args.amounts.is_some() {
        return check_move(args);
    }
    if args.steps.is_some() || args.interval.is_some() || args.dry_run || args.format != Format::default() {
        return refuse("--steps, --interval, --dry-run and --format need --move");
    }
    if args.files.len() > 1 && args.files.len() != args.ids.len() {
        return refuse("--resources is given once for all containers, or once for each of them");
    }
    Ok(())
}

/// Layers belong to an overlay.
fn check_overlay(outline: &Outline) -> Result<()> {
    let OverlayChoice { upper, lower, idmap } = &outline.overlay;
    if upper.is_none() && (*idmap || !lower.is_empty()) {
        return refuse("--lower and --overlay-idmap need --overlay");
    }
    Ok(())
}

/// A container is of a bundle, or of a root and what the flags say.
fn check_outline(args: &Create) -> Result<()> {
    check_overlay(&args.outline)?;
    let refuse = |what: &'static str, hint: &'static str| Err(Error::new(Stage::Args, what).with_hint(hint));
    // An overlay lies over a bundle's root, too.
    let alone = Outline { overlay: args.outline.overlay.clone(), ..Outline::default() };
    match &args.outline.rootfs {
        None if args.outline != alone => refuse(
            "a bundle says itself what runs in which limits: flags and a command need --rootfs DIR",
            "`brisk spec` takes the same flags and writes them into a bundle's config.json",
        ),
        Some(_) if args.config.is_some() || args.bundle.is_some() => {
            refuse("--rootfs makes a container without a bundle", "leave out --bundle and --config")
        }
        Some(_) if args.outline.args.is_empty() && !args.template => {
            refuse("--rootfs needs a command", "put it at the end: brisk run --rootfs DIR ID -- COMMAND")
        }
        _ => Ok(()),
    }
}
