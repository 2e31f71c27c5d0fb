//! Which test shows what each flag and each mount option does. `integration/deaf` runs those of `integration/` with a brisk
//! that does not see it: they have to fail then.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use brisk::cli::flags::{self, Flag, FlagValue};
use brisk::cli::verbs::{VERBS, Verb};

use super::cli::sample;
use super::test_files;

/// A `run` that reads its flags in another place.
pub const RUN_IN_POOL: &str = "run--pool";

/// Verbs (none for the flags before the verb; [`RUN_IN_POOL`] for `run --pool`), flags, test.
pub const FLAG_TESTS: &[(&str, &str, &str)] = &[
    ("", "root", "integration/cli/each_flag.rs: the_state_is_kept_where_it_is_said"),
    ("", "log log-level debug", "integration/cli/flags.rs: how_much_is_logged"),
    ("", "log-format", "integration/lifecycle/logs.rs: json_log_has_level_msg_and_time"),
    ("", "systemd-cgroup", "integration/cli/each_flag.rs: the_systemd_driver_needs_systemd"),
    ("", "cgroup-manager", "integration/cli/each_flag.rs: no_cgroups_where_they_are_disabled"),
    ("", "rootless", "integration/rootless.rs: limits_are_left_out_where_that_is_asked_for"),
    ("", "trust-annotations", "integration/security/annotations.rs: the_caller_may_trust_annotations"),
    ("", "systemd-log", "integration/cli/each_flag.rs: the_journal_is_connected_to"),
    ("", "criu", "tests/cli.rs: global_values"),
    ("", "version", "integration/lifecycle/verbs.rs: version_has_three_lines"),
    (
        "checkpoint restore",
        "image-path leave-running pre-dump parent-path",
        "integration/lifecycle/checkpoint.rs: the_container_may_run_on",
    ),
    ("checkpoint restore", "work-path", "integration/lifecycle/checkpoint.rs: what_criu_says_is_quoted"),
    (
        "checkpoint",
        "tcp-established tcp-skip-in-flight link-remap ext-unix-sk shell-job file-locks lazy-pages manage-cgroups-mode network-lock empty-ns auto-dedup page-server",
        "tests/criu.rs: every_flag_of_checkpoint_reaches_criu",
    ),
    (
        "checkpoint",
        "status-fd",
        "integration/lifecycle/checkpoint.rs: a_status_descriptor_that_tells_nobody_is_refused",
    ),
    (
        "restore",
        "tcp-established ext-unix-sk shell-job file-locks lazy-pages manage-cgroups-mode network-lock empty-ns auto-dedup \
         tcp-close lsm-profile lsm-mount-context",
        "tests/criu.rs: every_flag_of_restore_reaches_criu",
    ),
    ("restore", "ext-unix", "tests/cli_engines.rs: a_flag_that_is_in_cruns_manual_alone"),
    ("restore", "bundle pid-file detach", "integration/lifecycle/checkpoint.rs: a_container_goes_on_where_it_was"),
    (
        "restore",
        "console-socket no-pivot",
        "integration/lifecycle/checkpoint.rs: flags_of_restore_that_criu_is_not_told",
    ),
    ("restore", "no-subreaper", "integration/lifecycle/checkpoint.rs: a_restore_adopts_orphans_unless_told_not_to"),
    ("create run spec", "bundle", "integration/cli/each_flag.rs: the_bundle_is_found_from_elsewhere"),
    ("create run", "config", "integration/cli/flags.rs: another_file_than_config_json"),
    ("create", "console-socket", "integration/terminal.rs: the_master_is_sent_over_the_console_socket"),
    ("run", "console-socket", "integration/terminal.rs: a_detached_run_sends_its_terminal"),
    ("exec", "console-socket detach tty", "integration/terminal.rs: exec_gets_a_terminal_of_its_own"),
    ("create run exec", "pidfd-socket", "integration/cli/flags.rs: a_pidfd_goes_to_a_socket"),
    ("create run exec", "pid-file", "integration/cli/each_flag.rs: a_pid_file_has_the_pid"),
    ("create run", "no-pivot", "integration/cli/each_flag.rs: the_root_is_moved_instead_of_pivoted"),
    ("create", "no-new-keyring", "integration/cli/each_flag.rs: the_session_keyring_of_create"),
    ("run", "no-new-keyring", "integration/process/attributes.rs: the_session_keyring_is_new_unless_asked_otherwise"),
    ("create exec", "preserve-fds", "integration/cli/each_flag.rs: descriptors_that_are_not_there_cannot_be_preserved"),
    ("run", "preserve-fds", "integration/lifecycle/descriptors.rs: preserve_fds_passes_that_many_and_no_more"),
    ("create", "no-subreaper", "tests/cli.rs: every_flag_is_taken_in_both_forms"),
    ("run", "no-subreaper", "integration/cli/each_flag.rs: a_run_adopts_orphans_unless_told_not_to"),
    ("create run start exec delete", "trace", "integration/cli/flags.rs: every_verb_that_takes_one_writes_a_trace"),
    ("create", "template", "integration/prepared.rs: the_program_comes_with_start"),
    ("plan", "template start", "integration/prepared.rs: both_plans_are_printed"),
    (
        "start",
        "env cwd user additional-gids cap no-new-privs",
        "integration/prepared.rs: every_late_flag_reaches_the_program",
    ),
    ("start", "process", "integration/prepared.rs: a_process_json_is_taken"),
    ("start", "stdio", "integration/prepared.rs: the_streams_are_those_of_start"),
    ("start", "memory pids cpus", "integration/prepared.rs: limits_are_there_before_the_program_is"),
    ("start", "mount", "integration/prepared.rs: mounts_are_there_before_the_program_is"),
    ("start", "pid-file", "integration/prepared.rs: who_asks_is_told_of_the_process"),
    ("start", "pidfd-socket", "integration/cli/flags.rs: a_pidfd_goes_to_a_socket"),
    ("start", "tty console-socket", "integration/terminal.rs: a_template_has_its_terminal_from_start"),
    ("diff", "format json", "integration/insight/diff.rs: what_was_written_is_told"),
    ("list", "filter", "integration/insight/list.rs: fields_of_chosen_containers"),
    ("stats", "json", "integration/insight/stats.rs: the_numbers_are_the_kernels"),
    ("stats", "format", "integration/insight/stats.rs: prometheus_reads_the_metrics"),
    ("stats top", "filter", "integration/insight/stats.rs: containers_are_chosen"),
    ("stats top plan", "plain", "integration/insight/top.rs: plain_is_without_orders_to_the_terminal"),
    ("memory", "json format", "integration/insight/memory.rs: one_file_is_shared_and_copies_are_not"),
    ("memory", "filter plain svg", "integration/insight/memory.rs: it_is_drawn_and_chosen"),
    (
        "trace",
        "json format compare plain svg html",
        "integration/insight/trace.rs: a_start_is_shown_compared_and_drawn",
    ),
    ("record", "bundle output report", "integration/insight/record.rs: it_is_what_a_tracer_sees"),
    ("record", "config", "integration/insight/record.rs: signals_and_the_status_are_the_programs"),
    ("record", "for", "integration/insight/record.rs: it_works_with_each_runtime_it_is_for"),
    ("record", "merge plain", "integration/insight/record.rs: runs_are_merged"),
    ("record", "compare", "integration/insight/record.rs: what_is_refused_stays_refused_and_is_told"),
    ("top", "once format json", "integration/insight/top.rs: one_look_has_rates"),
    ("top", "sort interval", "integration/insight/top.rs: the_order_is_as_asked_for"),
    ("run", "pool", "integration/prepared/pools.rs: a_member_is_used_once_and_thrown_away"),
    (
        "run run--pool",
        "additional-gids no-new-privs",
        "integration/prepared/pools.rs: what_comes_with_the_program_reaches_it",
    ),
    ("run run--pool", "process", "integration/prepared/pools.rs: a_process_json_comes_with_the_program"),
    (
        "run--pool",
        "env cwd user cap mount tmpfs",
        "integration/prepared/pools.rs: what_comes_with_the_program_reaches_it",
    ),
    ("run--pool", "memory pids cpus", "integration/prepared/pools.rs: limits_of_the_program_are_the_members"),
    (
        "run--pool",
        "pid-file pidfd-socket trace",
        "integration/prepared/pools.rs: what_the_command_tells_others_it_tells_of_a_member",
    ),
    ("run--pool", "keep", "integration/prepared/pools.rs: a_claimed_container_may_be_kept"),
    ("run--pool", "detach", "integration/prepared/pools.rs: a_member_may_run_in_the_background"),
    ("run--pool", "replace", "integration/prepared/pools.rs: what_is_to_be_replaced_stays_where_nothing_can_come"),
    (
        "run--pool",
        "result timeout output-limit cpu-time grace exit-codes",
        "integration/prepared/pools.rs: the_foreground_is_that_of_a_run",
    ),
    (
        "run--pool",
        "die-with-parent no-new-keyring no-pivot preserve-fds",
        "integration/prepared/pools.rs: what_a_member_cannot_be_a_new_container_is",
    ),
    ("run--pool", "no-subreaper", "integration/cli/each_flag.rs: a_run_adopts_orphans_unless_told_not_to"),
    ("run--pool", "tty", "integration/prepared/pools.rs: a_program_of_a_pool_may_have_a_terminal"),
    ("run--pool", "console-socket", "integration/terminal.rs: a_program_of_a_pool_sends_its_terminal"),
    ("pool", "bundle size format", "integration/prepared/pools.rs: pools_are_listed"),
    ("run", "detach", "integration/cli/each_flag.rs: a_pid_file_has_the_pid"),
    ("run", "keep", "integration/lifecycle/verbs.rs: run_deletes_the_container_and_keep_leaves_it"),
    ("run", "replace", "integration/lifecycle/restart.rs: a_run_takes_the_place_of_another"),
    ("restart", "pid-file", "integration/lifecycle/restart.rs: a_stopped_container_runs_again"),
    ("restart", "console-socket", "integration/terminal.rs: a_restarted_container_has_another_terminal"),
    ("restart", "pidfd-socket", "integration/cli/flags.rs: a_pidfd_goes_to_a_socket"),
    ("restart", "preserve-fds", "integration/lifecycle/restart.rs: what_would_be_lost_is_told"),
    ("spec", "program with", "integration/cli/composed_root.rs: more_is_there_by_name"),
    ("run", "result", "integration/jobs/result_file.rs: the_result_through_a_descriptor"),
    ("run", "timeout", "integration/jobs/limits.rs: a_program_that_takes_too_long"),
    ("wait", "timeout", "integration/jobs/wait_command.rs: a_container_is_waited_for"),
    ("run", "grace", "integration/jobs/limits.rs: a_program_that_heeds_sigterm_has_time_to_end"),
    ("run", "cpu-time", "integration/jobs/limits.rs: a_program_that_uses_too_much_cpu_time"),
    ("run", "output-limit", "integration/jobs/limits.rs: a_program_that_writes_too_much"),
    ("run", "exit-codes", "integration/jobs/endings.rs: no_program_at_all"),
    ("run", "die-with-parent", "integration/jobs/limits.rs: nothing_outlives_who_wanted_it"),
    (
        "exec",
        "result timeout grace output-limit exit-codes",
        "integration/jobs/limits.rs: a_second_program_has_limits_too",
    ),
    ("exec", "die-with-parent", "integration/jobs/limits.rs: an_exec_ends_with_brisk"),
    ("create", "result timeout grace", "integration/jobs/background.rs: a_container_that_is_created_and_started"),
    (
        "create",
        "die-with-parent",
        "integration/jobs/background/killed.rs: nothing_in_the_background_outlives_who_wanted_it",
    ),
    ("create", "cpu-time output-limit", "integration/jobs/background.rs: a_created_container_has_limits"),
    (
        "restart",
        "result timeout grace output-limit cpu-time die-with-parent",
        "integration/jobs/background.rs: a_restarted_container_has_a_monitor_too",
    ),
    ("delete", "force", "integration/cli/flags.rs: every_verb_that_takes_one_writes_a_trace"),
    ("delete kill", "regex", "integration/cli/flags.rs: a_regular_expression_names_containers"),
    ("kill", "all", "integration/cli/each_flag.rs: kill_all_reaches_those_that_the_first_process_left"),
    ("events", "interval", "integration/cli/each_flag.rs: events_come_at_the_interval"),
    ("events", "stats", "integration/cgroup/pause.rs: events_prints_statistics"),
    ("exec", "process", "integration/exec.rs: a_process_file"),
    ("exec", "cwd env", "integration/exec.rs: flags_change_the_process"),
    ("exec", "user", "integration/exec.rs: users"),
    ("exec", "additional-gids", "integration/exec.rs: additional_groups"),
    ("exec", "cap", "integration/exec.rs: capabilities"),
    ("exec", "apparmor process-label", "integration/cli/flags.rs: labels_of_exec_need_a_security_module"),
    ("exec", "no-new-privs", "integration/exec.rs: no_new_privileges"),
    ("exec", "cgroup", "integration/exec.rs: a_sub_cgroup"),
    ("exec", "ignore-paused", "integration/cli/flags.rs: exec_ignores_a_pause_when_asked"),
    ("list", "format quiet", "integration/lifecycle/verbs.rs: list_shows_containers"),
    ("ps", "format", "integration/cgroup/pause.rs: ps_lists_the_containers_processes"),
    ("spec", "rootless", "integration/cli/each_flag.rs: a_bundle_for_an_ordinary_user_has_its_maps"),
    ("create run", "rootless", "integration/cli/outline.rs: a_user_namespace_where_it_is_asked_for"),
    (
        "create run spec",
        "rootfs user env cwd hostname cap mount tmpfs network seccomp",
        "integration/cli/outline.rs: each_flag_says_something",
    ),
    ("create run spec", "memory pids cpus", "integration/cli/outline.rs: limits_are_in_the_forms_that_people_write"),
    ("run", "overlay", "integration/mount/overlay.rs: what_is_written_is_gone_with_the_container"),
    ("create", "overlay", "integration/mount/overlay.rs: created_and_entered"),
    ("spec", "overlay lower overlay-idmap", "integration/mount/overlay.rs: an_annotation_says_it_too"),
    ("run", "lower", "integration/mount/overlay.rs: several_layers"),
    ("run", "overlay-idmap", "integration/mount/overlay.rs: in_a_user_namespace_of_roots"),
    ("create", "lower overlay-idmap", "tests/cli.rs: a_container_without_a_bundle"),
    ("create run", "no-terminal", "integration/cli/outline.rs: what_each_command_begins_with"),
    ("spec", "no-terminal", "integration/cli/outline.rs: each_flag_says_something"),
    ("create run", "read-only", "integration/cli/outline.rs: each_flag_says_something"),
    ("spec", "read-only", "integration/cli/outline.rs: what_each_command_begins_with"),
    ("create run spec", "tty", "integration/cli/outline.rs: what_each_command_begins_with"),
    ("spec", "file", "integration/cli/flags.rs: spec_writes_another_file"),
    ("update", "resources", "integration/cgroup/pause.rs: update_from_standard_input_and_file"),
    ("update", "device-rules", "integration/cgroup/v2.rs: new_device_rules_leave_no_gap"),
    ("update", "move json", "integration/cgroup/transfer.rs: what_one_gives_the_other_gets"),
    ("update", "steps", "integration/cgroup/transfer.rs: at_no_time_is_there_more_than_there_was"),
    ("update", "interval", "integration/cgroup/transfer.rs: steps_have_time_between_them"),
    ("update", "dry-run format", "integration/cgroup/transfer.rs: a_dry_run_says_what_would_be_done"),
    ("update", "force", "integration/cli/each_flag.rs: limits_that_cannot_be_kept_need_force"),
    (
        "update",
        "cpu-share cpu-idle cpu-period cpu-quota cpu-burst cpuset-cpus cpuset-mems memory memory-reservation pids-limit",
        "integration/cli/flags.rs: limits_by_single_flags",
    ),
    (
        "update",
        "blkio-weight cpu-rt-period cpu-rt-runtime memory-swap",
        "integration/cli/flags.rs: limits_that_this_kernel_may_lack_name_what_is_missing",
    ),
    (
        "update",
        "l3-cache-schema mem-bw-schema",
        "integration/cgroup/pause.rs: cache_and_bandwidth_schemas_need_resctrl",
    ),
    ("update", "kernel-memory kernel-memory-tcp", "tests/cli.rs: every_flag_is_taken_in_both_forms"),
    ("plan", "json", "integration/cli/each_flag.rs: a_plan_in_json"),
    ("plan", "format", "integration/cli/each_flag.rs: a_plan_in_json"),
    ("plan", "diff", "integration/insight/plan.rs: two_plans_are_compared"),
    ("plan", "host", "integration/insight/plan.rs: a_saved_plan_is_as_good_as_its_host"),
    ("check", "json", "integration/cli/check.rs: it_says_what_is_true_of_the_kernel"),
    ("check", "format", "integration/cli/check_bundle.rs: everything_is_told_at_once"),
];

/// Mount options, test. Those of `tests/` change nothing that could be seen.
pub const OPTION_TESTS: &[(&str, &str)] = &[
    (
        "nosymfollow rnosymfollow sync rsync dirsync rdirsync lazytime relatime rrelatime nostrictatime rnostrictatime \
         nodiratime rnodiratime shared unbindable",
        "integration/mount/options.rs: each_option_that_sets",
    ),
    (
        "symfollow rsymfollow async rasync nolazytime atime ratime diratime rdiratime strictatime rstrictatime private \
         rprivate slave rslave",
        "integration/mount/options.rs: each_option_that_clears",
    ),
    ("noatime nodev noexec nosuid ro", "integration/mount/types.rs: flags_are_set"),
    ("rnoatime rnodev rnoexec rnosuid", "integration/mount/types.rs: recursive_attributes_reach_every_mount_below"),
    ("rdev rexec rsuid", "integration/mount/types.rs: recursive_attributes_are_cleared"),
    ("dev exec suid rw", "integration/mount/types.rs: the_later_of_two_contrary_options_wins"),
    ("rrw", "integration/mount/types.rs: the_later_of_two_contrary_recursive_options_wins"),
    ("rbind", "integration/mount/types.rs: bind_is_not_recursive_and_rbind_is"),
    ("rro", "integration/mount/types.rs: read_only_is_not_recursive_and_rro_is"),
    ("rshared runbindable", "integration/mount/types.rs: propagation_of_a_mount"),
    ("tmpcopyup", "integration/mount/types.rs: tmpcopyup_copies_what_was_there"),
    ("bind", "integration/mount/options.rs: bind_without_a_type"),
    ("remount", "integration/mount/options.rs: a_remount_changes_what_is_there"),
    ("copy-symlink", "integration/mount/options.rs: links_are_followed_copied_or_meant"),
    ("idmap ridmap", "integration/mount/options.rs: an_id_mapping_in_the_option"),
    (
        "dest-nofollow",
        "integration/mount/options.rs: a_destination_that_is_a_link_is_not_followed_where_that_is_asked_for",
    ),
    ("src-nofollow", "tests/options.rs: switches_and_data"),
    (
        "defaults iversion noiversion loud silent mand rmand nomand rnomand norelatime rnorelatime",
        "tests/options.rs: attributes_and_superblock_flags",
    ),
];

/// What has flags of its own, by its name in [`FLAG_TESTS`]: what is before the command, each command, and `run` where it goes
/// another way; and those flags.
pub fn scopes() -> Vec<(&'static str, Vec<&'static Flag>)> {
    let mut all = vec![("", flags::of(None).collect())];
    for row in VERBS {
        let taken: Vec<&Flag> = flags::of(Some(row.verb)).collect();
        all.push((row.name, taken.clone()));
        if row.verb == Verb::Run {
            let in_pool = taken.into_iter().filter(|flag| flag.long != "pool" && goes_with_a_pool(flag));
            all.push((RUN_IN_POOL, in_pool.collect()));
        }
    }
    all
}

fn goes_with_a_pool(flag: &Flag) -> bool {
    let value = match flag.value {
        FlagValue::Switch | FlagValue::Maybe(_) => String::new(),
        FlagValue::One(_) | FlagValue::Many(_) | FlagValue::Word(..) => format!("={}", sample(flag)),
    };
    let given = format!("--{}{value}", flag.long);
    let words = ["run", "--pool", "p", &given, "id", "--", "true"];
    brisk::cli::parse(&words.map(Into::into)).is_ok()
}

/// Flags that help does not list: command, flag, and why it is taken all the same. One of brisk's own is listed.
const UNLISTED: &[(&str, &str, &str)] = &[
    ("", "criu", "runc had it"),
    ("create", "no-subreaper", "others take it, and create adopts nobody"),
    ("update", "kernel-memory", "crun and runc have it, and kernels no more"),
    ("update", "kernel-memory-tcp", "crun and runc have it, and kernels no more"),
    ("restore", "ext-unix", "crun's manual calls --ext-unix-sk so"),
];

#[test]
fn a_flag_that_is_not_listed_has_a_reason() {
    let all = scopes().into_iter().flat_map(|(verb, flags)| flags.into_iter().map(move |flag| (verb, flag)));
    let unlisted: BTreeSet<_> = all.filter(|(_, flag)| !flag.listed).map(|(verb, flag)| (verb, flag.long)).collect();
    let reasons: BTreeSet<_> = UNLISTED.iter().filter(|row| row.2.contains(' ')).map(|row| (row.0, row.1)).collect();
    let differ: Vec<_> = unlisted.symmetric_difference(&reasons).collect();
    let next = "who has it, and why it does nothing, is a row of UNLISTED in tests/flag_tests.rs; what does something is listed";
    assert!(differ.is_empty(), "{differ:?}: {next}");
}

/// A row that was copied, with the words of the other.
#[test]
fn no_two_flags_of_a_command_are_described_alike() {
    for (verb, flags) in scopes() {
        for (index, flag) in flags.iter().enumerate().filter(|(_, flag)| flag.listed) {
            let other = flags[..index].iter().find(|other| other.listed && other.help == flag.help);
            assert!(other.is_none(), "{verb}: --{} and {other:?} have the same line of help", flag.long);
        }
    }
}

/// A row that names a test of something else would go unnoticed until somebody runs all tests with deaf briskes. So the test,
/// or a function of its file that it calls, has to use the flag.
#[test]
fn the_test_of_a_flag_uses_it() {
    let files = test_files();
    let all: Vec<&Flag> = scopes().into_iter().flat_map(|(_, flags)| flags).collect();
    let mut wrong = Vec::new();
    for (verbs, list, test) in FLAG_TESTS {
        let (file, name) = test.split_once(": ").unwrap();
        let text = |file: &str| files.iter().find(|(other, _)| other == file).map(|(_, text)| text.as_str());
        let own = text(file).unwrap_or_else(|| panic!("there is no {file}"));
        // What the tests of a folder share is in its module.
        let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
        let shared = [format!("{folder}/mod.rs"), format!("{folder}.rs")];
        let shared = shared.iter().find_map(|file| text(file)).unwrap_or_default();
        let source = reached(&[own, shared].concat(), name);
        if !claims(&source) {
            wrong.push(format!("{test} claims nothing but that nothing fails: what does {list} do?"));
        }
        // Each of the commands has it tried: what is read for one may be passed over by another.
        let uses_verb = |verb: &&str| match *verb {
            "" => true,
            RUN_IN_POOL => word(&source, "--pool"),
            verb => ["\"", ".", "_"].iter().any(|before| source.contains(&format!("{before}{verb}"))),
        };
        let unused = verbs.split(' ').filter(|verb| !uses_verb(verb));
        wrong.extend(unused.map(|verb| format!("{test} does not use {verb}")));
        for flag in list.split(' ') {
            let row = all.iter().find(|row| row.long == flag).unwrap_or_else(|| panic!("there is no --{flag}"));
            let short = row.short.map_or(String::new(), |short| format!("\"-{short}"));
            let field = flag.replace('-', "_");
            let uses = word(&source, &format!("--{flag}"))
                || source.contains(&format!("\"{flag}\""))
                || !short.is_empty() && word(&source, &short)
                || file.starts_with("tests/") && word(&source, &field);
            // That test goes through the whole table: enough for what is accepted and does nothing.
            let nothing_to_do = name == "every_flag_is_taken_in_both_forms" && !row.listed;
            if !uses && !nothing_to_do {
                wrong.push(format!("{test} does not use --{flag}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// Whether a test says what is to come of what it does: that it succeeds is no such thing.
pub fn claims(source: &str) -> bool {
    let says = ["assert", "panic!", ".fails", "refused(", ".exits(", "fail(", "_err(", "wait_until", "expect("];
    says.iter().any(|word| source.contains(word))
}

/// Flags and mount options whose test is none of the real kernel, and why.
const WITHOUT_KERNEL: &[(&str, &str)] = &[
    ("criu no-subreaper kernel-memory kernel-memory-tcp", "accepted, and does nothing"),
    ("ext-unix", "another name of a flag that has a test"),
    ("lower overlay-idmap", "as with `run`, whose test is one of the kernel"),
    (
        "tcp-established tcp-skip-in-flight link-remap ext-unix-sk shell-job file-locks lazy-pages manage-cgroups-mode network-lock \
         empty-ns auto-dedup page-server tcp-close lsm-profile lsm-mount-context",
        "CRIU's work, which does not run on every kernel: what it is told is looked at",
    ),
    ("src-nofollow", "where the kernel is asked for it is in the plan"),
    (
        "defaults iversion noiversion loud silent mand rmand nomand rnomand norelatime rnorelatime",
        "nothing that a program could see",
    ),
];

/// A test of tables passes with a brisk that does nothing.
#[test]
fn what_can_be_seen_is_tested_on_the_real_kernel() {
    let split = |list: &'static str| list.split_ascii_whitespace();
    let rows = FLAG_TESTS.iter().map(|(_, flags, test)| (*flags, *test)).chain(OPTION_TESTS.iter().copied());
    let named: BTreeSet<&str> =
        rows.filter(|(_, test)| test.starts_with("tests/")).flat_map(|(list, _)| split(list)).collect();
    let reasons: BTreeSet<&str> = WITHOUT_KERNEL.iter().flat_map(|(list, _)| split(list)).collect();
    let differ: Vec<_> = named.symmetric_difference(&reasons).collect();
    assert!(
        differ.is_empty(),
        "{differ:?}: a test in integration/, or a reason in WITHOUT_KERNEL of tests/flag_tests.rs"
    );
}

/// The function of this name and those of the same file that it calls, and so on.
pub fn reached(text: &str, name: &str) -> String {
    let parts: Vec<(&str, &str)> = text
        .match_indices("fn ")
        .filter(|(at, _)| !text[..*at].rsplit('\n').next().unwrap().contains("//"))
        .map(|(at, _)| {
            let body = &text[at + 3..];
            let name = body.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap();
            (name, &body[..body.find("\n}\n").unwrap_or(body.len())])
        })
        .collect();
    let (mut done, mut next) = (BTreeSet::new(), vec![name]);
    let mut source = String::new();
    while let Some(name) = next.pop() {
        if !done.insert(name) {
            continue;
        }
        for (_, body) in parts.iter().filter(|(other, _)| *other == name) {
            source.push_str(body);
            next.extend(parts.iter().map(|(other, _)| *other).filter(|other| body.contains(&format!("{other}("))));
        }
    }
    source
}

/// Whether this is in the text, and not the beginning of something longer.
fn word(text: &str, what: &str) -> bool {
    text.match_indices(what).any(|(at, _)| {
        !text[at + what.len()..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    })
}
