//! `plan`: what would be done with a bundle here.

use std::path::Path;

use crate::container::make::bundle::Bundle;
use crate::container::make::planned::PlannedContainer;
use crate::container::options::{Create, Global};
use crate::error::{Error, Result, Stage};
use crate::host::Host;
use crate::plan::op::Terminal;
use crate::plan::process::inside::InsideOptions;
use crate::plan::verbs::start;
use crate::plan::{ExecRefusal, Plan, ProgramStart};

/// What is asked about a bundle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PlanOf {
    /// What `create` would do.
    #[default]
    Create,
    /// What `create --template` would do.
    Template,
    /// What `start` would do with the program of config.json in a template that was made of it.
    Start,
}

/// What would be done with a bundle here, and the facts it rests on.
pub fn plan(global: &Global, bundle: &Path, which: PlanOf) -> Result<(Host, Plan)> {
    let bundle = Bundle::load(global, &Create { bundle: bundle.to_owned(), ..Create::default() })?;
    let when = if which == PlanOf::Create { ProgramStart::OnSignal } else { ProgramStart::Brought };
    let PlannedContainer { bundle, host, plan, .. } = PlannedContainer::preview(global, bundle, when, Host::probe()?)?;
    if which != PlanOf::Start {
        return Ok((host, plan));
    }
    let options = InsideOptions {
        id: "ID".into(),
        bundle: bundle.dir().to_owned(),
        terminal: Terminal::of(bundle.spec.process.as_ref(), Terminal::Socket),
        refusal: ExecRefusal::Error,
    };
    let process =
        bundle.spec.process.as_ref().ok_or_else(|| Error::new(Stage::Bundle, "config.json has no process"))?;
    let plan = start::start(process, &bundle.spec, &host, &options)?;
    Ok((host, plan))
}
