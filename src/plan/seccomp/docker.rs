//! The filter that Docker gives a container without capabilities, as a profile of the specification. Pure.

use super::arch::{Arch, SyscallId};
use crate::spec::seccomp::{Arg, Rule, Seccomp};

/// What it refuses of the calls that there are (moby's profile of 2026, whose list is of those that it lets pass). A call
/// that is new in `tables` passes unless it is added here: see what moby says of it, and then the count in the tests.
const REFUSED: &str = "\
_sysctl acct add_key afs_syscall atomic_barrier atomic_cmpxchg_32 bdflush bpf break cachectl chroot clock_settime \
clock_settime64 create_module delete_module fanotify_init file_getattr file_setattr finit_module fsconfig fsmount fsopen \
fspick ftime get_kernel_syms get_mempolicy get_tls getpagesize getpmsg gtty idle init_module io_uring_enter \
io_uring_register io_uring_setup ioperm iopl kcmp kexec_file_load kexec_load keyctl listns lock lookup_dcookie \
lsm_get_self_attr lsm_list_modules lsm_set_self_attr mbind migrate_pages mount mount_setattr move_mount move_pages mpx \
multiplexer nfsservctl nice oldfstat oldlstat oldolduname oldstat olduname open_by_handle_at open_tree open_tree_attr \
pciconfig_iobase pciconfig_read pciconfig_write perf_event_open pidfd_getfd pivot_root process_madvise prof profil \
putpmsg query_module quotactl quotactl_fd readdir reboot request_key rseq_slice_yield rtas s390_guarded_storage \
s390_sthyi security set_mempolicy set_mempolicy_home_node setdomainname sethostname setns settimeofday sgetmask \
sigaction signal sigpending sigsuspend spu_create spu_run ssetmask stime stty subpage_prot swapoff swapon switch_endian \
sys_debug_setcontext syscall sysfs syslog sysmips timerfd tuxcall ulimit umount umount2 unshare uprobe uselib \
userfaultfd usr26 usr32 ustat vhangup vm86 vm86old vserver";

/// Calls that pass with some arguments only, or are refused in a way of their own.
const PARTLY: [&str; 4] = ["clone", "clone3", "personality", "socket"];

/// `CLONE_NEW*` but for the time namespace, whose bit is part of the signal's.
const NAMESPACES: u64 = 0x7e02_0000;

/// `PER_LINUX`, `PER_LINUX32`, `UNAME26`, both of these, and the question which one it is.
const PERSONALITIES: [u64; 5] = [0, 8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// All but `AF_ALG`, the kernel's own ciphers, and `AF_VSOCK`, which leads to the host of a virtual machine.
const FAMILIES: [(&str, u64); 3] = [("SCMP_CMP_LT", 38), ("SCMP_CMP_EQ", 39), ("SCMP_CMP_GT", 40)];

/// The profile.
pub fn profile(native: Arch) -> Seccomp {
    let refused: Vec<&str> = REFUSED.split(' ').chain(PARTLY).collect();
    let names = SyscallId::all().map(SyscallId::name).filter(|name| !refused.contains(name));
    let mut syscalls = vec![Rule { names: names.map(str::to_owned).collect(), ..allow() }];
    syscalls
        .extend(FAMILIES.map(|(op, family)| rule("socket", Arg { value: family, op: op.into(), ..Arg::default() })));
    syscalls.extend(
        PERSONALITIES.map(|value| rule("personality", Arg { value, op: "SCMP_CMP_EQ".into(), ..Arg::default() })),
    );
    // On s390 clone(2) has the stack first.
    let index = u32::from(matches!(native, Arch::S390 | Arch::S390x));
    let none = Arg { index, value: NAMESPACES, value_two: 0, op: "SCMP_CMP_MASKED_EQ".into() };
    syscalls.push(rule("clone", none));
    // Its flags are behind a pointer. ENOSYS: libraries then take clone.
    let errno_ret = u32::try_from(libc::ENOSYS).ok();
    syscalls.push(Rule { names: vec!["clone3".into()], action: "SCMP_ACT_ERRNO".into(), errno_ret, args: Vec::new() });
    Seccomp {
        default_action: "SCMP_ACT_ERRNO".into(),
        default_errno_ret: u32::try_from(libc::EPERM).ok(),
        architectures: compatible(native).iter().map(|arch| arch.name().to_owned()).collect(),
        syscalls,
        ..Seccomp::default()
    }
}

fn allow() -> Rule {
    Rule { action: "SCMP_ACT_ALLOW".into(), ..Rule::default() }
}

fn rule(name: &str, arg: Arg) -> Rule {
    Rule { names: vec![name.into()], args: vec![arg], ..allow() }
}

/// Whose programs the machine runs as well.
fn compatible(native: Arch) -> &'static [Arch] {
    match native {
        Arch::X86_64 => &[Arch::X86_64, Arch::X86, Arch::X32],
        Arch::Aarch64 => &[Arch::Aarch64, Arch::Arm],
        // The native one always counts.
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_exists_and_none_is_let_through_by_accident() {
        for name in REFUSED.split(' ').chain(PARTLY) {
            assert!(SyscallId::from_name(name).is_some(), "{name}");
        }
        let passed = &profile(Arch::X86_64).syscalls[0].names;
        // A call that is new in the tables: does moby's profile let it pass?
        assert_eq!((passed.len(), SyscallId::all().count()), (377, 508));
    }
}
