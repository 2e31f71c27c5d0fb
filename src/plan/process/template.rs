//! A template: a container that is made before it is known what will run in it. Its process is set up and waits (`create`)
//! until it is told (`start`).
//!
//! Of `start` (`plan::verbs::start`): a process of ours joins the container, as with `exec`, and looks there for what the program
//! needs: the terminal, the working directory, HOME, the program. What is found it hands to the container's first process,
//! which waits, with the last operations as a second block, and ends. Until then nothing has changed, and `start` can be called
//! again.
//!
//! What the template has promised is refused where it is to be less, and added to where it is to be more. Pure; runs in
//! the parent.

use ::caps::Capability;

use super::environment::ProgramEnvironment;
use super::inside::Inside;
use super::{
    DEFAULT_UMASK, ExecStrings, Groups, Startup, attributes, bounding, capabilities, caps, cwd, end_of_setup,
    exec_strings, find, give_up_rights, ids, limits_by_parent, oom_score_adj, scheduler_bytes,
};
use crate::error::{Error, Result, Stage};
use crate::plan::draft::Draft;
use crate::plan::input::Input;
use crate::plan::namespace::NamespaceKind;
use crate::plan::namespace::check::mapped;
use crate::plan::namespace::idmap::{IdKind, IdMap};
use crate::plan::op::{ConsoleNode, LastOp, SetupOp};
use crate::plan::options::Orphan;
use crate::plan::process::{rlimits, schedule};
use crate::plan::step::Step;
use crate::spec::process::{Capabilities, Process};
use crate::sys::cred::CapMasks;

/// Plans the process of a template: what it promises whatever the program will be, and then the wait. The rest is of
/// [`start`].
pub(in crate::plan) fn create(input: &Input<'_>, draft: &mut Draft) -> Result<ExecStrings> {
    let startup = Startup::of(input, draft)?;
    can_wait(&startup)?;
    let Startup { process, linux, .. } = startup;
    ProgramEnvironment::parse(&process.env)?;
    attributes(process, linux, startup.host, &mut draft.setup)?;
    draft.setup.push(SetupOp::Umask(process.user.umask.unwrap_or(DEFAULT_UMASK)));
    if startup.groups == Groups::Set {
        draft.setup.push(SetupOp::Groups(process.user.additional_gids.clone()));
    }
    draft.setup.push(cwd(process)?);
    let sets = capabilities(&startup, draft);
    end_of_setup(&startup, draft);
    draft.last.extend([LastOp::LeaveRuntime, LastOp::CloseFrom(3)]);
    if process.no_new_privileges {
        draft.last.push(LastOp::NoNewPrivileges);
    }
    let drop = startup.bounding & !sets.bounding;
    if drop != 0 {
        draft.last.push(LastOp::DropBounding(drop));
    }
    let keeps = (sets.bounding | to_go_on(&startup)) & startup.bounding;
    draft.last.push(LastOp::Caps(CapMasks { effective: keeps, permitted: keeps, inheritable: 0 }));
    draft.last.push(LastOp::AwaitBlock);
    Ok(ExecStrings::default())
}

/// Whether the process can wait without the runtime's code, and whether it gets nothing yet that it would have to keep.
fn can_wait(startup: &Startup<'_>) -> Result<()> {
    let why = if !startup.start_hooks.is_empty() {
        "startContainer hooks are run by the runtime's own code, which is gone from its process"
    } else if !startup.host.can_leave_runtime {
        "the kernel or a security policy does not let the runtime leave its process (`brisk check` says why)"
    } else if startup.preserved_fds != 0 {
        "its descriptors come with start: no --preserve-fds or LISTEN_FDS"
    } else if startup.orphan == Orphan::Dies {
        "it is there for others to start it: no --die-with-parent"
    } else {
        return Ok(());
    };
    Err(Error::new(Stage::Process, format!("the container cannot be a template: {why}")))
}

/// The capabilities that a template's process needs when it goes on, whatever comes with `start`.
fn to_go_on(startup: &Startup<'_>) -> u64 {
    use Capability::{
        CAP_DAC_READ_SEARCH, CAP_SETGID, CAP_SETPCAP, CAP_SETUID, CAP_SYS_ADMIN, CAP_SYS_NICE, CAP_SYS_PTRACE,
        CAP_SYS_RESOURCE,
    };
    // The ids and the capabilities; a working directory that is another user's. CAP_SYS_PTRACE for nothing but to have it:
    // so nobody can take the process over who has not got it as well, as the kernel's rule about who may trace whom has it.
    let mut caps = vec![CAP_SETUID, CAP_SETGID, CAP_SETPCAP, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE];
    if !startup.userns {
        // Priorities and limits; in a user namespace they are nothing to the kernel.
        caps.extend([CAP_SYS_NICE, CAP_SYS_RESOURCE]);
    }
    if startup.filter.is_some() && !startup.process.no_new_privileges {
        caps.push(CAP_SYS_ADMIN);
    }
    caps.iter().fold(0, |mask, cap| mask | cap.bitmask())
}

/// What is brought to a template's process.
pub(in crate::plan) struct Brought {
    /// What it becomes.
    pub program: ExecStrings,
    /// What the parent changes of it before it goes on.
    pub by_parent: Vec<Step>,
}

/// Plans what the process that joins looks for, and what the one that waits does with it. Nothing of the latter is undone.
pub(in crate::plan) fn start(inside: &Inside<'_>, draft: &mut Draft) -> Result<Brought> {
    let Inside { process, spec, host, .. } = *inside;
    let own = spec.process.as_ref();
    let startup = Startup {
        // What the template has left of it.
        bounding: own
            .and_then(|own| own.capabilities.as_ref())
            .map_or(0, |list| caps::parse(list, bounding(host, &inside.namespaces)).0.bounding),
        leave_runtime: true,
        ..inside.startup(&mut draft.warnings)?
    };
    let sets = capabilities(&startup, draft);
    let environment = ProgramEnvironment::parse(&process.env)?;
    // What the kernel may refuse is tried here first: when it is done it is too late.
    if startup.groups == Groups::Set {
        draft.setup.push(SetupOp::Groups(process.user.additional_gids.clone()));
    }
    find(&startup, &environment, sets.effective, &mut draft.setup)?;
    if let Some(priority) = &process.io_priority {
        draft.setup.push(SetupOp::IoPriority(schedule::io_priority(priority)? as u32));
    }
    // A limit that comes with it may be what allows it (RLIMIT_RTPRIO, RLIMIT_NICE).
    if let Some(scheduler) = process.scheduler.as_ref().filter(|_| process.rlimits.is_empty()) {
        draft.setup.push(SetupOp::Scheduler(scheduler_bytes(&schedule::scheduler(scheduler)?)));
    }
    // The last of them: it is mounted, and sent to whoever has the other side.
    let node = if inside.own_dev() { ConsoleNode::Bound } else { ConsoleNode::Nameless };
    inside.console(node, draft);
    draft.setup.push(SetupOp::HandOver);
    let mut by_parent: Vec<Step> = oom_score_adj(Some(process))
        .filter(|_| process.oom_score_adj != own.and_then(|own| own.oom_score_adj))
        .into_iter()
        .collect();
    if startup.userns {
        by_parent.extend(limits_by_parent(process)?);
    }
    in_its_process(&startup, &by_parent, draft)?;
    give_up_rights(startup, &sets, draft)?;
    Ok(Brought { program: exec_strings(process, environment)?, by_parent })
}

/// What the process does itself with what it has been brought, while it has all its rights.
fn in_its_process(startup: &Startup<'_>, left: &[Step], draft: &mut Draft) -> Result<()> {
    let Process {
        user,
        io_priority,
        rlimits,
        // What is brought, and what is looked for with it: `process::exec_strings`, `start`, `process::cwd`.
        args: _,
        env: _,
        cwd: _,
        // `Inside::startup`, `Process::terminal_size`.
        terminal: _,
        console_size: _,
        // `start`, `process::give_up_rights`.
        capabilities: _,
        no_new_privileges: _,
        scheduler: _,
        // By the parent: `process::oom_score_adj`.
        oom_score_adj: _,
        // Promised by the template: `keeps_promises`, `process::exec_affinity`.
        apparmor_profile: _,
        selinux_label: _,
        exec_cpu_affinity: _,
        // Of Windows.
        command_line: _,
    } = startup.process;
    let ops = &mut draft.last;
    ops.push(LastOp::Taken);
    if !left.is_empty() {
        ops.push(LastOp::AwaitLimits);
    }
    ops.extend([LastOp::TakeStreams, LastOp::Cwd]);
    if user.uid != 0 {
        ops.push(LastOp::CwdAs(ids(startup.process)));
    }
    if startup.terminal {
        ops.push(LastOp::ControllingTerminal);
    }
    ops.push(LastOp::Umask(user.umask.unwrap_or(DEFAULT_UMASK)));
    if let Some(priority) = io_priority {
        ops.push(LastOp::IoPriority(schedule::io_priority(priority)? as u32));
    }
    if startup.groups == Groups::Set {
        ops.push(LastOp::Groups(user.additional_gids.clone()));
    }
    if !startup.userns {
        ops.extend(rlimits::parse(rlimits)?.into_iter().map(LastOp::Rlimit));
    }
    Ok(())
}

/// What a template has promised, its program cannot be without.
pub fn keeps_promises(process: &Process, own: Option<&Process>) -> Result<()> {
    let refuse = |name: &str, what: String| {
        Err(Error::of_field(Stage::Process, format!("process.{name}"), what)
            .with_hint("the template decides what its programs may do at most"))
    };
    let label = |label: &Option<String>| label.clone().filter(|label| !label.is_empty());
    for (name, asked, own) in [
        ("apparmorProfile", &process.apparmor_profile, own.map(|own| &own.apparmor_profile)),
        ("selinuxLabel", &process.selinux_label, own.map(|own| &own.selinux_label)),
    ] {
        let (asked, own) = (label(asked), own.and_then(label));
        if asked != own {
            let own = own.unwrap_or_else(|| "none".to_owned());
            let asked = asked.unwrap_or_else(|| "none".to_owned());
            return refuse(name, format!("process.{name} {asked} is not the template's, which is {own}"));
        }
    }
    let none = Capabilities::default();
    let list = |process: Option<&Process>| process.and_then(|process| process.capabilities.clone());
    let (asked, own) = (list(Some(process)).unwrap_or_default(), list(own).unwrap_or(none));
    let Capabilities { bounding, effective, inheritable, permitted, ambient } = &asked;
    let sets = [
        ("bounding", bounding),
        ("effective", effective),
        ("inheritable", inheritable),
        ("permitted", permitted),
        ("ambient", ambient),
    ];
    let is_beyond = |cap: &String| caps::is_known(cap) && !own.bounding.iter().any(|own| caps::is_same(own, cap));
    for (set, caps) in sets {
        if let Some(index) = caps.iter().position(is_beyond) {
            let what = format!("process.capabilities: {} is not in the template's bounding set", caps[index]);
            return refuse(&format!("capabilities.{set}[{index}]"), what);
        }
    }
    Ok(())
}

/// A user that is not mapped could not be become, and it would be too late to say so.
pub(in crate::plan) fn has_ids(inside: &Inside<'_>) -> Result<()> {
    if !inside.namespaces.is_new(NamespaceKind::User) {
        return Ok(());
    }
    let linux = inside.spec.linux_or_empty();
    let uids = IdMap::parse(IdKind::Uid, &linux.uid_mappings)?;
    let gids = IdMap::parse(IdKind::Gid, &linux.gid_mappings)?;
    mapped(&inside.process.user, &uids, &gids)
}
