//! What the program of `exec`, or of the start of a template, is: what the command line says on top of process.json or of
//! the container's own process.

use crate::container::options::{Global, ProgramChoice};
use crate::error::Result;
use crate::plan::process::environment::ProgramEnvironment;
use crate::spec::process::{Capabilities, Process};
use crate::spec::validate::validate_process;
use crate::spec::{self, Spec};

/// What counts where neither process.json nor the command line says what the program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::container) enum Fallback {
    /// Nothing: that is an error.
    Nothing,
    /// The template's own program, whose no_new_privs holds in any case.
    Template,
}

/// The process to run: process.json, or the container's own, with what the command line changes.
pub(in crate::container) fn chosen(
    global: &Global,
    choice: &ProgramChoice,
    spec: &Spec,
    fallback: Fallback,
) -> Result<Process> {
    let ProgramChoice {
        args,
        process: file,
        tty,
        cwd,
        env,
        user,
        additional_gids,
        caps: added,
        apparmor,
        process_label,
        no_new_privs,
    } = choice;
    let own = spec.process.as_ref();
    let mut process = match file {
        Some(path) => completed(spec::load_process(path, global.warn)?, own),
        None => {
            let own = own.cloned().unwrap_or_else(|| Process { cwd: "/".into(), ..Process::default() });
            match fallback {
                Fallback::Nothing => Process { args: Vec::new(), terminal: false, console_size: None, ..own },
                Fallback::Template => own,
            }
        }
    };
    if fallback == Fallback::Template {
        process.no_new_privileges |= own.is_some_and(|own| own.no_new_privileges);
    }
    if !args.is_empty() {
        process.args.clone_from(args);
    }
    process.terminal |= *tty;
    process.env.extend(env.iter().cloned());
    ProgramEnvironment::parse(&process.env).map_err(|error| choice.named(error))?;
    if let Some(cwd) = cwd {
        process.cwd.clone_from(cwd);
    }
    if let Some(user) = user {
        process.user.uid = user.uid;
        process.user.gid = user.gid.unwrap_or(process.user.gid);
    }
    process.user.additional_gids.extend(additional_gids);
    if !added.is_empty() {
        // Never the inheritable set (CVE-2022-29162). What is in it already is raised as ambient, too, as runc has it: a user
        // other than root has no use for the capability otherwise.
        let caps = process.capabilities.get_or_insert_with(Capabilities::default);
        for set in [&mut caps.bounding, &mut caps.effective, &mut caps.permitted] {
            set.extend(added.iter().cloned());
        }
        caps.ambient.extend(added.iter().filter(|cap| caps.inheritable.contains(cap)).cloned());
    }
    if *no_new_privs {
        process.no_new_privileges = true;
    }
    process.apparmor_profile = apparmor.clone().or(process.apparmor_profile);
    process.selinux_label = process_label.clone().or(process.selinux_label);
    validate_process(&process).map_err(|error| choice.named(error))?;
    Ok(process)
}

/// What process.json does not say is as in the container: what confines a process, and what the kernel does with it. What it is
/// and as whom it runs process.json alone says.
fn completed(given: Process, own: Option<&Process>) -> Process {
    let Some(own) = own else { return given };
    let Process {
        terminal,
        console_size,
        mut user,
        args,
        command_line,
        env,
        cwd,
        capabilities,
        rlimits,
        no_new_privileges,
        apparmor_profile,
        oom_score_adj,
        scheduler,
        selinux_label,
        io_priority,
        exec_cpu_affinity,
    } = given;
    let filled =
        |given: Option<String>, own: &Option<String>| given.filter(|label| !label.is_empty()).or_else(|| own.clone());
    user.umask = user.umask.or(own.user.umask);
    Process {
        terminal,
        console_size,
        user,
        args,
        command_line,
        env,
        cwd,
        capabilities: capabilities.or_else(|| own.capabilities.clone()),
        rlimits: if rlimits.is_empty() { own.rlimits.clone() } else { rlimits },
        no_new_privileges,
        apparmor_profile: filled(apparmor_profile, &own.apparmor_profile),
        oom_score_adj: oom_score_adj.or(own.oom_score_adj),
        scheduler: scheduler.or_else(|| own.scheduler.clone()),
        selinux_label: filled(selinux_label, &own.selinux_label),
        io_priority: io_priority.or_else(|| own.io_priority.clone()),
        exec_cpu_affinity: exec_cpu_affinity.or_else(|| own.exec_cpu_affinity.clone()),
    }
}
