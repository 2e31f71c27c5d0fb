//! What the program of `exec`, or of the start of a template, is: what the command line says on top of process.json or of
//! the container's own process.

use crate::container::options::{Global, ProgramChoice};
use crate::error::{Origins, Result, SaidBy};
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

/// The process to run: process.json, or the container's own, with what the command line changes; and who has said what of it.
pub(in crate::container) fn chosen(
    global: &Global,
    choice: &ProgramChoice,
    spec: &Spec,
    fallback: Fallback,
) -> Result<(Process, Origins)> {
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
    let mut of_file = Origins::default();
    let mut process = match file {
        Some(path) => {
            let given = spec::load_process(path, global.warn)?;
            of_file = in_file(&given, &path.to_string_lossy());
            completed(given, own)
        }
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
    let mut origins = by_flags(choice, &process);
    origins.extend(of_file);
    if !args.is_empty() {
        process.args.clone_from(args);
    }
    process.terminal |= *tty;
    process.env.extend(env.iter().cloned());
    ProgramEnvironment::parse(&process.env).said_by(|| origins.clone())?;
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
    validate_process(&process).said_by(|| origins.clone())?;
    Ok((process, origins))
}

/// What the flags say of a process that was this one before them: what they add is behind what was there.
fn by_flags(choice: &ProgramChoice, before: &Process) -> Origins {
    let ProgramChoice {
        args,
        // `chosen`.
        process: _,
        tty,
        cwd,
        env,
        user,
        additional_gids,
        caps,
        apparmor,
        process_label,
        no_new_privs,
    } = choice;
    let mut origins = Origins::default();
    let items = |list: &str, before: usize, added: usize| (format!("process.{list}"), before..before + added);
    let gids = items("user.additionalGids", before.user.additional_gids.len(), additional_gids.len());
    let none = Capabilities::default();
    let Capabilities { bounding, effective, permitted, .. } = before.capabilities.as_ref().unwrap_or(&none);
    for ((list, added), flag) in [
        (items("env", before.env.len(), env.len()), "--env"),
        (gids, "--additional-gids"),
        (items("capabilities.bounding", bounding.len(), caps.len()), "--cap"),
        (items("capabilities.effective", effective.len(), caps.len()), "--cap"),
        (items("capabilities.permitted", permitted.len(), caps.len()), "--cap"),
    ] {
        origins.add_items(&list, added, flag);
    }
    origins.add_given(&[
        ("process.terminal", "--tty", *tty && !before.terminal),
        ("process.user.uid", "--user", user.is_some()),
        ("process.user.gid", "--user", user.is_some_and(|user| user.gid.is_some())),
        ("process.cwd", "--cwd", cwd.is_some()),
        ("process.args", "COMMAND", !args.is_empty()),
        ("process.apparmorProfile", "--apparmor", apparmor.is_some()),
        ("process.selinuxLabel", "--process-label", process_label.is_some()),
        ("process.noNewPrivileges", "--no-new-privs", *no_new_privs && !before.no_new_privileges),
    ]);
    origins
}

/// What process.json says, and the container's own process does not ([`completed`]).
fn in_file(given: &Process, file: &str) -> Origins {
    let Process { capabilities, rlimits, oom_score_adj, scheduler, io_priority, exec_cpu_affinity, .. } = given;
    let Process { apparmor_profile, selinux_label, user, .. } = given;
    let label = |label: &Option<String>| label.as_ref().is_some_and(|label| !label.is_empty());
    let mut origins = Origins::default();
    let fields = [
        ("terminal", true),
        ("consoleSize", true),
        ("user.uid", true),
        ("user.gid", true),
        ("user.additionalGids", true),
        ("user.umask", user.umask.is_some()),
        ("args", true),
        ("env", true),
        ("cwd", true),
        ("capabilities", capabilities.is_some()),
        ("rlimits", !rlimits.is_empty()),
        ("noNewPrivileges", true),
        ("apparmorProfile", label(apparmor_profile)),
        ("oomScoreAdj", oom_score_adj.is_some()),
        ("scheduler", scheduler.is_some()),
        ("selinuxLabel", label(selinux_label)),
        ("ioPriority", io_priority.is_some()),
        ("execCPUAffinity", exec_cpu_affinity.is_some()),
    ];
    origins.add_of_file("process", &fields, file);
    origins
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
