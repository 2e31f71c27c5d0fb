//! `plan`: what would be done with a bundle here.

use std::path::Path;

use crate::container::make::bundle::Bundle;
use crate::container::make::facts::host_for;
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

impl PlanOf {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            PlanOf::Create => "create",
            PlanOf::Template => "template",
            PlanOf::Start => "start",
        }
    }
}

/// What would be done with a bundle here, or on the host of which these facts are, and the facts it rests on. Of another host it is
/// taken that its kernel knows all of seccomp, which its facts do not say.
pub fn plan(global: &Global, bundle: &Path, which: PlanOf, elsewhere: Option<Host>) -> Result<(Host, Plan)> {
    let bundle = Bundle::load(global, &Create { bundle: Some(bundle.to_owned()), ..Create::default() })?;
    let when = if which == PlanOf::Create { ProgramStart::OnSignal } else { ProgramStart::Brought };
    let host = match elsewhere {
        Some(host) => host,
        None => host_for(bundle.spec(), Host::probe()?)?,
    };
    let PlannedContainer { bundle, host, plan, .. } = PlannedContainer::preview(global, bundle, when, host)?;
    if which != PlanOf::Start {
        return Ok((host, plan));
    }
    let options = InsideOptions {
        id: "ID".into(),
        bundle: bundle.dir().to_owned(),
        terminal: Terminal::of(bundle.spec().process.as_ref(), Terminal::Socket),
        refusal: ExecRefusal::Error,
    };
    let process =
        bundle.spec().process.as_ref().ok_or_else(|| Error::new(Stage::Bundle, "config.json has no process"))?;
    let plan = start::start(process, bundle.spec(), &host, &options)?;
    Ok((host, plan))
}
