//! Which errors a system call may plausibly return: what the manual pages list, and what seccomp profiles, memory
//! limits, full disks, full tables, busy objects and signals make of them. A call that cannot fail is not failed.

use libc::{EAGAIN, EBUSY, EINTR, EINVAL, EMFILE, ENOMEM, ENOSPC, ENOSYS, EPERM};

/// The errnos to try for a call.
pub fn plausible(name: &str) -> &'static [i32] {
    match name {
        // They cannot fail, or what comes back is not an errno.
        "exit" | "exit_group" | "rt_sigreturn" | "getpid" | "getppid" | "gettid" | "getuid" | "geteuid" | "getgid"
        | "getegid" | "umask" | "brk" | "set_tid_address" | "restart_syscall" | "getpgrp" | "sched_yield" => &[],
        // Of a failing execve there is nothing to be seen but that; its errnos are those of the program named.
        "execve" | "execveat" => &[EPERM, ENOMEM, EAGAIN],
        "open" | "openat" | "openat2" | "open_tree" | "fsopen" | "fsmount" | "fspick" | "memfd_create" | "socket"
        | "socketpair" | "pipe" | "pipe2" | "eventfd2" | "epoll_create1" | "signalfd4" | "pidfd_open" | "dup"
        | "dup2" | "dup3" | "pidfd_getfd" => &[ENOSYS, EPERM, EINVAL, ENOMEM, EMFILE, ENOSPC, EINTR],
        "mkdir" | "mkdirat" | "mknod" | "mknodat" | "symlink" | "symlinkat" | "link" | "linkat" | "rename"
        | "renameat" | "renameat2" | "fallocate" | "ftruncate" | "fsync" | "setxattr" | "fsetxattr" => {
            &[ENOSYS, EPERM, EINVAL, ENOMEM, ENOSPC, EBUSY]
        }
        "write" | "pwrite64" | "writev" | "sendmsg" | "sendto" => {
            &[EPERM, EINVAL, ENOMEM, ENOSPC, EINTR, EAGAIN, EBUSY]
        }
        "read" | "pread64" | "readv" | "recvmsg" | "recvfrom" | "accept4" | "poll" | "ppoll" | "pselect6"
        | "select" | "epoll_wait" | "epoll_pwait" | "wait4" | "waitid" | "futex" | "nanosleep" | "clock_nanosleep"
        | "flock" | "connect" => &[ENOSYS, EINVAL, ENOMEM, EINTR, EAGAIN],
        "rmdir" | "unlink" | "unlinkat" | "umount2" | "pivot_root" | "move_mount" | "mount" | "mount_setattr"
        | "fsconfig" => &[ENOSYS, EPERM, EINVAL, ENOMEM, EBUSY, EINTR],
        "clone" | "clone3" | "fork" | "vfork" | "unshare" | "setns" => &[ENOSYS, EPERM, EINVAL, ENOMEM, ENOSPC, EAGAIN],
        // For random numbers nothing is allocated; std falls back on the first two and tries again on the last.
        "getrandom" => &[ENOSYS, EPERM, EINTR],
        "close" => &[EINTR],
        "fcntl" => &[EPERM, EINVAL, EMFILE, EINTR, EAGAIN],
        "kill" | "pidfd_send_signal" | "tgkill" => &[ENOSYS, EPERM, EINVAL, EAGAIN],
        _ => &[ENOSYS, EPERM, EINVAL, ENOMEM],
    }
}

/// The name people know.
pub fn name(errno: i32) -> &'static str {
    match errno {
        ENOSYS => "ENOSYS",
        EPERM => "EPERM",
        EINVAL => "EINVAL",
        ENOMEM => "ENOMEM",
        ENOSPC => "ENOSPC",
        EMFILE => "EMFILE",
        EINTR => "EINTR",
        EAGAIN => "EAGAIN",
        EBUSY => "EBUSY",
        _ => "errno",
    }
}
