//! The plan of a template's start: a process of ours goes into the container, and brings the one that waits there its program.

use crate::error::Result;
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::cgroup::entry::IntoCgroup;
use crate::plan::draft::Draft;
use crate::plan::namespace::NamespaceKind;
use crate::plan::op::SetupOp;
use crate::plan::process::inside::{Inside, InsideOptions};
use crate::plan::process::template::{self, Brought};
use crate::plan::step::{CloneStep, Step};
use crate::spec::Spec;
use crate::spec::process::Process;
use crate::spec::status::Status;
use crate::wire::SyncPoint;

/// Plans the start of `process` in the template that `spec` describes.
pub fn start(process: &Process, spec: &Spec, host: &Host, options: &InsideOptions) -> Result<Plan> {
    let inside = Inside::new(process, spec, host, options)?;
    template::keeps_promises(process, spec.process.as_ref())?;
    template::has_ids(&inside)?;
    let mut draft = Draft::default();
    join(&inside, &mut draft)?;
    let Brought { program, by_parent } = template::start(&inside, &mut draft)?;
    let mut steps = vec![Step::Clone(CloneStep::here(IntoCgroup::No)), Step::Await(SyncPoint::Taken)];
    if !by_parent.is_empty() {
        steps.extend(by_parent);
        steps.push(Step::Answer(SyncPoint::Taken));
    }
    steps.extend(inside.listener(&draft, Status::Created));
    steps.extend([Step::Publish, Step::AwaitExec]);
    Ok(inside.plan(program, steps, draft))
}

/// The container's mounts, with the rights of its root.
fn join(inside: &Inside<'_>, draft: &mut Draft) -> Result<()> {
    // As with `exec` (CVE-2016-9962), although nobody should be in there yet.
    draft.setup.push(SetupOp::Undumpable);
    let flags = inside.namespaces.named() & (NamespaceKind::User.flag() | NamespaceKind::Mount.flag());
    if flags != 0 {
        draft.setup.push(SetupOp::JoinInit(flags));
    }
    if inside.namespaces.contains(NamespaceKind::User) {
        draft.setup.push(SetupOp::BecomeRoot);
    }
    inside.enter_root(draft)
}
