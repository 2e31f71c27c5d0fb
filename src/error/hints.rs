//! Advice for errors whose cause is mostly the same: by stage, what was being done, and errno. Pure.

use nix::errno::Errno;

use super::kinds::{Deed, Stage};

const TOO_MANY_NAMESPACES: &str =
    "a limit on namespaces was reached: see sysctl user.max_*_namespaces, or namespaces are nested more than 32 deep";
const TOO_MANY_PROCESSES: &str = "a limit on the number of processes was reached: see RLIMIT_NPROC, pids.max of the cgroup, and sysctl kernel.pid_max";
const NO_SUCH_NAMESPACE: &str = "the kernel lacks one of the namespace types asked for: see /proc/self/ns";
/// Where the state is kept is not the user's.
pub const OWN_ROOT: &str = "an ordinary user needs XDG_RUNTIME_DIR, or --root DIR";
const NO_PROFILE: &str = "the profile is not loaded, the policy has no such label, or this kernel runs without the security module: see \
    /sys/kernel/security/lsm, and apparmor_parser(8) to load one";

const FIRST_THREAD: &str =
    "its first process has ended, or its first thread has: nobody joins the others, who can only be killed";
const NOBODY_LISTENS: &str = "whoever calls brisk listens on that socket before";

const IS_THE_LOG: &str = "it is the file that --log names, and what is read is not written to";

/// One row: stage, what was being done (anything where it is none), errno, advice. The first that fits counts.
type HintRow = (Stage, Option<Deed>, Errno, &'static str);

const HINTS: &[HintRow] = &[
    (Stage::Bundle, None, Errno::ETXTBSY, IS_THE_LOG),
    (Stage::State, None, Errno::ETXTBSY, IS_THE_LOG),
    (
        Stage::Bundle,
        Some(Deed::FindBundle),
        Errno::ENOENT,
        "`brisk spec --bundle DIR` writes one; a bundle is a directory with a config.json, the working directory if --bundle names none",
    ),
    (Stage::Bundle, Some(Deed::FindBundle), Errno::ENOTDIR, "a bundle is the directory that has the config.json in it"),
    (
        Stage::Namespace,
        Some(Deed::Clone),
        Errno::EPERM,
        "without CAP_SYS_ADMIN only user namespaces can be made, and those may be off: see sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns and user.max_user_namespaces",
    ),
    (Stage::Namespace, Some(Deed::Clone), Errno::ENOSPC, TOO_MANY_NAMESPACES),
    (Stage::Namespace, Some(Deed::Unshare), Errno::ENOSPC, TOO_MANY_NAMESPACES),
    (Stage::Namespace, Some(Deed::Clone), Errno::EINVAL, NO_SUCH_NAMESPACE),
    (Stage::Namespace, Some(Deed::Unshare), Errno::EINVAL, NO_SUCH_NAMESPACE),
    (Stage::Namespace, Some(Deed::Join), Errno::ESRCH, FIRST_THREAD),
    (Stage::Rootfs, Some(Deed::ReadMounts), Errno::EINVAL, FIRST_THREAD),
    (
        Stage::Namespace,
        Some(Deed::Clone),
        Errno::ENOMEM,
        "the first process of the pid namespace that is joined may have ended: nothing can be started in it any more",
    ),
    (Stage::Namespace, Some(Deed::Clone), Errno::EAGAIN, TOO_MANY_PROCESSES),
    (Stage::Process, Some(Deed::Clone), Errno::EAGAIN, TOO_MANY_PROCESSES),
    (
        Stage::Rootfs,
        Some(Deed::MountProc),
        Errno::EPERM,
        "a fresh proc needs a proc that nothing covers in the parent namespace, and a pid namespace of the container's own",
    ),
    (
        Stage::Rootfs,
        Some(Deed::MountSysfs),
        Errno::EPERM,
        "a fresh sysfs needs a network namespace owned by the container's user namespace; bind /sys instead",
    ),
    (
        Stage::Rootfs,
        Some(Deed::TakeRoot),
        Errno::ENOENT,
        "root.path of config.json, or --rootfs, names no directory; what does not begin with / is below the bundle",
    ),
    (
        Stage::Rootfs,
        Some(Deed::TakeRoot),
        Errno::ENOTDIR,
        "root.path of config.json, or --rootfs, must name a directory, and no link to one",
    ),
    (
        Stage::Rootfs,
        Some(Deed::TakeRoot),
        Errno::EACCES,
        "the container's user needs search permission for every directory above the root",
    ),
    (
        Stage::Rootfs,
        Some(Deed::Bind),
        Errno::ENOENT,
        "the source of a bind mount must exist on the host; where it does, a directory of the destination cannot be made",
    ),
    (
        Stage::Rootfs,
        Some(Deed::Overlay),
        Errno::ENOENT,
        "the root, each --lower and the directory of --overlay have to be there",
    ),
    (
        Stage::Rootfs,
        Some(Deed::Overlay),
        Errno::ENODEV,
        "this kernel has no overlayfs, or its module cannot be loaded from here: `modprobe overlay`",
    ),
    (
        Stage::Rootfs,
        Some(Deed::Overlay),
        Errno::EINVAL,
        "a layer may be on a file system that overlayfs does not take (upper: another overlay, NFS; lower: two overlays deep), or have mounts below it that a user may not uncover: `dmesg` may say which",
    ),
    (
        Stage::Rootfs,
        Some(Deed::Overlay),
        Errno::EBUSY,
        "each --overlay DIR is one container's at a time, and what is written to is no layer of another's: delete the container that does, or take a copy",
    ),
    (
        Stage::Rootfs,
        Some(Deed::Overlay),
        Errno::ELOOP,
        "the root, each --lower and the directory of --overlay are directories of their own: none is a link, is named twice, or lies in the upper layer",
    ),
    (
        Stage::Rootfs,
        Some(Deed::MakeNode),
        Errno::EEXIST,
        "the root or a mount has another file there, which stays: name another path, or take that away",
    ),
    (
        Stage::Rootfs,
        Some(Deed::PivotRoot),
        Errno::EINVAL,
        "the host's root is an initramfs, or brisk runs in a chroot: --no-pivot does without pivot_root",
    ),
    (Stage::Rootfs, None, Errno::ELOOP, "a symbolic link stands where a directory or file is needed"),
    (
        Stage::Rootfs,
        Some(Deed::Mount),
        Errno::ENODEV,
        "the kernel does not know this file system type: see /proc/filesystems",
    ),
    (
        Stage::Rootfs,
        Some(Deed::Mount),
        Errno::EINVAL,
        "the file system does not take one of these options: `dmesg` may say which",
    ),
    (
        Stage::Cgroup,
        Some(Deed::WriteLimit),
        Errno::EBUSY,
        "the limit is below what is in use, or processes sit in an inner node of the cgroup tree",
    ),
    (
        Stage::Cgroup,
        Some(Deed::WriteLimit),
        Errno::ENOENT,
        "the controller is not enabled for this cgroup, or the kernel lacks the file",
    ),
    (
        Stage::Cgroup,
        None,
        Errno::ENOSPC,
        "cpuset.cpus and cpuset.mems must be set before a process may join, and there is a limit on the number of cgroups",
    ),
    (
        Stage::Cgroup,
        None,
        Errno::EACCES,
        "this user may not write there: the cgroup must be delegated (see systemd.resource-control(5), Delegate=)",
    ),
    (Stage::Cgroup, None, Errno::EROFS, "the cgroup file system is mounted read-only here"),
    (
        Stage::Process,
        Some(Deed::Rlimit),
        Errno::EPERM,
        "raising a hard limit needs CAP_SYS_RESOURCE, and no RLIMIT_NOFILE is above sysctl fs.nr_open",
    ),
    (
        Stage::Process,
        Some(Deed::Schedule),
        Errno::EPERM,
        "what is more than RLIMIT_RTPRIO and RLIMIT_NICE allow, SCHED_DEADLINE and IOPRIO_CLASS_RT need CAP_SYS_NICE of the host, which nobody has in a user namespace",
    ),
    (
        Stage::Process,
        Some(Deed::Schedule),
        Errno::EBUSY,
        "SCHED_DEADLINE: the CPUs have less time left, or a cpuset keeps the process from some of them",
    ),
    (
        Stage::Process,
        Some(Deed::MemoryPolicy),
        Errno::EINVAL,
        "linux.memoryPolicy: one of its nodes at least must have memory and be in linux.resources.cpu.mems, and older kernels do not know MPOL_PREFERRED_MANY (Linux 5.15), MPOL_WEIGHTED_INTERLEAVE and MPOL_F_NUMA_BALANCING with MPOL_PREFERRED_MANY (6.9)",
    ),
    (
        Stage::Process,
        Some(Deed::MemoryPolicy),
        Errno::ENOSYS,
        "this kernel was built without NUMA: leave out linux.memoryPolicy",
    ),
    (Stage::Process, Some(Deed::OomScoreAdj), Errno::EACCES, "lowering oom_score_adj needs CAP_SYS_RESOURCE"),
    (
        Stage::Process,
        Some(Deed::Sysctl),
        Errno::EINVAL,
        "the kernel does not take this value: `sysctl NAME` shows what one looks like; ids must be mapped in the container's user namespace",
    ),
    (
        Stage::Process,
        Some(Deed::Sysctl),
        Errno::ENOENT,
        "this kernel has no such sysctl, or the module that brings it is not loaded",
    ),
    (Stage::Console, Some(Deed::Connect), Errno::ENOENT, NOBODY_LISTENS),
    (Stage::Console, Some(Deed::Connect), Errno::ECONNREFUSED, NOBODY_LISTENS),
    (Stage::Lsm, Some(Deed::Label), Errno::ENOENT, NO_PROFILE),
    (Stage::Lsm, Some(Deed::Label), Errno::EINVAL, NO_PROFILE),
    (Stage::State, Some(Deed::MakeState), Errno::EACCES, OWN_ROOT),
    (Stage::Exec, None, Errno::ENOEXEC, "the file is not a program for this machine, or a script without a #! line"),
    (
        Stage::Exec,
        Some(Deed::FindProgram),
        Errno::EACCES,
        "it must be a regular file with the x bit for the container's user, on a mount without noexec, and every directory \
         above it must be searchable: `brisk check BUNDLE` says which",
    ),
    (
        Stage::Exec,
        Some(Deed::Execve),
        Errno::ENOENT,
        "the program's interpreter (its #! line or ELF loader) may be missing in the rootfs",
    ),
    (
        Stage::Exec,
        Some(Deed::Execve),
        Errno::EACCES,
        "the program or its interpreter is not executable for this user, or lies on a mount with noexec",
    ),
];

/// The advice about an error, if there is any.
pub fn find(stage: Stage, deed: Option<Deed>, errno: Errno) -> Option<&'static str> {
    let fits = |row: &&HintRow| row.0 == stage && row.2 == errno && (row.1.is_none() || row.1 == deed);
    HINTS.iter().find(fits).map(|row| row.3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second row for the same is never shown.
    #[test]
    fn every_row_is_found() {
        for (stage, deed, errno, hint) in HINTS {
            assert_eq!(
                find(*stage, *deed, *errno),
                Some(*hint),
                "a row above is of {stage:?}, {deed:?} and {errno:?}, too"
            );
        }
    }
}
