/* first N CMD ARGS...: N times the nanoseconds from vfork to the end of CMD, which a seccomp filter ends at its first
 * syscall that a C library's or Rust's start-up does not make by itself. A filter costs the measured program nothing
 * until that syscall; ptrace would add tens of microseconds to every one. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int own[] = {
    SYS_openat, SYS_openat2, SYS_mkdirat, SYS_socket, SYS_socketpair, SYS_clone3, SYS_unshare, SYS_statx,
    SYS_newfstatat, SYS_readlinkat, SYS_geteuid, SYS_getuid, SYS_getcwd, SYS_umask, SYS_write, SYS_prctl,
#ifdef SYS_open
    SYS_open, SYS_mkdir, SYS_stat,
#endif
};
enum { COUNT = sizeof own / sizeof own[0] };

static long long now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
    struct sock_filter code[COUNT + 3];
    struct sock_fprog prog = { COUNT + 3, code };
    struct rlimit none = { 0, 0 };
    int i, n;

    if (argc < 3)
        return 2;
    n = atoi(argv[1]);
    code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (i = 0; i < COUNT; i++)
        code[i + 1] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, own[i], COUNT - i, 0);
    code[COUNT + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    code[COUNT + 2] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP);
    setrlimit(RLIMIT_CORE, &none);
    for (i = 0; i < n; i++) {
        long long start = now();
        int status;
        pid_t pid = vfork();
        if (pid == 0) {
            if (syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
                syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
                _exit(126);
            execv(argv[2], argv + 2);
            _exit(127);
        }
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
            return 2;
        if (WIFEXITED(status) && WEXITSTATUS(status) >= 126)
            return 3;
        printf("%lld\n", now() - start);
    }
    return 0;
}
