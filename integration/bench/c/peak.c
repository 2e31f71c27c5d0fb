/* peak CMD ARGS...: prints the peak resident set, in kB, of the largest process among CMD and its waited-for
 * descendants. ru_maxrss counts the image before exec too (exec_mmap keeps the old high-water mark), so the process
 * that forks must itself be smaller than anything measured: hence a static C program and not the bench itself. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct rusage usage;
    int status = 0;
    pid_t pid;

    if (argc < 2)
        return 2;
    pid = fork();
    if (pid < 0)
        return 2;
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR);
        dup2(null, 1);
        execv(argv[1], argv + 1);
        _exit(127);
    }
    if (wait4(pid, &status, 0, &usage) < 0)
        return 2;
    printf("%ld %d\n", usage.ru_maxrss, WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    return 0;
}
