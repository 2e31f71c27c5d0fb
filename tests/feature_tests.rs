//! Which tests show what `features` says, in each of the combinations that an engine takes for granted when it reads that.
//! (The options of mounts are in `flag_tests`.)

/// A member of the document, in which combination, and the test that shows it.
pub const FEATURE_TESTS: &[(&str, &str, &str)] = &[
    ("ociVersionMin", "", "integration/hostile/bad_input.rs: a_newer_version_of_the_specification_is_accepted"),
    ("ociVersionMax", "", "integration/hostile/bad_input.rs: a_newer_version_of_the_specification_is_accepted"),
    ("hooks", "each list, in order", "integration/hooks.rs: hooks_run_in_order"),
    ("linux.namespaces", "new, together", "integration/namespace/kinds.rs: every_combination_of_new_namespaces_works"),
    (
        "linux.namespaces",
        "joined, together",
        "integration/namespace/kinds.rs: all_namespaces_of_another_container_are_joined_at_once",
    ),
    (
        "linux.namespaces",
        "the host's beside a new user namespace",
        "integration/namespace/rights.rs: namespaces_of_the_host_are_joined_beside_a_new_user_namespace",
    ),
    (
        "linux.namespaces",
        "another container's, with its user namespace",
        "integration/namespace/rights.rs: everything_of_another_container_is_joined",
    ),
    (
        "linux.namespaces",
        "the same by an ordinary user",
        "integration/rootless.rs: a_user_joins_namespaces_of_another_container",
    ),
    ("linux.capabilities", "", "integration/process/capabilities.rs: the_sets_are_what_the_config_says"),
    ("linux.cgroup.v1", "", "integration/cgroup/limits.rs: memory"),
    ("linux.cgroup.v2", "", "integration/cgroup/v2.rs: huge_pages_and_io_weight"),
    ("linux.cgroup.systemd", "", "integration/cgroup/systemd.rs: the_whole_life"),
    (
        "linux.cgroup.systemd",
        "the systemd of a container, for its root",
        "integration/system/engines.rs: podman_in_a_system_with_a_user_namespace",
    ),
    ("linux.cgroup.systemdUser", "", "integration/cgroup/systemd.rs: the_whole_life"),
    ("linux.cgroup.rdma", "", "integration/cgroup/limits.rs: huge_pages_rdma_and_network_classes"),
    ("linux.seccomp.enabled", "", "tests/seccomp/kernel.rs: a_rule_holds_in_the_kernel"),
    ("linux.seccomp.actions", "", "tests/seccomp/libseccomp.rs: random_profiles_mean_what_libseccomp_makes_of_them"),
    ("linux.seccomp.operators", "", "tests/seccomp/libseccomp.rs: random_profiles_mean_what_libseccomp_makes_of_them"),
    ("linux.seccomp.archs", "", "tests/seccomp/libseccomp.rs: random_profiles_mean_what_libseccomp_makes_of_them"),
    ("linux.seccomp.knownFlags", "", "tests/seccomp/errors.rs: flags_are_those_of_runc"),
    ("linux.seccomp.supportedFlags", "", "tests/seccomp/errors.rs: this_kernel_takes_the_probe"),
    ("linux.apparmor", "in a guest", "integration/process/apparmor.rs: an_apparmor_profile_confines_the_container"),
    ("linux.selinux", "in a guest", "integration/process/selinux.rs: a_label_confines_the_container"),
    ("linux.intelRdt", "", "src/cgroup/rdt.rs: a_group_of_its_own_is_made_joined_and_removed"),
    ("linux.memoryPolicy", "each mode and flag", "integration/spec/fields.rs: the_memory_policy_is_set"),
    ("linux.mountExtensions.idmap", "no user namespace", "integration/mount/types.rs: id_mapped_mounts"),
    (
        "linux.mountExtensions.idmap",
        "a new user namespace",
        "integration/namespace/rights.rs: a_mount_is_id_mapped_in_a_user_namespace",
    ),
    (
        "linux.mountExtensions.idmap",
        "a joined user namespace",
        "integration/namespace/rights.rs: a_mount_gets_the_maps_of_a_joined_user_namespace",
    ),
    (
        "linux.mountExtensions.idmap",
        "of the mount alone, and of all below",
        "integration/namespace/rights.rs: mappings_without_idmap_are_of_the_mount_alone",
    ),
    (
        "linux.mountExtensions.idmap",
        "a container that runs",
        "integration/namespace/rights.rs: added_mounts_are_opened_and_mapped_with_the_callers_rights",
    ),
    (
        "linux.mountExtensions.idmap",
        "an ordinary user: refused",
        "integration/rootless.rs: an_id_mapped_mount_is_refused_by_its_name",
    ),
    ("linux.netDevices", "", "integration/namespace/netdev.rs: a_device_moves_with_its_name_and_addresses"),
    ("linux.netDevices", "a user namespace", "integration/namespace/netdev.rs: a_device_moves_into_a_user_namespace"),
    (
        "annotations.org.opencontainers.runc.checkpoint.enabled",
        "",
        "integration/lifecycle/checkpoint.rs: a_container_goes_on_where_it_was",
    ),
    ("potentiallyUnsafeConfigAnnotations", "", "integration/security/annotations.rs: the_caller_may_trust_annotations"),
];
