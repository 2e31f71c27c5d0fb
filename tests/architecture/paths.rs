//! Who may look up a path in the child, and from where.

use super::{File, fail, sources, whole};

/// The functions of `sys` that take a path, and the files of the child that may call them. A path is resolved once:
/// what comes after goes by the descriptor. So whoever is added here answers for who could have put a link there.
const PATH_CALLS: &[(&str, &[&str])] = &[
    // From an opened root, without a way out of it, and what is missing made on the way.
    (
        "path::resolve",
        &["child/devices.rs", "child/mounts.rs", "child/program.rs", "child/root.rs", "child/streams.rs"],
    ),
    ("path::resolve_or_make", &["child/mounts.rs", "child/root.rs"]),
    ("path::make_missing", &["child/mounts.rs"]),
    // The number of the mount that is found there is compared.
    ("path::resolve_last", &["child/root.rs"]),
    ("fs::open2", &["child/program.rs", "child/root.rs"]),
    ("tty::open_pty", &["child/streams.rs"]),
    // Names in a directory that is held: of /dev, of a copy whose upper side nobody else has, of a tmpfs that nobody else reaches.
    ("fs::mkdir", &["child/copy.rs", "child/mounts.rs", "child/overlay.rs"]),
    ("fs::mknod", &["child/copy.rs", "child/devices.rs", "launch/host_objects.rs"]),
    ("fs::symlink", &["child/copy.rs", "child/devices.rs", "child/mounts.rs"]),
    ("fs::rename_new", &[]),
    ("fs::unlink", &["child/devices.rs", "child/mounts.rs"]),
    ("fs::stat_at", &["child/copy.rs", "child/devices.rs", "child/overlay.rs", "child/root.rs"]),
    ("fs::readlink", &["child/copy.rs", "child/mounts.rs"]),
    ("fs::chown", &["child/copy.rs", "child/devices.rs", "child/streams.rs", "launch/host_objects.rs"]),
    ("fs::chmod_at", &["child/copy.rs", "child/mounts.rs", "child/overlay.rs", "launch/host_objects.rs"]),
    ("mount::clone_tree_with", &["child/mounts.rs", "child/root.rs"]),
    (
        "mount::clone_tree",
        &["child/mounts.rs", "child/overlay.rs", "child/root.rs", "child/streams.rs", "launch/host_objects.rs"],
    ),
    // Names in what this start has made (plan::rootfs::fresh; the layers of an overlay).
    ("mount::attach_at", &["child/mounts.rs", "child/overlay.rs", "child/root.rs"]),
    // What is below is resolved as the caller said it, before the container has a say, or is a path of our own.
    (
        "fs::open",
        &[
            "child/copy.rs",
            "child/devices.rs",
            "child/mod.rs",
            "child/state.rs",
            "child/mounts.rs",
            "child/overlay.rs",
            "child/program.rs",
            "child/reveal.rs",
            "child/root.rs",
            "launch/host_objects.rs",
        ],
    ),
    ("fs::access", &["child/program.rs"]),
    ("fs::chdir", &["child/mounts.rs", "child/root.rs"]),
    ("fs::chroot", &["child/root.rs"]),
    ("mount::mount", &["child/mod.rs", "child/mounts.rs", "child/root.rs"]),
    ("mount::umount", &["child/mounts.rs", "child/reveal.rs", "child/root.rs", "launch/host_objects.rs"]),
    ("process::exec_pointers", &["child/hook.rs"]),
    // The parent's, among files that are its own.
    ("fs::rename", &[]),
    ("fs::exchange", &[]),
    ("unnamed::write", &[]),
    ("fs::mount_id", &[]),
    ("fs::stat_known", &[]),
    ("fs::mkfifo", &[]),
    ("mount::below", &[]),
    ("poll::inotify_modified", &[]),
];

/// Those that take a text that is no path.
const NO_PATH: &[&str] = &[
    "dir::each",
    "dir::each_typed",
    "fs::memfd",
    "fs::set_selinux_label",
    "fs::xattr",
    "mount::fs_new",
    "mount::fs_open",
    "mount::fs_set",
    "mount::fs_try",
    "process::set_domainname",
    "process::set_hostname",
    "regex::is_match",
    "regex::new",
];

/// Where the child, or who takes the host's objects for it, begins a path at its working directory or its root, and how
/// often. All else begins at a descriptor.
const FROM_CWD: &[(&str, usize)] = &[
    // proc, in the namespaces of the start.
    ("child/mod.rs", 2),
    // Sources of mounts, in the caller's own mounts; the root of a tmpfs that nobody else reaches; the directory that is returned to.
    ("child/mounts.rs", 7),
    // The directory that hooks return to.
    ("child/overlay.rs", 1),
    // The program, in the container's root as its user: what execve(2) itself looks up once more.
    ("child/program.rs", 1),
    // The caller's mounts that --no-pivot hides, before the container has a process.
    ("child/reveal.rs", 2),
    // The root as the caller said it; the old root and the new one.
    ("child/root.rs", 3),
    // The proc whose attributes are checked.
    ("child/state.rs", 1),
    // What the caller named, in the caller's mounts and with the caller's rights.
    ("launch/host_objects.rs", 2),
];

#[test]
fn a_path_is_resolved_once() {
    let files = sources();
    let mut found = Vec::new();
    let takes: Vec<String> = files.iter().filter(|file| file.is_in("sys")).flat_map(take_text).collect();
    for name in &takes {
        if !NO_PATH.contains(&name.as_str()) && !PATH_CALLS.iter().any(|(known, _)| known == name) {
            found.push(format!("sys::{name} takes a path: who may call it? (PATH_CALLS)"));
        }
    }
    for known in PATH_CALLS.iter().map(|(name, _)| name).chain(NO_PATH) {
        if !takes.iter().any(|name| name == known) {
            found.push(format!("no function {known} of sys takes a path"));
        }
    }
    let ours = |file: &&File| file.is_in("child") || file.is_in("launch/host_objects");
    for file in files.iter().filter(ours) {
        let name = file.name().to_string();
        for (function, may) in PATH_CALLS {
            // Those of sys/path.rs are imported by their own names.
            let called = function.strip_prefix("path::").unwrap_or(function);
            let calls = file.code().any(|(_, line)| whole(line, &format!("{called}(")));
            if calls != may.contains(&name.as_str()) {
                found.push(format!("src/{name}: {function} is {}", if calls { "not for it" } else { "not used" }));
            }
        }
        let count = file.code().filter(|(_, line)| whole(line, "fs::CWD")).count();
        let may = FROM_CWD.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
        if count != may {
            found.push(format!("src/{name}: {count} paths from the working directory, not {may} (FROM_CWD)"));
        }
    }
    fail(
        &found,
        "who looks up a path answers for who could have put a link there: see PATH_CALLS and FROM_CWD (tests/architecture/paths.rs)",
    );
}

/// The public functions of a file of `sys` that take a `&CStr`, as `fs::open`.
fn take_text(file: &File) -> Vec<String> {
    let module = file.path_of_module().pop().unwrap();
    let code: String = file.code().map(|(_, line)| format!("{line}\n")).collect();
    let mut names = Vec::new();
    for part in code.split("pub fn ").skip(1) {
        let name: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let signature = part.split_once(" {\n").map_or(part, |(signature, _)| signature);
        if signature.contains("&CStr") {
            names.push(format!("{module}::{name}"));
        }
    }
    names
}
