//! A process that begins in a container which is there already: that of `exec`, and the one that brings a template its
//! program. Pure; runs in the parent.

use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::{ExecStrings, StartedIn, Startup, console, hooks, listener, own_dev};
use crate::error::Result;
use crate::host::Host;
use crate::plan::Plan;
use crate::plan::draft::Draft;
use crate::plan::namespace::{NamespaceKind, Namespaces};
use crate::plan::op::{ConsoleNode, Enter, SetupOp, Terminal};
use crate::plan::options::{ExecRefusal, ProgramStart};
use crate::plan::step::Step;
use crate::plan::strings::{c_string, host_path};
use crate::spec::Spec;
use crate::spec::process::Process;
use crate::spec::status::Status;

/// What the caller chose on the command line, of `exec` and of `start` alike.
#[derive(Clone, Debug)]
pub struct InsideOptions {
    /// The container's id.
    pub id: String,
    /// Its bundle.
    pub bundle: PathBuf,
    /// The program's terminal.
    pub terminal: Terminal,
    /// Who is told when it cannot be executed.
    pub refusal: ExecRefusal,
}

/// What every part of such a plan looks at.
pub(in crate::plan) struct Inside<'a> {
    pub process: &'a Process,
    pub spec: &'a Spec,
    pub host: &'a Host,
    pub options: &'a InsideOptions,
    pub namespaces: Namespaces,
}

impl<'a> Inside<'a> {
    pub(in crate::plan) fn new(
        process: &'a Process,
        spec: &'a Spec,
        host: &'a Host,
        options: &'a InsideOptions,
    ) -> Result<Inside<'a>> {
        Ok(Inside { process, spec, host, options, namespaces: Namespaces::parse(spec.namespaces())? })
    }

    /// Whether the container's root has authority only over a user namespace.
    pub(in crate::plan) fn in_userns(&self) -> bool {
        self.namespaces.in_userns(self.host)
    }

    /// Whether /dev is one that was made for the container.
    pub(in crate::plan) fn own_dev(&self) -> bool {
        own_dev(self.spec, &self.options.bundle, &self.namespaces)
    }

    /// Into the container's root.
    pub(in crate::plan) fn enter_root(&self, draft: &mut Draft) -> Result<()> {
        if self.namespaces.is_new(NamespaceKind::Mount) {
            draft.setup.push(SetupOp::RootHere(c"/".into()));
            return Ok(());
        }
        // The root of a mount namespace that is somebody else's is not the container's, which is a directory there.
        let path = host_path(&self.options.bundle, &self.spec.required_root()?.path);
        draft.setup.push(SetupOp::RootHere(c_string(path.as_os_str().as_bytes(), "root.path")?));
        draft.setup.push(SetupOp::Enter(Enter::Chroot));
        Ok(())
    }

    /// The terminal, where it is to have one.
    pub(in crate::plan) fn console(&self, node: ConsoleNode, draft: &mut Draft) {
        draft.setup.extend(console(self.process, self.options.terminal, node));
    }

    /// How it is started, as far as nothing else was asked for.
    pub(in crate::plan) fn startup(&self, warnings: &mut Vec<String>) -> Result<Startup<'a>> {
        let started_in = StartedIn {
            spec: self.spec,
            host: self.host,
            namespaces: &self.namespaces,
            bundle: &self.options.bundle,
            terminal: self.options.terminal,
        };
        Startup::usual(self.process, ProgramStart::Now(self.options.refusal), started_in, warnings)
    }

    /// The hand-over of a seccomp listener, whose receiver is told that the container has this status.
    pub(in crate::plan) fn listener(&self, draft: &Draft, status: Status) -> Vec<Step> {
        listener(&draft.last, self.spec, || hooks::state(self.spec, &self.options.id, &self.options.bundle, status))
    }

    /// The plan.
    pub(in crate::plan) fn plan(&self, program: ExecStrings, steps: Vec<Step>, draft: Draft) -> Plan {
        Plan {
            args: program.args,
            env: program.env,
            ignored_signals: self.host.ignored_signals,
            refusal: self.options.refusal,
            ..Plan::new(steps, draft)
        }
    }
}
