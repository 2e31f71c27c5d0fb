//! `restart`: a stopped container once more, as its record and its copy of config.json say.
//!
//! Runs in the parent.

use std::path::Path;

use super::run::{Predecessor, start_bundle};
use crate::container::attend::ended::Ended;
use crate::container::job::{self, JobRequest, Task};
use crate::container::lookup::{Container, locked};
use crate::container::make::bundle::Bundle;
use crate::container::options::{Create, Global, Run};
use crate::container::outline::Outline;
use crate::error::{Error, Result, Stage};
use crate::plan::systemd::driver::CgroupDriver;
use crate::spec::status::Status;

/// Makes a stopped container again and starts it, in the background; the exit status.
pub fn restart(global: &Global, args: &Create) -> Result<u8> {
    job::run(global, &JobRequest::in_background(global, args), |task| attempt(global, args, task))
}

fn attempt(global: &Global, args: &Create, task: Option<&mut Task<'_>>) -> Result<Option<Ended>> {
    let (container, lock) = locked(global, &args.id)?;
    let status = container.status()?;
    if status != Status::Stopped {
        let what = format!("cannot restart a container that is not stopped (it is {})", status.name());
        return Err(Error::new(Stage::State, what)
            .with_hint("`brisk kill` ends it; `brisk run --replace` puts another in its place"));
    }
    refuse_losses(global, &container, args)?;
    let record = &container.record;
    let text = container.dir.config()?.ok_or_else(|| Error::new(Stage::State, "the copy of config.json is gone"))?;
    let bundle = Bundle::again(record, text)?;
    let cgroups = match container.saved_cgroup()? {
        Some(saved) if saved.scope.is_some() => CgroupDriver::Systemd,
        Some(_) => CgroupDriver::Files,
        None => global.cgroups,
    };
    let global = Global {
        cgroups,
        environment: global.environment.clone(),
        root: global.root.clone(),
        trust_annotations: None,
        ..*global
    };
    // `restart` has no flag for what makes it another container: that is as the record has it, or the copy of config.json.
    let create = Create {
        id: args.id.clone(),
        bundle: None,
        config: None,
        outline: Outline::default(),
        no_pivot: record.no_pivot,
        no_new_keyring: record.inherits_keyring,
        template: false,
        console_socket: args.console_socket.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        pid_file: args.pid_file.clone(),
        preserve_fds: args.preserve_fds,
        trace: args.trace.clone(),
        job: args.job.clone(),
    };
    // A `delete` that comes between may have it; then there is nothing to be replaced, and one of its name is not touched.
    drop(lock);
    start_bundle(
        &global,
        &Run { create, detach: true, ..Run::default() },
        bundle,
        Predecessor::This(container.dir),
        task,
    )
}

/// What is in neither, and nobody could give back.
fn refuse_losses(global: &Global, container: &Container, args: &Create) -> Result<()> {
    let record = &container.record;
    let lost = if record.template {
        Some("the container was a template, and what ran in it came with start")
    } else if record.no_process {
        Some("config.json has no process to start")
    } else if record.has_descriptors && global.environment.preserved(args.preserve_fds) == 0 {
        Some("the container was given file descriptors: --preserve-fds gives it others")
    } else if !record.added_mounts.is_empty() {
        Some("mounts were added to the container, and config.json does not have them")
    } else if !Path::new(&record.bundle).is_dir() {
        Some("the bundle is gone")
    } else {
        None
    };
    match lost {
        Some(what) => {
            Err(Error::new(Stage::State, what).with_hint("`brisk run --replace` puts another container in its place"))
        }
        None => Ok(()),
    }
}
